//! Configurations of arbitrary text: nothing panics, every problem has a place,
//! and what is read means the same each time.

#[cfg(test)]
mod tests {
    use countersign_config::{Config, KindDefaults, SealKey, Sealed, diff, edit, parse, summary};
    use countersign_model::{AccountId, AgentId, CredentialKind, HostPattern, InstallId, Provider};
    use countersign_testkit::Fuzz;
    use std::path::Path;

    fn kinds(name: &str) -> Option<KindDefaults> {
        (name == "gmail").then(|| KindDefaults {
            provider: Provider("gmail".into()),
            hosts: vec![HostPattern::new("gmail.googleapis.com").unwrap()],
            regional_hosts: vec![],
            credential: CredentialKind::Oauth2,
            token_url: Some("https://oauth2.googleapis.com/token".into()),
            forward_headers: vec!["x-goog-api-client".into()],
        })
    }

    fn file(name: &str) -> Result<String, String> {
        // Checked before it gets here.
        assert!(
            !name.starts_with('/') && !name.split('/').any(|part| part == ".."),
            "a file outside the folder is read"
        );
        match name {
            "ca.pem" => Ok("-----BEGIN CERTIFICATE-----\n".into()),
            _ => Err("it is not there".into()),
        }
    }

    /// What must be true of a configuration that was read.
    fn holds(config: &Config) {
        for (id, account) in &config.accounts {
            assert!(!account.hosts.is_empty(), "an account without a host");
            assert!(account.port != 0 && &account.id == id);
            for host in &account.hosts {
                let host = host.as_str();
                assert_eq!(host.to_ascii_lowercase(), host, "a host is not normalised");
            }
            let token_url = account.token_url.is_some();
            assert!(!token_url || account.credential == CredentialKind::Oauth2);
            assert!(!account.plaintext || account.ca_pem.is_none());
            let secret =
                |name: &String| matches!(name.as_str(), "authorization" | "cookie" | "host");
            assert!(
                !account.forward_headers.iter().any(secret),
                "an agent's credential would be forwarded"
            );
        }
        for agent in config.agents.values() {
            for account in &agent.accounts {
                assert!(config.accounts.contains_key(account), "an unknown account");
            }
        }
    }

    fn tried(text: &str) -> String {
        let read = parse(text, "countersign.toml", &kinds, &file);
        assert_eq!(
            read,
            parse(text, "countersign.toml", &kinds, &file),
            "read twice, it is not the same"
        );
        let agent: AgentId = "new".parse().unwrap();
        let account: AccountId = "mail".parse().unwrap();
        let edits = [
            edit::add_agent(text, &agent, std::slice::from_ref(&account), None),
            edit::remove_agent(text, &"a".parse().unwrap()),
            edit::add_account(text, &account, &edit::NewAccount::default()),
            edit::remove_account(text, &account),
            edit::assign(text, &"a".parse().unwrap(), &account),
            edit::unassign(text, &"a".parse().unwrap(), &account),
        ];
        for edited in edits.iter().flatten() {
            let lines = diff(text, edited);
            assert_eq!(lines.is_empty(), text == edited, "a change is not shown");
        }
        match read {
            Ok(config) => {
                holds(&config);
                assert!(summary(&config, &config).is_empty());
                let said = summary(&Config::default(), &config);
                assert_eq!(
                    said.is_empty(),
                    config == Config::default(),
                    "a change is not said"
                );
                let made = edits[0]
                    .as_ref()
                    .is_ok_and(|edited| parse(edited, "countersign.toml", &kinds, &file).is_ok());
                let could =
                    config.accounts.contains_key(&account) && !config.agents.contains_key(&agent);
                assert_eq!(made, could, "an agent that could be added was not");
                format!("{}", said.len())
            }
            Err(problems) => {
                assert!(!problems.is_empty(), "it is wrong and nobody says why");
                let lines = text.split('\n').count();
                for problem in &problems {
                    let shown = problem.to_string();
                    assert!((1..=lines).contains(&problem.line), "{shown}");
                    assert!(
                        problem.column >= 1 && !shown.chars().any(char::is_control),
                        "{shown}"
                    );
                }
                let words: Vec<&str> = problems
                    .iter()
                    .filter_map(|p| p.expected.split(", found").next())
                    .collect();
                words.join("; ").chars().take(300).collect()
            }
        }
    }

    #[test]
    fn no_text_panics_and_every_problem_has_its_line() {
        let dictionary: Vec<&[u8]> = [
            "[agents.a]\n",
            "[accounts.mail]\n",
            "[hotkey]\n",
            "[gateway]\n",
            "[approvals]\n",
            "accounts = [\"mail\"]\n",
            "groups = [\"g\"]\n",
            "kind = \"gmail\"\n",
            "hosts = [\"a.example\"]\n",
            "hosts = [\"*.a.example\"]\n",
            "\"b.example\"",
            "\"*.com\"",
            "credential = \"bearer\"\n",
            "\"basic\"",
            "\"header:X-Key\"",
            "\"query:key\"",
            "\"none\"",
            "\"oauth2\"",
            "connect_to = \"127.0.0.1:8443\"\n",
            "ca = \"ca.pem\"\n",
            "\"../ca.pem\"",
            "effects.\"GET /**\" = [\"read\"]\n",
            "\"POST /a/*\"",
            "plaintext = true\n",
            "port = 8443\n",
            "token_url = \"https://t.example/token\"\n",
            "forward_headers = [\"x-a\"]\n",
            "\"Cookie\"",
            "environment = \"production\"\n",
            "tags = [\"t\"]\n",
            "vault = \"file\"\n",
            "stop = \"Ctrl+K\"\n",
            "hold_seconds = 5\n",
            "\"\"\"",
            "'''",
            "\\u0000",
            "\u{202e}",
            "ß",
            "xn--",
            "0x",
            "1e9",
            "{ ",
            " }",
            "[[",
            "]]",
            "\r",
            "\n",
            "#",
            "=",
            ".",
            ",",
            "\"",
        ]
        .iter()
        .map(|text| text.as_bytes())
        .collect();
        let fuzz = Fuzz {
            corpus: Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/config")),
            dictionary: &dictionary,
        };
        let install = InstallId::from_random([1; 16]);
        fuzz.run(|bytes| {
            // A stored state that nobody sealed is none.
            let opened = Sealed::open(Some(bytes), &install, SealKey(&[7; 32]), 0);
            assert!(opened.is_err());
            tried(&String::from_utf8_lossy(bytes))
        });
    }
}
