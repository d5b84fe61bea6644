use super::*;
use crate::items::Items;
use crate::store::memory::Memory;
use crate::test_endpoint::{HOST, TokenEndpoint, json};

const DOCUMENT: &str = r#"{"type":"authorized_user","client_id":"id one","client_secret":"canary-client&secret","refresh_token":"canary\/refresh"}"#;

fn document() -> Secret {
    Secret::new(DOCUMENT.as_bytes().to_vec())
}
fn user() -> AuthorizedUser {
    AuthorizedUser::parse(&document()).unwrap()
}
fn granted(n: usize) -> String {
    json(
        "200 OK",
        &format!(
            r#"{{"access_token":"canary-access-{n}","token_type":"bearer","expires_in":3600}}"#
        ),
    )
}
async fn endpoint(answer: crate::test_endpoint::Answer) -> TokenEndpoint {
    TokenEndpoint::start(true, Duration::ZERO, answer).await
}
async fn refusal(endpoint: &TokenEndpoint) -> String {
    let Err(error) = token_endpoint::refresh(&endpoint.account(), &user()).await else {
        panic!("it was granted")
    };
    assert!(matches!(error, VaultError::OAuth(_)), "{error:?}");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("canary"), "{text}");
    text
}

#[test]
fn a_document_is_read_with_and_without_a_client_secret_and_nothing_else_is_taken() {
    assert_eq!(user().client_id, "id one");
    assert_eq!(
        user().client_secret.unwrap().expose(),
        b"canary-client&secret"
    );
    assert_eq!(user().refresh_token.expose(), b"canary/refresh");
    let public = br#"{"client_id":"a","refresh_token":"canary-refresh","client_secret":"","token_uri":"https://a.example/t"}"#;
    let public = AuthorizedUser::parse(&Secret::new(public.to_vec())).unwrap();
    assert!(public.client_secret.is_none());
    assert_eq!(public.token_uri.as_deref(), Some("https://a.example/t"));
    for bad in [
        "canary-token",
        "{}",
        r#"{"client_id":"canary"}"#,
        r#"{"client_id":1,"refresh_token":"canary"}"#,
    ] {
        let error = AuthorizedUser::parse(&Secret::new(bad.into()))
            .map(|_| ())
            .unwrap_err();
        assert!(matches!(error, VaultError::Refused(_)));
        assert!(!format!("{error:?}").contains("canary"));
    }
}

#[test]
fn a_rotated_document_differs_in_its_refresh_token_alone() {
    let new = user()
        .rotated(&Secret::new(b"new \"token\"\\".to_vec()))
        .unwrap();
    let new = AuthorizedUser::parse(&new).unwrap();
    assert_eq!(new.refresh_token.expose(), b"new \"token\"\\");
    assert_eq!(new.client_id, "id one");
    assert_eq!(new.client_secret.unwrap().expose(), b"canary-client&secret");
}

#[test]
fn a_token_is_not_used_in_its_last_minute_and_a_short_one_for_half_its_life() {
    let asked = Moment::now();
    for (life, used) in [
        (3600, 3540),
        (180, 120),
        (120, 60),
        (100, 50),
        (10, 5),
        (0, 0),
    ] {
        let granted = Granted {
            access_token: document(),
            asked,
            life: Duration::from_secs(life),
            refresh_token: None,
        };
        assert_eq!(
            usable_until(&granted),
            asked.after(Duration::from_secs(used)),
            "{life}"
        );
    }
}

#[tokio::test]
async fn the_request_is_the_form_of_the_rfc_and_goes_to_the_accounts_own_address() {
    let endpoint = endpoint(granted).await;
    let granted = token_endpoint::refresh(&endpoint.account(), &user())
        .await
        .unwrap();
    assert_eq!(granted.access_token.expose(), b"canary-access-1");
    assert_eq!(granted.life, Duration::from_secs(3600));
    let request = endpoint.requests.lock().unwrap()[0].clone();
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"));
    assert!(request.contains(&format!("host: {HOST}\r\n")));
    let (_, form) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        form,
        "grant_type=refresh_token&refresh_token=canary%2Frefresh&client_id=id%20one&client_secret=canary-client%26secret"
    );
}

