//! How long a process waits before it reads the stream again, while much is published.
//!
//! A message that is published alone wakes every process, with a command and an answer of its own, which costs Redis several times what the message
//! costs. While many are published, a process therefore pauses after it has read, and then reads all that have come in together.

use std::time::Duration;

use tokio::time::Instant;

/// Messages per second up to which there is no pause: Redis has time for each.
const FREE: f64 = 1_000.0;
/// Messages per second from which the pause is the longest.
const MANY: f64 = 10_000.0;
/// The longest pause. Timers have a resolution of a millisecond, so a message is at most two milliseconds late.
const LONGEST: Duration = Duration::from_millis(1);
/// The time over which messages are counted, at least.
const WINDOW: Duration = Duration::from_millis(50);

/// See the module.
pub(super) struct Linger {
    /// Entries that were read since then.
    count: usize,
    since: Instant,
    /// Entries per second before that.
    rate: f64,
}

impl Linger {
    pub(super) const fn new(now: Instant) -> Self {
        Self { count: 0, since: now, rate: 0.0 }
    }

    /// The pause after `count` entries have been read.
    pub(super) fn after(&mut self, count: usize, now: Instant) -> Duration {
        self.count += count;
        let elapsed = now - self.since;
        if elapsed >= WINDOW {
            self.rate = self.count as f64 / elapsed.as_secs_f64();
            (self.count, self.since) = (0, now);
        }
        LONGEST.mul_f64(((self.rate - FREE) / (MANY - FREE)).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pause after a second in which an entry was read in each of `gap`.
    fn pause_after(linger: &mut Linger, now: &mut Instant, gap: Duration) -> Duration {
        let mut pause = Duration::ZERO;
        for _ in 0..1_000_000 / gap.as_micros() {
            *now += gap;
            pause = linger.after(1, *now);
        }
        pause
    }

    #[test]
    fn the_pause_grows_with_the_rate() {
        let mut now = Instant::now();
        let mut linger = Linger::new(now);
        let mut pause = |micros| pause_after(&mut linger, &mut now, Duration::from_micros(micros));
        assert_eq!(pause(10_000), Duration::ZERO, "100 a second");
        assert_eq!(pause(1_000), Duration::ZERO, "1,000 a second");
        let half = pause(200);
        assert!((400..500).contains(&half.as_micros()), "5,000 a second: {half:?}");
        assert_eq!(pause(100), LONGEST, "10,000 a second");
        assert_eq!(pause(20), LONGEST, "50,000 a second");
        assert_eq!(pause(10_000), Duration::ZERO, "and 100 again");
    }

    #[test]
    fn the_first_message_after_silence_is_not_followed_by_a_pause() {
        let mut now = Instant::now();
        let mut linger = Linger::new(now);
        assert_eq!(pause_after(&mut linger, &mut now, Duration::from_micros(50)), LONGEST);
        assert_eq!(linger.after(1, now + Duration::from_secs(1)), Duration::ZERO);
    }
}
