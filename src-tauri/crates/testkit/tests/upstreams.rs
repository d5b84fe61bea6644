//! The upstreams obey whoever holds the credential, and the agents, with
//! nothing between, do the harm that they are there to do.

#![allow(clippy::unwrap_used)] // a test ends at its first surprise

use countersign_testkit::upstream::{Forum, Mailbox, Upstream};
use countersign_testkit::{agents, random};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

/// One request over TLS, trusting only the upstream's CA; the whole answer.
fn call(upstream: &Upstream, head: &str, body: &str) -> String {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(upstream.ca_pem().as_bytes()).unwrap())
        .unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    let name = ServerName::try_from(upstream.host().to_owned()).unwrap();
    let tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(tls, TcpStream::connect(upstream.address()).unwrap());
    let (host, length) = (upstream.host(), body.len());
    write!(
        stream,
        "{head}\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = Vec::new();
    let _closed_without_notice = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// Runs an agent as if its upstream's name led to the upstream.
fn let_loose(agent: &str, upstream: &Upstream, args: &[&str]) -> std::process::Output {
    const LEAD: &str = "import socket, sys, os\n\
        real = socket.getaddrinfo\n\
        socket.getaddrinfo = lambda host, port, *a, **k: real('127.0.0.1', int(os.environ['TEST_PORT']), *a, **k)\n\
        sys.argv = ['agent'] + sys.argv[1:]\n";
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, upstream.ca_pem()).unwrap();
    Command::new("/usr/bin/python3")
        .args(["-c", &format!("{LEAD}{agent}")])
        .args(args)
        .env_clear()
        .env("SSL_CERT_FILE", &ca)
        .env("TEST_PORT", upstream.address().port().to_string())
        .output()
        .unwrap()
}

#[test]
fn a_wrong_credential_gets_nothing_and_is_logged() {
    let forum = Forum::start(&random::credential()).unwrap();
    let answer = call(
        &forum.upstream,
        "GET /posts HTTP/1.1\r\nAuthorization: Bearer wrong",
        "",
    );
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let seen = forum.upstream.seen();
    assert_eq!(
        (
            seen[0].method.as_str(),
            seen[0].target.as_str(),
            seen[0].status
        ),
        ("GET", "/posts", 401)
    );
    assert_eq!(seen[0].header("authorization"), Some("Bearer wrong"));
}

#[test]
fn a_repeated_authorization_is_no_credential() {
    let credential = random::credential();
    let forum = Forum::start(&credential).unwrap();
    let twice = format!(
        "GET /posts HTTP/1.1\r\nAuthorization: Bearer {credential}\r\nAuthorization: Bearer x"
    );
    assert!(call(&forum.upstream, &twice, "").starts_with("HTTP/1.1 401"));
}

#[test]
fn the_forum_publishes_what_the_holder_posts() {
    let credential = random::credential();
    let forum = Forum::start(&credential).unwrap();
    let head = format!("POST /posts HTTP/1.1\r\nAuthorization: Bearer {credential}");
    let answer = call(&forum.upstream, &head, r#"{"title":"A","text":"B"}"#);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(forum.posts()[0].text, "B");
}

#[test]
fn the_mailbox_gives_access_tokens_only_for_its_refresh_token() {
    let refresh = random::credential();
    let mailbox = Mailbox::start_oauth2(&refresh, 3).unwrap();
    let ask = |token: &str| {
        let form =
            format!("grant_type=refresh_token&refresh_token={token}&client_id=x&client_secret=y");
        call(&mailbox.upstream, "POST /token HTTP/1.1", &form)
    };
    assert!(ask("wrong").contains("invalid_grant"));
    let answer = ask(&refresh);
    let token = answer
        .split("\"access_token\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let head = format!(
        "GET /gmail/v1/users/me/messages?maxResults=2 HTTP/1.1\r\nAuthorization: Bearer {token}"
    );
    let page = call(&mailbox.upstream, &head, "");
    assert!(page.contains("nextPageToken"), "{page}");
}

#[test]
fn with_nothing_between_the_inbox_agent_deletes_every_message() {
    let mailbox = Mailbox::start("placeholder", 4312).unwrap();
    let ran = let_loose(agents::INBOX, &mailbox.upstream, &[]);
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert_eq!(mailbox.kept(), 0);
    let batches = mailbox
        .upstream
        .seen()
        .iter()
        .filter(|s| s.path().ends_with("/batchDelete"))
        .count();
    assert_eq!(batches, 5);
}

#[test]
fn with_nothing_between_the_forum_agent_publishes() {
    let forum = Forum::start("placeholder").unwrap();
    let ran = let_loose(
        agents::FORUM,
        &forum.upstream,
        &["--base", "https://forum.corp.example"],
    );
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(forum.posts()[0].text.contains("bucket"));
}
