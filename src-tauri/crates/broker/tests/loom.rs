//! Guarantee G5, in every order that threads can run in: nothing slips between
//! registering and latching.
//!
//! These are the very files of the broker; only what threads meet at is loom's,
//! which tries each order (up to three changes of thread that nobody had to make).

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

#[path = "../src/latch.rs"]
mod latch;
#[path = "../src/trees.rs"]
#[allow(dead_code, unreachable_pub, reason = "part of it is tried here")]
mod trees;

/// As in the broker.
mod primitives {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard, RwLock};
    use std::sync::Arc;

    /// What a `CancellationToken` says: a child is cancelled with its parent, also
    /// one that was made after.
    #[derive(Debug, Clone)]
    pub(crate) struct Token(Arc<AtomicBool>);

    impl Token {
        pub(crate) fn new() -> Self {
            Self(Arc::new(AtomicBool::new(false)))
        }
        pub(crate) fn child_token(&self) -> Self {
            self.clone()
        }
        pub(crate) fn cancel(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
        pub(crate) fn is_cancelled(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }
}

use latch::Latch;
use loom::thread;
use primitives::{AtomicBool, Ordering, Token};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use trees::{Blow, Held, Tree, Trees};

/// Tries every order.
fn in_every_order(act: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(act);
}

/// What was admitted goes on.
fn goes_on(admitted: Option<&Token>) -> bool {
    admitted.is_some_and(|handle| !handle.is_cancelled())
}

fn press(latch: &Latch) {
    latch.engage(|_| {});
}

#[test]
fn whatever_begins_while_the_stop_is_pressed_is_refused_or_cut() {
    in_every_order(|| {
        let latch = Arc::new(Latch::new(false));
        let its = Arc::clone(&latch);
        let begins = thread::spawn(move || its.admit());
        press(&latch);
        let admitted = begins.join().unwrap();
        assert!(!goes_on(admitted.as_ref()));
    });
}

#[test]
fn whatever_begins_while_the_stop_is_lifted_and_pressed_again_is_refused_or_cut() {
    in_every_order(|| {
        let latch = Arc::new(Latch::new(true));
        let (lifts, begins) = (Arc::clone(&latch), Arc::clone(&latch));
        let lifts = thread::spawn(move || lifts.lift(0));
        let begins = thread::spawn(move || begins.admit());
        press(&latch);
        lifts.join().unwrap();
        let admitted = begins.join().unwrap();
        // The lift did not know of this press, so it stands.
        assert!(latch.is_engaged() && latch.admit().is_none());
        assert!(!goes_on(admitted.as_ref()));
    });
}

#[test]
fn what_begins_after_a_lift_goes_on() {
    in_every_order(|| {
        let latch = Arc::new(Latch::new(true));
        let its = Arc::clone(&latch);
        let begins = thread::spawn(move || its.admit());
        assert!(latch.lift(0));
        begins.join().unwrap();
        assert!(goes_on(latch.admit().as_ref()));
    });
}

/// The processes of a run.
#[derive(Debug)]
struct Processes {
    run: AtomicBool,
}

#[derive(Debug, Clone)]
struct Run(Arc<Processes>);

impl Run {
    fn new() -> Self {
        let run = AtomicBool::new(true);
        Self(Arc::new(Processes { run }))
    }
    fn runs(&self) -> bool {
        self.0.run.load(Ordering::SeqCst)
    }
    fn set(&self, run: bool) -> io::Result<()> {
        self.0.run.store(run, Ordering::SeqCst);
        Ok(())
    }
}

impl Tree for Run {
    fn freezes(&self) -> bool {
        true
    }
    fn freeze(&self) -> io::Result<()> {
        self.set(false)
    }
    fn thaw(&self) -> io::Result<()> {
        self.set(true)
    }
    fn kill(&self) -> io::Result<()> {
        self.set(false)
    }
}

fn kept(trees: &Trees, run: &Run) -> Arc<Held> {
    trees.keep("bot".parse().unwrap(), Box::new(run.clone()))
}

fn press_for(latch: &Latch, trees: &Trees) {
    latch.engage(|_| {
        trees.strike(None, Blow::First, Duration::ZERO);
    });
}

#[test]
fn a_run_that_is_handed_over_while_the_stop_is_pressed_does_not_go_on() {
    in_every_order(|| {
        let (latch, trees) = (Arc::new(Latch::new(false)), Arc::new(Trees::default()));
        let run = Run::new();
        let (its_latch, its_trees, its_run) = (latch.clone(), trees.clone(), run.clone());
        let hands_over = thread::spawn(move || {
            // As `Broker::hold`: kept first, asked after.
            let held = kept(&its_trees, &its_run);
            if its_latch.is_engaged() {
                held.kill();
            }
        });
        press_for(&latch, &trees);
        hands_over.join().unwrap();
        assert!(!run.runs());
    });
}

#[test]
fn a_run_that_is_thawed_while_the_stop_is_pressed_again_does_not_go_on() {
    in_every_order(|| {
        let (latch, trees) = (Arc::new(Latch::new(false)), Arc::new(Trees::default()));
        let run = Run::new();
        let held = kept(&trees, &run);
        press_for(&latch, &trees);
        assert!(latch.lift(1) && !run.runs());
        let its_latch = Arc::clone(&latch);
        let thaws = thread::spawn(move || Trees::thaw(&held, |_| !its_latch.is_engaged()));
        press_for(&latch, &trees);
        let _stopped_or_not = thaws.join().unwrap();
        assert!(!run.runs());
    });
}
