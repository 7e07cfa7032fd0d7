//! The one writer: gathers the publications that wait, writes them at once, syncs once, makes them visible, and answers.
//!
//! ```text
//! Queue ─▶ ids ─▶ records ─▶ write ─▶ (sync) ─▶ index of the segment ─▶ Log, and its readers ─▶ answers
//! ```
//!
//! The order of these steps is the guarantee: no reader sees a message, and no publisher gets an id, before the message is as durable as the
//! setting says.

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    Fsync,
    archive::DiskArchive,
    purge::Left,
    queue::{Job, Queue, Reply, Work},
    record::Change,
    state::DiskState,
    store::Store,
    task::Tasks,
};
use crate::{
    live::{
        bus::{
            BusError, IDEMPOTENCY_TTL,
            answers::{Answers, Claim, Given},
        },
        clock::{Clock, Moment},
        log::Log,
    },
    pure::Cursor,
    throttle::Throttle,
};

mod batch;
mod checks;
mod erasing;
mod moving;
mod planning;
mod streams;
mod syncing;

pub(super) use erasing::Erasing;
pub(super) use moving::Moving;
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
    /// Messages of streams that are written again.
    pub(super) moving: Option<Moving>,
    /// The segment whose messages have been, to be removed.
    pub(super) moved: Option<u64>,
    /// So many bytes are to be written again before more is published.
    pub(super) owed: u64,
    /// The oldest segment, which streams need, and [what they had lost](Log::stream_losses) when that was found.
    pub(super) needed: Option<(u64, u64)>,
    /// No earlier than this, on the monotonic clock, they are written, after an attempt that failed.
    pub(super) move_after_ms: u64,
    /// A segment is there for its idempotency keys only, perhaps.
    pub(super) is_kept: bool,
    pub(super) warnings: Throttle,
    /// The directory has vanished or was replaced: what is written would not be found at the next start.
    pub(super) is_gone: bool,
}

/// The log cannot go on, and why.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

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
        self.move_some()?;
        self.keep()
    }

    /// Publishes `jobs`, in this order: together, except for one that depends on what those before it change in a stream.
    fn publish(&mut self, jobs: Vec<Job>) -> Result<(), Failure> {
        let mut jobs = VecDeque::from(jobs);
        while !jobs.is_empty() {
            // What the next one waits for may be the end of a stream, which cannot be written, either.
            if let Some(error) = self.publish_next(&mut jobs)?
                && let Some(waiting) = jobs.pop_front()
            {
                let _ = waiting.reply.send(Err(error));
            }
        }
        Ok(())
    }
}

/// Answers that it is unknown what was added.
fn fail(replies: impl Iterator<Item = Reply>, reason: String) -> Failure {
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
