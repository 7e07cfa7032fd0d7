//! The one writer: gathers the publications that wait, writes them at once, syncs once, makes them visible, and answers.
//!
//! ```text
//! Queue ─▶ ids ─▶ records ─▶ write ─▶ (sync) ─▶ index of the segment ─▶ Log, and its readers ─▶ answers
//! ```
//!
//! The order of these steps is the guarantee: no reader sees a message, and no publisher gets an id, before the message is as durable as the
//! setting says.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    Fsync,
    archive::DiskArchive,
    purge::{self, Left, Purge},
    queue::{Job, Queue, Reply, Work},
    record::Change,
    state::DiskState,
    states::Pending,
    store::{Placed, Store},
    task::Tasks,
};
use crate::{
    live::{
        bus::{
            BusError, IDEMPOTENCY_TTL, Published, StoredState,
            answers::{Answers, Claim, Given},
        },
        clock::{Clock, Moment},
        log::Log,
    },
    pure::{Cursor, Epoch, Message},
    throttle::Throttle,
};

mod checks;
mod erasing;
mod syncing;

pub(super) use erasing::Erasing;
pub(super) use syncing::Syncing;

/// Ids are reserved for so many milliseconds ahead, if they are handed out before they are durable.
const RESERVED_MS: u64 = 10_000;
/// How long an idempotency key is stored.
pub(super) const TTL_MS: u64 = IDEMPOTENCY_TTL.as_secs() * 1_000;
/// The table of idempotency keys.
pub(super) const KEYS: &str = "key";

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) archive: Arc<DiskArchive>,
    pub(super) log: Arc<Log>,
    pub(super) answers: Arc<Mutex<Answers>>,
    pub(super) state: Arc<DiskState>,
    pub(super) clock: Clock,
    pub(super) fsync: Fsync,
    /// Bytes on disk; beyond, the oldest segments are removed.
    pub(super) total: Option<u64>,
    /// Where its long work is done.
    pub(super) tasks: Tasks,
    /// When something was written that is not durable yet, with [`Fsync::EverySecond`]; by the monotonic clock, in milliseconds.
    pub(super) dirty_since: Option<u64>,
    /// The sync that runs on a thread of its own.
    pub(super) syncing: Option<Syncing>,
    /// Ids up to this millisecond may be handed out before they are durable: a durable group says so.
    pub(super) promised_ms: u64,
    /// When messages were written that are not confirmed; by the monotonic clock, in milliseconds.
    pub(super) written: Option<u64>,
    /// The bytes of purged messages leave the disk within this time.
    pub(super) purge_within: Duration,
    pub(super) erasing: Option<Erasing>,
    /// No earlier than this, on the monotonic clock, they are removed.
    pub(super) erase_after_ms: u64,
    /// What could not be removed.
    pub(super) left: Left,
    /// The same for what is left, if there is any.
    pub(super) left_after_ms: u64,
    /// The same for a new segment, after an attempt that failed.
    pub(super) roll_after_ms: u64,
    /// A segment is there for its idempotency keys only, perhaps.
    pub(super) is_kept: bool,
    pub(super) warnings: Throttle,
    /// The directory has vanished or was replaced: what is written would not be found at the next start.
    pub(super) is_gone: bool,
}

/// The log cannot go on, and why.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

/// A publication that has been encoded, or answered without.
struct Planned {
    reply: Reply,
    result: Result<Published, BusError>,
}

impl Writer {
    /// Works until the queue is closed, or the disk fails. A panic is a failure, too, or publishers would wait for ever.
    pub(super) fn run(mut self, queue: &Queue) {
        if panic::catch_unwind(AssertUnwindSafe(|| while self.round(queue, self.patience()) {})).is_err() {
            self.fail(queue, "the writer of the log ended unexpectedly".to_owned());
        }
        self.end();
    }

    /// Leaves the directory to others.
    pub(super) fn end(&mut self) {
        if let Some(erasing) = self.erasing.take() {
            erasing.cancel();
        }
        // First, so that who waits for the end finds the directory free.
        self.store.catalog.disk.unlock();
        self.state.has_ended.send_replace(true);
    }

    /// Reports the end, and refuses what waits.
    fn fail(&self, queue: &Queue, reason: String) {
        log::error!("the log on disk failed: {reason}");
        self.state.failure.send_replace(Some(reason.clone()));
        queue.close();
        loop {
            let Work { jobs, is_last, .. } = queue.take(None);
            for Job { reply, .. } in jobs {
                // The publisher may have left.
                let _ = reply.send(Err(BusError::Unavailable(reason.clone())));
            }
            if is_last {
                break;
            }
        }
    }

