//! Guarantee G3: what was shown is what runs.

use crate::CredentialId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest. Serialised as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
    /// A digest that was computed elsewhere (a streaming hash).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// The digest of a list of parts, each under its length, so that no two
    /// different lists have the same encoding. `domain` keeps digests of
    /// different things apart.
    #[must_use]
    pub fn of_parts(domain: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update((domain.len() as u64).to_be_bytes());
        hash.update(domain.as_bytes());
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

impl Digest {
    /// Its 64 digits, for records are full of them.
    fn with_text<T>(&self, read: impl FnOnce(&str) -> T) -> T {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        // Digits are ASCII.
        read(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| to.serialize_str(text))
    }
}
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
impl FromStr for Digest {
    type Err = &'static str;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "expected 64 hexadecimal digits";
        if s.len() != 64 || !s.is_ascii() {
            return Err(WHAT);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(s.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| WHAT)?;
            if pair.starts_with('+') {
                return Err(WHAT);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| WHAT)?;
        }
        Ok(Self(bytes))
    }
}
impl TryFrom<String> for Digest {
    type Error = &'static str;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}
impl From<Digest> for String {
    fn from(d: Digest) -> Self {
        d.to_string()
    }
}

/// Which credential, and which setting of it: replacing a credential makes the
/// next version, and permits for the old one end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialVersion {
    /// Its name.
    pub id: CredentialId,
    /// Counts up from 1.
    pub version: u64,
}

/// How the request goes upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Over verified TLS.
    Https,
    /// In the clear. Never with a credential, unless the account says so.
    Http,
}

impl Scheme {
    /// The word in a URL.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
    /// 443 or 80.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

/// One header or trailer exactly as it will be sent (name in lower case).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderField {
    /// Lower-case name.
    pub name: String,
    /// The value's bytes. Written as text of which each character is a byte.
    #[serde(with = "bytes_as_text")]
    pub value: Vec<u8>,
}

/// Bytes as the characters U+0000 to U+00FF.
mod bytes_as_text {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().copied().map(char::from).collect();
        to.serialize_str(&text)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let bytes = text.chars().map(u8::try_from).collect::<Result<_, _>>();
        bytes.map_err(|_| D::Error::custom("a character that is no byte"))
    }
}

/// What is promised about a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyCommitment {
    /// There is none.
    None,
    /// Exactly these bytes.
    Exact {
        /// SHA-256 of the whole body.
        digest: Digest,
        /// Its length in bytes.
        length: u64,
    },
    /// The verdict does not depend on it: it streams, and the record after
    /// holds its digest and length.
    Streamed,
}

/// The exact, normalised request that was judged and that will be sent, once.
/// The credential itself is not in it; which credential is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExactRequest {
    /// https or http.
    pub scheme: Scheme,
    /// The method, upper case.
    pub method: String,
    /// The host, lower case, no trailing dot.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path exactly as it will be sent; begins with `/`.
    pub path: String,
    /// The query exactly as it will be sent, without `?`; none and empty differ.
    pub query: Option<String>,
    /// Every header that will be forwarded, in order.
    pub headers: Vec<HeaderField>,
    /// Every trailer that will be forwarded, in order.
    pub trailers: Vec<HeaderField>,
    /// What is promised about the body.
    pub body: BodyCommitment,
    /// The credential that will be added, if any.
    pub credential: Option<CredentialVersion>,
    /// Digest of the account's configuration when it was judged.
    pub account_digest: Digest,
}

impl ExactRequest {
    /// The digest that a permit is bound to.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let (body_kind, body_digest, body_length): (&[u8], [u8; 32], u64) = match &self.body {
            BodyCommitment::None => (b"none", [0; 32], 0),
            BodyCommitment::Exact { digest, length } => (b"exact", *digest.as_bytes(), *length),
            BodyCommitment::Streamed => (b"streamed", [0; 32], 0),
        };
        let port = self.port.to_be_bytes();
        let length = body_length.to_be_bytes();
        let header_count = (self.headers.len() as u64).to_be_bytes();
        let (cred_id, cred_version): (&[u8], [u8; 8]) = match &self.credential {
            Some(c) => (c.id.as_str().as_bytes(), c.version.to_be_bytes()),
            None => (b"", [0; 8]),
        };
        let mut parts: Vec<&[u8]> = vec![
            self.scheme.word().as_bytes(),
            self.method.as_bytes(),
            self.host.as_bytes(),
            &port,
            self.path.as_bytes(),
            if self.query.is_some() { b"?" } else { b"" },
            self.query.as_deref().unwrap_or("").as_bytes(),
            body_kind,
            &body_digest,
            &length,
            cred_id,
            &cred_version,
            self.account_digest.as_bytes(),
            &header_count,
        ];
        for field in self.headers.iter().chain(&self.trailers) {
            parts.push(field.name.as_bytes());
            parts.push(&field.value);
        }
        Digest::of_parts("countersign/exact-request/1", &parts)
    }

    /// What stands in `Host`: the port only where it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The target as a person reads it: `https://host/path?query`.
    #[must_use]
    pub fn url(&self) -> String {
        let mut out = format!("{}://{}{}", self.scheme.word(), self.authority(), self.path);
        if let Some(query) = &self.query {
            out.push('?');
            out.push_str(query);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ExactRequest {
        ExactRequest {
            scheme: Scheme::Https,
            method: "POST".into(),
            host: "forum.example".into(),
            port: 443,
            path: "/posts".into(),
            query: None,
            headers: vec![HeaderField {
                name: "accept".into(),
                value: b"*/*".to_vec(),
            }],
            trailers: vec![],
            body: BodyCommitment::Exact {
                digest: Digest::of(b"hi"),
                length: 2,
            },
            credential: Some(CredentialVersion {
                id: "forum".parse().unwrap(),
                version: 1,
            }),
            account_digest: Digest::of(b"account"),
        }
    }

    #[test]
    fn every_part_of_the_request_changes_its_digest() {
        let base = sample();
        type Change = (&'static str, fn(&mut ExactRequest));
        let changes: [Change; 14] = [
            ("scheme", |r| r.scheme = Scheme::Http),
            ("method", |r| r.method = "PUT".into()),
            ("host", |r| r.host = "forum.exampl".into()),
            ("port", |r| r.port = 8443),
            ("path", |r| r.path = "/posts/".into()),
            ("empty query", |r| r.query = Some(String::new())),
            ("query", |r| r.query = Some("a".into())),
            ("header value", |r| r.headers[0].value = b"*/".to_vec()),
            ("header to trailer", |r| {
                r.trailers = std::mem::take(&mut r.headers);
            }),
            ("body", |r| {
                r.body = BodyCommitment::Exact {
                    digest: Digest::of(b"ho"),
                    length: 2,
                };
            }),
            ("streamed", |r| r.body = BodyCommitment::Streamed),
            ("credential version", |r| {
                r.credential.as_mut().unwrap().version = 2;
            }),
            ("no credential", |r| r.credential = None),
            ("account", |r| r.account_digest = Digest::of(b"other")),
        ];
        let mut seen = vec![base.digest()];
        for (what, change) in changes {
            let mut r = base.clone();
            change(&mut r);
            assert!(!seen.contains(&r.digest()), "{what} is not in the digest");
            seen.push(r.digest());
        }
    }

    #[test]
    fn a_digest_survives_its_text_form() {
        let d = Digest::of(b"x");
        assert_eq!(d.to_string().parse::<Digest>().unwrap(), d);
        assert!("+f".repeat(32).parse::<Digest>().is_err());
    }
}
