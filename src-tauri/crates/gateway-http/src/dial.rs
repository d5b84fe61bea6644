//! The way to the real host: resolved with suspicion, over verified TLS.

use crate::upstream::{Failed, Route};
use crate::wire::Io;
use countersign_model::{Account, Digest, Scheme};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The roots that vouch for hosts whose account names no CA of its own.
#[derive(Debug, Default)]
pub(crate) struct Roots(OnceLock<Option<Arc<ClientConfig>>>);

impl Roots {
    /// The system's roots, read once.
    fn native(&self) -> Option<Arc<ClientConfig>> {
        self.0
            .get_or_init(|| {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                (!roots.is_empty()).then(|| client_config(roots)).flatten()
            })
            .clone()
    }
}

fn client_config(roots: RootCertStore) -> Option<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Some(Arc::new(config))
}

/// A connection, and which HTTP was agreed on.
pub(crate) struct Dialled {
    pub(crate) io: Io,
    /// HTTP/2, not 1.1.
    pub(crate) two: bool,
}

/// Opens connections, and knows which CAs vouch for whom.
pub(crate) struct Dialler {
    roots: Arc<Roots>,
    /// Of accounts that name their own, by the digest of the account.
    own_roots: Mutex<HashMap<Digest, Arc<ClientConfig>>>,
}

impl Dialler {
    pub(crate) fn new(roots: Arc<Roots>) -> Self {
        Self {
            roots,
            own_roots: Mutex::default(),
        }
    }

    /// Opens a connection to the route's host, and to nobody else.
    /// `upgrades`: to become a WebSocket, so by HTTP/1.1.
    pub(crate) async fn dial(
        &self,
        route: &Route,
        account: &Account,
        upgrades: bool,
    ) -> Result<Dialled, Failed> {
        let tcp = connect(route, account).await?;
        let _ = tcp.set_nodelay(true);
        if route.scheme == Scheme::Http {
            return Ok(Dialled {
                io: Box::new(tcp),
                two: false,
            });
        }
        let mut config = self.tls(route, account)?;
        if upgrades {
            Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let name = ServerName::try_from(route.host.clone())
            .map_err(|_| Failed::NotSent("The service's name is no host name."))?;
        let tls = tokio_rustls::TlsConnector::from(config)
            .connect(name, tcp)
            .await;
        let tls = tls.map_err(|_| {
            Failed::NotSent("The service could not prove over TLS that it is who it should be.")
        })?;
        Ok(Dialled {
            two: tls.get_ref().1.alpn_protocol() == Some(b"h2"),
            io: Box::new(tls),
        })
    }

    fn tls(&self, route: &Route, account: &Account) -> Result<Arc<ClientConfig>, Failed> {
        const NO_ROOTS: Failed =
            Failed::NotSent("There is no CA that could vouch for the service.");
        let Some(pem) = &account.ca_pem else {
            return self.roots.native().ok_or(NO_ROOTS);
        };
        let mut own = self
            .own_roots
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = own.get(&route.account) {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            certificate
                .ok()
                .and_then(|c| roots.add(c).ok())
                .ok_or(Failed::NotSent("The account's CA cannot be read."))?;
        }
        if roots.is_empty() {
            return Err(NO_ROOTS);
        }
        let config = client_config(roots).ok_or(NO_ROOTS)?;
        own.insert(route.account, Arc::clone(&config));
        Ok(config)
    }
}

/// Resolves and connects. A name that resolves to this machine or a private
/// network is refused (DNS rebinding), unless the human configured where the
/// host really is; the address that was checked is the one that is used.
async fn connect(route: &Route, account: &Account) -> Result<TcpStream, Failed> {
    const UNRESOLVED: Failed = Failed::NotSent("The service's name could not be resolved.");
    let addresses: Vec<SocketAddr> = match &account.connect_to {
        Some(place) => tokio::net::lookup_host(place.as_str())
            .await
            .map_err(|_| UNRESOLVED)?
            .collect(),
        None => {
            let all = tokio::net::lookup_host((route.host.as_str(), route.port))
                .await
                .map_err(|_| UNRESOLVED)?;
            let public: Vec<_> = all.filter(|a| is_public(a.ip())).collect();
            if public.is_empty() {
                return Err(Failed::NotSent(
                    "The service's name resolves to a private address, and the account has no connect_to.",
                ));
            }
            public
        }
    };
    for address in addresses {
        if let Ok(Ok(tcp)) = timeout(Duration::from_secs(4), TcpStream::connect(address)).await {
            return Ok(tcp);
        }
    }
    Err(Failed::NotSent("The service could not be reached."))
}

/// Whether an address is on the public internet (IANA special-purpose
/// registries), seen through every way of writing IPv4 inside IPv6.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let embedded = |hi: u16, lo: u16| Ipv4Addr::from(u32::from(hi) << 16 | u32::from(lo));
    match s {
        // Unspecified, loopback, IPv4-compatible, IPv4-mapped.
        [0, 0, 0, 0, 0, 0 | 0xffff, hi, lo] => s[5] == 0xffff && is_public_v4(embedded(hi, lo)),
        // NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0, hi, lo] => is_public_v4(embedded(hi, lo)),
        // Teredo, ORCHID, documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // 6to4.
        [0x2002, hi, lo, ..] => is_public_v4(embedded(hi, lo)),
        // Everything else that is global unicast.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_dialled() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "100::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
