//! The history of one channel: its newest messages, and up to which id messages were dropped.

use std::{
    collections::{VecDeque, vec_deque},
    mem,
    sync::Arc,
};

use super::{Cursor, Loss, Message};

/// Limits of a channel's history; the first one reached applies. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Messages.
    pub count: Option<usize>,
    /// Bytes of data. The newest message is kept however large it is, so that waiting readers receive it.
    pub bytes: Option<usize>,
    /// Milliseconds since publication, by a clock that does not step.
    pub age_ms: Option<u64>,
}

/// The stored messages of one channel, in the order of their ids.
#[derive(Debug, Default)]
pub struct History {
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
    dropped: Loss,
    /// What it may have lost although it is not known on which channel that was. Messages up to there may be stored.
    marked: Loss,
    /// Set for a fork of a stream: its first messages are copies.
    copies: Option<Copies>,
}

/// The first messages of a fork: another channel has them under the same ids, so only readers of one stream get them.
#[derive(Clone, Copy, Debug)]
struct Copies {
    /// The position before the first and that of the last of them, also if there are none.
    ends: [Cursor; 2],
    /// The channel's own messages are after this.
    up_to: Cursor,
    /// As [`History::dropped`], of the copies and of what follows.
    dropped: Loss,
    /// The bytes of their data.
    bytes: usize,
}

impl History {
    /// An empty history of a channel that may have lost something.
    #[must_use]
    pub fn new(marked: Loss) -> Self {
        Self { marked, ..Self::default() }
    }

    /// A history of `copies`, which are after the first and up to the last of `ends`, and whose source has lost `dropped`.
    /// Messages of its own follow after `up_to`.
    #[must_use]
    pub fn of_copies(copies: Self, ends: [Cursor; 2], up_to: Cursor, dropped: Loss) -> Self {
        Self { copies: Some(Copies { ends, up_to, dropped, bytes: copies.bytes }), ..copies }
    }

    /// The same, on a channel that has dropped everything up to `dropped`, and whose history so far is `before`. Its copies are not among it. What is
    /// not known from `before` counts as lost by the event `number`.
    #[must_use]
    pub fn after_dropped(self, dropped: Option<Cursor>, before: &Self, number: u64) -> Self {
        let up_to = dropped.unwrap_or_default();
        let known = |loss: Loss| if loss.up_to > up_to { Loss::default() } else { loss };
        let [dropped, marked] = before.losses().map(known);
        let is_known = dropped.up_to.max(marked.up_to) == up_to;
        Self { dropped: if is_known { dropped } else { Loss { up_to, number } }, marked, ..self }
    }

    /// Adds the newest message. Its id has to be greater than any before it.
    pub fn push(&mut self, message: Arc<Message>) {
        debug_assert!(self.messages.back().is_none_or(|last| last.id < message.id));
        self.bytes += message.len();
        self.messages.push_back(message);
    }

    /// Adds a message among the others, unless it is there or was dropped.
    pub fn insert(&mut self, message: Arc<Message>) -> bool {
        let is_copy = self.copies.is_some_and(|copies| message.id <= copies.up_to);
        let dropped = if is_copy { self.dropped_with_copies() } else { self.dropped() };
        let Err(at) = self.messages.binary_search_by_key(&message.id, |message| message.id) else { return false };
        if Some(message.id) <= dropped {
            return false;
        }
        self.bytes += message.len();
        if let Some(copies) = self.copies.as_mut().filter(|_| is_copy) {
            copies.bytes += message.len();
        }
        self.messages.insert(at, message);
        true
    }

    /// The position of the last copy, also if there are none, and what was dropped of them; `None` if it has no copies.
    #[must_use]
    pub fn copied(&self) -> Option<(Cursor, Option<Cursor>)> {
        self.copies.map(|copies| (copies.ends[1], copies.dropped.id()))
    }

    /// Whether `retention` requires the oldest message to be dropped at `mono_ms`, by the clock that messages age by.
    #[must_use]
    pub fn is_over(&self, retention: &Retention, mono_ms: u64) -> bool {
        let Some(oldest) = self.messages.front() else { return false };
        retention.count.is_some_and(|most| self.messages.len() > most)
            || (retention.bytes.is_some_and(|most| self.bytes > most) && self.messages.len() > 1)
            || retention.age_ms.is_some_and(|most| mono_ms.saturating_sub(oldest.published()) > most)
    }

