//! One POST to a token endpoint. Source: RFC 6749 sections 5 and 6.
//!
//! Nothing that the endpoint writes gets into an error: its codes are compared
//! with the ones that the RFC knows, and all else is left out.

use crate::clock::Moment;
use crate::oauth::{AuthorizedUser, Text};
use crate::{Secret, VaultError};
use bytes::Bytes;
use countersign_model::Account;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HOST};
use reqwest::{Client, Response, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// From the first packet to the last byte of the reply.
const LIMIT: Duration = Duration::from_secs(10);
/// Replies are a few kilobytes.
const LONGEST_REPLY: usize = 64 * 1024;
/// Where the endpoint does not say how long its token lives.
const ASSUMED_LIFE: Duration = Duration::from_secs(300);
/// Whatever it says: a lost laptop's token is fetched anew within a day.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What a form leaves as it is, besides letters and digits (RFC 6749 appendix B).
pub(crate) const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// What the endpoint gave.
pub(crate) struct Granted {
    pub(crate) access_token: Secret,
    /// When the request was made: the token's life is counted from here.
    pub(crate) asked: Moment,
    pub(crate) life: Duration,
    /// Replaces the one that was used.
    pub(crate) refresh_token: Option<Secret>,
}

/// A successful reply, borrowed.
#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    access_token: Text<'a>,
    #[serde(borrow)]
    token_type: Text<'a>,
    expires_in: Option<u64>,
    #[serde(borrow)]
    refresh_token: Option<Text<'a>>,
}

/// A refusal, borrowed.
#[derive(Deserialize)]
struct Refusal<'a> {
    #[serde(borrow)]
    error: Text<'a>,
}

/// Has the endpoint give an access token for the refresh token. Once; never
/// follows a redirect, never uses a proxy, takes [`LIMIT`] at most.
pub(crate) async fn refresh(
    account: &Account,
    user: &AuthorizedUser,
) -> Result<Granted, VaultError> {
    tokio::time::timeout(LIMIT, exchange(account, user))
        .await
        .unwrap_or_else(|_| Err(failed("the token endpoint did not answer in time")))
}

async fn exchange(account: &Account, user: &AuthorizedUser) -> Result<Granted, VaultError> {
    let endpoint = Endpoint::of(account, user).await?;
    let client = endpoint.client(account).await?;
    let asked = Moment::now();
    let response = client
        .post(endpoint.dial)
        .header(HOST, endpoint.authority)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .body(Bytes::from_owner(form(user)))
        .send()
        .await
        .map_err(|e| explain(&e))?;
    let status = response.status();
    if status.is_redirection() {
        return Err(failed(
            "the token endpoint answered with a redirect, which is not followed",
        ));
    }
    let body = whole_body(response).await?;
    if status != StatusCode::OK {
        return Err(refusal(status, &body));
    }
    let reply: Reply<'_> = serde_json::from_slice(&body)
        .map_err(|_| failed("the token endpoint's reply holds no access token"))?;
    if !reply.token_type.0.eq_ignore_ascii_case("bearer") {
        return Err(failed(
            "the token endpoint gave a token that is no bearer token",
        ));
    }
    Ok(Granted {
        access_token: reply.access_token.secret(),
        asked,
        life: reply
            .expires_in
            .map_or(ASSUMED_LIFE, Duration::from_secs)
            .min(LONGEST_LIFE),
        refresh_token: reply
            .refresh_token
            .filter(|t| !t.0.is_empty())
            .map(|t| t.secret()),
    })
}

/// Where to go, and as whom to greet it.
pub(crate) struct Endpoint {
    /// The URL without its port, where `addresses` hold the port instead.
    dial: Url,
    /// The `Host` header: host and, if not the usual one, port.
    authority: String,
    host: String,
    /// Where the host really is, if that is not for DNS to say.
    addresses: Option<Vec<SocketAddr>>,
    /// It is one of the account's own hosts.
    ours: bool,
}

impl Endpoint {
    async fn of(account: &Account, user: &AuthorizedUser) -> Result<Self, VaultError> {
        let text = user
            .token_uri
            .as_deref()
            .or(account.token_url.as_deref())
            .ok_or_else(|| {
                failed("neither the credential nor the account says where tokens are refreshed")
            })?;
        Self::at(account, text).await
    }

    /// At this URL.
    pub(crate) async fn at(account: &Account, text: &str) -> Result<Self, VaultError> {
        let mut dial = Url::parse(text).map_err(|_| failed("the token URL is not valid"))?;
        let host = dial.host_str().unwrap_or_default().to_owned();
        if host.is_empty() || !dial.username().is_empty() || dial.password().is_some() {
            return Err(failed("the token URL has no host, or a user name in it"));
        }
        dial.set_fragment(None);
        let port = dial.port_or_known_default().unwrap_or_default();
        let authority = dial
            .port()
            .map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        let ours = account.has_host(&host);
        let target = match &account.connect_to {
            Some(target) if ours => Some(target.clone()),
            _ if dial.scheme() == "http" => Some(format!("{host}:{port}")),
            _ => None,
        };
        let addresses = match target {
            None => None,
            Some(target) => Some(look_up(&target).await?),
        };
        let local = addresses
            .as_deref()
            .is_some_and(|a| a.iter().all(|a| a.ip().is_loopback()));
        match dial.scheme() {
            "https" => {}
            "http" if account.plaintext && local => {}
            _ => return Err(failed("the token URL is not https")),
        }
        // A port in the URL would win over the ports of the addresses.
        if addresses.is_some() && dial.domain().is_some() && dial.set_port(None).is_err() {
            return Err(failed("the token URL is not valid"));
        }
        Ok(Self {
            dial,
            authority,
            host,
            addresses,
            ours,
        })
    }

