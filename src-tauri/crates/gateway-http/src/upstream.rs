//! Exchanges with the real host: one at a time on a connection, never retried,
//! by HTTP/2 where the host prefers it and by HTTP/1.1 elsewhere.
//!
//! A connection is driven by the task that uses it: no hop to another task, and
//! nothing runs on after the stop dropped it.

mod one;
mod two;

use crate::Limits;
use crate::body::{Progress, UpBody};
use crate::dial::{Dialler, Roots};
use crate::wire::Io;
use bytes::Bytes;
use countersign_broker::Countersigner;
use countersign_model::{Account, Digest, RunId, Scheme};
use http::{Request, Response};
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
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

/// Where a request goes, and on whose behalf: what a connection is kept for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    pub(crate) account: Digest,
    pub(crate) credential: u64,
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Where a request goes, and who connects it there.
pub(crate) struct To<'a, C: Countersigner> {
    pub(crate) route: Route,
    pub(crate) account: &'a Account,
    pub(crate) port: &'a C,
    pub(crate) run: &'a RunId,
}

/// The upstream connections of one run.
pub(crate) struct Upstreams {
    dialler: Dialler,
    /// By the thread whose event loop they belong to: used on another, each of
    /// their bytes would wake both.
    idle: Mutex<HashMap<ThreadId, Idle>>,
}

/// Connections by where they go, each with the time since when it idles.
type Idle = HashMap<Route, Vec<(Conn, Instant)>>;

impl Upstreams {
    pub(crate) fn new(roots: Arc<Roots>) -> Self {
        Self {
            dialler: Dialler::new(roots),
            idle: Mutex::default(),
        }
    }

    /// Sends the request once and waits for the head of its reply.
    pub(crate) async fn send<C: Countersigner>(
        &self,
        to: &To<'_, C>,
        request: Request<UpBody>,
        limits: &Limits,
        progress: &Progress,
    ) -> Result<(Response<()>, Exchange), Failed> {
        let mut request = request;
        // A kept connection may turn out closed when the request is handed to
        // it. hyper then gives the request back unsent, and it goes out once,
        // on a new one.
        if let Some(conn) = self.take_idle(&to.route).await {
            match conn.exchange(request, limits.reply_head, progress).await {
                Ok(reply) => return Ok(reply),
                Err(Unsent::Back(unsent)) => request = *unsent,
                Err(Unsent::Failed(failed)) => return Err(failed),
            }
        }
        let conn = self.dial_in_time(to, limits, false).await?;
        let sent = conn.exchange(request, limits.reply_head, progress).await;
        sent.map_err(Failed::from)
    }

    /// The same for a request that is to become a WebSocket: on a connection of
    /// its own, which is not kept.
    pub(crate) async fn send_to_upgrade<C: Countersigner>(
        &self,
        to: &To<'_, C>,
        request: Request<UpBody>,
        limits: &Limits,
        progress: &Progress,
    ) -> Result<(Response<()>, Exchange), Failed> {
        let conn = self.dial_in_time(to, limits, true).await?;
        let sent = conn.exchange(request, limits.reply_head, progress).await;
        sent.map_err(Failed::from)
    }

    async fn dial_in_time<C: Countersigner>(
        &self,
        to: &To<'_, C>,
        limits: &Limits,
        upgrades: bool,
    ) -> Result<Conn, Failed> {
        timeout(limits.connect, self.dial(to, upgrades))
            .await
            .unwrap_or(Err(Failed::NotSent(
                "The service could not be reached in time.",
            )))
    }

    async fn take_idle(&self, route: &Route) -> Option<Conn> {
        loop {
            let (mut conn, since) = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_mut(&thread::current().id())?
                .get_mut(route)?
                .pop()?;
            if since.elapsed() < IDLE_LIFE && conn.is_alive().await {
                return Some(conn);
            }
        }
    }

    /// Keeps a connection whose exchange is over on both sides.
    pub(crate) async fn put_back(&self, route: Route, exchange: Exchange) {
        let Some(mut conn) = exchange.into_conn() else {
            return;
        };
        if conn.is_alive().await {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            for idle in idle.values_mut() {
                idle.retain(|_, conns| {
                    conns.retain(|(_, since)| since.elapsed() < IDLE_LIFE);
                    !conns.is_empty()
                });
            }
            let here = idle.entry(thread::current().id()).or_default();
            let conns = here.entry(route).or_default();
            if conns.len() < MOST_IDLE {
                conns.push((conn, Instant::now()));
            }
        }
    }

