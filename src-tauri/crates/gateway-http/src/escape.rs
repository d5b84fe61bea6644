//! Escapes that may hide a credential in a reply, undone.

/// The longest escape: a surrogate pair, `\uD83D\uDE00`.
pub(crate) const LONGEST_ESCAPE: usize = 12;

/// Which escapes are undone, by the byte that each begins with. A reply is
/// searched under several views, because one and the same text means different
/// things to different readers.
#[derive(Clone, Copy)]
pub(crate) struct View([u8; 3]);

/// The views that differ from the text itself.
pub(crate) fn views(text: &[u8]) -> impl Iterator<Item = View> {
    let has = |byte: u8| memchr::memchr(byte, text).is_some();
    let (percent, backslash, html) = (has(b'%'), has(b'\\'), has(b'&'));
    let several = u8::from(percent) + u8::from(backslash) + u8::from(html) > 1;
    [
        percent.then_some(View([b'%'; 3])),
        backslash.then_some(View([b'\\'; 3])),
        html.then_some(View([b'&'; 3])),
        several.then_some(View([b'%', b'\\', b'&'])),
    ]
    .into_iter()
    .flatten()
}

/// Text with its escapes undone.
pub(crate) struct Unescaped {
    pub(crate) text: Vec<u8>,
    escapes: Vec<Undone>,
    /// Where an escape begins that has not come to its end.
    end: usize,
}

/// One escape that was undone: where it stood, and where its meaning stands.
struct Undone {
    raw: usize,
    raw_length: usize,
    text: usize,
    text_length: usize,
}

impl Unescaped {
    /// Where the literal byte or escape begins that `text[at]` comes from.
    pub(crate) fn origin(&self, at: usize) -> usize {
        let next = self.escapes.partition_point(|e| e.text <= at);
        let raw = match next.checked_sub(1).map(|last| &self.escapes[last]) {
            None => at,
            Some(e) if at < e.text + e.text_length => e.raw,
            Some(e) => e.raw + e.raw_length + (at - e.text - e.text_length),
        };
        raw.min(self.end)
    }

    /// Where the literal byte or escape begins in which the raw text's `at` lies.
    pub(crate) fn unit_start(&self, at: usize) -> usize {
        let next = self.escapes.partition_point(|e| e.raw <= at);
        let start = match next.checked_sub(1).map(|last| &self.escapes[last]) {
            Some(e) if at < e.raw + e.raw_length => e.raw,
            _ => at,
        };
        start.min(self.end)
    }
}

/// Undoes the escapes of a view. Unless the text is whole, an escape at its end
/// that may go on is left out.
pub(crate) fn unescape(bytes: &[u8], view: View, is_whole: bool) -> Unescaped {
    let [a, b, c] = view.0;
    let mut out = Unescaped {
        text: Vec::with_capacity(bytes.len()),
        escapes: Vec::new(),
        end: bytes.len(),
    };
    let mut at = 0;
    while let Some(skip) = memchr::memchr3(a, b, c, &bytes[at..]) {
        out.text.extend_from_slice(&bytes[at..at + skip]);
        at += skip;
        let rest = &bytes[at..];
        let escape = match rest[0] {
            b'%' => hex_escape(rest, 1),
            b'\\' => backslash_escape(rest),
            _ => html_escape(rest),
        };
        let text = out.text.len();
        let raw_length = match escape {
            Escape::Byte(byte, length) => {
                out.text.push(byte);
                length
            }
            Escape::Char(c, length) => {
                out.text
                    .extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                length
            }
            Escape::Unfinished if !is_whole => {
                out.end = at;
                return out;
            }
            Escape::No | Escape::Unfinished => {
                out.text.push(rest[0]);
                1
            }
        };
        if raw_length > 1 {
            let text_length = out.text.len() - text;
            out.escapes.push(Undone {
                raw: at,
                raw_length,
                text,
                text_length,
            });
        }
        at += raw_length;
    }
    out.text.extend_from_slice(&bytes[at..]);
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
    digits
        .iter()
        .try_fold(0, |n, &d| Some(n * 16 + char::from(d).to_digit(16)?))
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
    let Some(&kind) = rest.get(1) else {
        return Escape::Unfinished;
    };
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
        return if rest.len() < 6 && hex_value(&rest[2..]).is_some() {
            Escape::Unfinished
        } else {
            Escape::No
        };
    };
    if let Some(c) = char::from_u32(high) {
        return Escape::Char(c, 6);
    }
    if rest.len() < LONGEST_ESCAPE && b"\\u".starts_with(&rest[6..rest.len().min(8)]) {
        return Escape::Unfinished;
    }
    match unit(8) {
        Some(low)
            if (0xdc00..0xe000).contains(&low)
                && (0xd800..0xdc00).contains(&high)
                && rest[6..8] == *b"\\u" =>
        {
            char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
                .map_or(Escape::No, |c| Escape::Char(c, 12))
        }
        _ => Escape::No,
    }
}

fn html_escape(rest: &[u8]) -> Escape {
    let window = &rest[..rest.len().min(LONGEST_ESCAPE)];
    let Some(end) = memchr::memchr(b';', window) else {
        let open = window[1..]
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'#');
        return if open && rest.len() < LONGEST_ESCAPE {
            Escape::Unfinished
        } else {
            Escape::No
        };
    };
    let length = end + 1;
    let number = |c: Option<u32>| {
        c.and_then(char::from_u32)
            .map_or(Escape::No, |c| Escape::Char(c, length))
    };
    match &window[1..end] {
        b"amp" => Escape::Byte(b'&', length),
        b"lt" => Escape::Byte(b'<', length),
        b"gt" => Escape::Byte(b'>', length),
        b"quot" => Escape::Byte(b'"', length),
        b"apos" => Escape::Byte(b'\'', length),
        [b'#', b'x' | b'X', hex @ ..] if !hex.is_empty() && hex.len() <= 6 => {
            number(hex_value(hex))
        }
        [b'#', digits @ ..] if !digits.is_empty() && digits.len() <= 7 => number(
            std::str::from_utf8(digits)
                .ok()
                .and_then(|d| d.parse().ok()),
        ),
        _ => Escape::No,
    }
}