    /// Waits for work, for `patience` at most, and does it. Returns whether there can be more.
    pub(super) fn round(&mut self, queue: &Queue, patience: Option<Duration>) -> bool {
        let work = queue.take(patience);
        let is_last = work.is_last;
        let done = self.work(work).and_then(|()| if is_last { self.finish() } else { Ok(()) });
        if let Err(Failure(reason)) = done {
            self.fail(queue, reason);
            return false;
        }
        !is_last
    }

    /// Does one round of work.
    pub(super) fn work(&mut self, work: Work) -> Result<(), Failure> {
        if work.is_check {
            self.check()?;
        }
        match self.state.error().filter(|_| self.is_gone) {
            Some(error) => work.jobs.into_iter().for_each(|job| drop(job.reply.send(Err(error.clone())))),
            None if work.jobs.is_empty() => {}
            None => self.publish(work.jobs)?,
        }
        self.keep()
    }

    /// Publishes `jobs`, in this order.
    fn publish(&mut self, jobs: Vec<Job>) -> Result<(), Failure> {
        let now = (self.clock)();
        if self.store.is_full() && now.mono_ms >= self.roll_after_ms {
            match self.roll() {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    jobs.into_iter().for_each(|job| drop(job.reply.send(Err(answer.clone()))));
                    return Ok(());
                }
                Err(Failure(reason)) => return Err(fail(jobs.into_iter().map(|job| job.reply), reason)),
            }
        }
        let reserved_before = self.store.reserved_ms;
        let next_ms = self.store.last.next(now.time_ms).ms;
        // If half of the reservation is left, a later sync extends it, too.
        let is_reserving = self.fsync != Fsync::Always && next_ms >= self.promised_ms;
        let is_extending = self.fsync != Fsync::Always && next_ms + RESERVED_MS / 2 >= reserved_before;
        if is_reserving || is_extending {
            self.store.reserved_ms = next_ms + RESERVED_MS;
        }
        let mut encoder = self.store.begin();
        let (mut planned, mut messages, mut placed) = (Vec::with_capacity(jobs.len()), Vec::new(), Vec::new());
        let (mut reserved, mut id, mut pending) = (0, self.store.last, Pending::default());
        for Job { drafts, states, claim, reply, .. } in jobs {
            let (count, begun) = (drafts.len(), pending.changes.len());
            let result = match self.admit(claim.as_ref(), states, &mut pending, (count, id), now) {
                Ok(Some(published)) => Ok(published),
                Err(error) => Err(error),
                Ok(None) => {
                    let mut left = count + (pending.changes.len() - begun) + usize::from(claim.is_some());
                    let mut is_last = || {
                        left -= 1;
                        left == 0
                    };
                    let mut ids = Vec::with_capacity(count);
                    for draft in drafts {
                        id = id.next(now.time_ms);
                        ids.push(id);
                        let (offset, length) = encoder.message(id, &draft, is_last());
                        placed.push(Placed { channel: draft.channel.clone(), id, offset, length });
                        messages.push(Message::new(id, draft));
                    }
                    for change in &pending.changes[begun..] {
                        encoder.state(change_of(change), is_last());
                    }
                    if let Some(claim) = claim {
                        reserved += 1;
                        let first = ids.first().copied().unwrap_or_default();
                        let (key, value) = key_record(&claim, first, count);
                        let until_ms = now.time_ms + TTL_MS;
                        encoder.state(Change { table: KEYS, key: &key, value: Some(&value), until_ms }, is_last());
                    }
                    Ok(Published { ids, is_repeat: false })
                }
            };
            planned.push(Planned { reply, result });
        }
        if messages.is_empty() && pending.changes.is_empty() {
            self.store.reserved_ms = reserved_before;
            answer(planned);
            return Ok(());
        }
        if let Err(error) = self.store.write(&encoder) {
            self.store.reserved_ms = reserved_before;
            let mut answers = self.answers.lock();
            (0..reserved).for_each(|_| answers.take_back());
            drop(answers);
            let answer = self.problem(&error);
            let written = self.store.last;
            if let Err(Failure(reason)) = self.undo() {
                return Err(fail(planned.into_iter().map(|one| one.reply), reason));
            }
            for Planned { reply, result } in planned {
                // What was published before is answered again.
                let is_there = |published: &Published| published.ids.last().is_some_and(|id| *id <= written);
                let result = if result.as_ref().is_ok_and(|published| !is_there(published)) {
                    Err(answer.clone())
                } else {
                    result
                };
                let _ = reply.send(result);
            }
            return Ok(());
        }
        let is_synced =
            self.fsync == Fsync::Always || is_reserving || pending.changes.iter().any(|change| change.table.is_synced);
        if is_synced && let Err(Failure(reason)) = self.sync(encoder.bytes().len() as u64) {
            return Err(fail(planned.into_iter().map(|one| one.reply), reason));
        }
        self.solved();
        self.store.commit(&encoder, &placed);
        {
            let mut states = self.store.states.lock();
            pending.changes.iter().for_each(|change| states.apply(change_of(change)));
        }
        let purges = pending.changes.iter().filter(|change| change.table == purge::TABLE).filter_map(Purge::of);
        purges.for_each(|purge| purge.obey(&self.store.catalog, &self.log));
        let written_ms = self.mono_ms();
        self.written = Some(written_ms);
        if self.fsync == Fsync::EverySecond && !is_synced {
            self.dirty_since.get_or_insert(written_ms);
        }
        if let Err(id) = self.log.append_placed(messages, now) {
            let reason = format!("{}: the id {id} is not newer than those before", self.directory());
            return Err(fail(planned.into_iter().map(|one| one.reply), reason));
        }
        answer(planned);
        if self.fsync == Fsync::Never && is_extending && !is_reserving {
            self.begin_sync()?;
        }
        Ok(())
    }

    /// The answer to a publication that has been made before; `None` if it is new. It is one of `count` messages after `last`.
    ///
    /// # Errors
    /// When there is no space for its states, or its key; then nothing of it is pending.
    fn admit(
        &self,
        claim: Option<&Claim>,
        states: Vec<StoredState>,
        pending: &mut Pending,
        (count, last): (usize, Cursor),
        now: Moment,
    ) -> Result<Option<Published>, BusError> {
        let mut answers = self.answers.lock();
        if let Some(claim) = claim
            && let Some(published) = answers.find(claim, Epoch::ANY, now.mono_ms)?
        {
            return Ok(Some(published));
        }
        let begun = pending.changes.len();
        let stored = self.store.states.lock();
        let mut changes = states.into_iter();
        let planned = changes.try_for_each(|change| stored.plan(change, pending, self.store.segment_bytes));
        drop(stored);
        let admitted = planned.and_then(|()| claim.map_or(Ok(()), |claim| answers.reserve(claim, now.mono_ms)));
        if let Err(error) = admitted {
            pending.take_back(begun);
            return Err(error);
        }
        if let Some(claim) = claim {
            let first = if count == 0 { Cursor::ZERO } else { last.next(now.time_ms) };
            answers.set(claim, first, count);
        }
        Ok(None)
    }
}

