use crate::judgement::fx;
use crate::testing::{Draft, draft};
use crate::{BodyView, explain, needs_body};
use countersign_model::Effect::{Delete, Exec, Publish, Read, Secret};
use countersign_model::{DataPreview, Effect, EffectsRule, HeaderField};

fn plain(line: &str) -> Draft {
    draft("http", line)
}

fn ruled(line: &str, rule: &str, effects: &[Effect]) -> Draft {
    let mut request = plain(line);
    let (method, path) = rule.split_once(' ').unwrap();
    request.account.effects = vec![EffectsRule {
        method: method.into(),
        path: path.into(),
        effects: fx(effects),
    }];
    request
}

#[test]
fn only_get_and_head_without_a_body_go_alone() {
    for (line, effects, routine) in [
        ("GET /", "read", true),
        ("HEAD /posts/1?page=2", "read", true),
        ("GET /@scope%2fname", "read", true),
        ("OPTIONS /", "read", false),
        ("POST /posts", "write", false),
        ("PUT /posts/1", "write", false),
        ("PATCH /posts/1", "write", false),
        ("DELETE /posts/1", "delete", false),
        ("TRACE /", "exec", false),
        ("get /", "exec", false),
    ] {
        let request = plain(line);
        assert_eq!(
            (request.effects().as_str(), request.judge().routine),
            (effects, routine),
            "{line}"
        );
    }
    assert!(!plain("GET /").with_body(BodyView::Whole(b"x")).routine);
    assert!(!plain("GET /").with_body(BodyView::Streaming).routine);
    assert!(
        !plain("GET /")
            .with_body(BodyView::TooLarge { length: Some(1) })
            .routine
    );
    assert!(plain("GET /").with_body(BodyView::Whole(b"")).routine);
}

