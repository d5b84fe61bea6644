//! Guarantee G1: no credential comes back. Searches headers and bodies of
//! replies for a credential in the forms in which an upstream may echo it.
//!
//! Found: as it is; base64 (standard and URL-safe, at each of the three
//! offsets, padded or not); hexadecimal in one case; UTF-16; and all of these
//! under percent-encoding, JSON or script escapes (`\uXXXX`, `\xXX`, `\/`),
//! HTML character references, or a mixture of them, in part or in full; across
//! any division into chunks.
//!
//! Not found: what was compressed or encrypted inside the body, base64 broken
//! into lines, a credential of fewer than five bytes inside base64, a credential
//! that the upstream was asked to reverse or to spell. Which part of a body an
//! agent may ask for is therefore not its choice (no `Range` where there is a
//! credential).
//!
//! A chunk is passed on as soon as nothing in it can be the beginning of a
//! match; what can be is held back, at most twelve times the longest form.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use countersign_broker::Secret;
use memchr::memmem;
use std::fmt;
use std::sync::Arc;
use zeroize::{Zeroize as _, Zeroizing};

/// Forms that were derived from a credential are looked for only when they are
/// at least this long: shorter ones stand in innocent replies.
const SHORTEST_DERIVED: usize = 6;

/// The longest escape: a surrogate pair, `\uD83D\uDE00`.
const LONGEST_ESCAPE: usize = 12;

/// Every form of every credential that must not come back.
#[derive(Clone, Default)]
pub(crate) struct Needles(Arc<Vec<Zeroizing<Vec<u8>>>>);

impl fmt::Debug for Needles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Needles(…)")
    }
}

impl Needles {
    pub(crate) fn of(secrets: &[Secret]) -> Self {
        let mut forms = Vec::new();
        for secret in secrets.iter().filter(|s| !s.is_empty()) {
            add_forms(secret.expose(), &mut forms);
        }
        forms.sort_unstable_by(|a, b| a.as_slice().cmp(b.as_slice()));
        forms.dedup();
        Self(Arc::new(forms))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a credential is in these bytes, which are all there is.
    pub(crate) fn in_whole(&self, bytes: &[u8]) -> bool {
        !self.is_empty() && (self.in_view(bytes) || views(bytes).any(|view| self.in_view(&unescape(bytes, view, true).text)))
    }

    fn in_view(&self, text: &[u8]) -> bool {
        self.0.iter().any(|form| memmem::find(text, form).is_some())
    }

    /// Where the longest end of `text` starts that begins a form.
    fn begun_in(&self, text: &[u8]) -> usize {
        let mut earliest = text.len();
        for form in self.0.iter() {
            let window = text.len().saturating_sub(form.len() - 1).min(earliest);
            for at in memchr::memchr_iter(form[0], &text[window..earliest]) {
                if form.starts_with(&text[window + at..]) {
                    earliest = window + at;
                    break;
                }
            }
        }
        earliest
    }
}

fn add_forms(secret: &[u8], forms: &mut Vec<Zeroizing<Vec<u8>>>) {
    forms.push(Zeroizing::new(secret.to_vec()));
    let mut derived = Vec::new();
    // Whatever precedes it, the secret begins at one of three places in a
    // group of four characters. Characters that also hold bits of a neighbour
    // are left out, and with them the padding.
    for before in 0..3usize {
        let mut shifted = Zeroizing::new(vec![0u8; before]);
        shifted.extend_from_slice(secret);
        let first = (before * 8).div_ceil(6);
        let last = shifted.len() * 8 / 6;
        for text in [STANDARD_NO_PAD.encode(&*shifted), URL_SAFE_NO_PAD.encode(&*shifted)] {
            let text = Zeroizing::new(text);
            derived.push(text.as_bytes().get(first..last).unwrap_or(&[]).to_vec());
        }
    }
    for table in [b"0123456789abcdef", b"0123456789ABCDEF"] {
        derived.push(secret.iter().flat_map(|b| [table[usize::from(b >> 4)], table[usize::from(b & 15)]]).collect());
    }
    if let Ok(text) = std::str::from_utf8(secret) {
        derived.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        derived.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    }
    forms.extend(derived.into_iter().filter(|form| form.len() >= SHORTEST_DERIVED).map(Zeroizing::new));
}

/// Which escapes a view undoes. A reply is searched under each, because one
/// and the same text means different things to different readers.
#[derive(Clone, Copy)]
struct View {
    percent: bool,
    backslash: bool,
    html: bool,
}

/// The views that differ from the text itself.
fn views(text: &[u8]) -> impl Iterator<Item = View> {
    let percent = memchr::memchr(b'%', text).is_some();
    let backslash = memchr::memchr(b'\\', text).is_some();
    let html = memchr::memchr(b'&', text).is_some();
    let several = u8::from(percent) + u8::from(backslash) + u8::from(html) > 1;
    let none = View { percent: false, backslash: false, html: false };
    [
        percent.then_some(View { percent: true, ..none }),
        backslash.then_some(View { backslash: true, ..none }),
        html.then_some(View { html: true, ..none }),
        several.then_some(View { percent, backslash, html }),
    ]
    .into_iter()
    .flatten()
}

/// Text with its escapes undone.
struct Unescaped {
    text: Vec<u8>,
    /// Where each byte of `text` comes from.
    from: Vec<u32>,
    /// Where an escape begins that has not come to its end.
    end: usize,
}

impl Unescaped {
    /// The start of the literal byte or escape in which `at` lies.
    fn unit_start(&self, at: usize) -> usize {
        if at >= self.end {
            return self.end;
        }
        let next = self.from.partition_point(|&from| from as usize <= at);
        self.from.get(next.saturating_sub(1)).map_or(0, |&from| from as usize)
    }
}

fn unescape(bytes: &[u8], view: View, is_whole: bool) -> Unescaped {
    let mut out = Unescaped { text: Vec::with_capacity(bytes.len()), from: Vec::with_capacity(bytes.len()), end: bytes.len() };
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let escape = match rest[0] {
            b'%' if view.percent => hex_escape(rest, 1),
            b'\\' if view.backslash => backslash_escape(rest),
            b'&' if view.html => html_escape(rest),
            _ => Escape::No,
        };
        let origin = u32::try_from(at).unwrap_or(u32::MAX);
        match escape {
            Escape::Byte(byte, length) => {
                out.text.push(byte);
                out.from.push(origin);
                at += length;
            }
            Escape::Char(c, length) => {
                let mut utf8 = [0; 4];
                let utf8 = c.encode_utf8(&mut utf8).as_bytes();
                out.text.extend_from_slice(utf8);
                out.from.extend(std::iter::repeat_n(origin, utf8.len()));
                at += length;
            }
            Escape::Unfinished if !is_whole => {
                out.end = at;
                break;
            }
            Escape::No | Escape::Unfinished => {
                out.text.push(rest[0]);
                out.from.push(origin);
                at += 1;
            }
        }
    }
    out
}

