use super::*;
use crate::Place;
use crate::store::memory::Memory;
use crate::test_endpoint::{TokenEndpoint, account, json};
use std::time::Instant;

fn vault(memory: &Memory, cache: Duration) -> Vault {
    let memory = memory.clone();
    let options = VaultOptions {
        timeout: Duration::from_secs(5),
        cache,
    };
    Vault::start(move || Ok(memory.items()), Duration::from_secs(5), options).unwrap()
}
fn id() -> CredentialId {
    "mail".parse().unwrap()
}
fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}
fn shown(presented: &Presented) -> String {
    match &presented.place {
        Place::Header { value, .. } => String::from_utf8(value.expose().to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}
const LONG: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_credential_that_is_set_is_shown_to_its_host_in_exactly_its_version() {
    let vault = vault(&Memory::default(), LONG);
    let bearer = account(CredentialKind::Bearer);
    let first = vault.set(&id(), secret("canary-first")).await.unwrap();
    assert_eq!(
        shown(&vault.present(&bearer, &first).await.unwrap()),
        "Bearer canary-first"
    );
    let second = vault.set(&id(), secret("canary-second")).await.unwrap();
    assert_eq!(
        vault.present(&bearer, &first).await.unwrap_err(),
        VaultError::Changed
    );
    assert_eq!(
        shown(&vault.present(&bearer, &second).await.unwrap()),
        "Bearer canary-second"
    );
    assert!(vault.remove(&id()).await.unwrap());
    assert_eq!(
        vault.present(&bearer, &second).await.unwrap_err(),
        VaultError::NoCredential
    );
    assert_eq!(vault.version(&id()).await.unwrap(), None);
    assert_eq!(vault.list().await.unwrap(), vec![]);
    assert_eq!(vault.list_blocking().unwrap(), vec![]);
}

#[tokio::test]
async fn a_credential_is_not_shown_to_another_accounts_host_and_a_site_gets_none() {
    let vault = vault(&Memory::default(), LONG);
    let version = vault.set(&id(), secret("canary-first")).await.unwrap();
    let mut other = account(CredentialKind::Bearer);
    other.id = "forum".parse().unwrap();
    assert_eq!(
        vault.present(&other, &version).await.unwrap_err(),
        VaultError::Changed
    );
    let site = vault
        .present(&account(CredentialKind::None), &version)
        .await
        .unwrap();
    assert!(matches!(site.place, Place::Nowhere));
}

#[tokio::test]
async fn a_changed_account_is_not_served_in_the_shape_of_before() {
    let vault = vault(&Memory::default(), LONG);
    let version = vault
        .set(&id(), secret("user:canary-password"))
        .await
        .unwrap();
    let kind = CredentialKind::Basic;
    assert!(shown(&vault.present(&account(kind), &version).await.unwrap()).starts_with("Basic "));
    let kind = CredentialKind::Bearer;
    assert!(shown(&vault.present(&account(kind), &version).await.unwrap()).starts_with("Bearer "));
}

#[tokio::test]
async fn many_readers_read_the_store_once_and_a_locked_store_is_noticed_when_the_cache_ends() {
    let memory = Memory::default();
    let vault = vault(&memory, Duration::from_millis(300));
    let bearer = account(CredentialKind::Bearer);
    let version = vault.set(&id(), secret("canary-first")).await.unwrap();
    let before = memory.with(|s| s.gets);
    let readers: Vec<_> = (0..100)
        .map(|_| {
            let (vault, bearer, version) = (vault.clone(), bearer.clone(), version.clone());
            tokio::spawn(async move { vault.present(&bearer, &version).await })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
    assert_eq!(memory.with(|s| s.gets) - before, 1);
    memory.with(|s| s.fail = Some(VaultError::Locked));
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(
        vault.present(&bearer, &version).await.unwrap_err(),
        VaultError::Locked
    );
    // Not only unusable by then, but gone.
    assert_eq!(vault.0.cache.len(), 0);
}

#[tokio::test]
async fn what_is_not_asked_for_again_is_dropped_by_itself() {
    let vault = vault(&Memory::default(), Duration::from_millis(100));
    let version = vault.set(&id(), secret("canary-first")).await.unwrap();
    vault
        .present(&account(CredentialKind::Bearer), &version)
        .await
        .unwrap();
    assert_eq!(vault.0.cache.len(), 1);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(vault.0.cache.len(), 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_cached_credential_is_shown_twenty_thousand_times_in_a_second_of_one_processor() {
    use nix::time::{ClockId, clock_gettime};
    // The processor time of this thread: other tests run beside it.
    let used = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let vault = vault(&Memory::default(), LONG);
    let bearer = account(CredentialKind::Bearer);
    let version = vault.set(&id(), secret("canary-first")).await.unwrap();
    vault.present(&bearer, &version).await.unwrap();
    let begun = used();
    for _ in 0..20_000 {
        vault.present(&bearer, &version).await.unwrap();
    }
    let took = used() - begun;
    println!("20,000 in {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

fn slow_grant(n: usize) -> String {
    json(
        "200 OK",
        &format!(
            r#"{{"access_token":"canary-access-{n}","token_type":"Bearer","expires_in":3600}}"#
        ),
    )
}
const DOCUMENT: &str =
    r#"{"client_id":"one","client_secret":"canary-client","refresh_token":"canary-refresh"}"#;

#[tokio::test]
async fn sixteen_callers_make_one_refresh() {
    let endpoint = TokenEndpoint::start(true, Duration::from_millis(200), slow_grant).await;
    let vault = vault(&Memory::default(), Duration::from_millis(50));
    let version = vault.set(&id(), secret(DOCUMENT)).await.unwrap();
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (vault, account, version) = (vault.clone(), endpoint.account(), version.clone());
            tokio::spawn(async move { vault.present(&account, &version).await })
        })
        .collect();
    for caller in callers {
        let presented = caller.await.unwrap().unwrap();
        assert_eq!(shown(&presented), "Bearer canary-access-1");
        let needles: Vec<&[u8]> = presented.needles.iter().map(Secret::expose).collect();
        assert_eq!(
            needles,
            [&b"canary-access-1"[..], b"canary-client", b"canary-refresh"]
        );
    }
    // Also when the cache of what was read is over: the token is still good.
    tokio::time::sleep(Duration::from_millis(100)).await;
    vault.present(&endpoint.account(), &version).await.unwrap();
    assert_eq!(endpoint.hits(), 1);
    // But not for another secret.
    let version = vault.set(&id(), secret(DOCUMENT)).await.unwrap();
    let presented = vault.present(&endpoint.account(), &version).await.unwrap();
    assert_eq!(shown(&presented), "Bearer canary-access-2");
}

#[tokio::test]
async fn a_refresh_whose_caller_left_is_finished() {
    let endpoint = TokenEndpoint::start(true, Duration::from_millis(200), slow_grant).await;
    let vault = vault(&Memory::default(), LONG);
    let version = vault.set(&id(), secret(DOCUMENT)).await.unwrap();
    let account = endpoint.account();
    let hasty = tokio::time::timeout(
        Duration::from_millis(100),
        vault.present(&account, &version),
    )
    .await;
    assert!(hasty.is_err());
    assert_eq!(
        shown(&vault.present(&account, &version).await.unwrap()),
        "Bearer canary-access-1"
    );
    assert_eq!(endpoint.hits(), 1);
}

#[tokio::test]
async fn forgetting_ends_what_is_under_way_and_drops_what_was_read() {
    let endpoint = TokenEndpoint::start(true, Duration::from_secs(8), slow_grant).await;
    let vault = vault(&Memory::default(), LONG);
    let version = vault.set(&id(), secret(DOCUMENT)).await.unwrap();
    let (waiting, of, oauth) = (vault.clone(), version.clone(), endpoint.account());
    let waiting = tokio::spawn(async move { waiting.present(&oauth, &of).await });
    let bearer = account(CredentialKind::Bearer);
    while endpoint.hits() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begun = Instant::now();
    vault.forget();
    assert_eq!(waiting.await.unwrap().unwrap_err(), VaultError::Forgotten);
    assert!(begun.elapsed() < Duration::from_secs(1));
    let version = vault.set(&id(), secret("canary-bearer")).await.unwrap();
    vault.present(&bearer, &version).await.unwrap();
    assert_eq!(vault.0.cache.len(), 1);
    vault.forget();
    assert_eq!(vault.0.cache.len(), 0);
    assert!(vault.0.slots().is_empty());
    vault.present(&bearer, &version).await.unwrap();
}

#[test]
fn what_is_read_while_a_credential_changes_is_not_taken_in() {
    let cache = Cache::new(LONG);
    let bearer = account(CredentialKind::Bearer);
    let of = CredentialVersion {
        id: id(),
        version: 1,
    };
    let generation = cache.generation();
    cache.drop_one(&id());
    cache.put(
        generation,
        bearer.clone(),
        &of,
        Ready::Presented(Presented::nothing()),
        Moment::now(),
    );
    assert!(cache.get(&bearer, &of).is_none());
    cache.put(
        cache.generation(),
        bearer.clone(),
        &of,
        Ready::Presented(Presented::nothing()),
        Moment::now(),
    );
    assert!(cache.get(&bearer, &of).is_some());
    assert!(
        cache
            .get(
                &bearer,
                &CredentialVersion {
                    id: id(),
                    version: 2
                }
            )
            .is_none()
    );
}

#[tokio::test]
async fn no_debug_text_and_no_error_shows_a_secret() {
    let vault = vault(&Memory::default(), LONG);
    let canary = "canary-4711-x:canary-0815";
    let version = vault.set(&id(), secret(canary)).await.unwrap();
    let mut text = format!("{vault:?} {version:?} {:?}", secret(canary));
    let backend = Backend::File {
        path: "vault".into(),
        passphrase: secret(canary),
    };
    text += &format!("{backend:?} {backend:#?}");
    let kinds = [
        CredentialKind::Bearer,
        CredentialKind::Basic,
        CredentialKind::Header("x-key".into()),
        CredentialKind::Query("key".into()),
        CredentialKind::Oauth2,
        CredentialKind::None,
    ];
    for kind in kinds {
        text += &format!("{:?}", vault.present(&account(kind), &version).await);
    }
    assert!(text.contains("Secret(…)"));
    assert!(
        !text.contains("canary") && !text.contains("Y2FuYXJ5"),
        "{text}"
    );
}

#[test]
fn a_vault_file_works_end_to_end_and_says_when_the_passphrase_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let install = InstallId::from_random([3; 16]);
    let open = |passphrase: &str| {
        let path = folder.path().join("vault");
        let backend = Backend::File {
            path,
            passphrase: secret(passphrase),
        };
        Vault::open(backend, install.clone(), VaultOptions::default())
    };
    let vault = open("a good passphrase").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let version = runtime
        .block_on(vault.set(&id(), secret("canary-first")))
        .unwrap();
    let key = vault.key_blocking(Purpose::Ledger).unwrap();
    drop(vault);
    let wrong = open("a wrong passphrase").unwrap_err();
    assert_eq!(wrong, VaultError::WrongPassphrase);
    assert_eq!(wrong.reason(), countersign_model::ReasonCode::Locked);
    let vault = open("a good passphrase").unwrap();
    assert_eq!(
        vault.key_blocking(Purpose::Ledger).unwrap().expose(),
        key.expose()
    );
    let bearer = account(CredentialKind::Bearer);
    let presented = runtime.block_on(vault.present(&bearer, &version)).unwrap();
    assert_eq!(shown(&presented), "Bearer canary-first");
}
