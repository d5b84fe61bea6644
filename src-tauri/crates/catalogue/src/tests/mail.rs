use crate::testing::{Draft, draft};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

fn gmail(method: &str, path: &str) -> Draft {
    draft("gmail", &format!("{method} /gmail/v1/users/me{path}"))
}

fn send(mail: &str) -> Draft {
    let raw = BASE64_URL_SAFE_NO_PAD.encode(mail);
    gmail("POST", "/messages/send").json(&format!(r#"{{"raw":"{raw}"}}"#))
}

#[test]
fn a_mail_is_shown_with_everybody_who_gets_it() {
    let mail = "From: Me <me@a.example>\r\nTo: \"Boss\" <boss@a.example>, b@a.example\r\nCc: c@a.example\r\n\
        Bcc: hidden@evil.example\r\nTo: second@a.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello there\r\n";
    let request = send(mail);
    let known = request.judge();
    assert_eq!(known.effects.to_string(), "publish");
    assert_eq!(known.objects.count, Some(5));
    assert!(
        known
            .words
            .to_string()
            .starts_with("Send a mail to 5 addresses: "),
        "{}",
        known.words
    );
    assert!(
        known.words.to_string().ends_with("subject “Grüße”"),
        "{}",
        known.words
    );
    let all: Vec<_> = known
        .objects
        .listed
        .iter()
        .map(|o| o.raw().to_owned())
        .collect();
    for address in [
        "boss@a.example",
        "b@a.example",
        "c@a.example",
        "hidden@evil.example",
        "second@a.example",
    ] {
        assert!(
            all.contains(&address.to_owned()),
            "{address} is not among {all:?}"
        );
    }
    let fields: Vec<_> = known
        .preview
        .fields
        .iter()
        .map(|f| (f.label.as_str(), f.value.raw().trim()))
        .collect();
    assert!(
        fields.contains(&("Text", "Hello there"))
            && fields.contains(&("Bcc", "hidden@evil.example"))
    );
    assert!(known.preview.whole && known.preview.text.unwrap().raw() == mail);
}

#[test]
fn what_a_mail_hides_is_not_called_whole() {
    let parts = "To: a@a.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n\
        --b\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n";
    let known = send(parts).judge();
    assert!(!known.preview.whole);
    assert!(
        known
            .preview
            .fields
            .iter()
            .any(|f| f.label == "Attachment" && f.value.raw() == "x.pdf")
    );

    let two_faced = "To: a@a.example\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nfine\r\n\
        --b\r\nContent-Type: text/html\r\n\r\n<b>evil</b>\r\n--b--\r\n";
    let known = send(two_faced).judge();
    assert!(
        known
            .preview
            .fields
            .iter()
            .any(|f| f.label == "HTML" && f.value.raw().contains("evil"))
    );
    assert!(known.preview.whole);
}

#[test]
fn a_mail_is_found_wherever_it_stands() {
    let mail = "To: a@a.example\nSubject: s\n\nhi";
    let padded = BASE64_STANDARD.encode(mail);
    let upload = |media: &str, body: &str| {
        draft(
            "gmail",
            "POST /upload/gmail/v1/users/me/messages/send?uploadType=multipart",
        )
        .typed(media, body.as_bytes())
    };
    let related = format!(
        "--b\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n{mail}\r\n--b--"
    );
    for request in [
        gmail("POST", "/messages/send").json(&format!(r#"{{"raw":"{padded}"}}"#)),
        gmail("POST", "/drafts/send").json(&format!(r#"{{"message":{{"raw":"{padded}"}}}}"#)),
        upload("message/rfc822", mail),
        upload("multipart/related; boundary=b", &related),
    ] {
        assert_eq!(request.words(), "Send a mail to “a@a.example”, subject “s”");
        assert!(!request.judge().routine);
    }
    let draft = gmail("POST", "/drafts").json(&format!(r#"{{"message":{{"raw":"{padded}"}}}}"#));
    assert_eq!(
        (draft.words().as_str(), draft.effects().as_str()),
        ("Draft a mail to “a@a.example”, subject “s”", "write")
    );
}

#[test]
fn a_mail_that_cannot_be_read_says_so() {
    let json = |body: &str| gmail("POST", "/messages/send").json(body).words();
    for words in [
        json(r#"{"raw":"***"}"#),
        json(r#"{"raw":1}"#),
        json(r#"{"payload":{"headers":[]}}"#),
        json(r#"{"raw":"","raw":""}"#),
        send("Subject: nobody\n\nhi").words(),
        draft(
            "gmail",
            "POST /upload/gmail/v1/users/me/messages/send?uploadType=resumable",
        )
        .json("{}")
        .words(),
        draft(
            "gmail",
            "PUT /resumable/upload/gmail/v1/users/me/messages/send?upload_id=1",
        )
        .typed("message/rfc822", b"")
        .words(),
    ] {
        assert!(words.contains("could not be read"), "{words}");
    }
}
