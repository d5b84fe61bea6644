//! The run's CA in the two forms that programs read: PEM, and a Java key store.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The password that Java's own `cacerts` has, so that `keytool` can list it.
const STORE_PASSWORD: &str = "changeit";

/// A certificate and nothing else: other PEM blocks (a key, by mistake) are
/// never handed on.
///
/// `None` unless there is at least one certificate and each is valid base64.
pub(crate) fn certificates(pem: &str) -> Option<Vec<Vec<u8>>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut found = Vec::new();
    let mut rest = pem;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (body, next) = after.split_once(END)?;
        let body: String = body.split_ascii_whitespace().collect();
        found.push(STANDARD.decode(body).ok()?);
        rest = next;
    }
    (!found.is_empty()).then_some(found)
}

/// Certificates as PEM (RFC 7468).
pub(crate) fn pem(certificates: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for der in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let body = STANDARD.encode(der);
        for line in body.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// Certificates as a Java key store ("JKS", version 2): every Java since 1.2
/// reads it, and none reads PEM. Its SHA-1 is a checksum under a password that
/// everybody knows; nothing secret or trusted hangs on it.
pub(crate) fn jks(certificates: &[Vec<u8>]) -> Vec<u8> {
    let mut store = Vec::new();
    let text = |store: &mut Vec<u8>, text: &str| {
        // ASCII only, where Java's modified UTF-8 is the same.
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        store.extend(length.to_be_bytes());
        store.extend(&text.as_bytes()[..usize::from(length)]);
    };
    store.extend(0xFEED_FEED_u32.to_be_bytes());
    store.extend(2_u32.to_be_bytes());
    store.extend((certificates.len() as u32).to_be_bytes());
    for (index, der) in certificates.iter().enumerate() {
        const TRUSTED_CERTIFICATE: u32 = 2;
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        text(&mut store, &format!("countersign-run-{index}"));
        store.extend(0_u64.to_be_bytes()); // no date
        text(&mut store, "X.509");
        store.extend((der.len() as u32).to_be_bytes());
        store.extend(der);
    }
    let mut digest = Sha1::new();
    for unit in STORE_PASSWORD.encode_utf16() {
        digest.update(unit.to_be_bytes());
    }
    digest.update(b"Mighty Aphrodite");
    digest.update(&store);
    store.extend(digest.finalize());
    store
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_are_taken_from_pem() {
        let mixed = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n\
                     -----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
        let found = certificates(mixed).unwrap();
        assert_eq!(found, [vec![1, 2, 3]]);
        assert!(!pem(&found).contains("PRIVATE"));
        assert_eq!(certificates(&pem(&found)).unwrap(), found);
        assert_eq!(certificates("nothing"), None);
    }
}
