//! Which hosts an account may name.
//!
//! A credential goes wherever its account's hosts say, so a pattern has to mean
//! one thing and must not reach into what other people own:
//!
//! - lower case and ASCII; a name that Unicode's mapping would turn into
//!   another one (full-width letters, invisible characters) is refused;
//! - exact, or one leading `*.`, which lies neither over a public suffix
//!   (`*.com`, `*.github.io`) nor over a name with public suffixes beneath it
//!   (`*.amazonaws.com`);
//! - `localhost` and IP addresses mean a different machine depending on who
//!   asks, so they need `connect_to` to say which, and never take a wildcard.

use crate::section::shown;
use countersign_model::HostPattern;
use std::net::IpAddr;

/// How the account's host is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// By its name.
    Looked,
    /// `connect_to` says where it is.
    Told,
}

/// Names with public suffixes beneath them that are not suffixes themselves:
/// derived from the public suffix list by `examples/shared_parents.rs`.
const SHARED_PARENTS: &str = include_str!("../data/shared-parents.txt");

/// Above all services of a provider, though no suffix of the list is beneath:
/// AWS's dual-stack endpoints are `SERVICE.REGION.api.aws`.
const OF_ALL_SERVICES: &[&str] = &["api.amazonwebservices.com.cn", "api.aws"];

/// The pattern that a text means.
///
/// # Errors
/// What was expected and what was found, in one sentence.
pub(crate) fn normalise(text: &str, place: Place) -> Result<HostPattern, String> {
    let (wildcard, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    if name.contains('*') {
        return Err(format!(
            "expected a host, or '*.' once in front of one, found {}",
            shown(text)
        ));
    }
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare.contains(':') && bare.parse::<IpAddr>().is_ok() {
        return Err(format!(
            "expected a host name, found the address {}: give it a name, and say where it is with `connect_to`",
            shown(text)
        ));
    }
    let ascii = to_ascii(name)?;
    if ends_in_a_number(&ascii) {
        check_address(&ascii, wildcard, place)?;
    } else if ascii == "localhost" || ascii.ends_with(".localhost") {
        if wildcard || place == Place::Looked {
            return Err(format!(
                "expected a host name that means the same to everybody, found {}: \
                 name it exactly and say where it is with `connect_to`",
                shown(text)
            ));
        }
    } else if wildcard {
        check_wildcard(&ascii)?;
    }
    let pattern = if wildcard {
        format!("*.{ascii}")
    } else {
        ascii
    };
    HostPattern::new(&pattern).map_err(|rule| format!("expected a host name: {rule}"))
}

/// Lower case, and punycode for what is not ASCII (UTS 46, as URLs do it).
fn to_ascii(name: &str) -> Result<String, String> {
    let bad = || {
        Err(format!(
            "expected a host name without scheme, port or path, found {}",
            shown(name)
        ))
    };
    if name.is_empty() || name.len() > 253 || name.ends_with('.') {
        return bad();
    }
    let Ok(ascii) = idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::URL) else {
        return bad();
    };
    // The mapping may do two things: lower case and punycode. Whatever else it
    // did, the name on the page was not the name that would be reached.
    let unchanged = if name.is_ascii() {
        name.eq_ignore_ascii_case(&ascii)
    } else {
        let (unicode, valid) = idna::domain_to_unicode(&ascii);
        valid.is_ok() && unicode == name.to_lowercase()
    };
    if !unchanged {
        return Err(format!(
            "expected a host name as it is reached, found {}, which means {ascii:?}: write that if you mean it",
            shown(name)
        ));
    }
    Ok(ascii.into_owned())
}

