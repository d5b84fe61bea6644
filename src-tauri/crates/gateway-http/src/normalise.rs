//! Where a request goes, beyond doubt: target, `Host`, CONNECT and SNI agree,
//! and the path means the same to every upstream.
//!
//! Path and query are kept verbatim, as signatures and object keys need them.
//! What different servers resolve differently is refused (dot segments in any
//! encoding, NUL, backslashes, raw non-ASCII); what merely looks odd (`//`,
//! `%2F`, `;x`) is forwarded as it came, and the catalogue, which sees the same
//! text, does not call it routine.

use crate::head::Head;
use countersign_model::{HostPattern, Scheme};
use std::net::Ipv4Addr;

/// The longest target that is taken, in bytes. Common servers take 8 KiB.
const LONGEST: usize = 16 << 10;

/// Why a request is refused; a sentence part of ours.
pub(crate) type Doubt = &'static str;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

/// How a request came: to the proxy, which is told where it goes; or as to the
/// host itself, inside a CONNECT tunnel or by the host's own address.
#[derive(Debug, Clone)]
pub(crate) enum Via {
    Proxy,
    Host {
        scheme: Scheme,
        host: String,
        port: u16,
    },
}

/// Reads `host` or `host:port`: lower-cases, strips one trailing dot; refuses
/// userinfo, IPv6 literals and whatever is no DNS name.
pub(crate) fn authority(text: &str) -> Result<Authority, Doubt> {
    if text.contains('@') {
        return Err("the host is preceded by a user name");
    }
    if text.contains('[') {
        return Err("the host is an IPv6 literal");
    }
    let (host, port) = match text.split_once(':') {
        None => (text, None),
        Some((host, port)) => {
            let plain =
                !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
            let number = port.parse().ok().filter(|&n: &u16| plain && n != 0);
            (host, Some(number.ok_or("the port is no number")?))
        }
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.starts_with("*.") || HostPattern::new(&host).is_err() {
        return Err("the host is no plain name");
    }
    Ok(Authority { host, port })
}

/// Whether a host is an address, in any spelling that a resolver may take for
/// one (RFC 3986 section 7.4): its last label begins with a digit.
pub(crate) fn is_ip_literal(host: &str) -> bool {
    host.parse::<Ipv4Addr>().is_ok()
        || host
            .rsplit('.')
            .next()
            .is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()))
}

/// Where this request goes.
pub(crate) fn target(head: &Head, via: &Via) -> Result<Target, Doubt> {
    if !head
        .method
        .bytes()
        .all(|b| b.is_ascii_uppercase() || b == b'-')
    {
        return Err("the method is not in capital letters");
    }
    let host_header = match head.first("host") {
        Some(value) => {
            let text =
                std::str::from_utf8(value).map_err(|_| "the Host header is no plain name")?;
            Some(authority(text)?)
        }
        None if head.http_11 => return Err("there is no Host header"),
        None => None,
    };
    let (scheme, stated, rest) = split_target(&head.target)?;
    let (scheme, host, port) = match (via, stated) {
        (Via::Proxy, None) => return Err("the target is no absolute URL, and this is a proxy"),
        (Via::Proxy, Some(stated)) => {
            let port = stated.port.unwrap_or(scheme.default_port());
            (scheme, stated.host, port)
        }
        (
            Via::Host {
                scheme: via,
                host,
                port,
            },
            stated,
        ) => {
            if let Some(stated) = stated {
                let same = scheme == *via
                    && stated.host == *host
                    && stated.port.unwrap_or(scheme.default_port()) == *port;
                if !same {
                    return Err("the target is not the host that was connected to");
                }
            }
            (*via, host.clone(), *port)
        }
    };
    let differs = |stated: Authority| {
        stated.host != host || stated.port.unwrap_or(scheme.default_port()) != port
    };
    if host_header.is_some_and(differs) {
        return Err("the Host header is not the host of the target");
    }
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    check_path(path)?;
    let whole = query.map_or_else(|| path.to_owned(), |q| format!("{path}?{q}"));
    let parsed = http::uri::PathAndQuery::try_from(whole.as_str())
        .map_err(|_| "the target has characters that no URL has")?;
    // It goes out as this library writes it, so it must write it verbatim.
    if parsed.as_str() != whole {
        return Err("the target has characters that no URL has");
    }
    Ok(Target {
        scheme,
        host,
        port,
        path: path.to_owned(),
        query: query.map(str::to_owned),
    })
}

