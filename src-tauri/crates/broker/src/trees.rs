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

use countersign_model::{AgentId, ReasonCode};
use countersign_protocol::surface::RunStanding;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[derive(Debug, Default)]
    struct Fake {
        freezes: bool,
        fails: bool,
        frozen: AtomicBool,
        killed: AtomicBool,
    }

    impl Tree for Arc<Fake> {
        fn freezes(&self) -> bool {
            self.freezes
        }
        fn freeze(&self) -> io::Result<()> {
            if self.fails {
                return Err(io::ErrorKind::Other.into());
            }
            self.frozen.store(true, Ordering::SeqCst);
            Ok(())
        }
        fn thaw(&self) -> io::Result<()> {
            self.frozen.store(false, Ordering::SeqCst);
            Ok(())
        }
        fn kill(&self) -> io::Result<()> {
            self.killed.store(true, Ordering::SeqCst);
            Ok(())
        }
    }

    fn kept(freezes: bool, fails: bool) -> (Trees, Arc<Fake>, Arc<Held>) {
        let (trees, fake) = (
            Trees::default(),
            Arc::new(Fake {
                freezes,
                fails,
                ..Fake::default()
            }),
        );
        let held = trees.keep("bot".parse().unwrap(), Box::new(Arc::clone(&fake)));
        (trees, fake, held)
    }
    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }
    fn is(held: &Held) -> RunStanding {
        *held.standing().borrow()
    }

    #[test]
    fn the_first_blow_freezes_and_the_last_kills() {
        let (trees, fake, held) = kept(true, false);
        trees.strike(None, Blow::First, at(1));
        trees.strike(None, Blow::First, at(2));
        assert!(fake.frozen.load(Ordering::SeqCst) && !fake.killed.load(Ordering::SeqCst));
        assert_eq!((is(&held), trees.frozen(None)), (RunStanding::Frozen, 1));
        trees.strike(None, Blow::Last, at(3));
        assert!(fake.killed.load(Ordering::SeqCst));
        assert_eq!(is(&held), RunStanding::Killed);
        assert!(Trees::thaw(&held, |_| true).is_err());
    }

    #[test]
    fn what_cannot_be_frozen_is_killed_by_the_first_blow() {
        for (freezes, fails) in [(false, false), (true, true)] {
            let (trees, fake, held) = kept(freezes, fails);
            trees.strike(None, Blow::First, at(1));
            assert!(fake.killed.load(Ordering::SeqCst));
            assert_eq!(is(&held), RunStanding::Killed);
        }
    }

    #[test]
    fn what_is_frozen_for_ten_minutes_is_killed_and_not_before() {
        let (trees, fake, held) = kept(true, false);
        trees.strike(None, Blow::First, at(100));
        assert_eq!(trees.kill_frozen(at(699)), (0, Some(at(700))));
        assert!(!fake.killed.load(Ordering::SeqCst));
        assert_eq!(trees.kill_frozen(at(700)), (1, None));
        assert!(fake.killed.load(Ordering::SeqCst));
        assert_eq!(is(&held), RunStanding::Killed);
    }

    #[test]
    fn a_blow_for_one_agent_strikes_no_other_and_what_was_let_go_of_is_not_struck() {
        let (trees, fake, held) = kept(true, false);
        trees.strike(Some(&"other".parse().unwrap()), Blow::Last, at(1));
        assert_eq!(is(&held), RunStanding::Runs);
        trees.let_go(&held);
        trees.strike(None, Blow::Last, at(1));
        assert!(!fake.killed.load(Ordering::SeqCst));
    }

    #[test]
    fn nothing_is_thawed_while_something_says_stopped() {
        let (trees, fake, held) = kept(true, false);
        trees.strike(None, Blow::First, at(1));
        assert!(Trees::thaw(&held, |_| false).is_err());
        assert!(fake.frozen.load(Ordering::SeqCst));
        assert!(Trees::thaw(&held, |_| true).is_ok());
        assert!(!fake.frozen.load(Ordering::SeqCst));
        assert_eq!(is(&held), RunStanding::Runs);
    }
}
