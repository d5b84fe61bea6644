//! Whatever an agent or an upstream sends: the parts that read it do not panic,
//! and what they say of it is true.

mod replies;

use crate::Limits;
use crate::body::{Decoded, decode};
use crate::head::{Framing, Head, parse};
use crate::headers::{self, Reply};
use crate::normalise::{self, Via};
use crate::wire::{Connection, NoBody};
use countersign_model::{Account, CredentialKind, Environment, HostPattern, Provider, Scheme};
use countersign_testkit::Fuzz;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

fn fuzz(name: &str, dictionary: &[&[u8]], target: impl Fn(&[u8]) -> String) {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(name);
    Fuzz {
        corpus: &corpus,
        dictionary,
    }
    .run(target);
}

const HEADS: &[&[u8]] = &[
    b"GET ",
    b"POST ",
    b"CONNECT ",
    b"PRI * HTTP/2.0",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\r\n ",
    b"\r\n\t",
    b": ",
    b":",
    b" :",
    b"\0",
    b"\x7f",
    b"\xff",
    b"Host: a.example\r\n",
    b"host: b.example\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: 18446744073709551616\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: \x0bchunked\r\n",
    b"Connection: close, X-A\r\n",
    b"Connection: keep-alive\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\n",
    b"Authorization: Bearer x\r\n",
    b"Cookie: a=b\r\n",
    b"X-Key: k\r\n",
    b"X-Listed: 1\r\n",
    b"Range: bytes=0-1\r\n",
    b"Accept-Encoding: gzip\r\n",
    b"Countersign-Reason: why\r\n",
    b"X-HTTP-Method-Override: DELETE\r\n",
    b"Proxy-Authorization: Basic x\r\n",
    b"https://a.example/",
    b"http://",
    b"/a?key=k&access_token=t",
    b"%6bey=k",
    b"?",
    b"&",
    b"#",
    b"*",
];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

/// An agent whose bytes are all there, and who has hung up.
async fn agent(bytes: &[u8]) -> Connection {
    let (mut client, server) = tokio::io::duplex(bytes.len().max(1));
    client.write_all(bytes).await.unwrap();
    drop(client);
    Connection::new(Box::new(server))
}

#[test]
fn a_head_that_is_taken_says_the_same_when_it_is_written_anew() {
    let runtime = runtime();
    fuzz("head", HEADS, |bytes| {
        let read =
            runtime.block_on(async { agent(bytes).await.reader.head(&Limits::default()).await });
        let head = match read {
            Ok(head) => head,
            Err(why) => return format!("{why:?}"),
        };
        let token = |text: &str| {
            let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            !text.is_empty() && text.bytes().all(is_token)
        };
        assert!(token(&head.method), "a method that is no token");
        let plain = |value: &[u8]| value.iter().all(|&b| b >= 0x20 && b != 0x7f || b == b'\t');
        for field in &head.headers {
            assert!(
                token(&field.name) && plain(&field.value),
                "a field that is none"
            );
            assert_eq!(field.name, field.name.to_ascii_lowercase());
        }
        let lengths = head.all("content-length").count();
        let codings = head.all("transfer-encoding").count();
        match head.framing {
            Framing::None => assert_eq!((lengths, codings), (0, 0)),
            Framing::Length(_) => assert_eq!((lengths, codings), (1, 0)),
            Framing::Chunked => assert_eq!((lengths, codings, head.http_11), (0, 1, true)),
        }
        assert!(head.all("host").count() <= 1);
        let again = parse(&written(&head)).expect("what was taken once is refused");
        assert_eq!(written(&again), written(&head));
        assert_eq!(
            (again.framing, again.keep_alive),
            (head.framing, head.keep_alive)
        );
        format!(
            "{:?} {} {}",
            head.framing,
            head.keep_alive,
            head.headers.len()
        )
    });
}

