//! What a reader of streams knows of their ends.
//!
//! An end has a position, as messages have. A reader returns it in the order of positions, once it has returned all messages before it. Readers
//! of one stream with its copies, and patterns, get none.

use super::{Batch, Reader, Subscription};
use crate::pure::{
    ChannelName, Cursor,
    stream::{End, EndReason, Lifecycle, StreamEnd},
};

impl Reader {
    /// The lifecycle of the stream that this reader's first channel is, or was last.
    #[must_use]
    pub fn lifecycle(&self) -> Option<Lifecycle> {
        self.subscriptions.first().and_then(|subscription| subscription.channel.lifecycle())
    }

    /// Whether all messages of its channels have been returned.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        let newest = |subscription: &Subscription| subscription.channel.history.lock().newest().map(|newest| newest.id);
        let has_more = self.matching.as_ref().is_some_and(|matching| !matching.backlog.is_empty());
        self.is_resolved()
            && !has_more
            && self.subscriptions.iter().filter_map(newest).all(|newest| newest <= self.cursor)
    }

    /// The position of the last end, if all channels are streams that ended at or before the cursor. The channel of a stream that was
    /// deleted may be used again: a reader at a later position than the last end waits for that.
    #[must_use]
    pub fn ended(&self) -> Option<Cursor> {
        if self.opening.is_some() || self.matching.is_some() || self.next_end(self.cursor).is_some() {
            return None;
        }
        let ended = |subscription: &Subscription| subscription.channel.ended(self.cursor, subscription.ends_after);
        let ends: Vec<_> = self.subscriptions.iter().map(ended).collect::<Option<_>>()?;
        let last = ends.iter().map(|(end, _)| *end).max()?;
        (last == self.cursor || ends.iter().all(|(_, is_known)| *is_known)).then_some(last)
    }

    /// Makes the reader return the end of `channel`, which it already reads, if that is a closed stream, even if the end is before the
    /// cursor.
    pub fn require_closed(&mut self, channel: &ChannelName) {
        if let Some(subscription) = self.subscription(channel) {
            subscription.require_closed();
        }
    }

    /// Where the stream `channel`, which is read, was closed, if it is.
    #[must_use]
    pub fn closed(&self, channel: &ChannelName) -> Option<Cursor> {
        let subscription = self.subscriptions.iter().find(|subscription| subscription.is_of(channel))?;
        let end = subscription.channel.lifecycle()?.end?;
        (end.reason == EndReason::Closed).then_some(end.id)
    }

    /// Returns the ends of all its streams that are closed, even if that was before the cursor, but not those up to `known`.
    pub fn require_closed_after(&mut self, known: Cursor) {
        for subscription in &mut self.subscriptions {
            subscription.require_closed();
            subscription.ends_after = subscription.ends_after.max(known);
        }
    }

    /// Returns the ends of all channels that are closed streams, for a client that has no cursor.
    pub(super) fn requires_closed(&mut self) {
        self.subscriptions.iter_mut().for_each(Subscription::require_closed);
    }

    /// Returns the ends after the cursor, for a client that has that.
    pub(super) fn requires_ends(&mut self) {
        for subscription in &mut self.subscriptions {
            subscription.ends_after = subscription.from.max(self.cursor);
        }
    }

    /// The first end up to `head` that is still to be returned.
    pub(super) fn next_end(&self, head: Cursor) -> Option<StreamEnd> {
        if self.reads_copies || !self.is_resolved() {
            return None;
        }
        let end = |subscription: &Subscription| {
            let end = subscription.channel.end_after(subscription.ends_after).filter(|end| end.id <= head)?;
            Some((end, subscription.channel.name.clone()))
        };
        let first = self.subscriptions.iter().filter_map(end).min_by_key(|(end, _)| end.id);
        first.map(|(End { id, reason }, channel)| StreamEnd { channel, reason, id })
    }

    /// `batch` with the end that follows it.
    pub(super) fn with_end(&mut self, batch: Option<Batch>, end: StreamEnd) -> Batch {
        if let Some(subscription) = self.subscription(&end.channel) {
            subscription.ends_after = end.id;
        }
        self.client = self.cursor;
        let empty = || Batch { gap: None, messages: Vec::new(), end: None, cursor: self.cursor };
        Batch { end: Some(end), ..batch.unwrap_or_else(empty) }
    }
}

impl Subscription {
    fn require_closed(&mut self) {
        self.ends_after = self.channel.after_past();
    }
}
