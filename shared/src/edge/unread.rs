//! Bytes of long answers that their clients have not taken yet.
//!
//! Such an answer holds messages of the log, and encodes them as they are taken: as long as the log holds them too, it costs next to
//! nothing. But a log moves on, and then the answer is all that keeps them. So what all these answers together may keep is bounded
//! ([`BUDGET`]); beyond it they are short ([`Unread::limit`]).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Bytes of data in all long answers together, beyond which new ones are short.
pub const BUDGET: usize = 64 * 1024 * 1024;
/// Bytes of data in a long answer.
const LONG: usize = 1024 * 1024;
/// Bytes of data in a short one. One message comes, however large.
const SHORT: usize = 32 * 1024;

/// The count of a process. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Unread(Arc<AtomicUsize>);

impl Unread {
    /// Bytes that are not taken yet.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Bytes of data that an answer which begins now may have.
    #[must_use]
    pub fn limit(&self) -> usize {
        if self.bytes() < BUDGET { LONG } else { SHORT }
    }

    /// Counts an answer of so many bytes.
    #[must_use]
    pub fn hold(&self, bytes: usize) -> UnreadAnswer {
        self.0.fetch_add(bytes, Relaxed);
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
        self.all.0.fetch_sub(bytes, Relaxed);
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
        let unread = Unread::default();
        let mut answer = unread.hold(BUDGET - 1);
        assert_eq!(unread.limit(), LONG);
        let other = unread.hold(1);
        assert_eq!(unread.limit(), SHORT);
        answer.taken(10);
        assert_eq!((unread.bytes(), unread.limit()), (BUDGET - 10, LONG));
        answer.taken(BUDGET);
        drop((answer, other));
        assert_eq!(unread.bytes(), 0);
    }
}
