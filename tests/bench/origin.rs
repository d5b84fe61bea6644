//! The far side: a small HTTPS server on one thread, that knows what it saw.
//!
//! `GET …/issues/N` is answered with N bytes; a POST with how many bytes came.

use crate::bulk::Zeros;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The names that it answers for: its own, and those of the account.
const NAMES: [&str; 3] = ["localhost", "api.github.com", "uploads.github.com"];

/// A CA, as PEM: certificate and key.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.distinguished_name.push(DnType::CommonName, name);
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = ca.self_signed(&key)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self {
            issuer: Issuer::new(ca, key),
            certificate,
            key: key_pem,
        })
    }
}

/// A running origin; it serves until the program ends.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    /// What vouches for it.
    pub(crate) ca_pem: String,
    bearing: Arc<AtomicU64>,
}

impl Origin {
    /// Serves on a free port of 127.0.0.1 and counts who bears this credential.
    pub(crate) fn start(credential: &str) -> io::Result<Self> {
        let (ca_pem, tls) = certificates().map_err(io::Error::other)?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let bearing = Arc::new(AtomicU64::new(0));
        let seen = Arc::new(Seen {
            authorization: format!("Bearer {credential}"),
            bearing: Arc::clone(&bearing),
            small: Bytes::from(vec![b'0'; crate::SMALL]),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("origin".into())
            .spawn(move || runtime.block_on(accept(listener, TlsAcceptor::from(tls), seen)))?;
        Ok(Self {
            address,
            ca_pem,
            bearing,
        })
    }

    /// How many requests bore the credential so far.
    pub(crate) fn bearing(&self) -> u64 {
        self.bearing.load(Ordering::Relaxed)
    }
}

struct Seen {
    authorization: String,
    bearing: Arc<AtomicU64>,
    small: Bytes,
}

async fn accept(listener: std::net::TcpListener, tls: TlsAcceptor, seen: Arc<Seen>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (tls, seen) = (tls.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let service = service_fn(|request| answer(request, &seen));
            // Clients may hang up whenever they like.
            let _hung_up = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: &Seen,
) -> Result<Response<Either<Full<Bytes>, Zeros>>, Infallible> {
    let authorization = request.headers().get(header::AUTHORIZATION);
    if authorization.is_some_and(|a| a.as_bytes() == seen.authorization.as_bytes()) {
        seen.bearing.fetch_add(1, Ordering::Relaxed);
    }
    let body = if request.method() == Method::POST {
        let mut body = request.into_body();
        let mut arrived = 0;
        while let Some(Ok(frame)) = body.frame().await {
            arrived += frame.data_ref().map_or(0, Bytes::len);
        }
        Either::Left(Full::from(arrived.to_string()))
    } else {
        let wanted = request.uri().path().rsplit('/').next();
        match wanted.and_then(|n| n.parse().ok()) {
            Some(n) if n != crate::SMALL as u64 => Either::Right(Zeros::new(n)),
            _ => Either::Left(Full::new(seen.small.clone())),
        }
    };
    let mut response = Response::new(body);
    for (name, value) in [
        (header::CONTENT_TYPE, "application/json"),
        // A proxy that answers from a cache would be measured for something else.
        (header::CACHE_CONTROL, "private, no-store"),
    ] {
        response
            .headers_mut()
            .insert(name, header::HeaderValue::from_static(value));
    }
    Ok(response)
}

/// What vouches for a far side that has these names, as PEM, and its TLS.
pub(crate) fn certificates() -> Result<(String, Arc<ServerConfig>), Box<dyn Error + Send + Sync>> {
    let ca = Ca::new("CA of the origin")?;
    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(NAMES.map(str::to_owned).to_vec())?;
    leaf.distinguished_name.push(DnType::CommonName, NAMES[0]);
    leaf.use_authority_key_identifier_extension = true;
    let certificate = leaf.signed_by(&key, &ca.issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok((ca.certificate, Arc::new(config)))
}
