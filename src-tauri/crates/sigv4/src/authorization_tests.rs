use super::*;
use countersign_model::Digest;
use proptest::prelude::*;
use zeroize::Zeroizing;

/// The key of AWS's published examples; it opens nothing.
fn example(plus: char) -> Key {
    let secret = format!("wJalrXUtnFEMI/K7MDENG{plus}bPxRfiCYEXAMPLEKEY");
    Key::new("AKIDEXAMPLE", Zeroizing::new(secret.into_bytes())).unwrap()
}

fn fields_of(headers: &[(&str, &str)]) -> Vec<HeaderField> {
    let field = |(name, value): &(&str, &str)| HeaderField {
        name: (*name).to_owned(),
        value: value.as_bytes().to_vec(),
    };
    headers.iter().map(field).collect()
}

/// From AWS's "Signature Version 4 test suite" and the examples of the Amazon S3 API
/// Reference: what is sent, and the signature that it has.
#[test]
fn the_published_requests_have_the_published_signatures() {
    type Case = (
        &'static str,
        &'static str,
        Option<&'static str>,
        &'static [(&'static str, &'static str)],
        &'static str,
        &'static str,
    );
    let cases: [Case; 8] = [
        (
            "GET",
            "/",
            None,
            &[],
            "",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "/",
            Some("Param2=value2&Param1=value1"),
            &[],
            "",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "GET",
            "//example//",
            None,
            &[],
            "",
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        (
            "GET",
            "/%E1%88%B4",
            None,
            &[],
            "",
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ),
        (
            "POST",
            "/",
            None,
            &[],
            "",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "GET",
            "/",
            None,
            &[
                ("my-header1", "value2"),
                ("my-header1", "value2"),
                ("my-header1", "value1"),
            ],
            "",
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        (
            "GET",
            "/",
            None,
            &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
            "",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            "POST",
            "/",
            None,
            &[("content-type", "application/x-www-form-urlencoded")],
            "Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ];
    let scope = AwsScope {
        region: "us-east-1".into(),
        service: "service".into(),
    };
    let at = Moment::parse(b"20150830T123600Z").unwrap();
    for (method, path, query, more, body, wanted) in cases {
        let mut headers = vec![
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
        ];
        headers.extend(more);
        let headers = fields_of(&headers);
        let mut signed: Vec<&str> = headers.iter().map(|h| h.name.as_str()).collect();
        signed.sort_unstable();
        signed.dedup();
        let parts = Parts {
            method,
            path,
            query,
            headers: &headers,
        };
        let payload = Payload::Exact(Digest::of(body.as_bytes()));
        // In the suite, paths are not encoded before they are sent.
        let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        let parts = Parts {
            path: &path,
            ..parts
        };
        let made = signature(&example('+'), &scope, &at, &parts, &signed, payload);
        assert_eq!(made, wanted, "{method} {path} {query:?} {more:?}");
    }
}

#[test]
fn the_published_requests_to_s3_have_the_published_signatures() {
    let scope = AwsScope {
        region: "us-east-1".into(),
        service: "s3".into(),
    };
    let at = Moment::parse(b"20130524T000000Z").unwrap();
    let empty = Digest::of(b"").to_string();
    let put = Digest::of(b"Welcome to Amazon S3.").to_string();
    let common = [
        ("host", "examplebucket.s3.amazonaws.com"),
        ("x-amz-date", "20130524T000000Z"),
    ];
    type Case<'a> = (
        &'a str,
        &'a str,
        Option<&'a str>,
        Vec<(&'a str, &'a str)>,
        &'a str,
    );
    let cases: [Case<'_>; 3] = [
        (
            "GET",
            "/test.txt",
            None,
            vec![("range", "bytes=0-9"), ("x-amz-content-sha256", &empty)],
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            None,
            vec![
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-content-sha256", &put),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            Some("max-keys=2&prefix=J"),
            vec![("x-amz-content-sha256", &empty)],
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ];
    for (method, path, query, more, wanted) in cases {
        let mut headers = common.to_vec();
        headers.extend(&more);
        let headers = fields_of(&headers);
        let mut signed: Vec<&str> = headers.iter().map(|h| h.name.as_str()).collect();
        signed.sort_unstable();
        let parts = Parts {
            method,
            path,
            query,
            headers: &headers,
        };
        let stated = more
            .iter()
            .find(|(name, _)| *name == "x-amz-content-sha256")
            .unwrap()
            .1;
        let made = signature(
            &example('/'),
            &scope,
            &at,
            &parts,
            &signed,
            Payload::Stated(stated),
        );
        assert_eq!(made, wanted, "{method} {path}");
    }
}

/// A request as a client makes it, with this in its `Authorization`.
fn with(
    authorization: &str,
    query: Option<&'static str>,
) -> (Vec<HeaderField>, Option<&'static str>) {
    let headers = fields_of(&[
        ("host", "sts.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        ("authorization", authorization),
    ]);
    (headers, query)
}

fn read(authorization: &str, query: Option<&'static str>) -> Result<(), NotSigned> {
    let (headers, query) = with(authorization, query);
    let parts = Parts {
        method: "POST",
        path: "/",
        query,
        headers: &headers,
    };
    Authorization::read(&parts).map(|_| ())
}

fn plain() -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature={}",
        "a".repeat(64)
    )
}

#[test]
fn what_is_not_signed_by_header_with_version_4_says_what_it_is() {
    assert_eq!(read(&plain(), None), Ok(()));
    assert_eq!(read(&plain().replace(", ", ","), None), Ok(()));
    let presigned = [
        "X-Amz-Signature=00",
        "a=b&x-amz-signature=00",
        "X%2dAmz-Credential=c",
        "AWSAccessKeyId=k&Signature=s",
    ];
    for query in presigned {
        assert_eq!(
            read(&plain(), Some(query)),
            Err(NotSigned::Presigned),
            "{query}"
        );
    }
    for (text, why) in [
        (
            "AWS4-ECDSA-P256-SHA256 Credential=a/20150830/sts/aws4_request",
            NotSigned::Asymmetric,
        ),
        ("AWS AKIDEXAMPLE:c2ln", NotSigned::OtherScheme),
        ("Bearer token", NotSigned::OtherScheme),
        ("", NotSigned::OtherScheme),
    ] {
        assert_eq!(read(text, None), Err(why), "{text}");
    }
    let headers = fields_of(&[("host", "h")]);
    let parts = Parts {
        method: "GET",
        path: "/",
        query: None,
        headers: &headers,
    };
    assert_eq!(Authorization::read(&parts), Err(NotSigned::Unsigned));
}

#[test]
fn what_can_be_read_in_two_ways_is_not_read() {
    let plain = plain();
    let changed = |from: &str, to: &str| plain.replace(from, to);
    for bad in [
        changed("host;x-amz-date", "x-amz-date;host"),
        changed("host;x-amz-date", "host"),
        changed("host;x-amz-date", "x-amz-date"),
        changed("host;x-amz-date", "host;host;x-amz-date"),
        changed("host;x-amz-date", "host;not-there;x-amz-date"),
        changed("20150830/", "20150831/"),
        changed("/aws4_request", "/aws4_request/x"),
        changed("/sts/", "//"),
        changed("Signature=a", "Signature=A"),
        changed("SignedHeaders", "signedheaders"),
        format!("{plain}, Signature={}", "b".repeat(64)),
        plain.split(", Signature").next().unwrap().to_owned(),
        "x".repeat(9000),
    ] {
        assert!(read(&bad, None).is_err(), "{bad}");
    }
    let mut headers = with(&plain, None).0;
    headers.push(HeaderField {
        name: "authorization".into(),
        value: b"Bearer t".to_vec(),
    });
    let parts = Parts {
        method: "GET",
        path: "/",
        query: None,
        headers: &headers,
    };
    assert!(matches!(
        Authorization::read(&parts),
        Err(NotSigned::Malformed(_))
    ));
}

/// Signs as a client does, changes one thing, and checks.
fn checked(
    change: impl FnOnce(&mut String, &mut Vec<HeaderField>, &mut Vec<u8>),
) -> Result<(), NotSigned> {
    let key = example('+');
    let scope = AwsScope {
        region: "eu-west-1".into(),
        service: "sqs".into(),
    };
    let at = Moment::parse(b"20150830T123600Z").unwrap();
    let mut headers = fields_of(&[
        ("host", "sqs.eu-west-1.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        ("x-amz-target", "AmazonSQS.SendMessage"),
    ]);
    let mut body = b"{}".to_vec();
    let mut path = "/".to_owned();
    let signed = ["host", "x-amz-date", "x-amz-target"];
    let parts = Parts {
        method: "POST",
        path: &path,
        query: None,
        headers: &headers,
    };
    let made = signature(
        &key,
        &scope,
        &at,
        &parts,
        &signed,
        Payload::Exact(Digest::of(&body)),
    );
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/sqs/aws4_request,SignedHeaders=host;x-amz-date;x-amz-target,Signature={made}"
    );
    headers.push(HeaderField {
        name: "authorization".into(),
        value: authorization.into_bytes(),
    });
    change(&mut path, &mut headers, &mut body);
    let parts = Parts {
        method: "POST",
        path: &path,
        query: None,
        headers: &headers,
    };
    let authorization = Authorization::read(&parts)?;
    authorization.check(&key, &parts, Payload::Exact(Digest::of(&body)))
}

#[test]
fn a_signature_is_of_this_request_by_this_key_or_is_none() {
    assert_eq!(checked(|_, _, _| {}), Ok(()));
    assert_eq!(checked(|path, _, _| path.push('x')), Err(NotSigned::Wrong));
    assert_eq!(checked(|_, _, body| body.push(b' ')), Err(NotSigned::Wrong));
    assert_eq!(
        checked(|_, headers, _| headers[2].value = b"AmazonSQS.PurgeQueue".to_vec()),
        Err(NotSigned::Wrong)
    );
    let other = |_: &mut String, headers: &mut Vec<HeaderField>, _: &mut Vec<u8>| {
        let value = String::from_utf8(headers[3].value.clone()).unwrap();
        headers[3].value = value.replace("AKIDEXAMPLE", "AKIDSOMEONE").into_bytes();
    };
    assert_eq!(checked(other), Err(NotSigned::OtherKey));
}

proptest! {
    #[test]
    fn whatever_a_client_writes_is_read_or_refused(
        value in prop::collection::vec(any::<u8>(), 0..300),
        query in "\\PC{0,40}",
        cut in 0usize..200,
    ) {
        let mut mixed = plain().into_bytes();
        mixed.truncate(cut);
        mixed.extend_from_slice(&value);
        for value in [value, mixed] {
            let headers = [
                HeaderField { name: "host".into(), value: b"h".to_vec() },
                HeaderField { name: "x-amz-date".into(), value: b"20150830T123600Z".to_vec() },
                HeaderField { name: "authorization".into(), value },
            ];
            let parts = Parts { method: "GET", path: "/", query: Some(&query), headers: &headers };
            if let Ok(read) = Authorization::read(&parts) {
                let payload = Payload::Exact(Digest::of(b""));
                prop_assert!(read.check(&example('+'), &parts, payload).is_err());
            }
        }
    }
}
