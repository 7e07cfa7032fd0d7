//! What is asked of streams, and what is due of them, in the writer: decided against what is there and what is being written.

use tokio::sync::oneshot;

use super::{
    Failure, Writer,
    batch::{Batch, Planned, PlannedStream},
};
use crate::{
    live::{
        bus::{
            BusError, Published, StoredState,
            file::{
                index::Listing as _,
                purge::{self, Purge},
                queue::{Ask, Job, StreamJob},
            },
        },
        clock::Moment,
        log::{Change, Decision, Reserved},
    },
    pure::{
        ChannelName, Cursor,
        stream::{EndReason, StreamError, StreamOp, StreamRecord},
    },
};

/// The purges of streams that end may take so many times the limit of the table: an end cannot wait for the bytes of earlier ones to leave the disk, since
/// the stream takes memory meanwhile.
const ENDS: usize = 8;

impl Writer {
    /// Has the end, or the use, of each stream stored that is due.
    pub(super) fn store_due_streams(&mut self) -> Result<(), Failure> {
        let due = self.log.due_streams((self.clock)());
        if due.is_empty() || self.is_gone {
            return Ok(());
        }
        let job = |name| {
            // Nobody waits for the answer: if it fails, it is done again later.
            let (reply, _) = oneshot::channel();
            let reserved = Reserved::new(self.log.clone());
            let stream = StreamJob { ask: Ask::Due(name), reserved, unused_up_to: Cursor::ZERO, reply: None };
            Job { stream: Some(stream), ..Job::new(reply) }
        };
        let jobs = due.into_iter().map(job).collect();
        self.publish(jobs)
    }

    /// As [`plan`](Self::plan), for a stream.
    pub(super) fn plan_stream(&mut self, mut job: Job, batch: &mut Batch, now: Moment) -> Option<Job> {
        let stream = job.stream.as_mut()?;
        let decided = match &stream.ask {
            Ask::Due(name) => {
                if let Some(change) = self.log.decide_due(name, &batch.staged, now)
                    && let Err(error) = self.plan_change(vec![change], batch, now)
                {
                    self.warn("the end of a stream is not stored yet", format_args!("{name}: {error}"));
                }
                return None;
            }
            Ask::Op(op) if self.is_used(op, stream.unused_up_to, batch) => {
                Err(StreamError::ChannelInUse(op.channel().clone()))
            }
            Ask::Op(op) => self.log.decide_stream(op, &mut stream.reserved.inherited, &batch.staged, now),
        };
        let channel = match &stream.ask {
            Ask::Op(op) => op.channel().clone(),
            Ask::Due(name) => name.clone(),
        };
        let (result, answer, is_new) = match decided {
            Ok(Decision::Waits) => return Some(job),
            Ok(Decision::Expired(name)) => match self.plan_end(&name, EndReason::Expired, batch, now) {
                Ok(()) => return Some(job),
                Err(error) => {
                    batch.refuse(job, error);
                    return None;
                }
            },
            Ok(Decision::Forks) => (Ok(Published::default()), None, false),
            Ok(Decision::Repeated(reply)) => {
                self.log.renew_stream(&channel, now);
                // It may repeat what is being written.
                (Ok(Published::default()), Some(reply), !batch.staged.is_unchanged(&channel))
            }
            Ok(Decision::New(changes, reply)) => {
                let planned = self.plan_change(changes, batch, now);
                (planned.map(|()| Published::default()), Some(reply), true)
            }
            Err(refused) => {
                batch.refuse(job, refused.into());
                return None;
            }
        };
        let reply = job.stream.take()?.reply;
        let stream = Some(PlannedStream { reply, answer, is_new });
        batch.planned.push(Planned { reply: job.reply, result, stream });
        None
    }

    /// Whether a channel that is to become a stream has got messages since it was found to have none on disk.
    fn is_used(&self, op: &StreamOp, unused_up_to: Cursor, batch: &Batch) -> bool {
        let StreamOp::Create(create) = op else { return false };
        if self.log.knows_stream(&create.channel) {
            return false;
        }
        let is_planned = |change: &Change| match change {
            Change::Message(message) => message.draft.channel == create.channel,
            Change::Stream(..) => false,
        };
        let segments = self.store.catalog.segments.lock();
        let newest = segments.active.index.channel(&create.channel).map(|entries| entries.summary().last);
        let known = unused_up_to.max(segments.purged(&create.channel));
        newest.is_some_and(|newest| newest > known)
            || batch.staged.is_unchanged(&create.channel) && batch.changes.iter().any(is_planned)
    }

    /// Plans the end of a stream.
    pub(super) fn plan_end(
        &mut self,
        channel: &ChannelName,
        reason: EndReason,
        batch: &mut Batch,
        now: Moment,
    ) -> Result<(), BusError> {
        let end = self.log.ending(channel, reason, &batch.staged, now);
        self.plan_change(vec![end], batch, now)
    }

    /// Plans changes of streams. What a stream has that ends is purged.
    fn plan_change(&mut self, changes: Vec<Change>, batch: &mut Batch, now: Moment) -> Result<(), BusError> {
        let begun = batch.pending.changes.len();
        for change in &changes {
            let Change::Stream(record, _) = change else { continue };
            let StreamRecord::End { channel, at, .. } = &**record else { continue };
            if !self.log.has_stream_messages(channel) {
                continue;
            }
            let states = self.store.states.lock();
            let purge = Purge { channel: channel.clone(), up_to: *at, at_ms: now.time_ms };
            let mut purges = purge.changes(&states).into_iter();
            let (_, most) = states.fill(purge::TABLE, self.store.segment_bytes);
            let planned = purges.try_for_each(|state| states.plan_within(state, &mut batch.pending, ENDS * most));
            if let Err(error) = planned {
                batch.pending.take_back(begun);
                return Err(error);
            }
        }
        self.log.stage(&changes, &mut batch.staged, now);
        batch.has_streams = true;
        batch.add(changes, begun, None, now);
        Ok(())
    }

    /// Adds that the messages of streams are purged, if some of these states are purges of streams.
    pub(super) fn purge_streams(&self, changes: &mut Vec<Change>, states: &[StoredState]) {
        for purge in states.iter().filter(|state| state.table == purge::TABLE).filter_map(Purge::of) {
            let Some((newest, created)) = self.log.newest_of_stream(&purge.channel) else { continue };
            if let Some(newest) = newest.filter(|_| created <= purge.up_to) {
                let up_to = newest.min(purge.up_to);
                changes.push(Change::stream(StreamRecord::Purge { channel: purge.channel, up_to }));
            }
        }
    }
}
