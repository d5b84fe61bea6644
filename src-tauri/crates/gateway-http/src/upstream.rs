//! The way to the real host: resolved with suspicion, over verified TLS, one
//! exchange at a time, never retried.
//!
//! A connection is driven by the task that uses it: no hop to another task, and
//! nothing runs on after the stop dropped it.

use crate::Limits;
use crate::body::{Progress, UpBody};
use crate::wire::Io;
use bytes::Bytes;
use countersign_model::{Account, Digest, Scheme};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use std::collections::HashMap;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Servers close idle connections after 5 s and more; what is about to be
/// closed must not be used, or nobody could say whether a request arrived.
const IDLE_LIFE: Duration = Duration::from_secs(4);
const MOST_IDLE: usize = 16;

/// Why a request did not get a whole reply. The text is ours, for the agent and
/// the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failed {
    /// Not one byte left.
    #[error("{0}")]
    NotSent(&'static str),
    /// It left, or may have.
    #[error("{0}")]
    Unknown(&'static str),
    /// The reply held a credential and was cut.
    #[error("the reply held a credential and was cut")]
    HeldCredential,
    /// The agent took no more of the reply.
    #[error("the agent hung up while the reply was sent")]
    AgentGone,
    /// The stop, or the end of the run.
    #[error("the stop cut it")]
    Cut,
}

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
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(Arc::new(config))
}

/// Where a request goes, and on whose behalf: what a connection is kept for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    pub(crate) account: Digest,
    pub(crate) credential: u64,
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The upstream connections of one run.
pub(crate) struct Upstreams {
    roots: Arc<Roots>,
    own_roots: Mutex<HashMap<Digest, Arc<ClientConfig>>>,
    idle: Mutex<HashMap<Route, Vec<(Conn, Instant)>>>,
}

impl Upstreams {
    pub(crate) fn new(roots: Arc<Roots>) -> Self {
        Self { roots, own_roots: Mutex::default(), idle: Mutex::default() }
    }

    /// Sends the request once and waits for the head of its reply.
    pub(crate) async fn send(
        &self,
        route: &Route,
        account: &Account,
        request: Request<UpBody>,
        limits: &Limits,
        progress: &Progress,
    ) -> Result<(Response<()>, Exchange), Failed> {
        let mut request = request;
        // A kept connection may turn out closed when the request is handed to
        // it. hyper then gives the request back unsent, and it goes out once,
        // on a new one.
        if let Some(conn) = self.take_idle(route).await {
            match conn.exchange(request, limits.reply_head, progress).await {
                Ok(reply) => return Ok(reply),
                Err(Unsent::Back(unsent)) => request = unsent,
                Err(Unsent::Failed(failed)) => return Err(failed),
            }
        }
        let conn = match timeout(limits.connect, self.dial(route, account)).await {
            Ok(conn) => conn?,
            Err(_) => return Err(Failed::NotSent("The service could not be reached in time.")),
        };
        conn.exchange(request, limits.reply_head, progress).await.map_err(|e| match e {
            Unsent::Failed(failed) => failed,
            Unsent::Back(_) => Failed::NotSent("The service closed the connection before the request was sent."),
        })
    }

    async fn take_idle(&self, route: &Route) -> Option<Conn> {
        loop {
            let (mut conn, since) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(route)?.pop()?;
            if since.elapsed() < IDLE_LIFE && conn.is_alive().await {
                return Some(conn);
            }
        }
    }

