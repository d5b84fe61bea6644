//! Single values of an account, checked.

use crate::hosts::{self, Place};
use crate::parse::{Limits, ReadFile};
use crate::problem::Problems;
use crate::section::{Text, closest};
use countersign_model::{AwsSettings, CredentialKind, Environment};
use std::net::{IpAddr, SocketAddr};

/// A label that policies can name: 1 to 64 of `a-z 0-9 - _ .`.
pub(crate) fn label(text: Text<'_>, what: &str, problems: &mut Problems<'_>) -> Option<String> {
    if is_label(text.value) {
        return Some(text.value.to_owned());
    }
    let found = text.shown();
    problems.at(
        text.at,
        format!("expected {what} of 1 to 64 of a-z, 0-9, '-', '_' and '.', found {found}"),
    );
    None
}

fn is_label(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
}

/// A word of a scope: 1 to 64 of letters, digits and `-`.
pub(crate) fn word(text: Text<'_>, what: &str, problems: &mut Problems<'_>) -> Option<String> {
    let value = text.value;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if (1..=64).contains(&value.len()) && value.bytes().all(plain) {
        return Some(value.to_owned());
    }
    let found = text.shown();
    problems.at(
        text.at,
        format!("expected {what} of letters, digits and '-', found {found}"),
    );
    None
}

/// `environment`: a label. Policies are stricter about the word `production`
/// alone, so what is almost that word is refused instead of meaning nothing.
pub(crate) fn environment(text: Text<'_>, problems: &mut Problems<'_>) -> Option<Environment> {
    const WORD: &str = "production";
    let lower = text.value.to_lowercase();
    let near = ["prod", "prd"].contains(&lower.as_str()) || closest(&lower, &[WORD]).is_some();
    if near && text.value != WORD {
        let found = text.shown();
        problems.at(
            text.at,
            format!("expected {WORD:?}, the word that policies are stricter about, found {found}"),
        );
        return None;
    }
    label(text, "an environment", problems).map(Environment)
}

/// `credential`
pub(crate) fn credential(text: Text<'_>, problems: &mut Problems<'_>) -> Option<CredentialKind> {
    let expected = match text.value {
        "bearer" => return Some(CredentialKind::Bearer),
        "basic" => return Some(CredentialKind::Basic),
        "oauth2" => return Some(CredentialKind::Oauth2),
        "none" => return Some(CredentialKind::None),
        // Its settings stand beside it.
        "aws" => {
            return Some(CredentialKind::Aws(AwsSettings {
                region: String::new(),
                service: None,
            }));
        }
        "ssh-key" => "a credential that this version supports (ssh-key is not yet)",
        value => match value.split_once(':') {
            Some(("header", name)) if is_token(name) => {
                let name = name.to_ascii_lowercase();
                if !FRAMING.contains(&name.as_str()) {
                    return Some(CredentialKind::Header(name));
                }
                "a header that does not frame the request"
            }
            Some(("query", name)) if is_query_name(name) => {
                return Some(CredentialKind::Query(name.to_owned()));
            }
            _ => "bearer, basic, header:NAME, query:NAME, oauth2, aws or none",
        },
    };
    problems.at(
        text.at,
        format!("expected {expected}, found {}", text.shown()),
    );
    None
}

