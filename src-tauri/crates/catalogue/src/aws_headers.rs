//! What a request to AWS says in its headers. They are forwarded and signed, and
//! may say more of what it does than its path and body: so a human sees each.
//! Source: Amazon S3 API Reference, "PutObject", "CopyObject", "DeleteObject".

use crate::RequestView;
use crate::judgement::{Judgement, fx};
use crate::words;
use countersign_model::Effect::{Admin, Delete, Permission, Publish, Spend};
use countersign_model::{Effects, Foreign, HeaderField};

const LAYER: &str = "a header of AWS";

/// Ready-made grants that reach nobody beyond the owners, and services of AWS.
const CLOSED: &[&str] = &[
    "aws-exec-read",
    "bucket-owner-full-control",
    "bucket-owner-read",
    "log-delivery-write",
    "private",
];

/// Shows every header of AWS, and raises by those that change what is done.
pub(crate) fn raise(judgement: &mut Judgement, request: &RequestView<'_>) {
    for header in request.headers {
        let name = header.name.to_ascii_lowercase();
        if !["x-amz-", "x-amzn-"]
            .iter()
            .any(|own| name.starts_with(own))
        {
            continue;
        }
        let said = said(header);
        judgement.fields.push(words::field("Header", said.as_str()));
        if times(request, &name) > 1 {
            judgement.doubt(words::twice(&name), LAYER);
        }
        let value = String::from_utf8_lossy(&header.value).to_ascii_lowercase();
        if let Some(effects) = effects(&name, value.trim()) {
            judgement.raise(effects, LAYER);
            judgement.doubt(words::says(&said), LAYER);
        }
        if name == "x-amz-copy-source" {
            let source = Foreign::from_bytes(&header.value);
            judgement.objects.listed.push(source);
            let count = &mut judgement.objects.count;
            *count = count.map(|n| n.saturating_add(1));
        }
    }
}

/// `x-amz-acl: public-read`; of a key to encrypt with, that there is one.
fn said(header: &HeaderField) -> String {
    if header.name.to_ascii_lowercase().ends_with("-customer-key") {
        return format!("{}: a key, which is not shown", header.name);
    }
    let value = String::from_utf8_lossy(&header.value);
    format!("{}: {value}", header.name)
}

fn times(request: &RequestView<'_>, name: &str) -> usize {
    crate::request::header(request.headers, name).count()
}

