//! Exchanges with the real host: one at a time on a connection, never retried.
//!
//! A connection is driven by the task that uses it: no hop to another task, and
//! nothing runs on after the stop dropped it.

use crate::Limits;
use crate::body::{Progress, UpBody};
use crate::dial::{Dialler, Roots};
use crate::wire::Io;
use bytes::Bytes;
use countersign_model::{Account, Digest, Scheme};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
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

/// The upstream connections of one run.
pub(crate) struct Upstreams {
    dialler: Dialler,
    idle: Mutex<HashMap<Route, Vec<(Conn, Instant)>>>,
}

impl Upstreams {
    pub(crate) fn new(roots: Arc<Roots>) -> Self {
        Self {
            dialler: Dialler::new(roots),
            idle: Mutex::default(),
        }
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
                Err(Unsent::Back(unsent)) => request = *unsent,
                Err(Unsent::Failed(failed)) => return Err(failed),
            }
        }
        let conn = match timeout(limits.connect, self.dial(route, account)).await {
            Ok(conn) => conn?,
            Err(_) => return Err(Failed::NotSent("The service could not be reached in time.")),
        };
        conn.exchange(request, limits.reply_head, progress)
            .await
            .map_err(|e| match e {
                Unsent::Failed(failed) => failed,
                Unsent::Back(_) => Failed::NotSent(
                    "The service closed the connection before the request was sent.",
                ),
            })
    }

    async fn take_idle(&self, route: &Route) -> Option<Conn> {
        loop {
            let (mut conn, since) = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
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
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    async fn dial(&self, route: &Route, account: &Account) -> Result<Conn, Failed> {
        let io = self.dialler.dial(route, account).await?;
        let wrote = Arc::new(AtomicU64::new(0));
        let io = TokioIo::new(Counted {
            io,
            wrote: Arc::clone(&wrote),
        });
        let (sender, driver) = Builder::new()
            .max_buf_size(64 << 10)
            .max_headers(200)
            .handshake(io)
            .await
            .map_err(|_| Failed::NotSent("The connection could not be set up."))?;
        Ok(Conn {
            sender,
            driver,
            ended: false,
            wrote,
        })
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

/// A connection with no exchange on it.
struct Conn {
    sender: SendRequest<UpBody>,
    driver: Connection<TokioIo<Counted>, UpBody>,
    ended: bool,
    wrote: Arc<AtomicU64>,
}

enum Unsent {
    /// The request, of which nothing left.
    Back(Box<Request<UpBody>>),
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

    async fn exchange(
        mut self,
        request: Request<UpBody>,
        patience: Duration,
        progress: &Progress,
    ) -> Result<(Response<()>, Exchange), Unsent> {
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
                        return Err(Unsent::Failed(Failed::Unknown(
                            "The service did not answer in time.",
                        )));
                    }
                    sent = now;
                }
            }
        };
        match got {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                Ok((
                    Response::from_parts(parts, ()),
                    Exchange {
                        conn: self,
                        body,
                        over: false,
                    },
                ))
            }
            Err(mut error) => match error.take_message() {
                Some(unsent) => Err(Unsent::Back(Box::new(unsent))),
                None if self.wrote.load(Ordering::Relaxed) == before => Err(Unsent::Failed(
                    Failed::NotSent("The connection broke before the request was sent."),
                )),
                None => Err(Unsent::Failed(Failed::Unknown(
                    "The connection broke before the service answered.",
                ))),
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
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
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
