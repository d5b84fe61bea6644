//! The tests of `trees`, which `tests/loom.rs` reads without them.

use crate::trees::{Blow, Held, Tree, Trees};
use countersign_protocol::surface::RunStanding;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
