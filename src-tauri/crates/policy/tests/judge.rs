//! What the rules say: the defaults, the ladder, and what fails.

#[cfg(test)]
mod tests {
    use countersign_model::{
        Account, Action, Agent, Assurance, CredentialKind, Effect, Effects, Environment, Foreign,
        HostPattern, Objects, Provider, Verdict, Words,
    };
    use countersign_policy::{DEFAULTS, Judgement, Policies, Recent};
    use proptest::prelude::*;

    const NOTIFICATION: Verdict = Verdict::Ask(Assurance::Notification);
    const WINDOW: Verdict = Verdict::Ask(Assurance::Window);
    const PRESENCE: Verdict = Verdict::Ask(Assurance::Presence);

    fn agent() -> Agent {
        Agent {
            id: "bot".parse().unwrap(),
            groups: vec!["coders".into()],
            accounts: vec!["acc".parse().unwrap()],
            recipe: None,
            ports: Vec::new(),
            host_ports: Vec::new(),
        }
    }

    fn account(provider: &str, environment: &str) -> Account {
        Account {
            id: "acc".parse().unwrap(),
            provider: Provider(provider.into()),
            hosts: vec![HostPattern::new("a.example").unwrap()],
            port: 443,
            environment: Environment(environment.into()),
            tags: vec!["team".into()],
            credential: CredentialKind::Bearer,
            connect_to: None,
            ca_pem: None,
            plaintext: false,
            effects: vec![],
            forward_headers: vec![],
            token_url: None,
        }
    }

    fn action(effects: &[Effect], routine: bool) -> Action {
        Action {
            provider: Provider("http".into()),
            operation: "things.do".into(),
            effects: Effects::of(effects),
            objects: Objects::one("thing-1"),
            words: Words::new("Do things"),
            routine,
            decided_by: "test".into(),
            account: "acc".parse().unwrap(),
            environment: Environment::default(),
            reason: None,
            data_digest: None,
        }
    }