    /// Drops the oldest message and records that it did, by the event `number`.
    pub fn drop_oldest(&mut self, number: u64) -> Option<Arc<Message>> {
        let oldest = self.messages.pop_front()?;
        self.bytes -= oldest.len();
        if let Some(copies) = self.copies.as_mut().filter(|copies| oldest.id <= copies.up_to) {
            copies.bytes -= oldest.len();
        }
        self.mark_dropped(Loss { up_to: oldest.id, number });
        // Frees the space of a channel that was busy once.
        if self.messages.capacity() > 4 * self.messages.len().max(4) {
            self.messages.shrink_to(2 * self.messages.len());
        }
        Some(oldest)
    }

    /// Records that other messages than the stored ones may be lost.
    pub fn mark_lost(&mut self, loss: Loss) {
        self.marked = self.marked.with(loss);
        if let Some(copies) = &mut self.copies {
            copies.dropped = copies.dropped.with(loss);
        }
    }

    /// Records that messages were dropped. If the newest of them is a copy, the channel has lost none of its own.
    pub fn mark_dropped(&mut self, loss: Loss) {
        if self.copies.is_none_or(|copies| loss.up_to > copies.up_to) {
            self.dropped = self.dropped.with(loss);
        }
        if let Some(copies) = &mut self.copies {
            copies.dropped = copies.dropped.with(loss);
        }
    }

    /// Takes all messages out, and records that they were dropped.
    pub fn take_all(&mut self, loss: Loss) -> Self {
        let copies = self.copies.map(|copies| Copies { bytes: 0, ..copies });
        let taken = self.leave(copies);
        self.mark_dropped(loss);
        taken
    }

    /// The same at the end of a stream: what follows is not a fork.
    pub fn end(&mut self, loss: Loss) -> Self {
        let taken = self.leave(None);
        self.mark_dropped(loss);
        taken
    }

    fn leave(&mut self, copies: Option<Copies>) -> Self {
        let emptied = Self { dropped: self.dropped, marked: self.marked, copies, ..Self::default() };
        mem::replace(self, emptied)
    }

    /// `cursor`, or the position after which the channel has messages of its own, if that is later.
    #[must_use]
    pub fn after_copies(&self, cursor: Cursor) -> Cursor {
        self.copies.map_or(cursor, |copies| cursor.max(copies.up_to))
    }

