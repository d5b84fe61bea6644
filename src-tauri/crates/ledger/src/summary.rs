//! What a block of records is like, so that whoever looks for others can pass it
//! by. It is sealed: somebody who can write to the file that it lies in can take
//! it away, and the records are read instead, but not put another in its place.

use crate::columns::Columns;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// How many records a block has: as many as a whole tile of the tree. It begins
/// at a multiple of this.
pub(crate) const BLOCK: u64 = 256;

/// What the key is for, and the form of what is sealed.
const LABEL: &[u8] = b"countersign ledger: summaries of blocks, form 1";

/// The records of a block, but each that differs from another in nothing else
/// than its request and its time only once, with the latest time.
#[derive(Default)]
pub(crate) struct Summary(BTreeMap<Columns<'static>, i64>);

impl Summary {
    /// Takes one more record into account.
    pub(crate) fn add(&mut self, columns: Columns<'_>) {
        let at_ms = columns.at_ms;
        let like = Columns {
            at_ms: 0,
            request: None,
            ..columns
        };
        let latest = self.0.entry(like.into_owned()).or_insert(at_ms);
        *latest = at_ms.max(*latest);
    }

    /// The same for the same records, byte for byte.
    ///
    /// # Errors
    /// None that strings and numbers can cause.
    pub(crate) fn text(self) -> serde_json::Result<String> {
        let all: Vec<_> = self
            .0
            .into_iter()
            .map(|(like, at_ms)| Columns { at_ms, ..like })
            .collect();
        serde_json::to_string(&all)
    }
}

/// Seals summaries. It is derived from the seed of the key that signs
/// checkpoints, and is in no file.
pub(crate) struct SealKey(Zeroizing<[u8; 32]>);

/// A whole block of records: its number, and the leaf hash of its last one.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) n: u64,
    pub(crate) last_leaf: &'a [u8],
}

impl SealKey {
    pub(crate) fn derive(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self(Zeroizing::new(
            mac(seed).chain_update(LABEL).finalize().into_bytes().into(),
        ))
    }

    pub(crate) fn seal(&self, block: Block<'_>, text: &str) -> [u8; 32] {
        self.over(block, text).finalize().into_bytes().into()
    }

    /// What the records of a block are like, if this key sealed it.
    pub(crate) fn open(
        &self,
        block: Block<'_>,
        text: &str,
        seal: &[u8],
    ) -> Option<Vec<Columns<'static>>> {
        self.over(block, text).verify_slice(seal).ok()?;
        serde_json::from_str(text).ok()
    }

    fn over(&self, block: Block<'_>, text: &str) -> Hmac<Sha256> {
        // The leaf's length goes first, so that nothing can move from one part
        // into the next.
        mac(&self.0)
            .chain_update(block.n.to_be_bytes())
            .chain_update((block.last_leaf.len() as u64).to_be_bytes())
            .chain_update(block.last_leaf)
            .chain_update(text)
    }
}

fn mac(key: &[u8; 32]) -> Hmac<Sha256> {
    // HMAC takes keys of any length (RFC 2104 section 2); that of a block of
    // SHA-256 needs no error.
    let mut whole = Zeroizing::new([0; 64]);
    whole[..32].copy_from_slice(key);
    Hmac::new((&*whole).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_for_a_block_is_believed_of_no_other_and_of_no_other_text() {
        let key = SealKey::derive(&Zeroizing::new([7; 32]));
        let mut summary = Summary::default();
        for at_ms in [3, 9, 5] {
            summary.add(Columns {
                at_ms,
                kind: "noted".into(),
                request: Some(format!("r{at_ms}").into()),
                ..Columns::default()
            });
        }
        let text = summary.text().unwrap();
        let block = Block {
            n: 2,
            last_leaf: &[1; 32],
        };
        let seal = key.seal(block, &text);
        let like = Columns {
            at_ms: 9,
            kind: "noted".into(),
            ..Columns::default()
        };
        assert_eq!(key.open(block, &text, &seal), Some(vec![like]));

        let other_key = SealKey::derive(&Zeroizing::new([8; 32]));
        assert_eq!(other_key.open(block, &text, &seal), None);
        assert_eq!(key.open(Block { n: 3, ..block }, &text, &seal), None);
        let other_leaf = Block {
            last_leaf: &[2; 32],
            ..block
        };
        assert_eq!(key.open(other_leaf, &text, &seal), None);
        assert_eq!(key.open(block, "[]", &seal), None);
        assert_eq!(key.open(block, &text, &[]), None);
    }
}