/// What stands at a place where an escape may begin.
enum Escape {
    No,
    /// Nobody can tell before more bytes come.
    Unfinished,
    Byte(u8, usize),
    Char(char, usize),
}

fn hex_value(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |n, &d| Some(n * 16 + char::from(d).to_digit(16)?))
}

/// Two hexadecimal digits after `skip` bytes.
fn hex_escape(rest: &[u8], skip: usize) -> Escape {
    match rest.get(skip..skip + 2) {
        Some(digits) => match hex_value(digits).and_then(|n| u8::try_from(n).ok()) {
            Some(byte) => Escape::Byte(byte, skip + 2),
            None => Escape::No,
        },
        None if hex_value(&rest[skip.min(rest.len())..]).is_some() => Escape::Unfinished,
        None => Escape::No,
    }
}

fn backslash_escape(rest: &[u8]) -> Escape {
    let Some(&kind) = rest.get(1) else { return Escape::Unfinished };
    match kind {
        b'"' | b'\\' | b'/' | b'\'' => Escape::Byte(kind, 2),
        b'b' => Escape::Byte(8, 2),
        b'f' => Escape::Byte(12, 2),
        b'n' => Escape::Byte(b'\n', 2),
        b'r' => Escape::Byte(b'\r', 2),
        b't' => Escape::Byte(b'\t', 2),
        b'x' => hex_escape(rest, 2),
        b'u' => unicode_escape(rest),
        _ => Escape::No,
    }
}

