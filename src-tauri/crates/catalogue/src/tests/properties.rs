use crate::body::json;
use crate::table::tables;
use crate::testing::draft;
use crate::{BodyView, RequestView, needs_body, recognise};
use countersign_model::{Effect, EffectsRule, HeaderField};
use proptest::prelude::*;

fn providers() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("http"),
        Just("gmail"),
        Just("github"),
        Just("slack"),
        Just("aws"),
        Just("google"),
        Just("gitlab"),
        Just("telegraph")
    ]
}

fn methods() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"
        ])
        .prop_map(str::to_owned),
        "[!-~]{0,12}",
    ]
}

fn generated_paths() -> impl Iterator<Item = String> {
    let all = super::generated::listed().iter();
    all.filter(|each| each.path.starts_with('/'))
        .map(|each| each.path.clone())
}

/// Real templates, with their braces, so that matching gets somewhere.
fn paths() -> impl Strategy<Value = String> {
    let known: Vec<String> = tables()
        .iter()
        .flat_map(|t| {
            t.entries()
                .iter()
                .map(|e| e.template.text.replace("**", ""))
        })
        // And of the generated ones, so many that every kind of them is there.
        .chain(generated_paths().step_by(997))
        .collect();
    prop_oneof![
        prop::sample::select(known),
        ".{0,40}",
        "(/[a-z%.;A-F0-9]{0,6}){0,5}"
    ]
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}\":,a-z0-9\\\\u]{0,80}".prop_map(String::into_bytes),
        "([a-z_]{0,8}=[a-z%0-9]{0,8}&?){0,6}".prop_map(String::into_bytes),
        Just(br#"{"ids":["1"],"raw":"VG86IGE","message":{"raw":"VG86IGE"},"force":true}"#.to_vec()),
    ]
}

fn types() -> impl Strategy<Value = Vec<HeaderField>> {
    let names = prop::sample::select(vec![
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "message/rfc822",
        "text/plain; charset=x",
        "\u{fffd}",
    ]);
    prop::collection::vec(names, 0..3).prop_map(|all| {
        let field = |value: &str| HeaderField {
            name: "content-type".into(),
            value: value.into(),
        };
        all.into_iter().map(field).collect()
    })
}

