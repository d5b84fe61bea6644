//! The one clock of all processes.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds, by the kernel's monotonic clock (clock_gettime(2)).
pub(crate) fn now() -> u64 {
    // This clock is always there.
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from);
    time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
