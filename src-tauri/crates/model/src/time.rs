use serde::{Deserialize, Serialize};

/// A moment of the wall clock: milliseconds since 1970-01-01T00:00:00Z.
///
/// Records carry it for people. Nothing is timed by it: limits run on the
/// boot-time clock of the broker, and the wall clock can only shorten them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch. Values outside ±2^53 are
    /// clamped, so that canonical JSON can hold every one of them exactly.
    #[must_use]
    pub const fn from_unix_ms(ms: i64) -> Self {
        const LIMIT: i64 = 1 << 53;
        if ms > LIMIT {
            Self(LIMIT)
        } else if ms < -LIMIT {
            Self(-LIMIT)
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.0
    }
}
