//! Bodies that stream: bound by the record, flat in memory, truthful at the end.

use crate::client::Client;
use crate::fake::Plan;
use crate::upstream::says;
use crate::world::{HOST, World, limits, until};
use countersign_model::{BodyCommitment, Digest, Outcome};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const OPAQUE: &str = "Content-Type: application/octet-stream";

fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn an_opaque_body_streams_and_the_record_after_has_its_digest() {
    let world = World::new().await;
    let body = vec![7u8; 3 << 20];
    let mut client = world.client().await;
    client
        .send(
            format!(
                "PUT /f HTTP/1.1\r\nHost: {HOST}\r\n{OPAQUE}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .as_bytes(),
        )
        .await;
    client.send(&body).await;
    assert_eq!(client.reply(false).await.unwrap().status, 200);
    let seen = world.upstream.last();
    assert!(seen.body == body);
    assert_eq!(seen.header("content-length"), Some("3145728"));
    assert_eq!(
        world.fake.decided.lock().unwrap()[0].exact.body,
        BodyCommitment::Streamed
    );
    let settled = world.settled().await;
    assert_eq!(
        (settled.body_digest, settled.bytes_sent),
        (Some(Digest::of(&body)), 3 << 20)
    );
    assert_eq!(
        client
            .ask(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await
            .status,
        200,
        "the connection goes on"
    );
}

#[tokio::test]
async fn a_body_too_large_to_be_judged_is_held_asked_and_sent_as_it_was_shown() {
    let world = World::new().await;
    let body = b"0123456789abcdef".repeat((9 << 20) / 16);
    let stated = format!("Content-Length: {}", body.len());
    for framing in [stated.as_str(), "Transfer-Encoding: chunked"] {
        world.fake.settled.lock().unwrap().clear();
        let mut client = world.client().await;
        client
            .send(format!("POST /posts HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n{framing}\r\n\r\n").as_bytes())
            .await;
        if framing == stated {
            client.send(&body).await;
        } else {
            for piece in body.chunks(1 << 20) {
                client
                    .send(format!("{:x}\r\n", piece.len()).as_bytes())
                    .await;
                client.send(piece).await;
                client.send(b"\r\n").await;
            }
            client.send(b"0\r\n\r\n").await;
        }
        assert_eq!(client.reply(false).await.unwrap().status, 200);
        let seen = world.upstream.last();
        assert!(seen.body == body);
        assert_eq!(seen.header("content-length"), Some("9437184"));
        let decided = world.fake.decided.lock().unwrap().pop().unwrap();
        assert_eq!(
            decided.exact.body,
            BodyCommitment::Exact {
                digest: Digest::of(&body),
                length: 9 << 20
            }
        );
        assert!(!decided.action.routine && !decided.preview.whole);
        assert_eq!(world.settled().await.bytes_sent, 9 << 20);
    }
}

#[tokio::test]
async fn bodies_on_disk_may_not_take_all_of_it() {
    let mut small = limits();
    small.spooled = 20 << 20;
    let world = World::with(small, |_| {}).await;
    world.fake.plan(Plan::Ask);
    let post = format!(
        "POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n{}",
        12 << 20,
        "a".repeat(12 << 20)
    );
    let mut first = world.client().await;
    first.send(post.as_bytes()).await;
    until("the first is asked", || {
        world.fake.asking.load(Ordering::SeqCst) == 1
    })
    .await;
    let mut second = world.client().await;
    let head = post.split_at(post.len() - (1 << 20)).0;
    second.send(head.as_bytes()).await;
    assert_eq!(second.reply(false).await.unwrap().reason(), "limit");
    world.fake.answer.notify_waiters();
    assert_eq!(first.reply(false).await.unwrap().status, 200);
}

#[tokio::test]
async fn chunks_of_one_byte_arrive_as_one_body() {
    let world = World::new().await;
    let mut request = format!(
        "PUT /f HTTP/1.1\r\nHost: {HOST}\r\n{OPAQUE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    for byte in "hello world".chars() {
        request.push_str(&format!("1\r\n{byte}\r\n"));
    }
    request.push_str("0\r\n\r\n");
    let mut client = world.client().await;
    for byte in request.bytes() {
        client.send(&[byte]).await;
    }
    assert_eq!(client.reply(false).await.unwrap().status, 200);
    let seen = world.upstream.last();
    assert_eq!(
        (seen.body.as_slice(), seen.header("transfer-encoding")),
        (b"hello world".as_slice(), Some("chunked"))
    );
}

#[tokio::test]
async fn an_agent_that_dies_while_sending_is_no_whole_body() {
    let world = World::new().await;
    let mut client = world.client().await;
    client
        .send(
            format!(
                "PUT /f HTTP/1.1\r\nHost: {HOST}\r\n{OPAQUE}\r\nContent-Length: 100\r\n\r\nhello"
            )
            .as_bytes(),
        )
        .await;
    until("it is released", || {
        world.fake.redeemed.load(Ordering::SeqCst) == 1
    })
    .await;
    drop(client);
    let settled = world.settled().await;
    assert_eq!(
        settled.outcome,
        Outcome::Unknown {
            why: "the agent hung up while sending".into(),
            status: None
        }
    );
    assert_eq!((settled.body_digest, world.upstream.count()), (None, 0));
}

#[tokio::test]
async fn an_answer_before_the_body_is_passed_on_at_once() {
    let world = World::new().await;
    world.upstream.read_body.store(false, Ordering::SeqCst);
    world.upstream.answers(Box::new(|_, io| {
        Box::pin(async move {
            let reply = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig";
            io.write_all(reply).await.unwrap();
            io.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(500)).await;
            false
        })
    }));
    let mut client = world.client().await;
    client.send(format!("PUT /f HTTP/1.1\r\nHost: {HOST}\r\n{OPAQUE}\r\nContent-Length: 1000000\r\n\r\nhello").as_bytes()).await;
    let reply = client.reply(false).await.unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (413, "big"));
    assert_eq!(
        world.settled().await.outcome,
        Outcome::Answered { status: 413 }
    );
}

