//! The stop, at every arrow of the way.

use crate::client::Client;
use crate::fake::Plan;
use crate::upstream::says_slowly;
use crate::world::{HOST, World, until};
use countersign_model::Outcome;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[tokio::test]
async fn the_stop_answers_what_waits_for_a_human() {
    let world = World::new().await;
    world.fake.plan(Plan::Ask);
    let mut client = world.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
        .await;
    until("it is asked", || {
        world.fake.asking.load(Ordering::SeqCst) == 1
    })
    .await;
    let began = Instant::now();
    world.fake.engage_stop();
    assert_eq!(client.reply(false).await.unwrap().reason(), "stopped");
    assert!(
        client.reply(false).await.is_none(),
        "and the connection is closed"
    );
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn the_stop_cuts_a_request_that_waits_for_its_reply() {
    let world = World::new().await;
    world
        .upstream
        .answers(Box::new(|_, _| Box::pin(std::future::pending())));
    let mut client = world.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
        .await;
    until("it is upstream", || world.upstream.count() == 1).await;
    world.fake.engage_stop();
    assert_eq!(client.reply(false).await.unwrap().reason(), "stopped");
    assert_eq!(world.settled().await.outcome, Outcome::Cut { status: None });
}

#[tokio::test]
async fn the_stop_cuts_a_reply_in_the_middle() {
    let world = World::new().await;
    let mut pieces = vec![b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()];
    pieces.extend(std::iter::repeat_n(b"5\r\nhello\r\n".to_vec(), 1000));
    world
        .upstream
        .answers(says_slowly(pieces, Duration::from_millis(20)));
    let mut client = world.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
        .await;
    client.head().await.unwrap();
    world.fake.engage_stop();
    let rest = client.until_closed().await;
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "a cut reply must not pass for a whole one"
    );
    assert_eq!(
        world.settled().await.outcome,
        Outcome::Cut { status: Some(200) }
    );
}

#[tokio::test]
async fn the_stop_cuts_a_body_that_streams_up() {
    let world = World::new().await;
    let mut client = world.client().await;
    client
        .send(format!("POST /f HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nhello").as_bytes())
        .await;
    until("it is released", || {
        world.fake.redeemed.load(Ordering::SeqCst) == 1
    })
    .await;
    world.fake.engage_stop();
    assert_eq!(client.reply(false).await.unwrap().reason(), "stopped");
    let settled = world.settled().await;
    assert_eq!(
        (settled.outcome, settled.body_digest),
        (Outcome::Cut { status: None }, None)
    );
}

#[tokio::test]
async fn the_stop_closes_what_idles_and_answers_what_comes() {
    let world = World::new().await;
    let mut idle = world.client().await;
    idle.ask(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
        .await;
    let mut tunnel = Client::plain(&world.socket).await;
    tunnel
        .send(format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n").as_bytes())
        .await;
    tunnel.head().await.unwrap();
    world.fake.engage_stop();
    assert!(idle.reply(false).await.is_none());
    assert!(tunnel.until_closed().await.is_empty());
    let refused = world.client_of(HOST).await.err().unwrap();
    assert!(refused.contains("stopped"), "{refused}");
    let mut plain = Client::plain(&world.socket).await;
    assert_eq!(
        plain
            .ask(format!(
                "GET https://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
            ))
            .await
            .reason(),
        "stopped"
    );
    world.fake.lift_stop();
    assert_eq!(
        world.get("/").await.status,
        200,
        "a run that goes on is served again"
    );
}

#[tokio::test]
async fn a_change_of_the_account_cuts_what_it_released() {
    let world = World::new().await;
    world
        .upstream
        .answers(Box::new(|_, _| Box::pin(std::future::pending())));
    let mut client = world.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
        .await;
    until("it is upstream", || world.upstream.count() == 1).await;
    world.fake.account_cut.cancel();
    assert_eq!(client.reply(false).await.unwrap().reason(), "changed");
    assert_eq!(world.settled().await.outcome, Outcome::Cut { status: None });
}

#[tokio::test]
async fn a_gateway_that_is_dropped_settles_what_was_under_way() {
    let world = World::new().await;
    world
        .upstream
        .answers(Box::new(|_, _| Box::pin(std::future::pending())));
    let mut client = world.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
        .await;
    until("it is upstream", || world.upstream.count() == 1).await;
    world.gateway.abort();
    assert!(matches!(
        world.settled().await.outcome,
        Outcome::Unknown { .. }
    ));
}
