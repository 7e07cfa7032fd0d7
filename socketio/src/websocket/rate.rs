//! How fast one client may send: a bucket that fills with time.

use std::time::Instant;

/// The capacity is two seconds' worth of frames or packets, so that a burst at the start is accepted.
#[derive(Debug)]
pub struct Bucket {
    per_second: u32,
    tokens: f32,
    at: Instant,
}

impl Bucket {
    /// A full bucket. A rate of 0 means no limit.
    #[must_use]
    pub fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, tokens: capacity(per_second), at: now }
    }

    /// Takes one token; false if there is none.
    pub fn take(&mut self, now: Instant) -> bool {
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

fn capacity(per_second: u32) -> f32 {
    per_second as f32 * 2.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
    fn a_rate_of_zero_is_unlimited() {
        let now = Instant::now();
        let mut bucket = Bucket::new(0, now);
        assert!((0..1000).all(|_| bucket.take(now)));
    }
}
