//! The channels of a reader.

use std::sync::Arc;

use super::Reader;
use crate::{
    live::log::{Channel, Log},
    pure::{ChannelName, Cursor},
};

/// A subscription to one channel.
pub(super) struct Subscription {
    pub(super) channel: Arc<Channel>,
    /// Its place among the waiters of the channel; `None` if a pattern reads it.
    pub(super) key: Option<usize>,
    /// Messages of this channel up to here are not wanted, even if the reader's cursor is older.
    pub(super) from: Cursor,
    /// Losses by this event of the log, and by those before it, have been reported or were never requested.
    pub(super) reported: u64,
    /// What was removed from disk up to here was never requested.
    pub(super) removal_reported_up_to: Cursor,
    /// Ends of its streams up to here have been reported, or were never requested.
    pub(super) ends_after: Cursor,
}

impl Subscription {
    /// Whether it is one to `channel` itself, and not by a pattern.
    pub(super) fn is_of(&self, channel: &ChannelName) -> bool {
        self.key.is_some() && self.channel.name == *channel
    }

    fn end(self, log: &Log) {
        if let Some(key) = self.key {
            log.remove_waiter(&self.channel, key);
        }
    }
}

impl Reader {
    /// Subscribes to `channel`, too, from the current cursor on.
    pub fn add(&mut self, channel: &ChannelName) {
        self.add_from(channel, Cursor::ZERO);
    }

    /// Subscribes to `channel`, too, from the current cursor on, but skips messages up to `from`, which may be newer.
    pub fn add_from(&mut self, channel: &ChannelName, from: Cursor) {
        if channel.is_pattern() {
            self.add_pattern(channel, from, true);
        } else if !self.reads(channel) {
            let matched = self.take_matched(channel);
            let (channel, key) = self.log.add_waiter(channel, &self.waiter, self.opener.as_ref());
            // What only the memory dropped is still on disk, and its removal from there would be a loss.
            let removed =
                self.log.archive().map_or(Cursor::ZERO, |archive| archive.removed(&channel.name)).min(self.log.head());
            let (from, reported, removal_reported_up_to) = match matched {
                Some(matched) => (from.min(matched.from), matched.reported, matched.removal.unwrap_or(removed)),
                None => (from, self.log.losses(), removed),
            };
            let ends_after = from.max(self.cursor);
            let key = Some(key);
            let added = Subscription { channel, key, from, reported, removal_reported_up_to, ends_after };
            self.subscriptions.push(added);
            self.forget_older();
        }
    }

    /// As [`add_from`](Self::add_from), for a client that resumes: messages dropped after the cursor and after `from` are reported as lost,
    /// even if they were dropped before now.
    pub fn require_from(&mut self, channel: &ChannelName, from: Cursor) {
        self.add_from(channel, from);
        if let Some(subscription) = self.subscription(channel) {
            subscription.require_losses();
        }
        self.require_matched(channel);
    }

    /// Skips messages of `channel`, which is read already, up to `from`. Later ones are returned, even those that were skipped so far.
    pub fn skip_until(&mut self, channel: &ChannelName, from: Cursor) {
        self.move_from(channel, |_| from);
    }

    /// Returns messages of `channel`, which is already read, from `from` on, if that is earlier than its position.
    pub fn include_after(&mut self, channel: &ChannelName, from: Cursor) {
        self.move_from(channel, |before| before.min(from));
    }

    fn move_from(&mut self, channel: &ChannelName, to: impl Fn(Cursor) -> Cursor) {
        if channel.is_pattern() {
            self.move_pattern(channel, to);
        } else if let Some(subscription) = self.subscription(channel) {
            subscription.from = to(subscription.from);
            subscription.ends_after = to(subscription.ends_after);
            self.forget_older();
        }
    }

    pub(super) fn subscription(&mut self, channel: &ChannelName) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|subscription| subscription.is_of(channel))
    }

    /// Unsubscribes from `channel`.
    pub fn remove(&mut self, channel: &ChannelName) {
        if channel.is_pattern() {
            self.remove_pattern(channel);
        } else if let Some(at) = self.subscriptions.iter().position(|subscription| subscription.is_of(channel)) {
            self.subscriptions.swap_remove(at).end(&self.log);
            self.forget_older();
            if let Some(older) = &mut self.older {
                older.forget(channel);
            }
            // A pattern may read it, too.
            self.look_again(channel);
        }
    }

    /// Whether `channel` is subscribed to.
    #[must_use]
    pub fn reads(&self, channel: &ChannelName) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.is_of(channel)) || self.reads_pattern(channel)
    }

    /// The channels and patterns that are subscribed to.
    pub fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        let channels = self.subscriptions.iter().filter(|subscription| subscription.key.is_some());
        channels.map(|subscription| &subscription.channel.name).chain(self.patterns())
    }

    /// Whether it waits on a channel, which the end of the log wakes.
    pub(super) fn has_channel(&self) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.key.is_some())
    }

    /// Ends all subscriptions.
    pub(super) fn end_subscriptions(&mut self) {
        let log = self.log.clone();
        self.subscriptions.drain(..).for_each(|subscription| subscription.end(&log));
    }
}
