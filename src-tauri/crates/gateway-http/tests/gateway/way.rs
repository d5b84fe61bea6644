//! The way of a request, when nothing is wrong with it.

use crate::client::Client;
use crate::fake::Plan;
use crate::upstream::{Upstream, ok, says};
use crate::world::{HOST, World, account, limits, until, view};
use countersign_broker::{Place, Presented, Secret};
use countersign_model::{BodyCommitment, CredentialKind, Digest, Outcome, ReasonCode};
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_request_goes_out_once_with_the_real_credential_and_nothing_of_the_agents() {
    let world = World::new().await;
    world.upstream.answers(says(ok("{\"posts\":[]}")));
    let reply = world
        .ask(format!(
            "GET /posts?page=2&access_token=placeholder HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer placeholder\r\n\
             Cookie: a=b\r\nX-Api-Key: k\r\nX-Forwarded-For: 1.2.3.4\r\nAccept: application/json\r\nUser-Agent: tester\r\n\
             Countersign-Reason: to read the news\r\n\r\n"
        ))
        .await;
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (200, "{\"posts\":[]}")
    );
    let seen = world.upstream.last();
    assert_eq!(seen.line(), "GET /posts?page=2 HTTP/1.1");
    assert_eq!(
        seen.header("authorization"),
        Some(format!("Bearer {}", world.secret).as_str())
    );
    assert_eq!(seen.header("host"), Some(HOST));
    let mut names: Vec<_> = seen
        .head
        .lines()
        .skip(1)
        .filter_map(|l| Some(l.split_once(':')?.0))
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "accept-encoding",
            "authorization",
            "host",
            "user-agent"
        ]
    );
    {
        let decided = world.fake.decided.lock().unwrap();
        assert_eq!(decided.len(), 1);
        assert_eq!(
            decided[0].action.reason.as_ref().unwrap().raw(),
            "to read the news"
        );
        assert_eq!(
            decided[0].exact.url(),
            format!("https://{HOST}/posts?page=2")
        );
        assert!(
            reply.header("countersign-request").is_none(),
            "it marks our own answers"
        );
    }
    let settled = world.settled().await;
    assert_eq!(settled.outcome, Outcome::Answered { status: 200 });
    assert_eq!(settled.bytes_received, 12);
}

