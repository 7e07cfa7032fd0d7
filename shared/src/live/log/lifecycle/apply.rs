//! Applies what was decided, in its order, without checking anything: after a decision, and again when a log is loaded.

use super::{Change, Inherited, saved::Beginning};
use crate::{
    live::{
        clock::Moment,
        log::{Log, writer::Writer},
    },
    pure::{
        ChannelName, Cursor, Loss, Message,
        stream::{End, EndReason, Producer, SavedStream, StreamRecord},
    },
};

impl Log {
    /// Applies changes that a bus has stored, in their order.
    ///
    /// # Errors
    /// The first message that is not newer than what is before it. What is before it was applied.
    pub(in crate::live) fn apply(&self, changes: Vec<Change>, now: impl Into<Moment>) -> Result<(), Cursor> {
        let now = now.into();
        let mut writer = self.writer.lock();
        let mut last = writer.last;
        let mut is_placed = |change: &Change| match change {
            Change::Message(message) => std::mem::replace(&mut last, message.id) < message.id,
            Change::Stream(record, _) => {
                last = record.position().unwrap_or_default().max(last);
                true
            }
        };
        let bad = changes.iter().position(|change| !is_placed(change));
        let mut changes = changes;
        let bad = bad.and_then(|at| changes.drain(at..).next());
        self.apply_all(&mut writer, changes, now);
        self.unlock(writer, &[]);
        match bad {
            Some(Change::Message(message)) => Err(message.id),
            _ => Ok(()),
        }
    }

    /// The same under the lock of the writer.
    pub(super) fn apply_all(&self, writer: &mut Writer, changes: Vec<Change>, now: Moment) {
        let mut messages = Vec::new();
        for change in changes {
            match change {
                Change::Message(message) => messages.push(message),
                Change::Stream(record, inherited) => {
                    self.add_messages(writer, std::mem::take(&mut messages), now);
                    self.apply_record(writer, *record, inherited.map(|inherited| *inherited), now);
                }
            }
        }
        self.add_messages(writer, messages, now);
    }

    fn add_messages(&self, writer: &mut Writer, messages: Vec<Message>, now: Moment) {
        let touched = self.insert_all(writer, messages, now);
        writer.wake_later(&touched);
    }

    fn apply_record(&self, writer: &mut Writer, record: StreamRecord, inherited: Option<Inherited>, now: Moment) {
        match record {
            StreamRecord::Create(saved) => self.add_created(writer, &saved, inherited, now),
            StreamRecord::Append { channel, producer, seq, time_ms } => {
                let used_ms = now.mono_at(time_ms);
                if let Ok(entry) = writer.streams.get(&channel) {
                    entry.state.accept(producer.as_ref(), seq.as_deref(), used_ms);
                    entry.stored_ms = entry.stored_ms.max(used_ms);
                }
                writer.count_stream(&channel);
            }
            StreamRecord::Close { channel, at, by } => self.close_stream(writer, &channel, at, by),
            StreamRecord::End { channel, at, reason } => self.end_stream(writer, &channel, at, reason),
            StreamRecord::Purge { channel, up_to } => {
                // When it is read again, the bytes of these messages may be gone: then none of them has advanced the stream.
                let used_ms = now.mono_at(up_to.ms);
                if let Ok(entry) = writer.streams.get(&channel) {
                    entry.state.advance(up_to, used_ms);
                    entry.stored_ms = entry.stored_ms.max(used_ms);
                }
                writer.purge(&channel, up_to);
            }
            StreamRecord::Renew { channel, time_ms } => {
                let used_ms = now.mono_at(time_ms);
                if let Ok(entry) = writer.streams.get(&channel) {
                    entry.state.renew(used_ms);
                    entry.stored_ms = entry.stored_ms.max(used_ms);
                }
                writer.watch_again(&channel, now);
            }
            // Streams are restored before the changes after their checkpoint are applied.
            StreamRecord::Saved(_) => {}
        }
    }

    fn add_created(&self, writer: &mut Writer, saved: &SavedStream, inherited: Option<Inherited>, now: Moment) {
        let (created, beginning) = (saved.state.created(), Beginning::of(inherited));
        if let Some(beginning) = &beginning.reserved {
            // It counts as a part of the stream from now on.
            writer.recount(beginning.0.as_ref(), beginning.1, 0);
        }
        writer.last = created.max(writer.last);
        match saved.is_deleted {
            true => writer.add_deleted(saved, now),
            false => writer.add_stream(saved, beginning.history, beginning.bytes, now),
        }
        writer.count_fork(&saved.channel);
        self.publish_head(writer.last);
    }

    /// Closes the stream at `at`, which is the next position.
    fn close_stream(&self, writer: &mut Writer, name: &ChannelName, at: Cursor, by: Option<Producer>) {
        let Ok(entry) = writer.streams.get(name) else { return };
        entry.state.close(at, by);
        let channel = entry.channel.clone();
        if let Some(channel) = &channel {
            channel.set_lifecycle(entry.state.lifecycle());
        }
        // After it: no reader passes the position of the end without seeing it.
        self.advance_to(writer, at);
        writer.wake_later(channel.as_slice());
        writer.count_stream(name);
    }

    /// Removes a stream and its messages; it ends at `at`, which is the next position. If there are forks of it, its name stays in use until they are
    /// removed.
    pub(super) fn end_stream(&self, writer: &mut Writer, name: &ChannelName, at: Cursor, reason: EndReason) {
        let Some(entry) = writer.streams.entries.get_mut(name) else { return };
        let Some(channel) = entry.channel.take() else { return };
        let (info, has_forks) = (entry.state.info(), entry.forks > 0);
        if let Some(due) = entry.due.take() {
            writer.streams.due.remove(&(due, name.clone()));
        }
        let number = writer.next_loss();
        channel.end_stream(info.created, End { id: at, reason }, number);
        // As above. What is removed is then lost at a position that readers see. No reader that begins later is at the position of the end.
        self.advance_to(writer, at.next_in(self.epoch, 0));
        writer.wake_later(std::slice::from_ref(&channel));
        writer.remove_stream(name, &channel, info.start, Loss { up_to: at, number });
        if !has_forks {
            writer.forget_stream(name);
        }
    }

    /// The log ends at `at`, where there is no message.
    fn advance_to(&self, writer: &mut Writer, at: Cursor) {
        writer.last = at.max(writer.last);
        self.publish_head(writer.last);
    }
}