    fn rules(texts: &[(&str, &str)]) -> Policies {
        let files: Vec<_> = texts
            .iter()
            .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))
            .collect();
        Policies::parse(&files).unwrap()
    }

    fn judge(policies: &Policies, account: &Account, action: &Action) -> Judgement {
        policies.judge(&agent(), account, action, &Recent::default())
    }

    fn default_verdict(
        provider: &str,
        environment: &str,
        effects: &[Effect],
        routine: bool,
    ) -> Verdict {
        let judged = judge(
            &Policies::defaults().unwrap(),
            &account(provider, environment),
            &action(effects, routine),
        );
        assert_eq!(judged.error, None);
        judged.verdict
    }

    #[test]
    fn the_forum_post_asks() {
        let judged = judge(
            &Policies::defaults().unwrap(),
            &account("http", "staging"),
            &action(&[Effect::Write, Effect::Publish], false),
        );
        assert_eq!(judged.verdict, NOTIFICATION);
        assert_eq!(judged.rules, ["ask-for-the-rest"]);
        assert_eq!(
            default_verdict("http", "production", &[Effect::Publish], false),
            WINDOW
        );
    }

    #[test]
    fn the_rebuild_of_production_asks_in_the_window_and_is_denied_where_it_was_not_assigned() {
        let rebuild = action(&[Effect::Delete, Effect::Admin], false);
        let policies = Policies::defaults().unwrap();
        let judged = judge(&policies, &account("http", "production"), &rebuild);
        assert_eq!(judged.verdict, WINDOW);
        assert_eq!(judged.rules, ["ask-for-the-rest", "window-on-production"]);

        let mut stranger = agent();
        stranger.accounts.clear();
        let judged = policies.judge(
            &stranger,
            &account("http", "production"),
            &rebuild,
            &Recent::default(),
        );
        assert_eq!((judged.verdict, judged.rules), (Verdict::Deny, vec![]));
    }

    #[test]
    fn the_deletion_of_hundreds_of_mails_asks_in_the_window() {
        let mut empty_inbox = action(&[Effect::Delete, Effect::Bulk], false);
        empty_inbox.objects.count = Some(4312);
        let judged = judge(
            &Policies::defaults().unwrap(),
            &account("gmail", "personal"),
            &empty_inbox,
        );
        assert_eq!(judged.verdict, WINDOW);
        assert_eq!(
            judged.rules,
            ["ask-for-the-rest", "window-for-bulk-permission-spend"]
        );
    }

    #[test]
    fn the_defaults_are_as_designed() {
        let table: &[(&str, &str, &[Effect], bool, Verdict)] = &[
            ("http", "", &[Effect::Read], true, Verdict::Allow),
            ("http", "production", &[Effect::Read], true, Verdict::Allow),
            ("http", "", &[Effect::Read], false, NOTIFICATION),
            ("http", "production", &[Effect::Read], false, WINDOW),
            ("http", "", &[Effect::Write], false, NOTIFICATION),
            ("http", "production", &[Effect::Write], false, WINDOW),
            ("http", "", &[Effect::Delete], false, NOTIFICATION),
            ("http", "", &[Effect::Secret], false, NOTIFICATION),
            ("http", "", &[Effect::Exec], false, NOTIFICATION),
            ("http", "", &[Effect::Admin], false, NOTIFICATION),
            ("http", "", &[Effect::Permission], false, WINDOW),
            ("http", "", &[Effect::Spend], false, WINDOW),
            ("http", "", &[Effect::Read, Effect::Bulk], false, WINDOW),
            ("anthropic", "", &[Effect::Spend], false, Verdict::Allow),
            ("anthropic", "production", &[Effect::Spend], false, WINDOW),
            (
                "anthropic",
                "",
                &[Effect::Spend, Effect::Write],
                false,
                WINDOW,
            ),
            ("anthropic", "", &[Effect::Write], false, NOTIFICATION),
        ];
        for (provider, environment, effects, routine, verdict) in table {
            let found = default_verdict(provider, environment, effects, *routine);
            assert_eq!(
                found, *verdict,
                "{provider} {environment} {effects:?} {routine}"
            );
        }
    }

    #[test]
    fn a_model_beyond_its_budget_asks() {
        let recent = Recent {
            requests: 1000,
            objects: 0,
        };
        let policies = Policies::defaults().unwrap();
        let judged = policies.judge(
            &agent(),
            &account("openai", ""),
            &action(&[Effect::Spend], false),
            &recent,
        );
        assert_eq!(judged.verdict, NOTIFICATION);
    }

    #[test]
    fn a_request_is_routine_only_when_reading_is_all_it_does() {
        assert_eq!(
            default_verdict("http", "", &[Effect::Read, Effect::Write], true),
            NOTIFICATION
        );
        assert_eq!(
            default_verdict("http", "", &[Effect::Write], true),
            NOTIFICATION
        );
        assert_eq!(
            default_verdict("http", "production", &[Effect::Read, Effect::Secret], true),
            WINDOW
        );
    }

    #[test]
    fn no_effects_are_denied() {
        assert_eq!(default_verdict("http", "", &[], true), Verdict::Deny);
        let all = rules(&[("all.cedar", "permit (principal, action, resource);")]);
        assert_eq!(
            judge(&all, &account("http", ""), &action(&[], false)).verdict,
            Verdict::Deny
        );
    }

    #[test]
    fn without_rules_everything_is_denied() {
        let judged = judge(
            &rules(&[]),
            &account("http", ""),
            &action(&[Effect::Read], true),
        );
        assert_eq!((judged.verdict, judged.rules), (Verdict::Deny, vec![]));
    }

    #[test]
    fn the_ladder_ends_at_the_highest_rung_that_any_effect_needs() {
        let policies = rules(&[(
            "rungs.cedar",
            r#"permit (principal, action == Action::"read", resource);
               permit (principal, action == Action::"write", resource) when { context.approval >= 1 };
               permit (principal, action == Action::"delete", resource) when { context.approval >= 2 };
               permit (principal, action == Action::"admin", resource) when { context.approval >= 3 };
               permit (principal, action == Action::"exec", resource) when { context.approval == 1 };"#,
        )]);
        use Effect::{Admin, Delete, Exec, Publish, Read, Write};
        let table: &[(&[Effect], Verdict)] = &[
            (&[Read], Verdict::Allow),
            (&[Write], NOTIFICATION),
            (&[Read, Write], NOTIFICATION),
            (&[Read, Delete], WINDOW),
            (&[Write, Delete, Read], WINDOW),
            (&[Admin], PRESENCE),
            (&[Read, Write, Delete, Admin], PRESENCE),
            (&[Publish], Verdict::Deny),
            (&[Read, Publish], Verdict::Deny),
            (&[Exec], NOTIFICATION),
            (&[Exec, Write], NOTIFICATION),
            // At the rung that `delete` needs, `exec` is denied again.
            (&[Exec, Delete], Verdict::Deny),
        ];
        for (effects, verdict) in table {
            let judged = judge(&policies, &account("http", ""), &action(effects, false));
            assert_eq!(judged.verdict, *verdict, "{effects:?}");
        }
        let judged = judge(
            &policies,
            &account("http", ""),
            &action(&[Read, Delete], false),
        );
        assert_eq!(judged.rules, ["rungs:1", "rungs:3"]);
    }

    #[test]
    fn a_forbid_beats_every_permit_and_approval() {
        let policies = rules(&[
            ("all.cedar", "permit (principal, action, resource);"),
            (
                "never.cedar",
                "forbid (principal, action == Action::\"delete\", resource);",
            ),
        ]);
        let judged = judge(
            &policies,
            &account("http", ""),
            &action(&[Effect::Read, Effect::Delete], false),
        );
        assert_eq!(
            (judged.verdict, judged.rules),
            (Verdict::Deny, vec!["never".to_owned()])
        );
    }

    #[test]
    fn a_forbid_that_fails_beside_a_permit_denies_and_is_named() {
        let policies = rules(&[
            ("all.cedar", "permit (principal, action, resource);"),
            (
                "careful.cedar",
                "forbid (principal, action, resource)\nwhen { context.recent.requests * 9223372036854775807 > 5 };",
            ),
        ]);
        let recent = Recent {
            requests: 2,
            objects: 0,
        };
        let judged = policies.judge(
            &agent(),
            &account("http", ""),
            &action(&[Effect::Read], true),
            &recent,
        );
        assert_eq!(judged.verdict, Verdict::Deny);
        let error = judged.error.unwrap();
        assert!(
            error.contains("careful") && error.contains("overflow"),
            "{error}"
        );
        let fine = judge(
            &policies,
            &account("http", ""),
            &action(&[Effect::Read], true),
        );
        assert_eq!((fine.verdict, fine.error), (Verdict::Allow, None));
    }

    #[test]
    fn a_rule_sees_what_the_schema_says() {
        let sees = |condition: &str, account_: &Account, action_: &Action| {
            let text = format!(
                "permit (principal in AgentGroup::\"coders\", action, resource) when {{ {condition} }};"
            );
            let judged = policies_judge(&text, account_, action_);
            assert_eq!(judged.error, None, "{condition}");
            judged.verdict == Verdict::Allow
        };
        fn policies_judge(text: &str, account: &Account, action: &Action) -> Judgement {
            judge(&rules(&[("one.cedar", text)]), account, action)
        }
        let (a, mut b) = (
            account("gmail", "staging"),
            action(&[Effect::Read, Effect::Bulk], false),
        );
        b.objects = Objects::these((0..25).map(|i| Foreign::new(format!("o{i}"))).collect());
        b.reason = Some(Foreign::new("things.do"));
        for yes in [
            "resource.provider == \"gmail\" && resource.environment == \"staging\"",
            "resource.tags.contains(\"team\")",
            "context.operation == \"things.do\"",
            "context.objects.contains(\"o0\") && !context.objects.contains(\"o24\") && !context.objects_complete",
            "context has count && context.count == 25",
            "context.effects == [\"bulk\", \"read\"]",
            "context.recent.requests == 0 && context.recent.objects == 0",
            "principal == Agent::\"bot\" && resource == Account::\"acc\"",
        ] {
            assert!(sees(yes, &a, &b), "{yes}");
        }
        b.objects = Objects::one("only");
        assert!(sees(
            "context.objects_complete && context has count && context.count == 1",
            &a,
            &b
        ));
        b.objects = Objects::unknown();
        assert!(sees(
            "!(context has count) && !context.objects_complete",
            &a,
            &b
        ));
    }

    #[test]
    fn changed_configuration_under_the_same_names_is_judged_anew() {
        let policies = Policies::defaults().unwrap();
        let write = action(&[Effect::Write], false);
        assert_eq!(
            judge(&policies, &account("http", ""), &write).verdict,
            NOTIFICATION
        );
        assert_eq!(
            judge(&policies, &account("http", "production"), &write).verdict,
            WINDOW
        );
        let mut bare = agent();
        bare.accounts.clear();
        let judged = policies.judge(&bare, &account("http", ""), &write, &Recent::default());
        assert_eq!(judged.verdict, Verdict::Deny);
    }

    #[test]
    fn an_action_of_another_account_is_denied() {
        let mut other = action(&[Effect::Read], true);
        other.account = "other".parse().unwrap();
        let judged = judge(&Policies::defaults().unwrap(), &account("http", ""), &other);
        assert!(judged.verdict == Verdict::Deny && judged.error.is_some());
    }

    fn problems(name: &str, text: &str) -> Vec<String> {
        Policies::parse(&[(name.to_owned(), text.to_owned())])
            .expect_err(text)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_file_that_does_not_fit_is_refused_with_file_and_line() {
        let table: &[(&str, &str, &str)] = &[
            (
                "permit (principal, action, resource)\nwhen { context.aproval >= 1 };",
                "policies/x.cedar:2:8: ",
                "aproval",
            ),
            (
                "permit (principal, action, resource)\nwhen { context.approval >= \"1\" };",
                "policies/x.cedar:2:28: ",
                "Long",
            ),
            (
                "permit (principal, action == Action::\"reed\", resource);",
                "policies/x.cedar:1:30: ",
                "reed",
            ),
            (
                "permit (principal, action, resource)\nwhen { resource.environment };",
                "policies/x.cedar:2:8: ",
                "Bool",
            ),
            (
                "permit (principal, action, resource)\nwhen { context.count > 1 };",
                "policies/x.cedar:2:8: ",
                "count",
            ),
            (
                "permit (principal, action, resource) when { true }\n;;",
                "policies/x.cedar:2:2: ",
                ";",
            ),
            (
                "// nothing\npermit (principal, action);",
                "policies/x.cedar:2:",
                "",
            ),
            (
                "permit (principal == Robot::\"x\", action, resource);",
                "policies/x.cedar:1:",
                "Robot",
            ),
            (
                "permit (principal, action, resource)\nwhen { Account::\"acc\".environment == \"x\" };",
                "policies/x.cedar:2:",
                "level",
            ),
            (
                "permit (principal == ?principal, action, resource);",
                "policies/x.cedar:1:1: ",
                "template",
            ),
            (
                "permit (principal, action, resource)\nwhen { resource.environment == \"x\" && false };",
                "policies/x.cedar:1:1: ",
                "false",
            ),
            (
                "permit (principal, action, resource)\nwhen { context.operation == \"p\u{0430}ypal\" };",
                "policies/x.cedar:",
                "scripts",
            ),
        ];
        for (text, place, part) in table {
            let found = problems("policies/x.cedar", text);
            assert!(
                found[0].starts_with(place) && found[0].contains(part),
                "{text}\n{found:#?}"
            );
        }
    }

    #[test]
    fn a_file_name_that_could_be_mistaken_is_refused() {
        for name in ["x.txt", ".cedar", "X.cedar", "a b.cedar", "a:1.cedar", "x"] {
            assert!(
                problems(name, "")[0].contains("is named NAME.cedar"),
                "{name}"
            );
        }
        let twice = [
            ("a/x.cedar".to_owned(), String::new()),
            ("b/x.cedar".to_owned(), String::new()),
        ];
        assert!(
            Policies::parse(&twice).unwrap_err()[0]
                .to_string()
                .contains("another policy file named \"x\"")
        );
    }

    #[test]
    fn every_problem_of_every_file_is_reported() {
        let files = [
            (
                "a.cedar".to_owned(),
                "permit (principal, action, resource) when { 1 };".to_owned(),
            ),
            ("b.cedar".to_owned(), "permit".to_owned()),
        ];
        let found: Vec<String> = Policies::parse(&files)
            .unwrap_err()
            .iter()
            .map(|p| p.file.clone())
            .collect();
        assert_eq!(found, ["a.cedar", "b.cedar"]);
    }

    #[test]
    fn a_file_that_nests_deeply_is_an_error_and_no_crash() {
        for text in [
            format!(
                "permit (principal, action, resource) when {{ {}true{} }};",
                "(".repeat(30_000),
                ")".repeat(30_000)
            ),
            format!(
                "permit (principal, action, resource) when {{ {}true }};",
                "!".repeat(60_000)
            ),
            format!(
                "permit (principal, action, resource) when {{ {} }};",
                "[".repeat(60_000)
            ),
        ] {
            assert!(!problems("x.cedar", &text).is_empty());
        }
        assert!(problems("x.cedar", &" ".repeat(70_000))[0].contains("at most 65536 bytes"));
    }

    #[test]
    fn rules_are_found_by_the_name_of_their_file() {
        let policies = rules(&[
            (
                "policies/one.cedar",
                "@id(\"other\")\npermit (principal, action, resource);",
            ),
            (
                "policies/two.cedar",
                "permit (principal, action, resource);\nforbid (principal, action, resource);",
            ),
        ]);
        let mut ids: Vec<&str> = policies.ids().collect();
        ids.sort_unstable();
        assert_eq!(ids, ["one", "two:1", "two:2"]);
        let judged = judge(
            &policies,
            &account("http", ""),
            &action(&[Effect::Read], true),
        );
        assert_eq!(judged.rules, ["two:2"]);
    }

    #[test]
    fn each_default_is_one_rule_that_says_in_words_what_it_does() {
        for (name, text) in DEFAULTS {
            let found = rules(&[(name, text)]);
            assert_eq!(found.ids().count(), 1, "{name}");
            assert!(text.starts_with("// "), "{name}");
        }
    }

    fn strength(verdict: Verdict) -> u8 {
        match verdict {
            Verdict::Allow => 0,
            Verdict::Ask(assurance) => assurance.level(),
            Verdict::Deny => 4,
        }
    }

    proptest! {
        #[test]
        fn another_effect_never_weakens_the_verdict_of_the_defaults(
            bits in 1_u16..1024,
            more in 0_usize..10,
            routine: bool,
            production: bool,
            provider in prop::sample::select(vec!["http", "gmail", "anthropic", "openrouter"]),
        ) {
            let effects: Vec<Effect> = Effect::ALL.into_iter().filter(|e| bits & (1 << *e as u16) != 0).collect();
            let mut wider = effects.clone();
            wider.push(Effect::ALL[more]);
            let policies = Policies::defaults().unwrap();
            let account = account(provider, if production { "production" } else { "" });
            let narrow = judge(&policies, &account, &action(&effects, routine));
            let wide = judge(&policies, &account, &action(&wider, routine));
            prop_assert_eq!((&narrow.error, &wide.error), (&None, &None));
            prop_assert!(strength(wide.verdict) >= strength(narrow.verdict), "{:?} {:?}", narrow, wide);
        }

        #[test]
        fn no_text_makes_the_loader_panic(text in "(permit|forbid)? ?\\(?principal, \\PC{0,40}") {
            let _ = Policies::parse(&[("x.cedar".to_owned(), text)]);
        }

        #[test]
        fn no_action_makes_the_judge_fail(operation in "\\PC*", object in ".*", count: Option<u64>, requests: u64, objects: u64) {
            let mut odd = action(&[Effect::Write], false);
            odd.operation = operation;
            odd.objects = Objects { listed: vec![Foreign::new(object.clone()), Foreign::new(object)], count };
            let recent = Recent { requests, objects };
            let judged = Policies::defaults().unwrap().judge(&agent(), &account("http", ""), &odd, &recent);
            prop_assert_eq!((judged.verdict, judged.error), (NOTIFICATION, None));
        }
    }
}
