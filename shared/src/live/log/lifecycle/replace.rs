//! Streams of a log that is a copy of its bus: what the bus has replaces what is here.

use std::{collections::HashMap, mem, sync::Arc};

use super::{Inherited, SLICE, Stored};
use crate::{
    live::{
        clock::Moment,
        log::{Channel, Log, writer::Writer},
    },
    pure::{
        ChannelName, Cursor, Draft, History, Loss, Message,
        stream::{End, EndReason, SavedStream},
    },
};

/// What a stream had before it was replaced.
struct Before {
    channel: Arc<Channel>,
    created: Cursor,
    /// Its newest message, unless that is a copy.
    newest: Option<Cursor>,
    /// What it had lost.
    lost: Loss,
}

impl Log {
    /// The same log, whose streams its bus stores: only the bus ends them.
    pub(in crate::live) fn with_stored_streams(self) -> Self {
        self.writer.lock().streams.is_stored = true;
        self
    }

    /// Replaces all streams by those that the bus has. They may have gone on while this process did not read them, or back, if the bus has lost
    /// something: at `at`, which is the newest position of the log, streams that do not exist any more end, and readers of those that have lost
    /// messages get a gap.
    pub(in crate::live) fn replace_streams(&self, streams: Vec<Stored>, at: Cursor, now: Moment) {
        let mut writer = self.writer.lock();
        let found: HashMap<ChannelName, Cursor> = streams
            .iter()
            .filter(|stored| !stored.saved.is_deleted)
            .map(|stored| (stored.saved.channel.clone(), stored.saved.state.created()))
            .collect();
        let before = writer.take_streams(&found, at);
        self.restore_all(&mut writer, streams, at, now);
        for Before { channel, created, newest, lost } in before {
            if found.get(&channel.name) == Some(&created) {
                let number = writer.next_loss();
                let mut history = channel.history.lock();
                let is_lost =
                    newest.is_some_and(|newest| history.get(newest).is_none() && Some(newest) > history.dropped());
                let lost = if is_lost { lost.with(Loss { up_to: at, number }) } else { lost };
                if lost.id() > history.dropped() {
                    history.mark_lost(lost);
                }
            }
            writer.wake_later(&[channel]);
        }
        self.unlock(writer, &[]);
    }

    /// What a fork begins with that was created in the state `saved`; `None` for another stream. Its source has to be as it was then.
    pub(in crate::live) fn inherited_by(&self, saved: &SavedStream, now: Moment) -> Option<Inherited> {
        let (created, copies) = (saved.state.created(), saved.copies?);
        let fork = saved.state.fork()?;
        let (source, channel) = {
            let writer = self.writer.lock();
            let entry = writer.streams.known(&fork.source).ok()?;
            (entry.state.info(), entry.channel.clone()?)
        };
        let (mut history, mut after) = (History::default(), Cursor::ZERO);
        loop {
            let slice: Vec<_> = channel.history.lock().range(after, copies.end).take(SLICE).cloned().collect();
            let Some(newest) = slice.last() else { break };
            after = newest.id;
            for original in slice {
                let draft = Draft { channel: saved.channel.clone(), ..original.draft.clone() };
                let mut copy = Message::new(original.id, draft);
                copy.enter(&self.forms, now.mono_at(created.ms));
                history.push(Arc::new(copy));
            }
        }
        let bytes = history.iter().map(|copy| copy.footprint()).sum();
        let owner = saved.owner.as_deref().map(Arc::from);
        Some(Inherited { source, history, owner, is_reserved: false, dropped: copies.dropped, bytes, part: None })
    }

    /// A stream as it is stored when its messages are purged, and the newest of them; `None` if there is none.
    pub(in crate::live) fn purged_stream(&self, channel: &ChannelName, now: Moment) -> Option<(SavedStream, Cursor)> {
        let (newest, created) = self.newest_of_stream(channel)?;
        let newest = newest?;
        let mut saved = self.saved_stream(channel, now)?;
        if newest > created || saved.copies.is_none() {
            saved.dropped = saved.dropped.max(Some(newest));
        }
        if let Some(copies) = &mut saved.copies {
            copies.dropped = copies.dropped.max(Some(newest));
        }
        saved.messages = 0;
        Some((saved, newest))
    }

    /// A stream as it is stored, without its messages; `None` if there is none.
    pub(in crate::live) fn saved_stream(&self, channel: &ChannelName, now: Moment) -> Option<SavedStream> {
        let writer = self.writer.lock();
        writer.streams.entries.get(channel).map(|entry| entry.save(channel, now))
    }
}

impl Writer {
    /// Takes all streams out, to be replaced by those that are `found` with when they were created; the others end at `at`.
    fn take_streams(&mut self, found: &HashMap<ChannelName, Cursor>, at: Cursor) -> Vec<Before> {
        let names: Vec<ChannelName> = self.streams.entries.keys().cloned().collect();
        let mut all = Vec::new();
        for name in names {
            let Some(entry) = self.streams.entries.get_mut(&name) else { continue };
            let (owner, counted) = (entry.owner.clone(), mem::take(&mut entry.counted));
            let (created, channel) = (entry.state.info().created, entry.channel.take());
            self.recount(owner.as_ref(), counted, 0);
            if let Some(channel) = channel {
                let is_same = found.get(&name) == Some(&created);
                let lost = {
                    let [dropped, marked] = channel.history.lock().losses();
                    dropped.with(marked)
                };
                let history = if is_same {
                    mem::take(&mut *channel.history.lock())
                } else {
                    let number = self.next_loss();
                    channel.end_stream(created, End { id: at, reason: EndReason::Deleted }, number);
                    channel.history.lock().end(Loss { up_to: at, number })
                };
                let newest = history.own(Cursor::ZERO, Cursor::MAX).next_back().map(|newest| newest.id);
                self.take_messages(&channel, history);
                self.recount(owner.as_ref(), channel.footprint(), 0);
                channel.leave_stream();
                // One that is replaced keeps its channel, with what its readers know.
                if !is_same && channel.is_unused() {
                    self.retire(&channel);
                }
                all.push(Before { channel, created, newest, lost });
            }
            self.streams.entries.remove(&name);
        }
        self.streams.starts.clear();
        self.streams.due.clear();
        self.streams.unforgotten.clear();
        all
    }
}
