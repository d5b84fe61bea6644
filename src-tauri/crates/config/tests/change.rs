//! How a configuration is changed, and how the change is put in words.

#[cfg(test)]
mod tests {
    use countersign_config::edit::{self, EditError, NewAccount};
    use countersign_config::{Config, KindDefaults, parse, summary};
    use countersign_model::{CredentialKind, HostPattern, Provider};

    fn kinds(name: &str) -> Option<KindDefaults> {
        (name == "gmail").then(|| KindDefaults {
            provider: Provider("gmail".into()),
            hosts: vec![HostPattern::new("gmail.googleapis.com").unwrap()],
            regional_hosts: vec![],
            credential: CredentialKind::Oauth2,
            token_url: Some("https://oauth2.googleapis.com/token".into()),
            forward_headers: vec![],
        })
    }
    fn config(text: &str) -> Config {
        let pem = "-----BEGIN CERTIFICATE-----\n";
        parse(text, "countersign.toml", &kinds, &|_| Ok(pem.into())).unwrap()
    }

    const BEFORE: &str = r#"# my agents
[agents.inbox-bot]   # the one for mail
accounts = [
  "mail", # work
]

[accounts.mail]
kind = "gmail"     # hosts from the catalogue
environment = "personal"

# keep this
[hotkey]
stop = "Ctrl+Alt+Shift+Escape"
"#;

    #[test]
    fn an_addition_keeps_comments_and_layout() {
        let new = NewAccount {
            hosts: vec!["forum.corp.example".into()],
            credential: Some("bearer".into()),
            connect_to: Some("127.0.0.1:8443".into()),
            ..NewAccount::default()
        };
        let forum = "forum".parse().unwrap();
        let text = edit::add_account(BEFORE, &forum, &new).unwrap();
        let text = edit::assign(&text, &"inbox-bot".parse().unwrap(), &forum).unwrap();
        let text = edit::add_agent(
            &text,
            &"coder".parse().unwrap(),
            std::slice::from_ref(&forum),
            None,
        )
        .unwrap();
        for kept in [
            "# my agents",
            "# the one for mail",
            "# work",
            "# hosts from the catalogue",
            "# keep this",
        ] {
            assert!(text.contains(kept), "{kept}:\n{text}");
        }
        assert!(
            text.contains("\n[agents.coder]\naccounts = [\"forum\"]\n"),
            "{text}"
        );
        assert!(text.contains("\n[accounts.forum]\n"), "{text}");
        let config = config(&text);
        assert_eq!(
            config.agents[&"inbox-bot".parse().unwrap()].accounts.len(),
            2
        );
        assert_eq!(
            config.accounts[&forum].connect_to.as_deref(),
            Some("127.0.0.1:8443")
        );
    }

    #[test]
    fn a_removed_account_is_taken_from_every_agent() {
        let text = edit::remove_account(BEFORE, &"mail".parse().unwrap()).unwrap();
        let config = config(&text);
        assert!(config.accounts.is_empty());
        assert!(
            config.agents[&"inbox-bot".parse().unwrap()]
                .accounts
                .is_empty()
        );
        assert!(
            text.contains("# my agents") && text.contains("# keep this"),
            "{text}"
        );
    }

    #[test]
    fn a_removed_agent_leaves_its_accounts() {
        let text = edit::remove_agent(BEFORE, &"inbox-bot".parse().unwrap()).unwrap();
        assert!(config(&text).agents.is_empty() && config(&text).accounts.len() == 1);
    }

    #[test]
    fn an_edit_of_an_empty_file_works() {
        let text = edit::add_agent("", &"a".parse().unwrap(), &[], None).unwrap();
        assert_eq!(text, "[agents.a]\naccounts = []\n");
    }

