//! Keeps a log line that repeats from filling the log.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

/// Texts that are remembered. Beyond them all are forgotten, and may be written a second time too early.
const MAX_TEXTS: usize = 64;

/// Decides which lines are written: the same text once in a given time.
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

/// How many lines were left out before one; prints nothing for none.
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
    /// Lets the same text pass once in `every`.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self { every, written: HashMap::new() }
    }

    /// Whether `text` is to be written now, and how often it was left out since it was written last.
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
