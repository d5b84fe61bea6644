//! The canonical request: one text for everything of a request that is signed.

use countersign_model::{Digest, HeaderField};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// What stays as it is besides letters and digits (RFC 3986 section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const OF_A_PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// How a service reads the path that it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    /// S3 and its like: an object's key as it is, encoded once. `//` is two.
    Verbatim,
    /// Everything else: encoded once more than on the wire, `//` is one.
    Encoded,
}

impl Paths {
    /// Which one the service of this signing name has.
    #[must_use]
    pub fn of(service: &str) -> Self {
        match service {
            "s3" | "s3-object-lambda" | "s3-outposts" => Self::Verbatim,
            _ => Self::Encoded,
        }
    }
}

/// A request, as far as it is signed. Borrowed: nothing is copied before it is read.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Upper case.
    pub method: &'a str,
    /// As on the wire; begins with `/`. Without dot segments: whoever made the
    /// request has refused them, since S3 takes them for names.
    pub path: &'a str,
    /// As on the wire, without `?`.
    pub query: Option<&'a str>,
    /// Names in lower case, in order, `host` among them.
    pub headers: &'a [HeaderField],
}

/// The digest of the canonical request, which is what is signed. `signed` are the
/// names of the headers that count, sorted.
pub(crate) fn digest(parts: &Parts<'_>, signed: &[&str], paths: Paths, payload: &str) -> Digest {
    let mut text = Vec::with_capacity(1024);
    let mut line = |bytes: &[u8]| {
        text.extend_from_slice(bytes);
        text.push(b'\n');
    };
    line(parts.method.as_bytes());
    line(path(parts.path, paths).as_bytes());
    line(query(parts.query.unwrap_or_default()).as_bytes());
    for name in signed {
        let mut header = name.as_bytes().to_vec();
        header.push(b':');
        let mut values = parts.headers.iter().filter(|h| h.name == *name);
        if let Some(first) = values.next() {
            push_value(&first.value, &mut header);
        }
        for more in values {
            header.push(b',');
            push_value(&more.value, &mut header);
        }
        line(&header);
    }
    line(b"");
    line(signed.join(";").as_bytes());
    text.extend_from_slice(payload.as_bytes());
    Digest::of(&text)
}

/// Without spaces around it, and with one where there are several.
fn push_value(value: &[u8], to: &mut Vec<u8>) {
    let mut after_space = false;
    for &byte in value.trim_ascii() {
        if !(byte == b' ' && after_space) {
            to.push(byte);
        }
        after_space = byte == b' ';
    }
}

fn path(path: &str, paths: Paths) -> String {
    match paths {
        Paths::Verbatim => encoded(path, OF_A_PATH),
        Paths::Encoded => {
            let mut single = String::with_capacity(path.len());
            for character in path.chars() {
                if !(character == '/' && single.ends_with('/')) {
                    single.push(character);
                }
            }
            percent_encode(single.as_bytes(), OF_A_PATH).to_string()
        }
    }
}

fn query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encoded(name, UNRESERVED), encoded(value, UNRESERVED))
        })
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
    pairs.join("&")
}

/// Encoded once, whatever of it was encoded before.
fn encoded(text: &str, leave: &'static AsciiSet) -> String {
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    percent_encode(&bytes, leave).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_takes_a_path_for_a_name_and_others_encode_it_once_more() {
        for (on_the_wire, verbatim, again) in [
            ("/", "/", "/"),
            ("/b/a%20b", "/b/a%20b", "/b/a%2520b"),
            ("/b//c/", "/b//c/", "/b/c/"),
            ("/b/%e1%88%b4", "/b/%E1%88%B4", "/b/%25e1%2588%25b4"),
            ("/b/a+b(1)", "/b/a%2Bb%281%29", "/b/a%2Bb%281%29"),
            ("/b/a%2Fb~", "/b/a/b~", "/b/a%252Fb~"),
        ] {
            assert_eq!(path(on_the_wire, Paths::Verbatim), verbatim);
            assert_eq!(path(on_the_wire, Paths::Encoded), again);
        }
    }

    #[test]
    fn a_query_is_sorted_by_what_is_encoded() {
        for (on_the_wire, canonical) in [
            ("", ""),
            ("acl", "acl="),
            ("b=2&a=1&a=0&", "a=0&a=1&b=2"),
            ("p=a%2fb&P=~", "P=~&p=a%2Fb"),
            ("a=b=c", "a=b%3Dc"),
        ] {
            assert_eq!(query(on_the_wire), canonical);
        }
    }
}
