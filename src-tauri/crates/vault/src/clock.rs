//! The boot-time clock: it counts while the machine sleeps, so that nothing is
//! held longer because the lid was closed.

use std::time::Duration;

/// A moment of the boot-time clock. Only differences mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Moment {
    /// Now.
    pub(crate) fn now() -> Self {
        Self(since_boot())
    }
    /// How long ago this was; zero for the future.
    pub(crate) fn age(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
    /// This much later.
    pub(crate) const fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or_else(|_| since_start(), Duration::from)
}

/// Elsewhere the monotonic clock: on macOS it stands still during sleep.
#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    since_start()
}

fn since_start() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
