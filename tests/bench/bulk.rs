//! One large body, down or up, as fast as it goes or as slowly as is asked.

use crate::wire::{Fault, Way};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::{Body, Frame, SizeHint};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// What is sent at a time.
const PIECE: usize = 64 << 10;

/// Reads all of `url`. With `per_second`, no faster than so many bytes.
pub(crate) async fn down(url: &str, per_second: Option<u64>) -> Result<Value, Fault> {
    let way = Way::from_environment(url)?;
    let mut sender = way.connect::<Empty<Bytes>>().await?;
    let begun = Instant::now();
    let request = Request::get(way.path())
        .header("host", way.host())
        .body(Empty::new())?;
    let reply = sender.send_request(request).await?;
    if !reply.status().is_success() {
        return Err(refused(reply).await);
    }
    let mut body = reply.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
        if let Some(rate) = per_second {
            let due = Duration::from_secs_f64(bytes as f64 / rate as f64);
            sleep(due.saturating_sub(begun.elapsed())).await;
        }
    }
    Ok(said(bytes, begun))
}

/// Sends so many bytes to `url`.
pub(crate) async fn up(url: &str, bytes: u64) -> Result<Value, Fault> {
    let way = Way::from_environment(url)?;
    let mut sender = way.connect::<Zeros>().await?;
    let begun = Instant::now();
    let request = Request::post(way.path())
        .header("host", way.host())
        .header("content-type", "application/octet-stream")
        .body(Zeros::new(bytes))?;
    let reply = sender.send_request(request).await?;
    if !reply.status().is_success() {
        return Err(refused(reply).await);
    }
    // The far side says how much arrived.
    let arrived = reply.into_body().collect().await?.to_bytes();
    let arrived: u64 = String::from_utf8_lossy(&arrived).trim().parse()?;
    Ok(said(arrived, begun))
}

fn said(bytes: u64, begun: Instant) -> Value {
    json!({ "bytes": bytes, "seconds": begun.elapsed().as_secs_f64() })
}

async fn refused(reply: hyper::Response<hyper::body::Incoming>) -> Fault {
    let status = reply.status();
    let words = reply
        .into_body()
        .collect()
        .await
        .map(|b| b.to_bytes())
        .unwrap_or_default();
    format!("{status}: {}", String::from_utf8_lossy(&words)).into()
}

/// A body of a known length that takes no memory: the same piece again and again.
pub(crate) struct Zeros {
    piece: Bytes,
    left: u64,
}

impl Zeros {
    pub(crate) fn new(length: u64) -> Self {
        Self {
            piece: Bytes::from(vec![b'0'; PIECE]),
            left: length,
        }
    }
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let take = self.left.min(PIECE as u64);
        self.left -= take;
        let take = usize::try_from(take).unwrap_or(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.piece.slice(..take)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
