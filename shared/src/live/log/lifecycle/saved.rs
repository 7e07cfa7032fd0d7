//! Streams as a bus stores them: all of them at one moment, and how they are restored from that.

use std::{collections::HashMap, sync::Arc};

use super::{Change, Inherited};
use crate::{
    live::{
        clock::Moment,
        log::{Log, SLICE, streams::Entry, writer::Writer},
    },
    pure::{
        ChannelName, Cursor, History, Message,
        stream::{EndReason, SavedCopies, SavedStream, StreamRecord, StreamState},
    },
};

/// A stream whose change could not be stored is looked at again after so many milliseconds.
const RETRY_MS: u64 = 1_000;

/// What a stream begins with.
pub(super) struct Beginning {
    pub(super) history: History,
    /// Bytes of memory of its messages.
    pub(super) bytes: usize,
    /// Whose memory was reserved for them, and how much.
    pub(super) reserved: Option<(Option<Arc<str>>, usize)>,
}

impl Beginning {
    pub(super) fn of(inherited: Option<Inherited>) -> Self {
        match inherited {
            None => Self { history: History::default(), bytes: 0, reserved: None },
            Some(Inherited { history, bytes, owner, is_reserved, .. }) => {
                Self { history, bytes, reserved: is_reserved.then_some((owner, bytes)) }
            }
        }
    }
}

/// A stream that was read from a checkpoint, and its messages.
pub(in crate::live) struct Stored {
    pub(in crate::live) saved: SavedStream,
    pub(in crate::live) messages: HashMap<Cursor, Message>,
    /// Messages up to here may be missing, since something is damaged.
    pub(in crate::live) damaged: Cursor,
}

impl Log {
    /// All streams, as records of a checkpoint.
    pub(in crate::live) fn saved_streams(&self, now: Moment) -> Vec<StreamRecord> {
        let writer = self.writer.lock();
        let mut all: Vec<_> = writer.streams.entries.iter().collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all.into_iter().map(|(name, entry)| StreamRecord::Saved(entry.save(name, now))).collect()
    }

    /// Restores the streams of a checkpoint. If messages of one are missing, they were before `oldest`, or where something is damaged: then all before
    /// that is lost.
    ///
    /// Returns the channels of those, and when each was created.
    pub(in crate::live) fn restore_streams(
        &self,
        streams: Vec<Stored>,
        oldest: Cursor,
        now: Moment,
    ) -> Vec<(ChannelName, Cursor)> {
        let mut writer = self.writer.lock();
        let incomplete = self.restore_all(&mut writer, streams, oldest, now);
        self.unlock(writer, &[]);
        incomplete
    }

    /// The same under the lock of the writer.
    pub(super) fn restore_all(
        &self,
        writer: &mut Writer,
        streams: Vec<Stored>,
        oldest: Cursor,
        now: Moment,
    ) -> Vec<(ChannelName, Cursor)> {
        let mut incomplete = Vec::new();
        let names: Vec<ChannelName> = streams.iter().map(|stored| stored.saved.channel.clone()).collect();
        for Stored { mut saved, messages, damaged } in streams {
            if saved.is_deleted {
                writer.add_deleted(&saved, now);
                continue;
            }
            let mut messages: Vec<Message> = messages.into_values().collect();
            messages.sort_unstable_by_key(|message| message.id);
            // More of them follow a checkpoint when they were written again behind it.
            if (messages.len() as u64) < saved.messages {
                incomplete.push((saved.channel.clone(), saved.state.created()));
                let oldest = oldest.max(damaged);
                lose_before(&mut saved, oldest);
                messages.retain(|message| message.id > oldest);
            }
            writer.add_stream(&saved, History::default(), 0, now);
            for message in messages {
                self.add_stored(writer, message, now);
            }
        }
        names.iter().for_each(|name| writer.count_fork(name));
        let unforgotten =
            writer.streams.entries.iter().filter(|(_, entry)| entry.channel.is_none() && entry.forks == 0);
        let unforgotten: Vec<ChannelName> = unforgotten.map(|(name, _)| name.clone()).collect();
        writer.streams.unforgotten.extend(unforgotten);
        incomplete
    }