/// Scheme, authority (in absolute form) and the rest of a request-target.
fn split_target(target: &str) -> Result<(Scheme, Option<Authority>, &str), Doubt> {
    if !target.bytes().all(|b| matches!(b, 0x21..=0x7e)) {
        return Err("the target has characters that are not ASCII");
    }
    if target.len() > LONGEST {
        return Err("the target is longer than what servers take");
    }
    if target.contains('#') {
        return Err("the target has a fragment");
    }
    if target.starts_with('/') {
        return Ok((Scheme::Https, None, target));
    }
    let Some((scheme, rest)) = target.split_once("://") else {
        return Err("the target is neither a path nor an absolute URL");
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return Err("the target's scheme is neither http nor https"),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (text, rest) = rest.split_at(end);
    Ok((scheme, Some(authority(text)?), rest))
}

/// Refuses a path that servers resolve differently. Looked at as it is, decoded
/// once and decoded twice, because servers and the proxies before them do.
fn check_path(path: &str) -> Result<(), Doubt> {
    let mut text = path.as_bytes().to_vec();
    for round in 0..3 {
        for segment in text.split(|&b| b == b'/' || b == b'\\') {
            let name = segment.split(|&b| b == b';').next().unwrap_or(segment);
            if name == b"." || name == b".." {
                return Err("the path has a dot segment");
            }
        }
        if round < 2 && text.iter().any(|&b| b == b'\\' || b < 0x20 || b == 0x7f) {
            return Err("the path has a backslash or a control character");
        }
        if round == 0 && !escapes_are_whole(&text) {
            return Err("the path has a percent sign that escapes nothing");
        }
        if !text.contains(&b'%') {
            break;
        }
        text = percent_encoding::percent_decode(&text).collect();
    }
    Ok(())
}

fn escapes_are_whole(text: &[u8]) -> bool {
    memchr::memchr_iter(b'%', text).all(|at| {
        text.get(at + 1..at + 3)
            .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Framing;
    use countersign_model::HeaderField;

    fn head(target: &str, host: Option<&str>) -> Head {
        let header = |value: &str| HeaderField {
            name: "host".into(),
            value: value.into(),
        };
        Head {
            method: "GET".into(),
            target: target.into(),
            http_11: true,
            headers: host.map(header).into_iter().collect(),
            framing: Framing::None,
            keep_alive: true,
        }
    }
    fn tunnel() -> Via {
        Via::Host {
            scheme: Scheme::Https,
            host: "a.example".into(),
            port: 443,
        }
    }
    fn through(path: &str) -> Result<Target, Doubt> {
        target(&head(path, Some("a.example")), &tunnel())
    }

    #[test]
    fn target_host_and_tunnel_must_agree() {
        for (line, host) in [
            ("/", Some("b.example")),
            ("/", None),
            ("/", Some("a.example:8443")),
            ("/", Some("user@a.example")),
            ("https://b.example/", Some("a.example")),
            ("https://b.example/", Some("b.example")),
            ("http://a.example/", Some("a.example")),
            ("https://user@a.example/", Some("a.example")),
            ("https://a.example:8443/", Some("a.example")),
            ("*", Some("a.example")),
            ("a.example:443", Some("a.example")),
        ] {
            assert!(
                target(&head(line, host), &tunnel()).is_err(),
                "{line} {host:?}"
            );
        }
        for (line, host) in [
            ("/", "A.Example."),
            ("/", "a.example:443"),
            ("https://A.example./", "a.example"),
        ] {
            assert_eq!(
                target(&head(line, Some(host)), &tunnel()).unwrap().host,
                "a.example"
            );
        }
    }

    #[test]
    fn whoever_connects_to_a_host_by_http_names_that_host() {
        let via = |port| Via::Host {
            scheme: Scheme::Http,
            host: "a.example".into(),
            port,
        };
        let whole = target(&head("http://a.example/x", Some("a.example")), &via(80)).unwrap();
        let t = target(&head("/x", Some("A.example")), &via(80)).unwrap();
        assert_eq!(
            (t.scheme, t.port, t.path.as_str()),
            (Scheme::Http, 80, "/x")
        );
        assert_eq!(t, whole);
        assert!(target(&head("/x", Some("a.example:8080")), &via(8080)).is_ok());
        for (line, host, port) in [
            ("/x", "b.example", 80),
            ("/x", "a.example", 8080),
            ("http://b.example/x", "a.example", 80),
            ("https://a.example/x", "a.example", 80),
        ] {
            let refused = target(&head(line, Some(host)), &via(port));
            assert!(refused.is_err(), "{line} {host} {port}");
        }
    }

    #[test]
    fn a_proxy_takes_absolute_targets_only_and_the_host_must_be_theirs() {
        assert!(target(&head("/", Some("a.example")), &Via::Proxy).is_err());
        assert!(target(&head("http://b.example/", Some("a.example")), &Via::Proxy).is_err());
        let t = target(&head("HTTP://a.example?x", Some("a.example")), &Via::Proxy).unwrap();
        assert_eq!(
            (t.scheme, t.port, t.path.as_str(), t.query.as_deref()),
            (Scheme::Http, 80, "/", Some("x"))
        );
    }

    #[test]
    fn a_path_that_servers_resolve_differently_is_refused() {
        for path in [
            "/a/../b",
            "/..",
            "/a/.",
            "/./a",
            "/%2e%2e/a",
            "/%2E./a",
            "/a/..;x/b",
            "/a%2f..%2fb",
            "/a%5c..%5cb",
            "/%252e%252e/a",
            "/a\\b",
            "/a%5cb",
            "/a%00b",
            "/a%0ab",
            "/a%",
            "/a%2",
            "/a%zz",
            "/ä",
            "/a#b",
            "/a b",
        ] {
            assert!(through(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_path_that_merely_looks_odd_stays_verbatim() {
        for path in [
            "//a", "/a//b", "/a%2Fb", "/a;x=1/b", "/a...b", "/.hidden", "/a'b", "/%41", "/a/",
            "/a+b",
        ] {
            assert_eq!(through(path).unwrap().path, path);
        }
        let t = through("/a?b=../c&d=%27&&e=[1]|{}").unwrap();
        assert_eq!(t.query.as_deref(), Some("b=../c&d=%27&&e=[1]|{}"));
        assert_eq!(through("/a?").unwrap().query.as_deref(), Some(""));
    }

    #[test]
    fn an_authority_is_a_name_and_perhaps_a_port() {
        for bad in [
            "",
            "a:",
            "a:0",
            "a:+1",
            "a:65536",
            "a:1:2",
            "[::1]:443",
            "u@a",
            "*.a",
            "a..b",
            "a b",
            "ä.example",
            "a..",
        ] {
            assert!(authority(bad).is_err(), "{bad:?}");
        }
        for ip in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "a.0x7f"] {
            assert!(is_ip_literal(ip), "{ip}");
        }
        assert!(!is_ip_literal("a1.example") && !is_ip_literal("1.example"));
    }
}
