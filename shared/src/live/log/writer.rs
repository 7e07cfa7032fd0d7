//! The contents of the log, and eviction. Everything is behind the writer's lock.
//!
//! Nothing here visits all channels or all messages: the work of a publication or of a slice of the sweep is bounded, so that the lock is
//! free again within milliseconds however large the log is. Evicted messages are freed outside of the lock.

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

use super::{
    Limits,
    channel::{Channel, Opener, Waiter},
    channels::Channels,
    kind::Kind,
    pool::Pool,
    streams::Streams,
    watch::{Noted, Watches},
};
use crate::pure::{ChannelName, Cursor, History, Loss, Message, forms::FormCache};

/// Maximum number of channels without messages and readers whose last dropped id is remembered; beyond, one id is remembered for all of
/// them.
const MAX_TOMBSTONES: usize = 65_536;
/// One tombstone for this many bytes of the log's memory limit: a small log remembers fewer, in at most a sixteenth of its memory.
const BYTES_A_TOMBSTONE: usize = 8 * 1024;
/// Maximum number of messages that a channel drops for one new message; the rest is dropped by later ones, or by the sweep.
const MAX_DROPS: usize = 1_024;

pub(super) struct Writer {
    /// The newest id: the head, except while the log is being loaded.
    pub(super) last: Cursor,
    pub(super) channels: Channels,
    /// The channels with messages, by [`Kind`].
    pools: [Pool; Kind::ALL.len()],
    /// Every channel that is kept only because of what it dropped, by that.
    tombstones: BTreeMap<Loss, Arc<Channel>>,
    max_tombstones: usize,
    /// What channels without a tombstone may have dropped.
    forgotten: Loss,
    /// The number of events so far by which messages were lost.
    losses: u64,
    /// The same, of those that readers see.
    visible_losses: Arc<AtomicU64>,
    pub(super) bytes: usize,
    pub(super) forms: Arc<FormCache>,
    /// The channels that have a lifecycle.
    pub(super) streams: Streams,
    /// Evicted messages, to be freed outside of the lock.
    pub(super) gone: Gone,
    /// Those that read all channels with certain names.
    pub(super) watches: Watches,
    /// Readers of those to be woken, outside of the lock.
    wakers: Vec<Waker>,
}

/// What was removed from the log.
#[derive(Default)]
pub(super) struct Gone {
    messages: Vec<Arc<Message>>,
    /// Of streams, which may have any number of messages.
    pub(super) histories: Vec<History>,
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.histories.iter().flat_map(History::iter).for_each(|message| message.leave());
    }
}

impl Writer {
    pub(super) fn new(limits: &Limits, last: Cursor, forms: Arc<FormCache>) -> Self {
        Self {
            last,
            channels: Channels::new(),
            pools: [Pool::new(limits.total), Pool::new(limits.server), Pool::new(limits.streams)],
            tombstones: BTreeMap::new(),
            max_tombstones: limits.total.map_or(MAX_TOMBSTONES, |total| MAX_TOMBSTONES.min(total / BYTES_A_TOMBSTONE)),
            forgotten: Loss::default(),
            losses: 0,
            visible_losses: Arc::default(),
            bytes: 0,
            forms,
            streams: Streams::default(),
            gone: Gone::default(),
            watches: Watches::new(),
            wakers: Vec::new(),
        }
    }

    pub(super) fn pool(&self, kind: Kind) -> &Pool {
        &self.pools[kind as usize]
    }

    pub(super) fn pool_mut(&mut self, kind: Kind) -> &mut Pool {
        &mut self.pools[kind as usize]
    }

    /// An id that no message is before.
    pub(super) fn oldest(&self) -> Option<Cursor> {
        let oldest = self.pools.iter().filter_map(|pool| pool.oldest.first_key_value()).map(|(id, _)| *id);
        oldest.chain(self.streams.oldest()).min()
    }

    /// The number of messages.
    pub(super) fn messages(&self) -> usize {
        self.pools.iter().map(|pool| pool.messages).sum()
    }

    /// The number of channels without messages that exist because they are read.
    pub(super) fn read_while_empty(&self) -> usize {
        let with_messages: usize = self.pools.iter().map(|pool| pool.oldest.len()).sum();
        self.channels.len() - with_messages - self.tombstones.len() - self.streams.len()
    }

