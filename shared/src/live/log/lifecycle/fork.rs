//! The messages that a fork begins with: copies of those of its source, under their ids.
//!
//! They are made outside of the writer's lock, since what is before a position never changes: first they are counted, in slices, then their memory
//! is reserved, then they are copied. Under the lock they only move into the channel.

use std::{ops::RangeInclusive, sync::Arc};

use bytes::Bytes;

use super::{Inherited, SLICE, Staged};
use crate::{
    live::{
        clock::Moment,
        log::{Channel, Log, kind::Kind, streams::Entry, writer::Writer},
    },
    pure::{
        Cursor, Draft, History, Message, Payload,
        stream::{Create, Fork, StreamError, StreamInfo, StreamOp, StreamReply},
    },
};

/// The messages of a source that a fork inherits.
#[derive(Default)]
struct Originals {
    messages: Vec<Arc<Message>>,
    /// The memory of copies of them in bytes.
    bytes: usize,
}

impl Log {
    /// Creates a fork, or finds the same one.
    pub(super) fn fork(&self, create: &Create, now: Moment) -> Result<StreamReply, StreamError> {
        loop {
            let inherited = self.inherited(create, now)?;
            // Otherwise it existed, and has been deleted since: its source has to be looked at.
            if let Some(reply) = self.try_fork(create, inherited, now) {
                return reply;
            }
        }
    }

    /// As [`fork`](Self::fork), with the messages of its source; without any, it has to exist: `None` if it does not.
    pub(super) fn try_fork(
        &self,
        create: &Create,
        mut inherited: Option<Inherited>,
        now: Moment,
    ) -> Option<Result<StreamReply, StreamError>> {
        let mut writer = self.writer.lock();
        if let Some(inherited) = &inherited {
            writer.recount(create.owner.as_ref(), inherited.bytes, 0);
        }
        inherited.iter_mut().for_each(|inherited| inherited.is_reserved = false);
        self.expire_if_over(&mut writer, &create.channel, now);
        let is_known = inherited.is_some() || writer.streams.entries.contains_key(&create.channel);
        let op = StreamOp::Create(Box::new(create.clone()));
        let reply = is_known.then(|| self.make(&mut writer, &op, &mut inherited, now));
        self.unlock(writer, &[]);
        reply
    }

    /// The messages that a fork begins with; `None` if it exists.
    ///
    /// # Errors
    /// When it cannot be created. Nothing was copied then.
    pub(in crate::live) fn inherited(&self, create: &Create, now: Moment) -> Result<Option<Inherited>, StreamError> {
        let Some(fork) = &create.fork else { return Ok(None) };
        let (source, channel, most) = {
            let mut writer = self.writer.lock();
            self.expire_if_over(&mut writer, &create.channel, now);
            self.expire_if_over(&mut writer, &fork.source, now);
            let found = writer.source(create, fork, now);
            self.unlock(writer, &[]);
            let Some(found) = found? else { return Ok(None) };
            found
        };
        source.require_source(create, fork)?;
        let at = fork.at.unwrap_or(source.tail);
        let found = undisturbed(&channel, || {
            let mut originals = Originals::default();
            originals.add(create, &channel, Cursor::ZERO..=at, usize::MAX, most)?;
            let part = originals.add_sub(create, fork, &channel, &source, most)?;
            Ok((originals, part))
        })?;
        let ((Originals { messages, bytes }, part), dropped) = found;
        {
            let mut writer = self.writer.lock();
            writer.require_space(create.owner.as_ref(), bytes, &Staged::at(Cursor::ZERO))?;
            writer.recount(create.owner.as_ref(), 0, bytes);
        }
        let mut history = History::default();
        for original in messages {
            let draft = Draft { channel: create.channel.clone(), ..original.draft.clone() };
            let mut copy = Message::new(original.id, draft);
            copy.enter(&self.forms, now.mono_ms);
            history.push(Arc::new(copy));
        }
        let owner = create.owner.clone();
        Ok(Some(Inherited { source, history, owner, is_reserved: true, dropped, bytes, part }))
    }

