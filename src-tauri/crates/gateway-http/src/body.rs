//! Request bodies: read whole where the verdict depends on them, else streamed
//! piece by piece, hashed on the way.

use crate::agent::Reader;
use crate::head::{Framing, Head};
use crate::run::Run;
use crate::spool::{self, Spooled};
use crate::wire::NoBody;
use bytes::{Bytes, BytesMut};
use countersign_broker::Countersigner;
use countersign_model::{Digest, HeaderField, Tokens};
use countersign_sigv4::Decoder;
use flate2::write::{GzDecoder, ZlibDecoder};
use http_body::{Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// A body that was read whole, and the memory it counts for.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

/// Why a body that must be judged was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRead {
    Ended(NoBody),
    /// Longer than what may lie on disk.
    TooLong,
    /// The disk takes no more.
    NoRoom,
    /// The run's memory for bodies is used up.
    NoMemory,
}

/// A body that was read to its end.
pub(crate) enum Read {
    Whole(Whole),
    /// Larger than what can be judged.
    Spooled(Box<Spooled>),
}

/// Where the content of a body comes from.
pub(crate) struct Source<'a> {
    reader: Reader<'a>,
    /// Where it comes in pieces: what takes it apart, and how long it is.
    pieces: Option<(Decoder, u64)>,
    trailers: Vec<HeaderField>,
}

impl<'a> Source<'a> {
    pub(crate) const fn new(reader: Reader<'a>, pieces: Option<(Decoder, u64)>) -> Self {
        Self {
            reader,
            pieces,
            trailers: Vec::new(),
        }
    }

    /// The next piece of the content; `None` at its end.
    pub(crate) async fn chunk(&mut self, idle: Duration) -> Result<Option<Bytes>, NoBody> {
        loop {
            let chunk = self.reader.chunk(idle).await?;
            let Some((decoder, _)) = &mut self.pieces else {
                return Ok(chunk);
            };
            let mut content = Vec::new();
            match chunk {
                Some(chunk) => decoder.push(&chunk, &mut content),
                None => {
                    let Some((decoder, length)) = self.pieces.take() else {
                        return Ok(None);
                    };
                    self.trailers = decoder.finish(length).map_err(|_| NoBody::Malformed)?;
                    return Ok(None);
                }
            }
            .map_err(|_| NoBody::Malformed)?;
            if !content.is_empty() {
                return Ok(Some(content.into()));
            }
        }
    }

    /// What the body said behind its content.
    pub(crate) fn into_trailers(self) -> Vec<HeaderField> {
        self.trailers
    }
}

/// Reads a body to its end, within the limits: into memory what can be judged,
/// onto disk what is larger.
pub(crate) async fn read_whole<C: Countersigner>(
    reader: &mut Source<'_>,
    head: &Head,
    run: &Run<C>,
) -> Result<Read, NotRead> {
    let (limits, budget) = (&run.limits, &run.budget);
    let idle = limits.idle_request;
    async fn large<C: Countersigner>(
        reader: &mut Source<'_>,
        begun: Bytes,
        run: &Run<C>,
    ) -> Result<Read, NotRead> {
        let spooled = spool::read(reader, begun, run).await?;
        Ok(Read::Spooled(Box::new(spooled)))
    }
    let mut held = None;
    let mut bytes = BytesMut::new();
    if let Framing::Length(length) = head.framing {
        let length = usize::try_from(length).map_err(|_| NotRead::TooLong)?;
        if length > limits.spooled {
            return Err(NotRead::TooLong);
        }
        if length > limits.judged_body {
            return large(reader, Bytes::new(), run).await;
        }
        if !budget.take(length, &mut held) {
            return Err(NotRead::NoMemory);
        }
    }
    // A stated length is reserved in the budget at once, but memory is taken
    // only as bytes arrive.
    let mut counted = if held.is_some() { usize::MAX } else { 0 };
    while let Some(chunk) = reader.chunk(idle).await.map_err(NotRead::Ended)? {
        let length = bytes.len() + chunk.len();
        if length > limits.judged_body {
            bytes.extend_from_slice(&chunk);
            return large(reader, bytes.freeze(), run).await;
        }
        if length > counted {
            let step = (length - counted).max(64 << 10);
            if !budget.take(step, &mut held) {
                return Err(NotRead::NoMemory);
            }
            counted += step;
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Read::Whole(Whole {
        bytes: bytes.freeze(),
        _held: held,
    }))
}

/// A body with its content coding undone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// It had none.
    Plain,
    /// This is what the coding hid.
    Bytes(Vec<u8>),
    /// A coding that is not undone, or one that servers may read in two ways:
    /// several members, bytes after the end, raw deflate, more than one coding.
    Opaque,
    /// Larger than a judged body may be.
    TooLong,
}

/// Undoes `Content-Encoding` for judging. What is forwarded stays as it came.
pub(crate) fn decode(encoding: Option<&[u8]>, bytes: &[u8], limit: usize) -> Decoded {
    let Some(encoding) = encoding else {
        return Decoded::Plain;
    };
    match encoding.trim_ascii().to_ascii_lowercase().as_slice() {
        b"" | b"identity" => Decoded::Plain,
        b"gzip" | b"x-gzip" => {
            // A second member would be read by some servers only.
            let mut decoder = GzDecoder::new(Limited {
                out: Vec::new(),
                limit,
            });
            match feed(&mut decoder, bytes) {
                Fed::All => decoder
                    .finish()
                    .map_or(Decoded::Opaque, |limited| Decoded::Bytes(limited.out)),
                Fed::TooLong => Decoded::TooLong,
                Fed::Broken => Decoded::Opaque,
            }
        }
        b"deflate" => {
            let mut decoder = ZlibDecoder::new(Limited {
                out: Vec::new(),
                limit,
            });
            let fed = feed(&mut decoder, bytes);
            match fed {
                Fed::All if decoder.total_in() == bytes.len() as u64 => decoder
                    .finish()
                    .map_or(Decoded::Opaque, |limited| Decoded::Bytes(limited.out)),
                Fed::TooLong => Decoded::TooLong,
                _ => Decoded::Opaque,
            }
        }
        _ => Decoded::Opaque,
    }
}

