//! What `countersign.toml` may say, and the exact words where it may not.

#[cfg(test)]
mod tests {
    use countersign_config::{Config, KindDefaults, Problem, VaultChoice, parse};
    use countersign_model::{AwsSettings, CredentialKind, HostPattern, Provider};
    use proptest::prelude::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    fn kinds(name: &str) -> Option<KindDefaults> {
        if name == "aws" {
            return Some(KindDefaults {
                provider: Provider("aws".into()),
                hosts: vec![HostPattern::new("iam.amazonaws.com").unwrap()],
                regional_hosts: vec!["s3.{region}.amazonaws.com".into()],
                credential: CredentialKind::Aws(AwsSettings {
                    region: "us-east-1".into(),
                    service: None,
                }),
                token_url: None,
                forward_headers: vec![],
            });
        }
        (name == "gmail").then(|| KindDefaults {
            provider: Provider("gmail".into()),
            hosts: vec![HostPattern::new("gmail.googleapis.com").unwrap()],
            regional_hosts: vec![],
            credential: CredentialKind::Oauth2,
            token_url: Some("https://oauth2.googleapis.com/token".into()),
            forward_headers: vec!["x-goog-user-project".into()],
        })
    }

    fn read(name: &str) -> Result<String, String> {
        match name {
            "forum-ca.pem" => Ok(PEM.into()),
            "key.pem" => Ok(format!("{PEM}-----BEGIN PRIVATE KEY-----\n")),
            "empty.pem" => Ok(String::new()),
            _ => Err("a file that can be read".into()),
        }
    }

    fn parsed(text: &str) -> Result<Config, Vec<Problem>> {
        parse(text, "countersign.toml", &kinds, &read)
    }

