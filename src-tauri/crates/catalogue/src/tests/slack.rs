use crate::BodyView;
use crate::testing::{Draft, draft};

fn slack(line: &str) -> Draft {
    draft("slack", line)
}

#[test]
fn each_group_of_methods_has_its_effects() {
    for (method, form, effects, words) in [
        (
            "auth.test",
            "",
            "read",
            "Read who the credential belongs to",
        ),
        (
            "conversations.history",
            "channel=C1",
            "read",
            "Read messages of “C1”",
        ),
        (
            "users.list",
            "limit=5",
            "read",
            "List the people of the workspace",
        ),
        (
            "chat.postMessage",
            "channel=C1&text=hi+all",
            "publish",
            "Post in “C1”: “hi all”",
        ),
        (
            "chat.update",
            "channel=C1&ts=1.2&text=x",
            "write,publish",
            "Change the message “1.2” in “C1” to: “x”",
        ),
        (
            "chat.delete",
            "channel=C1&ts=1.2",
            "delete",
            "Delete the message “1.2” in “C1”",
        ),
        (
            "conversations.kick",
            "channel=C1&user=U1",
            "permission",
            "Remove “U1” from “C1”",
        ),
        (
            "conversations.invite",
            "channel=C1&users=U1",
            "permission",
            "Invite “U1” to “C1”",
        ),
        (
            "conversations.invite",
            "channel=C1&users=U1,U2",
            "permission,bulk",
            "Invite “U1,U2” to “C1”: 2 people",
        ),
        (
            "conversations.archive",
            "channel=C1",
            "write,admin",
            "Archive “C1” for everybody",
        ),
        (
            "files.sharedPublicURL",
            "file=F1",
            "publish,permission",
            "Make the file “F1” public to everybody who has its link",
        ),
        ("files.delete", "file=F1", "delete", "Delete the file “F1”"),
        (
            "reactions.add",
            "channel=C1&name=eyes&timestamp=1",
            "publish",
            "React with “eyes” in “C1”",
        ),
        (
            "pins.remove",
            "channel=C1",
            "delete",
            "Remove a pin in “C1”",
        ),
        (
            "rtm.connect",
            "",
            "read,secret",
            "Get a link that receives what happens in the workspace",
        ),
        (
            "admin.users.remove",
            "user_id=U1",
            "permission,admin",
            "Administer the workspace: “users.remove”",
        ),
        (
            "auth.revoke",
            "",
            "delete,permission,admin",
            "Revoke the credential itself",
        ),
    ] {
        let post = slack(&format!("POST /api/{method}")).form(form);
        let get = slack(&format!("GET /api/{method}?{form}"));
        for request in [post, get] {
            assert_eq!(request.effects(), effects, "{method}");
            assert_eq!(request.words(), words, "{method}");
            assert_eq!(request.judge().routine, effects == "read", "{method}");
        }
    }
}

#[test]
fn the_method_says_nothing() {
    for line in [
        "GET /api/chat.postMessage?channel=C1&text=x",
        "HEAD /api/chat.postMessage?channel=C1&text=x",
    ] {
        let known = slack(line).judge();
        assert!(
            known.effects.to_string() == "publish" && !known.routine,
            "{line}"
        );
    }
    for line in [
        "GET /api//chat.postMessage",
        "GET /api/chat.postMessage%2F",
        "GET /api/chat.postNewThing",
    ] {
        assert_eq!(slack(line).effects(), "read,write,publish", "{line}");
    }
}

#[test]
fn json_is_as_good_as_a_form() {
    let request = slack("POST /api/chat.postMessage").json(r#"{"channel":"C1","text":"hi"}"#);
    assert_eq!(request.words(), "Post in “C1”: “hi”");
    assert!(request.judge().preview.whole);
}

#[test]
fn blocks_are_what_readers_see() {
    let request = slack("POST /api/chat.postMessage")
        .json(r#"{"channel":"C1","text":"harmless","blocks":[{"type":"section","text":{"type":"mrkdwn","text":"evil"}}]}"#);
    assert!(
        request.words().contains("it is made of blocks"),
        "{}",
        request.words()
    );
    let fields = request.judge().preview.fields;
    assert!(
        fields
            .iter()
            .any(|f| f.label == "Blocks" && f.value.raw().contains("evil"))
    );
}

#[test]
fn a_token_in_the_body_or_the_query_is_noticed() {
    for request in [
        slack("POST /api/conversations.history").form("channel=C1&token=x"),
        slack("GET /api/conversations.history?channel=C1&token=x"),
        slack("POST /api/conversations.history").json(r#"{"channel":"C1","token":"x"}"#),
    ] {
        let known = request.judge();
        assert!(
            !known.routine && known.effects.to_string() == "read, secret",
            "{request:?}"
        );
        assert!(known.words.to_string().contains("a credential of its own"));
    }
}

#[test]
fn a_parameter_in_two_places_is_a_doubt() {
    for request in [
        slack("POST /api/conversations.history?channel=C1").form("channel=C2"),
        slack("GET /api/conversations.history?channel=C1&channel=C2"),
        slack("POST /api/conversations.history").form("channel=C1&channel=C2"),
        slack("POST /api/conversations.history").json(r#"{"channel":"C1","channel":"C2"}"#),
        slack("POST /api/conversations.history").typed("text/plain", b"channel=C1"),
        slack("GET /api/conversations.history?channel=C1").form("limit=1"),
    ] {
        assert!(!request.judge().routine, "{request:?}");
    }
}

#[test]
fn a_body_that_cannot_be_read_asks() {
    let request = slack("POST /api/chat.postMessage");
    let known = request.with_body(BodyView::TooLarge { length: None });
    assert!(
        known
            .words
            .to_string()
            .contains("could not be read: it is too large")
    );
    let invite = slack("POST /api/conversations.invite").with_body(BodyView::Encoded);
    assert_eq!(invite.effects.to_string(), "permission, bulk");
}

#[test]
fn files_go_by_their_own_host() {
    let request = slack("POST /upload/v1/ticket").at("files.slack.com");
    assert_eq!(
        request.with_body(BodyView::Streaming).effects.to_string(),
        "publish"
    );
    assert!(
        slack("GET /files-pri/T1-F1/name.txt")
            .at("files.slack.com")
            .judge()
            .routine
    );
    assert!(!slack("GET /files-pri/T1-F1/name.txt").judge().routine);
}