    pub(crate) fn dial(&self) -> Url {
        self.dial.clone()
    }
    /// What stands in `Host`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// A client for this one request.
    pub(crate) async fn client(&self, account: &Account) -> Result<Client, VaultError> {
        let mut client = Client::builder()
            .tls_backend_preconfigured(self.tls(account).await?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .referer(false)
            .timeout(LIMIT);
        if let Some(addresses) = &self.addresses {
            client = client.resolve_to_addrs(&self.host, addresses);
        }
        client
            .build()
            .map_err(|_| VaultError::Internal("no HTTP client could be made".into()))
    }

    /// The account's CA vouches for its own hosts in the system's stead, and
    /// for others (a login host of the same company) besides it.
    async fn tls(&self, account: &Account) -> Result<ClientConfig, VaultError> {
        let mut roots = RootCertStore::empty();
        if let Some(pem) = &account.ca_pem {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let added = certificate.ok().and_then(|c| roots.add(c).ok());
                added.ok_or_else(|| failed("the account's CA cannot be read"))?;
            }
        }
        if !(self.ours && account.ca_pem.is_some()) {
            let system = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
                .await
                .map_err(|_| VaultError::Internal("the system's CAs could not be read".into()))?;
            roots.add_parsable_certificates(system.certs);
        }
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| VaultError::Internal("TLS could not be set up".into()))
            .map(|config| config.with_root_certificates(roots).with_no_client_auth())
    }
}

async fn look_up(target: &str) -> Result<Vec<SocketAddr>, VaultError> {
    match tokio::net::lookup_host(target)
        .await
        .map(Iterator::collect::<Vec<_>>)
    {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(failed("the address of the token endpoint cannot be found")),
    }
}

/// The form of RFC 6749 section 6, with the client's secret in the body as
/// section 2.3.1 allows: the one way that every provider knows.
fn form(user: &AuthorizedUser) -> Zeroizing<Vec<u8>> {
    let mut fields = vec![
        ("grant_type", b"refresh_token".as_slice()),
        ("refresh_token", user.refresh_token.expose()),
        ("client_id", user.client_id.as_bytes()),
    ];
    fields.extend(
        user.client_secret
            .as_ref()
            .map(|s| ("client_secret", s.expose())),
    );
    // Every byte could become `%00`; the buffer must not grow.
    let size = fields
        .iter()
        .map(|(name, value)| name.len() + 3 * value.len() + 2)
        .sum();
    let mut body = Zeroizing::new(Vec::with_capacity(size));
    for (name, value) in fields {
        if !body.is_empty() {
            body.push(b'&');
        }
        body.extend_from_slice(name.as_bytes());
        body.push(b'=');
        for piece in percent_encode(value, FORM) {
            body.extend_from_slice(piece.as_bytes());
        }
    }
    body
}

pub(crate) async fn whole_body(mut response: Response) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let mut body = Zeroizing::new(Vec::with_capacity(LONGEST_REPLY));
    while let Some(chunk) = response.chunk().await.map_err(|e| explain(&e))? {
        if body.len() + chunk.len() > LONGEST_REPLY {
            return Err(failed("the token endpoint's reply is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The error codes that are known (RFC 6749 sections 4.1.2.1 and 5.2).
const CODES: [&str; 9] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "access_denied",
    "server_error",
    "temporarily_unavailable",
];

fn refusal(status: StatusCode, body: &[u8]) -> VaultError {
    let code = serde_json::from_slice::<Refusal<'_>>(body)
        .ok()
        .and_then(|refusal| CODES.iter().find(|code| refusal.error.0 == **code).copied());
    match code {
        Some("invalid_grant") => {
            failed("the provider no longer accepts the refresh token (invalid_grant)")
        }
        Some(code) => failed(&format!(
            "the token endpoint answered {} ({code})",
            status.as_u16()
        )),
        None => failed(&format!("the token endpoint answered {}", status.as_u16())),
    }
}

/// Which kind of failure it was; the library's text holds URLs.
pub(crate) fn explain(error: &reqwest::Error) -> VaultError {
    if error.is_timeout() {
        failed("the token endpoint did not answer in time")
    } else if certificate_refused(error) {
        failed("the token endpoint's certificate is not trusted")
    } else if error.is_connect() {
        failed("the token endpoint cannot be reached")
    } else {
        failed("the connection to the token endpoint broke off")
    }
}

fn certificate_refused(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(error) = next {
        // `io::Error` does not name the error that it wraps as its source.
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        let tls = inner
            .and_then(|e| e.downcast_ref::<rustls::Error>())
            .or_else(|| error.downcast_ref::<rustls::Error>());
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        next = inner.map_or_else(|| error.source(), |e| Some(e as &(dyn Error + 'static)));
    }
    false
}

pub(crate) fn failed(why: &str) -> VaultError {
    VaultError::OAuth(why.to_owned())
}
