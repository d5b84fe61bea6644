//! The way back: a reply is stripped, searched for credentials, and passed on
//! as fast as the agent takes it.
//!
//! Where there is a credential to search for, the upstream was asked for gzip or
//! no coding at all; the coding is undone here and the agent gets plain bytes.
//! Trailers are dropped: HTTP/1.1 lets a recipient, and nothing needs them.

use crate::agent::Writer;
use crate::body::Progress;
use crate::scrub::{Needles, Scrubber};
use crate::tokens::Meter;
use crate::upstream::{Exchange, Failed};
use crate::wire::{write_fields, write_status};
use bytes::{Bytes, BytesMut};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use std::future::poll_fn;
use std::io::Write as _;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use tokio::time::timeout;

/// Reply headers that never reach an agent: hop-by-hop, credentials and the
/// asking for them, what would outlive the run or lead around the gateway, and
/// the header by which our own answers are known.
static STRIPPED: [HeaderName; 22] = [
    header::ALT_SVC,
    HeaderName::from_static("authentication-info"),
    HeaderName::from_static("clear-site-data"),
    header::CONNECTION,
    HeaderName::from_static("countersign-request"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("nel"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-connection"),
    header::PUBLIC_KEY_PINS,
    header::PUBLIC_KEY_PINS_REPORT_ONLY,
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    header::SET_COOKIE,
    HeaderName::from_static("set-cookie2"),
    header::STRICT_TRANSPORT_SECURITY,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::WWW_AUTHENTICATE,
];

/// A gzip byte stands for at most 1032 others, so that no step of undoing it
/// takes more than this many times that.
const UNZIP_STEP: usize = 128;
/// Undone text is searched in pieces of about this size.
const SEARCHED_AT_ONCE: usize = 16 << 10;
/// How much may wait to be sent.
const MOST_UNSENT: usize = 32 << 10;

/// What is known of the agent's side of the exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side {
    pub(crate) is_head: bool,
    pub(crate) http_11: bool,
    pub(crate) keep_alive: bool,
    pub(crate) idle: Duration,
    /// Whether the service says in its replies how many tokens they cost.
    pub(crate) costs_tokens: bool,
}

/// Passes the reply on. `Ok(true)`: whole, and the connection may be kept.
///
/// # Errors
/// What cut it. If `progress.replied` is still false, the agent has seen nothing
/// and can be told.
pub(crate) async fn deliver(
    head: Response<()>,
    up: &mut Exchange,
    needles: &Needles,
    writer: Writer<'_>,
    side: Side,
    progress: &Progress,
) -> Result<bool, Failed> {
    let status = head.status();
    progress.status.store(status.as_u16(), Ordering::Relaxed);
    if status.is_informational() {
        return Err(Failed::Unknown("The service switched protocols unasked."));
    }
    let bodiless =
        side.is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut headers = head.into_parts().0.headers;
    strip(&mut headers);
    let mut unzip = if needles.is_empty() || bodiless {
        Unzip::AsItIs
    } else {
        Unzip::of(&mut headers)?
    };
    let length = if matches!(unzip, Unzip::AsItIs) {
        up.length()
    } else {
        None
    };
    if !bodiless || status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    let mut fields = BytesMut::with_capacity(2048);
    write_fields(&headers, &mut fields);
    if needles.in_whole(&fields) {
        return Err(Failed::HeldCredential);
    }
    let framing = match length {
        _ if bodiless => Framing::None,
        Some(length) => Framing::Length(length),
        None if side.http_11 => Framing::Chunked,
        None => Framing::UntilClose,
    };
    let keep = side.keep_alive && framing != Framing::UntilClose;
    let mut out = match writer {
        Writer::One(_) => Out::new(
            writer,
            framed(status, &fields, framing, keep, side),
            None,
            framing,
            side.idle,
            progress,
        ),
        Writer::Two(_) => {
            if let Framing::Length(length) = framing {
                headers.insert(header::CONTENT_LENGTH, length.into());
            }
            let mut head = Response::new(());
            *head.status_mut() = status;
            *head.headers_mut() = headers;
            let buffer = BytesMut::with_capacity(4096);
            Out::new(writer, buffer, Some(head), framing, side.idle, progress)
        }
    };
    out.meter = side.costs_tokens.then(Meter::default);
    let mut scrub = Scrubber::new(needles.clone());
    loop {
        let ready = poll_fn(|cx| Poll::Ready(up.poll_piece(cx))).await;
        let piece = match ready {
            Poll::Ready(piece) => piece,
            Poll::Pending => {
                out.data(scrub.pause()).await?;
                out.flush().await?;
                timeout(side.idle, poll_fn(|cx| up.poll_piece(cx)))
                    .await
                    .map_err(|_| Failed::Unknown("The service paused too long in its reply."))?
            }
        };
        let Some(piece) = piece else { break };
        // An upstream that always has more must not keep others waiting, the
        // stop among them.
        tokio::task::consume_budget().await;
        let data = piece
            .map_err(|_| Failed::Unknown("The connection broke in the middle of the reply."))?;
        progress
            .received
            .fetch_add(data.len() as u64, Ordering::Relaxed);
        if matches!(unzip, Unzip::AsItIs) {
            let safe = scrub.push(data).map_err(|_| Failed::HeldCredential)?;
            out.data(safe).await?;
        } else {
            let mut plain = BytesMut::new();
            for step in data.chunks(UNZIP_STEP) {
                plain.extend_from_slice(&unzip.push(step)?);
                if plain.len() >= SEARCHED_AT_ONCE {
                    let safe = scrub
                        .push(plain.split().freeze())
                        .map_err(|_| Failed::HeldCredential)?;
                    out.data(safe).await?;
                    tokio::task::consume_budget().await;
                }
            }
            let safe = scrub
                .push(plain.freeze())
                .map_err(|_| Failed::HeldCredential)?;
            out.data(safe).await?;
        }
    }
    let last = scrub
        .push(unzip.finish()?)
        .map_err(|_| Failed::HeldCredential)?;
    out.data(last).await?;
    out.data(scrub.finish().map_err(|_| Failed::HeldCredential)?)
        .await?;
    out.end().await?;
    Ok(keep)
}

/// The reply on its way to the agent. Nothing leaves before there is a piece of
/// body to go with it, or the upstream pauses: until then the agent can still be
/// told that it was cut.
struct Out<'a> {
    to: Writer<'a>,
    /// What waits to be sent: with HTTP/1.1 the head first.
    buffer: BytesMut,
    /// With HTTP/2, until it was sent.
    head: Option<Response<()>>,
    framing: Framing,
    /// How long the agent may take to take a piece.
    patience: Duration,
    progress: &'a Progress,
    meter: Option<Meter>,
}

