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
//! match; what can be is held back, at most twelve times the longest form. Where
//! the upstream pauses, a held end of at most three bytes goes on all the same
//! (it would keep a conversation waiting for ever), and a match that is completed
//! after it is found as if it had been kept.

use crate::escape::{Unescaped, unescape, views};
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

/// Where a form may begin, so many bytes are compared: enough to tell.
const LOOK: usize = 16;
/// In so many places of a text, and no more.
const MOST_LOOKS: usize = 64;

/// So little of a credential's beginning says nothing: most begin alike.
const SHORT: usize = 3;

/// Every form of every credential that must not come back.
#[derive(Clone, Default)]
pub(crate) struct Needles(Arc<Forms>);

/// Not one of them is empty.
#[derive(Default)]
struct Forms {
    all: Vec<Zeroizing<Vec<u8>>>,
    beginnings: Beginnings,
}

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
        let beginnings = Beginnings::of(&forms);
        Self(Arc::new(Forms {
            all: forms,
            beginnings,
        }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.all.is_empty()
    }

    /// Whether a credential is in these bytes, which are all there is.
    pub(crate) fn in_whole(&self, bytes: &[u8]) -> bool {
        !self.is_empty()
            && (self.in_view(bytes)
                || views(bytes).any(|view| self.in_view(&unescape(bytes, view, true).text)))
    }

    fn in_view(&self, text: &[u8]) -> bool {
        let pairs = text.windows(2).enumerate();
        let mut begun = pairs.filter(|(_, pair)| self.0.beginnings.may_be(pair[0], pair[1]));
        for _ in 0..MOST_LOOKS {
            let Some((at, _)) = begun.next() else {
                let last = text.last();
                let is_last = |form: &[u8]| form.len() == 1 && form.first() == last;
                return self.0.all.iter().any(|form| is_last(form));
            };
            let looked_at = &text[at..text.len().min(at + LOOK)];
            let seems = |form: &[u8]| looked_at.starts_with(&form[..form.len().min(LOOK)]);
            if self.0.all.iter().any(|form| seems(form)) {
                break;
            }
        }
        // It is there, or somebody means to make this slow: the search whose time
        // grows with the text alone. It is prepared for each form that fits.
        let mut fit = self.0.all.iter().filter(|form| form.len() <= text.len());
        fit.any(|form| memmem::find(text, form).is_some())
    }

    /// Where the longest end of `text` starts that begins a form.
    fn begun_in(&self, text: &[u8]) -> usize {
        let longest = self.0.all.iter().map(|form| form.len()).max().unwrap_or(0);
        let window = text.len().saturating_sub(longest.saturating_sub(1));
        let begins = |end: &[u8]| {
            let possible = match end {
                [first, second, ..] => self.0.beginnings.may_be(*first, *second),
                _ => true,
            };
            let mut longer = self.0.all.iter().filter(|form| form.len() > end.len());
            possible && longer.any(|form| form.starts_with(end))
        };
        (window..text.len())
            .find(|&at| begins(&text[at..]))
            .unwrap_or(text.len())
    }
}

/// The first two bytes of all forms, of each its lower six bits: one pass over a
/// text finds the few places where a form may begin, however many forms there are.
#[derive(Clone)]
struct Beginnings([u64; 64]);

impl Default for Beginnings {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl Beginnings {
    fn of(forms: &[Zeroizing<Vec<u8>>]) -> Self {
        let mut this = Self::default();
        for form in forms {
            match form.as_slice() {
                [first, second, ..] => this.0[usize::from(first & 63)] |= 1 << (second & 63),
                // Whatever follows it.
                [only] => this.0[usize::from(only & 63)] = u64::MAX,
                [] => {}
            }
        }
        this
    }

    const fn may_be(&self, first: u8, second: u8) -> bool {
        self.0[(first & 63) as usize] >> (second & 63) & 1 == 1
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
        for text in [
            STANDARD_NO_PAD.encode(&*shifted),
            URL_SAFE_NO_PAD.encode(&*shifted),
        ] {
            let text = Zeroizing::new(text);
            derived.push(text.as_bytes().get(first..last).unwrap_or(&[]).to_vec());
        }
    }
    for table in [b"0123456789abcdef", b"0123456789ABCDEF"] {
        derived.push(
            secret
                .iter()
                .flat_map(|b| [table[usize::from(b >> 4)], table[usize::from(b & 15)]])
                .collect(),
        );
    }
    if let Ok(text) = std::str::from_utf8(secret) {
        derived.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        derived.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    }
    forms.extend(
        derived
            .into_iter()
            .filter(|form| form.len() >= SHORTEST_DERIVED)
            .map(Zeroizing::new),
    );
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
    /// How much of it was passed on already, in a pause.
    passed: usize,
}

impl Scrubber {
    pub(crate) fn new(needles: Needles) -> Self {
        Self {
            needles,
            held: BytesMut::new(),
            passed: 0,
        }
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
        let passed = std::mem::take(&mut self.passed);
        self.passed = passed.saturating_sub(hold);
        Ok(text.slice(passed.min(hold)..hold))
    }

    /// What may go on when nothing follows for now: a held end of at most
    /// [`SHORT`] bytes. It stays known, so that what follows it is found.
    pub(crate) fn pause(&mut self) -> Bytes {
        if self.held.len() > SHORT {
            return Bytes::new();
        }
        let end = Bytes::copy_from_slice(&self.held[self.passed..]);
        self.passed = self.held.len();
        end
    }

    /// The body is over: what was held back begins no match any more.
    ///
    /// # Errors
    /// A credential was found in it.
    pub(crate) fn finish(&mut self) -> Result<Bytes, Found> {
        let rest = std::mem::take(&mut self.held).freeze();
        if self.needles.in_whole(&rest) {
            Err(Found)
        } else {
            Ok(rest.slice(std::mem::take(&mut self.passed)..))
        }
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
            hold = hold.min(unescaped.origin(begun));
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
