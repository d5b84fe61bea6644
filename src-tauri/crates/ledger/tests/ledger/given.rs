//! Ledgers and records to test with.

use countersign_ledger::{Ledger, LedgerError, OpenOptions, Opening};
use countersign_model::{
    Action, AuditRecord, CredentialVersion, Decision, Digest, Effect, Effects, Environment, Event,
    Foreign, InstallId, Objects, Outcome, Provider, ReasonCode, RequestId, Requested, RunFacts,
    RunId, Settled, Timestamp, Verdict, Words,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use zeroize::Zeroizing;

pub(crate) const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

/// A folder with a ledger's place and key.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) seed: [u8; 32],
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            seed: random(),
        }
    }
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }
    pub(crate) fn try_open(&self) -> Result<(Ledger, Opening), LedgerError> {
        open_at(&self.path(), self.seed)
    }
    pub(crate) fn open(&self) -> (Ledger, Opening) {
        self.try_open().unwrap()
    }
}

pub(crate) fn open_at(path: &Path, seed: [u8; 32]) -> Result<(Ledger, Opening), LedgerError> {
    Ledger::open(OpenOptions {
        path: path.to_owned(),
        install: InstallId::from_random([5; 16]),
        program: "0.0.0-test".to_owned(),
        key: Zeroizing::new(seed),
        now: NOW,
    })
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

pub(crate) fn record(event: Event) -> AuditRecord {
    AuditRecord {
        version: 1,
        at: NOW,
        event,
    }
}

pub(crate) fn noted(what: &str) -> AuditRecord {
    record(Event::Noted {
        what: what.to_owned(),
        detail: None,
    })
}

pub(crate) fn run_facts(run: &RunId, agent: &str) -> RunFacts {
    RunFacts {
        run: run.clone(),
        agent: agent.parse().unwrap(),
        task: Foreign::new("tidy the inbox"),
        argv: vec![Foreign::new("claude")],
        folder: Foreign::new("/home/u/project"),
        contained: true,
        stop: countersign_model::StopMeans::Kill,
        goes_on_from: None,
        ports: Vec::new(),
        host_ports: Vec::new(),
    }
}

pub(crate) fn fresh_request() -> RequestId {
    RequestId::from_random(random())
}

/// A record before, of a common size.
pub(crate) fn requested(
    request: &RequestId,
    agent: &str,
    decision: Decision,
    effects: &[Effect],
) -> AuditRecord {
    let account = "mail".parse().unwrap();
    record(Event::Requested(Box::new(Requested {
        request: request.clone(),
        run: Some(RunId::from_random([9; 8])),
        agent: agent.parse().unwrap(),
        contained: true,
        action: Some(Action {
            provider: Provider("gmail".to_owned()),
            operation: "gmail.users.messages.batchDelete".to_owned(),
            effects: Effects::of(effects),
            objects: Objects::these(
                (0..5)
                    .map(|n| Foreign::new(format!("18c2f0a{n}bcdef")))
                    .collect(),
            ),
            words: Words::new("Delete ").number(5).ours(" messages for good"),
            routine: false,
            decided_by: "rule".to_owned(),
            account: "mail".parse().unwrap(),
            environment: Environment("personal".to_owned()),
            reason: Some(Foreign::new("clean up \"old\" mail\nnow")),
            data_digest: Some(Digest::of(b"body")),
        }),
        account: Some(account),
        target: Foreign::new(
            "POST https://gmail.googleapis.com/gmail/v1/users/me/messages/batchDelete",
        ),
        verdict: Some(Verdict::Allow),
        rules: vec!["default-2".to_owned()],
        approval: None,
        decision,
        reason: (decision == Decision::Deny).then_some(ReasonCode::Policy),
        detail: None,
        exact: Some(Digest::of(request.as_str().as_bytes())),
        streamed: false,
        credential: Some(CredentialVersion {
            id: "mail".parse().unwrap(),
            version: 1,
        }),
        config: Digest::of(b"config"),
    })))
}

pub(crate) fn allowed(request: &RequestId) -> AuditRecord {
    requested(request, "inbox-bot", Decision::Allow, &[Effect::Read])
}

pub(crate) fn settled(request: &RequestId) -> AuditRecord {
    record(Event::Settled(Settled {
        request: request.clone(),
        outcome: Outcome::Answered { status: 200 },
        bytes_sent: 10,
        bytes_received: 2000,
        duration_ms: 120,
        body_digest: None,
        tokens: None,
    }))
}
