//! `application/x-www-form-urlencoded`, as a body and as a query.

use super::Fault;
use percent_encoding::percent_decode_str;

/// Names and values, in order.
pub(crate) type Pairs = Vec<(String, String)>;

/// Reads a form that can be read in one way only.
///
/// # Errors
/// [`Fault::Repeated`] when a name stands twice; [`Fault::Malformed`] for bad
/// escapes, bytes that are not UTF-8, and a raw `;`, which some servers take
/// for a separator.
pub(crate) fn strict(bytes: &[u8]) -> Result<Pairs, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::Malformed)?;
    if text.contains(';') || text.chars().any(char::is_control) {
        return Err(Fault::Malformed);
    }
    let mut pairs = Pairs::new();
    for part in text.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let pair = (decode(name)?, decode(value)?);
        pairs.push(pair);
    }
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|two| two[0] == two[1]) {
        return Err(Fault::Repeated);
    }
    Ok(pairs)
}

fn decode(text: &str) -> Result<String, Fault> {
    let bytes = text.as_bytes();
    for (i, &byte) in bytes.iter().enumerate() {
        let digit = |at: usize| bytes.get(i + at).is_some_and(u8::is_ascii_hexdigit);
        if byte == b'%' && !(digit(1) && digit(2)) {
            return Err(Fault::Malformed);
        }
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Fault::Malformed)
}

/// Reads every pair that any server could see, for finding what must not be
/// there: both separators, bad escapes kept, repeated names kept.
pub(crate) fn laxly(text: &str) -> Pairs {
    text.split(['&', ';'])
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let plain = |s: &str| {
                percent_decode_str(&s.replace('+', " "))
                    .decode_utf8_lossy()
                    .into_owned()
            };
            (plain(name), plain(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_strictly() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            strict(b"a=b+c&d=%C3%A4&e"),
            Ok(vec![pair("a", "b c"), pair("d", "ä"), pair("e", "")])
        );
        for (text, fault) in [
            ("a=1&a=2", Fault::Repeated),
            ("a=1&%61=2", Fault::Repeated),
            ("a=1;b=2", Fault::Malformed),
            ("a=%", Fault::Malformed),
            ("a=%f", Fault::Malformed),
            ("a=%zz", Fault::Malformed),
            ("a=%ff", Fault::Malformed),
            ("a=\n", Fault::Malformed),
        ] {
            assert_eq!(strict(text.as_bytes()), Err(fault), "{text}");
        }
    }

    #[test]
    fn the_lax_reading_sees_every_pair() {
        let names: Vec<_> = laxly("a=1;_method=x&%5fm=%&a=2")
            .into_iter()
            .map(|(n, _)| n)
            .collect();
        assert_eq!(names, ["a", "_method", "_m", "a"]);
    }
}
