//! What is decided about an operation, against the streams as they are and what is [`Staged`]. Nothing is changed.

use std::{collections::HashMap, sync::Arc};

use super::{Change, Inherited, PRODUCER, Staged, changes::drafts, staged::Will};
use crate::{
    live::{
        clock::Moment,
        log::{Log, writer::Writer},
    },
    pure::{
        ChannelName, Cursor, Draft,
        stream::{Append, Check, EndReason, Outcome, StreamError, StreamInfo, StreamOp, StreamRecord, StreamReply},
    },
};

/// What is decided.
#[derive(Debug)]
pub(in crate::live) enum Decision {
    /// These changes are to be made, in this order; then this is the answer.
    New(Vec<Change>, StreamReply),
    /// Nothing is to be done: it was done before.
    Repeated(StreamReply),
    /// The lifetime of this stream is over: it has to be ended first.
    Expired(ChannelName),
    /// It depends on what is staged.
    Waits,
    /// A fork is to be created, and nothing was inherited: its source has to be looked at.
    Forks,
}

/// Whether messages can be published.
#[derive(Debug)]
pub(in crate::live) enum Admission {
    /// They can.
    Admitted,
    /// As [`Decision::Expired`].
    Expired(ChannelName),
    /// As [`Decision::Waits`].
    Waits,
}

impl Log {
    /// As [`decide`](Self::decide), for a bus that applies it later.
    ///
    /// # Errors
    /// Why it is rejected.
    pub(in crate::live) fn decide_stream(
        &self,
        op: &StreamOp,
        inherited: &mut Option<Inherited>,
        staged: &Staged,
        now: Moment,
    ) -> Result<Decision, StreamError> {
        self.decide(&self.writer.lock(), op, inherited, staged, now)
    }

    /// As [`admit`](Self::admit), for a bus that adds them later.
    ///
    /// # Errors
    /// The problem of the first draft that cannot be published.
    pub(in crate::live) fn admit_drafts(
        &self,
        drafts: &[Draft],
        staged: &Staged,
        now: Moment,
    ) -> Result<Admission, StreamError> {
        self.admit(&self.writer.lock(), drafts, staged, now)
    }

    /// Decides an operation. Takes what is `inherited` if a fork is created.
    pub(super) fn decide(
        &self,
        writer: &Writer,
        op: &StreamOp,
        inherited: &mut Option<Inherited>,
        staged: &Staged,
        now: Moment,
    ) -> Result<Decision, StreamError> {
        match op {
            StreamOp::Create(create) => self.decide_creation(writer, create, inherited, staged, now),
            StreamOp::Append(append) => self.decide_append(writer, append, staged, now),
            StreamOp::Delete(channel) => self.decide_deletion(writer, channel, staged, now),
        }
    }

    fn decide_append(
        &self,
        writer: &Writer,
        append: &Append,
        staged: &Staged,
        now: Moment,
    ) -> Result<Decision, StreamError> {
        let Append { channel, payloads, seq, producer, is_closing, user, .. } = append;
        let will = staged.of(channel);
        if matches!(will, Will::Change) {
            return Ok(Decision::Waits);
        }
        let entry = writer.streams.known(channel)?;
        let state = match will {
            Will::Be(state) => state,
            _ if entry.is_over(now) => return Ok(Decision::Expired(channel.clone())),
            _ => &entry.state,
        };
        let info = state.info();
        if let Check::Repeated(seq) = state.check(append, now.mono_ms)? {
            return Ok(Decision::Repeated(StreamReply { info, outcome: Outcome::Repeated(seq) }));
        }
        let drafts = drafts(channel, payloads, user.as_ref());
        // A stream that is only closed takes next to nothing, and its readers wait for that.
        if !drafts.is_empty() {
            let growth = producer.as_ref().map_or(0, |producer| PRODUCER + producer.id.len());
            let bytes = drafts.iter().map(Draft::footprint).sum::<usize>() + growth;
            writer.require_space(entry.owner.as_ref(), bytes, staged)?;
        }
        let messages = self.place_after(staged.last, drafts, now);
        let newest = messages.last().map(|newest| newest.id);
        let end = is_closing.then(|| newest.unwrap_or(staged.last).next_in(self.epoch, now.time_ms));
        let mut changes = Vec::with_capacity(messages.len() + 2);
        // Messages say when they were appended. A closing without any is a use, too.
        if producer.is_some() || seq.is_some() || newest.is_none() {
            let (channel, producer, seq) = (channel.clone(), producer.clone(), seq.clone());
            changes.push(Change::stream(StreamRecord::Append { channel, producer, seq, time_ms: now.time_ms }));
        }
        changes.extend(messages.into_iter().map(Change::Message));
        if let Some(at) = end {
            let by = producer.clone();
            changes.push(Change::stream(StreamRecord::Close { channel: channel.clone(), at, by }));
        }
        let info = StreamInfo { tail: newest.unwrap_or(info.tail), end: end.or(info.end), ..info };
        Ok(Decision::New(changes, StreamReply { info, outcome: Outcome::Done }))
    }

    fn decide_deletion(
        &self,
        writer: &Writer,
        channel: &ChannelName,
        staged: &Staged,
        now: Moment,
    ) -> Result<Decision, StreamError> {
        if !matches!(staged.of(channel), Will::Stay) {
            return Ok(Decision::Waits);
        }
        let entry = writer.streams.known(channel)?;
        if entry.is_over(now) {
            return Ok(Decision::Expired(channel.clone()));
        }
        let end = self.ending(channel, EndReason::Deleted, staged, now);
        Ok(Decision::New(vec![end], StreamReply { info: entry.state.info(), outcome: Outcome::Done }))
    }

    /// The end of a stream at the next position.
    pub(in crate::live) fn ending(
        &self,
        channel: &ChannelName,
        reason: EndReason,
        staged: &Staged,
        now: Moment,
    ) -> Change {
        let at = staged.last.next_in(self.epoch, now.time_ms);
        Change::stream(StreamRecord::End { channel: channel.clone(), at, reason })
    }

    /// Whether messages can be published: those for streams only if these accept them.
    ///
    /// # Errors
    /// The problem of the first draft that cannot be published.
    pub(super) fn admit(
        &self,
        writer: &Writer,
        drafts: &[Draft],
        staged: &Staged,
        now: Moment,
    ) -> Result<Admission, StreamError> {
        if writer.streams.is_empty() && staged.is_empty() {
            return Ok(Admission::Admitted);
        }
        let mut bytes: HashMap<Option<Arc<str>>, usize> = HashMap::new();
        for draft in drafts {
            let channel = &draft.channel;
            let will = staged.of(channel);
            if matches!(will, Will::Change) {
                return Ok(Admission::Waits);
            }
            // Otherwise none, or a deleted one whose name is in use by its forks: its channel is one as any other.
            let Ok(entry) = writer.streams.known(channel) else { continue };
            match will {
                Will::Be(state) => state.check_published()?,
                _ if entry.is_over(now) => return Ok(Admission::Expired(channel.clone())),
                _ => entry.state.check_published()?,
            }
            *bytes.entry(entry.owner.clone()).or_default() += draft.footprint();
        }
        if !bytes.is_empty() {
            writer.require_space(None, bytes.values().sum(), staged)?;
        }
        bytes.iter().try_for_each(|(owner, bytes)| writer.require_space(owner.as_ref(), *bytes, staged))?;
        Ok(Admission::Admitted)
    }

    /// The position after `last`.
    pub(super) fn next(&self, last: Cursor, now: Moment) -> Cursor {
        last.next_in(self.epoch, now.time_ms)
    }
}
