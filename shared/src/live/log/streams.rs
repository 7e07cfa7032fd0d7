//! The streams of a log by name. They are behind the writer's lock.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::Channel;
use crate::{
    live::clock::Moment,
    pure::{
        ChannelName, Cursor, Message,
        stream::{StreamError, StreamState},
    },
};

/// The streams by name.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) entries: HashMap<ChannelName, Entry>,
    /// When each stream with a lifetime has to be checked, by the monotonic clock. It may have been used since.
    pub(super) due: BTreeSet<(u64, ChannelName)>,
    /// The start of each stream that has messages or may get some.
    pub(super) starts: BTreeSet<(Cursor, ChannelName)>,
    /// Whether the log is stored: then only its bus ends streams, and what renews an idle time is stored, too.
    pub(super) is_stored: bool,
    /// Deleted streams without forks, which the sweep forgets.
    pub(super) unforgotten: Vec<ChannelName>,
    /// Bytes of memory of the streams of each owner that has a share.
    owners: HashMap<Arc<str>, usize>,
    /// How often messages were removed.
    pub(super) losses: u64,
}

pub(super) struct Entry {
    pub(super) state: StreamState,
    /// Its channel; `None` once it is deleted.
    pub(super) channel: Option<Arc<Channel>>,
    /// The number of streams that were forked from it and exist.
    pub(super) forks: usize,
    /// The client whose share of the memory it takes.
    pub(super) owner: Option<Arc<str>>,
    /// Bytes of memory of its messages.
    pub(super) of_messages: usize,
    /// Bytes that it counts for besides its messages.
    pub(super) counted: usize,
    /// When its lifetime has to be checked.
    pub(super) due: Option<u64>,
    /// When it was last used, as far as that is stored.
    pub(super) stored_ms: u64,
    /// A start assumes that it was used until then, without that having been stored. This is never stored, or each start would prolong its life.
    pub(super) assumed_ms: u64,
}

impl Streams {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of streams that are not deleted.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// No stream has a message before this.
    pub(super) fn oldest(&self) -> Option<Cursor> {
        self.starts.first().map(|(start, _)| *start)
    }

    /// The stream of this name, unless it is deleted.
    pub(super) fn known(&self, name: &ChannelName) -> Result<&Entry, StreamError> {
        match self.entries.get(name) {
            None => Err(StreamError::NotFound(name.clone())),
            Some(Entry { channel: None, .. }) => Err(StreamError::Gone(name.clone())),
            Some(entry) => Ok(entry),
        }
    }

    /// As [`known`](Self::known), to be changed.
    pub(super) fn get(&mut self, name: &ChannelName) -> Result<&mut Entry, StreamError> {
        match self.entries.get_mut(name) {
            None => Err(StreamError::NotFound(name.clone())),
            Some(Entry { channel: None, .. }) => Err(StreamError::Gone(name.clone())),
            Some(entry) => Ok(entry),
        }
    }

    /// Bytes of memory of the streams of `owner`.
    pub(super) fn owned(&self, owner: &Arc<str>) -> usize {
        self.owners.get(owner).copied().unwrap_or_default()
    }

    /// The streams of `owner` take `after` bytes in place of `before`.
    pub(super) fn recount(&mut self, owner: Option<&Arc<str>>, before: usize, after: usize) {
        let Some(owner) = owner else { return };
        let bytes = self.owned(owner) + after - before;
        if bytes == 0 {
            self.owners.remove(owner);
        } else if let Some(owned) = self.owners.get_mut(owner) {
            *owned = bytes;
        } else {
            self.owners.insert(owner.clone(), bytes);
        }
    }

    /// `message` is being added to the channel of a stream.
    pub(super) fn advance(&mut self, message: &Message, mono_ms: u64) {
        if let Some(entry) = self.entries.get_mut(&message.draft.channel) {
            entry.state.advance(message.id, mono_ms);
            entry.stored_ms = entry.stored_ms.max(mono_ms);
            let bytes = message.footprint();
            entry.of_messages += bytes;
            let owner = entry.owner.clone();
            self.recount(owner.as_ref(), 0, bytes);
        }
    }

    /// `message` has been removed from the channel of a stream.
    pub(super) fn count_out(&mut self, message: &Message) {
        if let Some(entry) = self.entries.get_mut(&message.draft.channel) {
            let bytes = message.footprint();
            entry.of_messages -= bytes;
            self.losses += 1;
            let owner = entry.owner.clone();
            self.recount(owner.as_ref(), bytes, 0);
        }
    }
}

impl Entry {
    /// Its memory besides its messages and the name.
    pub(super) fn footprint(&self) -> usize {
        self.state.footprint() + self.owner.as_ref().map_or(0, |owner| owner.len())
    }

    /// Whether a reader waits for messages of it, on any transport.
    pub(super) fn is_read(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.is_read())
    }

    /// For how many milliseconds it lives on if nobody uses it; `None` without limit.
    pub(super) fn left(&self, now: Moment) -> Option<u64> {
        self.state.left_after(self.state.renewed().max(self.assumed_ms), now.time_ms, now.mono_ms)
    }

    /// Whether its lifetime is over. One that is read is in use.
    pub(super) fn is_over(&self, now: Moment) -> bool {
        self.channel.is_some() && self.left(now) == Some(0) && !self.is_in_use()
    }

    /// Whether it was used after the use that is stored, and a tenth of its lifetime has passed since that one.
    pub(super) fn is_renewal_due(&self, now: Moment) -> bool {
        let due_ms = self.state.renewal().map(|renewal| self.stored_ms.saturating_add(renewal));
        self.state.renewed() > self.stored_ms && due_ms.is_some_and(|due_ms| due_ms <= now.mono_ms)
    }

    /// Whether it is read, and its lifetime depends on that.
    pub(super) fn is_in_use(&self) -> bool {
        self.state.renewal().is_some() && self.is_read()
    }
}
