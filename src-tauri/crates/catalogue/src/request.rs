//! The request as the catalogue sees it.

use countersign_model::HeaderField;

/// A request after the gateway has normalised it, and exactly as it would be
/// forwarded.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// The method, upper case.
    pub method: &'a str,
    /// The host, lower case, without port or trailing dot.
    pub host: &'a str,
    /// The path, normalised and still percent-encoded; begins with `/`.
    pub path: &'a str,
    /// The query without `?`, still percent-encoded.
    pub query: Option<&'a str>,
    /// Every header that would be forwarded; names in lower case.
    pub headers: &'a [HeaderField],
    /// The body.
    pub body: BodyView<'a>,
}

/// What the catalogue may know of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyView<'a> {
    /// There is none.
    None,
    /// All of it, with any content encoding undone.
    Whole(&'a [u8]),
    /// It is larger than the gateway reads.
    TooLarge {
        /// Its length in bytes, where the client stated one.
        length: Option<u64>,
    },
    /// It has a content encoding that was not undone.
    Encoded,
    /// It was not read, because [`needs_body`](crate::needs_body) said that
    /// nothing depends on it.
    Streaming,
}

/// The values of a header, by its lower-case name.
pub(crate) fn header<'a>(
    headers: &'a [HeaderField],
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value.as_slice())
}
