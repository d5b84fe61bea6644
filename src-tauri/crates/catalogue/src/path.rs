//! Paths and path templates.
//!
//! A template is matched against the *decoded* segments of a path, so that
//! `/%6Dessages` is not a way around `/messages`. A path that servers could
//! split in different ways matches nothing.

use percent_encoding::percent_decode_str;
use std::cmp::Ordering;

/// What template parameters stand for, in the template's order.
pub(crate) type Params = Vec<(&'static str, String)>;

/// The decoded segments of a path that can be read in one way only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segments(Vec<String>);

impl Segments {
    /// Reads a path. One trailing slash is ignored.
    ///
    /// `None` for what servers read differently: empty or dot segments, bad or
    /// double percent-encoding, controls, backslashes, bytes that are not UTF-8.
    pub(crate) fn of(path: &str) -> Option<Self> {
        if path == "/" {
            return Some(Self(Vec::new()));
        }
        let inner = path.strip_prefix('/')?;
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        inner
            .split('/')
            .map(decode)
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
    /// The decoded segments.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// One segment, decoded; `None` when it can be read in more than one way. An
/// encoded slash stays: only a template's rest may take it.
fn decode(segment: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !segment.is_empty() && segment.bytes().all(plain) {
        return Some(segment.to_owned());
    }
    if has_bad_escape(segment) {
        return None;
    }
    let text = percent_decode_str(segment).decode_utf8().ok()?.into_owned();
    let dotted = text.split('/').any(|part| matches!(part, "" | "." | ".."));
    let odd = text.chars().any(|c| c.is_control() || c == '\\') || has_good_escape(&text);
    (!dotted && !odd).then_some(text)
}

fn is_escape(rest: &[u8]) -> bool {
    matches!(rest, [b'%', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

fn has_bad_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len()).any(|i| bytes[i] == b'%' && !is_escape(&bytes[i..]))
}

fn has_good_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len()).any(|i| is_escape(&bytes[i..]))
}

/// A path as the laxest server might read it: decoded twice, lower case, empty
/// and dot segments resolved, `;parameters` cut. What matches only like this
/// may raise a judgement, never lower it.
pub(crate) fn loosely(path: &str) -> Vec<String> {
    let once = percent_decode_str(path).decode_utf8_lossy().into_owned();
    let twice = percent_decode_str(&once).decode_utf8_lossy().to_lowercase();
    let mut segments: Vec<String> = Vec::new();
    for segment in twice.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or("") {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name.to_owned()),
        }
    }
    segments
}

/// One segment of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Literal(&'static str),
    /// `{name}`, or `before{name}after` as in `{name}:verb`.
    Param {
        before: &'static str,
        name: &'static str,
        after: &'static str,
    },
    /// `{name**}`: everything that is left, possibly nothing.
    Rest(&'static str),
}

fn piece(segment: &'static str) -> Piece {
    let parts = segment.split_once('{').and_then(|(before, rest)| {
        rest.split_once('}')
            .map(|(name, after)| (before, name, after))
    });
    match parts {
        None => Piece::Literal(segment),
        Some((before, name, after)) => match name.strip_suffix("**") {
            Some(name) => Piece::Rest(name),
            None => Piece::Param {
                before,
                name,
                after,
            },
        },
    }
}

/// A template such as `/users/{id}/files/{path**}`, taken apart once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Template {
    /// As it is written.
    pub(crate) text: &'static str,
    pieces: &'static [Piece],
    /// Segments that it takes: exactly so many, or at least when it has a rest.
    fixed: usize,
    open: bool,
}

impl Template {
    /// Takes a template apart. The parts live as long as the program, like the
    /// tables that they are of.
    pub(crate) fn of(text: &'static str) -> Self {
        let segments = text.split('/').filter(|s| !s.is_empty());
        let pieces: &[Piece] = Box::leak(segments.map(piece).collect());
        let open = pieces.iter().any(|piece| matches!(piece, Piece::Rest(_)));
        Self {
            text,
            pieces,
            fixed: pieces.len() - usize::from(open),
            open,
        }
    }

    /// The least number of segments that it takes.
    pub(crate) const fn fixed(&self) -> usize {
        self.fixed
    }

    /// Whether it takes so many.
    pub(crate) const fn takes(&self, segments: usize) -> bool {
        segments == self.fixed || (self.open && segments > self.fixed)
    }

