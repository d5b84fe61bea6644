use super::*;
use crate::store::memory::Memory;

fn id() -> CredentialId {
    "forum".parse().unwrap()
}
fn at(version: u64) -> CredentialVersion {
    CredentialVersion { id: id(), version }
}
/// Random, and of a length that gives each kind of base64 padding in turn.
fn random_secret(len: usize) -> Secret {
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes).unwrap();
    Secret::new(bytes)
}

#[test]
fn versions_count_up_from_one_and_never_go_down_also_over_a_removal() {
    let mut items = Memory::default().items();
    assert_eq!(items.version(&id()).unwrap(), None);
    for round in 0..3 {
        assert_eq!(
            items.set(&id(), &random_secret(8 + round)).unwrap(),
            at(2 * round as u64 + 1)
        );
        let secret = random_secret(20 + round);
        assert_eq!(items.set(&id(), &secret).unwrap(), at(2 * round as u64 + 2));
        assert_eq!(
            items.read(&at(2 * round as u64 + 2)).unwrap().expose(),
            secret.expose()
        );
        assert_eq!(items.list().unwrap(), vec![at(2 * round as u64 + 2)]);
        assert!(items.remove(&id()).unwrap());
        assert!(!items.remove(&id()).unwrap());
        assert_eq!(items.list().unwrap(), vec![]);
        assert_eq!(items.read(&at(2)).unwrap_err(), VaultError::NoCredential);
    }
}

#[test]
fn another_version_than_the_one_asked_for_is_never_read() {
    let mut items = Memory::default().items();
    items.set(&id(), &random_secret(16)).unwrap();
    items.set(&id(), &random_secret(16)).unwrap();
    for version in [0, 1, 3] {
        assert_eq!(items.read(&at(version)).unwrap_err(), VaultError::Changed);
    }
}

#[test]
fn wherever_a_crash_comes_a_version_never_names_two_secrets_and_the_next_set_works() {
    for crash_after in 0..3 {
        let memory = Memory::default();
        let mut items = memory.items();
        let first = random_secret(16);
        items.set(&id(), &first).unwrap();
        memory.with(|s| s.puts_left = Some(crash_after));
        let second = random_secret(16);
        items.set(&id(), &second).unwrap_err();
        memory.with(|s| s.puts_left = None);
        // Whatever is called live can be read, if need be at the second try.
        let live = items.version(&id()).unwrap().unwrap();
        let (live, read) = match items.read(&live) {
            Ok(read) => (live, read),
            Err(error) => {
                assert_eq!(error, VaultError::Changed);
                let live = items.version(&id()).unwrap().unwrap();
                (live.clone(), items.read(&live).unwrap())
            }
        };
        let expected = if live.version == 1 { &first } else { &second };
        assert_eq!(
            read.expose(),
            expected.expose(),
            "crash after {crash_after}"
        );
        let next = items.set(&id(), &random_secret(16)).unwrap();
        assert!(next.version > live.version && next.version >= 2);
        items.read(&next).unwrap();
    }
}

#[test]
fn a_lost_index_does_not_bring_a_used_version_back() {
    let memory = Memory::default();
    let mut items = memory.items();
    for _ in 0..4 {
        items.set(&id(), &random_secret(16)).unwrap();
    }
    memory.with(|s| s.items.remove("index"));
    assert_eq!(items.set(&id(), &random_secret(16)).unwrap(), at(5));
}

#[test]
fn an_item_that_something_else_removed_is_missing_and_leaves_the_list() {
    let memory = Memory::default();
    let mut items = memory.items();
    items.set(&id(), &random_secret(16)).unwrap();
    memory.with(|s| s.items.remove("credential/forum"));
    assert_eq!(items.read(&at(1)).unwrap_err(), VaultError::NoCredential);
    assert_eq!(items.list().unwrap(), vec![]);
    assert_eq!(items.set(&id(), &random_secret(16)).unwrap(), at(2));
}

#[test]
fn a_credential_that_is_too_short_or_too_long_is_refused_and_nothing_is_written() {
    let memory = Memory::default();
    let mut items = memory.items();
    for len in [0, 7] {
        assert!(matches!(
            items.set(&id(), &random_secret(len)),
            Err(VaultError::Refused(_))
        ));
    }
    assert_eq!(
        items
            .set(&id(), &random_secret(LONGEST_CREDENTIAL + 1))
            .unwrap_err(),
        VaultError::TooLong
    );
    assert!(memory.with(|s| s.items.is_empty()));
    items
        .set(&id(), &random_secret(LONGEST_CREDENTIAL))
        .unwrap();
}

