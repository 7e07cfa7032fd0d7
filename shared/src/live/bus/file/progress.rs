//! The progress of a start that takes long, in the log of the process.

use std::time::{Duration, Instant};

/// How often progress is reported.
const EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Progress {
    /// The directory, and what is done with it.
    text: String,
    /// When the next report is due.
    next: Instant,
}

impl Progress {
    pub(super) fn new(directory: &str, what: &str) -> Self {
        Self { text: format!("{directory}: {what}"), next: Instant::now() + EVERY }
    }

    /// Reports that `done` of `all` segments are done, at most once a second.
    pub(super) fn report(&mut self, done: usize, all: usize) {
        let now = Instant::now();
        if let Some(text) = self.due(now, done, all) {
            log::info!("{text}");
        }
    }

    /// The report, if it is due.
    fn due(&mut self, now: Instant, done: usize, all: usize) -> Option<String> {
        if now < self.next {
            return None;
        }
        self.next = now + EVERY;
        Some(format!("{}: {done} of {all} segments", self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_reported_once_a_second() {
        let mut progress = Progress::new("/log", "the log is opened");
        let start = Instant::now();
        assert_eq!(progress.due(start, 0, 9), None, "a short start says nothing");
        let later = start + 2 * EVERY;
        assert_eq!(progress.due(later, 4, 9).as_deref(), Some("/log: the log is opened: 4 of 9 segments"));
        assert_eq!(progress.due(later + EVERY / 2, 5, 9), None);
        assert!(progress.due(later + EVERY, 6, 9).is_some());
    }
}
