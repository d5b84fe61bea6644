use super::*;
use countersign_model::Scheme;

/// The keys of AWS's published examples; they open nothing.
const PUBLISHED: &str = "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn parse(text: &str) -> Result<AccessKey, VaultError> {
    AccessKey::parse(&Secret::new(text.as_bytes().to_vec()))
}

fn exact(method: &str, path: &str, headers: &[(&str, &str)], body: BodyCommitment) -> ExactRequest {
    ExactRequest {
        scheme: Scheme::Https,
        method: method.into(),
        host: "examplebucket.s3.amazonaws.com".into(),
        port: 443,
        path: path.into(),
        query: None,
        headers: headers
            .iter()
            .map(|(name, value)| HeaderField {
                name: (*name).into(),
                value: value.as_bytes().to_vec(),
            })
            .collect(),
        trailers: vec![],
        body,
        credential: None,
        account_digest: Digest::of(b""),
    }
}

fn s3() -> AwsScope {
    AwsScope {
        region: "us-east-1".into(),
        service: "s3".into(),
    }
}

/// What is put into the request, by name.
fn added(key: &AccessKey, exact: &ExactRequest, scope: &AwsScope) -> Vec<(String, String)> {
    let at = Moment::parse(b"20130524T000000Z").unwrap();
    let Place::Headers(headers) = key.sign_at(exact, scope, &at).place else {
        panic!("a signature goes into headers")
    };
    let text = |s: Secret| String::from_utf8(s.expose().to_vec()).unwrap();
    headers.into_iter().map(|(n, v)| (n, text(v))).collect()
}

fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, v)| v.as_str())
}

/// Amazon S3 API Reference, "Signature Calculations for the Authorization Header".
#[test]
fn an_upload_is_signed_as_the_api_reference_has_it() {
    let content = b"Welcome to Amazon S3.";
    let body = BodyCommitment::Exact {
        digest: Digest::of(content),
        length: content.len() as u64,
    };
    let headers = [
        ("date", "Fri, 24 May 2013 00:00:00 GMT"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("user-agent", "not signed"),
    ];
    let exact = exact("PUT", "/test%24file.text", &headers, body);
    let added = added(&parse(PUBLISHED).unwrap(), &exact, &s3());
    let authorization = value(&added, "authorization").unwrap();
    assert!(
        authorization.ends_with(
            "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, \
             Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        ),
        "{authorization}"
    );
    assert_eq!(
        value(&added, "x-amz-content-sha256"),
        Some(Digest::of(content).to_string().as_str())
    );
}

#[test]
fn a_session_token_goes_along_and_is_signed_and_searched_for() {
    let token = "plainly-not-a-real-token";
    let exact = exact("GET", "/", &[], BodyCommitment::Streamed);
    for text in [
        format!("{PUBLISHED}:{token}"),
        format!(
            r#"{{"Version": 1, "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "wJalrXUtnFEMI\/K7MDENG\/bPxRfiCYEXAMPLEKEY", "SessionToken": "{token}"}}"#
        ),
    ] {
        let key = parse(&text).unwrap();
        let headers = added(&key, &exact, &s3());
        assert_eq!(value(&headers, "x-amz-security-token"), Some(token));
        let authorization = value(&headers, "authorization").unwrap();
        assert!(authorization.contains("x-amz-date;x-amz-security-token"));
        assert_eq!(
            value(&headers, "x-amz-content-sha256"),
            Some("UNSIGNED-PAYLOAD")
        );
        let at = Moment::parse(b"20130524T000000Z").unwrap();
        let needles = key.sign_at(&exact, &s3(), &at).needles;
        let (made, found) = (needles[0].expose(), needles[1].expose());
        assert!(authorization.as_bytes().ends_with(made) && found == token.as_bytes());
    }
    let elsewhere = AwsScope {
        service: "sqs".into(),
        ..s3()
    };
    let headers = added(&parse(PUBLISHED).unwrap(), &exact, &elsewhere);
    assert_eq!(value(&headers, "x-amz-content-sha256"), None);
}

#[test]
fn nothing_that_is_added_holds_the_secret_key() {
    let key = parse(PUBLISHED).unwrap();
    let exact = exact("GET", "/", &[], BodyCommitment::None);
    for (name, value) in added(&key, &exact, &s3()) {
        assert!(!value.contains("bPxRfiCY"), "{name}");
    }
}

#[test]
fn what_is_no_access_key_is_refused_without_a_word_of_it() {
    for bad in [
        "AKIAIOSFODNN7EXAMPLE",
        ":wJalrXUtnFEMI/K7MDENG",
        "AKIA IOSFODNN7:wJalrXUtnFEMI/K7MDENG",
        "AKIAIOSFODNN7EXAMPLE:short",
        "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI K7MDENG",
        "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG:a\nb-token",
        r#"{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}"#,
        r#"{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "wJalrXUtnFEMI", "RoleArn": "role"}"#,
        "{",
    ] {
        let error = parse(bad).err().expect(bad).to_string();
        assert!(
            !error.contains("wJal") && !error.contains("AKIA"),
            "{error}"
        );
    }
}
