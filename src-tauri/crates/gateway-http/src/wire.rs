//! HTTP/1.1 as an agent may speak it: the strict subset of RFC 9112 that no two
//! parsers read differently.
//!
//! hyper's server is not used here because it mends what must be refused: it
//! drops a `Content-Length` beside `Transfer-Encoding`, folds two equal lengths
//! into one, takes a bare LF for a line's end, and cannot send `100 Continue`
//! more than once. `httparse` reads the tokens; framing is decided in [`crate::head`].

use crate::agent::Whole;
use crate::head::{Framing, Head, NoHead, parse};
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

/// A byte stream in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
pub(crate) type Io = Box<dyn Duplex>;

pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const READ_SIZE: usize = 16 << 10;
const MAX_TRAILERS: usize = 8 << 10;

/// Why a request's body ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoBody {
    #[error("the agent hung up while sending")]
    HungUp,
    #[error("the agent paused too long while sending")]
    Idle,
    #[error("the chunked coding of the body is broken")]
    Malformed,
    #[error("the body that was held on disk could not be read back")]
    Lost,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    Done,
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
}

/// The agent's connection.
pub(crate) struct Connection {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

pub(crate) struct Reader {
    io: ReadHalf<Io>,
    buf: BytesMut,
    body: Body,
}

pub(crate) struct Writer {
    io: WriteHalf<Io>,
}

impl Connection {
    pub(crate) fn new(io: Io) -> Self {
        let (read, write) = tokio::io::split(io);
        Self {
            reader: Reader {
                io: read,
                buf: BytesMut::new(),
                body: Body::Done,
            },
            writer: Writer { io: write },
        }
    }

    /// Closes in order. What the agent still sends is read for a moment: a
    /// socket that is closed over unread bytes loses the reply (RFC 9112
    /// section 9.6).
    pub(crate) async fn close(mut self) {
        let _ = timeout(Duration::from_secs(1), self.writer.io.shutdown()).await;
        let rest = async {
            let mut left = 4 << 20;
            while left > 0 && matches!(self.reader.fill().await, Ok(true)) {
                left -= self.reader.buf.len().min(left);
                self.reader.buf.clear();
            }
        };
        let _ = timeout(Duration::from_secs(1), rest).await;
    }

    /// The stream, and what was read from it and not used yet.
    pub(crate) fn into_inner(self) -> (Io, Bytes) {
        (
            self.reader.io.unsplit(self.writer.io),
            self.reader.buf.freeze(),
        )
    }
}

/// An answer of our own as it stands on the wire.
pub(crate) fn answer(whole: &Whole, with_body: bool, keep: bool) -> Vec<u8> {
    let mut out = BytesMut::with_capacity(512 + whole.body.len());
    write_status(whole.status, &mut out);
    write_fields(&whole.headers, &mut out);
    out.extend_from_slice(format!("content-length: {}\r\n", whole.body.len()).as_bytes());
    out.extend_from_slice(if keep {
        b"\r\n"
    } else {
        b"connection: close\r\n\r\n"
    });
    if with_body {
        out.extend_from_slice(&whole.body);
    }
    out.to_vec()
}

/// The status line, with our own reason phrase.
pub(crate) fn write_status(status: StatusCode, out: &mut BytesMut) {
    let phrase = status.canonical_reason().unwrap_or("Status");
    out.extend_from_slice(format!("HTTP/1.1 {} {phrase}\r\n", status.as_u16()).as_bytes());
}

pub(crate) fn write_fields(headers: &HeaderMap, out: &mut BytesMut) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

impl Writer {
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }
}

impl Reader {
    /// Reads once. `Ok(false)` at the end of the stream. Loses nothing when the
    /// future is dropped.
    async fn fill(&mut self) -> io::Result<bool> {
        self.buf.reserve(READ_SIZE);
        Ok(self.io.read_buf(&mut self.buf).await? > 0)
    }

    /// The next request's head.
    pub(crate) async fn head(&mut self, limits: &crate::Limits) -> Result<Head, NoHead> {
        if self.buf.is_empty() {
            match timeout(limits.idle_connection, self.fill()).await {
                Ok(Ok(true)) => {}
                _ => return Err(NoHead::Closed),
            }
        }
        let len = timeout(limits.head_time, self.head_end(limits.head))
            .await
            .map_err(|_| NoHead::Slow)??;
        let head = parse(&self.buf[..len])?;
        self.buf.advance(len);
        self.body = match head.framing {
            Framing::None | Framing::Length(0) => Body::Done,
            Framing::Length(n) => Body::Length(n),
            Framing::Chunked => Body::ChunkSize,
        };
        Ok(head)
    }

