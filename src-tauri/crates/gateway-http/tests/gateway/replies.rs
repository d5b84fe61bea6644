//! What comes back, and what never does.

use crate::client::Client;
use crate::upstream::{Answer, ok, says, says_slowly};
use crate::world::{HOST, World, random_text};
use base64::Engine as _;
use countersign_model::Outcome;
use std::io::Write as _;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

/// An upstream that repeats the request's head in its reply.
fn echo_body() -> Answer {
    Box::new(|seen, io| {
        Box::pin(async move {
            let reply = ok(&serde_json::json!({ "you-sent": seen.head }).to_string());
            io.write_all(&reply).await.is_ok() && io.flush().await.is_ok()
        })
    })
}

fn chunked(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut out = vec![b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()];
    for piece in pieces {
        out.push([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
    }
    out.push(b"0\r\n\r\n".to_vec());
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

/// Sends a request and sees that no piece of the credential comes back.
async fn cut(world: &World, answer: Answer) -> Option<String> {
    world.upstream.answers(answer);
    let mut client = world.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n").as_bytes())
        .await;
    let all = client.until_closed().await;
    let text = String::from_utf8_lossy(&all).into_owned();
    assert!(
        !text.contains(&world.secret[..world.secret.len() - 1]),
        "{text}"
    );
    text.contains("reply-held-credential").then_some(text)
}

#[tokio::test]
async fn an_upstream_that_echoes_headers_is_cut_and_the_agent_is_told() {
    let world = World::new().await;
    world.upstream.answers(echo_body());
    let reply = world.get("/").await;
    assert_eq!(
        (reply.status, reply.reason().as_str()),
        (502, "reply-held-credential")
    );
    let why = world.settled().await.outcome;
    assert_eq!(
        why,
        Outcome::Unknown {
            why: "the reply held a credential and was cut".into(),
            status: Some(200)
        }
    );
}

#[tokio::test]
async fn a_credential_in_a_reply_header_is_replaced_by_a_refusal() {
    let world = World::new().await;
    let hex: String = world.secret.bytes().map(|b| format!("%{b:02x}")).collect();
    for header in [
        format!("location: https://{HOST}/?t={}", world.secret),
        format!("x-debug: {hex}"),
        format!(
            "etag: \"{}\"",
            base64::engine::general_purpose::STANDARD.encode(&world.secret)
        ),
    ] {
        let answer = says(format!(
            "HTTP/1.1 200 OK\r\n{header}\r\ncontent-length: 2\r\n\r\n{{}}"
        ));
        world.upstream.answers(answer);
        let reply = world.get("/").await;
        assert_eq!(
            (reply.status, reply.reason().as_str()),
            (502, "reply-held-credential"),
            "{header}"
        );
        assert!(!reply.head.contains(&world.secret));
    }
}

#[tokio::test]
async fn a_credential_is_found_across_chunks_codings_and_after_a_good_beginning() {
    let world = World::new().await;
    let secret = world.secret.clone().into_bytes();
    let (front, back) = secret.split_at(11);
    let slow = |pieces: Vec<Vec<u8>>| says_slowly(pieces, Duration::from_millis(30));
    // The head is out before the body comes: the connection breaks.
    assert!(cut(&world, slow(chunked(&[front, back]))).await.is_none());
    assert!(
        cut(&world, says(chunked(&[front, back]).concat()))
            .await
            .is_some()
    );
    let single: Vec<&[u8]> = secret.chunks(1).collect();
    assert!(cut(&world, says(chunked(&single).concat())).await.is_some());

    let body = gzip(&[b"{\"t\":\"".as_slice(), &secret, b"\"}"].concat());
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    assert!(
        cut(&world, says([head.as_bytes(), &body].concat()))
            .await
            .is_some()
    );

    // What came before it is passed on; then the connection breaks.
    let late = chunked(&[b"all is well ", &secret, b" really"]);
    assert!(cut(&world, slow(late.clone())).await.is_none());
    world.upstream.answers(slow(late));
    let reply = world.get("/").await;
    assert_eq!(
        (reply.status, reply.whole, reply.text().as_str()),
        (200, false, "all is well ")
    );
}

#[tokio::test]
async fn a_reply_that_cannot_be_searched_is_withheld() {
    let world = World::new().await;
    for coding in ["br", "zstd", "gzip, gzip", "aes128gcm"] {
        world.upstream.answers(says(format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: 3\r\n\r\nabc"
        )));
        assert_eq!(world.get("/").await.reason(), "upstream", "{coding}");
    }
}

#[tokio::test]
async fn a_gzip_reply_arrives_plain_and_whole() {
    let world = World::new().await;
    let text = "hello ".repeat(10_000);
    let body = gzip(text.as_bytes());
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    world
        .upstream
        .answers(says([head.as_bytes(), &body].concat()));
    let reply = world
        .ask(format!(
            "GET / HTTP/1.1\r\nHost: {HOST}\r\nAccept-Encoding: gzip, br\r\n\r\n"
        ))
        .await;
    assert!(reply.whole && reply.text() == text && reply.header("content-encoding").is_none());
    assert_eq!(
        world.upstream.last().header("accept-encoding"),
        Some("gzip")
    );
}

#[tokio::test]
async fn ranges_are_for_sites_only() {
    let world = World::new().await;
    world
        .ask(format!(
            "GET / HTTP/1.1\r\nHost: {HOST}\r\nRange: bytes=0-0\r\nIf-Range: x\r\n\r\n"
        ))
        .await;
    assert!(
        world.upstream.last().header("range").is_none()
            && world.upstream.last().header("if-range").is_none()
    );
}

#[tokio::test]
async fn a_sites_reply_passes_as_it_is() {
    let world = World::new().await;
    // The upstream does not vouch for docs.example, so the account names another
    // way in: its own name, in the certificate.
    {
        let mut views = world.fake.accounts.lock().unwrap();
        let mut site = (*views[1].account).clone();
        site.hosts = vec![countersign_model::HostPattern::new("a.wild.example").unwrap()];
        views[1].account = std::sync::Arc::new(site);
    }
    world.upstream.answers(says("HTTP/1.1 206 Partial Content\r\ncontent-encoding: br\r\nset-cookie: s=1\r\ncontent-length: 3\r\n\r\nabc"));
    let mut client = world.client_of("a.wild.example").await.unwrap();
    let reply = client.ask("GET / HTTP/1.1\r\nHost: a.wild.example\r\nRange: bytes=0-2\r\nAccept-Encoding: br\r\n\r\n").await;
    assert_eq!(
        (
            reply.status,
            reply.text().as_str(),
            reply.header("content-encoding")
        ),
        (206, "abc", Some("br"))
    );
    assert!(reply.header("set-cookie").is_none());
    let seen = world.upstream.last();
    assert_eq!(
        (
            seen.header("range"),
            seen.header("accept-encoding"),
            seen.header("authorization")
        ),
        (Some("bytes=0-2"), Some("br"), None)
    );
    client
        .ask("GET / HTTP/1.1\r\nHost: a.wild.example\r\n\r\n")
        .await;
    assert!(
        world.upstream.last().header("cookie").is_none(),
        "a site has no session"
    );
}

#[tokio::test]
async fn cookies_stay_in_the_gateway_and_go_back_upstream() {
    let world = World::new().await;
    let session = random_text(24);
    world.upstream.answers(says(format!(
        "HTTP/1.1 200 OK\r\nset-cookie: session={session}; HttpOnly; Secure\r\nset-cookie: lang=en\r\ncontent-length: 2\r\n\r\n{{}}"
    )));
    let reply = world.get("/a/b").await;
    // It is taken out, and not only found as what it is.
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    assert!(reply.header("set-cookie").is_none() && !reply.head.contains(&session));
    world.upstream.answers(says(ok("{\"lang\":\"en\"}")));
    assert_eq!(world.get("/a/c").await.status, 200);
    assert_eq!(
        world.upstream.last().header("cookie"),
        Some(format!("session={session}; lang=en").as_str())
    );
    world.get("/other").await;
    assert!(world.upstream.last().header("cookie").is_none());
    world.upstream.answers(echo_body());
    world.fake.presented.lock().unwrap().clear();
    assert_eq!(
        world.get("/a/c").await.reason(),
        "reply-held-credential",
        "a session is a credential, too"
    );
}

#[tokio::test]
async fn headers_that_ask_for_credentials_or_outlive_the_run_are_stripped() {
    let world = World::new().await;
    world.upstream.answers(says(
        "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\nalt-svc: h3=\":443\"\r\nstrict-transport-security: max-age=1\r\n\
         clear-site-data: \"*\"\r\nnel: {}\r\ncountersign-request: 0000000000\r\nconnection: x-hop\r\nx-hop: 1\r\nx-kept: 1\r\ncontent-length: 0\r\n\r\n",
    ));
    let reply = world.get("/").await;
    assert_eq!(reply.status, 401);
    let mut names: Vec<_> = reply
        .head
        .lines()
        .skip(1)
        .filter_map(|l| Some(l.split_once(':')?.0))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "x-kept"]);
}

