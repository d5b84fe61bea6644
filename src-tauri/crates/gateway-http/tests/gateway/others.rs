//! Clients that we did not write: curl, and Python's own.

use crate::fake::Plan;
use crate::upstream::{ok, says};
use crate::world::{HOST, World, limits, placeholder, random_text, until};
use countersign_broker::Secret;
use countersign_gateway_http::{Gateway, Ports, RunCa, RunGateway};
use countersign_model::RunId;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::process::Command;
use tokio::task::JoinHandle;

/// A loopback listener for another program; it ends when this is dropped.
struct Loopback {
    proxy: String,
    ca: tempfile::NamedTempFile,
    gateway: JoinHandle<()>,
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.gateway.abort();
    }
}

impl Loopback {
    async fn start(world: &World, token: &str) -> Self {
        let run_ca = RunCa::for_accounts(&world.fake.accounts.lock().unwrap()).unwrap();
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), run_ca.cert_pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = listener.local_addr().unwrap().to_string();
        let run = RunGateway {
            run: RunId::from_random([2; 8]),
            ca: Arc::new(run_ca),
            placeholder: placeholder(),
            port: Arc::clone(&world.fake),
            limits: limits(),
        };
        let uid = std::fs::metadata("/proc/self").unwrap().uid();
        let token = Secret::new(token.as_bytes().to_vec());
        let port = Ports::of_user(listener, uid).unwrap();
        let serve = async move { Gateway::new().serve_tcp(port, run, token).await };
        Self {
            proxy,
            ca,
            gateway: tokio::spawn(serve),
        }
    }
}

/// Exit code, and everything that it wrote.
async fn run(mut command: Command) -> (i32, String) {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = command.output().await.expect("the program is installed");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

async fn curl(world: &World, token: &str, given: &str, arguments: &[&str]) -> (i32, String) {
    let gateway = Loopback::start(world, token).await;
    let mut command = Command::new("curl");
    command
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "",
            "--cacert",
        ])
        .arg(gateway.ca.path())
        .args([
            "--proxy",
            &format!("http://agent:{given}@{}", gateway.proxy),
        ])
        .args(arguments);
    run(command).await
}

#[tokio::test]
async fn curl_works_through_the_gateway_as_it_is() {
    let world = World::new().await;
    world.upstream.answers(says(ok("{\"hello\":1}")));
    let url = format!("https://{HOST}/posts");
    let token = random_text(20);
    let (code, text) = curl(
        &world,
        &token,
        &token,
        &["--compressed", "-H", "Authorization: Bearer x", &url, &url],
    )
    .await;
    assert_eq!((code, text.as_str()), (0, "{\"hello\":1}{\"hello\":1}"));
    let (code, text) = curl(&world, &token, &token, &["--data", "a=b", &url]).await;
    assert_eq!((code, text.as_str()), (0, "{\"hello\":1}"));
    assert_eq!(world.upstream.last().body, b"a=b");
}

#[tokio::test]
async fn curl_uploads_what_streams() {
    let world = World::new().await;
    let token = random_text(20);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![1; 2 << 20]).unwrap();
    let path = file.path().to_str().unwrap();
    let (code, text) = curl(
        &world,
        &token,
        &token,
        &[
            "-H",
            "Content-Type: application/octet-stream",
            "--upload-file",
            path,
            &format!("https://{HOST}/f"),
        ],
    )
    .await;
    assert_eq!((code, text.as_str()), (0, "{}"));
    assert_eq!(world.upstream.last().body.len(), 2 << 20);
}

#[tokio::test]
async fn a_process_without_the_agents_token_is_not_the_agent() {
    let world = World::new().await;
    let (code, text) = curl(
        &world,
        &random_text(20),
        "guess",
        &[&format!("https://{HOST}/")],
    )
    .await;
    assert_ne!(code, 0);
    assert!(text.contains("407"), "{text}");
    assert_eq!(world.upstream.count(), 0);
}

/// Python's http.client with the strictest checks of a certificate that it has.
const PYTHON: &str = r#"
import http.client, ssl, sys
proxy, token, ca, host = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.verify_flags |= ssl.VERIFY_X509_STRICT
connection = http.client.HTTPSConnection(proxy, context=context, timeout=2)
connection.set_tunnel(host, 443, {"Proxy-Authorization": "Bearer " + token})
for _ in range(2):
    connection.request("GET", "/slow", headers={"User-Agent": "python-requests/2.32.3"})
    reply = connection.getresponse()
    print(reply.status, reply.read().decode())
"#;

#[tokio::test]
async fn python_trusts_the_runs_ca_and_waits_for_the_user_longer_than_its_time_out() {
    let world = World::new().await;
    world.upstream.answers(says(ok("{}")));
    world.fake.plan(Plan::Ask);
    let token = random_text(20);
    let gateway = Loopback::start(&world, &token).await;
    let mut command = Command::new("python3");
    command
        .args(["-c", PYTHON, &gateway.proxy, &token])
        .arg(gateway.ca.path())
        .arg(HOST);
    let python = tokio::spawn(run(command));
    for _ in 0..2 {
        until("it is asked", || {
            world.fake.asking.load(Ordering::SeqCst) == 1
        })
        .await;
        // Longer than the two seconds that the client waits for a byte.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        world.fake.answer.notify_waiters();
        until("it was answered", || {
            world.fake.asking.load(Ordering::SeqCst) == 0
        })
        .await;
    }
    let (code, text) = python.await.unwrap();
    assert_eq!((code, text.as_str()), (0, "200 {}\n200 {}\n"));
}
