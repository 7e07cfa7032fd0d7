//! How often a warning is logged.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Admits one warning per second, and counts the suppressed ones.
#[derive(Debug)]
pub(crate) struct OncePerSecond(Mutex<(Option<Instant>, u64)>);

impl OncePerSecond {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// `Some` if a warning may be logged now, with the number suppressed since the last one.
    pub(crate) fn pass(&self, now: Instant) -> Option<u64> {
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
