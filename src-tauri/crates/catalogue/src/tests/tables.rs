use crate::path::Segments;
use crate::table::{self, Entry, tables};
use crate::testing::draft;
use crate::{BodyView, RequestView, id, kind, recognise, verbs};
use countersign_model::Effect;

/// The template with every parameter filled in.
fn filled(template: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, braced)) = rest.split_once('{') {
        let (name, after) = braced.split_once('}').unwrap();
        out.push_str(before);
        out.push_str(if name.ends_with("**") {
            "some/where"
        } else {
            "something1"
        });
        rest = after;
    }
    out + rest
}

fn everything() -> impl Iterator<Item = (&'static str, &'static Entry, &'static str, &'static str)>
{
    tables().iter().flat_map(|table| {
        table.entries().iter().flat_map(move |entry| {
            let pairs = entry
                .hosts
                .split(' ')
                .flat_map(|h| entry.methods.split('|').map(move |m| (h, m)));
            pairs.map(move |(host, method)| (table.provider, entry, host, method))
        })
    })
}

#[test]
fn every_line_of_every_table_can_be_read() {
    for table in tables() {
        for line in table::lines(table.text) {
            assert!(line.is_ok(), "{}: {}", table.provider, line.unwrap_err());
        }
    }
}

#[test]
fn every_template_filled_in_finds_itself_and_nothing_else() {
    let mut seen = 0;
    for (provider, entry, host, method) in everything() {
        let path = filled(entry.template.text);
        let table = table::table(provider).unwrap();
        let found = table
            .find(host, method, &Segments::of(&path).unwrap())
            .unwrap();
        assert_eq!(
            found.entry.template.text, entry.template.text,
            "{method} {path}"
        );
        assert!(!found.ambiguous, "{method} {path}");
        seen += 1;
    }
    assert!(seen > 700, "{seen} operations");
}

#[test]
fn every_host_of_a_table_is_a_host_of_its_kind() {
    for table in tables() {
        for host in table.hosts() {
            assert!(
                kind(table.provider).unwrap().hosts.contains(&host),
                "{host}"
            );
        }
    }
}

#[test]
fn a_read_that_goes_alone_has_no_verb_that_changes() {
    for (provider, entry, host, method) in everything() {
        let mut request = draft(
            provider,
            &format!("{method} {}", filled(entry.template.text)),
        )
        .at(host);
        if method != "GET" {
            request = request.form("");
        }
        let known = request.judge();
        if known.routine {
            assert!(entry.effects.is_read_only(), "{}", entry.operation);
            let last = entry.operation.rsplit(['.', '/']).next().unwrap();
            let verb = last.split('-').next().unwrap();
            let suggested = verbs::of_name(verb, false);
            // Nouns such as `members` and `all` may be read.
            let verbs = [Effect::Delete, Effect::Publish, Effect::Exec, Effect::Spend];
            let harmless = !verbs.iter().any(|effect| suggested.has(*effect));
            assert!(harmless, "{} suggests {suggested}", entry.operation);
        }
    }
}

#[test]
fn get_alone_is_routine_exactly_where_the_table_says_read_and_nothing_else() {
    for (provider, entry, host, method) in everything().filter(|(.., method)| *method == "GET") {
        let request = draft(
            provider,
            &format!("{method} {}", filled(entry.template.text)),
        )
        .at(host);
        assert_eq!(
            request.judge().routine,
            entry.effects.is_read_only(),
            "{}",
            entry.operation
        );
    }
}

#[test]
fn other_methods_change_something_unless_they_are_plainly_reads() {
    let reads = [
        "markdown/render",
        "repos/generate-release-notes",
        "git/fetch",
        "messages/count-tokens",
        "responses/count-tokens",
        "models.countTokens",
    ];
    for (provider, entry, _, method) in everything() {
        if method != "GET" && provider != "slack" {
            let only_reads = entry.effects.is_read_only();
            assert_eq!(
                only_reads,
                reads.contains(&entry.operation),
                "{}",
                entry.operation
            );
        }
        if method == "DELETE" {
            assert!(entry.effects.has(Effect::Delete), "{}", entry.operation);
        }
    }
}

#[test]
fn a_body_that_cannot_be_read_never_lowers_an_operation_and_never_goes_alone() {
    for (provider, entry, host, method) in everything() {
        let request = draft(
            provider,
            &format!("{method} {}", filled(entry.template.text)),
        )
        .at(host);
        for body in [
            BodyView::TooLarge { length: None },
            BodyView::Encoded,
            BodyView::Whole(b"{\"a\":1,\"a\":2}"),
        ] {
            let known = request.with_body(body);
            assert!(!known.routine, "{}", entry.operation);
            assert_eq!(
                known.effects.union(entry.effects),
                known.effects,
                "{}",
                entry.operation
            );
            assert!(!known.preview.whole || matches!(body, BodyView::Whole(_)));
        }
    }
}

#[test]
fn an_operation_of_another_host_or_another_case_is_unknown() {
    for (provider, line) in [
        ("gmail", "GET /GMAIL/v1/users/me/profile"),
        ("gmail", "GET /gmail/v1/users/me//profile"),
        ("gmail", "GET /gmail/v1/users/me/%2e%2e/me/profile"),
        ("gmail", "GET /gmail/v1/users/me%2Fmessages/x"),
        ("gmail", "GET /gmail/v2/users/me/profile"),
        ("github", "GET /repos/a/b/branches/x%2Fy"),
        ("github", "PROPFIND /repos/a/b"),
        ("slack", "GET /api/Auth.test"),
    ] {
        let known = draft(provider, line).judge();
        assert!(
            !known.routine && known.decided_by.contains("not in the catalogue"),
            "{line}: {known:?}"
        );
        assert!(known.words.to_string().contains("not known here"), "{line}");
    }
    let elsewhere = draft("github", "GET /user")
        .at("uploads.github.com")
        .judge();
    assert!(!elsewhere.routine);
}

#[test]
fn the_id_says_which_tables_judged() {
    assert!(id().starts_with("catalogue-2-") && id().len() == "catalogue-2-".len() + 16);
}

#[test]
fn a_provider_without_a_table_never_goes_alone() {
    let account = crate::testing::account("telegraph", "telegraph.example");
    let request = RequestView {
        method: "GET",
        host: "telegraph.example",
        path: "/",
        query: None,
        headers: &[],
        body: BodyView::None,
    };
    let known = recognise(&account, &request);
    assert!(!known.routine && !known.effects.is_empty());
}
