//! How fast the ledger is here: `cargo run --release --example load -- 16 full`.
//!
//! Arguments: how many callers at once (16), `routine` or `full`, and how many
//! requests in all (50000). Each request is an append and an outcome.

#![allow(clippy::print_stdout, reason = "a program that prints its figures")]

use countersign_ledger::verify::verify;
use countersign_ledger::{Durability, Ledger, OpenOptions};
use countersign_model::{
    Action, AuditRecord, Decision, Digest, Effect, Effects, Environment, Event, Foreign, InstallId,
    Objects, Outcome, Provider, RequestId, Requested, RunId, Settled, Timestamp, Verdict, Words,
};
use std::error::Error;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let callers: u64 = arguments.next().map_or(Ok(16), |text| text.parse())?;
    let durability = match arguments.next().as_deref() {
        Some("full") => Durability::Full,
        _ => Durability::Routine,
    };
    let requests: u64 = arguments.next().map_or(Ok(50_000), |text| text.parse())?;

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ledger.db");
    let (ledger, _) = Ledger::open(OpenOptions {
        path: path.clone(),
        install: InstallId::from_random([1; 16]),
        program: "load".to_owned(),
        key: Zeroizing::new([7; 32]),
        now: Timestamp::default(),
    })?;

    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let mut waits = Vec::new();
                for n in (caller..requests).step_by(usize::try_from(callers).unwrap_or(1)) {
                    let request = id(n);
                    let record = requested(&request);
                    let start = Instant::now();
                    let _receipt = ledger.append(record, durability).await?;
                    waits.push(start.elapsed());
                    ledger.append_later(settled(request));
                }
                Ok::<_, countersign_ledger::LedgerError>(waits)
            })
        })
        .collect();
    let mut waits: Vec<Duration> = Vec::new();
    for task in tasks {
        waits.extend(task.await??);
    }
    let took = start.elapsed();
    waits.sort_unstable();
    let rate = |n: u64, took: Duration| n as f64 / took.as_secs_f64();
    println!(
        "{callers} callers, {durability:?}: {:.0} appends a second, each with an outcome; p50 {:?}, p99 {:?}, max {:?}",
        rate(requests, took),
        waits[waits.len() / 2],
        waits[waits.len() * 99 / 100],
        waits[waits.len() - 1]
    );
    let public_key = ledger.public_key();
    let size = ledger.size();
    ledger.close().await?;
    let start = Instant::now();
    let report = verify(&path, &public_key, &[])?;
    println!(
        "verified: {:.0} records a second; intact: {}",
        rate(size, start.elapsed()),
        report.is_intact()
    );
    Ok(())
}

fn id(n: u64) -> RequestId {
    // Spread, as drawn ids are.
    let spread = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut random = [0; 10];
    for (at, byte) in random.iter_mut().enumerate() {
        *byte = (spread >> (5 * at)) as u8;
    }
    RequestId::from_random(random)
}

fn requested(request: &RequestId) -> AuditRecord {
    let (Ok(agent), Ok(account)) = ("inbox-bot".parse(), "mail".parse()) else {
        unreachable!("both are valid names");
    };
    let event = Event::Requested(Box::new(Requested {
        request: request.clone(),
        run: Some(RunId::from_random([9; 8])),
        agent,
        contained: true,
        action: Some(Action {
            provider: Provider("gmail".to_owned()),
            operation: "gmail.users.messages.list".to_owned(),
            effects: Effects::of(&[Effect::Read]),
            objects: Objects::one("me"),
            words: Words::new("List messages of ").foreign("me"),
            routine: true,
            decided_by: "gmail".to_owned(),
            account,
            environment: Environment("personal".to_owned()),
            reason: None,
            data_digest: None,
        }),
        account: "mail".parse().ok(),
        target: Foreign::new(
            "GET https://gmail.googleapis.com/gmail/v1/users/me/messages?maxResults=50",
        ),
        verdict: Some(Verdict::Allow),
        rules: vec!["routine-reads".to_owned()],
        approval: None,
        decision: Decision::Allow,
        reason: None,
        detail: None,
        exact: Some(Digest::of(request.as_str().as_bytes())),
        streamed: false,
        credential: None,
        config: Digest::of(b"config"),
    }));
    AuditRecord {
        version: 1,
        at: Timestamp::from_unix_ms(1_700_000_000_000),
        event,
    }
}

fn settled(request: RequestId) -> AuditRecord {
    let event = Event::Settled(Settled {
        request,
        outcome: Outcome::Answered { status: 200 },
        bytes_sent: 0,
        bytes_received: 2000,
        duration_ms: 120,
        body_digest: None,
        tokens: None,
    });
    AuditRecord {
        version: 1,
        at: Timestamp::from_unix_ms(1_700_000_000_000),
        event,
    }
}
