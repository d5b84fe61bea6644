//! The head of a request: tokens by `httparse`, doubts refused here.

use countersign_model::HeaderField;

const MAX_HEADERS: usize = 100;

/// How a request's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// A request's head, its tokens checked and its framing beyond doubt.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) http_11: bool,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<HeaderField>,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
}

impl Head {
    /// The values of a header, by its lower-case name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |h| h.name == name)
            .map(|h| h.value.as_slice())
    }
    pub(crate) fn first<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }
}

/// Why there is no head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoHead {
    /// The agent closed the connection between two requests, or let it idle.
    Closed,
    /// It began a head and did not finish it in time.
    Slow,
    /// Larger than the limit, or more than 100 headers.
    TooLarge,
    /// It can be read in two ways; says which rule it breaks.
    Malformed(&'static str),
}

/// Headers of which a second one could be read by somebody else.
const SINGLE: [&str; 7] = [
    "host",
    "content-length",
    "transfer-encoding",
    "content-type",
    "content-encoding",
    "expect",
    "upgrade",
];

/// Reads a head that ends with these bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<Head, NoHead> {
    let bare_cr = memchr::memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1) != Some(&b'\n'));
    if bare_cr {
        return Err(NoHead::Malformed("a line does not end in CR LF"));
    }
    // httparse would skip empty lines before the request line.
    if !bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        return Err(NoHead::Malformed("the request line is not well formed"));
    }
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut slots);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
        Ok(_) => return Err(NoHead::Malformed("the head does not end where it seems to")),
        Err(httparse::Error::TooManyHeaders) => return Err(NoHead::TooLarge),
        Err(_) => {
            return Err(NoHead::Malformed(
                "the request line or a header is not well formed",
            ));
        }
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(NoHead::Malformed("the request line is not well formed"));
    };
    let headers: Vec<HeaderField> = request
        .headers
        .iter()
        .map(|h| HeaderField {
            name: h.name.to_ascii_lowercase(),
            value: h.value.to_vec(),
        })
        .collect();
    single(&headers)?;
    let http_11 = version == 1;
    let mut head = Head {
        method: method.to_owned(),
        target: target.to_owned(),
        http_11,
        headers,
        framing: Framing::None,
        keep_alive: http_11,
    };
    head.framing = framing(&head)?;
    let is_close = |token: &[u8]| token.trim_ascii().eq_ignore_ascii_case(b"close");
    let closes = head
        .all("connection")
        .any(|value| value.split(|&b| b == b',').any(is_close));
    head.keep_alive &= !closes;
    Ok(head)
}

/// The head of a request of HTTP/2 (RFC 9113 section 8.3), whose pseudo-headers
/// `h2` has checked. `Host` stands for `:authority`, which it must equal where
/// there are both. In `Err`, what can be said of it besides.
pub(crate) fn of_http2(
    parts: &http::request::Parts,
    ends: bool,
) -> Result<Head, (Box<Head>, NoHead)> {
    let mut headers: Vec<HeaderField> = parts
        .headers
        .iter()
        .map(|(name, value)| HeaderField {
            name: name.as_str().to_owned(),
            value: value.as_bytes().to_vec(),
        })
        .collect();
    let mut doubt = None;
    if let Some(authority) = parts.uri.authority() {
        let stated = headers.iter().find(|h| h.name == "host");
        match stated {
            Some(host) if host.value != authority.as_str().as_bytes() => {
                doubt = Some("the Host header is not the :authority");
            }
            Some(_) => {}
            None => headers.push(HeaderField {
                name: "host".into(),
                value: authority.as_str().as_bytes().to_vec(),
            }),
        }
    }
    if parts.uri.scheme_str() != Some("https") {
        doubt = Some("the :scheme is not https");
    }
    let target = parts.uri.path_and_query().map_or("", |p| p.as_str());
    let mut head = Head {
        method: parts.method.as_str().to_owned(),
        target: target.to_owned(),
        http_11: true,
        headers,
        framing: Framing::None,
        keep_alive: true,
    };
    let framed = single(&head.headers).and_then(|()| match framing(&head) {
        Ok(Framing::None) if !ends => Ok(Framing::Chunked),
        Ok(Framing::Length(n)) if ends && n > 0 => {
            Err(NoHead::Malformed("its Content-Length is not its length"))
        }
        framing => framing,
    });
    match (framed, doubt) {
        (_, Some(doubt)) => Err((Box::new(head), NoHead::Malformed(doubt))),
        (Err(no), None) => Err((Box::new(head), no)),
        (Ok(framing), None) => {
            head.framing = framing;
            Ok(head)
        }
    }
}

fn single(headers: &[HeaderField]) -> Result<(), NoHead> {
    for name in SINGLE {
        if headers.iter().filter(|h| h.name == name).count() > 1 {
            return Err(NoHead::Malformed(
                "a header that may stand once stands twice",
            ));
        }
    }
    Ok(())
}

/// RFC 9112 section 6.3, without its allowances.
fn framing(head: &Head) -> Result<Framing, NoHead> {
    match (
        head.first("content-length"),
        head.first("transfer-encoding"),
    ) {
        (None, None) => Ok(Framing::None),
        (Some(_), Some(_)) => Err(NoHead::Malformed("Content-Length beside Transfer-Encoding")),
        (None, Some(coding)) => {
            if !head.http_11 || !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(NoHead::Malformed("a Transfer-Encoding other than chunked"));
            }
            Ok(Framing::Chunked)
        }
        (Some(length), None) => {
            let plain =
                !length.is_empty() && length.len() <= 18 && length.iter().all(u8::is_ascii_digit);
            std::str::from_utf8(length)
                .ok()
                .filter(|_| plain)
                .and_then(|text| text.parse().ok())
                .map(Framing::Length)
                .ok_or(NoHead::Malformed(
                    "a Content-Length that is no plain number",
                ))
        }
    }
}
