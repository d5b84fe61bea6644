//! How a credential is shown to a host, and what must not come back from it.

use crate::encoding::{encoded_len, push_base64};
use crate::{Place, Presented, Secret, VaultError};
use countersign_model::CredentialKind;
use zeroize::Zeroizing;

/// Looking for anything shorter in replies would find it by accident.
const SHORTEST_NEEDLE: usize = 4;
/// The name of the usual header.
const AUTHORIZATION: &str = "authorization";
/// A password that says "the user name is the secret".
const PLACEHOLDER_PASSWORD: &[u8] = b"x-oauth-basic";

/// Shapes a secret for its account. [`CredentialKind::Oauth2`] is shaped by
/// [`access_token`] instead, once there is one.
pub(crate) fn shape(kind: &CredentialKind, secret: &Secret) -> Result<Presented, VaultError> {
    match kind {
        CredentialKind::Bearer => bearer(secret),
        CredentialKind::Basic => basic(secret),
        CredentialKind::Header(name) => header(name, secret),
        CredentialKind::Query(name) => query(name, secret),
        CredentialKind::None => Ok(Presented::nothing()),
        CredentialKind::Aws(_) => Err(VaultError::Internal(
            "an access key is not shown to a host".into(),
        )),
        CredentialKind::Oauth2 => Err(VaultError::Internal(
            "a refresh token is not shown to a host".into(),
        )),
    }
}

/// Shapes an access token; `others` are the secrets that it was had for.
pub(crate) fn access_token(token: &Secret, others: Vec<Secret>) -> Result<Presented, VaultError> {
    let mut presented = bearer(token)?;
    presented.needles.extend(others);
    with_needles(presented.place, presented.needles)
}

/// RFC 6750 section 2.1. Some hosts' tokens hold more characters than its
/// grammar has, so every visible one is let through.
fn bearer(secret: &Secret) -> Result<Presented, VaultError> {
    if !secret.expose().iter().all(u8::is_ascii_graphic) {
        return Err(refused(
            "a bearer token is visible ASCII without spaces or line ends",
        ));
    }
    let value = joined(b"Bearer ", secret.expose());
    with_needles(in_header(AUTHORIZATION, value), vec![secret.clone()])
}

/// RFC 7617.
fn basic(secret: &Secret) -> Result<Presented, VaultError> {
    let bytes = secret.expose();
    if bytes.iter().any(u8::is_ascii_control) {
        return Err(refused(
            "user:password may not hold control characters or line ends",
        ));
    }
    let Some(colon) = bytes.iter().position(|b| *b == b':') else {
        return Err(refused("it is not of the form user:password"));
    };
    let (user, password) = (&bytes[..colon], &bytes[colon + 1..]);
    // Where the password is a formality (`key:`, `key:X`, `token:x-oauth-basic`),
    // the user name is the secret.
    let part = if password.len() < SHORTEST_NEEDLE || password == PLACEHOLDER_PASSWORD {
        user
    } else {
        password
    };
    let mut token = Zeroizing::new(Vec::with_capacity(encoded_len(bytes.len())));
    push_base64(bytes, &mut token)?;
    let value = joined(b"Basic ", &token);
    let needles = vec![
        secret.clone(),
        Secret::new(part.to_vec()),
        Secret::from_zeroizing(token),
    ];
    with_needles(in_header(AUTHORIZATION, value), needles)
}

fn header(name: &str, secret: &Secret) -> Result<Presented, VaultError> {
    let bytes = secret.expose();
    // RFC 9110 section 5.5, without obs-text: visible characters, spaces and
    // tabs between them.
    let inner = bytes
        .iter()
        .all(|b| b.is_ascii_graphic() || matches!(b, b' ' | b'\t'));
    let edges = [bytes.first(), bytes.last()]
        .into_iter()
        .flatten()
        .all(u8::is_ascii_graphic);
    if !(inner && edges) {
        return Err(refused(
            "a header value is visible ASCII, without spaces or line ends around it",
        ));
    }
    let mut needles = vec![secret.clone()];
    // `Token abc…`: the token may come back without its scheme.
    if let Some(space) = bytes.iter().rposition(|b| matches!(b, b' ' | b'\t'))
        && bytes.len() - space > SHORTEST_NEEDLE
    {
        needles.push(Secret::new(bytes[space + 1..].to_vec()));
    }
    with_needles(in_header(name, secret.clone()), needles)
}

fn query(name: &str, secret: &Secret) -> Result<Presented, VaultError> {
    let text =
        std::str::from_utf8(secret.expose()).map_err(|_| refused("a query value is text"))?;
    if text.chars().any(char::is_control) {
        return Err(refused(
            "a query value may not hold control characters or line ends",
        ));
    }
    let place = Place::Query {
        name: name.to_owned(),
        value: secret.clone(),
    };
    with_needles(place, vec![secret.clone()])
}

/// The last check: what cannot be looked for in replies is not sent.
fn with_needles(place: Place, needles: Vec<Secret>) -> Result<Presented, VaultError> {
    if needles.iter().any(|n| n.expose().len() < SHORTEST_NEEDLE) {
        return Err(refused(
            "a part of it is too short to be recognised in a reply",
        ));
    }
    Ok(Presented { place, needles })
}

fn in_header(name: &str, value: Secret) -> Place {
    Place::Header {
        name: name.to_owned(),
        value,
    }
}

fn joined(scheme: &[u8], token: &[u8]) -> Secret {
    let mut value = Vec::with_capacity(scheme.len() + token.len());
    value.extend_from_slice(scheme);
    value.extend_from_slice(token);
    Secret::new(value)
}

fn refused(why: &str) -> VaultError {
    VaultError::Refused(why.to_owned())
}

#[cfg(test)]
#[path = "present_tests.rs"]
mod tests;
