//! One file, encrypted under a passphrase: for machines without a keyring, and
//! only where the user chose it (`vault = "file"`).
//!
//! Layout, all of it authenticated, numbers little-endian:
//!
//! ```text
//! magic     18  "countersign vault\x01"
//! install   19  the install that it belongs to
//! kdf       12  Argon2id: memory in KiB, passes, lanes
//! salt      16
//! check     24 + 16  nonce and tag over nothing: is the passphrase right?
//! body      24 + …   nonce and the items, sealed
//! ```
//!
//! Both seals are XChaCha20-Poly1305 under the key that Argon2id (RFC 9106)
//! makes of the passphrase, and both cover everything before them. The nonces
//! are random at every write; with 192 bits they do not repeat.
//!
//! What it cannot see: that an older copy of the whole file was put back.

use super::ItemStore;
use crate::{Secret, VaultError};
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use countersign_model::InstallId;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const MAGIC: &[u8; 18] = b"countersign vault\x01";
const INSTALL: usize = 19;
const SALT: usize = 16;
const NONCE: usize = 24;
const TAG: usize = 16;
/// Where the passphrase's check begins: all before it is the head.
const HEAD: usize = MAGIC.len() + INSTALL + 12 + SALT;
const BODY: usize = HEAD + NONCE + TAG;
/// A file that is longer was not written by us.
const LONGEST: u64 = 64 * 1024 * 1024;
const SHORTEST_PASSPHRASE: usize = 8;

/// Argon2id, the second choice of RFC 9106 section 4 with one lane: 64 MiB,
/// three passes.
const KDF: Kdf = Kdf {
    memory: 64 * 1024,
    passes: 3,
    lanes: 1,
};

#[derive(Clone, Copy)]
struct Kdf {
    memory: u32,
    passes: u32,
    lanes: u32,
}

type Items = BTreeMap<String, Secret>;

/// The file and its key. Items are read from the disk each time, so that none
/// lies decrypted in memory between two calls.
pub(crate) struct EncryptedFile {
    path: PathBuf,
    /// Magic, install, parameters, salt.
    head: [u8; HEAD],
    cipher: XChaCha20Poly1305,
}

impl EncryptedFile {
    /// Opens the file, or makes it when there is none.
    pub(crate) fn open(
        path: PathBuf,
        passphrase: &Secret,
        install: &InstallId,
    ) -> Result<Self, VaultError> {
        match read_file(&path)? {
            Some(bytes) => {
                let head = checked_head(&bytes, install)?;
                let kdf = stored_kdf(&head)?;
                let file = Self {
                    path,
                    head,
                    cipher: derive(passphrase, &head, kdf)?,
                };
                file.check_passphrase(&bytes)?;
                file.unseal(&bytes)?;
                Ok(file)
            }
            None => {
                if passphrase.expose().len() < SHORTEST_PASSPHRASE {
                    return Err(VaultError::Refused(format!(
                        "the passphrase is shorter than {SHORTEST_PASSPHRASE} bytes"
                    )));
                }
                let head = new_head(install)?;
                let file = Self {
                    path,
                    head,
                    cipher: derive(passphrase, &head, KDF)?,
                };
                file.write(&Items::new())?;
                Ok(file)
            }
        }
    }

    fn check_passphrase(&self, bytes: &[u8]) -> Result<(), VaultError> {
        let check = slice(bytes, HEAD, BODY)?;
        let (nonce, tag) = check.split_at(NONCE);
        self.decrypt(nonce, tag, &self.head)
            .map(|_| ())
            .ok_or(VaultError::WrongPassphrase)
    }

    fn read(&self) -> Result<Items, VaultError> {
        let bytes = read_file(&self.path)?.ok_or_else(|| damaged("the file is gone"))?;
        if bytes.get(..HEAD) != Some(&self.head[..]) {
            return Err(damaged("the file was replaced while it was open"));
        }
        self.unseal(&bytes)
    }

    fn unseal(&self, bytes: &[u8]) -> Result<Items, VaultError> {
        let before = slice(bytes, 0, BODY)?;
        let nonce = slice(bytes, BODY, BODY + NONCE)?;
        let sealed = slice(bytes, BODY + NONCE, bytes.len())?;
        let plain = self
            .decrypt(nonce, sealed, before)
            .ok_or_else(|| damaged("the file was changed by something else"))?;
        unpack(&plain).ok_or_else(|| damaged("the file's items cannot be read"))
    }

    /// Writes a new file beside the old one, makes it durable, and puts it in
    /// its place: a crash leaves the one or the other, whole.
    fn write(&self, items: &Items) -> Result<(), VaultError> {
        let mut bytes = self.head.to_vec();
        let nonce = random::<NONCE>()?;
        let check = self.encrypt(&nonce, b"", &self.head)?;
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&check);
        let nonce = random::<NONCE>()?;
        let body = self.encrypt(&nonce, &pack(items)?, &bytes)?;
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&body);
        replace_file(&self.path, &bytes).map_err(|e| io_failed(&e))
    }

    fn encrypt(&self, nonce: &[u8; NONCE], msg: &[u8], aad: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.cipher
            .encrypt(&XNonce::from(*nonce), Payload { msg, aad })
            .map_err(|_| VaultError::Internal("the items could not be sealed".into()))
    }

    fn decrypt(&self, nonce: &[u8], msg: &[u8], aad: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let nonce: [u8; NONCE] = nonce.try_into().ok()?;
        self.cipher
            .decrypt(&XNonce::from(nonce), Payload { msg, aad })
            .ok()
            .map(Zeroizing::new)
    }
}

