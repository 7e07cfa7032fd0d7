//! The one writer: gathers the publications that wait, writes them at once, syncs once, makes them visible, and answers.
//!
//! ```text
//! Queue ─▶ ids ─▶ records ─▶ write ─▶ (sync) ─▶ index of the segment ─▶ Log, and its readers ─▶ answers
//! ```
//!
//! The order of these steps is the guarantee: no reader sees a message, and no publisher gets an id, before the message is as durable as the
//! setting says.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    Fsync,
    archive::DiskArchive,
    disk::{explain, is_full},
    queue::{Job, Queue, Work},
    record::Change,
    retention,
    state::{DiskState, Problem},
    store::{Placed, Roll, Store},
};
use crate::{
    live::{
        bus::{
            BusError, IDEMPOTENCY_TTL, Published,
            answers::{Answers, Claim, Given},
        },
        clock::{Clock, Moment},
        log::Log,
    },
    pure::{Cursor, Epoch, Message},
};

/// Ids are reserved for so many milliseconds ahead, if they are handed out before they are durable.
const RESERVED_MS: u64 = 10_000;
/// The longest time between syncs with [`Fsync::EverySecond`].
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// The space that has to be free before publishing goes on after the disk was full.
const SPACE: usize = 64 * 1024;
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
    /// When something was written that is not durable yet, with [`Fsync::EverySecond`].
    pub(super) dirty_since: Option<Instant>,
    /// The directory has vanished: what is written has no name any more.
    pub(super) is_gone: bool,
}

/// The log cannot go on, and why.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

/// A publication that has been encoded, or answered without.
struct Planned {
    reply: oneshot::Sender<Result<Published, BusError>>,
    result: Result<Published, BusError>,
}

