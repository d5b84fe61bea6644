use crate::BodyView;
use crate::testing::{Draft, draft};

const ME: &str = "/gmail/v1/users/me";

fn gmail(method: &str, path: &str) -> Draft {
    draft("gmail", &format!("{method} {ME}{path}"))
}

#[test]
fn each_group_of_operations_has_its_effects() {
    for (line, body, effects, words) in [
        (
            "GET /profile",
            "",
            "read",
            "Read the mailbox's address and totals",
        ),
        (
            "GET /messages/1?format=raw",
            "",
            "read",
            "Read the message “1”",
        ),
        (
            "GET /messages?q=from:me",
            "",
            "read",
            "List messages that match “from:me”",
        ),
        (
            "GET /messages/1/attachments/2",
            "",
            "read",
            "Read an attachment of the message “1”",
        ),
        (
            "GET /history?startHistoryId=1",
            "",
            "read",
            "List what changed in the mailbox",
        ),
        (
            "POST /messages/1/trash",
            "",
            "delete",
            "Move the message “1” to the bin",
        ),
        (
            "POST /messages/1/untrash",
            "",
            "write",
            "Take the message “1” out of the bin",
        ),
        (
            "DELETE /messages/1",
            "",
            "delete",
            "Delete the message “1” for good",
        ),
        (
            "DELETE /threads/1",
            "",
            "delete",
            "Delete the whole thread “1” for good",
        ),
        (
            "POST /threads/1/trash",
            "",
            "delete",
            "Move the whole thread “1” to the bin",
        ),
        (
            "DELETE /labels/L",
            "",
            "delete",
            "Delete the label “L” and take it off every message",
        ),
        (
            "POST /messages/1/modify",
            r#"{"addLabelIds":["STARRED"]}"#,
            "write",
            "Change the labels of the message “1”: add “STARRED”",
        ),
        (
            "POST /messages/1/modify",
            r#"{"addLabelIds":["TRASH"]}"#,
            "write,delete",
            "Move the message “1” to the bin",
        ),
        (
            "POST /messages/1/modify",
            r#"{"add_label_ids":["trash"]}"#,
            "write,delete",
            "Move the message “1” to the bin",
        ),
        (
            "POST /threads/1/modify",
            r#"{"addLabelIds":["SPAM"]}"#,
            "write,delete",
            "Move the whole thread “1” to spam",
        ),
        (
            "PUT /settings/autoForwarding",
            r#"{"enabled":true,"emailAddress":"a@b.example","disposition":"archive"}"#,
            "publish,permission",
            "Forward all new mail to “a@b.example”",
        ),
        (
            "PUT /settings/autoForwarding",
            r#"{"enabled":true,"emailAddress":"a@b.example","disposition":"trash"}"#,
            "delete,publish,permission",
            "Forward all new mail to “a@b.example” and move it to the bin",
        ),
        (
            "PUT /settings/autoForwarding",
            r#"{"enabled":false}"#,
            "permission",
            "Turn off the forwarding of new mail",
        ),
        (
            "POST /settings/forwardingAddresses",
            r#"{"forwardingEmail":"a@b.example"}"#,
            "publish,permission",
            "Let mail be forwarded to “a@b.example”",
        ),
        (
            "POST /settings/delegates",
            r#"{"delegateEmail":"a@b.example"}"#,
            "permission",
            "Let “a@b.example” use the whole mailbox",
        ),
        (
            "POST /settings/sendAs",
            r#"{"sendAsEmail":"a@b.example"}"#,
            "permission",
            "Add the sender address “a@b.example”",
        ),
        (
            "POST /settings/filters",
            r#"{"criteria":{"from":"x"},"action":{"forward":"a@b.example","addLabelIds":["TRASH"]}}"#,
            "delete,publish,permission",
            "Make a filter for incoming mail, which forwards it to “a@b.example”, which moves it to the bin or to spam",
        ),
        (
            "POST /settings/filters",
            r#"{"action":{"removeLabelIds":["INBOX"]}}"#,
            "write,permission",
            "Make a filter for incoming mail, which keeps it out of the inbox",
        ),
        (
            "PUT /settings/vacation",
            r#"{"enableAutoReply":true,"responseSubject":"Away"}"#,
            "write,publish",
            "Answer incoming mail automatically",
        ),
        (
            "POST /watch",
            r#"{"topicName":"projects/p/topics/t"}"#,
            "publish,permission",
            "Report every change of the mailbox to the topic “projects/p/topics/t”",
        ),
        (
            "POST /settings/cse/keypairs/k:obliterate",
            "{}",
            "delete,permission",
            "Destroy the encryption key pair “k” for good, and with it all mail that only it opens",
        ),
        (
            "POST /drafts/send",
            r#"{"id":"r1"}"#,
            "publish",
            "Send the draft “r1”, whose content is not in the request",
        ),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let request = gmail(method, path);
        let request = if body.is_empty() {
            request
        } else {
            request.json(body)
        };
        assert_eq!(request.effects(), effects, "{line} {body}");
        assert_eq!(request.words(), words, "{line} {body}");
        assert_eq!(request.judge().routine, effects == "read", "{line}");
    }
}

