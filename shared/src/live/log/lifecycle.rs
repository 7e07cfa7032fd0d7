//! The lifecycle of streams: what is asked of one, and how it ends.
//!
//! Everything is behind the writer's lock, where the order of messages is made: what an append depends on cannot change before it is made.
//! The messages of a stream are in the history of its channel, as any other's, but no limit of age, number or memory drops them: they count in
//! a budget of their own, and what exceeds it is rejected.

use std::{collections::HashMap, sync::Arc};

use super::{Log, SLICE, writer::Writer};
use crate::{
    live::clock::Moment,
    pure::{
        ChannelName, Cursor, Draft, Message,
        stream::{Append, Check, End, EndReason, Outcome, Producer, StreamError, StreamInfo, StreamOp, StreamReply},
    },
};

mod changes;
mod create;
mod fork;

use changes::drafts;

/// The most that a producer adds to a stream, besides its name.
const PRODUCER: usize = 128;
/// Beyond so many messages of ended streams, a slice of the sweep ends: they are freed before the next one.
const MAX_ENDED: usize = 1_024;

impl Log {
    /// Appends `drafts` as [`append`](Self::append), unless one of them is for a stream that does not accept it; none is appended then.
    ///
    /// # Errors
    /// The problem of the first such draft.
    pub fn publish(&self, drafts: Vec<Draft>, now: impl Into<Moment>) -> Result<Vec<Cursor>, StreamError> {
        let now = now.into();
        let mut writer = self.writer.lock();
        if !writer.streams.is_empty()
            && let Err(refused) = self.check_published(&mut writer, &drafts, now)
        {
            self.unlock(writer, &[]);
            return Err(refused);
        }
        let (messages, ids) = self.place(&writer, drafts, now);
        self.insert(writer, messages, now);
        Ok(ids)
    }

    fn check_published(&self, writer: &mut Writer, drafts: &[Draft], now: Moment) -> Result<(), StreamError> {
        let mut bytes: HashMap<Option<Arc<str>>, usize> = HashMap::new();
        for draft in drafts {
            if !writer.streams.entries.contains_key(&draft.channel) {
                continue;
            }
            self.end_if_over(writer, &draft.channel, now);
            // Otherwise a deleted one whose name is in use by its forks: its channel is one as any other.
            if let Ok(entry) = writer.streams.get(&draft.channel) {
                entry.state.check_published()?;
                *bytes.entry(entry.owner.clone()).or_default() += draft.footprint();
            }
        }
        writer.require_space(None, bytes.values().sum())?;
        bytes.iter().try_for_each(|(owner, bytes)| writer.require_space(owner.as_ref(), *bytes))
    }

    /// Applies an operation on a stream.
    ///
    /// # Errors
    /// Why it cannot be done; nothing was changed then.
    pub fn stream(&self, op: StreamOp, now: impl Into<Moment>) -> Result<StreamReply, StreamError> {
        let now = now.into();
        if let StreamOp::Create(create) = &op
            && create.fork.is_some()
        {
            return self.fork(create, now);
        }
        let mut writer = self.writer.lock();
        let reply = match op {
            StreamOp::Create(create) => self.create_stream(&mut writer, &create, &mut None, now),
            StreamOp::Append(append) => self.append_to_stream(&mut writer, &append, now),
            StreamOp::Delete(channel) => self.delete_stream(&mut writer, &channel, now),
        };
        self.unlock(writer, &[]);
        reply
    }

    /// What readers know of the stream of `channel`. With `renews`, it counts as used.
    ///
    /// # Errors
    /// When there is none, or it is deleted.
    pub fn stream_info(
        &self,
        channel: &ChannelName,
        renews: bool,
        now: impl Into<Moment>,
    ) -> Result<StreamInfo, StreamError> {
        let now = now.into();
        let mut writer = self.writer.lock();
        self.end_if_over(&mut writer, channel, now);
        let info = writer.streams.get(channel).map(|entry| {
            if renews {
                entry.state.renew(now.mono_ms);
            }
            entry.state.info()
        });
        self.unlock(writer, &[]);
        info
    }

    /// Ends streams whose lifetime is over: some of them, with at most about a thousand messages but for the last. Returns whether there may be
    /// more.
    pub fn sweep_streams(&self, now: impl Into<Moment>) -> bool {
        let now = now.into();
        let mut writer = self.writer.lock();
        let (mut left, before) = (SLICE, writer.messages());
        while left > 0
            && before - writer.messages() < MAX_ENDED
            && let Some((due, _)) = writer.streams.due.first()
            && *due <= now.mono_ms
            && let Some((_, name)) = writer.streams.due.pop_first()
        {
            left -= 1;
            self.end_if_over(&mut writer, &name, now);
            // It may have been used since.
            writer.watch_lifetime(&name, now);
        }
        if let Some(name) = writer.streams.unforgotten.pop() {
            writer.forget_stream(&name);
        }
        let is_due = writer.streams.due.first().is_some_and(|(due, _)| *due <= now.mono_ms);
        let has_more = is_due || !writer.streams.unforgotten.is_empty();
        self.unlock(writer, &[]);
        has_more
    }