    /// As [`range`](Self::range), without copies.
    pub fn own(&self, cursor: Cursor, last: Cursor) -> vec_deque::Iter<'_, Arc<Message>> {
        self.range(self.after_copies(cursor), last)
    }

    /// As [`dropped`](Self::dropped), of the copies and of what follows.
    #[must_use]
    pub fn dropped_with_copies(&self) -> Option<Cursor> {
        self.copies.map_or(self.dropped(), |copies| copies.dropped.id())
    }

    /// As [`losses`](Self::losses), for a reader after `cursor` that gets copies, too. Messages that the channel dropped before the fork
    /// was created concern only cursors older than the fork.
    #[must_use]
    pub fn losses_after(&self, cursor: Cursor) -> [Loss; 2] {
        let Some(Copies { ends, up_to, dropped, .. }) = self.copies else { return self.losses() };
        let is_of_fork = cursor == Cursor::ZERO
            || cursor >= up_to
            || ends.contains(&cursor)
            || dropped.up_to == cursor
            || self.get(cursor).is_some();
        if is_of_fork { [dropped, Loss::default()] } else { [dropped.with(self.dropped), self.marked] }
    }

    /// The messages after `cursor` up to and including `last`, oldest first.
    pub fn range(&self, cursor: Cursor, last: Cursor) -> vec_deque::Iter<'_, Arc<Message>> {
        let from = match self.messages.back() {
            // Most readers have read everything except the newest message.
            Some(newest) if newest.id <= cursor => self.messages.len(),
            _ => self.messages.partition_point(|message| message.id <= cursor),
        };
        let to = match self.messages.back() {
            Some(newest) if newest.id <= last => self.messages.len(),
            _ => self.messages.partition_point(|message| message.id <= last),
        };
        self.messages.range(from..to.max(from))
    }

    /// All messages, oldest first.
    pub fn iter(&self) -> vec_deque::Iter<'_, Arc<Message>> {
        self.messages.iter()
    }

    /// The message of this id.
    #[must_use]
    pub fn get(&self, id: Cursor) -> Option<&Arc<Message>> {
        let at = self.messages.binary_search_by_key(&id, |message| message.id).ok()?;
        self.messages.get(at)
    }

    /// The oldest stored message.
    #[must_use]
    pub fn oldest(&self) -> Option<&Arc<Message>> {
        self.messages.front()
    }

    /// The newest stored message.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Message>> {
        self.messages.back()
    }

    /// The newest message that was dropped or may be lost: a client with an older cursor has missed something.
    #[must_use]
    pub fn dropped(&self) -> Option<Cursor> {
        self.dropped.with(self.marked).id()
    }

    /// What was dropped, and what may be lost besides, also before messages that are stored.
    #[must_use]
    pub fn losses(&self) -> [Loss; 2] {
        [self.dropped, self.marked]
    }

    /// The number of stored messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether no message is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The bytes of data of all stored messages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// As [`bytes`](Self::bytes), without copies.
    #[must_use]
    pub fn own_bytes(&self) -> usize {
        self.bytes - self.copies.map_or(0, |copies| copies.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::{Draft, Payload};

    fn message(ms: u64, text: &str) -> Arc<Message> {
        Arc::new(Message::new(Cursor::new(ms, 0), Draft::new("c".parse().unwrap(), Payload::from_text(text))))
    }

    fn ids(history: &History) -> Vec<u64> {
        history.range(Cursor::ZERO, Cursor::MAX).map(|message| message.id.ms).collect()
    }

    fn trimmed(retention: Retention, now_ms: u64) -> Vec<u64> {
        let mut history = History::default();
        for ms in 1..=5 {
            history.push(message(ms, "123456"));
        }
        while history.is_over(&retention, now_ms) {
            history.drop_oldest(1);
        }
        assert_eq!(history.dropped().map_or(0, |cursor| cursor.ms), 5 - history.len() as u64);
        ids(&history)
    }

    #[test]
    fn whichever_limit_ends_first() {
        let none = Retention::default();
        assert_eq!(trimmed(none, 1_000_000), [1, 2, 3, 4, 5]);
        assert_eq!(trimmed(Retention { count: Some(2), ..none }, 5), [4, 5]);
        assert_eq!(trimmed(Retention { count: Some(0), ..none }, 5), [0; 0]);
        assert_eq!(trimmed(Retention { bytes: Some(24), ..none }, 5), [3, 4, 5]);
        assert_eq!(trimmed(Retention { bytes: Some(1), ..none }, 5), [5], "the newest stays");
        assert_eq!(trimmed(Retention { age_ms: Some(2), ..none }, 5), [3, 4, 5]);
        assert_eq!(trimmed(Retention { age_ms: Some(2), ..none }, 50), [0; 0]);
        assert_eq!(trimmed(Retention { age_ms: Some(2), ..none }, 0), [1, 2, 3, 4, 5], "a clock that went back");
        assert_eq!(trimmed(Retention { count: Some(4), bytes: Some(24), age_ms: Some(1) }, 5), [4, 5]);
    }

    #[test]
    fn a_range_is_after_the_cursor_and_up_to_the_last() {
        let mut history = History::default();
        for ms in [2, 4, 6] {
            history.push(message(ms, "x"));
        }
        let range = |from, to| -> Vec<u64> {
            history.range(Cursor::new(from, 0), Cursor::new(to, 0)).map(|message| message.id.ms).collect()
        };
        assert_eq!(range(0, 9), [2, 4, 6]);
        assert_eq!(range(2, 6), [4, 6]);
        assert_eq!(range(2, 5), [4]);
        assert_eq!(range(6, 9), [0; 0]);
        assert_eq!(range(7, 3), [0; 0]);
    }
}