    fn problems(text: &str) -> Vec<String> {
        parsed(text)
            .expect_err(text)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn the_example_of_the_design_is_read() {
        let config = parsed(
            r#"
[agents.inbox-bot]
accounts = ["mail"]

[accounts.mail]
kind = "gmail"
environment = "personal"

[accounts.intranet-forum]
hosts = ["forum.corp.example"]
credential = "bearer"
connect_to = "127.0.0.1:8443"
ca = "forum-ca.pem"
effects."POST /posts" = ["publish"]

[hotkey]
stop = "Ctrl+Alt+Shift+Escape"
"#,
        )
        .unwrap();
        let mail = &config.accounts[&"mail".parse().unwrap()];
        assert_eq!(mail.provider, Provider("gmail".into()));
        assert_eq!(mail.credential, CredentialKind::Oauth2);
        assert_eq!(
            mail.token_url.as_deref(),
            Some("https://oauth2.googleapis.com/token")
        );
        assert_eq!((mail.port, mail.plaintext), (443, false));
        let forum = &config.accounts[&"intranet-forum".parse().unwrap()];
        assert!(forum.provider.is_plain());
        assert_eq!(forum.connect_to.as_deref(), Some("127.0.0.1:8443"));
        assert_eq!(forum.ca_pem.as_deref(), Some(PEM));
        assert_eq!(
            (
                forum.effects[0].method.as_str(),
                forum.effects[0].path.as_str()
            ),
            ("POST", "/posts")
        );
        let names: Vec<_> = config
            .accounts_of(&"inbox-bot".parse().unwrap())
            .map(|a| a.id.as_str())
            .collect();
        assert_eq!(names, ["mail"]);
    }

    #[test]
    fn an_account_of_aws_has_its_hosts_in_its_region() {
        let aws = |more: &str| format!("[accounts.cloud]\nkind = \"aws\"\n{more}");
        let config = parsed(&aws("region = \"eu-west-1\"")).unwrap();
        let account = &config.accounts[&"cloud".parse().unwrap()];
        let hosts: Vec<_> = account.hosts.iter().map(HostPattern::as_str).collect();
        assert_eq!(hosts, ["iam.amazonaws.com", "s3.eu-west-1.amazonaws.com"]);
        let settings = |service: Option<&str>| {
            CredentialKind::Aws(AwsSettings {
                region: "eu-west-1".into(),
                service: service.map(str::to_owned),
            })
        };
        assert_eq!(account.credential, settings(None));
        let own = "[accounts.store]\nhosts = [\"minio.corp.example\"]\ncredential = \"aws\"\nregion = \"eu-west-1\"\nservice = \"s3\"";
        let config = parsed(own).unwrap();
        let account = &config.accounts[&"store".parse().unwrap()];
        assert_eq!(account.credential, settings(Some("s3")));
        let config = parsed(&aws("region = \"eu-west-1\"\nbuckets = [\"a.b-c\"]")).unwrap();
        let hosts = &config.accounts[&"cloud".parse().unwrap()].hosts;
        assert_eq!(hosts[2].as_str(), "a.b-c.s3.eu-west-1.amazonaws.com");
        for (text, wanted) in [
            (
                aws("region = \"a\"\nbuckets = [\"*\"]"),
                "4:12: expected the name of a bucket, found “*”",
            ),
            (
                aws(""),
                "1:11: expected `region` beside credential = \"aws\", found none",
            ),
            (
                aws("region = \"eu west\""),
                "3:10: expected a region of letters, digits and '-', found “eu west”",
            ),
            (
                aws("credential = \"none\"\nregion = \"a\""),
                "4:10: expected `region` only beside credential = \"aws\"",
            ),
            (
                aws("region = \"a\"\nservice = \"a b\""),
                "4:11: expected a signing name of letters, digits and '-', found “a b”",
            ),
        ] {
            assert_eq!(
                problems(&text),
                [format!("countersign.toml:{wanted}")],
                "{text}"
            );
        }
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = parsed("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.hotkey.stop.to_string(), "Ctrl+Alt+Shift+Escape");
        assert_eq!(
            (
                config.vault,
                config.gateway.tcp,
                config.approvals.hold_seconds
            ),
            (VaultChoice::Keyring, None, 100)
        );
    }

    #[test]
    fn every_setting_is_read() {
        let config = parsed(
            "vault = \"file\"\n[gateway]\ntcp = 0x1000\n[approvals]\nhold_seconds = 5\n\
             [hotkey]\nstop = \"Super+F12\"\n\
             [agents.a]\naccounts = [\"s\"]\ngroups = [\"coders\"]\n\
             [accounts.s]\nhosts = [\"*.Corp.Example\", \"127.0.0.1\"]\nport = 8080\nplaintext = true\n\
             credential = \"header:X-Key\"\nconnect_to = \"[::1]:80\"\ntags = [\"t1\"]\n\
             forward_headers = [\"X-Trace\"]\n\
             [accounts.o]\nhosts = [\"o.corp.example\"]\ncredential = \"oauth2\"\n\
             token_url = \"https://login.corp.example:8443/token\"",
        )
        .unwrap();
        assert_eq!(
            (
                config.vault,
                config.gateway.tcp,
                config.approvals.hold_seconds
            ),
            (VaultChoice::File, Some(4096), 5)
        );
        assert_eq!(config.hotkey.stop.to_string(), "Super+F12");
        let site = &config.accounts[&"s".parse().unwrap()];
        assert_eq!(site.hosts[0].as_str(), "*.corp.example");
        assert_eq!(site.credential, CredentialKind::Header("x-key".into()));
        assert_eq!(
            (site.port, site.plaintext, site.connect_to.as_deref()),
            (8080, true, Some("[::1]:80"))
        );
        assert_eq!(
            (site.tags.as_slice(), site.forward_headers.as_slice()),
            (&["t1".to_owned()][..], &["x-trace".to_owned()][..])
        );
        assert_eq!(config.agents[&"a".parse().unwrap()].groups, ["coders"]);
    }

    #[test]
    fn plaintext_without_a_port_means_port_80() {
        let config =
            parsed("[accounts.s]\nhosts=[\"a.example\"]\ncredential=\"none\"\nplaintext=true")
                .unwrap();
        assert_eq!(config.accounts[&"s".parse().unwrap()].port, 80);
    }

    /// A site that is right, for tables that add one wrong line to it.
    const SITE: &str = "[accounts.s]\nhosts = [\"a.example\"]\ncredential = \"none\"\n";

    #[test]
    fn what_is_wrong_is_said_with_line_column_expectation_and_finding() {
        let table: &[(&str, &str)] = &[
            (
                "a = 1",
                "1:1: expected a key of the file (accounts, agents, approvals, gateway, hotkey, vault), found “a”",
            ),
            (
                "[agent.x]",
                "1:2: expected a key of the file (accounts, agents, approvals, gateway, hotkey, vault), found “agent” (did you mean \"agents\"?)",
            ),
            (
                "[hotkey]\nstop = \"Shift+A\"",
                "2:8: needs Ctrl, Alt or Super, or it would fire while you type, found “Shift+A”",
            ),
            (
                "agents = 3",
                "1:10: expected a table [agents], found the number “3”",
            ),
            (
                "[agents]\nx = 3",
                "2:5: expected a table [agents.x], found the number “3”",
            ),
            (
                "[agents.X]",
                "1:9: expected a name in [agents]: agent name \"X\" is not valid: 1 to 64 of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit, without '..'",
            ),
            (
                "[agents.x]\naccounts = [\"mial\"]\n[accounts.mail]\nkind = \"gmail\"",
                "2:13: expected the name of an account in [accounts], found “mial” (did you mean \"mail\"?)",
            ),
            (
                "[agents.countersign-doctor]",
                "1:9: expected another name in [agents]: countersign-doctor is Countersign's own",
            ),
            (
                "[agents.x]\naccounts = \"mail\"",
                "2:12: expected a list of strings, found “mail”",
            ),
            (
                "[agents.x]\naccounts = [1]",
                "2:13: expected a string, found the number “1”",
            ),
            (
                "[agents.x]\nacounts = []",
                "2:1: expected a key of [agents.x] (accounts, groups, host_ports, ports, recipe), found “acounts” (did you mean \"accounts\"?)",
            ),
            (
                "[agents.x]\ngroups = [\"A B\"]",
                "2:11: expected a group of 1 to 64 of a-z, 0-9, '-', '_' and '.', found “A B”",
            ),
            (
                "[accounts.s]\ncredential = \"none\"",
                "1:11: expected `kind` or `hosts` in [accounts.s], found neither",
            ),
            (
                "[accounts.s]\nhosts = [\"a.example\"]",
                "1:11: expected `credential` in [accounts.s] (\"none\" if the host knows no credential), found none",
            ),
            (
                "[accounts.s]\nkind = \"gmial\"",
                "2:8: expected a kind of account that the catalogue knows, found “gmial”",
            ),
            (
                "[accounts.s]\nhosts = []\ncredential = \"none\"",
                "2:9: expected at least one host in `hosts`, found none",
            ),
            (
                "[accounts.s]\nhosts = [\"A.example\", \"a.example\"]\ncredential = \"none\"",
                "2:23: expected each host once, found a.example again",
            ),
            (
                "[accounts.s]\nhosts = [\"*.github.io\"]\ncredential = \"none\"",
                "2:10: expected '*.' over a domain of one owner, found *.github.io: github.io is a public suffix, and everybody can have a name under it",
            ),
            (
                "[accounts.s]\nhosts = [\"a.example\"]\ncredential = \"ssh-key\"",
                "3:14: expected a credential that this version supports (ssh-key is not yet), found “ssh-key”",
            ),
            (
                "[accounts.s]\nhosts = [\"a.example\"]\ncredential = \"token\"",
                "3:14: expected bearer, basic, header:NAME, query:NAME, oauth2, aws or none, found “token”",
            ),
            (
                "[accounts.s]\nhosts = [\"a.example\"]\ncredential = \"header:Host\"",
                "3:14: expected a header that does not frame the request, found “header:Host”",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(
                problems(text),
                [format!("countersign.toml:{expected}")],
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_of_an_account_is_said() {
        let table: &[(&str, &str)] = &[
            (
                "port = 0",
                "4:8: expected a whole number from 1 to 65535, found “0”",
            ),
            (
                "port = 99999999999999999999",
                "4:8: expected a whole number from 1 to 65535, found “99999999999999999999”",
            ),
            (
                "port = \"443\"",
                "4:8: expected a whole number from 1 to 65535, found “443”",
            ),
            (
                "plaintext = \"yes\"",
                "4:13: expected true or false, found “yes”",
            ),
            (
                "environment = \"Production\"",
                "4:15: expected \"production\", the word that policies are stricter about, found “Production”",
            ),
            (
                "environment = \"prod\"",
                "4:15: expected \"production\", the word that policies are stricter about, found “prod”",
            ),
            (
                "environment = \"a\\nb\"",
                "4:15: expected an environment of 1 to 64 of a-z, 0-9, '-', '_' and '.', found “a<U+000A>b”",
            ),
            (
                "tags = [\"a\", \"a\"]",
                "4:14: expected each entry once, found “a” again",
            ),
            (
                "connect_to = \"127.0.0.1\"",
                "4:14: expected host:port or address:port, like \"127.0.0.1:8443\", found “127.0.0.1”",
            ),
            (
                "ca = \"../x.pem\"",
                "4:6: expected a CA certificate: a file name relative to the home folder, found “../x.pem”",
            ),
            (
                "ca = \"/etc/x.pem\"",
                "4:6: expected a CA certificate: a file name relative to the home folder, found “/etc/x.pem”",
            ),
            (
                "ca = \"gone.pem\"",
                "4:6: expected a CA certificate: a file that can be read, found “gone.pem”",
            ),
            (
                "ca = \"key.pem\"",
                "4:6: expected a CA certificate: certificates and nothing else, found “key.pem”",
            ),
            (
                "ca = \"empty.pem\"",
                "4:6: expected a CA certificate: PEM with -----BEGIN CERTIFICATE-----, found “empty.pem”",
            ),
            (
                "plaintext = true\nca = \"forum-ca.pem\"",
                "5:6: expected either `ca` or `plaintext = true`, found both",
            ),
            (
                "effects.\"POST /x\" = []",
                "4:21: expected at least one effect, found none",
            ),
            (
                "effects.\"POST /x\" = [\"post\"]",
                "4:22: expected one of read, write, delete, publish, permission, spend, admin, exec, secret, bulk, found “post”",
            ),
            (
                "effects.\"post /x\" = [\"read\"]",
                "4:9: expected a method in upper case, found “post /x”",
            ),
            (
                "effects.\"GET /a/../b\" = [\"read\"]",
                "4:9: expected a path without '.' and '..', found “GET /a/../b”",
            ),
            (
                "effects.GET = [\"read\"]",
                "4:9: expected a method, one space and a path, like \"POST /posts\", found “GET”",
            ),
            (
                "forward_headers = [\"Authorization\"]",
                "4:20: expected a header that carries no credential, found “Authorization”",
            ),
            (
                "forward_headers = [\"Transfer-Encoding\"]",
                "4:20: expected a header that does not frame the request, found “Transfer-Encoding”",
            ),
            (
                "token_url = \"https://a.example/t\"",
                "4:13: expected `token_url` only beside credential = \"oauth2\"",
            ),
            (
                "host = \"b.example\"",
                "4:1: expected a key of [accounts.s] (buckets, ca, connect_to, credential, effects, environment, forward_headers, hosts, kind, plaintext, port, region, service, tags, token_url), found “host” (did you mean \"hosts\"?)",
            ),
        ];
        for (line, expected) in table {
            assert_eq!(
                problems(&format!("{SITE}{line}")),
                [format!("countersign.toml:{expected}")],
                "{line}"
            );
        }
    }

    #[test]
    fn a_token_url_is_https_to_a_named_host() {
        let oauth = "[accounts.s]\nhosts = [\"a.example\"]\ncredential = \"oauth2\"\n";
        for bad in [
            "http://a.example/t",
            "https://a.example",
            "https://u@a.example/t",
            "https://a.example/t?x=1",
            "https://127.0.0.1/t",
            "https://localhost/t",
            "https://*.a.example/t",
            "https://a.example:/t",
            "a.example/t",
        ] {
            let found = problems(&format!("{oauth}token_url = \"{bad}\""));
            assert_eq!(found.len(), 1, "{bad}: {found:?}");
            assert!(
                found[0].contains("expected https://host/path without a query"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn all_problems_are_reported_in_the_order_of_the_text() {
        let found = problems(
            "[accounts.s]\nport = 0\nhosts = [\"a b\"]\ncredential = \"x\"\n[agents.y]\naccounts = [\"z\"]\nq = 1\n",
        );
        let lines: Vec<&str> = found.iter().map(|p| p.split(':').nth(1).unwrap()).collect();
        assert_eq!(lines, ["2", "3", "4", "6", "7"], "{found:?}");
    }

    #[test]
    fn a_broken_account_does_not_make_its_agents_look_wrong() {
        let found = problems(
            "[agents.x]\naccounts = [\"s\"]\n[accounts.s]\nport = 0\nhosts = [\"a.example\"]\ncredential = \"none\"",
        );
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn what_is_no_toml_says_where() {
        let found = problems("[agents.x]\naccounts = [\"a\"\n\n[accounts.a\n");
        assert!(found[0].starts_with("countersign.toml:"), "{found:?}");
        assert!(found[0].contains("expected TOML: "), "{found:?}");
        let twice = problems("[agents.x]\n[agents.x]\n");
        assert!(twice[0].starts_with("countersign.toml:2:"), "{twice:?}");
    }

    #[test]
    fn a_file_that_nests_deeply_is_an_error_and_no_crash() {
        for text in ["[", "{a=", "[[", "a."] {
            assert!(!problems(&format!("x = {}", text.repeat(200_000))).is_empty());
            assert!(!problems(&text.repeat(200_000)).is_empty());
        }
        assert!(!problems(&format!("{}a = 1", "a.".repeat(400_000))).is_empty());
        assert!(!problems(&format!("[{}a]", "a.".repeat(400_000))).is_empty());
    }

    #[test]
    fn two_accounts_of_an_agent_may_not_share_a_host() {
        let config = |first: &str, second: &str| {
            format!(
                "[agents.x]\naccounts = [\"a\", \"b\"]\n[accounts.a]\nhosts=[\"{first}\"]\ncredential=\"none\"\n\
                 [accounts.b]\nhosts=[\"{second}\"]\ncredential=\"none\"\n[agents.y]\naccounts=[\"a\"]"
            )
        };
        for (first, second) in [
            ("h.corp.example", "h.corp.example"),
            ("h.corp.example", "*.corp.example"),
            ("*.corp.example", "h.corp.example"),
            ("*.corp.example", "*.a.b.corp.example"),
            ("*.corp.example", "*.corp.example"),
        ] {
            let found = problems(&config(first, second));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with("countersign.toml:2:"), "{found:?}");
            assert!(
                found[0].contains("expected accounts that share no host"),
                "{found:?}"
            );
        }
        for (first, second) in [
            ("corp.corp.example", "*.corp.corp.example"),
            ("a.example", "b.example"),
        ] {
            assert!(parsed(&config(first, second)).is_ok(), "{first} {second}");
        }
    }

    #[test]
    fn ports_that_are_something_else_already_are_refused() {
        let text = |gateway: &str, ports: &str, host_ports: &str| {
            format!(
                "[gateway]\n{gateway}\n[agents.x]\naccounts = [\"s\"]\nports = [{ports}]\nhost_ports = [{host_ports}]\n\
                 [accounts.s]\nhosts = [\"a.example\"]\nport = 8443\ncredential = \"none\""
            )
        };
        let config = parsed(&text("tcp = 8807", "3000, 5173", "22, 5432")).unwrap();
        let agent = &config.agents[&"x".parse().unwrap()];
        assert_eq!(agent.ports, [3000, 5173]);
        assert_eq!(agent.host_ports, [22, 5432]);
        for (ports, host_ports, expected) in [
            ("", "3128", "3128 is the run's own gateway's there"),
            ("", "53", "53 is the run's own gateway's there"),
            ("8443", "", "8443 is the run's own gateway's there"),
            ("3000", "3000", "3000 is in both"),
            ("", "8807", "8807 is Countersign's own"),
            ("8822", "", "8822 is Countersign's own"),
            ("80", "", "different whole numbers from 1024 to 65535"),
            ("3000, 3000", "", "different whole numbers"),
            ("", "0", "different whole numbers from 1 to 65535"),
            ("", "\"5432\"", "different whole numbers"),
            ("", "65536", "different whole numbers"),
        ] {
            let found = problems(&text("tcp = 8807", ports, host_ports));
            assert!(found[0].contains(expected), "{expected}: {found:?}");
        }
        assert!(parsed(&text("tcp = 8807", "8823", "8806")).is_ok());
        let many: Vec<String> = (3000..3017).map(|port| port.to_string()).collect();
        assert!(problems(&text("", &many.join(","), ""))[0].contains("at most 16"));
    }

    #[test]
    fn a_host_port_leads_around_no_accounts_gateway() {
        let text = |connect_to: &str, host_port: u16| {
            format!(
                "[agents.x]\nhost_ports = [{host_port}]\n[accounts.db]\nhosts = [\"db.example\"]\n\
                 connect_to = \"{connect_to}\"\ncredential = \"none\""
            )
        };
        for connect_to in [
            "127.0.0.1:5432",
            "127.8.0.1:5432",
            "[::1]:5432",
            "[::ffff:127.0.0.1]:5432",
            "0.0.0.0:5432",
            "localhost:5432",
        ] {
            let found = problems(&text(connect_to, 5432));
            let expected = "5432 is where the account db is (its connect_to)";
            assert!(found[0].contains(expected), "{connect_to}: {found:?}");
            assert!(parsed(&text(connect_to, 5433)).is_ok(), "{connect_to}");
        }
        assert!(parsed(&text("192.0.2.1:5432", 5432)).is_ok());
    }

    #[test]
    fn a_file_or_list_beyond_its_limit_is_refused() {
        let long = format!("# {}", "x".repeat(1024 * 1024));
        assert!(problems(&long)[0].contains("expected at most 1048576 bytes"));
        let many: String = (0..1001).map(|i| format!("[agents.a{i}]\n")).collect();
        assert!(problems(&many)[0].contains("expected at most 1000 agents, found 1001"));
        let hosts: Vec<String> = (0..65).map(|i| format!("\"h{i}.example\"")).collect();
        let text = format!(
            "[accounts.s]\nhosts = [{}]\ncredential = \"none\"",
            hosts.join(",")
        );
        assert!(problems(&text)[0].contains("expected at most 64 entries, found 65"));
    }

    #[test]
    fn text_of_the_file_is_shown_neutralised() {
        let found = problems(
            "[accounts.s]\nhosts = [\"a\u{202e}b\"]\ncredential = \"none\"\n\"x\\u001b[2J\" = 1",
        );
        let all = found.join("\n");
        assert!(
            !all.contains('\u{202e}') && !all.contains('\u{1b}'),
            "{all:?}"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = parsed(&text);
        }

        #[test]
        fn no_text_that_looks_like_configuration_makes_the_parser_panic(
            parts in proptest::collection::vec(prop_oneof![
                Just("[agents.x]\n".to_owned()), Just("[accounts.s]\n".to_owned()),
                Just("hosts = [".to_owned()), Just("]\n".to_owned()), Just("effects.".to_owned()),
                "(hosts|credential|connect_to|ca|kind|port|token_url) = \"\\PC{0,20}\"\n",
                "\"\\PC{0,12}\"", "\\PC{0,4}", Just("= ".to_owned()), Just(",".to_owned()),
            ], 0..12)
        ) {
            let _ = parsed(&parts.concat());
        }

        #[test]
        fn no_host_makes_the_parser_panic_and_what_it_takes_is_normal(host in "[*a-zA-Z0-9.ä\u{ff47}\u{200d}-]{0,20}") {
            let text = format!("[accounts.s]\nhosts = ['{host}']\ncredential = 'none'\nconnect_to = '127.0.0.1:1'");
            if let Ok(config) = parsed(&text) {
                let pattern = config.accounts[&"s".parse().unwrap()].hosts[0].as_str().to_owned();
                let again = parsed(&text.replace(&format!("'{host}'"), &format!("'{pattern}'"))).unwrap();
                prop_assert_eq!(again, config);
            }
        }
    }
}