    /// About how many messages a fork copies, and their bytes of data: 0 if there is nothing to fork.
    #[must_use]
    pub fn inherited_size(&self, fork: &Fork) -> (usize, usize) {
        let Some(channel) = self.find(&fork.source) else { return (0, 0) };
        let history = channel.history.lock();
        let before = history.range(Cursor::ZERO, fork.at.unwrap_or(Cursor::MAX)).len();
        let sub = usize::try_from(fork.sub).unwrap_or(usize::MAX);
        let messages = before.saturating_add(sub).min(history.len());
        // As large as its messages are on average.
        (messages, history.bytes() / history.len().max(1) * messages)
    }
}

impl Writer {
    /// The source of a fork, its channel, and the most memory that copies can take; `None` if the fork exists.
    fn source(
        &self,
        create: &Create,
        fork: &Fork,
        now: Moment,
    ) -> Result<Option<(StreamInfo, Arc<Channel>, usize)>, StreamError> {
        let entries = &self.streams.entries;
        if entries.contains_key(&create.channel) {
            return Ok(None);
        }
        self.require_unused(&create.channel)?;
        match entries.get(&fork.source) {
            None => Err(StreamError::NoSource(fork.source.clone())),
            Some(entry) if entry.is_over(now) => Err(StreamError::NoSource(fork.source.clone())),
            Some(Entry { channel: None, .. }) => Err(StreamError::SourceGone(fork.source.clone())),
            Some(Entry { channel: Some(channel), state, .. }) => {
                Ok(Some((state.info(), channel.clone(), self.pool(Kind::Stream).most())))
            }
        }
    }
}

/// What `read` finds in `channel`, and the newest message that it had dropped before. It is read again if more is dropped in the meantime: a fork would
/// have a part of what was removed.
pub(super) fn undisturbed<T>(
    channel: &Channel,
    mut read: impl FnMut() -> Result<T, StreamError>,
) -> Result<(T, Option<Cursor>), StreamError> {
    let dropped = || channel.history.lock().dropped_with_copies();
    let mut before = dropped();
    loop {
        let found = read();
        let after = dropped();
        if after == before {
            return found.map(|found| (found, before));
        }
        before = after;
    }
}

impl Originals {
    /// Adds at most `count` messages after the first and up to the last cursor of `range`. Each slice locks the history, and is given up as soon
    /// as copies would take more than `most` bytes.
    fn add(
        &mut self,
        create: &Create,
        channel: &Channel,
        range: RangeInclusive<Cursor>,
        count: usize,
        most: usize,
    ) -> Result<(), StreamError> {
        let (mut after, last) = range.into_inner();
        let mut left = count;
        while left > 0 {
            let known = self.messages.len();
            self.messages.extend(channel.history.lock().range(after, last).take(left.min(SLICE)).cloned());
            let added = &self.messages[known..];
            let Some(newest) = added.last() else { break };
            (after, left) = (newest.id, left - added.len());
            let footprint =
                |message: &Arc<Message>| message.footprint() - message.draft.channel.len() + create.channel.len();
            self.bytes += added.iter().map(footprint).sum::<usize>();
            if self.bytes > most {
                return Err(StreamError::Full { limit: most });
            }
        }
        Ok(())
    }

    /// Adds what `Stream-Fork-Sub-Offset` says: so many messages of JSON after the others, or one whole append of bytes. Returns a part of one.
    fn add_sub(
        &mut self,
        create: &Create,
        fork: &Fork,
        channel: &Channel,
        source: &StreamInfo,
        most: usize,
    ) -> Result<Option<Payload>, StreamError> {
        if fork.sub == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(fork.sub).map_err(|_| StreamError::ForkSubOffset)?;
        let after = fork.at.unwrap_or(source.tail)..=source.tail;
        if source.content_type.is_json() {
            let known = self.messages.len();
            self.add(create, channel, after, wanted, most)?;
            return if self.messages.len() - known < wanted { Err(StreamError::ForkSubOffset) } else { Ok(None) };
        }
        let next = channel.history.lock().range(*after.start(), *after.end()).next().cloned();
        match next.as_ref().and_then(|next| next.draft.payload.bytes()) {
            Some(bytes) if bytes.len() == wanted => self.add(create, channel, after, 1, most).map(|()| None),
            // A copy: a slice would keep the memory of the whole append, and count less.
            Some(bytes) if bytes.len() > wanted => {
                Ok(Some(Payload::from_bytes(Bytes::copy_from_slice(&bytes[..wanted]))))
            }
            _ => Err(StreamError::ForkSubOffset),
        }
    }
}