impl<'a> Out<'a> {
    const fn new(
        to: Writer<'a>,
        buffer: BytesMut,
        head: Option<Response<()>>,
        framing: Framing,
        patience: Duration,
        progress: &'a Progress,
    ) -> Self {
        Self {
            to,
            buffer,
            head,
            framing,
            patience,
            progress,
            meter: None,
        }
    }

    async fn data(&mut self, bytes: Bytes) -> Result<(), Failed> {
        if bytes.is_empty() || self.framing == Framing::None {
            return Ok(());
        }
        if let Some(meter) = &mut self.meter {
            meter.push(&bytes);
            let tokens = meter.tokens();
            *self
                .progress
                .tokens
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = tokens;
        }
        match self.to {
            Writer::One(_) => self.framing.write(&bytes, &mut self.buffer),
            Writer::Two(_) => self.buffer.extend_from_slice(&bytes),
        }
        if self.buffer.len() >= MOST_UNSENT {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        if self.buffer.is_empty() && self.head.is_none() {
            return Ok(());
        }
        self.progress.replied.store(true, Ordering::Relaxed);
        let sent = match &mut self.to {
            Writer::One(one) => {
                let sent = timeout(self.patience, one.send(&self.buffer)).await;
                self.buffer.clear();
                sent
            }
            Writer::Two(two) => {
                if let Some(head) = self.head.take() {
                    two.begin(head, self.framing == Framing::None)
                        .map_err(|_| Failed::AgentGone)?;
                }
                timeout(self.patience, two.data(self.buffer.split().freeze())).await
            }
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Failed::AgentGone),
        }
    }

    async fn end(mut self) -> Result<(), Failed> {
        if self.framing == Framing::Chunked && matches!(self.to, Writer::One(_)) {
            self.buffer.extend_from_slice(b"0\r\n\r\n");
        }
        self.flush().await?;
        match &mut self.to {
            Writer::Two(two) if self.framing != Framing::None => {
                two.end().map_err(|_| Failed::AgentGone)
            }
            _ => Ok(()),
        }
    }
}

fn strip(headers: &mut HeaderMap) {
    let nominated: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| {
            value
                .split(',')
                .map(|token| token.trim().to_ascii_lowercase())
        })
        .collect();
    for name in nominated {
        headers.remove(name.as_str());
    }
    for name in &STRIPPED {
        headers.remove(name);
    }
}

/// How the agent learns where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

impl Framing {
    fn write(self, data: &Bytes, out: &mut BytesMut) {
        if data.is_empty() || self == Self::None {
            return;
        }
        if self == Self::Chunked {
            out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(data);
        }
    }
}