fn unicode_escape(rest: &[u8]) -> Escape {
    let unit = |at: usize| rest.get(at..at + 4).and_then(hex_value);
    let Some(high) = unit(2) else {
        return if rest.len() < 6 && hex_value(&rest[2..]).is_some() { Escape::Unfinished } else { Escape::No };
    };
    if let Some(c) = char::from_u32(high) {
        return Escape::Char(c, 6);
    }
    if rest.len() < LONGEST_ESCAPE && b"\\u".starts_with(&rest[6..rest.len().min(8)]) {
        return Escape::Unfinished;
    }
    match unit(8) {
        Some(low) if (0xdc00..0xe000).contains(&low) && (0xd800..0xdc00).contains(&high) && rest[6..8] == *b"\\u" => {
            char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).map_or(Escape::No, |c| Escape::Char(c, 12))
        }
        _ => Escape::No,
    }
}

fn html_escape(rest: &[u8]) -> Escape {
    let window = &rest[..rest.len().min(LONGEST_ESCAPE)];
    let Some(end) = memchr::memchr(b';', window) else {
        let open = window[1..].iter().all(|b| b.is_ascii_alphanumeric() || *b == b'#');
        return if open && rest.len() < LONGEST_ESCAPE { Escape::Unfinished } else { Escape::No };
    };
    let length = end + 1;
    let number = |c: Option<u32>| c.and_then(char::from_u32).map_or(Escape::No, |c| Escape::Char(c, length));
    match &window[1..end] {
        b"amp" => Escape::Byte(b'&', length),
        b"lt" => Escape::Byte(b'<', length),
        b"gt" => Escape::Byte(b'>', length),
        b"quot" => Escape::Byte(b'"', length),
        b"apos" => Escape::Byte(b'\'', length),
        [b'#', b'x' | b'X', hex @ ..] if !hex.is_empty() && hex.len() <= 6 => number(hex_value(hex)),
        [b'#', digits @ ..] if !digits.is_empty() && digits.len() <= 7 => {
            number(std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()))
        }
        _ => Escape::No,
    }
}

/// A credential stands in the reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found;

/// Searches one body as it streams by.
pub(crate) struct Scrubber {
    needles: Needles,
    /// What may be the beginning of a match. It starts where every view is
    /// between two escapes, so that reading may begin anew there.
    held: BytesMut,
}

impl Scrubber {
    pub(crate) fn new(needles: Needles) -> Self {
        Self { needles, held: BytesMut::new() }
    }

    /// Takes the next piece and gives back what may be passed on.
    ///
    /// # Errors
    /// A credential was found; none of it has been given back.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Result<Bytes, Found> {
        if self.needles.is_empty() {
            return Ok(chunk);
        }
        let text = if self.held.is_empty() {
            chunk
        } else {
            self.held.extend_from_slice(&chunk);
            std::mem::take(&mut self.held).freeze()
        };
        let hold = self.search(&text)?;
        if hold < text.len() {
            self.held.extend_from_slice(&text[hold..]);
        }
        Ok(text.slice(..hold))
    }

    /// The body is over: what was held back begins no match any more.
    ///
    /// # Errors
    /// A credential was found in it.
    pub(crate) fn finish(&mut self) -> Result<Bytes, Found> {
        let rest = std::mem::take(&mut self.held).freeze();
        if self.needles.in_whole(&rest) { Err(Found) } else { Ok(rest) }
    }

    /// Where the part begins that must be held back.
    fn search(&self, text: &[u8]) -> Result<usize, Found> {
        if self.needles.in_view(text) {
            return Err(Found);
        }
        let mut hold = self.needles.begun_in(text);
        let mut seen: [Option<Unescaped>; 4] = [None, None, None, None];
        for (slot, view) in seen.iter_mut().zip(views(text)) {
            let mut unescaped = unescape(text, view, false);
            if self.needles.in_view(&unescaped.text) {
                unescaped.text.zeroize();
                return Err(Found);
            }
            let begun = self.needles.begun_in(&unescaped.text);
            let from = unescaped.from.get(begun).map_or(unescaped.end, |&from| from as usize);
            hold = hold.min(from);
            *slot = Some(unescaped);
        }
        // To a place that is between two escapes in every view.
        loop {
            let before = hold;
            for unescaped in seen.iter().flatten() {
                hold = unescaped.unit_start(hold).min(hold);
            }
            if hold == before {
                return Ok(hold);
            }
        }
    }
}

#[cfg(test)]
#[path = "scrub_tests.rs"]
mod tests;
