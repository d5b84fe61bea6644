//! The record after: every release is settled exactly once, whatever happens.

use crate::body::Progress;
use crate::upstream::Failed;
use countersign_broker::Countersigner;
use countersign_model::{Outcome, ReasonCode, RequestId, Settled};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A release that must be settled. Dropped unsettled (the gateway ends, a task
/// is cancelled), it says so.
pub(crate) struct Afterwards<'a, C: Countersigner> {
    port: &'a C,
    request: RequestId,
    progress: &'a Progress,
    released: Instant,
    settled: bool,
}

impl<'a, C: Countersigner> Afterwards<'a, C> {
    pub(crate) fn new(port: &'a C, request: RequestId, progress: &'a Progress) -> Self {
        Self {
            port,
            request,
            progress,
            released: Instant::now(),
            settled: false,
        }
    }

    /// Nothing left, and nothing will.
    pub(crate) fn never_sent(&mut self, reason: ReasonCode) {
        self.record(Outcome::NotSent { reason });
    }

    /// By how the transfer ended.
    pub(crate) fn settle(&mut self, ended: Result<bool, Failed>) {
        let status = self.progress.status.load(Ordering::Relaxed);
        let begun = (status != 0).then_some(status);
        let outcome = match (ended, self.progress.broken.get()) {
            (Ok(_), _) => Outcome::Answered { status },
            (Err(Failed::AgentGone), _) if status == 0 => Outcome::NotSent {
                reason: ReasonCode::Withdrawn,
            },
            // The service answered; that the agent did not listen is its affair.
            (Err(Failed::AgentGone), _) => Outcome::Answered { status },
            (Err(Failed::Cut), _) => Outcome::Cut { status: begun },
            (Err(Failed::NotSent(_)), _) => Outcome::NotSent {
                reason: ReasonCode::Upstream,
            },
            (Err(_), Some(broken)) => Outcome::Unknown {
                why: broken.to_string(),
                status: begun,
            },
            (Err(failed), None) => Outcome::Unknown {
                why: failed.to_string(),
                status: begun,
            },
        };
        self.record(outcome);
    }

    fn record(&mut self, outcome: Outcome) {
        let never_left = matches!(outcome, Outcome::NotSent { .. });
        let answered = matches!(outcome, Outcome::Answered { .. });
        self.settled = true;
        self.port.settle(Settled {
            request: self.request.clone(),
            outcome,
            bytes_sent: if never_left {
                0
            } else {
                self.progress.sent.load(Ordering::Relaxed)
            },
            bytes_received: self.progress.received.load(Ordering::Relaxed),
            duration_ms: u64::try_from(self.released.elapsed().as_millis()).unwrap_or(u64::MAX),
            body_digest: self.progress.digest.get().copied().filter(|_| answered),
            tokens: *self
                .progress
                .tokens
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        });
    }
}

impl<C: Countersigner> Drop for Afterwards<'_, C> {
    fn drop(&mut self) {
        if !self.settled {
            self.record(Outcome::Unknown {
                why: "the gateway ended before the reply did".into(),
                status: None,
            });
        }
    }
}
