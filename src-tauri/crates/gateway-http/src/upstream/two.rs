//! One exchange at a time by HTTP/2, by `h2`. Connections are pooled like those
//! of HTTP/1.1, not shared by several requests: what is cut then ends nothing
//! else, and nothing runs in another task.

use super::{Broke, Counted, Failed, Unsent, patiently};
use crate::body::{Progress, UpBody};
use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::uri::{Authority, Parts, Scheme, Uri};
use http::{Request, Response, header};
use http_body::Body as _;
use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// What may be under way to us: at most this much of a reply lies in memory.
const WINDOW: u32 = 1 << 20;
const LARGEST_HEAD: u32 = 64 << 10;

/// A connection with no exchange on it.
pub(super) struct Conn {
    sender: SendRequest<Bytes>,
    driver: Connection<Counted, Bytes>,
    ended: bool,
    wrote: Arc<AtomicU64>,
    authority: Authority,
}

impl Conn {
    pub(super) async fn open(
        io: Counted,
        wrote: Arc<AtomicU64>,
        (host, port): (String, u16),
    ) -> Result<Self, Failed> {
        const CANNOT: Failed = Failed::NotSent("The connection could not be set up.");
        let authority = if port == 443 {
            host
        } else {
            format!("{host}:{port}")
        };
        let (sender, driver) = Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(LARGEST_HEAD)
            .max_send_buffer_size(WINDOW as usize)
            .handshake(io)
            .await
            .map_err(|_| CANNOT)?;
        Ok(Self {
            sender,
            driver,
            ended: false,
            wrote,
            authority: Authority::try_from(authority).map_err(|_| CANNOT)?,
        })
    }

    /// Moves bytes in both directions, as far as that goes now.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended && Pin::new(&mut self.driver).poll(cx).is_ready() {
            self.ended = true;
        }
    }

    pub(super) async fn is_alive(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            let ready = matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())));
            Poll::Ready(!self.ended && ready)
        })
        .await
    }

    pub(super) async fn exchange(
        mut self,
        mut request: Request<UpBody>,
        patience: Duration,
        progress: &Progress,
    ) -> Result<(Response<()>, Exchange), Unsent> {
        let is_ready = poll_fn(|cx| {
            self.drive(cx);
            self.sender.poll_ready(cx).map(|ready| ready.is_ok())
        });
        if !patiently(pin!(is_ready), patience, progress).await? {
            return Err(Unsent::Back(Box::new(request)));
        }
        if self.to_http2(&mut request).is_none() {
            return Err(Unsent::Failed(Failed::NotSent(
                "The request cannot be put together.",
            )));
        }
        let before = self.wrote.load(Ordering::Relaxed);
        let (parts, body) = request.into_parts();
        let ends = body.is_end_stream();
        let sent = self
            .sender
            .send_request(Request::from_parts(parts, ()), ends);
        let Ok((response, stream)) = sent else {
            return Err(Unsent::Failed(Failed::NotSent(
                "The service closed the connection before the request was sent.",
            )));
        };
        let mut sending = (!ends).then(|| Sending {
            body,
            stream,
            piece: Bytes::new(),
        });
        let mut response = pin!(response);
        let head = poll_fn(|cx| {
            self.drive(cx);
            send(&mut sending, cx);
            let got = response.as_mut().poll(cx);
            if got.is_pending() {
                // What was just queued is to leave now.
                self.drive(cx);
                return response.as_mut().poll(cx);
            }
            got
        });
        match patiently(pin!(head), patience, progress).await? {
            Ok(reply) => {
                let (parts, body) = reply.into_parts();
                let length = parts
                    .headers
                    .get(header::CONTENT_LENGTH)
                    .and_then(|value| value.to_str().ok()?.parse().ok());
                let exchange = Exchange {
                    conn: self,
                    sending,
                    over: body.is_end_stream(),
                    body,
                    length,
                };
                Ok((Response::from_parts(parts, ()), exchange))
            }
            Err(error) => {
                let untouched = self.wrote.load(Ordering::Relaxed) == before;
                Err(Unsent::Failed(if untouched {
                    Failed::NotSent("The connection broke before the request was sent.")
                } else if error.reason() == Some(Reason::REFUSED_STREAM) {
                    // Its word is no proof: it has had the request.
                    Failed::Unknown("The service says that it did not take the request.")
                } else {
                    Failed::Unknown("The connection broke before the service answered.")
                }))
            }
        }
    }

    /// From the form that both versions are made from: an absolute target
    /// instead of `Host`, and no hop-by-hop framing (RFC 9113 section 8.2.2).
    fn to_http2(&self, request: &mut Request<UpBody>) -> Option<()> {
        let mut parts = Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        *request.version_mut() = http::Version::HTTP_2;
        request.headers_mut().remove(header::HOST);
        request.headers_mut().remove(header::TRANSFER_ENCODING);
        Some(())
    }
}

/// A request's body on its way.
struct Sending {
    body: UpBody,
    stream: SendStream<Bytes>,
    /// What was taken from `body` and has not left.
    piece: Bytes,
}

/// Sends what can be sent now. `None` once the body is over, or not wanted.
fn send(sending: &mut Option<Sending>, cx: &mut Context<'_>) {
    if let Some(way) = sending
        && way.poll(cx).is_ready()
    {
        *sending = None;
    }
}

impl Sending {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.piece.is_empty() {
                match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                    Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
                    Some(Err(_)) => {
                        // A body that did not come whole must not look whole.
                        self.stream.send_reset(Reason::CANCEL);
                        return Poll::Ready(());
                    }
                    None => {
                        let _ = self.stream.send_data(Bytes::new(), true);
                        return Poll::Ready(());
                    }
                }
                continue;
            }
            self.stream.reserve_capacity(self.piece.len());
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(may)) => {
                    let next = self.piece.split_to(may.min(self.piece.len()));
                    if self.stream.send_data(next, false).is_err() {
                        return Poll::Ready(());
                    }
                }
                // The service takes no more. Its reply says why.
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
    }
}

/// A request that is on its way, and the reply that is coming.
pub(crate) struct Exchange {
    conn: Conn,
    sending: Option<Sending>,
    body: RecvStream,
    length: Option<u64>,
    over: bool,
}

impl Exchange {
    pub(super) const fn length(&self) -> Option<u64> {
        self.length
    }

    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broke>>> {
        self.conn.drive(cx);
        send(&mut self.sending, cx);
        let mut piece = self.body.poll_data(cx);
        if piece.is_pending() {
            self.conn.drive(cx);
            piece = self.body.poll_data(cx);
        }
        match ready!(piece) {
            Some(Ok(data)) => {
                // It is in our hands now: as much again may come.
                let _ = self.body.flow_control().release_capacity(data.len());
                Poll::Ready(Some(Ok(data)))
            }
            Some(Err(_)) => Poll::Ready(Some(Err(Broke))),
            None => {
                self.over = true;
                Poll::Ready(None)
            }
        }
    }

    pub(super) fn into_conn(self) -> Option<Conn> {
        (self.over && self.sending.is_none()).then_some(self.conn)
    }
}
