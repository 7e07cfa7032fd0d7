//! How often a warning is logged.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Admits one warning per second, and counts the suppressed ones: clients choose how often there is a reason.
#[derive(Debug)]
pub struct OncePerSecond(Mutex<(Option<Instant>, u64)>);

impl OncePerSecond {
    /// Admits the first one.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// Writes a line with `write`, which gets the number of those that were not written since the last one, unless there was one within the
    /// last second.
    pub fn log(&self, write: impl FnOnce(Suppressed)) {
        self.pass(Instant::now()).map(Suppressed).map(write);
    }

    /// `Some` if a warning may be logged now, with the number suppressed since the last one.
    fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, held_back) = &mut *state;
        if last.is_some_and(|last| now.saturating_duration_since(last) < Duration::from_secs(1)) {
            *held_back += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(held_back))
    }
}

impl Default for OncePerSecond {
    fn default() -> Self {
        Self::new()
    }
}

/// The number of lines that were not written; prints nothing for zero.
#[derive(Clone, Copy, Debug)]
pub struct Suppressed(u64);

impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(f, " ({more} more since the last warning)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 3.5: one line a second, which names the number of those that were not written.
    #[test]
    fn one_passes_in_a_second() {
        let (warnings, start) = (OncePerSecond::new(), Instant::now());
        let passed = |ms| warnings.pass(start + Duration::from_millis(ms));
        assert_eq!([0, 1, 500, 999].map(passed), [Some(0), None, None, None]);
        assert_eq!([1_000, 1_999, 2_000, 9_000].map(passed), [Some(3), None, Some(1), Some(0)]);
    }
}