    /// Adds a message that the stream has which was created at `created`, unless it is there or was purged.
    pub(in crate::live) fn restore_message(&self, message: Message, created: Cursor, now: Moment) {
        let mut writer = self.writer.lock();
        let known = writer.streams.known(&message.draft.channel);
        if known.is_ok_and(|entry| entry.state.info().created == created) {
            self.add_stored(&mut writer, message, now);
        }
    }

    fn add_stored(&self, writer: &mut Writer, mut message: Message, now: Moment) {
        let name = message.draft.channel.clone();
        let Ok(entry) = writer.streams.get(&name) else { return };
        let Some(channel) = entry.channel.clone() else { return };
        let (bytes, length, owner) = (message.footprint(), message.len(), entry.owner.clone());
        message.enter(&self.forms, now.mono_at(message.time()));
        let message = Arc::new(message);
        if !channel.history.lock().insert(message.clone()) {
            message.leave();
            return;
        }
        entry.of_messages += bytes;
        writer.bytes += length;
        writer.count_restored(owner.as_ref(), bytes);
    }

    /// The ids of the messages of the stream of `channel` that was created at `created`: those after the first one of `range`, and up to the second one.
    /// None if there is no such stream.
    pub(in crate::live) fn stream_ids(&self, stream: (&ChannelName, Cursor), range: (Cursor, Cursor)) -> Vec<Cursor> {
        self.of_stream(stream, |history| history.range(range.0, range.1).map(|message| message.id).collect())
    }

    /// How many [there are](Self::stream_ids).
    pub(in crate::live) fn stream_count(&self, stream: (&ChannelName, Cursor), range: (Cursor, Cursor)) -> usize {
        self.of_stream(stream, |history| history.range(range.0, range.1).len())
    }

    /// The oldest message of such a stream.
    pub(in crate::live) fn stream_oldest(&self, stream: (&ChannelName, Cursor)) -> Option<Cursor> {
        self.of_stream(stream, |history| history.oldest().map(|oldest| oldest.id))
    }

    /// The message of such a stream that has this id.
    pub(in crate::live) fn stream_message(&self, stream: (&ChannelName, Cursor), id: Cursor) -> Option<Arc<Message>> {
        self.of_stream(stream, |history| history.get(id).cloned())
    }

    /// What `of` says of the messages of the stream of `channel` that was created at `created`, if there is such a stream.
    fn of_stream<T: Default>(&self, (channel, created): (&ChannelName, Cursor), of: impl FnOnce(&History) -> T) -> T {
        let writer = self.writer.lock();
        let entry = writer.streams.known(channel).ok().filter(|entry| entry.state.info().created == created);
        let Some(channel) = entry.and_then(|entry| entry.channel.clone()) else { return T::default() };
        drop(writer);
        let history = channel.history.lock();
        of(&history)
    }

    /// How often streams have lost messages: nothing that they need has become less as long as this is the same.
    pub(in crate::live) fn stream_losses(&self) -> u64 {
        self.writer.lock().streams.losses
    }

    /// Up to where a purge of the stream of `channel` removes messages, and when it was created; `None` if there is no stream.
    pub(in crate::live) fn newest_of_stream(&self, channel: &ChannelName) -> Option<(Option<Cursor>, Cursor)> {
        let writer = self.writer.lock();
        let entry = writer.streams.known(channel).ok()?;
        let newest = entry.channel.as_ref()?.history.lock().newest().map(|newest| newest.id);
        Some((newest, entry.state.info().created))
    }

    /// The streams of a log that is stored whose end or use is to be stored: some of them. Whoever asks decides that with
    /// [`decide_due`](Self::decide_due).
    pub(in crate::live) fn due_streams(&self, now: Moment) -> Vec<ChannelName> {
        let mut writer = self.writer.lock();
        let mut due = Vec::new();
        let mut left = SLICE;
        while left > 0
            && let Some((at, _)) = writer.streams.due.first()
            && *at <= now.mono_ms
            && let Some((_, name)) = writer.streams.due.pop_first()
        {
            left -= 1;
            let Some(entry) = writer.streams.entries.get_mut(&name) else { continue };
            if entry.is_in_use() {
                entry.state.renew(now.mono_ms);
            }
            if entry.is_over(now) || entry.is_renewal_due(now) {
                entry.due = Some(now.mono_ms + RETRY_MS);
                writer.streams.due.insert((now.mono_ms + RETRY_MS, name.clone()));
                due.push(name);
            } else {
                writer.watch_lifetime(&name, now);
            }
        }
        writer.forget_next();
        due
    }