    /// Messages dropped since the last call. Readers see that from now on.
    pub(super) fn take_gone(&mut self) -> Gone {
        self.show_losses();
        mem::take(&mut self.gone)
    }

    /// What channels that are not known any more may have lost.
    pub(super) fn forgotten(&self) -> Loss {
        self.forgotten
    }

    /// The number of events by which something was lost, as far as readers see what they did.
    pub(super) fn visible_losses(&self) -> Arc<AtomicU64> {
        self.visible_losses.clone()
    }

    /// Readers see all that was lost: everything is marked, and the head is published.
    pub(super) fn show_losses(&self) {
        self.visible_losses.store(self.losses, Ordering::Release);
    }

    /// The number of the next event by which something is lost.
    pub(super) fn next_loss(&mut self) -> u64 {
        self.losses += 1;
        self.losses
    }

    /// Records channels with new messages for those that watch them.
    pub(super) fn note(&mut self, channels: &[Arc<Channel>]) {
        Noted::note(&mut self.watches, channels, &mut self.wakers);
    }

    /// Wakes the readers of `channels` after the change that is being made.
    pub(super) fn wake_later(&mut self, channels: &[Arc<Channel>]) {
        channels.iter().for_each(|channel| channel.take_wakers(&mut self.wakers));
    }

