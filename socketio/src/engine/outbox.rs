//! What is one client's own (acks, direct emits, pushes) while its transport is busy: a queue bounded in bytes.

use std::collections::VecDeque;

use super::outgoing::Outgoing;

/// Bytes that each queued message counts for beyond its own, so that a flood of tiny ones is bounded too.
const ENTRY_COST: usize = 64;

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits. So many volatile ones were dropped to make room.
    Queued {
        /// How many.
        dropped: usize,
    },
    /// It was volatile, and dropped itself.
    Dropped,
    /// It does not fit even with every volatile message gone: the client is too slow.
    Overflow,
}

/// A queue of messages that never holds more than `limit` bytes.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    limit: usize,
    volatile: usize,
}

impl Outbox {
    /// An empty queue. A limit of 0 means none.
    pub(super) fn new(limit: usize) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, limit: if limit == 0 { usize::MAX } else { limit }, volatile: 0 }
    }

    /// Appends a message: when there is no room, volatile messages go first (the oldest of them first).
    pub(super) fn push(&mut self, message: Outgoing) -> Pushed {
        let cost = message.len() + ENTRY_COST;
        let mut dropped = 0;
        if self.bytes + cost > self.limit {
            if message.is_volatile() {
                return Pushed::Dropped;
            }
            dropped = self.drop_volatile(cost);
            if self.bytes + cost > self.limit {
                return Pushed::Overflow;
            }
        }
        self.bytes += cost;
        self.volatile += usize::from(message.is_volatile());
        self.queue.push_back(message);
        Pushed::Queued { dropped }
    }

    /// Makes room for `need` bytes as far as volatile messages allow; how many went.
    fn drop_volatile(&mut self, need: usize) -> usize {
        let before = self.volatile;
        if before > 0 {
            let Self { queue, bytes, limit, volatile } = self;
            queue.retain(|message| {
                let keep = !message.is_volatile() || *bytes + need <= *limit;
                if !keep {
                    *bytes -= message.len() + ENTRY_COST;
                    *volatile -= 1;
                }
                keep
            });
        }
        before - self.volatile
    }

    /// Takes the oldest message out. An emptied queue gives its memory back, since most connections idle.
    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        let message = self.queue.pop_front()?;
        self.bytes -= message.len() + ENTRY_COST;
        self.volatile -= usize::from(message.is_volatile());
        if self.queue.is_empty() && self.queue.capacity() > 8 {
            self.queue = VecDeque::new();
        }
        Some(message)
    }

    /// Puts a message back that was just taken out.
    pub(super) fn unpop(&mut self, message: Outgoing) {
        self.bytes += message.len() + ENTRY_COST;
        self.volatile += usize::from(message.is_volatile());
        self.queue.push_front(message);
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Drops all that waits.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::packet::Data;

    fn message(len: usize) -> Outgoing {
        Outgoing::from(Data::from("x".repeat(len)))
    }

    #[test]
    fn volatile_goes_first_then_the_client() {
        let mut outbox = Outbox::new(3 * (100 + ENTRY_COST));
        assert_eq!(outbox.push(message(100)), Pushed::Queued { dropped: 0 });
        let volatile = message(100).volatile();
        assert_eq!(outbox.push(volatile.clone()), Pushed::Queued { dropped: 0 });
        assert_eq!(outbox.push(volatile.clone()), Pushed::Queued { dropped: 0 });
        assert_eq!(outbox.push(volatile), Pushed::Dropped);
        assert_eq!(outbox.push(message(100)), Pushed::Queued { dropped: 1 });
        assert_eq!(outbox.push(message(100)), Pushed::Queued { dropped: 1 });
        assert_eq!(outbox.push(message(100)), Pushed::Overflow);
        assert!(outbox.pop().is_some_and(|m| !m.is_volatile()));
        assert_eq!(outbox.push(message(100)), Pushed::Queued { dropped: 0 });
        while outbox.pop().is_some() {}
        assert_eq!((outbox.bytes, outbox.volatile), (0, 0));
    }

    #[test]
    fn tiny_messages_are_bounded_too() {
        let mut outbox = Outbox::new(1000);
        let fit = (0..).take_while(|_| outbox.push(message(0)) != Pushed::Overflow).count();
        assert_eq!(fit, 1000 / ENTRY_COST);
    }

    #[test]
    fn no_limit() {
        let mut outbox = Outbox::new(0);
        for _ in 0..1000 {
            assert_eq!(outbox.push(message(1000)), Pushed::Queued { dropped: 0 });
        }
    }
}