#[tokio::test]
async fn every_request_of_a_connection_is_judged_and_upstream_connections_are_reused() {
    let world = World::new().await;
    let mut client = world.client().await;
    for i in 0..5 {
        assert_eq!(
            client
                .ask(format!("GET /{i} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
                .await
                .status,
            200
        );
    }
    assert_eq!(world.fake.decided.lock().unwrap().len(), 5);
    assert_eq!(world.upstream.count(), 5);
    assert_eq!(world.upstream.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_judged_body_is_bound_by_its_digest_and_arrives_unchanged() {
    let world = World::new().await;
    let reply = world
        .ask(format!(
            "POST /posts HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello"
        ))
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(world.upstream.last().body, b"hello");
    let decided = world.fake.decided.lock().unwrap();
    assert_eq!(
        decided[0].exact.body,
        BodyCommitment::Exact {
            digest: Digest::of(b"hello"),
            length: 5
        }
    );
}

#[tokio::test]
async fn a_chunked_body_that_was_judged_goes_out_with_its_length() {
    let world = World::new().await;
    world
        .ask(format!(
            "POST /posts HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nAuthorization: Bearer smuggled\r\n\r\n"
        ))
        .await;
    let seen = world.upstream.last();
    assert_eq!(
        (seen.body.as_slice(), seen.header("content-length")),
        (b"hello".as_slice(), Some("5"))
    );
    assert!(
        !seen.head.contains("smuggled"),
        "trailers are not forwarded"
    );
}

#[tokio::test]
async fn a_refusal_says_why_and_the_connection_goes_on() {
    let world = World::new().await;
    let mut client = world.client().await;
    world.fake.plan(Plan::Deny(ReasonCode::DeniedByHuman));
    let reply = client
        .ask(format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nhi"
        ))
        .await;
    assert_eq!(
        (reply.status, reply.reason().as_str()),
        (403, "denied-by-human")
    );
    world.fake.plan(Plan::Allow);
    assert_eq!(
        client
            .ask(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await
            .status,
        200
    );
    assert!(world.rejected().is_empty(), "the broker recorded it");
}

#[tokio::test]
async fn a_permit_for_another_request_sends_nothing() {
    let world = World::new().await;
    world.fake.plan(Plan::Swap);
    assert_eq!(world.get("/").await.reason(), "changed");
    assert_eq!(
        (
            world.upstream.count(),
            world.fake.settled.lock().unwrap().len()
        ),
        (0, 0)
    );
}

#[tokio::test]
async fn hosts_that_are_not_the_agents_are_denied_before_any_tls() {
    let world = World::new().await;
    for host in [
        "other.example",
        "wild.example",
        "127.0.0.1",
        "docs.example.evil.example",
    ] {
        let refused = world.client_of(host).await.err().unwrap();
        assert!(
            refused.contains("403 Forbidden") && refused.contains("not-assigned"),
            "{host}: {refused}"
        );
    }
    assert_eq!(world.rejected(), ["not-assigned"; 4]);
}

#[tokio::test]
async fn an_account_that_was_taken_away_is_denied_inside_the_tunnel() {
    let world = World::new().await;
    let mut client = world.client().await;
    world.fake.accounts.lock().unwrap().clear();
    assert_eq!(
        client
            .ask(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await
            .reason(),
        "not-assigned"
    );
}

#[tokio::test]
async fn a_host_that_was_added_later_says_that_the_run_must_start_anew() {
    let world = World::new().await;
    let late = account("late", "http", &["late.example"], CredentialKind::None);
    world.fake.accounts.lock().unwrap().push(view(late, None));
    assert!(
        world
            .client_of("late.example")
            .await
            .err()
            .unwrap()
            .contains("start the run anew")
    );
}

#[tokio::test]
async fn an_absolute_https_target_is_taken_without_a_tunnel() {
    let world = World::new().await;
    let mut client = Client::plain(&world.socket).await;
    let reply = client
        .ask(format!(
            "GET https://{HOST}/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        ))
        .await;
    assert_eq!(reply.status, 200);
    assert!(world.upstream.last().header("authorization").is_some());
}

#[tokio::test]
async fn plaintext_is_a_setting_of_its_own() {
    let world = World::with(limits(), |a| a.port = 80).await;
    let mut client = Client::plain(&world.socket).await;
    let request = format!("GET http://{HOST}/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    assert_eq!(client.ask(&request).await.reason(), "unsupported");

    let plain = Upstream::start(&[HOST], false).await;
    let address = plain.address.clone();
    let world = World::with(limits(), move |a| {
        (a.port, a.plaintext, a.connect_to) = (80, true, Some(address));
    })
    .await;
    let mut client = Client::plain(&world.socket).await;
    assert_eq!(client.ask(&request).await.status, 200);
    assert_eq!(plain.last().line(), "GET /x HTTP/1.1");
}

#[tokio::test]
async fn two_accounts_of_one_host_are_told_apart_by_name() {
    let world = World::new().await;
    let mut second = (*world.fake.accounts.lock().unwrap()[0].account).clone();
    second.id = "work".parse().unwrap();
    world.fake.accounts.lock().unwrap().push(view(second, None));
    assert_eq!(world.get("/").await.reason(), "malformed");
    let reply = world
        .ask(format!(
            "GET / HTTP/1.1\r\nHost: {HOST}\r\nCountersign-Account: work\r\n\r\n"
        ))
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        world.fake.decided.lock().unwrap()[0].account.as_str(),
        "work"
    );
    assert!(!world.upstream.last().head.contains("ountersign"));
}

#[tokio::test]
async fn a_credential_in_the_query_is_put_there_after_judgement() {
    let world = World::with(limits(), |a| {
        a.credential = CredentialKind::Query("key".into());
    })
    .await;
    let value = Secret::new(b"se/cret&1".to_vec());
    let place = Place::Query {
        name: "key".into(),
        value: value.clone(),
    };
    world.fake.presented.lock().unwrap().insert(
        "forum".into(),
        Presented {
            place,
            needles: vec![value],
        },
    );
    world.get("/a?x=1&key=placeholder").await;
    assert_eq!(
        world.upstream.last().line(),
        "GET /a?x=1&key=se%2Fcret%261 HTTP/1.1"
    );
    assert_eq!(
        world.fake.decided.lock().unwrap()[0].exact.query.as_deref(),
        Some("x=1")
    );
    world.get("/b").await;
    assert_eq!(
        world.upstream.last().line(),
        "GET /b?key=se%2Fcret%261 HTTP/1.1"
    );
}

#[tokio::test]
async fn a_token_endpoint_of_a_known_kind_is_answered_here_and_never_forwarded() {
    let world = World::new().await;
    let gmail = account(
        "mail",
        "gmail",
        &["gmail.googleapis.com"],
        CredentialKind::Oauth2,
    );
    let mut views = world.fake.accounts.lock().unwrap().clone();
    views.push(view(gmail, None));
    let ca = countersign_gateway_http::RunCa::for_accounts(&views).unwrap();
    assert!(ca.vouches_for("oauth2.googleapis.com"));
    *world.fake.accounts.lock().unwrap() = views;
    let mut client = Client::plain(&world.socket).await;
    let body = "grant_type=refresh_token&refresh_token=countersign-placeholder";
    let reply = client
        .ask(format!(
            "POST https://oauth2.googleapis.com/token HTTP/1.1\r\nHost: oauth2.googleapis.com\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert_eq!(reply.status, 200);
    let token: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(token["access_token"], "countersign-placeholder");
    assert_eq!(
        (
            world.upstream.count(),
            world.fake.decided.lock().unwrap().len()
        ),
        (0, 0)
    );
    let reply = client.ask("GET https://oauth2.googleapis.com/tokeninfo HTTP/1.1\r\nHost: oauth2.googleapis.com\r\n\r\n").await;
    assert_eq!(reply.reason(), "not-assigned");
}

#[tokio::test]
async fn while_a_human_is_asked_python_is_kept_awake_and_others_are_left_alone() {
    let world = World::new().await;
    world.fake.plan(Plan::Ask);
    let mut python = world.client().await;
    let mut node = world.client().await;
    python
        .send(
            format!(
                "GET /p HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: python-requests/2.32.3\r\n\r\n"
            )
            .as_bytes(),
        )
        .await;
    for _ in 0..3 {
        assert_eq!(
            python.head().await.unwrap(),
            "HTTP/1.1 100 Continue\r\n\r\n"
        );
    }
    node.send(format!("GET /n HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: node\r\n\r\n").as_bytes())
        .await;
    until("both are asked", || {
        world.fake.asking.load(Ordering::SeqCst) == 2
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    world.fake.answer.notify_waiters();
    let reply = loop {
        let reply = python.reply(false).await.unwrap();
        if reply.status != 100 {
            break reply;
        }
    };
    assert_eq!(reply.status, 200);
    assert_eq!(
        node.reply(false).await.unwrap().status,
        200,
        "the first thing that it hears"
    );
}

#[tokio::test]
async fn an_agent_that_hangs_up_while_a_human_is_asked_has_withdrawn() {
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
    drop(client);
    until("it is withdrawn", || {
        world.fake.withdrawn.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn the_gateway_ends_with_its_run() {
    let world = World::new().await;
    world.get("/").await;
    world.fake.ended.store(true, Ordering::SeqCst);
    world.fake.engage_stop();
    tokio::time::timeout(std::time::Duration::from_secs(5), world.gateway)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn connections_on_other_event_loops_end_with_the_gateway() {
    let world = World::new().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = world.client().await;
        let reply = client
            .ask(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await;
        assert_eq!(reply.status, 200);
        clients.push(client);
    }
    world.gateway.abort();
    for mut client in clients {
        let ended = tokio::time::timeout(std::time::Duration::from_secs(5), client.until_closed());
        ended.await.unwrap();
    }
}