    /// The readers to wake since the last call.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        mem::take(&mut self.wakers)
    }

    pub(super) fn channel(&mut self, name: &ChannelName, opener: Option<&Arc<Opener>>) -> &Arc<Channel> {
        let forgotten = self.forgotten;
        self.channels.get_or_insert_with(name, || Channel::new(name.clone(), forgotten, opener))
    }

    /// Adds `waiter` to the channel `name`, which is created if it does not exist.
    pub(super) fn add_waiter(
        &mut self,
        name: &ChannelName,
        waiter: &Arc<Waiter>,
        opener: Option<&Arc<Opener>>,
    ) -> (Arc<Channel>, usize) {
        let channel = self.channel(name, opener).clone();
        if channel.is_unused() {
            self.revive(&channel.history.lock());
        }
        let key = channel.add_waiter(waiter);
        (channel, key)
    }

    /// A channel whose history is `history` is used again.
    pub(super) fn revive(&mut self, history: &History) {
        self.tombstones.remove(&history.losses()[0]);
    }

    /// Removes `channel`, which has no messages and no readers, from the log; what it dropped is remembered.
    pub(super) fn retire(&mut self, channel: &Arc<Channel>) {
        let [dropped, _] = channel.history.lock().losses();
        if dropped.is_part_of(self.forgotten) {
            self.channels.remove(&channel.name);
            return;
        }
        self.tombstones.insert(dropped, channel.clone());
        while self.tombstones.len() > self.max_tombstones {
            let Some((dropped, oldest)) = self.tombstones.pop_first() else { break };
            self.forgotten = self.forgotten.with(dropped);
            self.channels.remove(&oldest.name);
        }
    }

    /// Messages up to `last`, on any channel, may be lost.
    pub(super) fn mark_lost_up_to(&mut self, last: Cursor) {
        self.last = last;
        self.forget_up_to(last);
    }

    /// The same without continuing after it.
    pub(super) fn forget_up_to(&mut self, last: Cursor) {
        let loss = Loss { up_to: last, number: self.next_loss() };
        self.forgotten = self.forgotten.with(loss);
        let forgotten = self.forgotten;
        let tombstones = mem::take(&mut self.tombstones);
        let (parts, others) = tombstones.into_iter().partition(|(dropped, _)| dropped.is_part_of(forgotten));
        self.tombstones = others;
        let parts: BTreeMap<Loss, Arc<Channel>> = parts;
        parts.values().for_each(|channel| self.channels.remove(&channel.name));
        // Streams have all of their messages, whatever others have lost.
        let others = self.channels.values().filter(|channel| channel.kind() != Kind::Stream);
        others.for_each(|channel| channel.history.lock().mark_lost(loss));
    }

    /// Adds a message that is newer than all others; `first` is the first of its batch. Returns the channel if this is its first message of
    /// the batch.
    pub(super) fn insert(
        &mut self,
        mut message: Message,
        first: Cursor,
        published: u64,
        limits: &Limits,
        mono_ms: u64,
    ) -> Option<Arc<Channel>> {
        self.last = message.id;
        let channel = self.channel(&message.draft.channel, None).clone();
        let kind = channel.kind();
        let retention = limits.retention(kind);
        if kind == Kind::Stream {
            self.streams.advance(&message, published);
        }
        self.bytes += message.len();
        self.pool_mut(kind).count_in(&message);
        message.enter(&self.forms, published);
        let mut history = channel.history.lock();
        let before = history.oldest().map(|oldest| oldest.id);
        if before.is_none() {
            self.revive(&history);
            channel.release_opener();
            channel.is_used_again();
        }
        // Any such id, stored or dropped, belongs to this batch.
        let newest = history.newest().map(|newest| newest.id).max(history.dropped());
        let is_first = newest < Some(first);
        history.push(Arc::new(message));
        if history.is_over(&retention, mono_ms) {
            let number = self.next_loss();
            for _ in 0..MAX_DROPS {
                let Some(gone) = history.drop_oldest(number) else { break };
                self.count_out(gone, kind);
                if !history.is_over(&retention, mono_ms) {
                    break;
                }
            }
        }
        let after = history.oldest().map(|oldest| oldest.id);
        drop(history);
        self.reorder(&channel, before, after);
        is_first.then_some(channel)
    }

    /// Drops the oldest message of the channels of a kind; `false` if there is none.
    pub(super) fn drop_first(&mut self, kind: Kind) -> bool {
        let first = self.pool(kind).oldest.first_key_value();
        let Some((before, channel)) = first.map(|(id, channel)| (*id, channel.clone())) else {
            return false;
        };
        let number = self.next_loss();
        let mut history = channel.history.lock();
        if let Some(gone) = history.drop_oldest(number) {
            self.count_out(gone, kind);
        }
        let after = history.oldest().map(|oldest| oldest.id);
        drop(history);
        self.reorder(&channel, Some(before), after);
        true
    }

    /// Drops the messages of a channel up to `up_to`, and remembers that they existed, even if none of them is here.
    pub(super) fn purge(&mut self, name: &ChannelName, up_to: Cursor) {
        let channel = self.channel(name, None).clone();
        let mut history = channel.history.lock();
        let before = history.oldest().map(|oldest| oldest.id);
        if channel.kind() == Kind::Stream && history.newest().is_none_or(|newest| newest.id <= up_to) {
            drop(history);
            return self.empty_stream(&channel, up_to);
        }
        if before.is_none() {
            self.revive(&history);
        }
        let number = self.next_loss();
        while history.oldest().is_some_and(|oldest| oldest.id <= up_to)
            && let Some(gone) = history.drop_oldest(number)
        {
            self.count_out(gone, channel.kind());
        }
        history.mark_dropped(Loss { up_to, number });
        let after = history.oldest().map(|oldest| oldest.id);
        drop(history);
        self.reorder(&channel, before, after);
    }

    fn reorder(&mut self, channel: &Arc<Channel>, before: Option<Cursor>, after: Option<Cursor>) {
        if channel.kind() == Kind::Stream {
            return;
        }
        self.pool_mut(channel.kind()).reorder(channel, before, after);
        if after.is_none() && !channel.is_read() {
            self.retire(channel);
        }
    }

    fn count_out(&mut self, gone: Arc<Message>, kind: Kind) {
        self.bytes -= gone.len();
        if kind == Kind::Stream {
            self.streams.count_out(&gone);
        }
        self.pool_mut(kind).count_out(&gone);
        gone.leave();
        self.gone.messages.push(gone);
    }

    /// Drops the oldest messages until the memory limit is met. The newest is kept however large it is.
    pub(super) fn make_room(&mut self) {
        for kind in Kind::ALL {
            while self.pool(kind).is_over() && self.drop_first(kind) {}
        }
    }

    /// Drops the encoded forms of the oldest messages until the limit is met, or of `most` messages; returns whether there is more to do.
    pub(super) fn evict_forms(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let Some((id, channel)) = self.forms.evict() else { return false };
            if let Some(channel) = self.channels.get(&channel)
                && let Some(message) = channel.history.lock().get(id)
            {
                message.drop_forms();
            }
        }
        true
    }
}