#[test]
fn the_users_rule_may_raise_and_lower() {
    let known = ruled("POST /posts", "POST /posts", &[Publish])
        .json(r#"{"text":"hi"}"#)
        .judge();
    assert_eq!(known.effects, fx(&[Publish]));
    assert_eq!(known.operation, "POST /posts");
    assert_eq!(
        known.words.to_string(),
        "Publish at “forum.example/posts” (POST)"
    );
    assert!(known.preview.whole && known.decided_by.contains("rule"));

    assert!(
        ruled("POST /search", "POST /search", &[Read])
            .json(r#"{"q":"x"}"#)
            .judge()
            .routine
    );
    assert!(
        !ruled("GET /logout", "GET /logout", &[Delete])
            .judge()
            .routine
    );
    assert!(
        !ruled("HEAD /logout", "GET /logout", &[Delete])
            .judge()
            .routine
    );
    assert!(
        !ruled("GET /LOGOUT", "GET /logout", &[Delete])
            .judge()
            .routine
    );
    assert!(
        !ruled("GET //logout;a", "GET /logout", &[Delete])
            .judge()
            .routine
    );
}

#[test]
fn a_rule_lowers_even_what_the_catalogue_knows() {
    let mut request = draft("gmail", "POST /gmail/v1/users/me/messages/17/modify").json("{}");
    request.account.effects = vec![EffectsRule {
        method: "POST".into(),
        path: "/gmail/v1/users/me/messages/*/modify".into(),
        effects: fx(&[Read]),
    }];
    let known = request.judge();
    assert!(known.routine && known.operation == "gmail.users.messages.modify");
}

#[test]
fn an_overridden_method_is_seen_wherever_it_stands_and_no_rule_lowers_it() {
    let read = |line: &str| ruled(line, "POST /search", &[Read]);
    for (what, request) in [
        (
            "header",
            read("POST /search").header("x-http-method-override", "DELETE"),
        ),
        (
            "header",
            read("POST /search").header("x-method-override", "delete "),
        ),
        (
            "header",
            read("POST /search").header("x-http-method", "DELETE"),
        ),
        ("query", read("POST /search?a=1&_method=DELETE")),
        ("query", read("POST /search?a=1;%5Fmethod=DELETE")),
        ("query", read("POST /search?X-HTTP-Method-Override=DELETE")),
        ("query", read("POST /search?%24httpMethod=DELETE")),
        ("form", read("POST /search").form("_method=DELETE")),
        ("json", read("POST /search").json(r#"{"_method":"DELETE"}"#)),
        (
            "untyped",
            read("POST /search").typed("text/plain", b"a=b&_method=DELETE"),
        ),
        (
            "json in a form",
            read("POST /search").form(r#"{"a":"&_method=DELETE&"}"#),
        ),
    ] {
        let known = request.judge();
        assert!(
            known.effects.has(Delete) && !known.routine,
            "{what}: {request:?}"
        );
        assert!(
            known.words.to_string().contains("“DELETE”"),
            "{what}: {}",
            known.words
        );
    }
    let multipart =
        b"--b\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nDELETE\r\n--b--\r\n";
    let known = read("POST /search")
        .typed("multipart/form-data; boundary=b", multipart)
        .judge();
    assert!(!known.routine);
    let odd = plain("POST /")
        .header("x-http-method-override", "PURGE")
        .judge();
    assert!(odd.effects.has(Exec));
}

#[test]
fn an_overridden_method_does_not_hide_among_many() {
    let many: String = (0..20).map(|n| format!("_method=A{n}&")).collect();
    let request =
        ruled("POST /search", "POST /search", &[Read]).form(&format!("{many}_method=DELETE"));
    let known = request.judge();
    assert!(
        !known.routine && known.effects.has(Delete),
        "{:?}",
        known.effects
    );
}

#[test]
fn an_overridden_path_is_seen() {
    let known = plain("GET /").header("x-original-url", "/admin").judge();
    assert!(!known.routine && !known.effects.is_read_only());
    assert!(known.words.to_string().contains("“/admin”"));
}

#[test]
fn a_credential_in_the_accounts_own_query_parameter_is_seen() {
    let mut request = plain("GET /data?api_key=mine");
    request.account.credential = countersign_model::CredentialKind::Query("api_key".into());
    let known = request.judge();
    assert!(!known.routine && known.effects.has(Secret));
}

#[test]
fn a_lowered_operation_asks_again_when_its_body_is_ambiguous() {
    let search = || ruled("POST /search", "POST /search", &[Read]);
    for (what, request) in [
        ("repeated name", search().json(r#"{"a":1,"a":2}"#)),
        (
            "byte-order mark",
            search().typed("application/json", b"\xef\xbb\xbf{}"),
        ),
        (
            "charset",
            search().typed("application/json; charset=utf-16", b"{}"),
        ),
        (
            "two charsets",
            search().typed("application/json; charset=utf-8; charset=utf-16", b"{}"),
        ),
        (
            "not UTF-8",
            search().typed("application/json", b"{\"a\":\"\xff\"}"),
        ),
        ("trailing data", search().json("{} {}")),
        (
            "two types",
            search().json("{}").header("content-type", "text/plain"),
        ),
        ("repeated form name", search().form("a=1&a=2")),
        (
            "multipart",
            search().typed("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--"),
        ),
    ] {
        let known = request.judge();
        assert!(!known.routine && !known.effects.is_empty(), "{what}");
    }
    for body in [
        BodyView::TooLarge { length: None },
        BodyView::Encoded,
        BodyView::Streaming,
    ] {
        let known = search().with_body(body);
        assert!(!known.routine && !known.preview.whole, "{body:?}");
        assert!(
            known.words.to_string().contains("could not be read"),
            "{}",
            known.words
        );
    }
}

#[test]
fn only_plain_bytes_may_stream_past() {
    let typed = |kind: &str| {
        vec![HeaderField {
            name: "content-type".into(),
            value: kind.into(),
        }]
    };
    let needs = |method: &str, kind: &str| {
        needs_body(
            &plain("GET /").account,
            method,
            "forum.example",
            "/",
            None,
            &typed(kind),
        )
    };
    for kind in [
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "image/svg+xml",
        "x/y",
        "",
    ] {
        assert!(needs("POST", kind), "{kind}");
    }
    assert!(!needs("PUT", "application/octet-stream") && !needs("POST", "image/png"));
    assert!(needs("GET", "application/octet-stream"));
    let streamed = plain("PUT /blob")
        .header("content-type", "application/octet-stream")
        .header("content-length", "9");
    let known = streamed.with_body(BodyView::Streaming);
    assert!(!known.preview.whole && known.preview.length == 9);
    assert_eq!(
        known.words.to_string(),
        "Store data at “forum.example/blob”"
    );
}

#[test]
fn the_preview_shows_text_as_it_will_be_understood() {
    let preview = |request: Draft| request.judge().preview;
    let json = preview(plain("POST /").json(r#"{"text":"\u0068i"}"#));
    assert!(json.text.unwrap().raw().contains("\"hi\"") && json.whole);
    let form = preview(plain("POST /?x=1").form("text=h%69&to=a"));
    assert!(form.text.unwrap().raw().contains("\"hi\""));
    assert_eq!(form.fields[0].value.raw(), "x=1");
    let bytes = preview(plain("POST /").typed("application/octet-stream", b"\x00\xff"));
    assert!(bytes.text.is_none() && !bytes.whole && bytes.length == 2);
    let long = "ä".repeat(DataPreview::TEXT_LIMIT);
    let long = preview(plain("POST /").typed("text/plain", long.as_bytes()));
    assert!(!long.whole && long.text.unwrap().raw().len() <= DataPreview::TEXT_LIMIT);
}

#[test]
fn a_path_cannot_speak_in_our_name() {
    let request = plain("DELETE /x%E2%80%AE\u{202e}\u{1b}[2J");
    let shown = request.words();
    assert!(shown.starts_with("Delete “forum.example/x") && !shown.contains('\u{202e}'));
    assert!(request.judge().operation.is_ascii());
}

#[test]
fn explain_has_the_form_that_is_documented() {
    let request = plain("GET /a");
    let view = crate::RequestView {
        method: "GET",
        host: "forum.example",
        path: "/a",
        query: None,
        headers: &[],
        body: BodyView::None,
    };
    let json = serde_json::to_value(explain(&request.account, &view)).unwrap();
    let expected = serde_json::json!({
        "provider": "http", "operation": "GET /a", "effects": ["read"], "objects": ["/a"],
        "count": 1, "words": "Read “forum.example/a”", "routine": true, "decided_by": "method",
    });
    assert_eq!(json, expected);
}