#[tokio::test]
async fn a_port_in_the_token_url_is_named_in_the_host_header_and_not_dialled() {
    let endpoint = endpoint(granted).await;
    let mut account = endpoint.account();
    account.token_url = Some(format!("https://{HOST}:8443/token"));
    token_endpoint::refresh(&account, &user()).await.unwrap();
    assert!(endpoint.requests.lock().unwrap()[0].contains(&format!("host: {HOST}:8443\r\n")));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let endpoint = endpoint(|n| match n {
        1 => format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: https://{HOST}/canary\r\nContent-Length: 0\r\n\r\n"),
        n => granted(n),
    })
    .await;
    assert!(refusal(&endpoint).await.contains("redirect"));
    assert_eq!(endpoint.hits(), 1);
}

#[tokio::test]
async fn a_refusal_names_a_known_code_and_repeats_nothing() {
    let with_code = endpoint(|_| {
        json(
            "400 Bad Request",
            r#"{"error":"invalid_grant","error_description":"canary"}"#,
        )
    })
    .await;
    assert!(refusal(&with_code).await.contains("invalid_grant"));
    let unknown = endpoint(|_| json("401 Unauthorized", r#"{"error":"canary_refresh"}"#)).await;
    assert!(refusal(&unknown).await.contains("401"));
    let no_json = endpoint(|_| json("503 Service Unavailable", "canary")).await;
    assert!(refusal(&no_json).await.contains("503"));
    let broken = endpoint(|_| "canary canary\r\n\r\n".into()).await;
    assert!(refusal(&broken).await.contains("broke off"));
}

#[tokio::test]
async fn a_reply_that_is_too_long_or_not_a_bearer_token_is_refused() {
    let long = endpoint(|_| {
        json(
            "200 OK",
            &format!(r#"{{"canary":"{}"}}"#, "x".repeat(70_000)),
        )
    })
    .await;
    assert!(refusal(&long).await.contains("too long"));
    let other = endpoint(|_| {
        json(
            "200 OK",
            r#"{"access_token":"canary-access","token_type":"mac"}"#,
        )
    })
    .await;
    assert!(refusal(&other).await.contains("no bearer token"));
    let none = endpoint(|_| json("200 OK", r#"{"token_type":"bearer","id_token":"canary"}"#)).await;
    assert!(refusal(&none).await.contains("no access token"));
    let evil = endpoint(|_| {
        json(
            "200 OK",
            r#"{"access_token":"canary\r\nx: y","token_type":"bearer"}"#,
        )
    })
    .await;
    let granted = token_endpoint::refresh(&evil.account(), &user())
        .await
        .unwrap();
    assert!(matches!(
        access_token(&granted.access_token, vec![]),
        Err(VaultError::Refused(_))
    ));
}

#[tokio::test]
async fn an_endpoint_that_is_not_who_it_should_be_gets_nothing() {
    let real = endpoint(granted).await;
    let other = endpoint(granted).await;
    let mut account = real.account();
    account.ca_pem = Some(other.ca_pem.clone());
    let failed = token_endpoint::refresh(&account, &user())
        .await
        .err()
        .unwrap();
    assert!(failed.to_string().contains("not trusted"), "{failed}");
    // The system's roots do not know that CA either.
    account.ca_pem = None;
    let failed = token_endpoint::refresh(&account, &user())
        .await
        .err()
        .unwrap();
    assert!(failed.to_string().contains("not trusted"), "{failed}");
    // A certificate of the right CA for another name.
    let mut account = real.account();
    account.hosts = vec![countersign_model::HostPattern::new("other.corp.example").unwrap()];
    account.token_url = Some("https://other.corp.example/token".into());
    let failed = token_endpoint::refresh(&account, &user())
        .await
        .err()
        .unwrap();
    assert!(failed.to_string().contains("not trusted"), "{failed}");
    assert_eq!(real.hits(), 0);
    // Nobody there at all.
    let mut account = real.account();
    account.connect_to = Some("127.0.0.1:1".into());
    let failed = token_endpoint::refresh(&account, &user())
        .await
        .err()
        .unwrap();
    assert!(failed.to_string().contains("cannot be reached"), "{failed}");
}

#[tokio::test]
async fn plaintext_is_for_loopback_and_for_accounts_that_say_so() {
    let endpoint = TokenEndpoint::start(false, Duration::ZERO, granted).await;
    let mut account = endpoint.account();
    account.ca_pem = None;
    account.connect_to = None;
    account.token_url = Some(format!("http://127.0.0.1:{}/token", endpoint.port));
    let failed = token_endpoint::refresh(&account, &user())
        .await
        .err()
        .unwrap();
    assert!(failed.to_string().contains("not https"), "{failed}");
    account.plaintext = true;
    token_endpoint::refresh(&account, &user()).await.unwrap();
    for url in [
        "http://192.0.2.1/token",
        "ftp://127.0.0.1/token",
        "https://u:p@a.example/",
        "canary",
        "data:,x",
    ] {
        account.token_url = Some(url.into());
        let failed = token_endpoint::refresh(&account, &user())
            .await
            .err()
            .unwrap();
        assert!(matches!(failed, VaultError::OAuth(_)), "{url}: {failed}");
        assert!(!failed.to_string().contains("canary"));
    }
    account.token_url = None;
    assert!(token_endpoint::refresh(&account, &user()).await.is_err());
    assert_eq!(endpoint.hits(), 1);
}

fn at(version: u64) -> CredentialVersion {
    CredentialVersion {
        id: "mail".parse().unwrap(),
        version,
    }
}
fn store(memory: &Memory) -> StoreThread {
    let memory = memory.clone();
    let limit = Duration::from_secs(5);
    StoreThread::start(move || Ok(memory.items()), limit, limit, limit, || {}).unwrap()
}
fn rotating(n: usize) -> String {
    let body = format!(
        r#"{{"access_token":"canary-access-{n}","token_type":"Bearer","expires_in":0,"refresh_token":"canary-rotated-{n}"}}"#
    );
    json("200 OK", &body)
}
async fn stored(store: &StoreThread) -> Secret {
    store
        .call(|items: &mut Items| items.read(&at(1)))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_rotated_refresh_token_is_kept_and_used_next_and_looked_for_in_replies() {
    let endpoint = endpoint(rotating).await;
    let store = store(&Memory::default());
    store
        .call(|items: &mut Items| items.set(&at(1).id, &document()))
        .await
        .unwrap();
    let mut tokens = Tokens::default();
    for n in 1..=3 {
        let kept = stored(&store).await;
        let shown = tokens
            .present(&store, &endpoint.account(), &at(1), &kept)
            .await
            .unwrap();
        let new = format!("canary-rotated-{n}");
        assert!(
            shown
                .needles
                .iter()
                .any(|needle| needle.expose() == new.as_bytes())
        );
        let user = AuthorizedUser::parse(&stored(&store).await).unwrap();
        assert_eq!(user.refresh_token.expose(), new.as_bytes());
    }
    let requests = endpoint.requests.lock().unwrap();
    assert!(requests[1].contains("refresh_token=canary-rotated-1&"));
    assert!(requests[2].contains("refresh_token=canary-rotated-2&"));
}

#[tokio::test]
async fn a_rotated_refresh_token_outlives_a_keyring_that_is_locked_just_then() {
    let endpoint = endpoint(rotating).await;
    let memory = Memory::default();
    let store = store(&memory);
    store
        .call(|items: &mut Items| items.set(&at(1).id, &document()))
        .await
        .unwrap();
    let mut tokens = Tokens::default();
    let old = stored(&store).await;
    memory.with(|s| s.fail = Some(VaultError::Locked));
    let locked = tokens
        .present(&store, &endpoint.account(), &at(1), &old)
        .await;
    assert_eq!(locked.err(), Some(VaultError::Locked));
    memory.with(|s| s.fail = None);
    tokens
        .present(&store, &endpoint.account(), &at(1), &old)
        .await
        .unwrap();
    let requests = endpoint.requests.lock().unwrap().clone();
    assert!(
        requests[1].contains("refresh_token=canary-rotated-1&"),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn after_a_failure_the_endpoint_is_left_alone_for_a_moment() {
    let endpoint = endpoint(|_| json("500 Internal Server Error", "")).await;
    let store = store(&Memory::default());
    let mut tokens = Tokens::default();
    for _ in 0..5 {
        assert!(
            tokens
                .present(&store, &endpoint.account(), &at(1), &document())
                .await
                .is_err()
        );
    }
    assert_eq!(endpoint.hits(), 1);
}
