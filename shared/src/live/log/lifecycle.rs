//! The lifecycle of streams: what is asked of one, and how it ends.
//!
//! What is asked is [decided](decide) where the order of messages is made, and what was decided is [applied](apply): at once, or, on a bus with a
//! log on disk, once it is as durable as the setting promises. What an append depends on cannot change in between: decisions that are not applied
//! yet are [`Staged`]. The messages of a stream are in the history of its channel, as any other's, but no limit of age, number or memory drops them:
//! they count in a budget of their own, and what exceeds it is rejected.

use super::{Log, SLICE, writer::Writer};
use crate::{
    live::clock::Moment,
    pure::{
        ChannelName, Cursor, Draft, Message,
        stream::{EndReason, StreamError, StreamInfo, StreamOp, StreamReply},
    },
};

mod apply;
mod change;
mod changes;
mod create;
mod decide;
mod fork;
mod inherited;
mod replace;
mod saved;
mod staged;

pub(in crate::live) use change::Change;
pub(in crate::live) use decide::{Admission, Decision};
pub(in crate::live) use inherited::{Inherited, Reserved};
pub(in crate::live) use saved::Stored;
pub(in crate::live) use staged::Staged;

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
        loop {
            match self.admit(&writer, &drafts, &Staged::at(writer.last), now) {
                Ok(Admission::Expired(name)) => self.expire(&mut writer, &name, now),
                Ok(Admission::Admitted | Admission::Waits) => break,
                Err(refused) => {
                    self.unlock(writer, &[]);
                    return Err(refused);
                }
            }
        }
        let (messages, ids) = self.place(&writer, drafts, now);
        self.insert(writer, messages, now);
        Ok(ids)
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
        let reply = self.make(&mut writer, &op, &mut None, now);
        self.unlock(writer, &[]);
        reply
    }

    /// Decides what is asked, and applies it.
    fn make(
        &self,
        writer: &mut Writer,
        op: &StreamOp,
        inherited: &mut Option<Inherited>,
        now: Moment,
    ) -> Result<StreamReply, StreamError> {
        loop {
            match self.decide(writer, op, inherited, &Staged::at(writer.last), now)? {
                Decision::New(changes, reply) => {
                    self.apply_all(writer, changes, now);
                    return Ok(reply);
                }
                Decision::Repeated(reply) => {
                    writer.renew(op.channel(), now);
                    return Ok(reply);
                }
                Decision::Expired(name) => self.expire(writer, &name, now),
                // Nothing is staged, so nothing waits, and whoever forks has looked at the source.
                Decision::Waits | Decision::Forks => return Err(StreamError::NotFound(op.channel().clone())),
            }
        }
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
        self.expire_if_over(&mut writer, channel, now);
        let info = match writer.streams.known(channel) {
            // Its bus is about to end it.
            Ok(entry) if entry.is_over(now) => Err(StreamError::NotFound(channel.clone())),
            known => known.map(|entry| entry.state.info()),
        };
        if renews && info.is_ok() {
            writer.renew(channel, now);
        }
        self.unlock(writer, &[]);
        info
    }

    /// Whether there are streams, or deleted ones whose names are in use.
    pub(in crate::live) fn has_streams(&self) -> bool {
        !self.writer.lock().streams.is_empty()
    }

    /// Whether there is a stream of this name, perhaps a deleted one whose name is in use.
    pub(in crate::live) fn knows_stream(&self, channel: &ChannelName) -> bool {
        self.writer.lock().streams.entries.contains_key(channel)
    }

    /// Whether there is a stream of this name, which is not deleted.
    pub(in crate::live) fn has_stream(&self, channel: &ChannelName) -> bool {
        self.writer.lock().streams.known(channel).is_ok()
    }

    /// The stream was used now.
    pub(in crate::live) fn renew_stream(&self, channel: &ChannelName, now: Moment) {
        self.writer.lock().renew(channel, now);
    }

    /// Ends streams whose lifetime is over: some of them, with at most about a thousand messages but for the last. Returns whether there may be
    /// more. Not for a log that is stored: its bus [ends them](Self::due_streams).
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
            self.expire_if_over(&mut writer, &name, now);
            // It may have been used since.
            writer.watch_lifetime(&name, now);
        }
        writer.forget_next();
        let is_due = writer.streams.due.first().is_some_and(|(due, _)| *due <= now.mono_ms);
        let has_more = is_due || !writer.streams.unforgotten.is_empty();
        self.unlock(writer, &[]);
        has_more
    }

    /// Ends the stream if its lifetime is over, unless that is to be stored.
    fn expire_if_over(&self, writer: &mut Writer, name: &ChannelName, now: Moment) {
        let Some(entry) = writer.streams.entries.get_mut(name) else { return };
        if entry.is_in_use() {
            entry.state.renew(now.mono_ms);
        }
        if !writer.streams.is_stored && writer.streams.entries.get(name).is_some_and(|entry| entry.is_over(now)) {
            self.expire(writer, name, now);
        }
    }

    fn expire(&self, writer: &mut Writer, name: &ChannelName, now: Moment) {
        let at = writer.last.next_in(self.epoch, now.time_ms);
        self.end_stream(writer, name, at, EndReason::Expired);
    }

    /// The messages of `drafts` with the next ids.
    pub(in crate::live::log) fn place(
        &self,
        writer: &Writer,
        drafts: Vec<Draft>,
        now: Moment,
    ) -> (Vec<Message>, Vec<Cursor>) {
        let messages = self.place_after(writer.last, drafts, now);
        let ids = messages.iter().map(|message| message.id).collect();
        (messages, ids)
    }

    /// The same after `last`.
    fn place_after(&self, last: Cursor, drafts: Vec<Draft>, now: Moment) -> Vec<Message> {
        let mut id = last;
        let place = |draft| {
            id = id.next_in(self.epoch, now.time_ms);
            Message::new(id, draft)
        };
        drafts.into_iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests;