    /// Length of the head, whose every line ends in CR LF. A bare LF is refused
    /// as soon as it is seen, not after a time-out.
    async fn head_end(&mut self, limit: usize) -> Result<usize, NoHead> {
        let mut seen = 0;
        loop {
            for at in memchr::memchr_iter(b'\n', &self.buf[seen..]) {
                let at = seen + at;
                if at == 0 || self.buf[at - 1] != b'\r' {
                    return Err(NoHead::Malformed("a line does not end in CR LF"));
                }
                if at >= 3 && &self.buf[at - 3..at] == b"\r\n\r" {
                    let end = at + 1;
                    return if end > limit {
                        Err(NoHead::TooLarge)
                    } else {
                        Ok(end)
                    };
                }
            }
            seen = self.buf.len();
            if seen > limit {
                return Err(NoHead::TooLarge);
            }
            match self.fill().await {
                Ok(true) => {}
                _ => return Err(NoHead::Closed),
            }
        }
    }

    /// Whatever comes next, as it comes: after an upgrade. `None` at the end.
    pub(crate) async fn raw(&mut self) -> io::Result<Option<Bytes>> {
        if self.buf.is_empty() && !self.fill().await? {
            return Ok(None);
        }
        Ok(Some(self.buf.split().freeze()))
    }

    /// Whether the whole request was read, so that the next may follow.
    pub(crate) const fn body_is_done(&self) -> bool {
        matches!(self.body, Body::Done)
    }

    /// The next piece of the body, at most 64 KiB; `None` at its end. Trailers
    /// are read, checked and dropped: they were not part of what was judged.
    /// Loses nothing when the future is dropped.
    pub(crate) async fn chunk(&mut self, idle: Duration) -> Result<Option<Bytes>, NoBody> {
        loop {
            match self.body {
                Body::Done => return Ok(None),
                Body::Length(left) | Body::ChunkData(left) => {
                    if self.buf.is_empty() {
                        self.more(idle).await?;
                    }
                    let take = usize::try_from(left)
                        .unwrap_or(usize::MAX)
                        .min(self.buf.len())
                        .min(64 << 10);
                    let rest = left - take as u64;
                    self.body = match self.body {
                        Body::Length(_) if rest == 0 => Body::Done,
                        Body::Length(_) => Body::Length(rest),
                        _ if rest == 0 => Body::ChunkEnd,
                        _ => Body::ChunkData(rest),
                    };
                    return Ok(Some(self.buf.split_to(take).freeze()));
                }
                Body::ChunkSize => {
                    let line = self.line(18, idle).await?;
                    self.body = match chunk_size(&line)? {
                        0 => Body::Trailers,
                        n => Body::ChunkData(n),
                    };
                }
                Body::ChunkEnd => {
                    if !self.line(2, idle).await?.is_empty() {
                        return Err(NoBody::Malformed);
                    }
                    self.body = Body::ChunkSize;
                }
                Body::Trailers => {
                    let line = self.line(MAX_TRAILERS, idle).await?;
                    if line.is_empty() {
                        self.body = Body::Done;
                    } else if !trailer_is_plain(&line) {
                        return Err(NoBody::Malformed);
                    }
                }
            }
        }
    }

    async fn more(&mut self, idle: Duration) -> Result<(), NoBody> {
        match timeout(idle, self.fill()).await {
            Err(_) => Err(NoBody::Idle),
            Ok(Ok(true)) => Ok(()),
            Ok(_) => Err(NoBody::HungUp),
        }
    }

    /// One line of at most `limit` bytes, without its CR LF.
    async fn line(&mut self, limit: usize, idle: Duration) -> Result<Bytes, NoBody> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buf) {
                if at == 0 || self.buf[at - 1] != b'\r' || at + 1 > limit {
                    return Err(NoBody::Malformed);
                }
                let line = self.buf.split_to(at + 1).freeze().slice(..at - 1);
                return if line.contains(&b'\r') {
                    Err(NoBody::Malformed)
                } else {
                    Ok(line)
                };
            }
            if self.buf.len() >= limit {
                return Err(NoBody::Malformed);
            }
            self.more(idle).await?;
        }
    }

    /// Comes back when the agent has closed the connection. What it sends in
    /// the meantime is kept, up to a limit, beyond which nobody can tell.
    pub(crate) async fn hung_up(&mut self) {
        while self.buf.len() < 64 << 10 {
            match self.fill().await {
                Ok(true) => {}
                _ => return,
            }
        }
        std::future::pending::<()>().await;
    }
}

/// Hexadecimal digits alone: no extension, no sign, no space.
fn chunk_size(line: &[u8]) -> Result<u64, NoBody> {
    if line.is_empty() || line.len() > 15 || !line.iter().all(u8::is_ascii_hexdigit) {
        return Err(NoBody::Malformed);
    }
    let text = std::str::from_utf8(line).map_err(|_| NoBody::Malformed)?;
    u64::from_str_radix(text, 16).map_err(|_| NoBody::Malformed)
}

fn trailer_is_plain(line: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else {
        return false;
    };
    colon > 0
        && http::HeaderName::from_bytes(&line[..colon]).is_ok()
        && http::HeaderValue::from_bytes(&line[colon + 1..]).is_ok()
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