#[test]
fn each_purpose_has_a_key_of_its_own_that_stays_the_same() {
    let mut items = Memory::default().items();
    let purposes = [
        Purpose::Ledger,
        Purpose::Grants,
        Purpose::ConfigSeal,
        Purpose::Ca,
        Purpose::Documents,
    ];
    let keys: Vec<Secret> = purposes.iter().map(|p| items.key(*p).unwrap()).collect();
    let different: BTreeSet<&[u8]> = keys.iter().map(Secret::expose).collect();
    assert_eq!(different.len(), purposes.len());
    for (purpose, key) in purposes.iter().zip(&keys) {
        assert_eq!(key.expose().len(), 32);
        assert_eq!(items.key(*purpose).unwrap().expose(), key.expose());
    }
}

#[test]
fn a_key_that_is_gone_is_a_damage_and_not_a_first_use() {
    let memory = Memory::default();
    let mut items = memory.items();
    items.key(Purpose::Ledger).unwrap();
    memory.with(|s| s.items.remove("key/ledger"));
    assert!(matches!(
        items.key(Purpose::Ledger),
        Err(VaultError::Damaged(_))
    ));
    items.key(Purpose::Grants).unwrap();
}

#[test]
fn a_key_is_not_made_anew_while_the_store_cannot_be_read() {
    let memory = Memory::default();
    let mut items = memory.items();
    let key = items.key(Purpose::Ledger).unwrap();
    memory.with(|s| s.fail = Some(VaultError::Locked));
    assert_eq!(items.key(Purpose::Ledger).unwrap_err(), VaultError::Locked);
    memory.with(|s| s.fail = None);
    assert_eq!(items.key(Purpose::Ledger).unwrap().expose(), key.expose());
}

#[test]
fn a_store_that_forgets_is_found_when_setting() {
    let memory = Memory::default();
    memory.with(|s| s.forgets = true);
    let mut items = memory.items();
    assert!(matches!(
        items.set(&id(), &random_secret(16)),
        Err(VaultError::Internal(_))
    ));
    assert!(matches!(
        items.key(Purpose::Ledger),
        Err(VaultError::Internal(_))
    ));
}

#[test]
fn what_cannot_be_read_is_a_damage_and_its_text_is_not_quoted() {
    let memory = Memory::default();
    let mut items = memory.items();
    items.set(&id(), &random_secret(16)).unwrap();
    for broken in [
        "canary-4711",
        "{\"version\":1,\"secret\":\"canary-4711!\"}",
        "{}",
    ] {
        memory.with(|s| {
            s.items
                .insert("credential/forum".into(), Secret::new(broken.into()))
        });
        let error = items.read(&at(1)).unwrap_err();
        assert!(matches!(error, VaultError::Damaged(_)));
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    memory.with(|s| {
        s.items
            .insert("index".into(), Secret::new(b"{\"format\":9}".to_vec()))
    });
    assert!(matches!(items.list(), Err(VaultError::Damaged(_))));
}

#[test]
fn the_index_holds_no_secret() {
    let memory = Memory::default();
    let mut items = memory.items();
    items
        .set(&id(), &Secret::new(b"canary-4711".to_vec()))
        .unwrap();
    items.key(Purpose::Ledger).unwrap();
    let index = memory.with(|s| s.items["index"].clone());
    let text = String::from_utf8(index.expose().to_vec()).unwrap();
    assert_eq!(
        text,
        r#"{"format":1,"credentials":{"forum":{"last":1,"live":1}},"keys":["ledger"]}"#
    );
}

#[test]
fn a_rotated_secret_keeps_its_version_and_replaces_no_other() {
    let mut items = Memory::default().items();
    items.set(&id(), &random_secret(16)).unwrap();
    let new = random_secret(24);
    items.rotate(&at(1), &new).unwrap();
    assert_eq!(items.read(&at(1)).unwrap().expose(), new.expose());
    assert_eq!(items.rotate(&at(2), &new).unwrap_err(), VaultError::Changed);
    items.remove(&id()).unwrap();
    assert_eq!(
        items.rotate(&at(1), &new).unwrap_err(),
        VaultError::NoCredential
    );
}