    fn delete_stream(
        &self,
        writer: &mut Writer,
        channel: &ChannelName,
        now: Moment,
    ) -> Result<StreamReply, StreamError> {
        self.end_if_over(writer, channel, now);
        let info = writer.streams.get(channel)?.state.info();
        self.end_stream(writer, channel, EndReason::Deleted, now);
        Ok(StreamReply { info, outcome: Outcome::Done })
    }

    fn append_to_stream(&self, writer: &mut Writer, append: &Append, now: Moment) -> Result<StreamReply, StreamError> {
        self.end_if_over(writer, &append.channel, now);
        let entry = writer.streams.get(&append.channel)?;
        if let Check::Repeated(seq) = entry.state.check(append, now.mono_ms)? {
            entry.state.renew(now.mono_ms);
            return Ok(StreamReply { info: entry.state.info(), outcome: Outcome::Repeated(seq) });
        }
        let drafts = drafts(&append.channel, &append.payloads, append.user.as_ref());
        let growth = append.producer.as_ref().map_or(0, |producer| PRODUCER + producer.id.len());
        let owner = entry.owner.clone();
        // A stream that is only closed takes next to nothing, and its readers wait for that.
        if !drafts.is_empty() {
            writer.require_space(owner.as_ref(), drafts.iter().map(Draft::footprint).sum::<usize>() + growth)?;
        }
        writer.streams.get(&append.channel)?.state.accept(append, now.mono_ms);
        self.add_drafts(writer, drafts, now);
        if append.is_closing {
            self.close_stream(writer, &append.channel, append.producer.as_ref(), now)?;
        }
        writer.count_stream(&append.channel);
        Ok(StreamReply { info: writer.streams.get(&append.channel)?.state.info(), outcome: Outcome::Done })
    }

    pub(super) fn add_drafts(&self, writer: &mut Writer, drafts: Vec<Draft>, now: Moment) {
        let (messages, _) = self.place(writer, drafts, now);
        let touched = self.insert_all(writer, messages, now);
        writer.wake_later(&touched);
    }

    /// Closes the stream at the next position.
    pub(super) fn close_stream(
        &self,
        writer: &mut Writer,
        channel: &ChannelName,
        by: Option<&Producer>,
        now: Moment,
    ) -> Result<(), StreamError> {
        let at = writer.last.next_in(self.epoch, now.time_ms);
        let entry = writer.streams.get(channel)?;
        entry.state.close(at, by.cloned());
        let channel = entry.channel.clone();
        if let Some(channel) = &channel {
            channel.set_lifecycle(entry.state.lifecycle());
        }
        // After it: no reader passes the position of the end without seeing it.
        self.advance_to(writer, at);
        writer.wake_later(channel.as_slice());
        Ok(())
    }

    /// Ends the stream if its lifetime is over. One that is read is in use.
    pub(super) fn end_if_over(&self, writer: &mut Writer, name: &ChannelName, now: Moment) {
        if let Some(entry) = writer.streams.entries.get_mut(name)
            && entry.is_read()
        {
            entry.state.renew(now.mono_ms);
        }
        if writer.streams.entries.get(name).is_some_and(|entry| entry.is_over(now)) {
            self.end_stream(writer, name, EndReason::Expired, now);
        }
    }

    /// Removes a stream and its messages. If there are forks of it, its name stays in use until they are removed.
    fn end_stream(&self, writer: &mut Writer, name: &ChannelName, reason: EndReason, now: Moment) {
        let at = writer.last.next_in(self.epoch, now.time_ms);
        let Some(entry) = writer.streams.entries.get_mut(name) else { return };
        let Some(channel) = entry.channel.take() else { return };
        let (info, has_forks) = (entry.state.info(), entry.forks > 0);
        if let Some(due) = entry.due.take() {
            writer.streams.due.remove(&(due, name.clone()));
        }
        channel.end_stream(info.created, End { id: at, reason });
        // As above. What is removed is then lost at a position that readers see. No reader that begins later is at the position of the end.
        self.advance_to(writer, at.next_in(self.epoch, now.time_ms));
        writer.wake_later(std::slice::from_ref(&channel));
        writer.remove_stream(name, &channel, info.start, at);
        if !has_forks {
            writer.forget_stream(name);
        }
    }

    /// The log ends at `at`, where there is no message.
    fn advance_to(&self, writer: &mut Writer, at: Cursor) {
        writer.last = at;
        self.publish_head(at);
    }

    /// The messages of `drafts` with the next ids.
    pub(in crate::live::log) fn place(
        &self,
        writer: &Writer,
        drafts: Vec<Draft>,
        now: Moment,
    ) -> (Vec<Message>, Vec<Cursor>) {
        let mut id = writer.last;
        let place = |draft| {
            id = id.next_in(self.epoch, now.time_ms);
            Message::new(id, draft)
        };
        let messages: Vec<Message> = drafts.into_iter().map(place).collect();
        let ids = messages.iter().map(|message| message.id).collect();
        (messages, ids)
    }
}

#[cfg(test)]
mod tests;
