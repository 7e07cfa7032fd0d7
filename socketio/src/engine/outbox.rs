//! What is one client's own (acks, direct emits, pushes) while its transport is busy: a queue bounded in bytes.
//!
//! Most connections idle, so an empty queue is one pointer.

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

/// A queue of messages that never holds more bytes than it is allowed.
#[derive(Debug, Default)]
pub(super) struct Outbox(Option<Box<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Outgoing>,
    bytes: usize,
    volatile: usize,
}

impl Outbox {
    /// Appends a message unless more than `limit` bytes would wait, where 0 means no limit: when there is no room, volatile messages go
    /// first (the oldest of them first).
    pub(super) fn push(&mut self, message: Outgoing, limit: usize) -> Pushed {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let pushed = self.0.get_or_insert_default().push(message, limit);
        self.free_if_empty();
        pushed
    }

    /// Takes the oldest message out.
    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        let queue = self.0.as_mut()?;
        let message = queue.messages.pop_front()?;
        queue.uncount(&message);
        self.free_if_empty();
        Some(message)
    }

    /// Puts a message back that was just taken out.
    pub(super) fn unpop(&mut self, message: Outgoing) {
        let queue = self.0.get_or_insert_default();
        queue.count(&message);
        queue.messages.push_front(message);
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Drops all that waits.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    fn free_if_empty(&mut self) {
        self.0.take_if(|queue| queue.messages.is_empty());
    }
}

impl Queue {
    fn push(&mut self, message: Outgoing, limit: usize) -> Pushed {
        let cost = message.len() + ENTRY_COST;
        let mut dropped = 0;
        if self.bytes + cost > limit {
            if message.is_volatile() {
                return Pushed::Dropped;
            }
            dropped = self.drop_volatile(cost, limit);
            if self.bytes + cost > limit {
                return Pushed::Overflow;
            }
        }
        self.count(&message);
        self.messages.push_back(message);
        Pushed::Queued { dropped }
    }

    fn count(&mut self, message: &Outgoing) {
        self.bytes += message.len() + ENTRY_COST;
        self.volatile += usize::from(message.is_volatile());
    }

    fn uncount(&mut self, message: &Outgoing) {
        self.bytes -= message.len() + ENTRY_COST;
        self.volatile -= usize::from(message.is_volatile());
    }

    /// Makes room for `need` bytes as far as volatile messages allow; how many went.
    fn drop_volatile(&mut self, need: usize, limit: usize) -> usize {
        let before = self.volatile;
        if before > 0 {
            let Self { messages, bytes, volatile } = self;
            messages.retain(|message| {
                let keep = !message.is_volatile() || *bytes + need <= limit;
                if !keep {
                    *bytes -= message.len() + ENTRY_COST;
                    *volatile -= 1;
                }
                keep
            });
        }
        before - self.volatile
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
        const LIMIT: usize = 3 * (100 + ENTRY_COST);
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(message(100), LIMIT), Pushed::Queued { dropped: 0 });
        let volatile = message(100).volatile();
        assert_eq!(outbox.push(volatile.clone(), LIMIT), Pushed::Queued { dropped: 0 });
        assert_eq!(outbox.push(volatile.clone(), LIMIT), Pushed::Queued { dropped: 0 });
        assert_eq!(outbox.push(volatile, LIMIT), Pushed::Dropped);
        assert_eq!(outbox.push(message(100), LIMIT), Pushed::Queued { dropped: 1 });
        assert_eq!(outbox.push(message(100), LIMIT), Pushed::Queued { dropped: 1 });
        assert_eq!(outbox.push(message(100), LIMIT), Pushed::Overflow);
        assert!(outbox.pop().is_some_and(|m| !m.is_volatile()));
        assert_eq!(outbox.push(message(100), LIMIT), Pushed::Queued { dropped: 0 });
        while outbox.pop().is_some() {
            let queue = outbox.0.as_ref();
            let (bytes, volatile) = queue.map_or((0, 0), |queue| (queue.bytes, queue.volatile));
            let left = queue.map_or(0, |queue| queue.messages.len());
            assert_eq!((bytes, volatile), (left * (100 + ENTRY_COST), 0));
        }
        assert!(outbox.is_empty(), "and without memory");
    }

    #[test]
    fn tiny_messages_are_bounded_too() {
        let mut outbox = Outbox::default();
        let fit = (0..).take_while(|_| outbox.push(message(0), 1000) != Pushed::Overflow).count();
        assert_eq!(fit, 1000 / ENTRY_COST);
    }

    #[test]
    fn what_is_put_back_comes_first() {
        let mut outbox = Outbox::default();
        for len in [1, 2] {
            outbox.push(message(len).volatile(), 0);
        }
        let first = outbox.pop().unwrap();
        outbox.unpop(first);
        assert_eq!(outbox.pop().map(|message| message.len()), Some(1));
        let last = outbox.pop().unwrap();
        outbox.unpop(last);
        assert_eq!(outbox.pop().map(|message| message.len()), Some(2));
        assert!(outbox.is_empty());
    }

    #[test]
    fn no_limit() {
        let mut outbox = Outbox::default();
        for _ in 0..1000 {
            assert_eq!(outbox.push(message(1000), 0), Pushed::Queued { dropped: 0 });
        }
    }
}