/// WHATWG URL, "ends in a number": such a host is an IPv4 address or nothing.
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    let hex = last.strip_prefix("0x");
    (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
        || hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn check_address(host: &str, wildcard: bool, place: Place) -> Result<(), String> {
    let found = shown(host);
    if wildcard {
        Err(format!(
            "expected a host name under '*.', found the address {found}"
        ))
    } else if host.parse::<IpAddr>().is_err() {
        Err(format!(
            "expected a host name or an address in its plain form, found {found}"
        ))
    } else if place == Place::Looked {
        Err(format!(
            "expected a host name, found the address {found}: say with `connect_to` that it is meant"
        ))
    } else {
        Ok(())
    }
}

fn check_wildcard(base: &str) -> Result<(), String> {
    // A name that is not in the list is its own suffix by the list's default
    // rule `*`, so `*.corp` is refused like `*.com`.
    if psl::suffix_str(base) == Some(base) {
        return Err(format!(
            "expected '*.' over a domain of one owner, found *.{base}: {base} is a public suffix, \
             and everybody can have a name under it"
        ));
    }
    let of_all = OF_ALL_SERVICES.iter().any(|all| {
        let region = base.strip_suffix(all).and_then(|r| r.strip_suffix('.'));
        base == *all || region.is_some_and(|region| !region.contains('.'))
    });
    if of_all || SHARED_PARENTS.lines().any(|parent| parent == base) {
        return Err(format!(
            "expected '*.' over a domain of one owner, found *.{base}: there are names for \
             everybody beneath it"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &str) -> String {
        normalise(text, Place::Looked)
            .unwrap_or_else(|e| panic!("{text}: {e}"))
            .to_string()
    }
    fn refused(text: &str, place: Place, why: &str) {
        let message = normalise(text, place).expect_err(text);
        assert!(message.contains(why), "{text}: {message}");
    }

    #[test]
    fn hosts_are_lower_case_ascii() {
        assert_eq!(ok("Forum.Corp.Example"), "forum.corp.example");
        assert_eq!(ok("müller.example"), "xn--mller-kva.example");
        assert_eq!(ok("MÜLLER.example"), "xn--mller-kva.example");
        assert_eq!(ok("faß.example"), "xn--fa-hia.example");
        assert_eq!(ok("*.corp.example"), "*.corp.example");
        assert_eq!(ok("_dmarc.corp.example"), "_dmarc.corp.example");
    }

    #[test]
    fn a_host_that_the_mapping_turns_into_another_is_refused_with_what_it_became() {
        refused(
            "ｇmail.googleapis.com",
            Place::Looked,
            "which means \"gmail.googleapis.com\"",
        );
        refused(
            "gm\u{ad}ail.com",
            Place::Looked,
            "which means \"gmail.com\"",
        );
        refused("a。example", Place::Looked, "which means \"a.example\"");
        refused("x\u{2100}.example", Place::Looked, "found");
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "https://a.example",
            "a.example:443",
            "a.example/x",
            "a b",
            "user@a.example",
            "a%2eexample",
            "-a.example",
            "xn--a.example",
            "a.example\n",
            "a\\b",
        ] {
            assert!(normalise(bad, Place::Told).is_err(), "{bad:?}");
        }
        refused("a.*.example", Place::Told, "'*.' once in front");
        refused("*", Place::Told, "'*.' once in front");
        refused("*.*.example", Place::Told, "'*.' once in front");
    }

    #[test]
    fn a_wildcard_never_lies_over_what_others_own() {
        for shared in [
            "*.com",
            "*.co.uk",
            "*.example",
            "*.corp",
            "*.github.io",
            "*.s3.amazonaws.com",
            "*.herokuapp.com",
            "*.blob.core.windows.net",
            "*.vercel.app",
        ] {
            refused(shared, Place::Told, "public suffix");
        }
        for over in [
            "*.amazonaws.com",
            "*.core.windows.net",
            "*.windows.net",
            "*.af-south-1.amazonaws.com",
            "*.api.aws",
            "*.eu-west-1.api.aws",
            "*.api.amazonwebservices.com.cn",
        ] {
            refused(over, Place::Told, "names for everybody beneath it");
        }
        assert_eq!(ok("*.s3.eu-west-1.api.aws"), "*.s3.eu-west-1.api.aws");
        assert_eq!(ok("*.me.github.io"), "*.me.github.io");
        assert_eq!(ok("me.github.io"), "me.github.io");
        assert_eq!(ok("*.github.com"), "*.github.com");
        refused("*.googleapis.com", Place::Told, "public suffix");
    }

    #[test]
    fn an_address_or_localhost_needs_connect_to_and_never_takes_a_wildcard() {
        for local in ["127.0.0.1", "localhost", "app.localhost"] {
            refused(local, Place::Looked, "connect_to");
            assert_eq!(normalise(local, Place::Told).unwrap().as_str(), local);
            assert!(
                normalise(&format!("*.{local}"), Place::Told).is_err(),
                "{local}"
            );
        }
        for odd in [
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "1.2.3.4.5",
            "010.0.0.1",
            "a.1",
        ] {
            assert!(normalise(odd, Place::Told).is_err(), "{odd}");
        }
        refused("[::1]", Place::Told, "address");
        refused("::1", Place::Told, "address");
    }

    #[test]
    fn the_list_of_shared_parents_agrees_with_the_suffix_list() {
        assert!(SHARED_PARENTS.lines().count() > 500);
        for parent in SHARED_PARENTS.lines() {
            assert_ne!(psl::suffix_str(parent), Some(parent), "{parent}");
            assert!(HostPattern::new(parent).is_ok(), "{parent}");
        }
    }
}
