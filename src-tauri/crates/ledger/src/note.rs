//! Checkpoints: C2SP `tlog-checkpoint` in a C2SP `signed-note`, Ed25519.

use crate::state::State;
use countersign_model::InstallId;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Hash};
use zeroize::Zeroizing;

/// The signature type of Ed25519 in a C2SP signed note.
const ED25519: u8 = 1;

/// The key that signs the heads of one ledger, and nothing else.
pub(crate) struct HeadSigner {
    origin: String,
    id: u32,
    key: SigningKey,
}

impl signed_note::Signer for HeadSigner {
    fn name(&self) -> &str {
        &self.origin
    }
    fn key_id(&self) -> u32 {
        self.id
    }
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ed25519_dalek::SignatureError> {
        self.key
            .try_sign(message)
            .map(|signature| signature.to_vec())
    }
}

impl HeadSigner {
    pub(crate) fn new(install: &InstallId, seed: &Zeroizing<[u8; 32]>) -> Self {
        let key = SigningKey::from_bytes(seed);
        let origin = format!("countersign/{install}");
        let public = [&[ED25519], key.verifying_key().as_bytes().as_slice()].concat();
        Self {
            id: signed_note::key_id(&origin, &public),
            origin,
            key,
        }
    }

    pub(crate) fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Signs the head of a tree and what its records amount to.
    pub(crate) fn sign(&self, size: u64, root: Hash, state: &State) -> Result<String, String> {
        let text =
            Checkpoint::new(&self.origin, size, root, &state.lines()).map_err(|e| e.to_string())?;
        let mut note = Note::new(&text.to_bytes(), &[]).map_err(|e| e.to_string())?;
        note.add_sigs(&[self]).map_err(|e| e.to_string())?;
        String::from_utf8(note.to_bytes()).map_err(|e| e.to_string())
    }
}

/// A head whose signature was checked.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) state: State,
}

impl Head {
    /// Reads a checkpoint that this key signed.
    ///
    /// # Errors
    /// In words: not a checkpoint, or not signed by this key.
    pub(crate) fn open(text: &str, public_key: &[u8; 32]) -> Result<Self, String> {
        let not_one = "it is not a checkpoint of a Countersign ledger";
        let note = Note::from_bytes(text.as_bytes()).map_err(|_| not_one)?;
        let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|_| not_one)?;
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| "the public key is not one")?;
        let known = signed_note::new_ed25519_verifier_key(checkpoint.origin(), &key);
        let verifier = StandardVerifier::new(&known).map_err(|_| not_one)?;
        note.verify(&VerifierList::new(vec![Box::new(verifier)]))
            .map_err(|_| "it is not signed by this ledger's key, or was changed")?;
        Ok(Self {
            size: checkpoint.size(),
            root: *checkpoint.hash(),
            state: State::from_lines(checkpoint.extension()).ok_or(not_one)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Zeroizing<[u8; 32]> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).unwrap();
        seed
    }

    #[test]
    fn a_checkpoint_opens_only_unchanged_and_with_its_own_key() {
        let signer = HeadSigner::new(&InstallId::from_random([1; 16]), &key());
        let state = State {
            stopped: true,
            ..State::default()
        };
        let text = signer
            .sign(7, tlog_tiles::record_hash(b"x"), &state)
            .unwrap();
        let head = Head::open(&text, &signer.public_key()).unwrap();
        assert_eq!((head.size, head.state), (7, state));
        assert!(Head::open(&text.replace("\n7\n", "\n8\n"), &signer.public_key()).is_err());
        assert!(Head::open(&text.replace("stopped\n", ""), &signer.public_key()).is_err());
        let other = HeadSigner::new(&InstallId::from_random([1; 16]), &key());
        assert!(Head::open(&text, &other.public_key()).is_err());
        assert!(Head::open("", &signer.public_key()).is_err());
    }
}
