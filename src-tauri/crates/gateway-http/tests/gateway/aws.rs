//! Requests of AWS: signed by the agent with its run's placeholder, or refused; and
//! sent with the signature that was made for them.

use crate::client::Reply;
use crate::upstream::Upstream;
use crate::world::{NAMES, World, limits, placeholder};
use countersign_broker::{Place, Presented, Secret};
use countersign_model::{
    AwsScope, AwsSettings, BodyCommitment, CredentialKind, Digest, HeaderField, HostPattern,
    Provider,
};
use countersign_sigv4::{Key, Moment, Parts, Payload, authorization, signature};

const S3: &str = "s3.eu-west-1.amazonaws.com";
const STS: &str = "sts.eu-west-1.amazonaws.com";
const AT: &str = "20260101T120000Z";

/// A world whose account is AWS's.
async fn world() -> World {
    let upstream = Upstream::start(&[&NAMES[..], &[S3, STS]].concat(), true).await;
    let world = World::before(upstream, limits(), |account| {
        account.provider = Provider("aws".into());
        account.hosts = [S3, STS].map(|h| HostPattern::new(h).unwrap()).into();
        account.credential = CredentialKind::Aws(AwsSettings {
            region: "eu-west-1".into(),
            service: None,
        });
    });
    let header = |name: &str, value: &str| (name.to_owned(), Secret::new(value.into()));
    let signed = Presented {
        place: Place::Headers(vec![
            header("x-amz-date", "20260101T120001Z"),
            header("authorization", "AWS4-HMAC-SHA256 the real one"),
        ]),
        needles: vec![Secret::new(b"the real one".to_vec())],
    };
    let mut presented = world.fake.presented.lock().unwrap();
    presented.insert("forum".into(), signed);
    drop(presented);
    world
}

/// A request in the making.
struct Draft {
    host: &'static str,
    line: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    key: Key,
}

fn draft(host: &'static str, line: &'static str) -> Draft {
    Draft {
        host,
        line,
        headers: vec![("x-amz-date".into(), AT.into())],
        body: Vec::new(),
        key: placeholder(),
    }
}

fn scope(host: &str) -> AwsScope {
    AwsScope {
        region: "eu-west-1".into(),
        service: host.split('.').next().unwrap().into(),
    }
}

