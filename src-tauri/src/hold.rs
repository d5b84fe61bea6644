//! The held button, timed here and not in the page.

use std::time::{Duration, Instant};

/// How long the button must be held.
pub(crate) const HELD: Duration = Duration::from_millis(800);

/// How long something must have been before the human's eyes before an answer
/// to it counts: who clicks sooner meant what was there before.
pub(crate) const SEEN: Duration = Duration::from_millis(700);

/// One press of one held button, bound to what it would approve.
#[derive(Debug)]
pub(crate) struct Hold<T> {
    down: Option<(T, Instant)>,
}

impl<T: PartialEq> Hold<T> {
    pub(crate) const fn new() -> Self {
        Self { down: None }
    }
    /// The button went down on this; an earlier press is forgotten.
    pub(crate) fn start(&mut self, on: T, now: Instant) {
        self.down = Some((on, now));
    }
    /// The button came up after the end. True once, and only for what it went
    /// down on, if it was held long enough.
    pub(crate) fn finish(&mut self, on: &T, now: Instant) -> bool {
        self.down.take().is_some_and(|(what, since)| {
            what == *on && now.saturating_duration_since(since) >= HELD
        })
    }
    /// Forgets a press.
    pub(crate) fn cancel(&mut self) {
        self.down = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_counts_once_for_what_it_began_on_and_only_when_it_was_long_enough() {
        let t = Instant::now();
        let mut hold = Hold::new();
        assert!(!hold.finish(&"a", t + HELD), "nothing was pressed");
        hold.start("a", t);
        assert!(
            !hold.finish(&"a", t + HELD - Duration::from_millis(1)),
            "too short"
        );
        assert!(!hold.finish(&"a", t + HELD), "a short press is over");
        hold.start("a", t);
        assert!(!hold.finish(&"b", t + HELD), "for something else");
        hold.start("a", t);
        assert!(hold.finish(&"a", t + HELD));
        assert!(!hold.finish(&"a", t + HELD), "twice");
    }
}
