//! Records that the ledger writes by itself.

use crate::state::State;
use crate::{Kind, LedgerError};
use countersign_model::{AuditRecord, Event, Outcome, RequestId, Settled, Timestamp};

/// Every request that was allowed and has no outcome gets the only true one:
/// nobody knows (guarantee G2: never shown as done).
pub(crate) fn outcomes_unknown(state: &State, at: Timestamp) -> Vec<AuditRecord> {
    state
        .open
        .iter()
        .map(|request| AuditRecord {
            version: 1,
            at,
            event: Event::Settled(Settled {
                request: request.clone(),
                outcome: Outcome::Unknown {
                    why: "the program ended before the outcome was recorded".to_owned(),
                    status: None,
                },
                bytes_sent: 0,
                bytes_received: 0,
                duration_ms: 0,
                body_digest: None,
                tokens: None,
            }),
        })
        .collect()
}

/// The authority is gone without having ended its runs: with it went their
/// gateways, and what they were contained in.
pub(crate) fn runs_ended(state: &State, at: Timestamp) -> Vec<AuditRecord> {
    state
        .runs
        .iter()
        .map(|run| AuditRecord {
            version: 1,
            at,
            event: Event::RunEnded {
                run: run.clone(),
                exit_code: None,
                why: "the program ended while the run went on".to_owned(),
            },
        })
        .collect()
}

/// Which request has two records of a kind.
pub(crate) fn duplicate(record: &AuditRecord) -> LedgerError {
    match request_of(record) {
        Some((request, _)) => LedgerError::Duplicate {
            request: request.clone(),
            kind: Kind::of(&record.event).word(),
        },
        None => LedgerError::Unfit("it stands in the ledger already".to_owned()),
    }
}

/// A record that nobody waited for was refused.
pub(crate) fn refused(record: &AuditRecord, why: &LedgerError) -> AuditRecord {
    AuditRecord {
        version: 1,
        at: record.at,
        event: Event::Noted {
            what: format!("A record was not accepted: {why}"),
            detail: None,
        },
    }
}

/// What records are found by did not fit them.
pub(crate) fn doubted(at: Timestamp) -> AuditRecord {
    AuditRecord {
        version: 1,
        at,
        event: Event::IndexAltered {},
    }
}

/// The request that a record is the record before or after of; and whether after.
pub(crate) fn request_of(record: &AuditRecord) -> Option<(&RequestId, bool)> {
    match &record.event {
        Event::Requested(requested) => Some((&requested.request, false)),
        Event::Settled(settled) => Some((&settled.request, true)),
        _ => None,
    }
}