#[test]
fn a_bulk_deletion_is_counted() {
    let ids: Vec<String> = (0..4312).map(|n| format!("\"{n:x}\"")).collect();
    let known = gmail("POST", "/messages/batchDelete")
        .json(&format!(r#"{{"ids":[{}]}}"#, ids.join(",")))
        .judge();
    assert_eq!(known.words.to_string(), "Delete 4,312 messages for good");
    assert_eq!(known.effects.to_string(), "delete, bulk");
    assert_eq!(
        (known.objects.count, known.objects.listed.len()),
        (Some(4312), 20)
    );
    assert!(known.preview.whole);

    let one = gmail("POST", "/messages/batchDelete")
        .json(r#"{"ids":["1"]}"#)
        .judge();
    assert_eq!(
        (
            one.words.to_string().as_str(),
            one.effects.to_string().as_str()
        ),
        ("Delete 1 message for good", "delete")
    );
    let bin = gmail("POST", "/messages/batchModify")
        .json(r#"{"ids":["1","2","3"],"addLabelIds":["TRASH"]}"#);
    assert_eq!(
        (bin.words().as_str(), bin.effects().as_str()),
        ("Move 3 messages to the bin", "write,delete,bulk")
    );
}

#[test]
fn a_bulk_deletion_that_cannot_be_counted_is_the_worst_that_it_could_be() {
    for body in [
        "{}",
        r#"{"ids":"1"}"#,
        r#"{"ids":[1]}"#,
        r#"{"ids":["1"],"ids":["1","2"]}"#,
        "[]",
        "{'ids':['1']}",
    ] {
        let known = gmail("POST", "/messages/batchDelete").json(body).judge();
        assert_eq!(known.effects.to_string(), "delete, bulk", "{body}");
        assert_eq!(known.objects.count, None, "{body}");
        assert!(
            known
                .words
                .to_string()
                .starts_with("Delete messages for good; its content could not be read")
        );
    }
    let modify = gmail("POST", "/messages/batchModify");
    for body in [
        BodyView::None,
        BodyView::Encoded,
        BodyView::TooLarge {
            length: Some(1 << 30),
        },
        BodyView::Streaming,
    ] {
        assert_eq!(
            modify.with_body(body).effects.to_string(),
            "write, delete, bulk"
        );
    }
    let two_cases = modify
        .json(r#"{"ids":["1"],"addLabelIds":[],"add_label_ids":["TRASH"]}"#)
        .judge();
    assert!(
        two_cases
            .words
            .to_string()
            .contains("a name stands in it twice")
    );
}

#[test]
fn another_mailbox_is_named() {
    let request = draft("gmail", "GET /gmail/v1/users/boss@a.example/messages");
    assert_eq!(request.words(), "List messages (mailbox “boss@a.example”)");
}

#[test]
fn envelopes_are_as_bad_as_what_they_could_hold() {
    for path in ["/batch", "/batch/gmail/v1"] {
        let known = draft("gmail", &format!("POST {path}"))
            .typed("multipart/mixed; boundary=b", b"--b--")
            .judge();
        assert_eq!(
            known.effects.to_string(),
            "write, delete, publish, permission, bulk"
        );
        assert!(!known.routine);
    }
}

#[test]
fn an_unknown_operation_is_labelled_by_its_name_and_asks() {
    for (line, effects) in [
        ("GET /gmail/v1/users/me/somethingNew", "read"),
        (
            "POST /gmail/v1/users/me/messages:purgeAll",
            "write,delete,bulk",
        ),
        ("POST /google.gmail.v1.Gmail/SendMessage", "write,publish"),
        ("DELETE /gmail/v1/users/me/everything", "write,delete"),
        ("MKCOL /gmail/v1", "write,exec"),
    ] {
        let request = draft("gmail", line);
        assert_eq!(request.effects(), effects, "{line}");
        assert!(!request.judge().routine);
    }
}

#[test]
fn an_override_is_judged_as_what_it_overrides_to() {
    let known = gmail("POST", "/messages/17")
        .header("x-http-method-override", "DELETE")
        .judge();
    assert!(known.effects.to_string().contains("delete") && !known.routine);
    let read = gmail("GET", "/messages?%24httpMethod=POST").judge();
    assert!(!read.routine && read.effects.to_string().contains("write"));
    let tunnelled = gmail("GET", "/profile?$httpHeaders=x").judge();
    assert!(!tunnelled.routine);
    let search = gmail("POST", "/messages")
        .header("x-http-method-override", "GET")
        .form("q=x")
        .judge();
    assert!(!search.routine && search.effects.to_string().contains("read"));
}

#[test]
fn a_credential_of_the_agents_own_is_noticed() {
    for query in ["access_token=x", "key=x", "oauth_token=x"] {
        let known = gmail("GET", &format!("/messages?{query}")).judge();
        assert!(
            !known.routine && known.effects.to_string() == "read, secret",
            "{query}"
        );
    }
}