    #[test]
    fn what_cannot_be_changed_is_said() {
        let (bot, mail, none) = (
            "inbox-bot".parse().unwrap(),
            "mail".parse().unwrap(),
            "none".parse().unwrap(),
        );
        let exists = edit::add_agent(BEFORE, &bot, &[], None).unwrap_err();
        assert_eq!(
            exists.to_string(),
            "[agents.inbox-bot] is already in countersign.toml"
        );
        let exists = edit::add_account(BEFORE, &mail, &NewAccount::default()).unwrap_err();
        assert!(matches!(exists, EditError::Exists(_)));
        assert!(matches!(
            edit::assign(BEFORE, &bot, &none),
            Err(EditError::Missing(_))
        ));
        assert!(matches!(
            edit::unassign(BEFORE, &"x".parse().unwrap(), &mail),
            Err(EditError::Missing(_))
        ));
        assert!(matches!(
            edit::remove_account(BEFORE, &none),
            Err(EditError::Missing(_))
        ));
        assert!(matches!(
            edit::remove_agent("x = [", &bot),
            Err(EditError::Unreadable(_))
        ));
        assert!(matches!(
            edit::add_agent("agents = 1", &bot, &[], None),
            Err(EditError::Unreadable(_))
        ));
    }

    #[test]
    fn the_hotkey_is_set_where_it_stands_or_added() {
        let set = |text: &str| edit::set_hotkey(text, "Super+F12".parse().unwrap());
        assert_eq!(
            set("vault = \"file\"\n").unwrap(),
            "vault = \"file\"\n\n[hotkey]\nstop = \"Super+F12\"\n"
        );
        assert_eq!(
            set("[hotkey] # mine\nstop  =  \"Ctrl+K\" # reachable\n[agents.a]\n").unwrap(),
            "[hotkey] # mine\nstop  =  \"Super+F12\" # reachable\n[agents.a]\n"
        );
        assert!(matches!(set("hotkey = 1"), Err(EditError::Unreadable(_))));
    }

    #[test]
    fn to_assign_twice_is_to_assign_once_and_unassign_takes_it_back() {
        let (bot, mail) = ("inbox-bot".parse().unwrap(), "mail".parse().unwrap());
        assert_eq!(edit::assign(BEFORE, &bot, &mail).unwrap(), BEFORE);
        let without = edit::unassign(BEFORE, &bot, &mail).unwrap();
        assert!(config(&without).agents[&bot].accounts.is_empty());
    }

    #[test]
    fn a_first_configuration_is_put_in_words_whole() {
        let forum = "[accounts.forum]\nhosts = [\"forum.corp.example\"]\ncredential = \"bearer\"\n\
                     environment = \"production\"\nconnect_to = \"127.0.0.1:8443\"\nca = \"ca.pem\"\n\
                     effects.\"POST /posts\" = [\"publish\"]\neffects.\"POST /search\" = [\"read\"]\n";
        let digest = countersign_model::Digest::of(b"-----BEGIN CERTIFICATE-----\n");
        assert_eq!(
            summary(&Config::default(), &config(&format!("{BEFORE}{forum}"))),
            [
                "agent inbox-bot is new".to_owned(),
                "agent inbox-bot may now use account mail (gmail.googleapis.com, environment personal)".into(),
                "account forum is new".into(),
                "account forum: host forum.corp.example (port 443) goes to 127.0.0.1:8443".into(),
                "account forum: environment production".into(),
                "account forum: its credential is sent as Authorization: Bearer".into(),
                format!("account forum: travels over TLS, vouched for by the CA file with SHA-256 {digest}"),
                "account forum: reads (GET and HEAD without a body) go alone, unless its effects say otherwise".into(),
                "account forum: POST /posts counts as publish".into(),
                "account forum: POST /search counts as read, which may go alone".into(),
                "account mail is new".into(),
                "account mail: host gmail.googleapis.com (port 443)".into(),
                "account mail: environment personal".into(),
                "account mail: an access token of its credential is sent as Authorization: Bearer".into(),
                "account mail: travels over TLS, vouched for by the system's CAs".into(),
                "account mail: what its operations do is described by the catalogue's gmail".into(),
                "account mail: its refresh token goes to https://oauth2.googleapis.com/token".into(),
            ]
        );
    }

    #[test]
    fn reads_of_a_plain_host_that_is_signed_to_as_awss_are_not_said_to_go_alone() {
        let cloud = "[accounts.cloud]\nhosts = [\"iam.amazonaws.com\"]\ncredential = \"aws\"\nregion = \"eu-west-1\"\n";
        let said = summary(&Config::default(), &config(cloud)).join("\n");
        assert!(!said.contains("go alone"), "{said}");
        assert!(said.contains("described by the catalogue's aws"), "{said}");
    }