    /// Closes what is kept: the stop, or the end of the run.
    pub(crate) fn close(&self) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    async fn dial<C: Countersigner>(&self, to: &To<'_, C>, upgrades: bool) -> Result<Conn, Failed> {
        let dialled = self.dialler.dial(to, upgrades).await?;
        let wrote = Arc::new(AtomicU64::new(0));
        let io = Counted {
            io: dialled.io,
            wrote: Arc::clone(&wrote),
        };
        if dialled.two {
            let place = (to.route.host.clone(), to.route.port);
            return Ok(Conn::Two(two::Conn::open(io, wrote, place).await?));
        }
        Ok(Conn::One(one::Conn::open(io, wrote).await?))
    }
}

/// A connection with no exchange on it.
#[allow(
    clippy::large_enum_variant,
    reason = "there are few, and a box costs each request"
)]
enum Conn {
    One(one::Conn),
    Two(two::Conn),
}

enum Unsent {
    /// The request, of which nothing left.
    Back(Box<Request<UpBody>>),
    Failed(Failed),
}

impl From<Unsent> for Failed {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::Failed(failed) => failed,
            Unsent::Back(_) => {
                Self::NotSent("The service closed the connection before the request was sent.")
            }
        }
    }
}

impl Conn {
    /// Whether it can take a request: the other side has neither closed it nor
    /// said anything unasked.
    async fn is_alive(&mut self) -> bool {
        match self {
            Self::One(one) => one.is_alive().await,
            Self::Two(two) => two.is_alive().await,
        }
    }

    async fn exchange(
        self,
        request: Request<UpBody>,
        patience: Duration,
        progress: &Progress,
    ) -> Result<(Response<()>, Exchange), Unsent> {
        match self {
            Self::One(one) => {
                let (head, exchange) = one.exchange(request, patience, progress).await?;
                Ok((head, Exchange::One(exchange)))
            }
            Self::Two(two) => {
                let (head, exchange) = two.exchange(request, patience, progress).await?;
                Ok((head, Exchange::Two(exchange)))
            }
        }
    }
}

/// A connection that has become something else than HTTP.
pub(crate) struct Upgraded {
    pub(crate) io: Io,
    /// What was read of it already.
    pub(crate) read: Bytes,
}

/// The connection broke before the reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broke;

/// A request that is on its way, and the reply that is coming.
#[allow(
    clippy::large_enum_variant,
    reason = "there are few, and a box costs each request"
)]
pub(crate) enum Exchange {
    One(one::Exchange),
    Two(two::Exchange),
}

impl Exchange {
    /// The length that the reply's head promised.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::One(one) => one.length(),
            Self::Two(two) => two.length(),
        }
    }

    /// The next piece of the reply; trailers are passed over. Loses nothing when
    /// it is not polled again.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broke>>> {
        match self {
            Self::One(one) => one.poll_piece(cx),
            Self::Two(two) => two.poll_piece(cx),
        }
    }

    /// The bare connection, after a 101.
    pub(crate) async fn into_upgraded(self) -> Option<Upgraded> {
        match self {
            Self::One(one) => one.into_upgraded().await,
            Self::Two(_) => None,
        }
    }

    /// The connection, if both sides were heard to their end.
    fn into_conn(self) -> Option<Conn> {
        match self {
            Self::One(one) => one.into_conn().map(Conn::One),
            Self::Two(two) => two.into_conn().map(Conn::Two),
        }
    }
}

/// Waits for a reply's head, by a clock that runs from the last byte of the
/// request.
async fn patiently<T>(
    mut head: Pin<&mut impl Future<Output = T>>,
    patience: Duration,
    progress: &Progress,
) -> Result<T, Unsent> {
    let mut sent = progress.sent.load(Ordering::Relaxed);
    loop {
        if let Ok(got) = timeout(patience, &mut head).await {
            return Ok(got);
        }
        let now = progress.sent.load(Ordering::Relaxed);
        if now == sent {
            return Err(Unsent::Failed(Failed::Unknown(
                "The service did not answer in time.",
            )));
        }
        sent = now;
    }
}

/// Counts what is written, so that "not sent" is a fact and no guess.
struct Counted {
    io: Io,
    wrote: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
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
