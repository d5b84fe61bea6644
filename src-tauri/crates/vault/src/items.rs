//! What the vault keeps: credentials with their versions, keys, and an index.
//!
//! Each is an item of the store: `credential/<name>`, `key/<purpose>`, and
//! `index`, which knows the versions and holds no secret. Items are JSON text,
//! since `KWallet` keeps nothing but UTF-8.
//!
//! A version names one secret for ever. So setting writes three times: the
//! index gives the number away, then the credential is written, then the index
//! calls it live. Whatever crash comes between, a number is never used twice.

use crate::encoding::{encoded_len, from_base64, push_base64};
use crate::store::ItemStore;
use crate::{Secret, VaultError};
use countersign_model::{CredentialId, CredentialVersion};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use zeroize::Zeroizing;

/// A credential needs so many bytes: shorter ones are guessed, and would be
/// found by accident in every other reply.
pub(crate) const SHORTEST_CREDENTIAL: usize = 8;
/// And may have so many.
pub(crate) const LONGEST_CREDENTIAL: usize = 64 * 1024;
/// Keys are 256 bits.
const KEY_LENGTH: usize = 32;
const INDEX: &str = "index";
const FORMAT: u32 = 1;

/// What a key is for. Each purpose has a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Signs checkpoints of the ledger.
    Ledger,
    /// Signs grants.
    Grants,
    /// Seals the accepted configuration.
    ConfigSeal,
    /// Makes the certificate authorities of runs.
    Ca,
    /// Seals what the ledger keeps beside its records.
    Documents,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Grants => "grants",
            Self::ConfigSeal => "config-seal",
            Self::Ca => "ca",
            Self::Documents => "documents",
        }
    }
}

/// The item `index`: names and numbers, no secret.
#[derive(Serialize, Deserialize)]
struct Index {
    format: u32,
    credentials: BTreeMap<CredentialId, Versions>,
    /// Keys that were made: one that is gone is a damage, not a first use.
    keys: BTreeSet<String>,
}

/// What the index knows of one credential.
#[derive(Serialize, Deserialize, Default, Clone, Copy, PartialEq, Eq)]
struct Versions {
    /// The highest number ever given away. Never goes down.
    last: u64,
    /// The number in use; none after a removal.
    live: Option<u64>,
}

/// A credential's item, borrowed from its JSON text.
#[derive(Deserialize)]
struct StoredCredential<'a> {
    version: u64,
    /// Base64: never an escape in it, so it can always be borrowed.
    secret: &'a str,
}

/// The items of one install, in a store. Lives on the vault's thread.
pub(crate) struct Items {
    store: Box<dyn ItemStore>,
}

impl Items {
    pub(crate) fn new(store: Box<dyn ItemStore>) -> Self {
        Self { store }
    }

    /// After a panic in the store: begin with a new connection.
    pub(crate) fn reset(&mut self) {
        self.store.reset();
    }

    /// Sets a credential; the number it got.
    pub(crate) fn set(
        &mut self,
        id: &CredentialId,
        secret: &Secret,
    ) -> Result<CredentialVersion, VaultError> {
        check_length(secret)?;
        let mut index = self.index()?;
        // An index that was lost begins no lower than the item it forgot.
        let stored = self.stored_version(id)?.unwrap_or(0);
        let versions = index.credentials.entry(id.clone()).or_default();
        let version = versions.last.max(stored) + 1;
        versions.last = version;
        self.put_index(&index)?;
        self.put_checked(&credential_name(id), &credential_item(version, secret)?)?;
        index.credentials.insert(
            id.clone(),
            Versions {
                last: version,
                live: Some(version),
            },
        );
        self.put_index(&index)?;
        Ok(CredentialVersion {
            id: id.clone(),
            version,
        })
    }

    /// Replaces the secret of a version by what its provider put in its place
    /// (a rotated refresh token). It stays the same credential to people, and
    /// so keeps its number. `Changed` if that is not the number stored.
    pub(crate) fn rotate(
        &mut self,
        at: &CredentialVersion,
        secret: &Secret,
    ) -> Result<(), VaultError> {
        check_length(secret)?;
        match self.stored_version(&at.id)? {
            Some(version) if version == at.version => {
                self.put_checked(&credential_name(&at.id), &credential_item(version, secret)?)
            }
            Some(_) => Err(VaultError::Changed),
            None => Err(VaultError::NoCredential),
        }
    }

    /// Removes a credential; whether there was one. Its number stays used.
    pub(crate) fn remove(&mut self, id: &CredentialId) -> Result<bool, VaultError> {
        let mut index = self.index()?;
        let stored = self.stored_version(id)?;
        self.store.delete(&credential_name(id))?;
        let versions = index.credentials.entry(id.clone()).or_default();
        let was_live = versions.live.take().is_some() || stored.is_some();
        versions.last = versions.last.max(stored.unwrap_or(0));
        if was_live {
            self.put_index(&index)?;
        }
        Ok(was_live)
    }

    /// The credentials in use. Reads no secret.
    pub(crate) fn list(&mut self) -> Result<Vec<CredentialVersion>, VaultError> {
        let index = self.index()?;
        Ok(index
            .credentials
            .into_iter()
            .filter_map(|(id, v)| v.live.map(|version| CredentialVersion { id, version }))
            .collect())
    }

    /// The version in use. Reads no secret.
    pub(crate) fn version(
        &mut self,
        id: &CredentialId,
    ) -> Result<Option<CredentialVersion>, VaultError> {
        let live = self.index()?.credentials.get(id).and_then(|v| v.live);
        Ok(live.map(|version| CredentialVersion {
            id: id.clone(),
            version,
        }))
    }

