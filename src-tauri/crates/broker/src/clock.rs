use countersign_model::Timestamp;
use std::fmt;
use std::time::Duration;

/// The two clocks. Limits are kept on boot time, which runs on through sleep
/// and which nobody can set; the wall clock is for records and people.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Time since boot, sleep included.
    fn boot(&self) -> Duration;
    /// The wall clock.
    fn wall(&self) -> Timestamp;
}

/// The system's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn boot(&self) -> Duration {
        // It cannot fail on any kernel since 2.6.39. If it did, every limit
        // would be over: a failure denies.
        const OVER: Duration = Duration::from_secs(u64::MAX / 4);
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(OVER, Duration::from)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn boot(&self) -> Duration {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed()
    }

    fn wall(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_unix_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}
