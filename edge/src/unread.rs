//! Bytes of long answers that clients have not read yet.
//!
//! Such an answer refers to messages of the log, and encodes them as they are read: as long as the log stores them, too, it costs next to
//! nothing. But the log drops old messages, and then only the answer keeps them in memory. The total of all these answers is therefore
//! bounded ([`Settings::unread_total`](super::Settings::unread_total)); beyond it, new answers are short ([`Unread::limit`]).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Maximum number of bytes of data in a long answer.
const LONG: usize = 1024 * 1024;
/// Maximum number of bytes of data in a short one. It has at least one message, however large.
const SHORT: usize = 32 * 1024;

/// The counter of a process. Clones share it.
#[derive(Clone, Debug)]
pub struct Unread(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` is no limit.
    budget: Option<usize>,
    bytes: AtomicUsize,
}

impl Unread {
    /// No answers yet. Beyond `budget` bytes of data in all long answers together, new ones are short.
    #[must_use]
    pub fn new(budget: Option<usize>) -> Self {
        Self(Arc::new(Inner { budget, bytes: AtomicUsize::new(0) }))
    }

    /// Bytes that have not been read yet.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }

    /// The maximum number of bytes of data for an answer that begins now.
    #[must_use]
    pub fn limit(&self) -> usize {
        // Reserves space for a long one, so that the last of them does not exceed the budget.
        let has_room = self.0.budget.is_none_or(|budget| self.bytes() + LONG <= budget);
        if has_room { LONG } else { SHORT }
    }

    /// An answer that begins now: the maximum number of bytes of its data, and its share, which is of that size until it is
    /// [resized](UnreadAnswer::resize). Unlike with [`limit`](Self::limit), those that begin at the same time do not count on the same space.
    #[must_use]
    pub fn begin(&self) -> (usize, UnreadAnswer) {
        // Added first and subtracted if it was too much: two threads cannot both get the last bytes.
        let before = self.0.bytes.fetch_add(LONG, Relaxed);
        if self.0.budget.is_none_or(|budget| before + LONG <= budget) {
            return (LONG, UnreadAnswer { all: self.clone(), left: LONG });
        }
        self.0.bytes.fetch_sub(LONG - SHORT, Relaxed);
        (SHORT, UnreadAnswer { all: self.clone(), left: SHORT })
    }

    /// Counts an answer with this many bytes.
    #[must_use]
    pub fn hold(&self, bytes: usize) -> UnreadAnswer {
        self.0.bytes.fetch_add(bytes, Relaxed);
        UnreadAnswer { all: self.clone(), left: bytes }
    }
}

/// The share of one answer, released when it is dropped.
#[derive(Debug)]
pub struct UnreadAnswer {
    all: Unread,
    left: usize,
}

impl UnreadAnswer {
    /// The answer has this many bytes.
    pub fn resize(&mut self, bytes: usize) {
        self.all.0.bytes.fetch_add(bytes, Relaxed);
        self.all.0.bytes.fetch_sub(std::mem::replace(&mut self.left, bytes), Relaxed);
    }

    /// This many more bytes have been written.
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

    /// Case 5.1: the memory of all answers that are not read is bounded.
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
        let (long, first) = unread.begin();
        let rest: Vec<_> = (0..10).map(|_| unread.begin()).collect();
        let lengths: Vec<_> = rest.iter().map(|(most, _)| *most).collect();
        assert_eq!((long, &lengths[..4]), (LONG, &[LONG, LONG, LONG, SHORT][..]), "each has space of its own");
        assert_eq!(unread.bytes(), 4 * LONG + 7 * SHORT);
        drop(rest);
        let mut first = first;
        first.resize(10);
        assert_eq!(unread.bytes(), 10);
        drop(first);
        let unlimited = Unread::new(None);
        let _answer = unlimited.hold(usize::MAX / 2);
        assert_eq!(unlimited.limit(), LONG);
    }
}