    #[test]
    fn every_line_that_widens_is_in_the_summary() {
        let base = "[agents.a]\naccounts = [\"s\"]\n[accounts.s]\nhosts = [\"s.example\"]\ncredential = \"bearer\"\nenvironment = \"production\"\n";
        let old = config(base);
        let changed = |from: &str, to: &str| {
            let text = base.replace(from, to);
            assert_ne!(text, base);
            summary(&old, &config(&text))
        };
        let cases: &[(&str, &str, &str)] = &[
            (
                "[\"s.example\"]",
                "[\"s.example\", \"*.t.example\"]",
                "account s: host *.t.example (port 443)",
            ),
            (
                "\"bearer\"",
                "\"none\"",
                "account s: no credential is sent (before: its credential is sent as Authorization: Bearer)",
            ),
            (
                "\"bearer\"",
                "\"query:key\"",
                "account s: its credential is sent in the query as key (before: its credential is sent as Authorization: Bearer)",
            ),
            (
                "\"production\"",
                "\"staging\"",
                "account s: environment staging (before: environment production)",
            ),
            (
                "environment = \"production\"",
                "",
                "account s: no environment (before: environment production)",
            ),
            (
                "environment",
                "port = 8443\nenvironment",
                "account s: host s.example (port 8443) (before: host s.example (port 443))",
            ),
            (
                "environment",
                "connect_to = \"10.0.0.9:443\"\nenvironment",
                "account s: host s.example (port 443) goes to 10.0.0.9:443 (before: host s.example (port 443))",
            ),
            (
                "environment",
                "effects.\"DELETE /**\" = [\"write\"]\nenvironment",
                "account s: DELETE /** counts as write",
            ),
            (
                "environment",
                "forward_headers = [\"x-act-as\"]\nenvironment",
                "account s: the agent's header x-act-as is forwarded",
            ),
            (
                "environment",
                "tags = [\"trusted\"]\nenvironment",
                "account s: tag trusted",
            ),
            (
                "accounts = [\"s\"]",
                "accounts = [\"s\"]\ngroups = [\"admins\"]",
                "agent a is now in group admins",
            ),
            (
                "accounts = [\"s\"]",
                "accounts = []",
                "agent a may no longer use account s",
            ),
            (
                "[agents.a]",
                "[hotkey]\nstop = \"Ctrl+F12\"\n[agents.a]",
                "the hotkey of the stop is Ctrl+F12 (before: Ctrl+Alt+Shift+Escape)",
            ),
            (
                "[agents.a]",
                "vault = \"file\"\n[agents.a]",
                "credentials are kept in an encrypted file (before: the system's keyring)",
            ),
            (
                "[agents.a]",
                "[gateway]\ntcp = 3128\n[agents.a]",
                "agents that are not contained reach the gateway by loopback ports from 3128 on, each with a token (before: no port)",
            ),
            (
                "[agents.a]",
                "[approvals]\nhold_seconds = 30\n[agents.a]",
                "a connection is held while you are asked for 30 seconds (before: 100 seconds)",
            ),
            ("[agents.a]", "[agents.b]\n[agents.a]", "agent b is new"),
        ];
        for (from, to, line) in cases {
            assert_eq!(changed(from, to), [*line], "{from} -> {to}");
        }
        let plain = changed("environment", "plaintext = true\nport = 443\nenvironment");
        assert_eq!(
            plain,
            [
                "account s: travels unencrypted, and its credential with it (before: travels over TLS, vouched for by the system's CAs)"
            ]
        );
        let other_ca = changed("environment", "ca = \"x.pem\"\nenvironment");
        assert!(
            other_ca.len() == 1 && other_ca[0].contains("vouched for by the CA file with SHA-256"),
            "{other_ca:?}"
        );
        assert_eq!(
            summary(&old, &Config::default()),
            ["agent a is removed", "account s is removed"]
        );
        assert!(summary(&old, &old).is_empty());
    }
}
