//! The changes that a stream makes to the contents of the log.

use std::{mem, sync::Arc};

use super::Staged;
use crate::{
    live::{
        clock::Moment,
        log::{Channel, SLICE, kind::Kind, streams::Entry, writer::Writer},
    },
    pure::{
        ChannelName, Cursor, Draft, History, Loss, Payload,
        stream::{SavedCopies, SavedStream, StreamError, StreamState},
    },
};

impl Writer {
    /// Whether streams of `owner` may take `bytes` more: not more than is free, and in all not more than they leave free for others.
    pub(in crate::live::log) fn require_space(
        &self,
        owner: Option<&Arc<str>>,
        bytes: usize,
        staged: &Staged,
    ) -> Result<(), StreamError> {
        let pool = self.pool(Kind::Stream);
        let (limit, free) = (pool.most(), pool.most().saturating_sub(pool.footprint + staged.bytes));
        if bytes > free {
            return Err(StreamError::Full { limit });
        }
        let owned = |owner| self.streams.owned(owner) + staged.owned(owner);
        let owned = owner.map_or(0, |owner| owned(owner).saturating_add(bytes));
        if owned > free { Err(StreamError::Share { limit }) } else { Ok(()) }
    }

    /// Up to here, channels that are not known may have dropped messages, if they may have dropped any.
    pub(super) fn forgotten_id(&self) -> Option<Cursor> {
        self.forgotten().id()
    }

    /// The stream was used now.
    pub(super) fn renew(&mut self, name: &ChannelName, now: Moment) {
        if let Ok(entry) = self.streams.get(name) {
            entry.state.renew(now.mono_ms);
        }
    }

    /// Whether the channel has no messages, so that it can become a stream.
    pub(super) fn require_unused(&self, channel: &ChannelName) -> Result<(), StreamError> {
        let is_used = |known: &Arc<Channel>| !known.history.lock().is_empty();
        match self.channels.get(channel).is_some_and(is_used) && !self.streams.entries.contains_key(channel) {
            true => Err(StreamError::ChannelInUse(channel.clone())),
            false => Ok(()),
        }
    }

    /// The streams of `owner` take `after` bytes in place of `before`.
    pub(super) fn recount(&mut self, owner: Option<&Arc<str>>, before: usize, after: usize) {
        let pool = self.pool_mut(Kind::Stream);
        pool.footprint = pool.footprint + after - before;
        self.streams.recount(owner, before, after);
    }

    /// Adds a stream to a channel. A fork begins with the copies in `history`, which take so many bytes of memory.
    ///
    /// A stream is created on a channel without messages: those that a log has of it when it is loaded had been removed.
    pub(in crate::live::log) fn add_stream(
        &mut self,
        saved: &SavedStream,
        history: History,
        of_messages: usize,
        now: Moment,
    ) {
        let (name, owner) = (&saved.channel, saved.owner.as_deref().map(Arc::from));
        if self.channels.get(name).is_some_and(|channel| !channel.history.lock().is_empty()) {
            self.purge(name, saved.state.created());
        }
        let state = StreamState::restore(&saved.state, |time_ms| now.mono_at(time_ms));
        let stored_ms = state.renewed();
        let renewal = state.renewal().filter(|_| self.streams.is_stored).unwrap_or_default();
        let assumed_ms = stored_ms.saturating_add(renewal).min(now.mono_ms);
        let channel = self.channel(name, None).clone();
        if channel.is_unused() {
            self.revive(&channel.history.lock());
        }
        channel.release_opener();
        channel.set_lifecycle(state.lifecycle());
        let (start, created) = (state.info().start, state.info().created);
        self.bytes += history.bytes();
        self.pool_mut(Kind::Stream).messages += history.len();
        self.recount(owner.as_ref(), 0, of_messages + channel.footprint());
        let number = self.next_loss();
        let history = match saved.copies {
            Some(SavedCopies { end, dropped }) => {
                let dropped = dropped.map_or(Loss::default(), |up_to| Loss { up_to, number });
                History::of_copies(history, [start, end], created, dropped)
            }
            None => history,
        };
        let mut known = channel.history.lock();
        let history = history.after_dropped(saved.dropped, &known, number);
        *known = history;
        drop(known);
        self.streams.starts.insert((start, name.clone()));
        let channel = Some(channel);
        let entry =
            Entry { state, channel, forks: 0, owner, of_messages, counted: 0, due: None, stored_ms, assumed_ms };
        self.streams.entries.insert(name.clone(), entry);
        self.count_stream(name);
        self.watch_lifetime(name, now);
    }

    /// Counts the stream as a fork of its source, if it is one.
    pub(super) fn count_fork(&mut self, name: &ChannelName) {
        let source =
            self.streams.entries.get(name).and_then(|entry| entry.state.fork()).map(|fork| fork.source.clone());
        if let Some(source) = source.and_then(|source| self.streams.entries.get_mut(&source)) {
            source.forks += 1;
        }
    }

