//! What the human accepted, and the proof that nobody else changed it since.

use countersign_model::{Digest, InstallId};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::collections::BTreeMap;

/// The content of every configuration file that the human accepted: the
/// configuration, rules, CAs, imported descriptions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// How many times something was accepted, this time included; the ledger
    /// records it, so that an older state is noticed.
    pub counter: u64,
    /// Content by name relative to the home folder.
    pub files: BTreeMap<String, String>,
}

impl Accepted {
    /// Digest over names and contents: what the human is shown and accepts. The
    /// counter is not in it, so the same files have the same digest again.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let parts: Vec<&[u8]> = self
            .files
            .iter()
            .flat_map(|(name, content)| [name.as_bytes(), content.as_bytes()])
            .collect();
        Digest::of_parts("countersign/accepted/1", &parts)
    }
}

/// The key that seals: 32 random bytes, kept in the keyring for this alone.
#[derive(Clone, Copy)]
pub struct SealKey<'k>(pub &'k [u8; 32]);

impl std::fmt::Debug for SealKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(…)")
    }
}

/// Why a stored state is not taken. Each denies everything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Nothing was accepted, or what was is gone.
    #[error("no accepted configuration is stored")]
    Missing,
    /// It is not what was sealed here: damaged, edited, or from elsewhere.
    #[error("the stored configuration is not the one that was accepted here")]
    Forged,
    /// It was sealed here, but something newer was accepted since.
    #[error(
        "the stored configuration is older than what was accepted last: {found} of at least {expected_at_least}"
    )]
    Older {
        /// Its counter.
        found: u64,
        /// The counter that the ledger knows.
        expected_at_least: u64,
    },
}

/// An accepted state and its seal: HMAC-SHA-256 over installation, counter and
/// digest of the files (RFC 2104, each part under its length).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    accepted: Accepted,
    seal: Digest,
}

impl Sealed {
    /// Seals what the human has just accepted.
    #[must_use]
    pub fn new(accepted: Accepted, install: &InstallId, key: SealKey<'_>) -> Self {
        let seal = mac(&accepted, install, key).finalize().into_bytes();
        Self {
            accepted,
            seal: Digest::from_bytes(seal.into()),
        }
    }

    /// The form in which it is stored: JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Maps with text keys, numbers and text: JSON can say them all.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Opens what is stored. `expected_at_least` is the counter that the ledger
    /// knows; 0 when it knows none.
    ///
    /// # Errors
    /// Says what is wrong with it; nothing of it may then be used. The seal is
    /// compared in constant time.
    pub fn open(
        stored: Option<&[u8]>,
        install: &InstallId,
        key: SealKey<'_>,
        expected_at_least: u64,
    ) -> Result<Accepted, SealError> {
        let bytes = stored.ok_or(SealError::Missing)?;
        let Self { accepted, seal } =
            serde_json::from_slice(bytes).map_err(|_| SealError::Forged)?;
        mac(&accepted, install, key)
            .verify_slice(seal.as_bytes())
            .map_err(|_| SealError::Forged)?;
        if accepted.counter < expected_at_least {
            return Err(SealError::Older {
                found: accepted.counter,
                expected_at_least,
            });
        }
        Ok(accepted)
    }
}

fn mac(accepted: &Accepted, install: &InstallId, SealKey(key): SealKey<'_>) -> Hmac<Sha256> {
    let message = Digest::of_parts(
        "countersign/seal/1",
        &[
            install.as_str().as_bytes(),
            &accepted.counter.to_be_bytes(),
            accepted.digest().as_bytes(),
        ],
    );
    // A key of exactly one block needs no other step, and makes this infallible.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(message.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn install(n: u8) -> InstallId {
        InstallId::from_random([n; 16])
    }
    fn accepted(counter: u64, content: &str) -> Accepted {
        let files = BTreeMap::from([("countersign.toml".to_owned(), content.to_owned())]);
        Accepted { counter, files }
    }
    fn stored() -> Vec<u8> {
        Sealed::new(accepted(3, "[agents.a]"), &install(1), SealKey(&KEY)).to_bytes()
    }
    fn open(bytes: &[u8], at_least: u64) -> Result<Accepted, SealError> {
        Sealed::open(Some(bytes), &install(1), SealKey(&KEY), at_least)
    }

    #[test]
    fn what_was_sealed_opens_again() {
        assert_eq!(open(&stored(), 0), Ok(accepted(3, "[agents.a]")));
        assert_eq!(open(&stored(), 3), Ok(accepted(3, "[agents.a]")));
    }

    #[test]
    fn a_missing_state_is_missing() {
        assert_eq!(
            Sealed::open(None, &install(1), SealKey(&KEY), 0),
            Err(SealError::Missing)
        );
    }

    #[test]
    fn an_older_state_is_older_though_its_seal_is_good() {
        assert_eq!(
            open(&stored(), 4),
            Err(SealError::Older {
                found: 3,
                expected_at_least: 4
            })
        );
    }

    #[test]
    fn any_change_is_forged() {
        let good = String::from_utf8(stored()).unwrap();
        let edits = [
            good.replace("[agents.a]", "[agents.b]"),
            good.replace("\"counter\":3", "\"counter\":4"),
            good.replace("countersign.toml", "countersign.tomk"),
            good.replace("\"files\"", "\"extra\":1,\"files\""),
            good[..good.len() - 1].to_owned(),
            String::new(),
            "null".to_owned(),
        ];
        for edit in edits {
            assert_ne!(edit, good);
            assert_eq!(open(edit.as_bytes(), 0), Err(SealError::Forged), "{edit}");
        }
        let mut bytes = stored();
        let seal_at = good.rfind("\"seal\"").unwrap() + 10;
        bytes[seal_at] = if bytes[seal_at] == b'0' { b'1' } else { b'0' };
        assert_eq!(open(&bytes, 0), Err(SealError::Forged));
    }

    #[test]
    fn another_installation_or_key_does_not_open_it() {
        let elsewhere = Sealed::open(Some(&stored()), &install(2), SealKey(&KEY), 0);
        assert_eq!(elsewhere, Err(SealError::Forged));
        let other = Sealed::open(Some(&stored()), &install(1), SealKey(&[8; 32]), 0);
        assert_eq!(other, Err(SealError::Forged));
    }

    #[test]
    fn a_name_cannot_flow_into_a_content() {
        let one = Accepted {
            counter: 0,
            files: BTreeMap::from([("ab".into(), "c".into())]),
        };
        let two = Accepted {
            counter: 0,
            files: BTreeMap::from([("a".into(), "bc".into())]),
        };
        assert_ne!(one.digest(), two.digest());
    }

    #[test]
    fn the_key_does_not_print() {
        assert_eq!(format!("{:?}", SealKey(&KEY)), "SealKey(…)");
    }
}