/// What a header makes a request do besides, where it does.
fn effects(name: &str, value: &str) -> Option<Effects> {
    if name.starts_with("x-amz-grant-") {
        let to_all = ["allusers", "authenticatedusers"];
        return Some(if to_all.iter().any(|group| value.contains(group)) {
            fx(&[Permission, Publish])
        } else {
            fx(&[Permission])
        });
    }
    if name.starts_with("x-amz-object-lock-") || name.starts_with("x-amz-bucket-object-lock-") {
        return Some(fx(&[Admin]));
    }
    Some(match name {
        "x-amz-acl" if CLOSED.contains(&value) => fx(&[Permission]),
        "x-amz-acl" => fx(&[Permission, Publish]),
        "x-amz-bypass-governance-retention" => fx(&[Permission, Delete]),
        "x-amz-copy-source" => Effects::NONE,
        "x-amz-request-payer" => fx(&[Spend]),
        "x-amz-website-redirect-location" => fx(&[Publish]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{Draft, draft};

    fn at(host: &str, line: &str) -> Draft {
        draft("aws", line).at(host)
    }

    fn shown(draft: &Draft) -> Vec<String> {
        let fields = draft.judge().preview.fields;
        let headers = fields.iter().filter(|f| f.label == "Header");
        headers.map(|f| f.value.raw().to_owned()).collect()
    }

    #[test]
    fn every_header_of_aws_is_shown_and_counts_for_what_it_does() {
        let bucket = "b.s3.eu-west-1.amazonaws.com";
        for (line, name, value, effects) in [
            ("PUT /k", "x-amz-acl", "private", "write,permission"),
            (
                "PUT /k",
                "x-amz-acl",
                "public-read",
                "write,publish,permission",
            ),
            (
                "PUT /k",
                "x-amz-acl",
                "of-tomorrow",
                "write,publish,permission",
            ),
            (
                "PUT /k",
                "x-amz-grant-read",
                "uri=\"http://acs.amazonaws.com/groups/global/AllUsers\"",
                "write,publish,permission",
            ),
            (
                "PUT /k",
                "x-amz-grant-full-control",
                "id=1",
                "write,permission",
            ),
            (
                "PUT /k",
                "x-amz-website-redirect-location",
                "https://evil.example/",
                "write,publish",
            ),
            (
                "DELETE /k?versionId=1",
                "x-amz-bypass-governance-retention",
                "true",
                "delete,permission",
            ),
            (
                "PUT /k",
                "x-amz-object-lock-mode",
                "COMPLIANCE",
                "write,admin",
            ),
            ("PUT /k", "x-amz-copy-source", "/secret-bucket/key", "write"),
            ("GET /k", "x-amz-request-payer", "requester", "read,spend"),
        ] {
            let request = at(bucket, line).header(name, value);
            let mut got: Vec<_> = request.judge().effects.iter().map(|e| e.word()).collect();
            let mut wanted: Vec<_> = effects.split(',').collect();
            got.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(got, wanted, "{name}: {value}");
            assert_eq!(shown(&request), [format!("{name}: {value}")]);
            assert!(request.words().contains(value), "{}", request.words());
            assert!(!request.judge().routine);
        }
        let copied = at(bucket, "PUT /k").header("x-amz-copy-source", "/secret-bucket/key");
        let objects = copied.judge().objects;
        let named: Vec<_> = objects.listed.iter().map(|o| o.raw()).collect();
        assert!(named.contains(&"/secret-bucket/key"), "{named:?}");
    }

    #[test]
    fn what_changes_nothing_is_shown_and_goes_alone() {
        let read =
            at("b.s3.eu-west-1.amazonaws.com", "GET /k").header("x-amz-checksum-mode", "ENABLED");
        assert!(read.judge().routine, "{}", read.words());
        assert_eq!(shown(&read), ["x-amz-checksum-mode: ENABLED"]);
    }

    #[test]
    fn a_key_to_encrypt_with_is_said_to_be_there_and_not_shown() {
        let name = "x-amz-server-side-encryption-customer-key";
        let put = at("b.s3.eu-west-1.amazonaws.com", "PUT /k").header(name, "bm90IHJlYWw=");
        assert_eq!(shown(&put), [format!("{name}: a key, which is not shown")]);
        assert!(!format!("{:?}", put.judge()).contains("bm90IHJlYWw="));
    }

    #[test]
    fn a_header_that_stands_twice_asks_and_is_shown_twice() {
        let read = at("b.s3.eu-west-1.amazonaws.com", "GET /k")
            .header("x-amz-checksum-mode", "ENABLED")
            .header("X-Amz-Checksum-Mode", "OFF");
        assert!(!read.judge().routine);
        assert_eq!(shown(&read).len(), 2);
    }

    #[test]
    fn an_operation_of_the_json_protocol_is_in_the_words_and_its_body_is_shown() {
        let body = br#"{"TableName":"prod"}"#;
        for (target, media) in [
            (
                "DynamoDB_20120810.DeleteTable",
                "application/x-amz-json-1.0",
            ),
            ("DynamoDB_20120810.MeltTable", "application/x-amz-json-2.0"),
        ] {
            let request = at("dynamodb.eu-west-1.amazonaws.com", "POST /")
                .typed(media, body)
                .header("x-amz-target", target);
            let known = request.judge();
            let (_, name) = target.split_once('.').unwrap();
            let said = format!("{} {}", known.operation, known.words);
            assert!(said.contains(name), "{said}");
            assert_eq!(shown(&request), [format!("x-amz-target: {target}")]);
            assert!(known.preview.whole && known.preview.text.is_some());
        }
    }
}
