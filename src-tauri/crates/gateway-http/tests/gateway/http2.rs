//! HTTP/2 on either side: the same way of a request, the same guarantees.

use crate::client::Client;
use crate::fake::Plan;
use crate::upstream::{Stream, Upstream, says, says_slowly};
use crate::world::{HOST, NAMES, World, limits, until};
use bytes::Bytes;
use countersign_model::{BodyCommitment, Digest, Outcome, ReasonCode};
use h2::client::SendRequest;
use http::{Method, Request, Response};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A client of HTTP/2 inside the tunnel.
async fn client(world: &World) -> SendRequest<Bytes> {
    let tunnel = Client::tunnel_for(&world.socket, &world.ca_pem, HOST, HOST, b"h2").await;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(64 << 10)
        .handshake(tunnel.unwrap().io)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("https://{HOST}{path}"))
        .body(())
        .unwrap()
}

/// Sends it with this body; the head of the reply, and its body as far as it came.
async fn ask(
    sender: &SendRequest<Bytes>,
    request: Request<()>,
    body: Option<Vec<u8>>,
) -> (Response<()>, Result<Vec<u8>, h2::Error>) {
    let mut sender = sender.clone().ready().await.unwrap();
    let (reply, mut up) = sender.send_request(request, body.is_none()).unwrap();
    let sends = async {
        let mut rest = Bytes::from(body.unwrap_or_default());
        while !rest.is_empty() {
            up.reserve_capacity(rest.len());
            let Some(Ok(may)) = std::future::poll_fn(|cx| up.poll_capacity(cx)).await else {
                return;
            };
            let next = rest.split_to(may.min(rest.len()));
            let last = rest.is_empty();
            if up.send_data(next, last).is_err() {
                return;
            }
        }
    };
    let reads = async {
        let (parts, mut down) = reply.await.unwrap().into_parts();
        let mut all = Vec::new();
        while let Some(piece) = down.data().await {
            match piece {
                Ok(piece) => {
                    down.flow_control().release_capacity(piece.len()).unwrap();
                    all.extend_from_slice(&piece);
                }
                Err(error) => return (Response::from_parts(parts, ()), Err(error)),
            }
        }
        (Response::from_parts(parts, ()), Ok(all))
    };
    tokio::join!(sends, reads).1
}

