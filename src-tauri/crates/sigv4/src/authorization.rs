//! What a client says of its signature, and whether it is true.

use crate::sign::TERMINATOR;
use crate::{ALGORITHM, Key, Moment, Parts, Payload, signature};
use countersign_model::{AwsScope, HeaderField};
use subtle::ConstantTimeEq as _;

/// No client signs as many headers as this, and none writes a longer header.
const MOST_HEADERS: usize = 100;
const LONGEST: usize = 8 << 10;

/// Why a request does not count as signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSigned {
    /// It carries no signature at all.
    Unsigned,
    /// Its signature is in the query: whoever has the URL may use it.
    Presigned,
    /// Version 4a, of elliptic curves, which counts in several regions.
    Asymmetric,
    /// Another way to authenticate: version 2, a bearer token, a password.
    OtherScheme,
    /// What it says of its signature cannot be read: which rule it breaks.
    Malformed(&'static str),
    /// It is signed by a key that is not the one that was expected.
    OtherKey,
    /// It says the right key, and the signature is not of this request.
    Wrong,
}

/// The `Authorization` header of a request, and the moment that it was signed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization<'a> {
    key: &'a str,
    /// Where the client says that it counts.
    pub scope: AwsScope,
    /// When the client says that it was made.
    pub at: Moment,
    signed: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// Reads what a request says of its signature.
    ///
    /// # Errors
    /// Why it says nothing that counts.
    pub fn read(parts: &Parts<'a>) -> Result<Self, NotSigned> {
        if parts.query.is_some_and(is_presigned) {
            return Err(NotSigned::Presigned);
        }
        let value = one(parts.headers, "authorization")?.ok_or(NotSigned::Unsigned)?;
        if value.len() > LONGEST {
            return Err(NotSigned::Malformed("it is longer than any client writes"));
        }
        let text =
            std::str::from_utf8(value).map_err(|_| NotSigned::Malformed("it is not ASCII"))?;
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text, ""));
        if scheme != ALGORITHM {
            return Err(if scheme.starts_with("AWS4-ECDSA-") {
                NotSigned::Asymmetric
            } else {
                NotSigned::OtherScheme
            });
        }
        let [credential, signed, signature] = fields(rest)?;
        let (key, scope, day) = credential_of(credential)?;
        let signed = signed_headers(signed, parts.headers)?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if signature.len() != 64 || !signature.bytes().all(hex) {
            return Err(NotSigned::Malformed("its signature is no signature"));
        }
        let at = one(parts.headers, "x-amz-date")?
            .and_then(Moment::parse)
            .ok_or(NotSigned::Malformed("there is no X-Amz-Date"))?;
        if at.day() != day {
            return Err(NotSigned::Malformed("its day is not that of X-Amz-Date"));
        }
        Ok(Self {
            key,
            scope,
            at,
            signed,
            signature,
        })
    }

    /// Whether it names this key. [`Authorization::check`] looks too; this can be
    /// asked before the body was read.
    ///
    /// # Errors
    /// [`NotSigned::OtherKey`].
    pub fn names(&self, key: &Key) -> Result<(), NotSigned> {
        if self.key == key.id() {
            Ok(())
        } else {
            Err(NotSigned::OtherKey)
        }
    }

    /// Whether this key signed this request, with this body.
    ///
    /// # Errors
    /// [`NotSigned::OtherKey`], [`NotSigned::Wrong`].
    pub fn check(
        &self,
        key: &Key,
        parts: &Parts<'_>,
        payload: Payload<'_>,
    ) -> Result<(), NotSigned> {
        self.names(key)?;
        let right = signature(key, &self.scope, &self.at, parts, &self.signed, payload);
        if bool::from(right.as_bytes().ct_eq(self.signature.as_bytes())) {
            Ok(())
        } else {
            Err(NotSigned::Wrong)
        }
    }

    /// What the first piece of a body is chained to.
    #[must_use]
    pub const fn signature(&self) -> &str {
        self.signature
    }
}

/// Versions 4 and 2 (`Signature` beside `AWSAccessKeyId`), however the names are
/// written: a service might decode them.
fn is_presigned(query: &str) -> bool {
    query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or(pair);
        let name = percent_encoding::percent_decode_str(name).collect::<Vec<u8>>();
        [
            b"x-amz-signature".as_slice(),
            b"x-amz-credential",
            b"x-amz-algorithm",
            b"x-amz-security-token",
            b"awsaccesskeyid",
        ]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// A header that may stand once.
fn one<'a>(headers: &'a [HeaderField], name: &str) -> Result<Option<&'a [u8]>, NotSigned> {
    let mut values = headers.iter().filter(|h| h.name == name);
    let first = values.next().map(|h| h.value.as_slice());
    match values.next() {
        None => Ok(first),
        Some(_) => Err(NotSigned::Malformed("a header of it stands twice")),
    }
}

/// `Credential=…, SignedHeaders=…, Signature=…`, each once.
fn fields(text: &str) -> Result<[&str; 3], NotSigned> {
    const NAMES: [&str; 3] = ["Credential", "SignedHeaders", "Signature"];
    let mut found = [None; 3];
    for part in text.split(',') {
        let (name, value) = part
            .trim()
            .split_once('=')
            .ok_or(NotSigned::Malformed("a part of it has no value"))?;
        let place = NAMES.iter().position(|known| *known == name);
        let slot = place.and_then(|place| found.get_mut(place));
        match slot {
            Some(slot @ None) => *slot = Some(value),
            _ => {
                return Err(NotSigned::Malformed(
                    "a part of it is unknown, or there twice",
                ));
            }
        }
    }
    match found {
        [Some(credential), Some(signed), Some(signature)] => Ok([credential, signed, signature]),
        _ => Err(NotSigned::Malformed("a part of it is missing")),
    }
}

/// `KEY/20150830/eu-west-1/s3/aws4_request`
fn credential_of(text: &str) -> Result<(&str, AwsScope, &str), NotSigned> {
    let mut parts = text.split('/');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let (key, day, region, service, terminator) = (next(), next(), next(), next(), next());
    match (key, day, region, service, terminator, parts.next()) {
        (Some(key), Some(day), Some(region), Some(service), Some(TERMINATOR), None) => {
            let scope = AwsScope {
                region: region.to_owned(),
                service: service.to_owned(),
            };
            Ok((key, scope, day))
        }
        _ => Err(NotSigned::Malformed("its scope is not of version 4")),
    }
}

/// The names, which must be sorted and there; `host` and every `x-amz-*` that was
/// sent must be among them, as services want it.
fn signed_headers<'a>(text: &'a str, headers: &[HeaderField]) -> Result<Vec<&'a str>, NotSigned> {
    let signed: Vec<&str> = text.split(';').collect();
    let sorted = signed.windows(2).all(|pair| pair[0] < pair[1]);
    if signed.len() > MOST_HEADERS || !sorted {
        return Err(NotSigned::Malformed("its signed headers are not in order"));
    }
    if !signed
        .iter()
        .all(|name| headers.iter().any(|h| h.name == *name))
    {
        return Err(NotSigned::Malformed("a header that it signs is not there"));
    }
    let must = |name: &str| name == "host" || name.starts_with("x-amz-");
    let missing = headers
        .iter()
        .any(|h| must(&h.name) && signed.binary_search(&h.name.as_str()).is_err());
    if missing || !signed.contains(&"host") {
        return Err(NotSigned::Malformed(
            "it leaves a header out that must be signed",
        ));
    }
    Ok(signed)
}

#[cfg(test)]
#[path = "authorization_tests.rs"]
mod tests;
