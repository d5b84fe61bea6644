//! Guarantee G5: what ends the processes of runs, in the hands of who stops them.
//!
//! *Invariants*
//! - A tree is kept first, and only then it is asked whether anything is
//!   stopped. Whoever stops says so first and strikes after. So a tree is
//!   struck, or it hears of the stop.
//! - To strike needs no memory and no new descriptor, and waits for nobody but
//!   another strike.
//! - What was killed stays so; what is frozen is thawed only while nothing says
//!   "stopped".

use crate::primitives::{Mutex, MutexGuard, RwLock};
use countersign_model::{AgentId, ReasonCode};
use countersign_protocol::surface::RunStanding;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Frozen for so long, a run is killed.
pub const FROZEN_FOR: Duration = Duration::from_secs(600);

/// Every process of a run, as one. None of these may need memory or a new
/// descriptor, or wait for anything.
pub trait Tree: Send + Sync + fmt::Debug + 'static {
    /// Whether it can be frozen.
    fn freezes(&self) -> bool;
    /// From here on none of its processes runs, until it is thawed.
    ///
    /// # Errors
    /// When that cannot be done; it is then killed.
    fn freeze(&self) -> io::Result<()>;
    /// The opposite.
    ///
    /// # Errors
    /// When that cannot be done.
    fn thaw(&self) -> io::Result<()>;
    /// Ends all of them.
    ///
    /// # Errors
    /// When that cannot be done.
    fn kill(&self) -> io::Result<()>;
}

/// How hard to strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// Freeze what can be frozen; kill the rest.
    First,
    /// Kill.
    Last,
}

/// The tree of one run.
#[derive(Debug)]
pub struct Held {
    agent: AgentId,
    tree: Box<dyn Tree>,
    stage: Mutex<Stage>,
    /// Says the same, for who waits for it.
    standing: watch::Sender<RunStanding>,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Runs,
    /// Since then, by boot time.
    Frozen(Duration),
    Killed,
}

impl Held {
    /// How it stands, and how that changes.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<RunStanding> {
        self.standing.subscribe()
    }

    /// Kills it, whatever is stopped: its run is over.
    pub fn kill(&self) {
        self.strike(Blow::Last, Duration::ZERO);
    }

    /// Whether it was frozen and was killed by this.
    fn strike(&self, blow: Blow, now: Duration) -> bool {
        let mut stage = self.stage();
        let next = match (*stage, blow) {
            (Stage::Frozen(since), Blow::First) => Stage::Frozen(since),
            (Stage::Runs, Blow::First) if self.tree.freezes() && self.tree.freeze().is_ok() => {
                Stage::Frozen(now)
            }
            // Again, if it was killed before: it costs nothing.
            (Stage::Runs | Stage::Frozen(_) | Stage::Killed, _) => {
                // One that cannot be killed is left to its launcher.
                let _ = self.tree.kill();
                Stage::Killed
            }
        };
        let killed = matches!((*stage, next), (Stage::Frozen(_), Stage::Killed));
        *stage = next;
        self.standing.send_replace(next.into());
        killed
    }

    /// Thaws it, if `may` still says so under the lock. Whether it runs.
    fn thaw(&self, may: impl FnOnce() -> bool) -> bool {
        let mut stage = self.stage();
        if matches!(*stage, Stage::Frozen(_)) && may() && self.tree.thaw().is_ok() {
            *stage = Stage::Runs;
            self.standing.send_replace(RunStanding::Runs);
        }
        matches!(*stage, Stage::Runs)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Stage> for RunStanding {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Runs => Self::Runs,
            Stage::Frozen(_) => Self::Frozen,
            Stage::Killed => Self::Killed,
        }
    }
}

/// The trees of all live runs that were handed over.
#[derive(Debug, Default)]
pub(crate) struct Trees(RwLock<Vec<Arc<Held>>>);

impl Trees {
    pub(crate) fn keep(&self, agent: AgentId, tree: Box<dyn Tree>) -> Arc<Held> {
        let held = Arc::new(Held {
            agent,
            tree,
            stage: Mutex::new(Stage::Runs),
            standing: watch::Sender::new(RunStanding::Runs),
        });
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&held));
        held
    }

    pub(crate) fn let_go(&self, held: &Arc<Held>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| !Arc::ptr_eq(other, held));
    }

    /// Strikes all, or those of one agent. How many of them were frozen and are
    /// killed now.
    pub(crate) fn strike(&self, only: Option<&AgentId>, blow: Blow, now: Duration) -> usize {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut killed = 0;
        for held in all.iter() {
            if only.is_none_or(|agent| *agent == held.agent) && held.strike(blow, now) {
                killed += 1;
            }
        }
        killed
    }

    /// Thaws one, if nothing is stopped that concerns it.
    pub(crate) fn thaw(held: &Held, may: impl FnOnce(&AgentId) -> bool) -> Result<(), ReasonCode> {
        if held.thaw(|| may(&held.agent)) {
            Ok(())
        } else {
            Err(ReasonCode::Stopped)
        }
    }

    /// Kills what has been frozen for too long. When the next is.
    pub(crate) fn kill_frozen(&self, now: Duration) -> (usize, Option<Duration>) {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (mut killed, mut next) = (0, None::<Duration>);
        for held in all.iter() {
            let Stage::Frozen(since) = *held.stage() else {
                continue;
            };
            let ends = since + FROZEN_FOR;
            if ends <= now {
                held.strike(Blow::Last, now);
                killed += 1;
            } else {
                next = Some(next.map_or(ends, |next| next.min(ends)));
            }
        }
        (killed, next)
    }

    /// How many are frozen, of all or of one agent.
    pub(crate) fn frozen(&self, only: Option<&AgentId>) -> usize {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let concerned = all
            .iter()
            .filter(|held| only.is_none_or(|agent| *agent == held.agent));
        concerned
            .filter(|held| matches!(*held.stage(), Stage::Frozen(_)))
            .count()
    }
}