/// The lines that mails are made of, in any order.
fn mail_line() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "To: a@a.example, b@a.example\r\n",
        "Bcc: x:y@a.example,;\r\n",
        "Subject: =?utf-8?b?w6Q=?=\n",
        "Content-Type: multipart/mixed; boundary=b\r\n",
        "Content-Type: multipart/alternative;\r\n boundary=\"c\"\r\n",
        "Content-Type: message/rfc822\r\n",
        "Content-Type: text/html; charset=utf-16\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        "Content-Transfer-Encoding: quoted-printable\r\n",
        "Content-Disposition: form-data; name=\"a\"; filename*=utf-8''%e2\r\n",
        "\r\n",
        "\n",
        "--b\r\n",
        "--b--\r\n",
        "--c\n",
        "--c--",
        "VG86IGFAYS5leGFtcGxl\r\n",
        "=C3=A4=\r\n",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[ -~\r\n]{0,20}", 1 => ".{0,10}"]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn nothing_panics_and_something_is_always_known(
        provider in providers(), method in methods(), path in paths(), query in prop::option::of(".{0,30}"),
        body in bodies(), headers in types(), rule in "/[a-z*/]{0,12}",
    ) {
        let mut account = draft("http", "GET /").account;
        account.provider.0 = provider.into();
        account.effects = vec![EffectsRule { method: method.clone(), path: rule, effects: [Effect::Read].into_iter().collect() }];
        let _ = needs_body(&account, &method, "forum.example", &path, query.as_deref(), &headers);
        for host in ["gmail.googleapis.com", "api.github.com", "slack.com", "forum.example", "s3.eu-west-1.amazonaws.com", "a.s3.amazonaws.com", "ec2.eu-west-1.amazonaws.com", "storage.googleapis.com"] {
            for body in [BodyView::None, BodyView::Whole(&body), BodyView::Encoded, BodyView::Streaming] {
                let request = RequestView { method: &method, host, path: &path, query: query.as_deref(), headers: &headers, body };
                let known = recognise(&account, &request);
                prop_assert!(!known.effects.is_empty());
                prop_assert!(!known.routine || known.effects.is_read_only());
                prop_assert!(!known.words.to_string().is_empty() && !known.decided_by.is_empty());
            }
        }
    }

    #[test]
    fn a_repeated_name_never_goes_alone(name in "[a-z]{1,8}", depth in 0usize..5, at in 0usize..4) {
        let twice = format!(r#"{{"{name}":1,"{name}":2}}"#);
        let body = (0..depth).fold(twice, |inner, n| {
            if n % 2 == 0 { format!("[{inner}]") } else { format!(r#"{{"x":{inner}}}"#) }
        });
        prop_assert!(json::strict(body.as_bytes()).is_err());
        let (provider, line) = [
            ("http", "POST /search"), ("slack", "POST /api/users.list"),
            ("github", "POST /markdown"), ("gmail", "POST /gmail/v1/users/me/messages/batchDelete"),
        ][at];
        let mut request = draft(provider, line).json(&body);
        request.account.effects = vec![EffectsRule {
            method: "POST".into(), path: "/**".into(), effects: [Effect::Read].into_iter().collect(),
        }];
        prop_assert!(!request.judge().routine);
    }

    #[test]
    fn an_overriding_header_never_goes_alone(
        name in prop::sample::select(vec!["x-http-method-override", "x-method-override", "x-http-method", "x-original-url"]),
        value in "[ -~]{0,12}", provider in providers(),
    ) {
        for path in ["/", "/user", "/api/auth.test", "/gmail/v1/users/me/profile"] {
            let request = draft(provider, &format!("GET {path}")).header(name, &value);
            prop_assert!(!request.judge().routine);
        }
    }

    #[test]
    fn the_count_of_a_bulk_deletion_is_the_number_of_its_ids(ids in prop::collection::vec("[a-f0-9]{1,16}", 1..60)) {
        let body = serde_json::json!({ "ids": &ids }).to_string();
        let known = draft("gmail", "POST /gmail/v1/users/me/messages/batchDelete").json(&body).judge();
        prop_assert_eq!(known.objects.count, Some(ids.len() as u64));
        prop_assert_eq!(known.effects.has(Effect::Bulk), ids.len() > 1);
    }

    #[test]
    fn a_mail_never_loses_a_recipient(
        to in prop::collection::vec("[a-z]{1,8}@[a-z]{1,8}\\.example", 1..6),
        bcc in prop::collection::vec("[a-z]{1,8}@[a-z]{1,8}\\.example", 0..6),
    ) {
        let mail = format!("To: {}\r\nBcc: {}\r\nSubject: s\r\n\r\nhi", to.join(", "), bcc.join(",\r\n "));
        let known = draft("gmail", "POST /upload/gmail/v1/users/me/messages/send")
            .typed("message/rfc822", mail.as_bytes()).judge();
        for address in to.iter().chain(&bcc) {
            prop_assert!(known.objects.listed.iter().any(|o| o.raw() == address), "{}", address);
        }
    }

    #[test]
    fn no_mail_panics(lines in prop::collection::vec(mail_line(), 0..24), cut in 0usize..400) {
        let mut mail = lines.concat().into_bytes();
        mail.truncate(cut.max(1));
        for (kind, path) in [
            ("message/rfc822", "/upload/gmail/v1/users/me/messages/send"),
            ("multipart/related; boundary=b", "/upload/gmail/v1/users/me/drafts"),
            ("multipart/form-data; boundary=\"c\"", "/batch"),
        ] {
            let known = draft("gmail", &format!("POST {path}")).typed(kind, &mail).judge();
            prop_assert!(!known.routine && !known.effects.is_empty());
        }
    }

    #[test]
    fn strict_json_reads_what_it_writes(value in "[ -~äß\u{1F600}]{0,40}", n in any::<i64>()) {
        let whole = serde_json::json!({ "a": [value, n, null, true], "b": { "c": n } });
        prop_assert_eq!(json::strict(whole.to_string().as_bytes()), Ok(whole));
    }
}