fn reason(body: &[u8]) -> String {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap();
    problem["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn requests_of_http2_are_judged_one_by_one_and_get_the_real_credential() {
    let world = World::new().await;
    let sender = client(&world).await;
    let asked = (0..20).map(|n| {
        let mut request = request(Method::GET, &format!("/n/{n}?q=%2F"));
        let agents = "Bearer made-up".parse().unwrap();
        request.headers_mut().insert("authorization", agents);
        ask(&sender, request, None)
    });
    for (head, body) in futures_util::future::join_all(asked).await {
        assert_eq!(
            (head.status().as_u16(), body.unwrap().as_slice()),
            (200, b"{}".as_slice())
        );
    }
    assert_eq!(world.fake.decided.lock().unwrap().len(), 20);
    assert_eq!(world.upstream.count(), 20);
    let seen = world.upstream.last();
    let bearer = format!("Bearer {}", world.secret);
    assert_eq!(seen.header("authorization"), Some(bearer.as_str()));
    assert!(seen.line().ends_with("?q=%2F HTTP/1.1"), "{}", seen.line());
    assert_eq!(seen.header("host"), Some(HOST));
}

#[tokio::test]
async fn a_body_of_http2_is_judged_whole_or_streamed_with_its_digest() {
    let world = World::new().await;
    let sender = client(&world).await;
    let mut post = request(Method::POST, "/posts");
    let json = "application/json".parse().unwrap();
    post.headers_mut().insert("content-type", json);
    let text = br#"{"text":"hello"}"#.to_vec();
    ask(&sender, post, Some(text.clone())).await.1.unwrap();
    assert_eq!(
        world.fake.decided.lock().unwrap()[0].exact.body,
        BodyCommitment::Exact {
            digest: Digest::of(&text),
            length: text.len() as u64
        }
    );
    assert_eq!(world.upstream.last().body, text);

    world.fake.settled.lock().unwrap().clear();
    let mut put = request(Method::PUT, "/f");
    let opaque = "application/octet-stream".parse().unwrap();
    put.headers_mut().insert("content-type", opaque);
    let large = vec![7u8; 3 << 20];
    ask(&sender, put, Some(large.clone())).await.1.unwrap();
    assert!(world.upstream.last().body == large);
    let settled = world.settled().await;
    assert_eq!(
        (settled.body_digest, settled.bytes_sent),
        (Some(Digest::of(&large)), 3 << 20)
    );
}

#[tokio::test]
async fn a_refusal_in_http2_is_the_same_document() {
    let world = World::new().await;
    world.fake.plan(Plan::Deny(ReasonCode::DeniedByHuman));
    let sender = client(&world).await;
    let (head, body) = ask(&sender, request(Method::GET, "/"), None).await;
    assert_eq!(head.status().as_u16(), 403);
    assert_eq!(head.headers()["content-type"], "application/problem+json");
    assert_eq!(reason(&body.unwrap()), "denied-by-human");
    let (head, body) = ask(&sender, request(Method::HEAD, "/"), None).await;
    assert_eq!((head.status().as_u16(), body.unwrap().len()), (403, 0));
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn what_http2_says_of_host_and_path_must_agree_with_the_tunnel() {
    let world = World::new().await;
    let sender = client(&world).await;
    for uri in [
        "https://docs.example/".to_owned(),
        format!("https://{HOST}:8443/"),
        format!("https://user@{HOST}/"),
        format!("http://{HOST}/"),
        format!("https://{HOST}/a/%2e%2e/b"),
    ] {
        let request = Request::get(&uri).body(()).unwrap();
        let (head, body) = ask(&sender, request, None).await;
        assert_eq!(head.status().as_u16(), 403, "{uri}");
        assert_eq!(reason(&body.unwrap()), "malformed", "{uri}");
    }
    let mut other = request(Method::GET, "/");
    let host = "docs.example".parse().unwrap();
    other.headers_mut().insert("host", host);
    assert_eq!(
        reason(&ask(&sender, other, None).await.1.unwrap()),
        "malformed"
    );
    assert_eq!(world.upstream.count(), 0);
    assert_eq!(world.rejected().len(), 6);
}

#[tokio::test]
async fn a_reply_that_holds_the_credential_does_not_reach_an_agent_by_http2() {
    let world = World::new().await;
    let secret = &world.secret;
    let whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{secret}",
        secret.len()
    );
    world.upstream.answers(says(whole));
    let sender = client(&world).await;
    let (head, body) = ask(&sender, request(Method::GET, "/"), None).await;
    assert_eq!(head.status().as_u16(), 502);
    assert_eq!(reason(&body.unwrap()), "reply-held-credential");

    let (first, rest) = secret.split_at(9);
    let pieces = [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n".to_owned(),
        format!("{:x}\r\n{first}\r\n", first.len()),
        format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len()),
    ];
    let pieces = pieces.map(String::into_bytes).to_vec();
    world
        .upstream
        .answers(says_slowly(pieces, Duration::from_millis(100)));
    let (head, body) = ask(&sender, request(Method::GET, "/"), None).await;
    assert_eq!(head.status().as_u16(), 200);
    assert!(body.is_err(), "a cut reply must not pass for a whole one");
}

#[tokio::test]
async fn the_stop_cuts_a_reply_in_http2_and_the_connection_with_it() {
    let world = World::new().await;
    world.upstream.answers(Box::new(|_, io| {
        Box::pin(async move {
            use tokio::io::AsyncWriteExt as _;
            let begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n";
            io.write_all(begun).await.unwrap();
            io.flush().await.unwrap();
            std::future::pending().await
        })
    }));
    let sender = client(&world).await;
    let asks = ask(&sender, request(Method::GET, "/"), None);
    let stops = async {
        until("it is upstream", || world.upstream.count() == 1).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.fake.engage_stop();
    };
    let ((head, body), ()) = tokio::join!(asks, stops);
    assert_eq!(head.status().as_u16(), 200);
    assert!(body.is_err(), "a cut reply must not pass for a whole one");
    assert_eq!(
        world.settled().await.outcome,
        Outcome::Cut { status: Some(200) }
    );
    assert!(
        sender.clone().ready().await.is_err(),
        "the connection is over"
    );
}