    /// Whether a path can match, without a look at its parameters. Spares most
    /// comparisons: templates differ in their length, or in a word.
    pub(crate) fn may_match(&self, path: &Segments) -> bool {
        let differs = |(piece, segment): (&Piece, &String)| matches!(piece, Piece::Literal(literal) if segment != literal);
        self.takes(path.len()) && !self.pieces.iter().zip(&path.0).any(differs)
    }

    /// What the parameters stand for, if the path matches.
    pub(crate) fn matches(&self, path: &Segments) -> Option<Params> {
        if !self.may_match(path) {
            return None;
        }
        let mut params = Params::new();
        let mut segments = path.0.iter();
        for piece in self.pieces {
            if let Piece::Rest(name) = piece {
                let rest: Vec<_> = segments.map(String::as_str).collect();
                params.push((name, rest.join("/")));
                return Some(params);
            }
            let segment = segments.next()?;
            match piece {
                Piece::Literal(literal) if segment == literal => {}
                Piece::Param {
                    before,
                    name,
                    after,
                } if !segment.contains('/') => {
                    let value = segment.strip_prefix(before)?.strip_suffix(after)?;
                    if value.is_empty() {
                        return None;
                    }
                    params.push((name, value.to_owned()));
                }
                _ => return None,
            }
        }
        segments.next().is_none().then_some(params)
    }

    /// Which of two templates that match the same path says more about it.
    pub(crate) fn by_precision(&self, other: &Self) -> Ordering {
        self.weights().cmp(other.weights())
    }

    fn weights(&self) -> impl Iterator<Item = u8> {
        let weigh = |piece: &Piece| match piece {
            Piece::Literal(_) => 3,
            Piece::Param { before, after, .. } if !before.is_empty() || !after.is_empty() => 2,
            Piece::Param { .. } => 1,
            Piece::Rest(_) => 0,
        };
        // The end of a template says more than a rest that happens to be empty.
        self.pieces.iter().map(weigh).chain(std::iter::once(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_precision(a: &'static str, b: &'static str) -> Ordering {
        Template::of(a).by_precision(&Template::of(b))
    }

    fn at(template: &'static str, path: &str) -> Option<Params> {
        Template::of(template).matches(&Segments::of(path)?)
    }

    #[test]
    fn parameters_take_one_decoded_segment_and_the_rest_takes_all() {
        assert_eq!(at("/a/{x}/c", "/a/%62/c"), Some(vec![("x", "b".into())]));
        assert_eq!(
            at("/a/{x}:undo", "/a/b:undo/"),
            Some(vec![("x", "b".into())])
        );
        assert_eq!(at("/a/{x}:undo", "/a/:undo"), None);
        assert_eq!(
            at("/f/{p**}", "/f/a/b%2Fc"),
            Some(vec![("p", "a/b/c".into())])
        );
        assert_eq!(at("/f/{p**}", "/f"), Some(vec![("p", String::new())]));
        assert_eq!(at("/a/{x}", "/a/b/c"), None);
        assert_eq!(at("/a/b", "/A/b"), None);
    }

    #[test]
    fn a_path_that_can_be_read_in_two_ways_matches_nothing() {
        for path in [
            "/a//b",
            "/a/./b",
            "/a/../b",
            "/a/%2e%2E/b",
            "/a/%00",
            "/a/%5cb",
            "/a/b%2F..",
            "/a/%",
            "/a/%zz",
            "/a/%252e%252e",
            "/a/%ff",
            "a/b",
            "",
            "/a/%0a",
            "//",
        ] {
            assert_eq!(Segments::of(path), None, "{path}");
        }
        assert_eq!(
            at("/a/{x}", "/a/b%2Fc"),
            None,
            "an encoded slash fits no single segment"
        );
    }

    #[test]
    fn literals_outweigh_parameters_from_the_left() {
        assert_eq!(by_precision("/a/b", "/a/{x}"), Ordering::Greater);
        assert_eq!(by_precision("/a/{x}:go", "/a/{x}"), Ordering::Greater);
        assert_eq!(by_precision("/{y}/b", "/a/{x**}"), Ordering::Less);
        assert_eq!(by_precision("/a/{x}", "/a/{y}"), Ordering::Equal);
        assert_eq!(by_precision("/a", "/a/{x**}"), Ordering::Greater);
    }

    #[test]
    fn the_lax_reading_sees_through_disguises() {
        for path in [
            "/Admin/purge",
            "//admin/./purge",
            "/x/../admin/purge;a=b/",
            "/%61dmin%2Fpurge",
            "/%2561dmin/purge",
        ] {
            assert_eq!(loosely(path), ["admin", "purge"], "{path}");
        }
    }
}