enum Fed {
    All,
    TooLong,
    Broken,
}

fn feed(decoder: &mut impl Write, bytes: &[u8]) -> Fed {
    let mut rest = bytes;
    while !rest.is_empty() {
        match decoder.write(rest) {
            // The end of the coding came before the end of the bytes.
            Ok(0) => return Fed::Broken,
            Ok(n) => rest = &rest[n..],
            Err(e) if e.kind() == std::io::ErrorKind::FileTooLarge => return Fed::TooLong,
            Err(_) => return Fed::Broken,
        }
    }
    match decoder.flush() {
        Ok(()) => Fed::All,
        Err(e) if e.kind() == std::io::ErrorKind::FileTooLarge => Fed::TooLong,
        Err(_) => Fed::Broken,
    }
}

/// A buffer that refuses to grow beyond its limit: a zip bomb ends here.
struct Limited {
    out: Vec<u8>,
    limit: usize,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.out.len() + bytes.len() > self.limit {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is known of a transfer while it runs, and when it is cut.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    /// Status of the reply once its head came; 0 before.
    pub(crate) status: AtomicU16,
    /// Whether a byte of the reply may have reached the agent.
    pub(crate) replied: AtomicBool,
    /// Digest of a streamed request body, once it left whole.
    pub(crate) digest: OnceLock<Digest>,
    /// Why a streamed request body did not come whole from the agent.
    pub(crate) broken: OnceLock<NoBody>,
    /// What the reply cost, as far as it says so; only for models.
    pub(crate) tokens: Mutex<Option<Tokens>>,
}

/// The body of an upstream request.
pub(crate) enum UpBody {
    Empty,
    Whole(Option<Bytes>),
    /// One piece at a time: the agent is read only as fast as the upstream
    /// takes.
    Streamed(mpsc::Receiver<Result<Bytes, NoBody>>),
}

impl http_body::Body for UpBody {
    type Data = Bytes;
    type Error = NoBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NoBody>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Streamed(pieces) => pieces
                .poll_recv(cx)
                .map(|piece| piece.map(|r| r.map(Frame::data))),
        }
    }
    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty | Self::Whole(None))
    }
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Whole(None) => SizeHint::with_exact(0),
            Self::Whole(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(_) => SizeHint::default(),
        }
    }
}

/// Moves a body from the agent to the upstream, counting and hashing it.
pub(crate) async fn pump(
    mut reader: Reader<'_>,
    to: mpsc::Sender<Result<Bytes, NoBody>>,
    idle: Duration,
    progress: &Progress,
) {
    let mut hash = Sha256::new();
    loop {
        match reader.chunk(idle).await {
            Ok(Some(chunk)) => {
                hash.update(&chunk);
                let length = chunk.len() as u64;
                // Closed: the upstream takes no more. Its reply says why.
                if to.send(Ok(chunk)).await.is_err() {
                    return;
                }
                progress.sent.fetch_add(length, Ordering::Relaxed);
            }
            Ok(None) => {
                let _ = progress
                    .digest
                    .set(Digest::from_bytes(hash.finalize().into()));
                return;
            }
            Err(why) => {
                let _ = progress.broken.set(why);
                let _ = to.send(Err(why)).await;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut e = GzEncoder::new(Vec::new(), Compression::default());
        e.write_all(bytes).unwrap();
        e.finish().unwrap()
    }

    #[test]
    fn a_coded_body_is_judged_by_what_it_hides() {
        assert_eq!(
            decode(Some(b"gzip"), &gzip(b"delete all"), 100),
            Decoded::Bytes(b"delete all".to_vec())
        );
        let mut e = ZlibEncoder::new(Vec::new(), Compression::default());
        e.write_all(b"delete all").unwrap();
        assert_eq!(
            decode(Some(b"deflate"), &e.finish().unwrap(), 100),
            Decoded::Bytes(b"delete all".to_vec())
        );
        assert_eq!(decode(Some(b"identity"), b"x", 100), Decoded::Plain);
    }

    #[test]
    fn a_coded_body_that_servers_may_read_differently_is_opaque() {
        let two_members = [gzip(b"a"), gzip(b"b")].concat();
        let tail = [gzip(b"a"), b"tail".to_vec()].concat();
        let truncated = gzip(b"hello hello hello")[..12].to_vec();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(b"a").unwrap();
        let raw = raw.finish().unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"a").unwrap();
        let zlib_tail = [zlib.finish().unwrap(), b"tail".to_vec()].concat();
        for (coding, bytes) in [
            ("gzip", two_members),
            ("gzip", tail),
            ("gzip", truncated),
            ("gzip", b"plain".to_vec()),
            ("gzip", vec![]),
            ("deflate", raw),
            ("deflate", zlib_tail),
            ("br", gzip(b"a")),
            ("gzip, gzip", gzip(&gzip(b"a"))),
        ] {
            assert_eq!(
                decode(Some(coding.as_bytes()), &bytes, 100),
                Decoded::Opaque,
                "{coding} {bytes:?}"
            );
        }
    }

    #[test]
    fn a_zip_bomb_ends_at_the_limit() {
        assert_eq!(
            decode(Some(b"gzip"), &gzip(&vec![0; 50 << 20]), 8 << 20),
            Decoded::TooLong
        );
    }
}
