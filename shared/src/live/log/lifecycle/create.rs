//! The creation of streams and forks.
//!
//! A fork has copies of the messages of its source, under their ids. They are made outside of the lock: what is before a position never
//! changes.

use std::sync::Arc;

use bytes::Bytes;

use super::changes::drafts;
use crate::{
    live::{
        clock::Moment,
        log::{Channel, Log, streams::Entry, writer::Writer},
    },
    pure::{
        Cursor, Draft, Message, Payload,
        stream::{Create, Outcome, StreamError, StreamReply, StreamState},
    },
};

/// The messages that a fork begins with.
pub(super) struct Inherited {
    /// The state of the source when they were copied.
    source: StreamState,
    messages: Vec<Message>,
    /// The first bytes of the append after them.
    part: Option<Payload>,
}

impl Log {
    pub(super) fn create_stream(
        &self,
        writer: &mut Writer,
        create: &Create,
        inherited: Option<Inherited>,
        now: Moment,
    ) -> Result<StreamReply, StreamError> {
        self.end_if_over(writer, &create.channel, now);
        match writer.streams.entries.get(&create.channel) {
            Some(Entry { channel: None, .. }) => return Err(StreamError::NameTaken(create.channel.clone())),
            Some(entry) => {
                entry.state.require_same(create)?;
                return Ok(StreamReply { info: entry.state.info(), outcome: Outcome::Repeated(None) });
            }
            None => {}
        }
        let is_used = |channel: &Arc<Channel>| !channel.history.lock().is_empty();
        if writer.channels.get(&create.channel).is_some_and(is_used) {
            return Err(StreamError::ChannelInUse(create.channel.clone()));
        }
        if let (Some(fork), Some(Inherited { source, .. })) = (&create.fork, &inherited) {
            match writer.streams.get(&fork.source) {
                Ok(entry) if entry.state.info().created == source.info().created => {}
                _ => return Err(StreamError::SourceGone(fork.source.clone())),
            }
        }
        let source = inherited.as_ref().map(|inherited| &inherited.source);
        let created = writer.last.next_in(self.epoch, now.time_ms);
        let mut state = StreamState::new(create, source, created, now.mono_ms);
        let (part, copies) = match inherited {
            None => (None, Vec::new()),
            Some(Inherited { source, messages, part }) => {
                let start = source.info().start;
                let at = create.fork.as_ref().and_then(|fork| fork.at).unwrap_or(source.info().tail);
                state.inherit(start, messages.last().map_or(at.max(start), |last| last.id));
                (part, messages)
            }
        };
        let payloads: Vec<Payload> = part.into_iter().chain(create.payloads.iter().cloned()).collect();
        let drafts = drafts(&create.channel, &payloads, create.user.as_ref());
        let messages = drafts.iter().map(Draft::footprint).chain(copies.iter().map(Message::footprint)).sum::<usize>();
        let owner = create.owner.as_ref();
        let names = create.channel.len() + owner.map_or(0, |owner| owner.len());
        writer.require_space(owner, messages + state.footprint() + names + Channel::OVERHEAD)?;
        writer.last = created;
        writer.add_stream(&create.channel, state, owner, copies, now);
        self.publish_head(created);
        self.add_drafts(writer, drafts, now);
        if create.is_closed {
            self.close_stream(writer, &create.channel, None, now)?;
        }
        Ok(StreamReply { info: writer.streams.get(&create.channel)?.state.info(), outcome: Outcome::Done })
    }

    /// Copies of the messages of the source of a fork up to where it begins; `None` if there is nothing to create.
    pub(super) fn inherited(&self, create: &Create, now: Moment) -> Result<Option<Inherited>, StreamError> {
        let Some(fork) = &create.fork else { return Ok(None) };
        let (source, channel) = {
            let entries = &self.writer.lock().streams.entries;
            if entries.get(&create.channel).is_some_and(|entry| !entry.is_over(now)) {
                return Ok(None);
            }
            match entries.get(&fork.source) {
                None => return Err(StreamError::NoSource(fork.source.clone())),
                Some(entry) if entry.is_over(now) => return Err(StreamError::NoSource(fork.source.clone())),
                Some(Entry { channel: None, .. }) => return Err(StreamError::SourceGone(fork.source.clone())),
                Some(Entry { channel: Some(channel), state, .. }) => (state.clone(), channel.clone()),
            }
        };
        source.require_source(create, fork)?;
        let info = source.info();
        let at = fork.at.unwrap_or(info.tail);
        let (mut originals, after): (Vec<_>, Vec<_>) = {
            let history = channel.history.lock();
            let wanted = usize::try_from(fork.sub).unwrap_or(usize::MAX).min(history.len());
            let after = history.range(at, info.tail).take(wanted.max(1)).cloned().collect();
            (history.range(Cursor::ZERO, at).cloned().collect(), after)
        };
        let mut part = None;
        if fork.sub > 0 {
            let wanted = usize::try_from(fork.sub).map_err(|_| StreamError::ForkSubOffset)?;
            if info.content_type.is_json() {
                if after.len() < wanted {
                    return Err(StreamError::ForkSubOffset);
                }
                originals.extend(after);
            } else {
                let next = after.into_iter().next().ok_or(StreamError::ForkSubOffset)?;
                let length = next.draft.payload.bytes().map_or(0, |bytes| bytes.len());
                match next.draft.payload.bytes() {
                    Some(_) if length == wanted => originals.push(next),
                    Some(bytes) if length > wanted => {
                        // A copy: a slice would keep the memory of the whole append, and count less.
                        part = Some(Payload::from_bytes(Bytes::copy_from_slice(&bytes[..wanted])));
                    }
                    _ => return Err(StreamError::ForkSubOffset),
                }
            }
        }
        let copy = |original: &Arc<Message>| {
            Message::new(original.id, Draft { channel: create.channel.clone(), ..original.draft.clone() })
        };
        Ok(Some(Inherited { source, messages: originals.iter().map(copy).collect(), part }))
    }
}
