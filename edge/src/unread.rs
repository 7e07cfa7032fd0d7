//! Bytes of long answers that their clients have not taken yet.
//!
//! Such an answer holds messages of the log, and encodes them as they are taken: as long as the log holds them too, it costs next to
//! nothing. But a log moves on, and then the answer is all that keeps them. So what all these answers together may keep is bounded
//! ([`Settings::unread_total`](super::Settings::unread_total)); beyond it they are short ([`Unread::limit`]).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Bytes of data in a long answer.
const LONG: usize = 1024 * 1024;
/// Bytes of data in a short one. One message comes, however large.
const SHORT: usize = 32 * 1024;

/// The count of a process. Clones are one and the same.
#[derive(Clone, Debug)]
pub struct Unread(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` is no limit.
    budget: Option<usize>,
    bytes: AtomicUsize,
}

impl Unread {
    /// No answers yet. Beyond `budget` bytes of data in all long answers together new ones are short.
    #[must_use]
    pub fn new(budget: Option<usize>) -> Self {
        Self(Arc::new(Inner { budget, bytes: AtomicUsize::new(0) }))
    }

    /// Bytes that are not taken yet.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }

    /// Bytes of data that an answer which begins now may have.
    #[must_use]
    pub fn limit(&self) -> usize {
        // With room for a long one, so that the last of them does not exceed the budget.
        let has_room = self.0.budget.is_none_or(|budget| self.bytes() + LONG <= budget);
        if has_room { LONG } else { SHORT }
    }

    /// Counts an answer of so many bytes.
    #[must_use]
    pub fn hold(&self, bytes: usize) -> UnreadAnswer {
        self.0.bytes.fetch_add(bytes, Relaxed);
        UnreadAnswer { all: self.clone(), left: bytes }
    }
}

/// One answer's part of the count, which dropping it gives back.
#[derive(Debug)]
pub struct UnreadAnswer {
    all: Unread,
    left: usize,
}

impl UnreadAnswer {
    /// So many bytes more are on their way.
    pub fn taken(&mut self, bytes: usize) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        self.all.0.bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for UnreadAnswer {
    fn drop(&mut self) {
        self.taken(self.left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 5.1: what answers that nobody takes may keep is bounded in all.
    #[test]
    fn answers_are_short_beyond_the_budget() {
        let unread = Unread::new(Some(4 * LONG));
        let mut answer = unread.hold(3 * LONG);
        assert_eq!(unread.limit(), LONG);
        let other = unread.hold(1);
        assert_eq!(unread.limit(), SHORT);
        answer.taken(10);
        assert_eq!((unread.bytes(), unread.limit()), (3 * LONG - 9, LONG));
        answer.taken(4 * LONG);
        drop((answer, other));
        assert_eq!(unread.bytes(), 0);
        let unlimited = Unread::new(None);
        let _answer = unlimited.hold(usize::MAX / 2);
        assert_eq!(unlimited.limit(), LONG);
    }
}
