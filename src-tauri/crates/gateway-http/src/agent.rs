//! The agent's side of one request, whichever version of HTTP it speaks.

use crate::two;
use crate::wire::{self, NoBody};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// How long an agent may take to take an answer of ours.
const PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of the agent's connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may follow.
    Keep,
    /// It is closed in order: what was sent is whole.
    Close,
    /// It is torn down, so that a cut reply cannot pass for a whole one.
    Abort,
}

/// One request's way in and out: a connection of HTTP/1.1, which serves one
/// request at a time, or one stream of HTTP/2.
pub(crate) enum Agent<'a> {
    One(&'a mut wire::Connection),
    Two(&'a mut two::Stream),
}

/// What the agent sends.
pub(crate) enum Reader<'a> {
    One(&'a mut wire::Reader),
    Two(&'a mut two::Reader),
}

/// What the agent gets.
pub(crate) enum Writer<'a> {
    One(&'a mut wire::Writer),
    Two(&'a mut two::Writer),
}

impl Agent<'_> {
    pub(crate) fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        match self {
            Self::One(one) => (Reader::One(&mut one.reader), Writer::One(&mut one.writer)),
            Self::Two(two) => (Reader::Two(&mut two.reader), Writer::Two(&mut two.writer)),
        }
    }
    pub(crate) fn reader(&mut self) -> Reader<'_> {
        self.split().0
    }
    pub(crate) fn writer(&mut self) -> Writer<'_> {
        self.split().1
    }

    /// Reads the rest of a small body that nobody will use, so that the next
    /// request can follow. `false` when it is not small, or does not come.
    pub(crate) async fn discard_small_body(&mut self) -> bool {
        let mut reader = self.reader();
        let all = async {
            let mut left = 64 << 10;
            while let Ok(Some(chunk)) = reader.chunk(Duration::from_secs(1)).await {
                left -= chunk.len().min(left);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = timeout(Duration::from_secs(2), all).await;
        reader.body_is_done()
    }
}

impl Reader<'_> {
    /// The next piece of the body, at most 64 KiB; `None` at its end. Trailers
    /// are read and dropped: they were not part of what was judged. Loses
    /// nothing when the future is dropped.
    pub(crate) async fn chunk(&mut self, idle: Duration) -> Result<Option<Bytes>, NoBody> {
        match self {
            Self::One(one) => one.chunk(idle).await,
            Self::Two(two) => two.chunk(idle).await,
        }
    }

    /// Whether the whole request was read, so that the next may follow.
    pub(crate) const fn body_is_done(&self) -> bool {
        match self {
            Self::One(one) => one.body_is_done(),
            Self::Two(two) => two.body_is_done(),
        }
    }
}

/// An answer of our own, whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    /// Without what frames it.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Writer<'_> {
    /// `100 Continue`.
    pub(crate) async fn carry_on(&mut self) -> io::Result<()> {
        match self {
            Self::One(one) => one.send(wire::CONTINUE).await,
            Self::Two(two) => two.carry_on(),
        }
    }

    /// Answers. `with_body` is false for HEAD, whose answer has the length of
    /// the body that it leaves out.
    pub(crate) async fn answer(
        &mut self,
        whole: &Whole,
        with_body: bool,
        keep: bool,
    ) -> io::Result<()> {
        timeout(PATIENCE, self.answer_now(whole, with_body, keep))
            .await
            .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }

    async fn answer_now(&mut self, whole: &Whole, with_body: bool, keep: bool) -> io::Result<()> {
        match self {
            Self::One(one) => one.send(&wire::answer(whole, with_body, keep)).await,
            Self::Two(two) => {
                let mut head = Response::new(());
                *head.status_mut() = whole.status;
                *head.headers_mut() = whole.headers.clone();
                head.headers_mut()
                    .insert(http::header::CONTENT_LENGTH, whole.body.len().into());
                two.begin(head, !with_body)?;
                if with_body {
                    two.data(whole.body.clone()).await?;
                    two.end()?;
                }
                Ok(())
            }
        }
    }
}
