//! From "allowed" to what became of it. Every record that allows a request gets
//! a record after: the gateway's, or "not sent" when nobody used the permit, or
//! "unknown" when nobody said.

use crate::broker::Broker;
use crate::force::Force;
use crate::usage::Share;
use countersign_model::{
    Account, AgentId, CredentialId, Event, Outcome, ReasonCode, RequestId, RunId, Settled,
};
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// A request that was allowed and is not settled.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) run: RunId,
    pub(crate) agent: AgentId,
    pub(crate) account: Arc<Account>,
    pub(crate) share: Share,
    pub(crate) cut: CancellationToken,
}

/// Leave to send that was recorded, and that nobody has used yet. Dropped
/// (its client is gone), it says that nothing was sent.
#[derive(Debug)]
pub(crate) struct Unused {
    broker: Broker,
    request: RequestId,
    run: RunId,
    over: bool,
}

impl Unused {
    /// From before the record on, so that there is no moment at which the record
    /// is made and nobody sees to its outcome.
    ///
    /// # Errors
    /// `internal`, when a request of this id is open already.
    pub(crate) fn begin(
        broker: &Broker,
        request: &RequestId,
        open: Open,
    ) -> Result<Self, ReasonCode> {
        let run = open.run.clone();
        {
            let mut all = broker.open_requests();
            if all.contains_key(request) {
                broker.usage().give_back(&open.share);
                return Err(ReasonCode::Internal);
            }
            all.insert(request.clone(), open);
        }
        Ok(Self {
            broker: broker.clone(),
            request: request.clone(),
            run,
            over: false,
        })
    }

    /// The record could not be made: there is nothing to settle.
    pub(crate) fn never_allowed(mut self) {
        self.over = true;
        if let Some(open) = self.broker.open_requests().remove(&self.request) {
            self.broker.usage().give_back(&open.share);
        }
    }

    /// It is released: from here on the gateway settles it.
    pub(crate) fn released(mut self) {
        self.over = true;
    }

    /// It was refused after all.
    pub(crate) fn refused(mut self, reason: ReasonCode) {
        self.over = true;
        self.broker
            .settle_as(&self.request, Outcome::NotSent { reason });
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        if !self.over {
            let reason = match self.broker.still_runs(&self.run) {
                Ok(()) => ReasonCode::Withdrawn,
                Err(reason) => reason,
            };
            self.broker
                .settle_as(&self.request, Outcome::NotSent { reason });
        }
    }
}

impl Broker {
    pub(crate) fn open_requests(&self) -> MutexGuard<'_, HashMap<RequestId, Open>> {
        self.inner
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The record after, once: whatever is settled already stays so.
    pub(crate) fn settle_open(&self, settled: Settled) {
        let Some(open) = self.open_requests().remove(&settled.request) else {
            return;
        };
        if matches!(settled.outcome, Outcome::NotSent { .. }) {
            self.usage().give_back(&open.share);
        }
        self.record_later(Event::Settled(settled));
    }

    /// The stop cuts connections before it says so to who uses them: what broke
    /// from then on was cut.
    pub(crate) fn cut_if_stopped(&self, mut settled: Settled) -> Settled {
        let Outcome::Unknown { status, .. } = settled.outcome else {
            return settled;
        };
        let run = self
            .open_requests()
            .get(&settled.request)
            .map(|open| open.run.clone());
        // The end of its run is none: what broke before it did so by itself.
        let cut = run.is_some_and(|run| self.still_runs(&run) == Err(ReasonCode::Stopped));
        if cut {
            settled.outcome = Outcome::Cut { status };
        }
        settled
    }

    fn settle_as(&self, request: &RequestId, outcome: Outcome) {
        self.settle_open(Settled::without_bytes(request.clone(), outcome));
    }

    /// What was released and never settled is unknown, and says so: of a run, or
    /// everything.
    pub(crate) fn settle_as_unknown(&self, run: Option<&RunId>, why: &str) {
        let left: Vec<_> = {
            let open = self.open_requests();
            let of_run = open
                .iter()
                .filter(|(_, o)| run.is_none_or(|run| o.run == *run));
            of_run.map(|(request, _)| request.clone()).collect()
        };
        for request in left {
            self.settle_as(
                &request,
                Outcome::Unknown {
                    why: why.to_owned(),
                    status: None,
                },
            );
        }
    }

    /// The gateway of a run has ended by itself: what it was released and did not
    /// settle is unknown.
    pub fn gateway_ended(&self, run: &RunId) {
        self.settle_as_unknown(Some(run), "the gateway ended before the reply did");
    }

    /// Cuts what goes on with a credential that was replaced or removed.
    pub(crate) fn cut_what_used(&self, credential: &CredentialId) {
        for open in self.open_requests().values() {
            if CredentialId::from(open.account.id.clone()) == *credential {
                open.cut.cancel();
            }
        }
    }

    /// Cuts what goes on under a configuration that is not in force any more.
    pub(crate) fn cut_what_changed(&self, force: &Force) {
        for open in self.open_requests().values() {
            if !force.assigns(&open.agent, &open.account) {
                open.cut.cancel();
            }
        }
    }
}
