//! An HTTPS server for one host name that logs every request.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When its head was read.
    pub at: SystemTime,
    /// The method.
    pub method: String,
    /// The request target as it was sent: path and query.
    pub target: String,
    /// Headers in the order sent, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body; what came before the connection broke, if it broke.
    pub body: Vec<u8>,
    /// The status that was answered.
    pub status: u16,
}

impl Seen {
    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&self.target, |(path, _)| path)
    }
    /// The first value of a query parameter, as sent.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
    /// The only value of a header; `None` when it is absent or repeated.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name);
        let (_, value) = values.next()?;
        if values.next().is_some() {
            None
        } else {
            std::str::from_utf8(value).ok()
        }
    }
    /// Whether `Authorization` is exactly this bearer credential.
    #[must_use]
    pub fn bears(&self, credential: &str) -> bool {
        self.header("authorization")
            .and_then(|v| v.strip_prefix("Bearer "))
            == Some(credential)
    }
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// What an upstream answers.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether it is sent whole.
    pub ending: Ending,
}

/// How a reply ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// With its last byte.
    #[default]
    Whole,
    /// The connection breaks before the body's second half.
    Dies,
    /// It never begins.
    Hangs,
}

impl Reply {
    /// A status without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            ending: Ending::Whole,
        }
    }
    /// A JSON document.
    #[must_use]
    pub fn json(status: u16, content: &Value) -> Self {
        let headers = vec![(
            "content-type".to_owned(),
            "application/json; charset=UTF-8".to_owned(),
        )];
        Self {
            status,
            headers,
            body: content.to_string().into_bytes(),
            ending: Ending::Whole,
        }
    }
    /// The same with one header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
    /// The same with another ending.
    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }
}

type Answer = dyn Fn(&Seen) -> Reply + Send + Sync;

/// A running upstream.
#[derive(Debug)]
pub struct Upstream {
    host: String,
    address: SocketAddr,
    ca_pem: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Serves this host name on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no certificate can be made or no port had.
    pub fn start(
        host: &str,
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_for(&[host], answer)
    }

    /// Serves these host names, of which the first is [`Upstream::host`].
    ///
    /// # Errors
    /// When no certificate can be made or no port had.
    pub fn start_for(
        hosts: &[&str],
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let host = *hosts.first().ok_or(io::ErrorKind::InvalidInput)?;
        let (ca_pem, config) = certificates(hosts).map_err(io::Error::other)?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let log = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else {
                    return;
                };
                tokio::select! {
                    () = accept(listener, config, Arc::new(answer), log) => {}
                    _ = ended => {}
                }
            });
        });
        Ok(Self {
            host: host.to_owned(),
            address,
            ca_pem,
            seen,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// The host name that its certificate is for.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
    /// Where it really is: for `connect_to`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// The certificate of its CA: for `ca`.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
    /// How many requests there were so far.
    #[must_use]
    pub fn count(&self) -> usize {
        hold(&self.seen).len()
    }
    /// The requests after the first so many, in the order answered.
    #[must_use]
    pub fn seen_after(&self, first: usize) -> Vec<Seen> {
        hold(&self.seen).iter().skip(first).cloned().collect()
    }
    /// Every request so far, in the order answered.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        hold(&self.seen).clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            let _already_ended = end.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _its_panic_was_printed = thread.join();
        }
    }
}

/// Locks; a panic elsewhere in a test does not hide what was counted.
pub(super) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    answer: Arc<Answer>,
    log: Arc<Mutex<Vec<Seen>>>,
) {
    let acceptor = TlsAcceptor::from(config);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, answer, log) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&log));
        tokio::spawn(async move {
            // A client that does not trust the CA ends here, as it should.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(|request| exchange(request, &*answer, &log));
            // Clients may hang up whenever they like.
            let _hung_up = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn exchange(
    request: hyper::Request<Incoming>,
    answer: &Answer,
    log: &Mutex<Vec<Seen>>,
) -> Result<hyper::Response<Sent>, Infallible> {
    let at = SystemTime::now();
    let (head, mut body) = request.into_parts();
    let mut content = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            content.extend_from_slice(data);
        }
    }
    let target = head
        .uri
        .path_and_query()
        .map_or_else(|| head.uri.to_string(), ToString::to_string);
    let headers = head
        .headers
        .iter()
        .map(|(n, v)| (n.as_str().to_owned(), v.as_bytes().to_vec()))
        .collect();
    let mut seen = Seen {
        at,
        method: head.method.to_string(),
        target,
        headers,
        body: content,
        status: 0,
    };
    let reply = answer(&seen);
    seen.status = reply.status;
    hold(log).push(seen);
    let mut response = hyper::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    if reply.ending == Ending::Hangs {
        std::future::pending::<()>().await;
    }
    let response = response.body(Sent::new(reply.body, reply.ending));
    Ok(response.unwrap_or_else(|_| {
        let text = b"the test's reply is no valid response".to_vec();
        let mut broken = hyper::Response::new(Sent::new(text, Ending::Whole));
        *broken.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        broken
    }))
}

/// A reply's body on its way.
struct Sent {
    length: u64,
    left: Vec<Bytes>,
    dies: bool,
}

impl Sent {
    fn new(body: Vec<u8>, ending: Ending) -> Self {
        let dies = ending == Ending::Dies;
        let length = body.len() as u64;
        let mut bytes = Bytes::from(body);
        if dies {
            bytes.truncate(bytes.len() / 2);
        }
        let left = if bytes.is_empty() {
            Vec::new()
        } else {
            vec![bytes]
        };
        Self { length, left, dies }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(bytes) = self.left.pop() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if !self.dies {
            return Poll::Ready(None);
        }
        // Once more around, so that what came before is flushed.
        if self.length > 0 {
            self.length = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && !self.dies
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

/// A CA and a certificate of it for the hosts, made anew for each upstream.
fn certificates(
    hosts: &[&str],
) -> Result<(String, Arc<ServerConfig>), Box<dyn Error + Send + Sync>> {
    let host = hosts.first().copied().unwrap_or_default();
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name
        .push(DnType::CommonName, format!("Test CA of {host}"));
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(hosts.iter().map(|&h| h.to_owned()).collect::<Vec<_>>())?;
    leaf.distinguished_name.push(DnType::CommonName, host);
    leaf.use_authority_key_identifier_extension = true;
    let certificate = leaf.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok((ca_pem, Arc::new(config)))
}