#[tokio::test]
async fn an_agent_that_takes_its_request_back_withdraws_it() {
    let world = World::new().await;
    world.fake.plan(Plan::Ask);
    let sender = client(&world).await;
    let mut ready = sender.clone().ready().await.unwrap();
    let (reply, mut stream) = ready
        .send_request(request(Method::GET, "/"), false)
        .unwrap();
    stream.send_data(Bytes::new(), true).unwrap();
    until("it asks", || world.fake.asking.load(Ordering::SeqCst) == 1).await;
    stream.send_reset(h2::Reason::CANCEL);
    drop(reply);
    until("it is withdrawn", || {
        world.fake.withdrawn.load(Ordering::SeqCst) == 1
    })
    .await;
}

/// Answers with what it got: the method, the target and the headers as text, or
/// the body if there was one.
fn echo(io: Box<dyn Stream>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let mut connection = h2::server::handshake(io).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                let (parts, mut body) = request.into_parts();
                let mut got = Vec::new();
                while let Some(Ok(piece)) = body.data().await {
                    let _ = body.flow_control().release_capacity(piece.len());
                    got.extend_from_slice(&piece);
                }
                if got.is_empty() {
                    let auth = parts.headers.get("authorization");
                    let told = format!(
                        "{} {} {}",
                        parts.method,
                        parts.uri,
                        auth.map_or(0, http::HeaderValue::len)
                    );
                    got = told.into_bytes();
                }
                let mut rest = Bytes::from(got);
                let mut reply = respond.send_response(Response::new(()), false).unwrap();
                while !rest.is_empty() {
                    reply.reserve_capacity(rest.len());
                    let may = std::future::poll_fn(|cx| reply.poll_capacity(cx)).await;
                    let Some(Ok(may)) = may else { return };
                    let next = rest.split_to(may.min(rest.len()));
                    let last = rest.is_empty();
                    if parts.uri.path() == "/dies" && last {
                        return reply.send_reset(h2::Reason::INTERNAL_ERROR);
                    }
                    reply.send_data(next, last).unwrap();
                }
            });
        }
    })
}

async fn before_http2() -> World {
    World::before(
        Upstream::start_with(&NAMES, true, Some(echo)).await,
        limits(),
        |_| {},
    )
}

#[tokio::test]
async fn a_host_that_prefers_http2_gets_exactly_what_was_judged() {
    let world = before_http2().await;
    let bearer = "Bearer ".len() + world.secret.len();
    let mut one = world.client().await;
    for n in 0..3 {
        let path = format!("/a;b/{n}?x=%41&'y");
        let reply = one
            .ask(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await;
        assert_eq!(reply.text(), format!("GET https://{HOST}{path} {bearer}"));
    }
    assert_eq!(
        world.upstream.connections.load(Ordering::SeqCst),
        1,
        "the connection is kept"
    );
    let two = client(&world).await;
    let (_, body) = ask(&two, request(Method::GET, "/two"), None).await;
    assert_eq!(
        String::from_utf8(body.unwrap()).unwrap(),
        format!("GET https://{HOST}/two {bearer}")
    );
    assert_eq!(
        world.settled().await.outcome,
        Outcome::Answered { status: 200 }
    );
}

#[tokio::test]
async fn bodies_stream_through_http2_on_both_sides() {
    let world = before_http2().await;
    let two = client(&world).await;
    let mut put = request(Method::PUT, "/f");
    let opaque = "application/octet-stream".parse().unwrap();
    put.headers_mut().insert("content-type", opaque);
    let large: Vec<u8> = (0..5_000_000u32).map(|n| n as u8).collect();
    let (head, body) = ask(&two, put, Some(large.clone())).await;
    assert_eq!(head.status().as_u16(), 200);
    assert!(body.unwrap() == large);
    let settled = world.settled().await;
    assert_eq!(settled.body_digest, Some(Digest::of(&large)));
    assert_eq!(
        (settled.bytes_sent, settled.bytes_received),
        (5_000_000, 5_000_000)
    );
}

#[tokio::test]
async fn a_reply_that_breaks_off_in_http2_is_unknown_and_not_whole() {
    let world = before_http2().await;
    let mut one = world.client().await;
    let body = "x".repeat(100_000);
    one.send(
        format!("PUT /dies HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
    )
    .await;
    let reply = one.reply(false).await.unwrap();
    assert!(!reply.whole || reply.status == 502, "{}", reply.status);
    assert!(matches!(
        world.settled().await.outcome,
        Outcome::Unknown { .. }
    ));
}
