//! The clock of Redis, estimated locally: it issues the ids, so ages of messages are measured with it.

use std::time::Duration;

use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::time::Instant;

/// Milliseconds since the Unix epoch by a host's own clock.
pub(super) type WallClock = fn() -> u64;

/// A difference of at least this is reported to operators.
pub(super) const REPORTED_SKEW: Duration = Duration::from_secs(1);

/// The last reading.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Milliseconds since the Unix epoch.
    ms: u64,
    /// The local time of the reading.
    at: Instant,
    /// How far this host's clock was ahead, in milliseconds; negative if behind. Zero if the answer took too long to tell.
    ahead_ms: i64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct BusClock {
    local: WallClock,
    reading: Option<Reading>,
}

impl BusClock {
    /// A clock that uses `local` until the first reading.
    pub(super) fn new(local: WallClock) -> Self {
        Self { local, reading: None }
    }

    /// Milliseconds since the Unix epoch, by Redis' clock.
    pub(super) fn now_ms(&self) -> u64 {
        self.reading.map_or_else(self.local, |Reading { ms, at, .. }| {
            ms.saturating_add(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
        })
    }

    /// Records that Redis answered `ms` to a request sent at `asked`. The answer has arrived just now.
    pub(super) fn read(&mut self, ms: u64, asked: Instant) {
        let uncertain = asked.elapsed() / 2;
        let local = (self.local)();
        let half = i64::try_from(uncertain.as_millis()).unwrap_or(i64::MAX);
        let ahead = i64::try_from(local).unwrap_or(i64::MAX).saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX));
        // Redis read its clock at some time between request and answer.
        let ahead = ahead.saturating_sub(half);
        let ahead_ms = ahead.signum() * (ahead.abs() - half).max(0);
        self.reading = Some(Reading { ms, at: asked + uncertain, ahead_ms });
    }

    /// How far this host's clock is ahead of Redis' (`true`) or behind it, if that is at least [`REPORTED_SKEW`].
    pub(super) fn skew(&self) -> Option<(Duration, bool)> {
        let ahead = self.reading?.ahead_ms;
        let skew = Duration::from_millis(ahead.unsigned_abs());
        (skew >= REPORTED_SKEW).then_some((skew, ahead > 0))
    }
}

/// The milliseconds in an answer to `TIME`.
pub(super) fn milliseconds((seconds, micros): (u64, u64)) -> u64 {
    seconds.saturating_mul(1000).saturating_add(micros / 1000)
}

/// Sends `TIME`.
///
/// # Errors
/// Those of the command.
pub(super) async fn ask(connection: &mut MultiplexedConnection) -> RedisResult<u64> {
    redis::cmd("TIME").query_async(connection).await.map(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_difference_is_known_up_to_half_of_the_way() {
        let mut clock = BusClock::new(|| 1_000_000);
        assert_eq!((clock.now_ms(), clock.skew()), (1_000_000, None));
        let asked = Instant::now();
        clock.read(990_000, asked);
        assert_eq!(clock.skew(), Some((Duration::from_secs(10), true)));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now_ms(), 995_000);
        let asked = Instant::now();
        tokio::time::advance(Duration::from_secs(4)).await;
        clock.read(1_003_000, asked);
        // Read 2 s ago, give or take 2 s: between 1 s and 5 s behind.
        assert_eq!(clock.skew(), Some((Duration::from_secs(3), false)));
        assert_eq!(clock.now_ms(), 1_005_000);
        clock.read(999_500, Instant::now());
        assert_eq!(clock.skew(), None, "less than a second is none");
    }
}
