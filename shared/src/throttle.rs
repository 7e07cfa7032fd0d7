//! Prevents a repeated line from filling the log.
//!
//! What counts as repeated is the reason and not the whole line: that may contain what clients choose, such as names, and would be another
//! line each time.

use std::{
    collections::HashMap,
    fmt,
    sync::LazyLock,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Maximum number of reasons in memory. Beyond, all are removed, and may be logged again too early.
const MAX_REASONS: usize = 64;
/// How often [`log`] writes a line of one reason.
const EVERY: Duration = Duration::from_secs(1);

/// Decides which lines are logged: those of one reason once per interval.
#[derive(Debug)]
pub struct Throttle {
    every: Duration,
    written: HashMap<String, Written>,
}

#[derive(Debug)]
struct Written {
    at: Instant,
    suppressed: u64,
}

/// The number of suppressed lines before one; prints nothing for zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppressed(u64);

impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(f, " (and {more} times more before)"),
        }
    }
}

impl Throttle {
    /// Admits the same reason once per `every`.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self { every, written: HashMap::new() }
    }

    /// Whether a line of `reason` is to be logged now, and how many were suppressed since the last one. `reason` is nothing that clients
    /// choose.
    pub fn admit(&mut self, reason: &str) -> Option<Suppressed> {
        self.admit_at(reason, Instant::now())
    }

    fn admit_at(&mut self, reason: &str, now: Instant) -> Option<Suppressed> {
        if let Some(written) = self.written.get_mut(reason) {
            if now.duration_since(written.at) < self.every {
                written.suppressed += 1;
                return None;
            }
            written.at = now;
            return Some(Suppressed(std::mem::take(&mut written.suppressed)));
        }
        if self.written.len() >= MAX_REASONS {
            self.written.clear();
        }
        self.written.insert(reason.to_owned(), Written { at: now, suppressed: 0 });
        Some(Suppressed(0))
    }
}

/// Logs `reason: what`, unless a line of this reason was logged by this process within the last second.
pub fn log(level: log::Level, reason: &'static str, what: impl fmt::Display) {
    static WRITTEN: LazyLock<Mutex<Throttle>> = LazyLock::new(|| Mutex::new(Throttle::new(EVERY)));
    let admitted = WRITTEN.lock().admit(reason);
    if let Some(suppressed) = admitted {
        log::log!(level, "{reason}: {what}{suppressed}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::logged;

    #[test]
    fn a_line_is_written_once_a_second_with_the_count_of_the_others() {
        let second = Duration::from_secs(1);
        let mut throttle = Throttle::new(second);
        let now = Instant::now();
        assert_eq!(throttle.admit_at("a", now), Some(Suppressed(0)));
        assert_eq!(throttle.admit_at("b", now), Some(Suppressed(0)), "another line is another");
        assert_eq!((0..50).filter_map(|_| throttle.admit_at("a", now)).count(), 0);
        let later = throttle.admit_at("a", now + second);
        assert_eq!(later, Some(Suppressed(50)));
        assert_eq!(later.map(|more| more.to_string()).as_deref(), Some(" (and 50 times more before)"));
        for n in 0..10 * MAX_REASONS {
            throttle.admit_at(&n.to_string(), now);
        }
        assert!(throttle.written.len() <= MAX_REASONS);
    }

    #[test]
    fn what_clients_choose_makes_no_other_line() {
        logged::collect();
        let begun = Instant::now();
        for n in 0..50 {
            log(log::Level::Warn, "the reason of a test", format!("name {n}"));
        }
        let lines = logged::take();
        assert_eq!(lines[0], "the reason of a test: name 0");
        assert!(lines.len() as u64 <= 1 + begun.elapsed().as_secs(), "{lines:?}");
    }
}