impl ItemStore for EncryptedFile {
    fn get(&mut self, name: &str) -> Result<Option<Secret>, VaultError> {
        Ok(self.read()?.remove(name))
    }
    fn put(&mut self, name: &str, value: &Secret) -> Result<(), VaultError> {
        let mut items = self.read()?;
        items.insert(name.to_owned(), value.clone());
        self.write(&items)
    }
    fn delete(&mut self, name: &str) -> Result<(), VaultError> {
        let mut items = self.read()?;
        match items.remove(name) {
            Some(_) => self.write(&items),
            None => Ok(()),
        }
    }
}

/// The head of a file that belongs to this install.
fn checked_head(bytes: &[u8], install: &InstallId) -> Result<[u8; HEAD], VaultError> {
    let head: [u8; HEAD] = slice(bytes, 0, HEAD)?
        .try_into()
        .map_err(|_| damaged("it is too short"))?;
    let (magic, rest) = head.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(damaged("the file is no vault of this version"));
    }
    if !rest.starts_with(install.as_str().as_bytes()) {
        return Err(damaged("the file belongs to another install"));
    }
    Ok(head)
}

fn new_head(install: &InstallId) -> Result<[u8; HEAD], VaultError> {
    let mut head = Vec::with_capacity(HEAD);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(install.as_str().as_bytes());
    for number in [KDF.memory, KDF.passes, KDF.lanes] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    head.extend_from_slice(&random::<SALT>()?);
    head.try_into()
        .map_err(|_| VaultError::Internal("an install id has not its length".into()))
}

/// The parameters in a head. Bounded, so that a changed file cannot make us
/// take all memory before it is found out.
fn stored_kdf(head: &[u8; HEAD]) -> Result<Kdf, VaultError> {
    let start = MAGIC.len() + INSTALL;
    let number = |i: usize| -> Result<u32, VaultError> {
        let bytes = slice(head, start + 4 * i, start + 4 * i + 4)?;
        bytes
            .try_into()
            .map(u32::from_le_bytes)
            .map_err(|_| damaged("it is too short"))
    };
    let kdf = Kdf {
        memory: number(0)?,
        passes: number(1)?,
        lanes: number(2)?,
    };
    let bounded = kdf.memory >= 19 * 1024
        && kdf.memory <= 1024 * 1024
        && (1..=16).contains(&kdf.passes)
        && (1..=4).contains(&kdf.lanes);
    if bounded {
        Ok(kdf)
    } else {
        Err(damaged("its parameters are out of bounds"))
    }
}

fn derive(
    passphrase: &Secret,
    head: &[u8; HEAD],
    kdf: Kdf,
) -> Result<XChaCha20Poly1305, VaultError> {
    let failed = |_| VaultError::Internal("the passphrase could not be made a key".into());
    let params = Params::new(kdf.memory, kdf.passes, kdf.lanes, Some(32)).map_err(failed)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(
            passphrase.expose(),
            &head[HEAD - SALT..],
            key.as_mut_slice(),
        )
        .map_err(failed)?;
    Ok(XChaCha20Poly1305::new((&*key).into()))
}

/// Each item: length of its name (u16) and the name, length of its value (u32)
/// and the value.
fn pack(items: &Items) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let size = items
        .iter()
        .map(|(name, value)| 6 + name.len() + value.expose().len())
        .sum();
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    for (name, value) in items {
        let value = value.expose();
        let name_len = u16::try_from(name.len()).map_err(|_| VaultError::TooLong)?;
        let value_len = u32::try_from(value.len()).map_err(|_| VaultError::TooLong)?;
        out.extend_from_slice(&name_len.to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&value_len.to_le_bytes());
        out.extend_from_slice(value);
    }
    Ok(out)
}

fn unpack(mut bytes: &[u8]) -> Option<Items> {
    let mut items = Items::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk::<2>()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) =
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        items.insert(
            std::str::from_utf8(name).ok()?.to_owned(),
            Secret::new(value.to_vec()),
        );
        bytes = rest;
    }
    Some(items)
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, VaultError> {
    match fs::metadata(path) {
        Ok(found) if found.len() > LONGEST || !found.is_file() => {
            Err(damaged("the file is no vault"))
        }
        Ok(_) => fs::read(path).map(Some).map_err(|e| io_failed(&e)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_failed(&e)),
    }
}

fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // Mode 0600 on Unix from the start.
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(bytes)?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    // The rename itself is durable only once its folder is.
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|_| VaultError::Internal("the system gives no randomness".into()))?;
    Ok(bytes)
}

fn slice(bytes: &[u8], from: usize, to: usize) -> Result<&[u8], VaultError> {
    bytes
        .get(from..to)
        .ok_or_else(|| damaged("the file is too short"))
}

fn damaged(what: &str) -> VaultError {
    VaultError::Damaged(what.to_owned())
}

fn io_failed(error: &io::Error) -> VaultError {
    VaultError::Internal(format!("the vault file: {}", error.kind()))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
