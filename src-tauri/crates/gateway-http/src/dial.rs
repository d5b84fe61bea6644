//! The way to the real host, over verified TLS. The connection itself is made by
//! the broker: to the hosts of the run's accounts, and to nobody else.

use crate::abrupt::Abrupt;
use crate::upstream::{Failed, To};
use crate::wire::Io;
use countersign_broker::{Countersigner, Destination, Line, NotConnected};
use countersign_model::{Digest, Scheme};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::net::TcpStream;

/// The roots that vouch for hosts whose account names no CA of its own.
#[derive(Debug, Default)]
pub(crate) struct Roots(OnceLock<Option<Arc<ClientConfig>>>);

impl Roots {
    /// Reads them, if nobody did.
    pub(crate) fn read(&self) {
        let _ = self.native();
    }

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
    pub(crate) async fn dial<C: Countersigner>(
        &self,
        to: &To<'_, C>,
        upgrades: bool,
    ) -> Result<Dialled, Failed> {
        let To { route, .. } = to;
        let tcp = connect(to).await?;
        if route.scheme == Scheme::Http {
            return Ok(Dialled {
                io: Box::new(tcp),
                two: false,
            });
        }
        let mut config = self.tls(to)?;
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

    fn tls<C: Countersigner>(&self, to: &To<'_, C>) -> Result<Arc<ClientConfig>, Failed> {
        const NO_ROOTS: Failed =
            Failed::NotSent("There is no CA that could vouch for the service.");
        let Some(pem) = &to.account.ca_pem else {
            return self.roots.native().ok_or(NO_ROOTS);
        };
        let mut own = self
            .own_roots
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = own.get(&to.route.account) {
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
        own.insert(to.route.account, Arc::clone(&config));
        Ok(config)
    }
}

async fn connect<C: Countersigner>(to: &To<'_, C>) -> Result<Abrupt, Failed> {
    let destination = Destination {
        account: to.account.id.clone(),
        digest: to.route.account,
        host: to.route.host.clone(),
        port: to.route.port,
    };
    let connected = to.port.connect(to.run, &destination).await;
    let Line { tcp, held } = connected.map_err(|why| {
        Failed::NotSent(match why {
            NotConnected::NotTheirs => {
                "The service is none of this run's accounts any more."
            }
            NotConnected::Unresolved => "The service's name could not be resolved.",
            NotConnected::Private => {
                "The service's name resolves to a private address, and the account has no connect_to."
            }
            NotConnected::TooMany => "This run has too many connections to services open.",
            NotConnected::Unreachable => "The service could not be reached.",
        })
    })?;
    // It came from elsewhere.
    let registered = || {
        tcp.set_nonblocking(true)?;
        tcp.set_nodelay(true)?;
        Abrupt::new(TcpStream::from_std(tcp)?, Some(held))
    };
    registered().map_err(|_| Failed::NotSent("The service could not be reached."))
}
