//! Every trap of HTTP that was written down, and that it is refused.

use crate::client::Client;
use crate::upstream::{ok, says};
use crate::world::{HOST, World, limits};
use countersign_model::Outcome;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Each must be refused as `reason`, with nothing judged and nothing sent.
async fn refused(reason: &str, requests: &[String]) {
    let world = World::new().await;
    for request in requests {
        let reply = world.ask(request).await;
        assert_eq!(
            (reply.status, reply.reason().as_str()),
            (403, reason),
            "{request:?}"
        );
    }
    assert_eq!(
        (
            world.upstream.count(),
            world.fake.decided.lock().unwrap().len()
        ),
        (0, 0)
    );
    assert_eq!(world.rejected().len(), requests.len(), "each is recorded");
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
}

#[tokio::test]
async fn a_target_that_disagrees_with_host_or_tunnel_is_refused() {
    let hosts = [
        "docs.example",
        "forum.example:8443",
        "forum.example.evil.example",
        "user@forum.example",
        "127.0.0.1",
        "",
    ];
    let mut all: Vec<String> = hosts
        .iter()
        .map(|h| format!("GET / HTTP/1.1\r\nHost: {h}\r\n\r\n"))
        .collect();
    all.push("GET / HTTP/1.1\r\n\r\n".into());
    all.push(format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: docs.example\r\n\r\n"
    ));
    all.push(format!(
        "GET https://docs.example/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    ));
    all.push(format!(
        "GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    ));
    all.push(format!(
        "GET https://user:pass@{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    ));
    refused("malformed", &all).await;
}

#[tokio::test]
async fn a_path_that_servers_resolve_differently_is_refused() {
    let paths = [
        "/a/../b",
        "/%2e%2e/b",
        "/a/%2E%2e%2fb",
        "/./a",
        "/a%00b",
        "/a%5c..%5cb",
        "/a\\b",
        "/..;/a",
        "/a#b",
        "*",
    ];
    refused("malformed", &paths.map(get)).await;
}

#[tokio::test]
async fn odd_but_plain_paths_and_hosts_arrive_verbatim() {
    let world = World::new().await;
    for path in [
        "//a//b",
        "/a%2Fb",
        "/a;x=1/b",
        "/a'b?c='%27&d=../e",
        "/%41?",
    ] {
        assert_eq!(world.get(path).await.status, 200);
        assert_eq!(world.upstream.last().line(), format!("GET {path} HTTP/1.1"));
    }
    let reply = world
        .ask("GET / HTTP/1.1\r\nHost: FORUM.example.:443\r\n\r\n")
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(world.upstream.last().header("host"), Some(HOST));
}

#[tokio::test]
async fn framing_that_two_parsers_read_differently_is_refused() {
    let post = |rest: &str| format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{rest}");
    refused(
        "malformed",
        &[
            post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
            post("Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
            post("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
            post("Content-Length: 3, 3\r\n\r\nabc"),
            post("Transfer-Encoding: gzip, chunked\r\n\r\n"),
            post("Transfer-Encoding: xchunked\r\n\r\n"),
            post("X-A: b\r\n c\r\n\r\n"),
            post("X-A : b\r\n\r\n"),
            post("X-A: b\0\r\n\r\n"),
            post("X-A: b\n\r\n"),
            format!("POST / HTTP/1.1\nHost: {HOST}\n\n"),
            post("Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0\r\n\r\n"),
            post("Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n"),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_not_supported_says_so() {
    refused("unsupported", &[
        format!("TRACE / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nX-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Original-URL: /admin\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nExpect: 200-ok\r\nContent-Length: 0\r\n\r\n"),
    ])
    .await;
}

#[tokio::test]
async fn connect_inside_a_tunnel_is_refused() {
    let world = World::new().await;
    let reply = world
        .ask(format!(
            "CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n"
        ))
        .await;
    assert_eq!(reply.status, 403);
}

#[tokio::test]
async fn connect_host_header_and_server_name_must_agree() {
    let world = World::new().await;
    let mut client = Client::plain(&world.socket).await;
    let reply = client
        .ask(format!(
            "CONNECT {HOST}:443 HTTP/1.1\r\nHost: docs.example:443\r\n\r\n"
        ))
        .await;
    assert_eq!(reply.reason(), "malformed");
    let tls = Client::tunnel(&world.socket, &world.ca_pem, HOST, "docs.example").await;
    assert!(tls.is_err());
    assert_eq!(world.rejected(), ["malformed", "malformed"]);
}

#[tokio::test]
async fn another_port_of_the_host_is_not_the_account() {
    let world = World::new().await;
    let mut client = Client::plain(&world.socket).await;
    let reply = client
        .ask(format!(
            "GET https://{HOST}:8443/ HTTP/1.1\r\nHost: {HOST}:8443\r\n\r\n"
        ))
        .await;
    assert_eq!(reply.reason(), "not-assigned");
}

#[tokio::test]
async fn bytes_in_a_tunnel_that_are_not_tls_go_nowhere() {
    let world = World::new().await;
    let mut client = Client::plain(&world.socket).await;
    client
        .send(format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n").as_bytes())
        .await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
    client.send(get("/").as_bytes()).await;
    client.until_closed().await;
    assert_eq!(
        (world.upstream.count(), world.rejected()),
        (0, vec!["unsupported".to_owned()])
    );
}

#[tokio::test]
async fn a_name_that_resolves_to_this_machine_is_not_dialled() {
    // As a rebinding resolver would have it: the name is the account's, the
    // address is ours.
    let world = World::with(limits(), |a| {
        a.hosts
            .push(countersign_model::HostPattern::new("localhost").unwrap());
    })
    .await;
    {
        let mut views = world.fake.accounts.lock().unwrap();
        let mut account = (*views[0].account).clone();
        account.connect_to = None;
        views[0].account = std::sync::Arc::new(account);
    }
    let mut client = world.client_of("localhost").await.unwrap();
    let reply = client
        .ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!((reply.status, reply.reason().as_str()), (502, "upstream"));
    assert!(reply.text().contains("private address"));
    assert!(matches!(
        world.settled().await.outcome,
        Outcome::NotSent { .. }
    ));
}

#[tokio::test]
async fn an_upstream_that_cannot_prove_who_it_is_gets_nothing() {
    let world = World::new().await;
    // The upstream's certificate names other hosts than this one.
    let mut client = world.client_of("b.wild.example").await.unwrap();
    let reply = client
        .ask("GET / HTTP/1.1\r\nHost: b.wild.example\r\n\r\n")
        .await;
    assert_eq!(reply.reason(), "upstream");
    assert_eq!(world.upstream.count(), 0);
    assert!(matches!(
        world.settled().await.outcome,
        Outcome::NotSent { .. }
    ));
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_not_followed() {
    let world = World::new().await;
    world.upstream.answers(says(
        "HTTP/1.1 302 Found\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n",
    ));
    let reply = world.get("/").await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (302, Some("https://evil.example/"))
    );
    assert_eq!(world.upstream.count(), 1);
}

#[tokio::test]
async fn a_gzip_body_is_judged_by_what_it_hides_and_sent_as_it_came() {
    let world = World::new().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b"{\"delete\":\"all\"}").unwrap();
    let body = gzip.finish().unwrap();
    let head = format!(
        "POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    assert_eq!(
        world.ask([head.as_bytes(), &body].concat()).await.status,
        200
    );
    let seen = world.upstream.last();
    assert_eq!(
        (seen.body, seen.head.contains("content-encoding: gzip")),
        (body, true)
    );
}

#[tokio::test]
async fn a_zip_bomb_is_put_to_the_human_as_one_that_cannot_be_read() {
    let world = World::new().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![0; 40 << 20]).unwrap();
    let body = gzip.finish().unwrap();
    let head = format!(
        "POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let reply = world.ask([head.as_bytes(), &body].concat()).await;
    assert_eq!(reply.status, 200, "the fake human says yes");
    let decided = world.fake.decided.lock().unwrap();
    let action = &decided[0].action;
    assert!(!action.routine && !decided[0].preview.whole);
    let words = action.words.shown(200);
    assert!(words.contains("too large"), "{words}");
}

#[tokio::test]
async fn a_body_that_not_even_the_disk_may_hold_is_refused_before_it_is_read() {
    let world = World::new().await;
    let reply = world
        .ask(format!(
            "POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9000000000\r\n\r\n"
        ))
        .await;
    assert_eq!(reply.reason(), "limit");
}

#[tokio::test]
async fn bodies_that_wait_may_not_take_all_memory() {
    let mut small = limits();
    small.buffered = 100 << 10;
    let world = World::with(small, |_| {}).await;
    world.fake.plan(crate::fake::Plan::Ask);
    let post = |n: usize| {
        format!(
            "POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {n}\r\n\r\n{}",
            "a".repeat(n)
        )
    };
    let mut first = world.client().await;
    first.send(post(80 << 10).as_bytes()).await;
    crate::world::until("the first is asked", || {
        world.fake.asking.load(std::sync::atomic::Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(world.ask(post(80 << 10)).await.reason(), "limit");
    world.fake.answer.notify_waiters();
    assert_eq!(first.reply(false).await.unwrap().status, 200);
    world.fake.plan(crate::fake::Plan::Allow);
    assert_eq!(
        world.ask(post(80 << 10)).await.status,
        200,
        "memory came back"
    );
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it_once_its_body_is_wanted() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.send(format!("POST /x HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").as_bytes()).await;
    assert_eq!(
        client.head().await.unwrap(),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client.send(b"hi").await;
    assert_eq!(client.reply(false).await.unwrap().status, 200);
    assert!(world.upstream.last().header("expect").is_none());
}

#[tokio::test]
async fn a_slow_head_and_a_slow_body_are_cut() {
    let world = World::new().await;
    let began = Instant::now();
    let mut client = world.client().await;
    client.send(b"GET / HTTP/1.1\r\nHost:").await;
    assert_eq!(client.reply(false).await.unwrap().reason(), "limit");
    let mut client = world.client().await;
    client
        .send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhe").as_bytes())
        .await;
    assert_eq!(client.reply(false).await.unwrap().reason(), "limit");
    assert!(began.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn too_many_connections_are_told_so() {
    let mut few = limits();
    few.connections = 2;
    let world = World::with(few, |_| {}).await;
    let (_a, _b) = (world.client().await, world.client().await);
    let mut third = Client::plain(&world.socket).await;
    assert_eq!(third.reply(false).await.unwrap().reason(), "limit");
}

#[tokio::test]
async fn a_client_that_closes_its_half_still_gets_its_reply() {
    use tokio::io::AsyncWriteExt as _;
    let world = World::new().await;
    let mut client = Client::plain(&world.socket).await;
    client
        .send(format!("GET https://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
        .await;
    client.io.shutdown().await.unwrap();
    assert_eq!(client.reply(false).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_http_1_0_client_gets_what_it_can_read() {
    let world = World::new().await;
    world.upstream.answers(says(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ));
    let reply = world
        .ask(format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n"))
        .await;
    assert_eq!(
        (reply.text().as_str(), reply.header("transfer-encoding")),
        ("abc", None)
    );
    world.upstream.answers(says(ok("x")));
    assert_eq!(
        world
            .ask(format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n"))
            .await
            .header("connection"),
        Some("close")
    );
}