impl Writer {
    /// Works until the queue is closed, or the disk fails. A panic is a failure, too, or publishers would wait for ever.
    pub(super) fn run(mut self, queue: &Queue) {
        if panic::catch_unwind(AssertUnwindSafe(|| self.work_on(queue))).is_err() {
            self.fail(queue, "the writer of the log ended unexpectedly".to_owned());
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

    fn work_on(&mut self, queue: &Queue) {
        loop {
            let most = self.dirty_since.map(|since| SYNC_EVERY.saturating_sub(since.elapsed()));
            let work = queue.take(most);
            let is_last = work.is_last;
            let done = self.work(work).and_then(|()| if is_last { self.finish() } else { Ok(()) });
            if let Err(Failure(reason)) = done {
                return self.fail(queue, reason);
            }
            if is_last {
                return;
            }
        }
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
        match self.dirty_since {
            Some(since) if since.elapsed() >= SYNC_EVERY => self.sync(0),
            _ => Ok(()),
        }
    }

    /// Writes that nothing was handed out that is not here, and makes all of it durable.
    fn finish(&mut self) -> Result<(), Failure> {
        if self.store.reserved_ms == 0 && !self.store.is_dirty() {
            return Ok(());
        }
        self.sync(0)?;
        self.store.reserved_ms = 0;
        let encoder = self.store.begin();
        match self.store.write(&encoder) {
            Ok(()) => self.sync(encoder.bytes().len() as u64)?,
            Err(error) => log::warn!("the end of the log could not be written: {}", explain(&error)),
        }
        Ok(())
    }

    fn sync(&mut self, written: u64) -> Result<(), Failure> {
        let begun = Instant::now();
        let synced = self.store.sync(written);
        self.state.count_sync(begun.elapsed());
        self.dirty_since = None;
        synced.map_err(|error| {
            Failure(format!(
                "{}: a sync failed ({}), so it is unknown which of the last messages are durable",
                self.place(),
                explain(&error)
            ))
        })
    }

    fn place(&self) -> String {
        self.store.catalog.disk.place()
    }

    /// Checks whether the directory is still there, and whether a problem has ended.
    fn check(&mut self) -> Result<(), Failure> {
        let is_there = self.store.is_there();
        self.is_gone = is_there.is_err();
        if let Err(error) = is_there {
            self.problem(&error);
            return Ok(());
        }
        self.remove_old(false);
        if self.state.problem.lock().is_none() {
            return Ok(());
        }
        match self.store.has_space(SPACE) {
            Ok(()) => self.solved(),
            Err(error) => drop(self.problem(&error)),
        }
        self.undo()
    }

    /// Removes segments that are too old or exceed the space for the log.
    fn remove_old(&self, has_new: bool) {
        match retention::enforce(&self.store.catalog, &self.archive, self.total, has_new) {
            Ok(0) => {}
            Ok(count) => log::debug!("{}: {count} segments were removed", self.place()),
            Err(error) => log::warn!("{}: old segments are not removed: {}", self.place(), explain(&error)),
        }
    }

    fn problem(&self, error: &io::Error) -> BusError {
        let message = format!("{}: {}", self.place(), explain(error));
        let problem = if is_full(error) { Problem::Full(message) } else { Problem::Disk(message) };
        let answer = problem.error();
        let before = self.state.problem.lock().replace(problem.clone());
        if before.as_ref() != Some(&problem) {
            log::error!("nothing can be published: {answer}");
        }
        answer
    }

    fn solved(&self) {
        if self.state.problem.lock().take().is_some() {
            log::info!("{}: messages can be published again", self.place());
        }
    }

    fn undo(&mut self) -> Result<(), Failure> {
        self.store.undo().map_err(|error| {
            let place = self.place();
            Failure(format!("{place}: an incomplete write could not be undone: {}", explain(&error)))
        })
    }

    /// Publishes `jobs`, in this order.
    fn publish(&mut self, jobs: Vec<Job>) -> Result<(), Failure> {
        if self.store.is_full() {
            match self.store.roll() {
                Ok(()) => {
                    self.dirty_since = None;
                    self.remove_old(true);
                }
                Err(Roll::Sync(error)) => {
                    let reason = format!("{}: a sync failed ({})", self.place(), explain(&error));
                    return Err(fail(jobs.into_iter().map(|job| job.reply), reason));
                }
                // The segment grows on, until there is space for the next one.
                Err(Roll::Later(error)) => log::warn!("{}: no new segment: {}", self.place(), explain(&error)),
            }
        }
        let now = (self.clock)();
        let reserved_before = self.store.reserved_ms;
        let is_reserving =
            self.fsync != Fsync::Always && self.store.last.next(now.time_ms).ms >= self.store.reserved_ms;
        if is_reserving {
            self.store.reserved_ms = self.store.last.ms.max(now.time_ms) + RESERVED_MS;
        }
        let mut encoder = self.store.begin();
        let (mut planned, mut messages, mut placed) = (Vec::with_capacity(jobs.len()), Vec::new(), Vec::new());
        let (mut reserved, mut id) = (0, self.store.last);
        for Job { drafts, claim, reply, .. } in jobs {
            let count = drafts.len();
            let result = match self.claim(claim.as_ref(), count, id, now) {
                Ok(Some(published)) => Ok(published),
                Err(error) => Err(error),
                Ok(None) => {
                    let mut ids = Vec::with_capacity(count);
                    for (at, draft) in drafts.into_iter().enumerate() {
                        id = id.next(now.time_ms);
                        ids.push(id);
                        let is_last = at + 1 == count && claim.is_none();
                        let (offset, length) = encoder.message(id, &draft, is_last);
                        placed.push(Placed { channel: draft.channel.clone(), id, offset, length });
                        messages.push(Message::new(id, draft));
                    }
                    if let Some(claim) = claim {
                        reserved += 1;
                        let first = ids.first().copied().unwrap_or_default();
                        let (key, value) = key_record(&claim, first, count);
                        let until_ms = now.time_ms + TTL_MS;
                        encoder.state(Change { table: KEYS, key: &key, value: Some(&value), until_ms }, true);
                    }
                    Ok(Published { ids, is_repeat: false })
                }
            };
            planned.push(Planned { reply, result });
        }
        if messages.is_empty() && reserved == 0 {
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
        if self.fsync == Fsync::Always || is_reserving {
            if let Err(Failure(reason)) = self.sync(encoder.bytes().len() as u64) {
                return Err(fail(planned.into_iter().map(|one| one.reply), reason));
            }
        } else if self.fsync == Fsync::EverySecond {
            self.dirty_since.get_or_insert_with(Instant::now);
        }
        self.solved();
        self.store.commit(&encoder, &placed);
        if let Err(id) = self.log.append_placed(messages, now) {
            let reason = format!("{}: the id {id} is not newer than those before", self.place());
            return Err(fail(planned.into_iter().map(|one| one.reply), reason));
        }
        answer(planned);
        Ok(())
    }

    /// The answer to a publication that has been made before; `None` if it is new. Its answer begins after `last`.
    fn claim(
        &self,
        claim: Option<&Claim>,
        count: usize,
        last: Cursor,
        now: Moment,
    ) -> Result<Option<Published>, BusError> {
        let Some(claim) = claim else { return Ok(None) };
        let mut answers = self.answers.lock();
        if let Some(given) = answers.find(claim, now.mono_ms)? {
            return Ok(Some(Published { ids: given.ids(Epoch::ANY), is_repeat: true }));
        }
        answers.reserve(claim, now.mono_ms)?;
        let first = if count == 0 { Cursor::ZERO } else { last.next(now.time_ms) };
        answers.set(claim, first, count);
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
fn fail(replies: impl Iterator<Item = oneshot::Sender<Result<Published, BusError>>>, reason: String) -> Failure {
    replies.for_each(|reply| drop(reply.send(Err(BusError::Unknown(reason.clone())))));
    Failure(reason)
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
