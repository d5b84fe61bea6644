use super::*;

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}
fn needles(presented: &Presented) -> Vec<String> {
    presented
        .needles
        .iter()
        .map(|n| String::from_utf8(n.expose().to_vec()).unwrap())
        .collect()
}
fn header_of(presented: &Presented) -> (String, String) {
    match &presented.place {
        Place::Header { name, value } => (
            name.clone(),
            String::from_utf8(value.expose().to_vec()).unwrap(),
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bearer_token_goes_into_the_authorization_header() {
    let shown = shape(&CredentialKind::Bearer, &secret("abc.DEF-123|~+/=")).unwrap();
    assert_eq!(
        header_of(&shown),
        ("authorization".into(), "Bearer abc.DEF-123|~+/=".into())
    );
    assert_eq!(needles(&shown), ["abc.DEF-123|~+/="]);
}

#[test]
fn basic_looks_for_the_pair_the_password_and_its_base64() {
    let shown = shape(&CredentialKind::Basic, &secret("Aladdin:open sesame")).unwrap();
    // The example of RFC 7617 section 2.
    assert_eq!(
        header_of(&shown),
        (
            "authorization".into(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".into()
        )
    );
    assert_eq!(
        needles(&shown),
        [
            "Aladdin:open sesame",
            "open sesame",
            "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        ]
    );
}

#[test]
fn where_the_password_is_a_formality_the_user_name_is_the_secret() {
    for pair in ["longapikey:", "longapikey:X", "longapikey:x-oauth-basic"] {
        let shown = shape(&CredentialKind::Basic, &secret(pair)).unwrap();
        assert_eq!(needles(&shown)[1], "longapikey");
    }
    assert!(shape(&CredentialKind::Basic, &secret("abc:def")).is_err());
    assert!(shape(&CredentialKind::Basic, &secret(":password")).is_ok());
}

#[test]
fn a_header_of_another_name_takes_the_value_whole_and_looks_for_its_token() {
    let kind = CredentialKind::Header("x-api-key".into());
    let shown = shape(&kind, &secret("Token abcdefgh")).unwrap();
    assert_eq!(
        header_of(&shown),
        ("x-api-key".into(), "Token abcdefgh".into())
    );
    assert_eq!(needles(&shown), ["Token abcdefgh", "abcdefgh"]);
    assert_eq!(
        needles(&shape(&kind, &secret("abcdefgh")).unwrap()),
        ["abcdefgh"]
    );
}

#[test]
fn a_query_value_is_not_encoded_yet() {
    let shown = shape(&CredentialKind::Query("key".into()), &secret("a&b=c dü")).unwrap();
    assert!(matches!(&shown.place, Place::Query { name, value }
        if name == "key" && value.expose() == "a&b=c dü".as_bytes()));
    assert_eq!(needles(&shown), ["a&b=c dü"]);
}

#[test]
fn a_site_is_shown_nothing() {
    let shown = shape(&CredentialKind::None, &secret("abcdefgh")).unwrap();
    assert!(matches!(shown.place, Place::Nowhere) && shown.needles.is_empty());
}

#[test]
fn nothing_that_could_end_a_header_or_a_line_is_ever_shown() {
    let kinds = [
        CredentialKind::Bearer,
        CredentialKind::Basic,
        CredentialKind::Header("x-key".into()),
        CredentialKind::Query("key".into()),
    ];
    for kind in kinds {
        for bad in [
            "user:abcdefgh\n",
            "user:abc\r\ndef",
            "user:abc\0defg",
            "\nuser:abcdefgh",
            "user:abc\x7fdefg",
        ] {
            let refused = shape(&kind, &secret(bad)).unwrap_err();
            assert!(
                matches!(refused, VaultError::Refused(_)),
                "{kind:?} {bad:?}"
            );
            assert!(!refused.to_string().contains("abc"));
        }
    }
    for bad in ["abcdefg ", " abcdefg", "äbcdefgh", "abc defg\t"] {
        assert!(
            shape(&CredentialKind::Header("x-key".into()), &secret(bad)).is_err(),
            "{bad:?}"
        );
        assert!(
            shape(&CredentialKind::Bearer, &secret(bad)).is_err(),
            "{bad:?}"
        );
    }
    assert!(shape(&CredentialKind::Bearer, &secret("two words")).is_err());
    assert!(shape(&CredentialKind::Basic, &secret("no colon here")).is_err());
    assert!(
        shape(
            &CredentialKind::Query("key".into()),
            &Secret::new(vec![0xff; 9])
        )
        .is_err()
    );
}

#[test]
fn what_is_too_short_to_be_recognised_is_not_shown() {
    assert!(shape(&CredentialKind::Bearer, &secret("abc")).is_err());
    assert!(access_token(&secret("abc"), vec![]).is_err());
    assert!(access_token(&secret("abcdefgh"), vec![secret("abc")]).is_err());
    assert!(access_token(&secret("abcdefgh"), vec![secret("abcd")]).is_ok());
}

#[test]
fn a_refresh_token_is_never_shown_to_a_host() {
    assert!(
        shape(
            &CredentialKind::Oauth2,
            &secret("{\"refresh_token\":\"abcdefgh\"}")
        )
        .is_err()
    );
}
