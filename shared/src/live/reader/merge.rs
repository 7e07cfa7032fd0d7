//! One read of several channels: their messages in the order of ids, up to the limit.
//!
//! Each channel is locked once for its first message. From then on only the channel with the next message is locked, and read up to the
//! next message of another channel. The cost of a read is proportional to the messages it returns and the number of channels, however many
//! messages these store.
//!
//! No two channels are locked at the same time. If a channel drops messages in between, the read ends before them; the next read reports
//! the loss.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Deref, sync::Arc};

use super::Limit;
use crate::pure::{Cursor, History, Message};

/// The result of a read.
pub(super) struct Merged {
    /// In id order.
    pub(super) messages: Vec<Arc<Message>>,
    /// Whether there is more.
    pub(super) is_truncated: bool,
}

/// A read in progress.
pub(super) struct Merge {
    head: Cursor,
    limit: Limit,
    /// The next message of each channel, and the number of the channel.
    next: BinaryHeap<Reverse<(Cursor, usize)>>,
    messages: Vec<Arc<Message>>,
    bytes: usize,
}

impl Merge {
    /// Reads up to `head`.
    pub(super) fn new(head: Cursor, limit: Limit) -> Self {
        Self { head, limit, next: BinaryHeap::new(), messages: Vec::new(), bytes: 0 }
    }

    /// Adds channel number `at`, from `after` on.
    pub(super) fn begin(&mut self, at: usize, history: &History, after: Cursor) {
        if let Some(first) = history.range(after, self.head).next() {
            self.next.push(Reverse((first.id, at)));
        }
    }

    /// Takes messages up to the limit; `None` if the very first message has been dropped in the meantime, so that the read has to start
    /// again.
    pub(super) fn finish<H: Deref<Target = History>>(mut self, lock: impl Fn(usize) -> H) -> Option<Merged> {
        let mut is_truncated = false;
        while let (false, Some(Reverse((id, at)))) = (is_truncated, self.next.pop()) {
            let last = self.next.peek().map_or(self.head, |Reverse((other, _))| *other);
            let history = lock(at);
            let mut run = history.range(id.before(), last);
            if run.clone().next().is_none_or(|first| first.id != id) {
                if self.messages.is_empty() {
                    return None;
                }
                is_truncated = true;
                break;
            }
            is_truncated = run.any(|message| !self.take(message));
            if let (false, Some(more)) = (is_truncated, history.range(last, self.head).next()) {
                self.next.push(Reverse((more.id, at)));
            }
        }
        Some(Merged { messages: self.messages, is_truncated })
    }

    /// Takes one more message if it is within the limit; the first one always is.
    fn take(&mut self, message: &Arc<Message>) -> bool {
        self.bytes = self.bytes.saturating_add(message.len());
        let fits = self.messages.len() < self.limit.messages && self.bytes <= self.limit.bytes;
        if fits || self.messages.is_empty() {
            self.messages.push(message.clone());
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::pure::{Draft, Payload};

    fn history(ids: &[u64]) -> History {
        let mut history = History::default();
        for ms in ids {
            let draft = Draft::new("c".parse().unwrap(), Payload::from_text("xx"));
            history.push(Arc::new(Message::new(Cursor::new(*ms, 0), draft)));
        }
        history
    }

    fn read(histories: &[History], after: u64, head: u64, limit: Limit) -> (Vec<u64>, bool, usize) {
        let looks = Cell::new(0);
        let mut merge = Merge::new(Cursor::new(head, 0), limit);
        for (at, history) in histories.iter().enumerate() {
            merge.begin(at, history, Cursor::new(after, 0));
        }
        let lock = |at: usize| {
            looks.set(looks.get() + 1);
            &histories[at]
        };
        let taken = merge.finish(lock).unwrap();
        (taken.messages.iter().map(|message| message.id.ms).collect(), taken.is_truncated, looks.get())
    }

    #[test]
    fn messages_come_in_the_order_of_ids() {
        let all = Limit { messages: 100, bytes: usize::MAX };
        let histories = [history(&[1, 4, 5, 9]), history(&[]), history(&[2, 3, 8]), history(&[6, 7, 12])];
        assert_eq!(read(&histories, 0, 20, all).0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 12]);
        assert_eq!(read(&histories, 3, 8, all).0, [4, 5, 6, 7, 8]);
        assert_eq!(read(&histories, 12, 20, all), (vec![], false, 0));
        let two = Limit { messages: 2, ..all };
        assert_eq!(read(&histories, 0, 20, two).0, [1, 2]);
        assert!(read(&histories, 0, 20, two).1 && !read(&histories, 8, 20, two).1, "nothing is left after two");
        // Each has four bytes: a text of two in its quotes.
        assert_eq!(read(&histories, 0, 20, Limit { bytes: 11, ..all }).0, [1, 2]);
        assert_eq!(read(&histories, 0, 20, Limit { messages: 0, bytes: 0 }).0, [1], "one always comes");
    }

    #[test]
    fn a_read_touches_what_it_gives_out() {
        let many: Vec<u64> = (0..1_000).collect();
        let histories: Vec<_> =
            (0..128).map(|n| history(&many.iter().map(|at| 1 + at * 128 + n).collect::<Vec<_>>())).collect();
        let (ids, is_truncated, looks) = read(&histories, 0, u64::MAX, Limit { messages: 10, bytes: usize::MAX });
        assert_eq!((ids, is_truncated), ((1..=10).collect(), true));
        assert!(looks <= 11, "{looks}");
    }

    #[test]
    fn a_concurrent_drop_ends_the_read_before_it() {
        let histories = [RefCell::new(history(&[1, 3])), RefCell::new(history(&[2, 4]))];
        let merge = || {
            let mut merge = Merge::new(Cursor::MAX, Limit::default());
            for (at, history) in histories.iter().enumerate() {
                merge.begin(at, &history.borrow(), Cursor::ZERO);
            }
            merge
        };
        let (before, late) = (merge(), merge());
        histories[1].borrow_mut().drop_oldest(1);
        let taken = before.finish(|at| histories[at].borrow()).unwrap();
        assert!(taken.is_truncated && taken.messages.len() == 1, "up to the message that is gone");
        histories[0].borrow_mut().drop_oldest(1);
        assert!(late.finish(|at| histories[at].borrow()).is_none(), "the first one is gone");
    }
}
