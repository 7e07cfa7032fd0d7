//! The creation of streams.

use super::{Change, Decision, Inherited, Staged, changes::drafts, staged::Will};
use crate::{
    live::{
        clock::Moment,
        log::{Channel, Log, streams::Entry, writer::Writer},
    },
    pure::{
        Draft, Payload,
        stream::{Create, Outcome, SavedCopies, SavedStream, StreamError, StreamRecord, StreamReply, StreamState},
    },
};

impl Log {
    /// Takes what is `inherited` if the stream is to be created. Otherwise it is freed by the caller, when the writer is unlocked.
    pub(super) fn decide_creation(
        &self,
        writer: &Writer,
        create: &Create,
        inherited: &mut Option<Inherited>,
        staged: &Staged,
        now: Moment,
    ) -> Result<Decision, StreamError> {
        let Create { channel, owner, .. } = create;
        let source = create.fork.as_ref().map(|fork| &fork.source);
        let is_changing = |name| !matches!(staged.of(name), Will::Stay);
        if is_changing(channel) || source.is_some_and(|source| matches!(staged.of(source), Will::Change)) {
            return Ok(Decision::Waits);
        }
        match writer.streams.entries.get(channel) {
            Some(Entry { channel: None, .. }) => return Err(StreamError::NameTaken(channel.clone())),
            Some(entry) if entry.is_over(now) => return Ok(Decision::Expired(channel.clone())),
            Some(entry) => {
                entry.state.require_same(create)?;
                let reply = StreamReply { info: entry.state.info(), outcome: Outcome::Repeated(None) };
                return Ok(Decision::Repeated(reply));
            }
            None => {}
        }
        writer.require_unused(channel)?;
        if create.fork.is_some() && inherited.is_none() {
            return Ok(Decision::Forks);
        }
        if let (Some(fork), Some(Inherited { source, .. })) = (&create.fork, &*inherited) {
            match writer.streams.known(&fork.source) {
                Ok(entry) if entry.state.info().created == source.created => {}
                _ => return Err(StreamError::SourceGone(fork.source.clone())),
            }
        }
        let created = self.next(staged.last, now);
        let source = inherited.as_ref().map(|inherited| &inherited.source);
        let mut state = StreamState::new(create, source, created, now.mono_ms);
        let mut copies = None;
        if let Some(Inherited { source, history, dropped, .. }) = &*inherited {
            let at = create.fork.as_ref().and_then(|fork| fork.at).unwrap_or(source.tail);
            let end = history.newest().map_or(at.max(source.start), |last| last.id);
            state.inherit(source.start, end);
            // What the source has dropped later is no loss of the fork.
            copies = Some(SavedCopies { end, dropped: dropped.map(|dropped| dropped.min(end)) });
        }
        let part = inherited.as_ref().and_then(|inherited| inherited.part.clone());
        let payloads: Vec<Payload> = part.into_iter().chain(create.payloads.iter().cloned()).collect();
        let drafts = drafts(channel, &payloads, create.user.as_ref());
        let copied = inherited.as_ref().map_or(0, |inherited| inherited.bytes);
        // That of copies may be reserved.
        let is_counted = inherited.as_ref().is_some_and(|inherited| inherited.is_reserved);
        let messages = drafts.iter().map(Draft::footprint).sum::<usize>() + if is_counted { 0 } else { copied };
        let names = channel.len() + owner.as_ref().map_or(0, |owner| owner.len());
        let bytes = messages + state.footprint() + names + Channel::OVERHEAD;
        writer.require_space(owner.as_ref(), bytes, staged)?;
        let dropped =
            writer.channels.get(channel).map_or(writer.forgotten_id(), |known| known.history.lock().dropped());
        let saved = SavedStream {
            channel: channel.clone(),
            owner: owner.as_deref().map(Into::into),
            state: state.save(|mono_ms| now.time_at(mono_ms)),
            is_deleted: false,
            dropped,
            copies,
            messages: inherited.as_ref().map_or(0, |inherited| inherited.history.len() as u64),
        };
        let record = Box::new(StreamRecord::Create(saved));
        let mut changes = vec![Change::Stream(record, inherited.take().map(Box::new))];
        let messages = self.place_after(created, drafts, now);
        if let Some(newest) = messages.last() {
            state.advance(newest.id, now.mono_ms);
        }
        let last = messages.last().map_or(created, |newest| newest.id);
        changes.extend(messages.into_iter().map(Change::Message));
        if create.is_closed {
            let at = self.next(last, now);
            state.close(at, None);
            changes.push(Change::stream(StreamRecord::Close { channel: channel.clone(), at, by: None }));
        }
        Ok(Decision::New(changes, StreamReply { info: state.info(), outcome: Outcome::Done }))
    }
}
