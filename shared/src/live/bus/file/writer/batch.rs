//! What is written at once: the records of publications and of changes of streams, and what follows from them once they are durable.

use super::key_record;
use crate::{
    live::{
        bus::{
            BusError, Published, StoredState,
            answers::Claim,
            file::{
                index::Copied,
                queue::{Job, Reply},
                record::{self, Encoder},
                states::Pending,
                store::Placed,
                writer::{KEYS, TTL_MS},
            },
        },
        clock::Moment,
        log::{Change, Staged},
    },
    pure::{
        Cursor,
        stream::{StreamRecord, StreamReply},
    },
};

/// See the module.
pub(super) struct Batch {
    pub(super) encoder: Encoder,
    /// In the order of their positions.
    pub(super) changes: Vec<Change>,
    pub(super) placed: Vec<Placed>,
    /// Messages out of order.
    pub(super) copied: Vec<Copied>,
    pub(super) pending: Pending,
    /// How many idempotency keys are new.
    pub(super) reserved: usize,
    pub(super) staged: Staged,
    pub(super) planned: Vec<Planned>,
    /// Refused, perhaps because of what is to be written.
    pub(super) refused: Vec<(Job, BusError)>,
    /// Whether there are streams.
    pub(super) has_streams: bool,
}

/// A job that has been encoded, or answered without.
pub(super) struct Planned {
    pub(super) reply: Reply,
    pub(super) result: Result<Published, BusError>,
    pub(super) stream: Option<PlannedStream>,
}

/// The answer to an operation on a stream.
pub(super) struct PlannedStream {
    pub(super) reply: Option<tokio::sync::oneshot::Sender<Option<StreamReply>>>,
    pub(super) answer: Option<StreamReply>,
    /// Whether it depends on what is being written.
    pub(super) is_new: bool,
}

impl Planned {
    pub(super) fn new(reply: Reply, result: Result<Published, BusError>) -> Self {
        Self { reply, result, stream: None }
    }

    /// Whether it was answered by what was there when `written` was the newest id.
    pub(super) fn was_there(&self, written: Cursor) -> bool {
        match (&self.stream, &self.result) {
            (Some(stream), _) => !stream.is_new,
            (None, Ok(published)) => published.ids.last().is_some_and(|id| *id <= written),
            (None, Err(_)) => true,
        }
    }

    pub(super) fn answer(self) {
        let Self { reply, result, stream } = self;
        if let Some(PlannedStream { reply: Some(stream), answer, .. }) = stream
            && result.is_ok()
        {
            let _ = stream.send(answer);
        }
        // The publisher may have left.
        let _ = reply.send(result);
    }
}

impl Batch {
    /// Nothing, to be written by `encoder` after what `staged` says.
    pub(super) fn new(encoder: Encoder, staged: Staged, has_streams: bool) -> Self {
        Self {
            encoder,
            changes: Vec::new(),
            placed: Vec::new(),
            copied: Vec::new(),
            pending: Pending::default(),
            reserved: 0,
            staged,
            planned: Vec::new(),
            refused: Vec::new(),
            has_streams,
        }
    }

    /// Refuses a job. If there is something to write, that may be why: the refusal counts only once it is written.
    pub(super) fn refuse(&mut self, job: Job, error: BusError) {
        match self.is_empty() {
            true => self.planned.push(Planned::new(job.reply, Err(error))),
            false => self.refused.push((job, error)),
        }
    }

    /// Adds what one job changes, as one publication: the changes of streams and messages, those of states after the first `begun`, and its key.
    pub(super) fn add(&mut self, changes: Vec<Change>, begun: usize, claim: Option<&Claim>, now: Moment) {
        let copies = |change: &Change| match change {
            Change::Stream(_, Some(inherited)) => inherited.history.len(),
            _ => 0,
        };
        let copies: usize = changes.iter().map(copies).sum();
        let states = self.pending.changes.len() - begun;
        let mut left = changes.len() + copies + states + usize::from(claim.is_some());
        let mut is_last = || {
            left -= 1;
            left == 0
        };
        let mut first = None;
        let mut count = 0;
        for change in &changes {
            match change {
                Change::Message(message) => {
                    let (offset, length) = self.encoder.message(message.id, &message.draft, is_last());
                    let channel = message.draft.channel.clone();
                    self.placed.push(Placed { channel, id: message.id, offset, length });
                    first.get_or_insert(message.id);
                    count += 1;
                }
                Change::Stream(record, inherited) => {
                    self.encoder.stream(&record.encode(), is_last());
                    let StreamRecord::Create(saved) = &**record else { continue };
                    for copy in inherited.iter().flat_map(|inherited| inherited.history.iter()) {
                        let created = saved.state.created();
                        let length = self.encoder.copy(copy.id, created, &copy.draft, is_last());
                        let (channel, length) = (saved.channel.clone(), length as u64);
                        self.copied.push(Copied { channel, created, id: copy.id, length });
                    }
                }
            }
        }
        for change in &self.pending.changes[begun..] {
            self.encoder.state(change_of(change), is_last());
        }
        if let Some(claim) = claim {
            self.reserved += 1;
            let (key, value) = key_record(claim, first.unwrap_or_default(), count);
            let until_ms = now.time_ms + TTL_MS;
            self.encoder.state(record::Change { table: KEYS, key: &key, value: Some(&value), until_ms }, is_last());
        }
        self.changes.extend(changes);
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.pending.changes.is_empty()
    }

    /// Answers all jobs.
    pub(super) fn answer(self) {
        self.planned.into_iter().for_each(Planned::answer);
        // The publisher may have left.
        self.refused.into_iter().for_each(|(job, error)| drop(job.reply.send(Err(error))));
    }
}

pub(super) fn change_of(StoredState { table, key, value, until_ms }: &StoredState) -> record::Change<'_> {
    record::Change { table: table.name, key, value: value.as_deref(), until_ms: *until_ms }
}