/// The head as the agent gets it: our own reason phrase, our own framing.
fn framed(status: StatusCode, fields: &[u8], framing: Framing, keep: bool, side: Side) -> BytesMut {
    let mut out = BytesMut::with_capacity(fields.len() + 4096);
    write_status(status, &mut out);
    out.extend_from_slice(fields);
    match framing {
        Framing::Length(length) => {
            out.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None | Framing::UntilClose => {}
    }
    if !keep {
        out.extend_from_slice(b"connection: close\r\n");
    } else if !side.http_11 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Undoes a reply's content coding, with a small step at a time: a zip bomb
/// costs the agent that asked for it time, and nobody memory.
enum Unzip {
    AsItIs,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// zlib or raw deflate: servers disagree, so the first two bytes decide.
    DeflateStart(Vec<u8>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Raw(Box<DeflateDecoder<Vec<u8>>>),
}

const BROKEN: Failed = Failed::Unknown("The reply's content coding is broken.");

impl Unzip {
    /// By the reply's head, from which the coding is taken.
    fn of(headers: &mut HeaderMap) -> Result<Self, Failed> {
        let codings: Vec<String> = headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .map(|value| {
                String::from_utf8_lossy(value.as_bytes())
                    .trim()
                    .to_ascii_lowercase()
            })
            .filter(|coding| !coding.is_empty() && coding != "identity")
            .collect();
        let this = match codings.as_slice() {
            [] => return Ok(Self::AsItIs),
            [one] if one == "gzip" || one == "x-gzip" => {
                Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))
            }
            [one] if one == "deflate" => Self::DeflateStart(Vec::new()),
            _ => {
                return Err(Failed::Unknown(
                    "The reply has a content coding that cannot be searched for credentials.",
                ));
            }
        };
        headers.remove(header::CONTENT_ENCODING);
        Ok(this)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<Bytes, Failed> {
        if let Self::DeflateStart(start) = self {
            start.extend_from_slice(bytes);
            let [cmf, flg, ..] = start[..] else {
                return Ok(Bytes::new());
            };
            // RFC 1950 section 2.2.
            let is_zlib =
                cmf & 15 == 8 && (u16::from(cmf) << 8 | u16::from(flg)).is_multiple_of(31);
            let start = std::mem::take(start);
            *self = if is_zlib {
                Self::Zlib(Box::new(ZlibDecoder::new(Vec::new())))
            } else {
                Self::Raw(Box::new(DeflateDecoder::new(Vec::new())))
            };
            return self.push(&start);
        }
        let (wrote, out) = match self {
            Self::AsItIs | Self::DeflateStart(_) => return Ok(Bytes::copy_from_slice(bytes)),
            Self::Gzip(d) => (d.write_all(bytes).and_then(|()| d.flush()), d.get_mut()),
            Self::Zlib(d) => (d.write_all(bytes).and_then(|()| d.flush()), d.get_mut()),
            Self::Raw(d) => (d.write_all(bytes).and_then(|()| d.flush()), d.get_mut()),
        };
        wrote.map_err(|_| BROKEN)?;
        Ok(Bytes::from(std::mem::take(out)))
    }

    fn finish(&mut self) -> Result<Bytes, Failed> {
        let (done, out) = match self {
            Self::AsItIs => return Ok(Bytes::new()),
            Self::DeflateStart(start) if start.is_empty() => return Ok(Bytes::new()),
            Self::DeflateStart(_) => return Err(BROKEN),
            Self::Gzip(d) => (d.try_finish(), d.get_mut()),
            Self::Zlib(d) => (d.try_finish(), d.get_mut()),
            Self::Raw(d) => (d.try_finish(), d.get_mut()),
        };
        done.map_err(|_| BROKEN)?;
        Ok(Bytes::from(std::mem::take(out)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    fn undone(coding: &str, bytes: &[u8], step: usize) -> Result<Vec<u8>, Failed> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, coding.parse().unwrap());
        let mut unzip = Unzip::of(&mut headers)?;
        assert!(headers.is_empty());
        let mut out = Vec::new();
        for piece in bytes.chunks(step) {
            out.extend_from_slice(&unzip.push(piece)?);
        }
        out.extend_from_slice(&unzip.finish()?);
        Ok(out)
    }

    #[test]
    fn every_coding_that_may_come_is_undone_whatever_the_pieces() {
        let text = b"hello hello hello hello".repeat(50);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).unwrap();
        let zlib = zlib.finish().unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(&text).unwrap();
        let raw = raw.finish().unwrap();
        for step in [1, 2, 5, 1000] {
            assert_eq!(undone("gzip", &gzip, step).unwrap(), text);
            assert_eq!(
                undone("X-GZIP", &[gzip.clone(), gzip.clone()].concat(), step).unwrap(),
                text.repeat(2)
            );
            assert_eq!(undone("deflate", &zlib, step).unwrap(), text);
            assert_eq!(undone("deflate", &raw, step).unwrap(), text);
            assert!(
                undone("gzip", &gzip[..gzip.len() - 9], step).is_err(),
                "a truncated reply is no whole one"
            );
            assert!(undone("gzip", b"not gzip at all", step).is_err());
        }
        assert!(undone("br", b"", 1).is_err() && undone("gzip, br", b"", 1).is_err());
    }
}