    /// Counts a message of so many bytes of memory that was added to a stream.
    pub(super) fn count_restored(&mut self, owner: Option<&Arc<str>>, bytes: usize) {
        self.pool_mut(Kind::Stream).messages += 1;
        self.recount(owner, 0, bytes);
    }

    /// Counts the memory of a stream that has changed.
    pub(in crate::live::log) fn count_stream(&mut self, name: &ChannelName) {
        let Some(entry) = self.streams.entries.get_mut(name) else { return };
        let (before, after) = (entry.counted, entry.footprint() + name.len());
        entry.counted = after;
        let owner = entry.owner.clone();
        self.recount(owner.as_ref(), before, after);
    }

    /// Checks the lifetime of the stream, if it has one, when it may be over. If the log is stored, also when its use is to be stored again.
    pub(in crate::live::log) fn watch_lifetime(&mut self, name: &ChannelName, now: Moment) {
        let is_stored = self.streams.is_stored;
        let Some(entry) = self.streams.entries.get_mut(name).filter(|entry| entry.channel.is_some()) else { return };
        let over = entry.left(now).map(|left| now.mono_ms.saturating_add(left));
        let renewal = entry.state.renewal().filter(|_| is_stored);
        let renewed = renewal.map(|renewal| entry.stored_ms.saturating_add(renewal).max(now.mono_ms + 1));
        entry.due = over.into_iter().chain(renewed).min();
        self.streams.due.extend(entry.due.map(|due| (due, name.clone())));
    }

    /// The same for a stream that may be watched.
    pub(super) fn watch_again(&mut self, name: &ChannelName, now: Moment) {
        if let Some(due) = self.streams.entries.get_mut(name).and_then(|entry| entry.due.take()) {
            self.streams.due.remove(&(due, name.clone()));
        }
        self.watch_lifetime(name, now);
    }

    /// Removes the messages of a stream that has ended: everything is lost up to its end. Its channel is one as any other again.
    pub(in crate::live::log) fn remove_stream(
        &mut self,
        name: &ChannelName,
        channel: &Arc<Channel>,
        start: Cursor,
        loss: Loss,
    ) {
        let history = channel.history.lock().end(loss);
        self.take_messages(channel, history);
        self.streams.starts.remove(&(start, name.clone()));
        let owner = self.streams.entries.get(name).and_then(|entry| entry.owner.clone());
        self.recount(owner.as_ref(), channel.footprint(), 0);
        channel.leave_stream();
        if channel.is_unused() {
            self.retire(channel);
        }
    }

    /// Takes all messages out of a stream, to be freed outside of the lock: readers before `up_to` have lost something.
    pub(in crate::live::log) fn empty_stream(&mut self, channel: &Channel, up_to: Cursor) {
        let number = self.next_loss();
        let history = channel.history.lock().take_all(Loss { up_to, number });
        self.take_messages(channel, history);
    }

    /// Counts out what was the history of a stream.
    pub(super) fn take_messages(&mut self, channel: &Channel, history: History) {
        self.streams.losses += 1;
        self.bytes -= history.bytes();
        self.pool_mut(Kind::Stream).messages -= history.len();
        if let Some(entry) = self.streams.entries.get_mut(&channel.name) {
            let (owner, bytes) = (entry.owner.clone(), mem::take(&mut entry.of_messages));
            self.recount(owner.as_ref(), bytes, 0);
        }
        self.gone.histories.push(history);
    }

    /// Removes what is left of one stream that is to be forgotten.
    pub(super) fn forget_next(&mut self) {
        if let Some(name) = self.streams.unforgotten.pop() {
            self.forget_stream(&name);
        }
    }

    /// Removes what is left of a stream without forks, and of the deleted ones that it was the last fork of: some of them, if there are many.
    pub(in crate::live::log) fn forget_stream(&mut self, name: &ChannelName) {
        let mut next = Some(name.clone());
        for _ in 0..SLICE {
            let Some(name) = next.take() else { return };
            let Some(entry) = self.streams.entries.remove(&name) else { return };
            self.recount(entry.owner.as_ref(), entry.counted, 0);
            let Some(fork) = entry.state.fork() else { return };
            let Some(source) = self.streams.entries.get_mut(&fork.source) else { return };
            // A log that an earlier version imported may have the fork before its source, which does not count it then.
            source.forks = source.forks.saturating_sub(1);
            if source.forks == 0 && source.channel.is_none() {
                next = Some(fork.source.clone());
            }
        }
        self.streams.unforgotten.extend(next);
    }
}

/// The messages of `payloads`.
pub(super) fn drafts(channel: &ChannelName, payloads: &[Payload], user: Option<&Arc<str>>) -> Vec<Draft> {
    payloads.iter().map(|payload| Draft::new(channel.clone(), payload.clone()).by(user.cloned())).collect()
}