    /// The secret of exactly this version.
    pub(crate) fn read(&mut self, wanted: &CredentialVersion) -> Result<Secret, VaultError> {
        let Some(text) = self.store.get(&credential_name(&wanted.id))? else {
            self.reconcile(&wanted.id, None)?;
            return Err(VaultError::NoCredential);
        };
        let (version, secret) = parse_credential(&text)?;
        if version != wanted.version {
            self.reconcile(&wanted.id, Some(version))?;
            return Err(VaultError::Changed);
        }
        Ok(secret)
    }

    /// The key of a purpose, made from the system's randomness on first use.
    pub(crate) fn key(&mut self, purpose: Purpose) -> Result<Secret, VaultError> {
        let name = format!("key/{}", purpose.name());
        let mut index = self.index()?;
        if let Some(text) = self.store.get(&name)? {
            let text = std::str::from_utf8(text.expose())
                .map_err(|_| VaultError::Damaged(format!("item {name} is not text")))?;
            let key = from_base64(text)?;
            if key.expose().len() != KEY_LENGTH {
                return Err(VaultError::Damaged(format!(
                    "item {name} has not the length of a key"
                )));
            }
            return Ok(key);
        }
        if index.keys.contains(purpose.name()) {
            return Err(VaultError::Damaged(format!("item {name} is gone")));
        }
        let mut bytes = Zeroizing::new(vec![0; KEY_LENGTH]);
        getrandom::fill(&mut bytes)
            .map_err(|_| VaultError::Internal("the system gives no randomness".into()))?;
        let mut text = Zeroizing::new(Vec::with_capacity(encoded_len(KEY_LENGTH)));
        push_base64(&bytes, &mut text)?;
        self.put_checked(&name, &Secret::from_zeroizing(text))?;
        index.keys.insert(purpose.name().to_owned());
        self.put_index(&index)?;
        Ok(Secret::from_zeroizing(bytes))
    }

    /// Makes the index say what the item says, after a crash between the two.
    fn reconcile(&mut self, id: &CredentialId, found: Option<u64>) -> Result<(), VaultError> {
        let mut index = self.index()?;
        let before = index.credentials.get(id).copied().unwrap_or_default();
        let after = Versions {
            last: before.last.max(found.unwrap_or(0)),
            live: found,
        };
        if before != after {
            index.credentials.insert(id.clone(), after);
            self.put_index(&index)?;
        }
        Ok(())
    }

    fn stored_version(&mut self, id: &CredentialId) -> Result<Option<u64>, VaultError> {
        let Some(text) = self.store.get(&credential_name(id))? else {
            return Ok(None);
        };
        Ok(Some(parse_credential(&text)?.0))
    }

    fn index(&mut self) -> Result<Index, VaultError> {
        let Some(text) = self.store.get(INDEX)? else {
            return Ok(Index {
                format: FORMAT,
                credentials: BTreeMap::new(),
                keys: BTreeSet::new(),
            });
        };
        let index: Index = serde_json::from_slice(text.expose())
            .map_err(|_| VaultError::Damaged("the index cannot be read".into()))?;
        if index.format != FORMAT {
            return Err(VaultError::Damaged(format!(
                "the index has format {}, not {FORMAT}",
                index.format
            )));
        }
        Ok(index)
    }

    fn put_index(&mut self, index: &Index) -> Result<(), VaultError> {
        let text = serde_json::to_vec(index)
            .map_err(|_| VaultError::Internal("the index cannot be written as JSON".into()))?;
        self.store.put(INDEX, &Secret::new(text))
    }

    /// Puts an item and reads it back: a keyring that forgets is found now,
    /// not when the item is needed.
    fn put_checked(&mut self, name: &str, value: &Secret) -> Result<(), VaultError> {
        self.store.put(name, value)?;
        match self.store.get(name)? {
            Some(back) if back.expose() == value.expose() => Ok(()),
            _ => Err(VaultError::Internal(
                "the keyring did not keep what it was given".into(),
            )),
        }
    }
}

fn credential_name(id: &CredentialId) -> String {
    format!("credential/{id}")
}

fn check_length(secret: &Secret) -> Result<(), VaultError> {
    match secret.expose().len() {
        0..SHORTEST_CREDENTIAL => Err(VaultError::Refused(format!(
            "it is shorter than {SHORTEST_CREDENTIAL} bytes"
        ))),
        SHORTEST_CREDENTIAL..=LONGEST_CREDENTIAL => Ok(()),
        _ => Err(VaultError::TooLong),
    }
}

/// `{"version":3,"secret":"…"}`, written by hand so that no buffer is left over.
fn credential_item(version: u64, secret: &Secret) -> Result<Secret, VaultError> {
    let mut text = Zeroizing::new(Vec::with_capacity(64 + encoded_len(secret.expose().len())));
    write!(*text, "{{\"version\":{version},\"secret\":\"")
        .map_err(|_| VaultError::Internal("an item cannot be written".into()))?;
    push_base64(secret.expose(), &mut text)?;
    text.extend_from_slice(b"\"}");
    Ok(Secret::from_zeroizing(text))
}

fn parse_credential(text: &Secret) -> Result<(u64, Secret), VaultError> {
    // The parser's own message could quote the item.
    let stored: StoredCredential<'_> = serde_json::from_slice(text.expose())
        .map_err(|_| VaultError::Damaged("a credential's item cannot be read".into()))?;
    Ok((stored.version, from_base64(stored.secret)?))
}

#[cfg(test)]
#[path = "items_tests.rs"]
mod tests;