#[tokio::test]
async fn a_slow_reader_keeps_memory_flat() {
    let world = World::new().await;
    const SIZE: usize = 96 << 20;
    world.upstream.answers(Box::new(|_, io| {
        Box::pin(async move {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
            io.write_all(head.as_bytes()).await.unwrap();
            let piece = vec![b'x'; 1 << 20];
            for _ in 0..SIZE / piece.len() {
                if io.write_all(&piece).await.is_err() {
                    return false;
                }
            }
            io.flush().await.is_ok()
        })
    }));
    let mut client = world.client().await;
    let before = memory_kib();
    client
        .send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
        .await;
    client.head().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let grown = memory_kib().saturating_sub(before);
    assert!(
        grown < 48 << 10,
        "{grown} KiB for a reader that does not read"
    );
    let mut total = 0;
    let mut buf = vec![0; 1 << 20];
    while total < SIZE - (32 << 10) {
        let n = client.io.read(&mut buf).await.unwrap();
        assert!(n > 0 && buf[..n].iter().all(|&b| b == b'x'));
        total += n;
    }
}

#[tokio::test]
async fn a_slow_upstream_slows_the_agent() {
    let world = World::new().await;
    world.upstream.read_body.store(false, Ordering::SeqCst);
    world
        .upstream
        .answers(Box::new(|_, _| Box::pin(std::future::pending())));
    let mut client = world.client().await;
    client
        .send(
            format!(
                "PUT /f HTTP/1.1\r\nHost: {HOST}\r\n{OPAQUE}\r\nContent-Length: 900000000\r\n\r\n"
            )
            .as_bytes(),
        )
        .await;
    let piece = vec![0; 1 << 20];
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_millis(700), client.io.write_all(&piece))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 64, "the gateway takes what nobody wants");
    }
}

#[tokio::test]
async fn a_reply_passes_unchanged_whatever_its_framing() {
    let world = World::new().await;
    let body: Vec<u8> = (0..200_000u32)
        .flat_map(|i| [(i % 251) as u8, b'%', b'\\', b'&'])
        .collect();
    let length = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(7919) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\nx-trailer: 1\r\n\r\n");
    for reply in [[length.as_bytes(), &body].concat(), chunked] {
        world.upstream.answers(says(reply));
        let got = world.get("/").await;
        assert!(got.whole && got.body == body);
    }
    let mut client: Client = world.client().await;
    assert_eq!(
        client
            .ask(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await
            .body
            .len(),
        body.len()
    );
}
