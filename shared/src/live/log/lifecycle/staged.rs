//! What was decided and is not applied yet: later decisions are made against it.

use std::{collections::HashMap, sync::Arc};

use super::change::{Change, growth};
use crate::{
    live::{clock::Moment, log::Log},
    pure::{
        ChannelName, Cursor,
        stream::{StreamRecord, StreamState},
    },
};

/// See the module.
#[derive(Debug)]
pub(in crate::live) struct Staged {
    /// The last position that is used.
    pub(in crate::live) last: Cursor,
    /// Bytes of memory that streams will take in addition.
    pub(super) bytes: usize,
    /// The same of each owner that has a share.
    owners: HashMap<Arc<str>, usize>,
    /// The streams that change, as they will be; `None` for those that nothing can be decided about before that.
    streams: HashMap<ChannelName, Option<StreamState>>,
}

/// How a stream will be.
pub(super) enum Will<'a> {
    /// As it is.
    Stay,
    /// As this.
    Be(&'a StreamState),
    /// This has to be applied first.
    Change,
}

impl Staged {
    /// Nothing, after `last`.
    pub(in crate::live) fn at(last: Cursor) -> Self {
        Self { last, bytes: 0, owners: HashMap::new(), streams: HashMap::new() }
    }

    /// Whether no stream changes.
    pub(in crate::live) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether the stream of `channel` stays as it is.
    pub(in crate::live) fn is_unchanged(&self, channel: &ChannelName) -> bool {
        !self.streams.contains_key(channel)
    }

    /// How the stream of `channel` will be.
    pub(super) fn of(&self, channel: &ChannelName) -> Will<'_> {
        match self.streams.get(channel) {
            None => Will::Stay,
            Some(Some(state)) => Will::Be(state),
            Some(None) => Will::Change,
        }
    }

    /// Bytes of memory that streams of `owner` will take in addition.
    pub(super) fn owned(&self, owner: &Arc<str>) -> usize {
        self.owners.get(owner).copied().unwrap_or_default()
    }

    fn count(&mut self, owner: Option<&Arc<str>>, bytes: usize) {
        self.bytes += bytes;
        if let Some(owner) = owner {
            *self.owners.entry(owner.clone()).or_default() += bytes;
        }
    }
}

impl Log {
    /// Records changes that were decided: they are applied later.
    pub(in crate::live) fn stage(&self, changes: &[Change], staged: &mut Staged, now: Moment) {
        for change in changes {
            match change {
                Change::Message(message) => staged.last = message.id,
                Change::Stream(record, _) => staged.last = record.position().unwrap_or_default().max(staged.last),
            }
        }
        let writer = self.writer.lock();
        if writer.streams.is_empty() && changes.iter().all(|change| matches!(change, Change::Message(_))) {
            return;
        }
        // Of the stream that is created, if one is.
        let mut owner_of_new = None;
        for change in changes {
            let (channel, bytes, record) = match change {
                Change::Message(message) => (&message.draft.channel, message.footprint(), None),
                Change::Stream(record, inherited) => {
                    let copied = inherited.as_ref().filter(|inherited| !inherited.is_reserved);
                    let bytes = growth(record) + copied.map_or(0, |inherited| inherited.bytes);
                    (record.channel(), bytes, Some(&**record))
                }
            };
            if let Some(StreamRecord::Create(saved)) = record {
                owner_of_new = saved.owner.as_deref().map(Arc::from);
                staged.count(owner_of_new.as_ref(), bytes);
                staged.streams.insert(channel.clone(), None);
                continue;
            }
            let Ok(entry) = writer.streams.known(channel) else {
                if matches!(staged.streams.get(channel), Some(None)) {
                    staged.count(owner_of_new.as_ref(), bytes);
                }
                continue;
            };
            staged.count(entry.owner.as_ref(), bytes);
            let state = staged.streams.entry(channel.clone()).or_insert_with(|| Some(entry.state.clone()));
            match (&mut *state, record) {
                (None, _) => {}
                (Some(will), None) => advance(will, change, now),
                (Some(will), Some(StreamRecord::Append { producer, seq, .. })) => {
                    will.accept(producer.as_ref(), seq.as_deref(), now.mono_ms);
                }
                (Some(will), Some(StreamRecord::Close { at, by, .. })) => will.close(*at, by.clone()),
                (Some(_), Some(StreamRecord::Renew { .. } | StreamRecord::Purge { .. })) => {}
                (Some(_), Some(_)) => *state = None,
            }
        }
    }
}

fn advance(state: &mut StreamState, change: &Change, now: Moment) {
    if let Change::Message(message) = change {
        state.advance(message.id, now.mono_ms);
    }
}
