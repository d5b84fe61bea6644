use super::*;
use std::time::Instant;

fn install(n: u8) -> InstallId {
    InstallId::from_random([n; 16])
}
fn passphrase() -> Secret {
    Secret::new(b"correct horse battery".to_vec())
}
fn open(path: &Path) -> Result<EncryptedFile, VaultError> {
    EncryptedFile::open(path.to_path_buf(), &passphrase(), &install(1))
}
fn value(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

#[test]
fn items_survive_closing_and_opening_and_do_not_lie_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let mut file = open(&path).unwrap();
    assert!(file.get("a").unwrap().is_none());
    file.put("a", &value("canary-4711")).unwrap();
    file.put("empty", &value("")).unwrap();
    file.put("b", &value("first")).unwrap();
    file.put("b", &value("second")).unwrap();
    file.put("c", &value("gone")).unwrap();
    file.delete("c").unwrap();
    file.delete("never there").unwrap();
    drop(file);
    let mut file = open(&path).unwrap();
    assert_eq!(file.get("a").unwrap().unwrap().expose(), b"canary-4711");
    assert_eq!(file.get("empty").unwrap().unwrap().expose(), b"");
    assert_eq!(file.get("b").unwrap().unwrap().expose(), b"second");
    assert!(file.get("c").unwrap().is_none());
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(6).any(|w| w == b"canary"));
}

#[test]
fn a_wrong_passphrase_is_told_from_a_changed_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    open(&path)
        .unwrap()
        .put("a", &value("canary-4711"))
        .unwrap();
    let wrong = EncryptedFile::open(path.clone(), &value("another passphrase"), &install(1));
    assert_eq!(wrong.err(), Some(VaultError::WrongPassphrase));
    let other = EncryptedFile::open(path, &passphrase(), &install(2));
    assert!(matches!(other.err(), Some(VaultError::Damaged(_))));
}

#[test]
fn a_new_file_wants_a_passphrase_of_some_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let refused = EncryptedFile::open(path.clone(), &value("short"), &install(1));
    assert!(matches!(refused.err(), Some(VaultError::Refused(_))));
    assert!(!path.exists());
}

#[test]
fn whichever_byte_is_changed_the_file_gives_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let mut file = open(&path).unwrap();
    file.put("a", &value("canary-4711")).unwrap();
    let whole = fs::read(&path).unwrap();
    for i in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[i] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = file.get("a").map(|_| ()).unwrap_err();
        assert!(
            matches!(error, VaultError::Damaged(_)),
            "byte {i}: {error:?}"
        );
    }
    for cut in [0, 1, MAGIC.len(), HEAD, BODY, BODY + NONCE, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(
            matches!(file.get("a"), Err(VaultError::Damaged(_))),
            "cut at {cut}"
        );
        assert!(
            matches!(open(&path).err(), Some(VaultError::Damaged(_))),
            "cut at {cut}"
        );
    }
    let mut longer = whole.clone();
    longer.push(0);
    fs::write(&path, &longer).unwrap();
    assert!(matches!(file.get("a"), Err(VaultError::Damaged(_))));
    fs::write(&path, &whole).unwrap();
    assert_eq!(file.get("a").unwrap().unwrap().expose(), b"canary-4711");
}

#[test]
fn a_changed_head_or_check_is_found_when_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    drop(open(&path).unwrap());
    let whole = fs::read(&path).unwrap();
    let parameters = MAGIC.len() + INSTALL;
    for i in [
        0,
        MAGIC.len(),
        parameters,
        parameters + 3,
        parameters + 4,
        HEAD - 1,
        HEAD,
        BODY - 1,
        BODY,
    ] {
        let mut bytes = whole.clone();
        bytes[i] ^= 0x80;
        fs::write(&path, &bytes).unwrap();
        let begun = Instant::now();
        let error = open(&path).err();
        assert!(
            matches!(
                error,
                Some(VaultError::Damaged(_) | VaultError::WrongPassphrase)
            ),
            "byte {i}: {error:?}"
        );
        assert!(
            begun.elapsed().as_secs() < 30,
            "byte {i} costs {:?}",
            begun.elapsed()
        );
    }
}

#[test]
fn a_file_that_vanished_or_was_exchanged_is_a_damage_and_not_an_empty_vault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let mut file = open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(matches!(file.get("a"), Err(VaultError::Damaged(_))));
    assert!(matches!(
        file.put("a", &value("x")),
        Err(VaultError::Damaged(_))
    ));
    // The same passphrase and install, but another salt.
    drop(open(&path).unwrap());
    assert!(matches!(file.get("a"), Err(VaultError::Damaged(_))));
}

#[cfg(unix)]
#[test]
fn a_write_replaces_the_file_whole_and_only_its_owner_may_read_it() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let mut file = open(&path).unwrap();
    let before = fs::metadata(&path).unwrap();
    file.put("a", &value("canary-4711")).unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!(after.permissions().mode() & 0o777, 0o600);
    // Nothing is left beside it, also where the write cannot be finished.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(file.put("a", &value("x")).is_err());
    assert!(replace_file(&path, b"x").is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
