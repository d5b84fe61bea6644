//! The one clock of all processes.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Nanoseconds, by the kernel's monotonic clock (clock_gettime(2)).
pub(crate) fn now() -> u64 {
    nanoseconds(by(ClockId::CLOCK_MONOTONIC))
}

/// The same of a moment that the kernel stamped a short while ago, by the wall clock.
pub(crate) fn of_stamp(stamp: Duration) -> u64 {
    let ago = by(ClockId::CLOCK_REALTIME).saturating_sub(stamp);
    now().saturating_sub(nanoseconds(ago))
}

fn by(clock: ClockId) -> Duration {
    // These clocks are always there.
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
