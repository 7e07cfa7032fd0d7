//! The two clocks of a process: the time of day, and one that never steps.
//!
//! Ids, and times that clients see, use the time of day. Durations (ages, deadlines, expiry of keys) use the monotonic clock, since the
//! time of day is set forward and back: by hand, by NTP, when a machine resumes.

use std::{
    sync::LazyLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// A clock: [`Moment::now`], or one that a test sets.
pub type Clock = fn() -> Moment;

/// Milliseconds since the Unix epoch, by the time of day.
#[must_use]
pub fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A moment on both clocks, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of day since the Unix epoch, on the host that issues ids. It may stop and step back.
    pub time_ms: u64,
    /// The monotonic clock. Only differences are meaningful.
    pub mono_ms: u64,
}

impl Moment {
    /// Now, by this machine's clocks.
    #[must_use]
    pub fn now() -> Self {
        // The monotonic clock starts at the time of day, so that times before the start of the process can be represented.
        static START: LazyLock<(Instant, u64)> = LazyLock::new(|| (Instant::now(), wall_clock()));
        let (start, start_ms) = *START;
        let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Self { time_ms: wall_clock(), mono_ms: start_ms.saturating_add(elapsed) }
    }

    /// The monotonic time at `time_ms`, or the current one if that is in the future.
    #[must_use]
    pub fn mono_at(self, time_ms: u64) -> u64 {
        self.mono_ms.saturating_sub(self.time_ms.saturating_sub(time_ms))
    }

    /// The time of day at `mono_ms` of the monotonic clock, or the current one if that is in the future.
    #[must_use]
    pub fn time_at(self, mono_ms: u64) -> u64 {
        self.time_ms.saturating_sub(self.mono_ms.saturating_sub(mono_ms))
    }
}

/// Both clocks read the same.
impl From<u64> for Moment {
    fn from(ms: u64) -> Self {
        Self { time_ms: ms, mono_ms: ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_time_has_a_place_on_the_monotonic_clock() {
        let now = Moment { time_ms: 1_000, mono_ms: 50_000 };
        assert_eq!(now.mono_at(1_000), 50_000);
        assert_eq!(now.mono_at(400), 49_400);
        assert_eq!(now.mono_at(2_000), 50_000, "not later than now");
        assert_eq!((now.time_at(49_400), now.time_at(50_000), now.time_at(60_000)), (400, 1_000, 1_000));
        assert!(Moment::now().mono_ms <= Moment::now().mono_ms);
    }
}
