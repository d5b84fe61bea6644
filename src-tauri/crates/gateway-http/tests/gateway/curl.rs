//! A client that we did not write.

use crate::upstream::{ok, says};
use crate::world::{HOST, World, limits, random_text};
use countersign_broker::Secret;
use countersign_gateway_http::{Gateway, RunCa, RunGateway};
use countersign_model::RunId;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::process::Command;

/// Runs curl through a loopback listener; exit code and output.
async fn curl(world: &World, token: &str, given: &str, arguments: &[&str]) -> (i32, String) {
    let ca = RunCa::for_accounts(&world.fake.accounts.lock().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ca.pem");
    std::fs::write(&bundle, ca.cert_pem()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://agent:{given}@{}", listener.local_addr().unwrap());
    let run = RunGateway { run: RunId::from_random([2; 8]), ca, port: Arc::clone(&world.fake), limits: limits() };
    let uid = std::fs::metadata("/proc/self").unwrap().uid();
    let token = Secret::new(token.as_bytes().to_vec());
    let gateway = tokio::spawn(async move { Gateway::new().serve_tcp(listener, run, token, uid).await });
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "", "--cacert"])
        .arg(&bundle)
        .args(["--proxy", &proxy])
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .await
        .expect("curl is installed");
    gateway.abort();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), text)
}

#[tokio::test]
async fn curl_works_through_the_gateway_as_it_is() {
    let world = World::new().await;
    world.upstream.answers(says(ok("{\"hello\":1}")));
    let url = format!("https://{HOST}/posts");
    let token = random_text(20);
    let (code, text) = curl(&world, &token, &token, &["--compressed", "-H", "Authorization: Bearer x", &url, &url]).await;
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
    let (code, text) = curl(&world, &token, &token, &["-H", "Content-Type: application/octet-stream", "--upload-file", path, &format!("https://{HOST}/f")]).await;
    assert_eq!((code, text.as_str()), (0, "{}"));
    assert_eq!(world.upstream.last().body.len(), 2 << 20);
}

#[tokio::test]
async fn a_process_without_the_agents_token_is_not_the_agent() {
    let world = World::new().await;
    let (code, text) = curl(&world, &random_text(20), "guess", &[&format!("https://{HOST}/")]).await;
    assert_ne!(code, 0);
    assert!(text.contains("407"), "{text}");
    assert_eq!(world.upstream.count(), 0);
}