impl Draft {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The signature, and `Authorization` with it.
    fn signed(&self) -> (String, String) {
        let (method, target) = self.line.split_once(' ').unwrap();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let mut headers: Vec<HeaderField> = self
            .headers
            .iter()
            .map(|(name, value)| HeaderField {
                name: name.clone(),
                value: value.clone().into_bytes(),
            })
            .collect();
        headers.push(HeaderField {
            name: "host".into(),
            value: self.host.into(),
        });
        let mut names: Vec<&str> = headers.iter().map(|h| h.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let stated = self
            .headers
            .iter()
            .find(|(name, _)| name == "x-amz-content-sha256");
        let payload = match stated {
            Some((_, text)) => Payload::Stated(text),
            None => Payload::Exact(Digest::of(&self.body)),
        };
        let parts = Parts {
            method,
            path,
            query,
            headers: &headers,
        };
        let (at, scope) = (Moment::parse(AT.as_bytes()).unwrap(), scope(self.host));
        let made = signature(&self.key, &scope, &at, &parts, &names, payload);
        let whole = authorization(&self.key, &scope, &at, &names, &made);
        (made, whole)
    }

    fn bytes(&self, authorization: &str) -> Vec<u8> {
        let mut out = format!("{} HTTP/1.1\r\nhost: {}\r\n", self.line, self.host);
        for (name, value) in &self.headers {
            out += &format!("{name}: {value}\r\n");
        }
        if !authorization.is_empty() {
            out += &format!("authorization: {authorization}\r\n");
        }
        if !self.body.is_empty() {
            out += &format!("content-length: {}\r\n", self.body.len());
        }
        [out.as_bytes(), b"\r\n", &self.body].concat()
    }

    async fn send(self, world: &World) -> Reply {
        let (_, authorization) = self.signed();
        self.send_with(world, &authorization).await
    }

    async fn send_with(self, world: &World, authorization: &str) -> Reply {
        let mut client = world.client_of(self.host).await.unwrap();
        client.ask(self.bytes(authorization)).await
    }
}

#[tokio::test]
async fn a_request_that_the_placeholder_signed_leaves_with_the_real_signature_alone() {
    let world = world().await;
    let reply = draft(STS, "POST /?a=b&key=c")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("amz-sdk-invocation-id", "1")
        .header("x-amz-target", "A.B")
        .header("date", "yesterday")
        .body("Action=GetCallerIdentity&Version=2011-06-15")
        .send(&world)
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = world.upstream.last();
    assert_eq!(seen.line(), "POST /?a=b&key=c HTTP/1.1");
    for (name, value) in [
        ("authorization", Some("AWS4-HMAC-SHA256 the real one")),
        ("x-amz-date", Some("20260101T120001Z")),
        ("x-amz-target", Some("A.B")),
        ("amz-sdk-invocation-id", Some("1")),
        ("date", None),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    assert!(!seen.head.contains("COUNTERSIGN") && !seen.head.contains(AT));
    let decided = world.fake.decided.lock().unwrap();
    let forwarded = &decided[0].exact.headers;
    assert!(forwarded.iter().all(|h| h.name != "x-amz-date"));
}

#[tokio::test]
async fn a_body_in_pieces_is_judged_and_sent_as_its_content() {
    let world = world().await;
    let head = |kind: &str| {
        draft(S3, "PUT /bucket/a%20key")
            .header("content-encoding", "aws-chunked, gzip")
            .header("x-amz-content-sha256", kind)
            .header("x-amz-decoded-content-length", "5")
    };
    // Signed each, as the S3 API Reference has it.
    let signed = head("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    let (seed, authorization) = signed.signed();
    let pieces = pieces(&seed, &[b"hel", b"lo", b""]);
    let reply = signed
        .body(pieces.clone())
        .send_with(&world, &authorization)
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // A checksum behind them.
    let unsigned = head("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .body("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n");
    assert_eq!(unsigned.send(&world).await.status, 200);
    let checksum = world.upstream.last();
    assert_eq!(checksum.header("x-amz-checksum-crc32"), Some("NhCmhg=="));
    for seen in world.upstream.seen.lock().unwrap().iter() {
        assert_eq!(seen.body, b"hello");
        assert_eq!(seen.header("content-encoding"), Some("gzip"));
        assert_eq!(seen.header("content-length"), Some("5"));
        assert_eq!(seen.header("x-amz-decoded-content-length"), None);
        assert_eq!(seen.header("x-amz-trailer"), None);
    }
    let bound = world.fake.decided.lock().unwrap()[0].exact.body;
    let wanted = BodyCommitment::Exact {
        digest: Digest::of(b"hello"),
        length: 5,
    };
    assert_eq!(bound, wanted);
    // A piece that was changed after it was signed.
    let changed = String::from_utf8(pieces).unwrap().replace("hel", "jel");
    let signed = head("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    let reply = signed.body(changed).send_with(&world, &authorization).await;
    assert!(
        reply.text().contains("<Reason>malformed</Reason>"),
        "{}",
        reply.text()
    );
    assert_eq!(world.upstream.count(), 2);
}

/// Amazon S3 API Reference, "Transferring Payload in Multiple Chunks".
fn pieces(seed: &str, pieces: &[&[u8]]) -> Vec<u8> {
    use hmac::{Hmac, Mac};
    let mac = |key: &[u8], text: &[u8]| {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
        mac.update(text);
        mac.finalize().into_bytes().to_vec()
    };
    let first = [b"AWS4", placeholder().expose()].concat();
    let key = ["20260101", "eu-west-1", "s3", "aws4_request"]
        .iter()
        .fold(first, |key, part| mac(&key, part.as_bytes()));
    let (mut out, mut previous) = (Vec::new(), seed.to_owned());
    for piece in pieces {
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{AT}\n20260101/eu-west-1/s3/aws4_request\n{previous}\n{}\n{}",
            Digest::of(b""),
            Digest::of(piece)
        );
        previous = mac(&key, text.as_bytes())
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        out.extend(format!("{:x};chunk-signature={previous}\r\n", piece.len()).into_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[tokio::test]
async fn what_came_in_pieces_is_shown_whole() {
    let world = world().await;
    let upload = draft(S3, "PUT /bucket/key")
        .header("content-encoding", "aws-chunked")
        .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .header("x-amz-decoded-content-length", "5")
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .body("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n");
    assert_eq!(upload.send(&world).await.status, 200);
    assert_eq!(world.upstream.last().header("content-encoding"), None);
    let decided = world.fake.decided.lock().unwrap();
    let preview = &decided[0].preview;
    let text = preview.text.as_ref().map(|text| text.raw());
    assert_eq!((text, preview.whole), (Some("hello"), true));
}

#[tokio::test]
async fn what_the_placeholder_did_not_sign_is_refused_with_the_reason_and_never_leaves() {
    let world = world().await;
    let plain = || draft(STS, "POST /").body("Action=GetCallerIdentity");
    let (_, right) = plain().signed();
    let mut other = plain();
    let secret = b"a-key-that-the-agent-found-elsewhere".to_vec();
    other.key = Key::new("SOMEBODYELSES", secret.into()).unwrap();
    let (_, by_other) = other.signed();
    let presigned = "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00";
    let token = plain().header("x-amz-security-token", "minted");
    let (_, with_token) = token.signed();
    let wrong_digest = plain().header("x-amz-content-sha256", &Digest::of(b"x").to_string());
    let (_, of_digest) = wrong_digest.signed();
    let twice = plain()
        .header("x-amz-acl", "private")
        .header("x-amz-acl", "public-read");
    let (_, said_twice) = twice.signed();
    let asymmetric = "AWS4-ECDSA-P256-SHA256 Credential=COUNTERSIGNTEST/20260101/s3/aws4_request, SignedHeaders=host, Signature=00";
    let cases = [
        (plain(), String::new(), "unsupported", "not signed"),
        (plain(), by_other, "unsupported", "another access key"),
        (
            plain().body("Action=AssumeRole"),
            right.clone(),
            "malformed",
            "not of this request",
        ),
        (
            draft(S3, presigned),
            String::new(),
            "unsupported",
            "Presigned URLs",
        ),
        (plain(), asymmetric.into(), "unsupported", "version 4a"),
        (
            plain(),
            "AWS COUNTERSIGNTEST:c2ln".into(),
            "unsupported",
            "Only signatures of version 4",
        ),
        (token, with_token, "unsupported", "session token"),
        (twice, said_twice, "malformed", "stands in it twice"),
        (
            wrong_digest,
            of_digest,
            "malformed",
            "not the one that was signed",
        ),
        (
            plain(),
            right.replace("aws4_request", "aws3_request"),
            "malformed",
            "cannot be read",
        ),
    ];
    for (draft, authorization, reason, words) in cases {
        let reply = draft.send_with(&world, &authorization).await;
        assert_eq!(reply.status, 403, "{words}");
        assert!(reply.text().contains(reason), "{}", reply.text());
        assert!(reply.text().contains(words), "{words}: {}", reply.text());
    }
    assert_eq!(world.upstream.count(), 0);
    assert!(world.fake.decided.lock().unwrap().is_empty());
    assert_eq!(world.rejected().len(), 10);
    let reply = plain().send_with(&world, &right).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn a_part_of_an_object_can_be_asked_for_of_s3_and_of_nothing_else() {
    let world = world().await;
    for (host, range) in [(S3, Some("bytes=0-9")), (STS, None)] {
        let asked = draft(host, "GET /bucket/key").header("range", "bytes=0-9");
        assert_eq!(asked.send(&world).await.status, 200);
        assert_eq!(world.upstream.last().header("range"), range, "{host}");
    }
}

#[tokio::test]
async fn a_signature_that_comes_back_is_cut() {
    let world = world().await;
    world
        .upstream
        .answers(crate::upstream::says(crate::upstream::ok(
            "<Provided>the real one</Provided>",
        )));
    let reply = draft(STS, "GET /").send(&world).await;
    assert!(!reply.text().contains("the real one"), "{}", reply.text());
}
