//! A client that sends exactly the bytes that a test gives it.

use crate::upstream::Stream;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

pub struct Client {
    pub io: Box<dyn Stream>,
    buf: Vec<u8>,
}

/// A reply as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the body came to the end that its framing promised.
    pub whole: bool,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, v) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| v.trim())
        })
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn reason(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no problem document: {self:?}"));
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        body["reason"].as_str().unwrap().to_owned()
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

impl Client {
    pub async fn plain(socket: &Path) -> Self {
        Self {
            io: Box::new(UnixStream::connect(socket).await.unwrap()),
            buf: Vec::new(),
        }
    }

    pub async fn by_port(port: SocketAddr) -> Self {
        Self {
            io: Box::new(TcpStream::connect(port).await.unwrap()),
            buf: Vec::new(),
        }
    }

    /// CONNECT, then TLS with this server name.
    pub async fn tunnel(
        socket: &Path,
        ca_pem: &str,
        host: &str,
        sni: &str,
    ) -> Result<Self, String> {
        Self::tunnel_for(socket, ca_pem, host, sni, b"http/1.1").await
    }

    /// The same, for this version of HTTP.
    pub async fn tunnel_for(
        socket: &Path,
        ca_pem: &str,
        host: &str,
        sni: &str,
        version: &[u8],
    ) -> Result<Self, String> {
        let plain = Self::plain(socket).await;
        plain.into_tunnel(ca_pem, host, sni, version).await
    }

    /// The same, on a connection that is open.
    pub async fn into_tunnel(
        self,
        ca_pem: &str,
        host: &str,
        sni: &str,
        version: &[u8],
    ) -> Result<Self, String> {
        let mut plain = self;
        plain
            .send(format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n").as_bytes())
            .await;
        let head = plain.head().await.ok_or("closed")?;
        if !head.starts_with("HTTP/1.1 200") {
            let body = plain.until_closed().await;
            return Err(format!("{head}{}", String::from_utf8_lossy(&body)));
        }
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![version.to_vec()];
        let name = ServerName::try_from(sni.to_owned()).unwrap();
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, plain.io)
            .await;
        Ok(Self {
            io: Box::new(tls.map_err(|e| e.to_string())?),
            buf: Vec::new(),
        })
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
        self.io.flush().await.unwrap();
    }

    async fn more(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        match timeout(PATIENCE, self.io.read(&mut chunk))
            .await
            .expect("the gateway says nothing")
        {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.buf.extend_from_slice(&chunk[..n]);
                true
            }
        }
    }

    /// The next head, interim ones included.
    pub async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.buf.split_off(at + 4);
                let head = std::mem::replace(&mut self.buf, rest);
                return Some(String::from_utf8(head).unwrap());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// So many bytes, after an upgrade.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buf.len() < length && self.more().await {}
        let rest = self.buf.split_off(length.min(self.buf.len()));
        std::mem::replace(&mut self.buf, rest)
    }

    pub async fn until_closed(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buf)
    }

    /// The next reply; `None` when the connection was closed without one.
    pub async fn reply(&mut self, to_head: bool) -> Option<Reply> {
        let head = self.head().await?;
        let status = head[9..12].parse().unwrap();
        let mut reply = Reply {
            status,
            head,
            body: Vec::new(),
            whole: true,
        };
        if to_head || matches!(status, 100..200 | 204 | 304) {
            return Some(reply);
        }
        if let Some(length) = reply
            .header("content-length")
            .map(|l| l.parse::<usize>().unwrap())
        {
            while self.buf.len() < length {
                if !self.more().await {
                    reply.whole = false;
                    break;
                }
            }
            let rest = self.buf.split_off(length.min(self.buf.len()));
            reply.body = std::mem::replace(&mut self.buf, rest);
        } else if reply.header("transfer-encoding").is_some() {
            loop {
                while !self.buf.windows(2).any(|w| w == b"\r\n") {
                    if !self.more().await {
                        reply.whole = false;
                        return Some(reply);
                    }
                }
                let at = self.buf.windows(2).position(|w| w == b"\r\n").unwrap();
                let size = usize::from_str_radix(std::str::from_utf8(&self.buf[..at]).unwrap(), 16)
                    .unwrap();
                while self.buf.len() < at + 2 + size + 2 {
                    if !self.more().await {
                        reply.whole = false;
                        return Some(reply);
                    }
                }
                reply
                    .body
                    .extend_from_slice(&self.buf[at + 2..at + 2 + size]);
                self.buf.drain(..at + 2 + size + 2);
                if size == 0 {
                    break;
                }
            }
        } else {
            reply.body = self.until_closed().await;
        }
        Some(reply)
    }

    /// Sends one request and reads its reply.
    pub async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Reply {
        self.send(bytes.as_ref()).await;
        self.reply(bytes.as_ref().starts_with(b"HEAD"))
            .await
            .expect("a reply")
    }
}
