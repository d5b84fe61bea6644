//! Guarantee G9: secrets do not print.

use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The bytes of a credential or a key. Never serialised, and `Debug` shows
/// nothing of it, not even its length. Clones share the same bytes, which are
/// zeroised when the last one is dropped.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }
    /// Takes over bytes that are zeroised already.
    #[must_use]
    pub fn from_zeroizing(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(Arc::new(bytes))
    }
    /// The bytes. Every caller of this is a place to read twice.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a credential goes in a request.
#[derive(Debug, Clone)]
pub enum Place {
    /// The host knows no credential.
    Nowhere,
    /// A header of this lower-case name; the value is whole (`Bearer …`).
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: Secret,
    },
    /// Headers of these lower-case names: a signature, and what it needs beside it.
    Headers(Vec<(String, Secret)>),
    /// A query parameter of this name; the value is not yet percent-encoded.
    Query {
        /// Its name.
        name: String,
        /// Its value.
        value: Secret,
    },
}

/// A credential, ready to be put in its place, and what to look for in replies.
#[derive(Debug, Clone)]
pub struct Presented {
    /// Where it goes.
    pub place: Place,
    /// Every byte string that must not come back: the secret, the password of a
    /// `user:password`, an access token. None is shorter than 4 bytes.
    pub needles: Vec<Secret>,
}

impl Presented {
    /// For sites.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            place: Place::Nowhere,
            needles: Vec::new(),
        }
    }
}
