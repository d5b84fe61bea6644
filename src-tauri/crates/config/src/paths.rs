//! The keys of `effects`: `"METHOD /path"`.

use crate::problem::Problems;
use crate::section::Text;

/// Method and path pattern of a key of `effects`.
///
/// The method is upper case. The path is what travels, percent-encoded where it
/// must be; a segment `*` stands for exactly one segment, a trailing `/**` for
/// any rest. Anything that two programs could read differently is refused: an
/// empty, `.` or `..` segment, a backslash, a query, an encoded letter, `/` or
/// dot.
pub(crate) fn operation(key: Text<'_>, problems: &mut Problems<'_>) -> Option<(String, String)> {
    let rule = match key.value.split_once(' ') {
        None => Some("a method, one space and a path, like \"POST /posts\""),
        Some((method, path)) => broken_rule(method, path),
    };
    if let Some(rule) = rule {
        problems.at(key.at, format!("expected {rule}, found {}", key.shown()));
        return None;
    }
    let (method, path) = key.value.split_once(' ')?;
    Some((method.to_owned(), path.to_owned()))
}

fn broken_rule(method: &str, path: &str) -> Option<&'static str> {
    let method_ok =
        (1..=20).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_uppercase());
    if !method_ok {
        return Some("a method in upper case");
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Some("a path that begins with '/'");
    };
    if path.len() > 1024 {
        return Some("a path of at most 1024 bytes");
    }
    let segments: Vec<&str> = rest.split('/').collect();
    let last = segments.len() - 1;
    for (i, segment) in segments.iter().enumerate() {
        let rule = match *segment {
            "" if i < last => Some("a path without empty segments"),
            "." | ".." => Some("a path without '.' and '..'"),
            "*" => None,
            "**" if i == last => None,
            text if text.contains('*') => {
                Some("'*' as a whole segment, and '**' as the last one only")
            }
            text if !is_plain(text) => {
                Some("a path as it travels: ASCII, others as %XX, nothing encoded that need not be")
            }
            _ => None,
        };
        if rule.is_some() {
            return rule;
        }
    }
    None
}

/// Whether a segment is made of RFC 3986 `pchar`s, with upper-case percent
/// escapes of bytes that need one.
fn is_plain(segment: &str) -> bool {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let ok = match byte {
            b'%' => match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
                (Some(high), Some(low)) => needs_escape(high * 16 + low),
                _ => false,
            },
            b => b.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@".contains(&b),
        };
        if !ok {
            return false;
        }
    }
    true
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// An escaped letter is another spelling of the same path; an escaped slash,
/// backslash or control character means different things to different servers.
fn needs_escape(byte: u8) -> bool {
    !byte.is_ascii_alphanumeric() && !b"-._~/\\".contains(&byte) && !byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_could_be_read_twice_is_refused() {
        for good in [
            "/",
            "/posts",
            "/posts/",
            "/a/*/b",
            "/a/**",
            "/**",
            "/caf%C3%A9",
            "/a:b@c,d",
        ] {
            assert_eq!(broken_rule("POST", good), None, "{good}");
        }
        for bad in [
            "posts", "", "//a", "/a//b", "/a/../b", "/./a", "/a*", "/**/a", "/a?b=c", "/a#b",
            "/a b", "/%61", "/%2F", "/%5C", "/%2e", "/%0A", "/%ZZ", "/%", "/é", "/a\\b", "/***",
        ] {
            assert!(broken_rule("POST", bad).is_some(), "{bad}");
        }
        for bad in ["post", "", "PO ST", "*", "GET1"] {
            assert!(broken_rule(bad, "/a").is_some(), "{bad}");
        }
    }
}
