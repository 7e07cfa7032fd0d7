//! The creation of streams.

use super::{changes::drafts, fork::Inherited};
use crate::{
    live::{
        clock::Moment,
        log::{Channel, Log, streams::Entry, writer::Writer},
    },
    pure::{
        Draft, History, Payload,
        stream::{Create, Outcome, StreamError, StreamInfo, StreamReply, StreamState},
    },
};

impl Log {
    /// Takes what is `inherited` if the stream is created. Otherwise it is freed by the caller, when the writer is unlocked.
    pub(super) fn create_stream(
        &self,
        writer: &mut Writer,
        create: &Create,
        inherited: &mut Option<Inherited>,
        now: Moment,
    ) -> Result<StreamReply, StreamError> {
        self.end_if_over(writer, &create.channel, now);
        match writer.streams.entries.get_mut(&create.channel) {
            Some(Entry { channel: None, .. }) => return Err(StreamError::NameTaken(create.channel.clone())),
            Some(entry) => {
                entry.state.require_same(create)?;
                entry.state.renew(now.mono_ms);
                return Ok(StreamReply { info: entry.state.info(), outcome: Outcome::Repeated(None) });
            }
            None => {}
        }
        writer.require_unused(&create.channel)?;
        if let (Some(fork), Some(Inherited { source, .. })) = (&create.fork, &*inherited) {
            match writer.streams.get(&fork.source) {
                Ok(entry) if entry.state.info().created == source.created => {}
                _ => return Err(StreamError::SourceGone(fork.source.clone())),
            }
        }
        let created = writer.last.next_in(self.epoch, now.time_ms);
        let source = inherited.as_ref().map(|inherited| &inherited.source);
        let mut state = StreamState::new(create, source, created, now.mono_ms);
        if let Some(Inherited { source, history, .. }) = &*inherited {
            let at = create.fork.as_ref().and_then(|fork| fork.at).unwrap_or(source.tail);
            state.inherit(source.start, history.newest().map_or(at.max(source.start), |last| last.id));
        }
        let part = inherited.as_ref().and_then(|inherited| inherited.part.clone());
        let payloads: Vec<Payload> = part.into_iter().chain(create.payloads.iter().cloned()).collect();
        let drafts = drafts(&create.channel, &payloads, create.user.as_ref());
        let copied = inherited.as_ref().map_or(0, |inherited| inherited.bytes);
        let messages = drafts.iter().map(Draft::footprint).sum::<usize>() + copied;
        let owner = create.owner.as_ref();
        let names = create.channel.len() + owner.map_or(0, |owner| owner.len());
        writer.require_space(owner, messages + state.footprint() + names + Channel::OVERHEAD)?;
        writer.last = created;
        let copies = inherited.take().map(|Inherited { history, dropped, .. }| {
            let StreamInfo { start, tail, .. } = state.info();
            // What the source has dropped later is no loss of the fork.
            History::of_copies(history, [start, tail], created, dropped.map(|dropped| dropped.min(tail)))
        });
        writer.add_stream(&create.channel, state, owner, (copies.unwrap_or_default(), copied), now);
        self.publish_head(created);
        self.add_drafts(writer, drafts, now);
        if create.is_closed {
            self.close_stream(writer, &create.channel, None, now)?;
        }
        Ok(StreamReply { info: writer.streams.get(&create.channel)?.state.info(), outcome: Outcome::Done })
    }
}