#[tokio::test]
async fn an_unasked_switch_of_protocols_is_a_failed_upstream() {
    let world = World::new().await;
    world.upstream.answers(says("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nraw bytes"));
    let reply = world.get("/").await;
    assert_eq!(reply.reason(), "upstream");
}

#[tokio::test]
async fn replies_without_a_body_have_none() {
    let world = World::new().await;
    let mut client = world.client().await;
    world
        .upstream
        .answers(says("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n"));
    let reply = client
        .ask(format!("HEAD / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
        .await;
    assert_eq!(
        (reply.status, reply.header("content-length")),
        (200, Some("1234"))
    );
    world
        .upstream
        .answers(says("HTTP/1.1 204 No Content\r\n\r\n"));
    assert_eq!(
        client
            .ask(format!("DELETE / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await
            .status,
        204
    );
    world
        .upstream
        .answers(says("HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n"));
    assert_eq!(
        client
            .ask(format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\nIf-None-Match: \"x\"\r\n\r\n"
            ))
            .await
            .header("etag"),
        Some("\"x\"")
    );
    world.upstream.answers(says(ok("after")));
    assert_eq!(
        client
            .ask(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await
            .text(),
        "after"
    );
}

#[tokio::test]
async fn events_arrive_as_they_happen() {
    let world = World::new().await;
    let events: Vec<Vec<u8>> = (0..4)
        .map(|i| format!("data: {{\"n\":{i}}}\n\n").into_bytes())
        .collect();
    let mut pieces = vec![b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_vec()];
    pieces.extend(events);
    world.upstream.answers(Box::new({
        let inner = says_slowly(pieces, Duration::from_millis(400));
        move |seen, io| {
            let answered = inner(seen, io);
            Box::pin(async move {
                answered.await;
                false
            })
        }
    }));
    let mut client = world.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
        .await;
    client.head().await.unwrap();
    let began = Instant::now();
    let mut byte = [0; 200];
    for i in 0..4u32 {
        use tokio::io::AsyncReadExt as _;
        let n = client.io.read(&mut byte).await.unwrap();
        assert!(
            String::from_utf8_lossy(&byte[..n]).contains(&format!("\"n\":{i}}}\n\n")),
            "whole events"
        );
        assert!(
            began.elapsed() < Duration::from_millis(400 * u64::from(i) + 700),
            "event {i} was delayed"
        );
    }
}

#[tokio::test]
async fn an_upstream_that_dies_is_never_taken_for_one_that_answered() {
    let world = World::new().await;
    world
        .upstream
        .answers(Box::new(|_, _| Box::pin(async { false })));
    assert_eq!(world.get("/").await.reason(), "upstream");
    assert!(
        matches!(world.settled().await.outcome, Outcome::Unknown { .. }),
        "it may have been done"
    );
    assert_eq!(world.upstream.count(), 1, "no retry");

    for half in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let answer = says(half);
        world.upstream.answers(Box::new(move |seen, io| {
            let answered = answer(seen, io);
            Box::pin(async move {
                answered.await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                false
            })
        }));
        let reply = world.get("/").await;
        assert_eq!((reply.status, reply.whole), (200, false), "{half}");
    }
}

#[tokio::test]
async fn a_kept_upstream_connection_that_was_closed_is_not_used() {
    let world = World::new().await;
    let inner = says(ok("{}"));
    world.upstream.answers(Box::new(move |seen, io| {
        let answered = inner(seen, io);
        Box::pin(async move {
            answered.await;
            false
        })
    }));
    for _ in 0..5 {
        assert_eq!(world.get("/").await.status, 200);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(world.upstream.count(), 5);
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_got_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = listener.local_addr().unwrap().to_string();
    drop(listener);
    let world = World::with(crate::world::limits(), move |a| {
        a.connect_to = Some(nowhere);
    })
    .await;
    let mut client: Client = world.client().await;
    let reply = client
        .ask(format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nhi"
        ))
        .await;
    assert_eq!((reply.status, reply.reason().as_str()), (502, "upstream"));
    let settled = world.settled().await;
    assert!(matches!(settled.outcome, Outcome::NotSent { .. }));
    assert_eq!(settled.bytes_sent, 0);
}
