//! Guarantee G5: where what begins and what stops meet.
//!
//! *Invariants*
//! - Whoever begins takes a handle first and looks at the flag after
//!   ([`Latch::admit`], the one way to get a handle). Engaging sets the flag first
//!   and cancels after. So either the handle is cancelled, or the flag is seen.
//! - Every press is counted before it does anything else. Lifting names the
//!   presses that it knows of, and does nothing if there is another.
//! - Engaging waits for nobody but who holds the lock for a few instructions.

use crate::primitives::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, Token};
use std::sync::PoisonError;

/// Flag, token and count of presses.
#[derive(Debug)]
pub(crate) struct Latch {
    engaged: AtomicBool,
    /// Counts every press, so that lifting notices one that came meanwhile.
    presses: AtomicU64,
    token: Mutex<Token>,
}

impl Latch {
    pub(crate) fn new(engaged: bool) -> Self {
        let token = Token::new();
        if engaged {
            token.cancel();
        }
        Self {
            engaged: AtomicBool::new(engaged),
            presses: AtomicU64::new(0),
            token: Mutex::new(token),
        }
    }

    /// Engages. `strike` comes after the flag and before what was admitted is
    /// cancelled; it is told whether it was not engaged before, and so is the
    /// caller.
    pub(crate) fn engage(&self, strike: impl FnOnce(bool)) -> bool {
        self.presses.fetch_add(1, Ordering::SeqCst);
        let first = !self.engaged.swap(true, Ordering::SeqCst);
        strike(first);
        let token = self.token();
        // Again, for a lift that came between: flag and token change together.
        self.engaged.store(true, Ordering::SeqCst);
        token.cancel();
        first
    }

    /// A handle for what begins, which engaging cancels. `None` while it is
    /// engaged.
    pub(crate) fn admit(&self) -> Option<Token> {
        let handle = self.token().child_token();
        (!self.is_engaged()).then_some(handle)
    }

    /// Lifts it, if there was no other press than these. Whether it did.
    pub(crate) fn lift(&self, presses: u64) -> bool {
        let mut token = self.token();
        if self.presses() != presses {
            return false;
        }
        *token = Token::new();
        self.engaged.store(false, Ordering::SeqCst);
        true
    }

    pub(crate) fn is_engaged(&self) -> bool {
        self.engaged.load(Ordering::SeqCst)
    }

    pub(crate) fn presses(&self) -> u64 {
        self.presses.load(Ordering::SeqCst)
    }

    fn token(&self) -> MutexGuard<'_, Token> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