fn written(head: &Head) -> Vec<u8> {
    let version = if head.http_11 { "1.1" } else { "1.0" };
    let mut out = format!("{} {} HTTP/{version}\r\n", head.method, head.target).into_bytes();
    for field in &head.headers {
        out.extend_from_slice(field.name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(&field.value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// A chunked body and what follows it, read as the grammar says (RFC 9112,
/// section 7.1, without extensions) and not as the gateway does.
fn chunks(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    fn line<'a>(rest: &mut &'a [u8], longest: usize) -> Option<&'a [u8]> {
        let end = rest.iter().position(|&b| b == b'\n')?;
        let (line, after) = rest.split_at(end + 1);
        *rest = after;
        let line = line.strip_suffix(b"\r\n").filter(|l| !l.contains(&b'\r'))?;
        (line.len() + 2 <= longest).then_some(line)
    }
    let mut body = Vec::new();
    loop {
        let size = std::str::from_utf8(line(&mut rest, 18)?).ok()?;
        if size.len() > 15 || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let field = line(&mut rest, 8 << 10)?;
        if field.is_empty() {
            return Some((body, rest));
        }
        let colon = field.iter().position(|&b| b == b':')?;
        http::HeaderName::from_bytes(&field[..colon]).ok()?;
        http::HeaderValue::from_bytes(&field[colon + 1..]).ok()?;
    }
}

#[test]
fn a_chunked_body_ends_where_the_grammar_says_however_it_arrives() {
    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let dictionary: &[&[u8]] = &[
        b"0\r\n\r\n",
        b"0\r\n",
        b"5\r\nhello\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"00000000000000a\r\n",
        b"ffffffffffffffff\r\n",
        b"fffffffffffffff\r\n",
        b"+5\r\n",
        b"0x5\r\n",
        b"5;a=b\r\n",
        b" 5\r\n",
        b"5 \r\n",
        b"A\r\n",
        b"a\r\n",
        b"X: y\r\n",
        b"X : y\r\n",
        b": y\r\n",
        b"X\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\0",
    ];
    let runtime = runtime();
    let limits = Limits::default();
    fuzz("chunked", dictionary, |bytes| {
        let expected = chunks(bytes);
        let mut said = String::new();
        for step in [1, 3, usize::MAX] {
            let whole = [HEAD, bytes].concat();
            let read = runtime.block_on(async {
                let (mut client, server) = tokio::io::duplex(whole.len().min(step));
                let mut agent = Connection::new(Box::new(server));
                let send = async {
                    // The reader may have had enough.
                    let _gone = client.write_all(&whole).await;
                    drop(client);
                };
                let receive = async {
                    agent.reader.head(&limits).await.unwrap();
                    let mut body = Vec::new();
                    let ended = loop {
                        match agent.reader.chunk(Duration::from_secs(5)).await {
                            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                            Ok(None) => break None,
                            Err(why) => break Some(why),
                        }
                    };
                    assert_eq!(agent.reader.body_is_done(), ended.is_none());
                    (body, ended, agent.into_inner().1)
                };
                let ((), read) = tokio::join!(send, receive);
                read
            });
            let (body, ended, kept) = read;
            match (&expected, ended) {
                (Some((whole, rest)), None) => {
                    assert!(body == *whole, "another body");
                    assert!(rest.starts_with(&kept), "another place where it ends");
                    said = format!("whole, {} and {}", body.len().min(9), rest.len().min(9));
                }
                (None, Some(why)) => {
                    assert_ne!(why, NoBody::Idle);
                    said = format!("{why:?} after {}", body.len().min(9));
                }
                (expected, ended) => panic!("{expected:?} is read as {ended:?} by steps of {step}"),
            }
        }
        said
    });
}

#[test]
fn where_a_request_goes_is_what_its_bytes_say_and_the_same_for_every_server() {
    let dictionary: &[&[u8]] = &[
        b"/",
        b"//",
        b"/..",
        b"/.",
        b"/%2e%2e",
        b"%252e",
        b"%2f",
        b"%5c",
        b"\\",
        b";x",
        b"?",
        b"#",
        b"%00",
        b"%",
        b"%zz",
        b"https://",
        b"HTTP://",
        b"a.example",
        b"A.Example.",
        b"user@",
        b"@",
        b":443",
        b":80",
        b":0",
        b":65536",
        b":",
        b"[::1]",
        b"127.0.0.1",
        b"0x7f.1",
        b"*.",
        b"..",
        b"xn--",
        b"\n",
        b" ",
        b"\t",
        b"\x7f",
        b"\xc3\xa4",
        b"*",
        b"'",
        b"|",
        b"{",
        b"^",
    ];
    fuzz("target", dictionary, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split('\n');
        let (line, host, tunnel) = (
            lines.next().unwrap_or_default(),
            lines.next(),
            lines.next().unwrap_or_default(),
        );
        let through = normalise::authority(tunnel);
        if let Ok(authority) = &through {
            let host = &authority.host;
            assert_eq!(
                normalise::authority(host).map(|a| a.host).as_ref(),
                Ok(host)
            );
            assert!(
                !host.is_empty() && !host.ends_with('.') && !host.contains(['@', ':', '/', '*'])
            );
            assert_eq!(*host, host.to_ascii_lowercase());
            normalise::is_ip_literal(host);
        }
        let head = Head {
            method: "GET".into(),
            target: line.to_owned(),
            http_11: true,
            headers: host
                .map(|value| countersign_model::HeaderField {
                    name: "host".into(),
                    value: value.as_bytes().to_vec(),
                })
                .into_iter()
                .collect(),
            framing: Framing::None,
            keep_alive: true,
        };
        let tunnel = through.ok().map(|authority| Via::Host {
            scheme: Scheme::Https,
            host: authority.host,
            port: authority.port.unwrap_or(443),
        });
        let mut said = String::new();
        for via in [Some(Via::Proxy), tunnel].into_iter().flatten() {
            let target = match normalise::target(&head, &via) {
                Ok(target) => target,
                Err(why) => {
                    said += why;
                    continue;
                }
            };
            if let Via::Host { host, port, .. } = &via {
                assert_eq!(
                    (&target.host, target.port),
                    (host, *port),
                    "out of the tunnel"
                );
            }
            let stated = normalise::authority(host.unwrap_or_default()).unwrap();
            assert_eq!(stated.host, target.host, "another host than the header's");
            let whole = match &target.query {
                Some(query) => format!("{}?{query}", target.path),
                None => target.path.clone(),
            };
            assert!(whole.starts_with('/') && !whole.contains('#'));
            assert!(
                line.ends_with(&whole)
                    || format!("{line}/").ends_with(&whole)
                    || line.replacen('?', "/?", 1).ends_with(&whole),
                "path or query are not as they came"
            );
            let mut path = target.path.into_bytes();
            for _ in 0..2 {
                let steps = |segment: &[u8]| segment == b"." || segment == b"..";
                assert!(
                    !path.split(|b| b"/\\".contains(b)).any(steps),
                    "a path that climbs"
                );
                assert!(!path.contains(&b'\\') && !path.iter().any(u8::is_ascii_control));
                path = percent_encoding::percent_decode(&path).collect();
            }
            said += "taken ";
        }
        said
    });
}

fn account(provider: &str, credential: CredentialKind) -> Account {
    Account {
        id: "a".parse().unwrap(),
        provider: Provider(provider.into()),
        hosts: vec![HostPattern::new("a.example").unwrap()],
        port: 443,
        environment: Environment::default(),
        tags: vec![],
        credential,
        connect_to: None,
        ca_pem: None,
        plaintext: false,
        effects: vec![],
        forward_headers: vec!["x-listed".into(), "x-key".into(), "cookie".into()],
        token_url: None,
    }
}

#[test]
fn what_is_forwarded_came_from_the_agent_and_is_no_credential() {
    const SECRET: [&str; 6] = [
        "authorization",
        "cookie",
        "proxy-authorization",
        "x-api-key",
        "transfer-encoding",
        "content-length",
    ];
    let accounts = [
        account("gmail", CredentialKind::Oauth2),
        account("http", CredentialKind::Header("x-key".into())),
        account("http", CredentialKind::Query("key".into())),
        account("http", CredentialKind::None),
    ];
    fuzz("headers", HEADS, |bytes| {
        let head = match parse(bytes) {
            Ok(head) => head,
            Err(why) => return format!("{why:?}"),
        };
        let query = head.target.split_once('?').map(|(_, query)| query);
        let reason = headers::reason(&head);
        assert!(reason.is_none_or(|reason| reason.raw().chars().count() <= 500));
        let mut said = String::new();
        for account in &accounts {
            let kind = countersign_catalogue::kind(&account.provider.0);
            let reply = if account.is_site() {
                Reply::AsItIs
            } else {
                Reply::Searched
            };
            let fields = headers::forwarded(&head, account, kind, reply);
            for field in &fields {
                let ours = reply == Reply::Searched && field.name == "accept-encoding";
                assert!(ours || head.headers.contains(field), "a field of nobody's");
                assert!(
                    !SECRET.contains(&field.name.as_str()),
                    "{} is forwarded",
                    field.name
                );
                let own = account.credential == CredentialKind::Header(field.name.clone());
                assert!(!own, "the credential's own header is forwarded");
            }
            assert!(reply == Reply::AsItIs || !fields.iter().any(|f| f.name == "range"));
            headers::dropped_override(&head, &fields);
            let kept = headers::without_credentials(query, account);
            for part in kept.iter().flat_map(|kept| kept.split('&')) {
                assert!(query.unwrap_or_default().split('&').any(|p| p == part));
                let name = part.split('=').next().unwrap_or_default();
                let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
                let own = account.credential == CredentialKind::Query(name.to_lowercase());
                assert!(
                    !own && !name.eq_ignore_ascii_case("access_token"),
                    "{name} is kept"
                );
            }
            said += &format!("{} {} ", fields.len(), kept.is_some());
        }
        said
    });
}

#[test]
fn an_undone_coding_keeps_to_its_limit_and_says_what_was_written() {
    const LIMIT: usize = 4096;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&[b'a'; 2 * LIMIT]).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(b"hello hello").unwrap();
    let zlib = zlib.finish().unwrap();
    let dictionary: &[&[u8]] = &[
        &gzip,
        &zlib,
        &gzip[..10],
        &zlib[..2],
        b"gzip\n",
        b"!gzip\n",
        b"!deflate\n",
        b"deflate\n",
        b"identity\n",
        b"x-gzip\n",
        b"br\n",
        b"gzip, gzip\n",
        b"\x1f\x8b\x08",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
    ];
    fuzz("coded", dictionary, |bytes| {
        let end = bytes.iter().position(|&b| b == b'\n');
        let (coding, body) = match end {
            Some(end) => (Some(&bytes[..end]), &bytes[end + 1..]),
            None => (None, bytes),
        };
        // Marked: what stands there is coded first, so that it can be undone.
        let coded = match coding {
            Some(b"!gzip") => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(body).unwrap();
                Some(encoder.finish().unwrap())
            }
            Some(b"!deflate") => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(body).unwrap();
                Some(encoder.finish().unwrap())
            }
            _ => None,
        };
        if let Some(coded) = coded {
            let undone = decode(coding.map(|c| &c[1..]), &coded, LIMIT);
            let expected = match body.len() {
                0..=LIMIT => Decoded::Bytes(body.to_vec()),
                _ => Decoded::TooLong,
            };
            assert!(undone == expected, "what was coded is not what is undone");
            return format!("coded here, {}", body.len() / 256);
        }
        let decoded = decode(coding, body, LIMIT);
        let is_gzip =
            coding.is_some_and(|c| c.trim_ascii().to_ascii_lowercase().ends_with(b"gzip"));
        match &decoded {
            Decoded::Plain => assert!(!is_gzip, "a coded body is taken as it is"),
            Decoded::Bytes(bytes) => {
                assert!(bytes.len() <= LIMIT, "more than the limit");
                let mut again = Vec::new();
                let read = if is_gzip {
                    let mut reader = flate2::read::MultiGzDecoder::new(body);
                    std::io::Read::read_to_end(&mut reader, &mut again)
                } else {
                    let mut reader = flate2::read::ZlibDecoder::new(body);
                    let read = std::io::Read::read_to_end(&mut reader, &mut again);
                    assert_eq!(reader.total_in(), body.len() as u64, "a tail is left out");
                    read
                };
                assert!(
                    read.is_ok() && again == *bytes,
                    "another reader reads something else"
                );
            }
            Decoded::Opaque | Decoded::TooLong => {}
        }
        match decoded {
            Decoded::Bytes(bytes) => format!("{}", bytes.len().min(99)),
            other => format!("{other:?}"),
        }
    });
}
