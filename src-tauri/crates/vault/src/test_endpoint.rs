//! A token endpoint on loopback, behind TLS with a CA of its own.

use countersign_model::{Account, CredentialKind, Environment, HostPattern, Provider};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

pub(crate) const HOST: &str = "login.corp.example";

/// What it saw and where it listens.
pub(crate) struct TokenEndpoint {
    pub(crate) port: u16,
    pub(crate) ca_pem: String,
    pub(crate) hits: Arc<AtomicUsize>,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

/// From the number of the request (the first is 1) to the whole HTTP reply.
pub(crate) type Answer = fn(usize) -> String;

/// A reply with a JSON body.
pub(crate) fn json(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

impl TokenEndpoint {
    pub(crate) async fn start(tls: bool, delay: Duration, answer: Answer) -> Self {
        let mut ca = CertificateParams::new(vec![]).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Issuer::new(ca.clone(), KeyPair::generate().unwrap());
        let ca_pem = ca.self_signed(issuer.key()).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![HOST.to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hits = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(vec![]));
        let (count, seen) = (Arc::clone(&hits), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, count, seen) =
                    (acceptor.clone(), Arc::clone(&count), Arc::clone(&seen));
                tokio::spawn(async move {
                    if tls {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, &count, &seen, delay, answer).await;
                        }
                    } else {
                        serve(stream, &count, &seen, delay, answer).await;
                    }
                });
            }
        });
        Self {
            port,
            ca_pem,
            hits,
            requests,
        }
    }

    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    /// An account whose own host is this endpoint.
    pub(crate) fn account(&self) -> Account {
        Account {
            connect_to: Some(format!("127.0.0.1:{}", self.port)),
            ca_pem: Some(self.ca_pem.clone()),
            token_url: Some(format!("https://{HOST}/token")),
            ..account(CredentialKind::Oauth2)
        }
    }
}

pub(crate) fn account(credential: CredentialKind) -> Account {
    Account {
        id: "mail".parse().unwrap(),
        provider: Provider(Provider::PLAIN.into()),
        hosts: vec![HostPattern::new(HOST).unwrap()],
        port: 443,
        environment: Environment::default(),
        tags: vec![],
        credential,
        connect_to: None,
        ca_pem: None,
        plaintext: false,
        effects: vec![],
        forward_headers: vec![],
        token_url: None,
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    hits: &AtomicUsize,
    seen: &Mutex<Vec<String>>,
    delay: Duration,
    answer: Answer,
) {
    let mut request = vec![];
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "))
                .unwrap_or("0");
            if body.len() >= length.parse().unwrap() {
                break;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => request.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    seen.lock()
        .unwrap()
        .push(String::from_utf8_lossy(&request).into_owned());
    let number = hits.fetch_add(1, Ordering::SeqCst) + 1;
    tokio::time::sleep(delay).await;
    let _ = stream.write_all(answer(number).as_bytes()).await;
    let _ = stream.shutdown().await;
}
