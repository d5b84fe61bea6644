//! The signature.

use crate::canonical::{self, Parts, Paths};
use crate::{ALGORITHM, Key};
use countersign_model::{AwsScope, Digest};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

/// The last part of every scope.
pub(crate) const TERMINATOR: &str = "aws4_request";

/// When it was signed, to the second: `20150830T123600Z`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment(String);

impl Moment {
    /// From seconds since 1970, up to the year 9999.
    #[must_use]
    pub fn from_unix(seconds: u64) -> Self {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        Self(format!(
            "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z"
        ))
    }
    /// As a client wrote it. `None` when it is not of this form.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digits = |range: std::ops::Range<usize>| text[range].iter().all(u8::is_ascii_digit);
        let fits = text.len() == 16
            && digits(0..8)
            && text[8] == b'T'
            && digits(9..15)
            && text[15] == b'Z';
        fits.then(|| Self(String::from_utf8_lossy(text).into_owned()))
    }
    /// The day alone: `20150830`.
    pub(crate) fn day(&self) -> &str {
        &self.0[..8]
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Year, month and day of the proleptic Gregorian calendar, days since 1970-01-01
/// (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// What is signed of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Every byte of it.
    Exact(Digest),
    /// What `x-amz-content-sha256` says instead: nothing of the body, or that it
    /// comes in pieces.
    Stated(&'a str),
}

impl Payload<'_> {
    /// As it stands in the canonical request and in `x-amz-content-sha256`.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Exact(digest) => digest.to_string(),
            Self::Stated(text) => (*text).to_owned(),
        }
    }
}

/// `20150830/eu-west-1/s3/aws4_request`
pub(crate) fn scope_text(scope: &AwsScope, at: &Moment) -> String {
    let AwsScope { region, service } = scope;
    format!("{}/{region}/{service}/{TERMINATOR}", at.day())
}

/// The signature of a request, 64 hexadecimal digits. `signed` are the names of
/// the headers that it covers, sorted.
#[must_use]
pub fn signature(
    key: &Key,
    scope: &AwsScope,
    at: &Moment,
    parts: &Parts<'_>,
    signed: &[&str],
    payload: Payload<'_>,
) -> String {
    let paths = Paths::of(&scope.service);
    let request = canonical::digest(parts, signed, paths, &payload.text());
    let text = format!("{ALGORITHM}\n{at}\n{}\n{request}", scope_text(scope, at));
    SigningKey::new(key, scope, at).sign(text.as_bytes())
}

/// The value of `Authorization` that says so.
#[must_use]
pub fn authorization(
    key: &Key,
    scope: &AwsScope,
    at: &Moment,
    signed: &[&str],
    signature: &str,
) -> String {
    format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={signature}",
        key.id(),
        scope_text(scope, at),
        signed.join(";"),
    )
}

/// A key that is good for one day, region and service. Zeroised when dropped.
pub(crate) struct SigningKey(Zeroizing<[u8; 32]>);

impl SigningKey {
    pub(crate) fn new(key: &Key, scope: &AwsScope, at: &Moment) -> Self {
        let mut first = Zeroizing::new(Vec::with_capacity(4 + key.expose().len()));
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(key.expose());
        let mut made = mac(&first, at.day().as_bytes());
        for part in [&scope.region, &scope.service, TERMINATOR] {
            made = mac(&*made, part.as_bytes());
        }
        Self(made)
    }
    pub(crate) fn sign(&self, text: &[u8]) -> String {
        Digest::from_bytes(*mac(&*self.0, text)).to_string()
    }
}

fn mac(key: &[u8], text: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    // A key of HMAC may have any length (RFC 2104 section 2).
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) {
        mac.update(text);
        out.copy_from_slice(&mac.finalize().into_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_the_calendar_has_it() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (4_107_542_399, "21000228T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(Moment::from_unix(seconds).to_string(), text);
            assert_eq!(Moment::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "20150830T123600",
            "2015-08-30T12:36Z",
            "20150830 123600Z",
        ] {
            assert!(Moment::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
