//! The streams of a log by name. They are behind the writer's lock.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::Channel;
use crate::{
    live::clock::Moment,
    pure::{
        ChannelName, Cursor,
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
}

pub(super) struct Entry {
    pub(super) state: StreamState,
    /// Its channel; `None` once it is deleted.
    pub(super) channel: Option<Arc<Channel>>,
    /// The number of streams that were forked from it and exist.
    pub(super) forks: usize,
    /// Bytes that it counts for, without its messages.
    pub(super) counted: usize,
    /// When its lifetime has to be checked.
    pub(super) due: Option<u64>,
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
    pub(super) fn get(&mut self, name: &ChannelName) -> Result<&mut Entry, StreamError> {
        match self.entries.get_mut(name) {
            None => Err(StreamError::NotFound(name.clone())),
            Some(Entry { channel: None, .. }) => Err(StreamError::Gone(name.clone())),
            Some(entry) => Ok(entry),
        }
    }

    /// A message was added to the channel of a stream.
    pub(super) fn advance(&mut self, name: &ChannelName, tail: Cursor, mono_ms: u64) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.state.advance(tail, mono_ms);
        }
    }
}

impl Entry {
    pub(super) fn is_over(&self, now: Moment) -> bool {
        self.channel.is_some() && self.state.left(now.time_ms, now.mono_ms) == Some(0)
    }
}
