//! WebSocket: one request of unknown content, carried both ways and cut like any.

use crate::client::Client;
use crate::fake::Plan;
use crate::upstream::{Answer, says};
use crate::world::{HOST, World, until};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_model::{Effect, Effects, Outcome, ReasonCode};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn asks() -> String {
    format!(
        "GET /live?room=1 HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
}

fn proof(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

/// Agrees, says `first`, and then gives back whatever comes.
fn agrees(first: Vec<u8>) -> Answer {
    Box::new(move |seen, io| {
        let first = first.clone();
        Box::pin(async move {
            let proof = proof(seen.header("sec-websocket-key").unwrap());
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {proof}\r\nsec-websocket-protocol: chat\r\nset-cookie: session=abcdefghijklmnop\r\nx-other: 1\r\n\r\n"
            );
            io.write_all(head.as_bytes()).await.unwrap();
            io.write_all(&first).await.unwrap();
            io.flush().await.unwrap();
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = io.read(&mut bytes).await {
                if io.write_all(&bytes[..n]).await.is_err() || io.flush().await.is_err() {
                    break;
                }
            }
            false
        })
    })
}

async fn opened(world: &World) -> (Client, String) {
    let mut client = world.client().await;
    client.send(asks().as_bytes()).await;
    let head = client.head().await.unwrap();
    (client, head)
}

#[tokio::test]
async fn a_websocket_is_one_request_to_execute_and_is_carried_both_ways() {
    let world = World::new().await;
    world.upstream.answers(agrees(vec![]));
    let (mut client, head) = opened(&world).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let lower = head.to_ascii_lowercase();
    assert!(lower.contains(&format!("sec-websocket-accept: {}", proof(KEY)).to_ascii_lowercase()));
    assert!(lower.contains("sec-websocket-protocol: chat"), "{head}");
    assert!(
        !lower.contains("cookie") && !lower.contains("x-other"),
        "{head}"
    );
    for text in ["hello", "a second time"] {
        client.send(text.as_bytes()).await;
        assert_eq!(client.exactly(text.len()).await, text.as_bytes());
    }
    drop(client);
    {
        let decided = world.fake.decided.lock().unwrap();
        let action = &decided[0].action;
        assert_eq!(action.effects, Effects::of(&[Effect::Exec, Effect::Read]));
        assert!(!action.routine && !decided[0].preview.whole);
        assert!(action.words.shown(200).contains("WebSocket"));
    }
    let seen = world.upstream.last();
    let bearer = format!("Bearer {}", world.secret);
    assert_eq!(seen.header("authorization"), Some(bearer.as_str()));
    assert_eq!(seen.header("sec-websocket-key"), Some(KEY));
    assert_eq!(seen.header("sec-websocket-extensions"), None);
    let settled = world.settled().await;
    assert_eq!(settled.outcome, Outcome::Answered { status: 101 });
    assert_eq!((settled.bytes_sent, settled.bytes_received), (18, 18));
}

#[tokio::test]
async fn a_websocket_that_says_the_credential_is_cut() {
    let world = World::new().await;
    world.upstream.answers(agrees(b"welcome".to_vec()));
    let (mut client, _) = opened(&world).await;
    assert_eq!(client.exactly(7).await, b"welcome");
    // The stand-in echoes; a real service might as well.
    client.send(world.secret.as_bytes()).await;
    assert!(client.until_closed().await.is_empty());
    assert!(matches!(
        world.settled().await.outcome,
        Outcome::Unknown { .. }
    ));
}

#[tokio::test]
async fn the_stop_cuts_an_open_websocket() {
    let world = World::new().await;
    world.upstream.answers(agrees(b"welcome".to_vec()));
    let (mut client, _) = opened(&world).await;
    assert_eq!(client.exactly(7).await, b"welcome");
    world.fake.engage_stop();
    assert!(client.until_closed().await.is_empty());
    assert_eq!(
        world.settled().await.outcome,
        Outcome::Cut { status: Some(101) }
    );
}

#[tokio::test]
async fn a_websocket_that_is_denied_never_reaches_the_service() {
    let world = World::new().await;
    world.fake.plan(Plan::Deny(ReasonCode::DeniedByHuman));
    let reply = world.ask(asks()).await;
    assert_eq!(reply.reason(), "denied-by-human");
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn a_service_that_does_not_agree_is_heard_or_is_not_believed() {
    let world = World::new().await;
    let no = "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
    world.upstream.answers(says(no));
    let reply = world.ask(asks()).await;
    assert_eq!((reply.status, reply.text().as_str()), (404, "no"));
    assert_eq!(
        world.settled().await.outcome,
        Outcome::Answered { status: 404 }
    );

    world.upstream.answers(says("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: bm90IHRoZSBwcm9vZiBhdCBhbGw=\r\n\r\nraw"));
    let reply = world.ask(asks()).await;
    assert_eq!(reply.status, 502);
}

#[tokio::test]
async fn an_agent_that_ends_its_side_ends_the_websocket() {
    let world = World::new().await;
    world.upstream.answers(agrees(b"welcome".to_vec()));
    let (mut client, _) = opened(&world).await;
    assert_eq!(client.exactly(7).await, b"welcome");
    client.io.shutdown().await.unwrap();
    drop(client);
    until("it is settled", || {
        !world.fake.settled.lock().unwrap().is_empty()
    })
    .await;
}
