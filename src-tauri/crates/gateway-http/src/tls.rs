//! Where an agent's TLS ends: here, as a host of the run's accounts and sites.

use crate::refuse::{No, reject};
use crate::run::Run;
use crate::wire::{Connection, Io};
use bytes::{Buf as _, Bytes};
use countersign_broker::Countersigner;
use countersign_model::{Foreign, ReasonCode, RequestId};
use rustls::server::Acceptor;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::LazyConfigAcceptor;

/// The alert `access_denied`, fatal, as a record of TLS 1.2 in the clear, which
/// every client shows by its name: "the sender decided not to proceed". Where the
/// run's CA vouches for nothing there is no other channel. Source: RFC 8446
/// sections 5.1 and 6.2.
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// Which HTTP was agreed on.
pub(crate) enum Version {
    One,
    Two,
}

/// Ends TLS as the host, or refuses it for the reason that there is none. `None`
/// when it does not come about; what can be said of that is in the record, under
/// `target`, and in the alert.
pub(crate) async fn end<C: Countersigner>(
    run: &Run<C>,
    io: Rewound,
    id: &RequestId,
    host: Result<&str, No>,
    target: Foreign,
) -> Option<(Io, Version)> {
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), io);
    let Ok(hello) = (&mut acceptor).await else {
        // Not closed before it is recorded.
        let _open = acceptor.take_io();
        let detail = "what came through the tunnel was not TLS";
        reject(run, id, target, ReasonCode::Unsupported, detail).await;
        return None;
    };
    let named = hello
        .client_hello()
        .server_name()
        .map(crate::normalise::authority);
    let refused = match host {
        Err(no) => Err(no),
        Ok(host) => match named {
            None => Ok(host),
            Some(Ok(name)) if name.host == host && name.port.is_none() => Ok(host),
            Some(_) => Err(No::because(
                ReasonCode::Malformed,
                "the server name of TLS is not the host that was connected to",
            )),
        },
    };
    let host = match refused {
        Ok(host) => host,
        Err(no) => {
            if let No::Ours { reason, detail } = no {
                reject(run, id, target, reason, &detail).await;
            }
            deny(Box::new(hello.io)).await;
            return None;
        }
    };
    let config = run.ca.server_config(host).ok()?;
    let tls = hello.into_stream(config).await.ok()?;
    let version = match tls.get_ref().1.alpn_protocol() {
        Some(b"h2") => Version::Two,
        _ => Version::One,
    };
    Some((Box::new(tls), version))
}

/// Says so, to a client that speaks TLS, and closes.
pub(crate) async fn deny(io: Io) {
    let mut agent = Connection::new(io);
    if agent.writer.send(&ACCESS_DENIED).await.is_ok() {
        agent.close().await;
    }
}

/// A stream of which some was read already.
pub(crate) struct Rewound {
    read: Bytes,
    io: Io,
}

impl Rewound {
    pub(crate) const fn new(read: Bytes, io: Io) -> Self {
        Self { read, io }
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let take = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..take]);
        self.read.advance(take);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
