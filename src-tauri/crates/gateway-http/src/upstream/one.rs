//! One exchange by HTTP/1.1, by hyper.

use super::{Broke, Counted, Failed, Unsent, Upgraded, patiently};
use crate::body::{Progress, UpBody};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// A connection with no exchange on it.
pub(super) struct Conn {
    sender: SendRequest<UpBody>,
    /// Apart, for it is large, and the rest goes from hand to hand.
    driver: Box<Connection<TokioIo<Counted>, UpBody>>,
    ended: bool,
    wrote: Arc<AtomicU64>,
}

impl Conn {
    pub(super) async fn open(io: Counted, wrote: Arc<AtomicU64>) -> Result<Self, Failed> {
        let (sender, driver) = Builder::new()
            .max_buf_size(64 << 10)
            .max_headers(200)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|_| Failed::NotSent("The connection could not be set up."))?;
        Ok(Self {
            sender,
            driver: Box::new(driver),
            ended: false,
            wrote,
        })
    }

    /// Moves bytes in both directions, as far as that goes now.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended && Pin::new(&mut *self.driver).poll(cx).is_ready() {
            self.ended = true;
        }
    }

    pub(super) async fn is_alive(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(!self.ended && self.sender.is_ready())
        })
        .await
    }

    pub(super) async fn exchange(
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
        let got = patiently(head.as_mut(), patience, progress).await?;
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
    pub(super) fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broke>>> {
        loop {
            let mut frame = Pin::new(&mut self.body).poll_frame(cx);
            if frame.is_pending() {
                self.conn.drive(cx);
                frame = Pin::new(&mut self.body).poll_frame(cx);
            }
            return match std::task::ready!(frame) {
                None => {
                    self.over = true;
                    Poll::Ready(None)
                }
                Some(Err(_)) => Poll::Ready(Some(Err(Broke))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Poll::Ready(Some(Ok(data))),
                    // Trailers.
                    Err(_) => continue,
                },
            };
        }
    }

    pub(super) async fn into_upgraded(self) -> Option<Upgraded> {
        let mut conn = self.conn;
        drop(self.body);
        let over = poll_fn(|cx| {
            conn.drive(cx);
            if conn.ended {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        tokio::time::timeout(Duration::from_secs(1), over)
            .await
            .ok()?;
        let parts = conn.driver.into_parts();
        Some(Upgraded {
            io: Box::new(parts.io.into_inner()),
            read: parts.read_buf,
        })
    }

    pub(super) fn into_conn(self) -> Option<Conn> {
        (self.over || self.body.is_end_stream()).then_some(self.conn)
    }
}
