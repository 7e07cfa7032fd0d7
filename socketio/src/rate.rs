//! How fast one client may send: a bucket that fills with time; and how often a warning is logged.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The capacity is two seconds' worth of packets, so that a burst at the start is accepted.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: u32,
    tokens: f32,
    at: Instant,
}

impl Bucket {
    /// A full bucket. A rate of 0 means no limit.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, tokens: capacity(per_second), at: now }
    }

    /// Takes one token; false if there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if self.per_second == 0 {
            return true;
        }
        let passed = now.saturating_duration_since(self.at).as_secs_f32();
        self.at = now;
        self.tokens = (self.tokens + passed * self.per_second as f32).min(capacity(self.per_second));
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

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

fn capacity(per_second: u32) -> f32 {
    per_second as f32 * 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn bursts_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        let taken = |bucket: &mut Bucket, at| (0..100).filter(|_| bucket.take(at)).count();
        assert_eq!(taken(&mut bucket, start), 20);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(500)), 5);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(100)), 20);
    }

    #[test]
    fn no_limit() {
        let now = Instant::now();
        let mut bucket = Bucket::new(0, now);
        assert!((0..1000).all(|_| bucket.take(now)));
    }
}
