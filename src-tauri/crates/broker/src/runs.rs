//! Live runs: one launch of an agent each. A run's sockets are its identity.

use crate::broker::random;
use crate::refusals::Refusals;
use crate::trees::Held;
use countersign_model::{ReasonCode, RunFacts, RunId, Timestamp};
use countersign_protocol::surface::{RunStanding, RunView};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use tokio_util::sync::CancellationToken;

/// A live run.
#[derive(Debug)]
pub struct Run {
    /// What was said at its start.
    pub facts: RunFacts,
    /// Since when.
    pub since: Timestamp,
    /// Cancelled when the run ends or the stop is engaged.
    pub cut: CancellationToken,
    /// What its processes are ended by, once that was handed over.
    pub(crate) tree: OnceLock<Arc<Held>>,
    requests: AtomicU64,
    refusals: Mutex<Refusals>,
    /// What the ids of its requests count from.
    ids: AtomicU32,
}

/// The live runs, by id.
#[derive(Debug, Default)]
pub(crate) struct Runs(RwLock<HashMap<RunId, Arc<Run>>>);

impl Runs {
    /// # Errors
    /// `internal`: a live run has this id, and it stays who it is; or the system
    /// has no randomness to give.
    pub(crate) fn put(
        &self,
        facts: RunFacts,
        since: Timestamp,
        cut: CancellationToken,
    ) -> Result<Arc<Run>, ReasonCode> {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Entry::Vacant(place) = all.entry(facts.run.clone()) else {
            return Err(ReasonCode::Internal);
        };
        let run = Arc::new(Run {
            facts,
            since,
            cut,
            tree: OnceLock::new(),
            requests: AtomicU64::new(0),
            refusals: Mutex::new(Refusals::new()),
            ids: AtomicU32::new(u32::from_ne_bytes(random()?)),
        });
        place.insert(Arc::clone(&run));
        Ok(run)
    }

    pub(crate) fn get(&self, id: &RunId) -> Option<Arc<Run>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    pub(crate) fn remove(&self, id: &RunId) -> Option<Arc<Run>> {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Run>> {
        let mut all: Vec<_> = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        all.sort_by_key(|r| r.since);
        all
    }
}

impl Run {
    /// What the id of its next request counts.
    pub(crate) fn next(&self) -> u32 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts one request.
    pub(crate) fn counted(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As people see it.
    #[must_use]
    pub fn view(&self) -> RunView {
        RunView {
            facts: self.facts.clone(),
            standing: self
                .tree
                .get()
                .map_or(RunStanding::Runs, |held| *held.standing().borrow()),
            since: self.since,
            requests: self.requests.load(Ordering::Relaxed),
        }
    }
}