    /// What is to be stored of a stream that is due; `None` if nothing is.
    pub(in crate::live) fn decide_due(
        &self,
        channel: &ChannelName,
        staged: &super::Staged,
        now: Moment,
    ) -> Option<Change> {
        let writer = self.writer.lock();
        let entry = writer.streams.known(channel).ok().filter(|_| staged.is_unchanged(channel))?;
        if entry.is_over(now) {
            drop(writer);
            return Some(self.ending(channel, EndReason::Expired, staged, now));
        }
        let time_ms = now.time_at(entry.state.renewed());
        let record = StreamRecord::Renew { channel: channel.clone(), time_ms };
        entry.is_renewal_due(now).then(|| Change::stream(record))
    }

    /// Looks at the stream of `channel` when its lifetime or its use requires it next, and not after the delay that follows
    /// [`due_streams`](Self::due_streams).
    pub(in crate::live) fn watch_stream(&self, channel: &ChannelName, now: Moment) {
        self.writer.lock().watch_again(channel, now);
    }

    /// All streams that are not deleted, and when each was created.
    pub(in crate::live) fn stream_names(&self) -> Vec<(ChannelName, Cursor)> {
        let writer = self.writer.lock();
        let entries = writer.streams.entries.iter().filter(|(_, entry)| entry.channel.is_some());
        entries.map(|(name, entry)| (name.clone(), entry.state.info().created)).collect()
    }

    /// When the stream of `channel` was created; `None` if there is none.
    pub(in crate::live) fn stream_created(&self, channel: &ChannelName) -> Option<Cursor> {
        self.writer.lock().streams.known(channel).ok().map(|entry| entry.state.info().created)
    }

    /// Whether the stream of `channel` has messages.
    pub(in crate::live) fn has_stream_messages(&self, channel: &ChannelName) -> bool {
        let writer = self.writer.lock();
        let Ok(entry) = writer.streams.known(channel) else { return false };
        entry.channel.as_ref().is_some_and(|channel| !channel.history.lock().is_empty())
    }

    /// Frees the memory that was reserved for a fork that is not created.
    pub(in crate::live) fn release(&self, inherited: &Inherited) {
        if inherited.is_reserved {
            self.writer.lock().recount(inherited.owner.as_ref(), inherited.bytes, 0);
        }
    }
}

impl Writer {
    /// Adds a stream that is deleted, and whose name is in use by its forks.
    pub(super) fn add_deleted(&mut self, saved: &SavedStream, now: Moment) {
        self.streams.entries.insert(saved.channel.clone(), Entry::deleted(saved, now));
        self.count_stream(&saved.channel);
    }
}

/// Everything up to `last` is lost.
fn lose_before(saved: &mut SavedStream, last: Cursor) {
    saved.dropped = saved.dropped.max(Some(last.min(saved.state.last())));
    if let Some(SavedCopies { end, dropped }) = &mut saved.copies {
        *dropped = (*dropped).max(Some(last.min(*end)));
    }
}

impl Entry {
    /// A deleted stream whose name is in use.
    fn deleted(saved: &SavedStream, now: Moment) -> Self {
        Self {
            state: StreamState::restore(&saved.state, |time_ms| now.mono_at(time_ms)),
            channel: None,
            forks: 0,
            owner: saved.owner.as_deref().map(Arc::from),
            of_messages: 0,
            counted: 0,
            due: None,
            stored_ms: now.mono_ms,
            assumed_ms: 0,
        }
    }

    pub(super) fn save(&self, name: &ChannelName, now: Moment) -> SavedStream {
        let history = self.channel.as_ref().map(|channel| channel.history.lock());
        let copied = history.as_ref().and_then(|history| history.copied());
        SavedStream {
            channel: name.clone(),
            owner: self.owner.as_deref().map(Into::into),
            state: self.state.save(|mono_ms| now.time_at(mono_ms)),
            is_deleted: self.channel.is_none(),
            dropped: history.as_ref().and_then(|history| history.dropped()),
            copies: copied.map(|(end, dropped)| SavedCopies { end, dropped }),
            messages: history.map_or(0, |history| history.len() as u64),
        }
    }
}
