//! The vault against a real gnome-keyring. Linux only, like that.
#![cfg(target_os = "linux")]
// Helpers of tests are tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod desktop;

use countersign_model::{
    Account, CredentialId, CredentialKind, CredentialVersion, Environment, HostPattern, InstallId,
    Provider, ReasonCode,
};
use countersign_vault::{
    Backend, Place, Purpose, Secret, Vault, VaultError, VaultOptions, harden_process,
};
use desktop::{Inside, Session, in_session};
use std::future::Future;
use std::time::{Duration, Instant};

fn open(install: u8) -> Result<Vault, VaultError> {
    Vault::open(
        Backend::Keyring,
        InstallId::from_random([install; 16]),
        VaultOptions::default(),
    )
}
/// As the authority does: the vault is opened first, the runtime comes later.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}
fn id(name: &str) -> CredentialId {
    name.parse().unwrap()
}
fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}
fn bearer(name: &str) -> Account {
    Account {
        id: name.parse().unwrap(),
        provider: Provider(Provider::PLAIN.into()),
        hosts: vec![HostPattern::new("forum.corp.example").unwrap()],
        port: 443,
        environment: Environment::default(),
        tags: vec![],
        credential: CredentialKind::Bearer,
        connect_to: None,
        ca_pem: None,
        plaintext: false,
        effects: vec![],
        forward_headers: vec![],
        token_url: None,
    }
}
async fn shown(vault: &Vault, of: &CredentialVersion) -> Result<String, VaultError> {
    match vault.present(&bearer(of.id.as_str()), of).await?.place {
        Place::Header { value, .. } => Ok(String::from_utf8(value.expose().to_vec()).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_credential_is_set_listed_shown_and_removed_and_its_version_goes_on() {
    in_session(
        Session::Bus,
        "a_credential_is_set_listed_shown_and_removed_and_its_version_goes_on",
        |inside| {
            inside.start_keyring();
            let vault = open(1).unwrap();
            run(async {
                assert_eq!(vault.list().await.unwrap(), vec![]);
                let first = vault
                    .set(&id("forum"), secret("canary-forum-1"))
                    .await
                    .unwrap();
                let mail = vault
                    .set(&id("mail"), secret("canary-mail-1"))
                    .await
                    .unwrap();
                assert_eq!((first.version, mail.version), (1, 1));
                assert_eq!(
                    shown(&vault, &first).await.unwrap(),
                    "Bearer canary-forum-1"
                );
                let second = vault
                    .set(&id("forum"), secret("canary-forum-2"))
                    .await
                    .unwrap();
                assert_eq!(second.version, 2);
                assert_eq!(shown(&vault, &first).await, Err(VaultError::Changed));
                assert_eq!(
                    vault.list().await.unwrap(),
                    vec![second.clone(), mail.clone()]
                );
                assert_eq!(
                    vault.version(&id("forum")).await.unwrap(),
                    Some(second.clone())
                );
                assert!(vault.remove(&id("forum")).await.unwrap());
                assert_eq!(vault.list().await.unwrap(), vec![mail.clone()]);
                assert_eq!(shown(&vault, &second).await, Err(VaultError::NoCredential));
            });
            drop(vault);
            // Another process, as it were.
            let vault = open(1).unwrap();
            run(async {
                let third = vault
                    .set(&id("forum"), secret("canary-forum-3"))
                    .await
                    .unwrap();
                assert_eq!(third.version, 3);
                assert_eq!(
                    shown(&vault, &third).await.unwrap(),
                    "Bearer canary-forum-3"
                );
                let longest = "x".repeat(64 * 1024);
                let fourth = vault.set(&id("forum"), secret(&longest)).await.unwrap();
                assert_eq!(
                    shown(&vault, &fourth).await.unwrap().len(),
                    longest.len() + 7
                );
            });
            let written = inside.everything_written();
            assert!(!written.is_empty() && !written.windows(7).any(|w| w == b"canary-"));
        },
    );
}

#[test]
fn two_installs_do_not_see_each_other_and_keys_stay_the_same() {
    in_session(
        Session::Bus,
        "two_installs_do_not_see_each_other_and_keys_stay_the_same",
        |inside| {
            inside.start_keyring();
            let (one, two) = (open(1).unwrap(), open(2).unwrap());
            let key = one.key_blocking(Purpose::Ledger).unwrap();
            assert_ne!(
                key.expose(),
                two.key_blocking(Purpose::Ledger).unwrap().expose()
            );
            assert_ne!(
                key.expose(),
                one.key_blocking(Purpose::Grants).unwrap().expose()
            );
            run(async {
                let version = one.set(&id("forum"), secret("canary-one")).await.unwrap();
                assert_eq!(two.list().await.unwrap(), vec![]);
                assert_eq!(shown(&two, &version).await, Err(VaultError::NoCredential));
                two.set(&id("forum"), secret("canary-two")).await.unwrap();
                assert!(two.remove(&id("forum")).await.unwrap());
                assert_eq!(shown(&one, &version).await.unwrap(), "Bearer canary-one");
            });
            drop(one);
            assert_eq!(
                open(1)
                    .unwrap()
                    .key_blocking(Purpose::Ledger)
                    .unwrap()
                    .expose(),
                key.expose()
            );
        },
    );
}

#[test]
fn a_locked_keyring_is_said_to_be_locked_at_once_and_keys_are_not_made_anew() {
    in_session(
        Session::Bus,
        "a_locked_keyring_is_said_to_be_locked_at_once_and_keys_are_not_made_anew",
        |inside| {
            inside.start_keyring();
            let vault = open(1).unwrap();
            let key = vault.key_blocking(Purpose::Ledger).unwrap();
            run(async {
                let version = vault
                    .set(&id("forum"), secret("canary-first"))
                    .await
                    .unwrap();
                shown(&vault, &version).await.unwrap();
                inside.lock_keyring();
                let locked = Instant::now();
                // What was read a moment ago lives on for 5 s at most.
                while shown(&vault, &version).await.is_ok() {
                    assert!(locked.elapsed() < Duration::from_millis(5500));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                let begun = Instant::now();
                assert_eq!(shown(&vault, &version).await, Err(VaultError::Locked));
                assert_eq!(vault.list().await, Err(VaultError::Locked));
                assert_eq!(
                    vault.set(&id("new"), secret("canary-new")).await,
                    Err(VaultError::Locked)
                );
                assert_eq!(vault.remove(&id("forum")).await, Err(VaultError::Locked));
                assert_eq!(
                    vault.key(Purpose::Ca).await.unwrap_err(),
                    VaultError::Locked
                );
                assert!(
                    begun.elapsed() < Duration::from_millis(500),
                    "{:?}",
                    begun.elapsed()
                );
                assert_eq!(VaultError::Locked.reason(), ReasonCode::Locked);
            });
            // It opens locked; started anew and unlocked, the keyring still has all.
            let opened = open(1).unwrap();
            assert_eq!(
                opened.key_blocking(Purpose::Ledger).unwrap_err(),
                VaultError::Locked
            );
            inside.kill_keyring();
            inside.start_keyring();
            assert_eq!(
                opened.key_blocking(Purpose::Ledger).unwrap().expose(),
                key.expose()
            );
            assert_eq!(
                vault.key_blocking(Purpose::Ledger).unwrap().expose(),
                key.expose()
            );
        },
    );
}

#[test]
fn a_keyring_that_ends_is_said_to_be_gone_and_found_again_when_it_is_back() {
    in_session(
        Session::Bus,
        "a_keyring_that_ends_is_said_to_be_gone_and_found_again_when_it_is_back",
        |inside| {
            inside.start_keyring();
            let vault = open(1).unwrap();
            run(async {
                let version = vault
                    .set(&id("forum"), secret("canary-first"))
                    .await
                    .unwrap();
                inside.kill_keyring();
                let begun = Instant::now();
                for _ in 0..3 {
                    let gone = shown(&vault, &version).await.unwrap_err();
                    assert!(matches!(gone, VaultError::NoKeyring { .. }), "{gone:?}");
                    assert_eq!(gone.reason(), ReasonCode::NoKeyring);
                }
                assert!(matches!(
                    vault.list().await,
                    Err(VaultError::NoKeyring { .. })
                ));
                assert!(
                    begun.elapsed() < Duration::from_secs(1),
                    "{:?}",
                    begun.elapsed()
                );
                inside.start_keyring();
                tokio::time::sleep(Duration::from_millis(300)).await;
                assert_eq!(
                    shown(&vault, &version).await.unwrap(),
                    "Bearer canary-first"
                );
            });
        },
    );
}

#[test]
fn a_keyring_that_hangs_is_given_up_in_time_and_then_refused_at_once_until_it_is_back() {
    let name = "a_keyring_that_hangs_is_given_up_in_time_and_then_refused_at_once_until_it_is_back";
    in_session(Session::Bus, name, |inside| {
        inside.start_keyring();
        let options = VaultOptions {
            timeout: Duration::from_secs(1),
            cache: Duration::ZERO,
        };
        let install = InstallId::from_random([1; 16]);
        let vault = Vault::open(Backend::Keyring, install, options).unwrap();
        run(async {
            let version = vault
                .set(&id("forum"), secret("canary-first"))
                .await
                .unwrap();
            inside.freeze_keyring(true);
            let begun = Instant::now();
            assert_eq!(shown(&vault, &version).await, Err(VaultError::TimedOut));
            assert!(
                begun.elapsed() < Duration::from_millis(1500),
                "{:?}",
                begun.elapsed()
            );
            let begun = Instant::now();
            for _ in 0..100 {
                assert_eq!(vault.list().await, Err(VaultError::TimedOut));
            }
            assert!(
                begun.elapsed() < Duration::from_millis(500),
                "{:?}",
                begun.elapsed()
            );
            inside.freeze_keyring(false);
            tokio::time::sleep(Duration::from_millis(2500)).await;
            assert_eq!(
                shown(&vault, &version).await.unwrap(),
                "Bearer canary-first"
            );
        });
    });
}

fn nothing_answers(_: &Inside) {
    let begun = Instant::now();
    let error = open(1).unwrap_err();
    assert!(matches!(error, VaultError::NoKeyring { .. }), "{error:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert!(error.to_string().contains("session bus"), "{error}");
    assert!(error.fix().contains("vault = \"file\""));
}

#[test]
fn without_a_keyring_on_the_bus_opening_says_so_within_a_second() {
    let name = "without_a_keyring_on_the_bus_opening_says_so_within_a_second";
    in_session(Session::Bus, name, nothing_answers);
}

#[test]
fn without_a_bus_opening_says_so_within_a_second() {
    in_session(
        Session::NoBus,
        "without_a_bus_opening_says_so_within_a_second",
        nothing_answers,
    );
}

#[test]
fn a_hardened_process_leaves_no_core_and_cannot_be_read_by_its_user() {
    let name = "a_hardened_process_leaves_no_core_and_cannot_be_read_by_its_user";
    in_session(Session::NoBus, name, |_| {
        harden_process().unwrap();
        assert!(!nix::sys::prctl::get_dumpable().unwrap());
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits
            .lines()
            .find(|l| l.starts_with("Max core file size"))
            .unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"));
    });
}
