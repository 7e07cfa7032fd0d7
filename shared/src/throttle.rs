//! Prevents a repeated line from filling the log.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

/// Maximum number of texts in memory. Beyond, all are removed, and may be logged again too early.
const MAX_TEXTS: usize = 64;

/// Decides which lines are logged: the same text once per interval.
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
    /// Admits the same text once per `every`.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self { every, written: HashMap::new() }
    }

    /// Whether `text` is to be logged now, and how often it was suppressed since the last time.
    pub fn admit(&mut self, text: &str) -> Option<Suppressed> {
        self.admit_at(text, Instant::now())
    }

    fn admit_at(&mut self, text: &str, now: Instant) -> Option<Suppressed> {
        if let Some(written) = self.written.get_mut(text) {
            if now.duration_since(written.at) < self.every {
                written.suppressed += 1;
                return None;
            }
            written.at = now;
            return Some(Suppressed(std::mem::take(&mut written.suppressed)));
        }
        if self.written.len() >= MAX_TEXTS {
            self.written.clear();
        }
        self.written.insert(text.to_owned(), Written { at: now, suppressed: 0 });
        Some(Suppressed(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for n in 0..10 * MAX_TEXTS {
            throttle.admit_at(&n.to_string(), now);
        }
        assert!(throttle.written.len() <= MAX_TEXTS);
    }
}