/// Headers that say where a message goes or ends (RFC 9110, RFC 9112): to let
/// anybody choose them would let two programs read two different requests.
const FRAMING: [&str; 14] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// A field name of RFC 9110, at most 64 bytes.
fn is_token(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn is_query_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

/// One of `forward_headers`: never one that frames the message, carries a
/// credential or cookie, or is where this account's own credential goes.
pub(crate) fn forwarded_header(
    text: Text<'_>,
    credential: Option<&CredentialKind>,
    problems: &mut Problems<'_>,
) -> Option<String> {
    let name = text.value.to_ascii_lowercase();
    let own = matches!(credential, Some(CredentialKind::Header(h)) if *h == name);
    let expected = if !is_token(&name) {
        "the name of a header"
    } else if FRAMING.contains(&name.as_str()) {
        "a header that does not frame the request"
    } else if own || ["authorization", "cookie", "cookie2"].contains(&name.as_str()) {
        "a header that carries no credential"
    } else {
        return Some(name);
    };
    problems.at(
        text.at,
        format!("expected {expected}, found {}", text.shown()),
    );
    None
}

/// `connect_to`: `host:port` or `address:port`, an IPv6 address in brackets.
pub(crate) fn connect_to(text: Text<'_>, problems: &mut Problems<'_>) -> Option<String> {
    let parsed = match text.value.parse::<SocketAddr>() {
        Ok(address) => Some((address.to_string(), address.port())),
        Err(_) => text.value.rsplit_once(':').and_then(|(host, port)| {
            let host = hosts::normalise(host, Place::Told).ok()?;
            let named = host.wildcard_base().is_none() && host.as_str().parse::<IpAddr>().is_err();
            let number = port_number(port)?;
            named.then(|| (format!("{host}:{number}"), number))
        }),
    };
    match parsed {
        Some((address, port)) if port != 0 => Some(address),
        _ => {
            let found = text.shown();
            problems.at(
                text.at,
                format!(
                    "expected host:port or address:port, like \"127.0.0.1:8443\", found {found}"
                ),
            );
            None
        }
    }
}

/// Digits only: `parse` alone would take `+443`.
fn port_number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// `token_url`: `https://host[:port]/path`, without user, query or fragment.
pub(crate) fn token_url(text: Text<'_>, problems: &mut Problems<'_>) -> Option<String> {
    let url = text.value.strip_prefix("https://").and_then(|rest| {
        let (authority, path) = rest.split_once('/')?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port_number(port).filter(|p| *p != 0)?)),
            None => (authority, None),
        };
        let host = hosts::normalise(host, Place::Looked).ok()?;
        let plain_path = path
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&b));
        let exact = host.wildcard_base().is_none();
        let port = port.map(|p| format!(":{p}")).unwrap_or_default();
        (exact && plain_path).then(|| format!("https://{host}{port}/{path}"))
    });
    if url.is_none() {
        let found = text.shown();
        problems.at(
            text.at,
            format!("expected https://host/path without a query, found {found}"),
        );
    }
    url
}

/// `ca`: a PEM file in the home folder, with certificates and nothing else.
pub(crate) fn ca(
    text: Text<'_>,
    read: &ReadFile<'_>,
    problems: &mut Problems<'_>,
) -> Option<String> {
    let name_ok = !text.value.is_empty()
        && text.value.split('/').all(|part| {
            !matches!(part, "" | "." | "..")
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_. ".contains(&b))
        });
    let outcome = if name_ok {
        read(text.value).and_then(|pem| check_pem(&pem).map(|()| pem))
    } else {
        Err("a file name relative to the home folder".to_owned())
    };
    match outcome {
        Ok(pem) => Some(pem),
        Err(why) => {
            problems.at(
                text.at,
                format!("expected a CA certificate: {why}, found {}", text.shown()),
            );
            None
        }
    }
}

fn check_pem(pem: &str) -> Result<(), String> {
    const BEGIN: &str = "-----BEGIN ";
    if pem.len() > Limits::CA {
        return Err(format!("at most {} bytes", Limits::CA));
    }
    let labels: Vec<&str> = pem
        .lines()
        .filter_map(|line| line.trim().strip_prefix(BEGIN))
        .collect();
    if labels.is_empty() {
        return Err("PEM with -----BEGIN CERTIFICATE-----".to_owned());
    }
    if labels.iter().any(|label| *label != "CERTIFICATE-----") {
        // A private key has no business in a file that is copied and shown.
        return Err("certificates and nothing else".to_owned());
    }
    Ok(())
}
