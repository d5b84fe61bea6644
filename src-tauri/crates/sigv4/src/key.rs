//! Guarantee G9: keys do not print.

use std::fmt;
use zeroize::Zeroizing;

/// An access key: its id, which is no secret, and its secret part, which is
/// zeroised when dropped. Never serialised; `Debug` shows neither.
#[derive(Clone)]
pub struct Key {
    id: String,
    secret: Zeroizing<Vec<u8>>,
}

impl Key {
    /// Takes both over. `None` unless the id is 1 to 128 letters, digits and `_`
    /// (the API reference's pattern, `[\w]+`), and the secret 8 to 256 visible
    /// ASCII characters.
    #[must_use]
    pub fn new(id: &str, secret: Zeroizing<Vec<u8>>) -> Option<Self> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let fits = (1..=128).contains(&id.len())
            && id.bytes().all(word)
            && (8..=256).contains(&secret.len())
            && secret.iter().all(u8::is_ascii_graphic);
        fits.then(|| Self {
            id: id.to_owned(),
            secret,
        })
    }
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
    /// Its secret part. Every caller of this is a place to read twice.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.secret
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}