fn answer(planned: Vec<Planned>) {
    for Planned { reply, result } in planned {
        // The publisher may have left.
        let _ = reply.send(result);
    }
}

/// Answers that it is unknown what was added.
fn fail(replies: impl Iterator<Item = Reply>, reason: String) -> Failure {
    replies.for_each(|reply| drop(reply.send(Err(BusError::Unknown(reason.clone())))));
    Failure(reason)
}

fn change_of(StoredState { table, key, value, until_ms }: &StoredState) -> Change<'_> {
    Change { table: table.name, key, value: value.as_deref(), until_ms: *until_ms }
}

/// The key and the value of an idempotency key in the log.
fn key_record(claim: &Claim, first: Cursor, count: usize) -> ([u8; 32], [u8; 40]) {
    let (mut key, mut value) = ([0; 32], [0; 40]);
    key[..16].copy_from_slice(&claim.scope.0);
    key[16..].copy_from_slice(&claim.key.0);
    value[..16].copy_from_slice(&claim.digest.0);
    value[16..24].copy_from_slice(&first.ms.to_le_bytes());
    value[24..32].copy_from_slice(&first.seq.to_le_bytes());
    value[32..].copy_from_slice(&(count as u64).to_le_bytes());
    (key, value)
}

/// Adds an idempotency key of the log to `answers`.
pub(super) fn restore_key(answers: &mut Answers, change: Change<'_>, now: Moment) -> Option<()> {
    use crate::live::bus::{digest::Digest, keys::Hash};
    let left = change.until_ms.checked_sub(now.time_ms).filter(|left| *left > 0)?.min(TTL_MS);
    let (scope, key) = change.key.split_first_chunk::<16>()?;
    let (digest, rest) = change.value?.split_first_chunk::<16>()?;
    let number = |at: usize| rest.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let first = Cursor::new(number(0)?, number(8)?);
    let given = Given { digest: Digest(*digest), first, count: usize::try_from(number(16)?).ok()? };
    answers.restore(Hash(*scope), Hash(key.try_into().ok()?), given, now.mono_ms.saturating_add(left));
    Some(())
}
