//! Bodies that are sent piece by piece (`Content-Encoding: aws-chunked`), with a
//! signature for each, a checksum after the last, both or neither.
//!
//! They are taken apart here, so that what is judged, shown and signed anew is the
//! content itself. Sources: Amazon S3 API Reference, "Transferring Payload in
//! Multiple Chunks" and "Including Trailing Headers".

use crate::sign::{SigningKey, scope_text};
use crate::{Authorization, Key};
use countersign_model::{Digest, HeaderField};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A line is a size and a signature, or one trailer.
const LONGEST_LINE: usize = 1 << 10;
const MOST_TRAILERS: usize = 8;
/// 2^48 bytes: more digits are no size of anything that is sent.
const MOST_DIGITS: usize = 12;

/// What `x-amz-content-sha256` says of the pieces of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pieces {
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`
    Signed,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`
    SignedWithTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`
    UnsignedWithTrailer,
}

impl Pieces {
    /// The value of the header, if it is one of these.
    #[must_use]
    pub fn of(content_sha256: &[u8]) -> Option<Self> {
        match content_sha256 {
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Some(Self::Signed),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Some(Self::SignedWithTrailer),
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Some(Self::UnsignedWithTrailer),
            _ => None,
        }
    }
    const fn are_signed(self) -> bool {
        matches!(self, Self::Signed | Self::SignedWithTrailer)
    }
    const fn have_trailers(self) -> bool {
        !matches!(self, Self::Signed)
    }
}

/// Why a body is not what its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadChunk {
    /// Its framing is broken: which rule.
    Framing(&'static str),
    /// A piece, or what follows the last, is not signed by the key of the request.
    Signature,
}

/// Takes a body apart as it comes.
pub struct Decoder {
    pieces: Pieces,
    chain: Option<Chain>,
    state: State,
    line: Vec<u8>,
    trailers: Vec<HeaderField>,
    trailer_signature: Option<Vec<u8>>,
    length: u64,
}

enum State {
    /// In the line before a piece.
    Size,
    /// So much of a piece is to come.
    Data(u64),
    /// So much of the line end behind a piece is to come.
    AfterData(&'static [u8]),
    /// After the last piece.
    Trailers,
    /// After the empty line.
    Done,
}

/// Each signature covers the one before it.
struct Chain {
    key: SigningKey,
    at: String,
    scope: String,
    previous: String,
    /// What the line before the piece says.
    claimed: Vec<u8>,
    hash: Sha256,
}

impl Chain {
    fn check_piece(&mut self) -> Result<(), BadChunk> {
        let data = std::mem::take(&mut self.hash).finalize();
        let (data, empty) = (Digest::from_bytes(data.into()), Digest::of(b""));
        let Self {
            at,
            scope,
            previous,
            ..
        } = self;
        let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{at}\n{scope}\n{previous}\n{empty}\n{data}");
        let right = self.key.sign(text.as_bytes());
        same(&right, &self.claimed)?;
        self.previous = right;
        Ok(())
    }

    fn check_trailers(
        &self,
        trailers: &[HeaderField],
        claimed: Option<&[u8]>,
    ) -> Result<(), BadChunk> {
        let mut text = Vec::new();
        for trailer in trailers {
            text.extend_from_slice(trailer.name.as_bytes());
            text.push(b':');
            text.extend_from_slice(&trailer.value);
            text.push(b'\n');
        }
        let Self {
            at,
            scope,
            previous,
            ..
        } = self;
        let trailers = Digest::of(&text);
        let text = format!("AWS4-HMAC-SHA256-TRAILER\n{at}\n{scope}\n{previous}\n{trailers}");
        same(
            &self.key.sign(text.as_bytes()),
            claimed.ok_or(BadChunk::Signature)?,
        )
    }
}

fn same(right: &str, claimed: &[u8]) -> Result<(), BadChunk> {
    if bool::from(right.as_bytes().ct_eq(claimed)) {
        Ok(())
    } else {
        Err(BadChunk::Signature)
    }
}

impl Decoder {
    /// For the body of a request that says this of its signature. `key` is the one
    /// that its pieces are signed with, where they are.
    #[must_use]
    pub fn new(pieces: Pieces, authorization: &Authorization<'_>, key: &Key) -> Self {
        let chain = pieces.are_signed().then(|| Chain {
            key: SigningKey::new(key, &authorization.scope, &authorization.at),
            at: authorization.at.to_string(),
            scope: scope_text(&authorization.scope, &authorization.at),
            previous: authorization.signature().to_owned(),
            claimed: Vec::new(),
            hash: Sha256::new(),
        });
        Self {
            pieces,
            chain,
            state: State::Size,
            line: Vec::new(),
            trailers: Vec::new(),
            trailer_signature: None,
            length: 0,
        }
    }

    /// Takes what came, and adds what it holds to `out`.
    ///
    /// # Errors
    /// What is wrong with it; then there is no going on.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BadChunk> {
        while !bytes.is_empty() {
            match self.state {
                State::Size => {
                    if let Some(line) = self.line(&mut bytes)? {
                        self.begin_piece(&line)?;
                    }
                }
                State::Data(left) => {
                    let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (data, rest) = bytes.split_at(most);
                    if let Some(chain) = &mut self.chain {
                        chain.hash.update(data);
                    }
                    out.extend_from_slice(data);
                    self.length += most as u64;
                    bytes = rest;
                    let left = left - most as u64;
                    self.state = if left > 0 {
                        State::Data(left)
                    } else {
                        self.check_piece()?;
                        State::AfterData(b"\r\n")
                    };
                }
                State::AfterData(to_come) => {
                    if bytes.first() != to_come.first() {
                        return Err(BadChunk::Framing("a piece is longer than it says"));
                    }
                    bytes = &bytes[1..];
                    self.state = match &to_come[1..] {
                        [] => State::Size,
                        rest => State::AfterData(rest),
                    };
                }
                State::Trailers => {
                    if let Some(line) = self.line(&mut bytes)? {
                        self.trailer(&line)?;
                    }
                }
                State::Done => return Err(BadChunk::Framing("there is more after its end")),
            }
        }
        Ok(())
    }

    /// The trailers of a body that was taken apart to its end: checksums of its
    /// content, as the client says. `length` is what the head said.
    ///
    /// # Errors
    /// When the end has not come, or the length is another.
    pub fn finish(mut self, length: u64) -> Result<Vec<HeaderField>, BadChunk> {
        // Clients have been seen to leave the very last line end out.
        if matches!(self.state, State::Trailers) && self.line.is_empty() {
            self.end()?;
        }
        match self.state {
            State::Done if self.length == length => Ok(self.trailers),
            State::Done => Err(BadChunk::Framing(
                "its content is not as long as its head says",
            )),
            _ => Err(BadChunk::Framing("its end is missing")),
        }
    }

    /// The line that ends in these bytes, without its end.
    fn line(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, BadChunk> {
        let end = bytes.iter().position(|&b| b == b'\n');
        let (piece, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
        *bytes = rest;
        if self.line.len() + piece.len() > LONGEST_LINE {
            return Err(BadChunk::Framing("a line is too long"));
        }
        self.line.extend_from_slice(piece);
        if end.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.line);
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    fn begin_piece(&mut self, line: &[u8]) -> Result<(), BadChunk> {
        const NO_SIZE: BadChunk = BadChunk::Framing("a piece has no size");
        let (size, extension) = match line.iter().position(|&b| b == b';') {
            Some(at) => (&line[..at], Some(&line[at + 1..])),
            None => (line, None),
        };
        let digits =
            (1..=MOST_DIGITS).contains(&size.len()) && size.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(size).ok().filter(|_| digits);
        let size = text
            .and_then(|text| u64::from_str_radix(text, 16).ok())
            .ok_or(NO_SIZE)?;
        if let Some(chain) = &mut self.chain {
            let claimed = extension.and_then(|e| e.strip_prefix(b"chunk-signature="));
            chain.claimed = claimed.ok_or(BadChunk::Signature)?.to_vec();
        }
        self.state = if size > 0 {
            State::Data(size)
        } else {
            self.check_piece()?;
            State::Trailers
        };
        Ok(())
    }

    fn check_piece(&mut self) -> Result<(), BadChunk> {
        self.chain.as_mut().map_or(Ok(()), Chain::check_piece)
    }

    fn trailer(&mut self, line: &[u8]) -> Result<(), BadChunk> {
        const NONE: BadChunk = BadChunk::Framing("a trailer is no checksum");
        if line.is_empty() {
            // What is signed has an empty line before its signature as well.
            let awaits_signature =
                self.pieces == Pieces::SignedWithTrailer && self.trailer_signature.is_none();
            return if awaits_signature { Ok(()) } else { self.end() };
        }
        let colon = line.iter().position(|&b| b == b':').ok_or(NONE)?;
        let name = std::str::from_utf8(&line[..colon]).map_err(|_| NONE)?;
        let name = name.trim().to_ascii_lowercase();
        let value = line[colon + 1..].trim_ascii().to_vec();
        if name == "x-amz-trailer-signature" && self.trailer_signature.is_none() {
            self.trailer_signature = Some(value);
            return Ok(());
        }
        let is_checksum = name.starts_with("x-amz-checksum-")
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && value.iter().all(u8::is_ascii_graphic);
        let room = self.pieces.have_trailers()
            && self.trailers.len() < MOST_TRAILERS
            && self.trailer_signature.is_none();
        if !is_checksum || !room || self.trailers.iter().any(|t| t.name == name) {
            return Err(NONE);
        }
        self.trailers.push(HeaderField { name, value });
        Ok(())
    }

    fn end(&mut self) -> Result<(), BadChunk> {
        if let (Some(chain), true) = (&self.chain, self.pieces.have_trailers()) {
            chain.check_trailers(&self.trailers, self.trailer_signature.as_deref())?;
        }
        self.state = State::Done;
        Ok(())
    }
}

#[cfg(test)]
#[path = "chunked_tests.rs"]
mod tests;
