//! An upstream under TLS that says exactly the bytes that a test gives it.

use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, v) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| v.trim())
        })
    }
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }
}

/// What it does with a request: `true` keeps the connection.
pub type Answer = Box<
    dyn for<'a> Fn(Seen, &'a mut dyn Stream) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>
        + Send
        + Sync,
>;

/// How an upstream serves a connection of HTTP/2.
pub type Two = fn(Box<dyn Stream>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

pub struct Upstream {
    pub address: String,
    pub ca_pem: String,
    pub seen: Mutex<Vec<Seen>>,
    pub connections: AtomicUsize,
    answer: Mutex<Arc<Answer>>,
    /// Read the body before answering?
    pub read_body: std::sync::atomic::AtomicBool,
}

/// Always these bytes.
pub fn says(bytes: impl Into<Vec<u8>>) -> Answer {
    let bytes = bytes.into();
    Box::new(move |_, io| {
        let bytes = bytes.clone();
        Box::pin(async move { io.write_all(&bytes).await.is_ok() && io.flush().await.is_ok() })
    })
}

/// These bytes, with a pause between two of them.
pub fn says_slowly(pieces: Vec<Vec<u8>>, pause: Duration) -> Answer {
    Box::new(move |_, io| {
        let pieces = pieces.clone();
        Box::pin(async move {
            for piece in pieces {
                if io.write_all(&piece).await.is_err() || io.flush().await.is_err() {
                    return false;
                }
                tokio::time::sleep(pause).await;
            }
            true
        })
    })
}

pub fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Upstream {
    pub async fn start(names: &[&str], tls: bool) -> Arc<Self> {
        Self::start_with(names, tls, None).await
    }

    /// One that speaks HTTP/2 in this way to who asks for it.
    pub async fn start_with(names: &[&str], tls: bool, two: Option<Two>) -> Arc<Self> {
        let key = KeyPair::generate().unwrap();
        let params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
                .unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        if two.is_some() {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Arc::new(Self {
            address: listener.local_addr().unwrap().to_string(),
            ca_pem: certificate.pem(),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            answer: Mutex::new(Arc::new(says(ok("{}")))),
            read_body: true.into(),
        });
        let server = Arc::clone(&this);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (server, acceptor) = (Arc::clone(&server), acceptor.clone());
                server.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    if let Some(two) = two {
                        if let Ok(io) = acceptor.accept(tcp).await {
                            two(Box::new(io)).await;
                        }
                    } else if tls {
                        if let Ok(mut io) = acceptor.accept(tcp).await {
                            server.serve(&mut io).await;
                        }
                    } else {
                        let mut tcp = tcp;
                        server.serve(&mut tcp).await;
                    }
                });
            }
        });
        this
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }
    pub fn last(&self) -> Seen {
        self.seen
            .lock()
            .unwrap()
            .last()
            .cloned()
            .expect("a request came")
    }
    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    async fn serve(&self, io: &mut dyn Stream) {
        while let Some(seen) = read_request(io, self.read_body.load(Ordering::SeqCst)).await {
            self.seen.lock().unwrap().push(seen.clone());
            let answer = Arc::clone(&*self.answer.lock().unwrap());
            if !answer(seen, io).await {
                return;
            }
        }
    }
}

async fn read_request(io: &mut dyn Stream, with_body: bool) -> Option<Seen> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(io.read_u8().await.ok()?);
    }
    let mut seen = Seen {
        head: String::from_utf8(bytes).unwrap(),
        body: Vec::new(),
    };
    if !with_body {
        return Some(seen);
    }
    if let Some(length) = seen
        .header("content-length")
        .map(|l| l.parse::<usize>().unwrap())
    {
        seen.body = vec![0; length];
        io.read_exact(&mut seen.body).await.ok()?;
    } else if seen.header("transfer-encoding").is_some() {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(io.read_u8().await.ok()?);
            }
            let size =
                usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
            let mut data = vec![0; size + 2];
            io.read_exact(&mut data).await.ok()?;
            seen.body.extend_from_slice(&data[..size]);
            if size == 0 {
                break;
            }
        }
    }
    Some(seen)
}
