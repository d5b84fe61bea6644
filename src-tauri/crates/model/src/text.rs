//! Guarantee G7: foreign text is data.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Text that somebody else wrote: an agent, an upstream, an import, a process
/// name. It is kept as it came, and can be shown only neutralised.
///
/// `Debug`, `Display` and [`Foreign::quoted`] all neutralise. [`Foreign::raw`]
/// is for comparing, matching and digests; nothing that a person reads may be
/// built from it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Foreign(String);

impl Foreign {
    /// Wraps text of foreign origin.
    pub fn new(raw: impl Into<String>) -> Self {
        Self(raw.into())
    }
    /// From bytes that ought to be UTF-8; what is not becomes U+FFFD.
    #[must_use]
    pub fn from_bytes(raw: &[u8]) -> Self {
        Self(String::from_utf8_lossy(raw).into_owned())
    }
    /// The text as it came. Never for display.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.0
    }
    /// Whether there is no text at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The whole text, neutralised, without quotation marks or a limit.
    #[must_use]
    pub fn neutral(&self) -> String {
        let mut out = String::with_capacity(self.0.len());
        for c in self.0.chars() {
            neutralise(c, &mut out);
        }
        out
    }
    /// Neutralised, in quotation marks, and at most `limit` characters of it.
    /// What is cut is counted, so that a cut is never mistaken for the end:
    /// `“abc” (+12 characters)`.
    #[must_use]
    pub fn quoted(&self, limit: usize) -> String {
        let total = self.0.chars().count();
        let mut out = String::with_capacity(self.0.len().min(limit * 4) + 24);
        out.push('“');
        for c in self.0.chars().take(limit) {
            // The closing mark is ours alone.
            match c {
                '“' | '”' => out.push('"'),
                c => neutralise(c, &mut out),
            }
        }
        out.push('”');
        if total > limit {
            use fmt::Write as _;
            let _ = write!(out, " (+{} characters)", total - limit);
        }
        out
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted(200))
    }
}
impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted(200))
    }
}
impl From<&str> for Foreign {
    fn from(raw: &str) -> Self {
        Self::new(raw)
    }
}
impl From<String> for Foreign {
    fn from(raw: String) -> Self {
        Self(raw)
    }
}

/// Writes one character so that it can neither move the cursor, reorder its
/// neighbours, vanish, nor break a line. Control, format (Cf), separator and
/// private-use characters, tags and variation selectors become `<U+XXXX>`.
fn neutralise(c: char, out: &mut String) {
    use fmt::Write as _;
    if is_invisible_or_reordering(c) {
        let _ = write!(out, "<U+{:04X}>", u32::from(c));
    } else {
        out.push(c);
    }
}

/// Unicode 16: Cc, Cf, Zl, Zp, the odd spaces, fillers that draw nothing,
/// combining grapheme joiner, variation selectors, tags, private use.
const fn is_invisible_or_reordering(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1F}' | '\u{7F}'..='\u{A0}' | '\u{AD}' | '\u{34F}'
        | '\u{600}'..='\u{605}' | '\u{61C}' | '\u{6DD}' | '\u{70F}' | '\u{890}'..='\u{891}'
        | '\u{8E2}' | '\u{115F}'..='\u{1160}' | '\u{1680}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{2000}'..='\u{200F}' | '\u{2028}'..='\u{202F}'
        | '\u{205F}'..='\u{206F}' | '\u{2800}' | '\u{3000}' | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFC}'
        | '\u{110BD}' | '\u{110CD}' | '\u{13430}'..='\u{13440}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E000}'..='\u{F8FF}' | '\u{E0000}'..='\u{E0FFF}'
        | '\u{F0000}'..='\u{10FFFF}')
}

/// One piece of a sentence of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// Our own words.
    Ours(String),
    /// A value that somebody else chose, shown quoted.
    Foreign(Foreign),
}

/// A sentence that says what a request would do: our words, with foreign
/// values in their places. Built with [`Words::ours`] and [`Words::foreign`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Words(Vec<Span>);

impl Words {
    /// Begins a sentence with words of ours.
    pub fn new(ours: impl Into<String>) -> Self {
        Self::default().ours(ours)
    }
    /// Adds words of ours.
    #[must_use]
    pub fn ours(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Ours(text.into()));
        self
    }
    /// Adds a value that somebody else chose.
    #[must_use]
    pub fn foreign(mut self, text: impl Into<Foreign>) -> Self {
        self.0.push(Span::Foreign(text.into()));
        self
    }
    /// The pieces, for surfaces that style foreign text.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.0
    }
    /// Whether every foreign value is short enough to be shown whole at `limit`
    /// characters each. Where not, a surface must not offer Approve.
    #[must_use]
    pub fn fits(&self, limit: usize) -> bool {
        self.0.iter().all(|s| match s {
            Span::Ours(_) => true,
            Span::Foreign(f) => f.raw().chars().count() <= limit,
        })
    }
    /// The sentence with foreign values quoted and cut at `limit` characters.
    #[must_use]
    pub fn shown(&self, limit: usize) -> String {
        self.0
            .iter()
            .map(|span| match span {
                Span::Ours(text) => text.clone(),
                Span::Foreign(text) => text.quoted(limit),
            })
            .collect()
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown(120))
    }
}

/// A number as people read it: `4,312`.
#[must_use]
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

impl Words {
    /// Adds a number with thousands separated: `4,312`.
    #[must_use]
    pub fn number(self, n: u64) -> Self {
        self.ours(grouped(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_reorder_hide_or_break_the_line_it_stands_in() {
        let evil = Foreign::new("a\u{202E}b\nc\u{200B}d\u{1b}[2Je\u{E0041}”f");
        let shown = evil.quoted(100);
        assert_eq!(
            shown,
            "“a<U+202E>b<U+000A>c<U+200B>d<U+001B>[2Je<U+E0041>\"f”"
        );
        assert_eq!(format!("{evil}"), shown);
        assert_eq!(format!("{evil:?}"), shown);
    }

    #[test]
    fn a_cut_is_never_mistaken_for_the_end() {
        assert_eq!(Foreign::new("abcdef").quoted(4), "“abcd” (+2 characters)");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let words = Words::new("Delete ")
            .number(4312)
            .ours(" messages for good");
        assert_eq!(words.to_string(), "Delete 4,312 messages for good");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }
}