    /// Keeps a connection whose exchange is over on both sides.
    pub(crate) async fn put_back(&self, route: Route, exchange: Exchange) {
        let Some(mut conn) = exchange.into_conn() else { return };
        if conn.is_alive().await && conn.sender.is_ready() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|_, conns| {
                conns.retain(|(_, since)| since.elapsed() < IDLE_LIFE);
                !conns.is_empty()
            });
            let conns = idle.entry(route).or_default();
            if conns.len() < MOST_IDLE {
                conns.push((conn, Instant::now()));
            }
        }
    }

    /// Closes what is kept: the stop, or the end of the run.
    pub(crate) fn close(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn dial(&self, route: &Route, account: &Account) -> Result<Conn, Failed> {
        let tcp = connect(route, account).await?;
        let _ = tcp.set_nodelay(true);
        let wrote = Arc::new(AtomicU64::new(0));
        let io: Io = match route.scheme {
            Scheme::Http => Box::new(tcp),
            Scheme::Https => {
                let config = self.tls(route, account)?;
                let name = ServerName::try_from(route.host.clone())
                    .map_err(|_| Failed::NotSent("The service's name is no host name."))?;
                let tls = tokio_rustls::TlsConnector::from(config)
                    .connect(name, tcp)
                    .await
                    .map_err(|_| Failed::NotSent("The service could not prove over TLS that it is who it should be."))?;
                Box::new(tls)
            }
        };
        let io = TokioIo::new(Counted { io, wrote: Arc::clone(&wrote) });
        let (sender, driver) = Builder::new()
            .max_buf_size(64 << 10)
            .max_headers(200)
            .handshake(io)
            .await
            .map_err(|_| Failed::NotSent("The connection could not be set up."))?;
        Ok(Conn { sender, driver, ended: false, wrote })
    }

    fn tls(&self, route: &Route, account: &Account) -> Result<Arc<ClientConfig>, Failed> {
        const NO_ROOTS: Failed = Failed::NotSent("There is no CA that could vouch for the service.");
        let Some(pem) = &account.ca_pem else { return self.roots.native().ok_or(NO_ROOTS) };
        let mut own = self.own_roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = own.get(&route.account) {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            certificate.ok().and_then(|c| roots.add(c).ok()).ok_or(Failed::NotSent("The account's CA cannot be read."))?;
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
        Some(place) => tokio::net::lookup_host(place.as_str()).await.map_err(|_| UNRESOLVED)?.collect(),
        None => {
            let all = tokio::net::lookup_host((route.host.as_str(), route.port)).await.map_err(|_| UNRESOLVED)?;
            let public: Vec<_> = all.filter(|a| is_public(a.ip())).collect();
            if public.is_empty() {
                return Err(Failed::NotSent("The service's name resolves to a private address, and the account has no connect_to."));
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

/// Counts what is written, so that "not sent" is a fact and no guess.
struct Counted {
    io: Io,
    wrote: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Counted before it is tried: an error may come after some bytes left.
        self.wrote.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A connection with no exchange on it.
struct Conn {
    sender: SendRequest<UpBody>,
    driver: Connection<TokioIo<Counted>, UpBody>,
    ended: bool,
    wrote: Arc<AtomicU64>,
}

enum Unsent {
    /// The request, of which nothing left.
    Back(Request<UpBody>),
    Failed(Failed),
}

impl Conn {
    /// Moves bytes in both directions, as far as that goes now.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended && Pin::new(&mut self.driver).poll(cx).is_ready() {
            self.ended = true;
        }
    }

    /// Whether the other side has neither closed it nor said anything unasked.
    async fn is_alive(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(!self.ended && !self.sender.is_closed())
        })
        .await
    }

    async fn exchange(mut self, request: Request<UpBody>, patience: Duration, progress: &Progress) -> Result<(Response<()>, Exchange), Unsent> {
        let before = self.wrote.load(Ordering::Relaxed);
        let mut reply = pin!(self.sender.try_send_request(request));
        let mut head = pin!(poll_fn(|cx| {
            if let Poll::Ready(reply) = reply.as_mut().poll(cx) {
                return Poll::Ready(reply);
            }
            self.drive(cx);
            reply.as_mut().poll(cx)
        }));
        // The clock runs from the last byte of the request.
        let mut sent = progress.sent.load(Ordering::Relaxed);
        let got = loop {
            match timeout(patience, &mut head).await {
                Ok(got) => break got,
                Err(_) => {
                    let now = progress.sent.load(Ordering::Relaxed);
                    if now == sent {
                        return Err(Unsent::Failed(Failed::Unknown("The service did not answer in time.")));
                    }
                    sent = now;
                }
            }
        };
        match got {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                Ok((Response::from_parts(parts, ()), Exchange { conn: self, body, over: false }))
            }
            Err(mut error) => match error.take_message() {
                Some(unsent) => Err(Unsent::Back(unsent)),
                None if self.wrote.load(Ordering::Relaxed) == before => {
                    Err(Unsent::Failed(Failed::NotSent("The connection broke before the request was sent.")))
                }
                None => Err(Unsent::Failed(Failed::Unknown("The connection broke before the service answered."))),
            },
        }
    }
}

/// A request that is on its way, and the reply that is coming.
pub(crate) struct Exchange {
    conn: Conn,
    body: Incoming,
    over: bool,
}

impl Exchange {
    /// The length that the reply's head promised.
    pub(crate) fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next piece of the reply. Loses nothing when it is not polled again.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending() {
            self.conn.drive(cx);
            frame = Pin::new(&mut self.body).poll_frame(cx);
        }
        self.over |= matches!(frame, Poll::Ready(None));
        frame
    }

    /// The connection, if the reply was read to its end.
    fn into_conn(self) -> Option<Conn> {
        (self.over || self.body.is_end_stream()).then_some(self.conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_dialled() {
        for private in [
            "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1", "172.31.255.255",
            "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
            "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
            "64:ff9b:1::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "2001::1", "2002:7f00:1::", "100::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
