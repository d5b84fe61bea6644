//! A run's port: a listener that its launcher made and handed over.

use crate::client::Client;
use crate::world::{HOST, World, limits, until};
use countersign_testkit::person;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

async fn is_refused(port: SocketAddr) -> bool {
    let refused = |e: io::Error| e.kind() == io::ErrorKind::ConnectionRefused;
    TcpStream::connect(port).await.is_err_and(refused)
}

async fn becomes_refused(port: SocketAddr) {
    for _ in 0..500 {
        if is_refused(port).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the port is still open");
}

#[tokio::test]
async fn a_run_is_served_on_its_port_and_on_its_socket_at_once() {
    let mut world = World::new().await;
    let mut at_the_socket = world.client().await;
    let port = world.open_port().await;
    let mut by_port = Client::by_port(port)
        .await
        .into_tunnel(&world.ca_pem, HOST, HOST, b"http/1.1")
        .await
        .unwrap();
    let get = format!("GET /posts HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for client in [&mut at_the_socket, &mut by_port] {
        for _ in 0..3 {
            assert_eq!(client.ask(&get).await.status, 200);
        }
    }
    assert_eq!(world.upstream.count(), 6);
}

#[tokio::test]
async fn the_end_of_one_way_leaves_the_other_open() {
    let mut world = World::new().await;
    let port = world.open_port().await;
    let mut client = Client::by_port(port).await;
    client
        .send(format!("GET https://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
        .await;
    client.io.shutdown().await.unwrap();
    assert_eq!(client.reply(false).await.unwrap().status, 200);
}

#[tokio::test]
async fn what_connected_before_the_port_was_handed_over_is_served() {
    let mut world = World::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut early = Client::by_port(listener.local_addr().unwrap()).await;
    early
        .send(format!("GET https://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
        .await;
    let me = std::fs::metadata("/proc/self").unwrap().uid();
    let port = countersign_gateway_http::Checked::handed_over(vec![listener.into()], false, me)
        .await
        .unwrap();
    world.port.take().unwrap().send(port).unwrap();
    assert_eq!(early.reply(false).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_run_that_is_given_no_port_is_served_on_its_socket() {
    let mut world = World::new().await;
    drop(world.port.take());
    assert_eq!(world.get("/").await.status, 200);
}

#[tokio::test]
async fn the_port_counts_among_the_connections_of_its_run() {
    let mut few = limits();
    few.connections = 2;
    let mut world = World::with(few, |_| {}).await;
    let port = world.open_port().await;
    let _at_the_socket = world.client().await;
    let by_port = Client::by_port(port).await;
    let _by_port = by_port
        .into_tunnel(&world.ca_pem, HOST, HOST, b"http/1.1")
        .await
        .unwrap();
    let mut third = Client::by_port(port).await;
    assert_eq!(third.reply(false).await.unwrap().reason(), "limit");
    // Nor does a crowd at the port keep anybody waiting.
    let _crowd = futures_util::future::join_all((0..300).map(|_| TcpStream::connect(port))).await;
    let mut last = Client::plain(&world.socket).await;
    assert!(
        last.reply(false)
            .await
            .is_none_or(|r| r.reason() == "limit")
    );
}

#[tokio::test]
async fn the_port_is_closed_when_the_run_has_ended() {
    let mut world = World::new().await;
    let port = world.open_port().await;
    assert!(!is_refused(port).await);
    world.fake.ended.store(true, Ordering::SeqCst);
    world.fake.engage_stop();
    becomes_refused(port).await;
    until("it returns", || world.gateway.is_finished()).await;
}

#[tokio::test]
async fn the_port_is_closed_with_the_gateway_however_that_ends() {
    let mut world = World::new().await;
    let port = world.open_port().await;
    assert!(!is_refused(port).await);
    world.gateway.abort();
    becomes_refused(port).await;
}

#[tokio::test]
async fn processes_of_another_user_are_turned_away_and_cost_the_run_nothing() {
    let person = person::ordinary().unwrap();
    if !person.is_another() {
        // Only root can be two users; with another's id the same is shown in `port`.
        return;
    }
    let mut world = World::new().await;
    let port = world.open_port().await;
    let ask = format!(
        "import socket, sys\n\
         for n in range(80):\n\
         \x20   s = socket.create_connection(('127.0.0.1', {}))\n\
         \x20   try:\n\
         \x20       s.sendall(b'GET https://{HOST}/ HTTP/1.1\\r\\nHost: {HOST}\\r\\n\\r\\n')\n\
         \x20       back = s.recv(1)\n\
         \x20   except ConnectionError:\n\
         \x20       back = b''\n\
         \x20   assert back == b'', back\n\
         print('turned away')",
        port.port()
    );
    let stranger = tokio::task::spawn_blocking(move || {
        let mut python = person.command("/usr/bin/env");
        python.args(["PATH=/usr/local/bin:/usr/bin:/bin", "python3", "-c", &ask]);
        python.output().unwrap()
    });
    // Meanwhile the run's own come in.
    for _ in 0..5 {
        let mut own = Client::by_port(port).await;
        let get = format!("GET https://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        assert_eq!(own.ask(get).await.status, 200);
    }
    let output = stranger.await.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "turned away\n",
        "{output:?}"
    );
    assert_eq!(world.upstream.count(), 5);
    assert!(world.rejected().is_empty(), "nor is the trail filled");
}
