//! From this process to the far side: TCP, CONNECT where there is a proxy, TLS,
//! HTTP/1.1.

use bytes::Bytes;
use hyper::Uri;
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

pub(crate) type Fault = Box<dyn Error + Send + Sync>;
pub(crate) type Sender<B> = http1::SendRequest<B>;

/// Bytes both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Names the run's own socket, to go there and not to its port.
pub(crate) const SOCKET: &str = "BENCH_SOCKET";

/// The head of an answer to CONNECT.
const LONGEST_ANSWER: usize = 16 << 10;

#[derive(Clone)]
enum Out {
    Direct,
    /// A proxy on TCP: host and port.
    Proxy(String),
    /// A proxy on a Unix socket.
    Socket(PathBuf),
}

/// Where requests go, and how they get there.
#[derive(Clone)]
pub(crate) struct Way {
    host: String,
    port: u16,
    path: String,
    out: Out,
    tls: TlsConnector,
}

impl Way {
    /// To this URL, as the environment says.
    pub(crate) fn from_environment(url: &str) -> Result<Self, Fault> {
        let url: Uri = url.parse()?;
        let out = if let Some(socket) = env::var_os(SOCKET) {
            Out::Socket(socket.into())
        } else if let Ok(proxy) = env::var("HTTPS_PROXY") {
            Out::Proxy(proxy.trim_start_matches("http://").to_owned())
        } else {
            Out::Direct
        };
        let mut roots = RootCertStore::empty();
        let file = env::var("SSL_CERT_FILE").map_err(|_| "SSL_CERT_FILE names no CA")?;
        for certificate in CertificateDer::pem_file_iter(file)? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            host: url.host().ok_or("the URL has no host")?.to_owned(),
            port: url.port_u16().unwrap_or(443),
            path: url.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
            out,
            tls: TlsConnector::from(Arc::new(tls)),
        })
    }

    /// The value of the `Host` header.
    pub(crate) fn host(&self) -> String {
        if self.port == 443 {
            self.host.clone()
        } else {
            self.authority()
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A connection that is ready for its first request.
    pub(crate) async fn connect<B>(&self) -> Result<Sender<B>, Fault>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Fault>,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(self.open().await?)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// The same, with nothing above TLS.
    pub(crate) async fn open(&self) -> Result<Box<dyn Stream>, Fault> {
        match &self.out {
            Out::Direct => self.secure(tcp(&self.authority()).await?).await,
            Out::Proxy(proxy) => {
                let mut stream = tcp(proxy).await?;
                self.tunnel(&mut stream).await?;
                self.secure(stream).await
            }
            Out::Socket(path) => {
                let mut stream = UnixStream::connect(path).await?;
                self.tunnel(&mut stream).await?;
                self.secure(stream).await
            }
        }
    }

    /// Asks a proxy for a tunnel to the far side.
    async fn tunnel(&self, stream: &mut impl Stream) -> Result<(), Fault> {
        let to = self.authority();
        let ask = format!("CONNECT {to} HTTP/1.1\r\nhost: {to}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await?;
        let mut answer = Vec::new();
        // The proxy says nothing more until TLS begins, so that nothing of what
        // follows is read here.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() > LONGEST_ANSWER || stream.read_buf(&mut answer).await? == 0 {
                break;
            }
        }
        let first = String::from_utf8_lossy(&answer);
        let first = first.lines().next().unwrap_or_default();
        if first.split(' ').nth(1) == Some("200") {
            Ok(())
        } else {
            Err(format!("the proxy answers CONNECT with {first:?}").into())
        }
    }

    async fn secure(&self, stream: impl Stream + 'static) -> Result<Box<dyn Stream>, Fault> {
        let name = ServerName::try_from(self.host.clone())?;
        Ok(Box::new(self.tls.connect(name, stream).await?))
    }
}

async fn tcp(address: &str) -> Result<TcpStream, Fault> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
