//! Pings on a silent connection, and the time for their pongs. No I/O: the caller passes the time.

use std::time::Duration;

use tokio::time::Instant;

/// Thirty years, which tokio treats as "never".
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// A check that is later than this, or than a quarter of the interval, follows a stall.
const MAX_LATE: Duration = Duration::from_secs(1);

/// The state of one connection.
#[derive(Debug)]
pub(super) struct KeepAlive {
    every: Duration,
    /// The time of the last write.
    written: Instant,
    /// When the ping was sent that is not answered yet.
    pinged: Option<Instant>,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Send a ping.
    Ping,
    /// The pong did not arrive in time.
    Lost,
}

impl KeepAlive {
    /// Pings after a silence of `every`, and waits as long for the pong.
    pub(super) fn new(every: Duration, now: Instant) -> Self {
        Self { every, written: now, pinged: None }
    }

    /// Something was sent.
    pub(super) fn wrote(&mut self, now: Instant) {
        self.written = now;
    }

    /// A ping is being sent. The pong of an earlier one may be missing.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.written = now;
        self.pinged.get_or_insert(now);
    }

    /// The silence after which a ping is sent.
    pub(super) fn every(&self) -> Duration {
        self.every
    }

    /// When a pong is missing, unless it arrives before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pinged.map(|_| self.next())
    }

    /// A pong arrived.
    pub(super) fn pong(&mut self) {
        self.pinged = None;
    }

    /// The time at which [`check`](Self::check) has something to do, unless something happens before.
    pub(super) fn next(&self) -> Instant {
        let from = self.pinged.unwrap_or(self.written);
        from.checked_add(self.every).unwrap_or_else(|| from + NEVER)
    }

    /// What to do. While the client's frames are not read (`is_paused`), no pong is missing. Nor is it if this check is late: the process was
    /// stopped, or the client did not receive, and its pong is read after this.
    pub(super) fn check(&mut self, now: Instant, is_paused: bool) -> Due {
        let due = self.next();
        if now < due {
            return Due::Nothing;
        }
        match self.pinged {
            Some(_) if is_paused || now - due > MAX_LATE.min(self.every / 4) => {
                self.pinged = Some(now);
                Due::Nothing
            }
            Some(_) => Due::Lost,
            None => {
                self.pinged = Some(now);
                Due::Ping
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_ping_that_something_else_sends_has_the_same_time() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let mut alive = KeepAlive::new(15 * second, begin);
        assert_eq!(alive.deadline(), None);
        alive.pinged(begin + 15 * second);
        alive.pinged(begin + 20 * second);
        assert_eq!(alive.deadline(), Some(begin + 30 * second), "that of the first one");
        assert_eq!(alive.check(begin + 29 * second, false), Due::Nothing);
        assert_eq!(alive.check(begin + 30 * second, false), Due::Lost);
        alive.pong();
        assert_eq!((alive.deadline(), alive.next()), (None, begin + 35 * second));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_after_a_silence_and_the_end_without_a_pong() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let mut alive = KeepAlive::new(15 * second, begin);
        assert_eq!((alive.check(begin + 14 * second, false), alive.next()), (Due::Nothing, begin + 15 * second));
        alive.wrote(begin + 10 * second);
        assert_eq!(alive.check(begin + 15 * second, false), Due::Nothing, "it was not silent");
        assert_eq!(alive.check(begin + 25 * second, false), Due::Ping);
        alive.wrote(begin + 26 * second);
        assert_eq!(alive.next(), begin + 40 * second, "messages are no sign of life of the client");
        alive.pong();
        assert_eq!(alive.check(begin + 40 * second, false), Due::Nothing);
        assert_eq!(alive.check(begin + 41 * second, false), Due::Ping);
        assert_eq!(alive.check(begin + 60 * second, true), Due::Nothing, "a pong may wait to be read");
        assert_eq!(alive.check(begin + 74 * second, false), Due::Nothing);
        assert_eq!(alive.check(begin + 75 * second, false), Due::Lost);
        let mut alive = KeepAlive::new(15 * second, begin);
        assert_eq!(alive.check(begin + 15 * second, false), Due::Ping);
        assert_eq!(alive.check(begin + 32 * second, false), Due::Nothing, "nothing was read during a stall");
        assert_eq!(alive.check(begin + 46 * second, false), Due::Nothing);
        assert_eq!(alive.check(begin + 48 * second, false), Due::Lost);
        assert!(KeepAlive::new(Duration::MAX, begin).next() > begin + 1_000_000 * second);
    }
}
