//! When the bytes of purged messages leave the disk.

use std::{
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::oneshot;

use super::{Failure, Writer};
use crate::live::bus::file::{
    disk::explain,
    error::WriteError,
    index::Listing as _,
    purge::{self, Attempt, Left, Purge},
    queue::Job,
    task::Task,
};

/// Why there is a warning.
const NOT_ERASED: &str = "purged messages are not removed from the disk yet";
/// After a failure, the next attempt begins after so many milliseconds.
const RETRY_MS: u64 = 60_000;
/// The same after damage, which hardly ever ends.
const RETRY_DAMAGED_MS: u64 = 600_000;

/// The bytes of some purges are being removed, on a thread of its own.
#[derive(Debug)]
pub(in crate::live::bus::file) struct Erasing {
    pub(super) task: Task<Result<Attempt, WriteError>>,
    is_cancelled: Arc<AtomicBool>,
    purges: Vec<Purge>,
}

impl Erasing {
    /// Whether it has ended, and is to be completed.
    #[cfg(test)]
    pub(in crate::live::bus::file) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for its end, which comes soon.
    pub(super) fn cancel(self) {
        self.is_cancelled.store(true, Relaxed);
        let _ = self.task.join();
    }
}

impl Writer {
    /// Begins to remove the bytes of all purges if the first one is due, and completes what was begun.
    pub(super) fn erase(&mut self) -> Result<(), Failure> {
        if let Some(Erasing { task, purges, .. }) = self.erasing.take_if(|erasing| erasing.task.is_finished()) {
            let ended = |_| Err(WriteError::Other(io::Error::other("its thread ended unexpectedly")));
            match task.join().unwrap_or_else(ended).and_then(|attempt| self.erased(purges, attempt)) {
                Ok(gone) if gone.is_empty() => {}
                Ok(gone) => {
                    self.publish(vec![removal(&gone)])?;
                    let is_left =
                        |purge: &Purge| self.store.states.lock().value(purge::TABLE, &purge.state().key).is_some();
                    if gone.first().is_some_and(is_left) {
                        // The disk is full.
                        self.erase_after_ms = (self.clock)().mono_ms.saturating_add(RETRY_MS);
                    }
                }
                Err(WriteError::Sync(error)) => return Err(self.sync_failure(&error)),
                Err(WriteError::Other(error)) => {
                    self.warn(NOT_ERASED, explain(&error));
                    self.erase_after_ms = (self.clock)().mono_ms.saturating_add(RETRY_MS);
                }
            }
        }
        let now = (self.clock)();
        if self.erasing.is_some() || now.mono_ms < self.erase_after_ms {
            return Ok(());
        }
        let (new, is_left_due) = (self.new_purges(now.time_ms), self.is_left_due(now.mono_ms));
        if new.is_empty() && !is_left_due {
            return Ok(());
        }
        // Only sealed segments are written anew.
        if self.has_purged(&new) && (self.roll()?.is_some() || self.has_purged(&new)) {
            // There is no new segment: the disk is full.
            self.erase_after_ms = now.mono_ms.saturating_add(RETRY_MS);
            return Ok(());
        }
        let left = if is_left_due { mem::take(&mut self.left) } else { Left::default() };
        let purges = new.iter().chain(&left.purges).cloned().collect();
        let (catalog, is_cancelled) = (self.store.catalog.clone(), Arc::<AtomicBool>::default());
        let cancelled = is_cancelled.clone();
        let run = move || purge::erase(&catalog, &new, &left, &cancelled);
        match self.tasks.begin("log-eraser", run) {
            Ok(task) => self.erasing = Some(Erasing { task, is_cancelled, purges }),
            Err(_) => self.erase_after_ms = now.mono_ms.saturating_add(RETRY_MS),
        }
        Ok(())
    }

    /// The purges of which no attempt was made, if the oldest one is due, or they are so many that later ones would be refused.
    fn new_purges(&self, now_ms: u64) -> Vec<Purge> {
        let states = self.store.states.lock();
        // There has to be time for it.
        let patience = u64::try_from(self.purge_within.as_millis() / 2).unwrap_or(u64::MAX);
        // One of a later time than now was decided before the time of day was set back: its age is unknown, so it waits no longer.
        let is_old = |at_ms: u64| at_ms > now_ms || now_ms - at_ms >= patience;
        let is_due = |oldest_ms: Option<u64>, bytes: usize, most: usize| {
            oldest_ms.is_some_and(|oldest_ms| is_old(oldest_ms) || bytes >= most / 2)
        };
        let (bytes, most) = states.fill(purge::TABLE, self.store.segment_bytes);
        if !is_due(purge::oldest_ms(&states), bytes, most) {
            return Vec::new();
        }
        let mut new = purge::all(&states);
        drop(states);
        new.retain(|purge| !self.left.purges.contains(purge));
        // What is left of others takes space for longer.
        let of_new: usize = new.iter().map(Purge::size).sum();
        let is_due = is_due(new.iter().map(|purge| purge.at_ms).min(), of_new, most.saturating_sub(bytes - of_new));
        if is_due { new } else { Vec::new() }
    }

    /// Whether the segments that could not be erased are to be tried again, or some of them are removed.
    fn is_left_due(&self, mono_ms: u64) -> bool {
        let is_gone = |number: &u64| !self.store.catalog.is_sealed(*number);
        !self.left.purges.is_empty() && (mono_ms >= self.left_after_ms || self.left.segments.iter().any(is_gone))
    }

    /// Whether the segment that is being written has messages of these purges.
    fn has_purged(&self, purges: &[Purge]) -> bool {
        let segments = self.store.catalog.segments.lock();
        let index = &segments.active.index;
        purges.iter().any(|Purge { channel, up_to, .. }| {
            index.channel(channel).is_some_and(|entries| entries.summary().first <= *up_to) || index.copies.has(channel)
        })
    }

    /// The bytes of these purges are gone, except for what is left; returns those that are complete. What each channel lost was known by the purges, and
    /// has to be known without them.
    fn erased(&mut self, purges: Vec<Purge>, attempt: Attempt) -> Result<Vec<Purge>, WriteError> {
        let Attempt { left, why, is_passing } = attempt;
        let gone: Vec<Purge> = purges.into_iter().filter(|purge| !left.purges.contains(purge)).collect();
        if let Some(error) = why {
            let (purges, segments) = (left.purges.len(), left.segments.len());
            let why = explain(&error);
            self.warn(NOT_ERASED, format_args!("those of {purges} purges in {segments} segments: {why}"));
            let pause = if is_passing { RETRY_MS } else { RETRY_DAMAGED_MS };
            let again_ms = (self.clock)().mono_ms.saturating_add(pause);
            let has_left = !self.left.purges.is_empty();
            self.left_after_ms = if has_left { again_ms.min(self.left_after_ms) } else { again_ms };
            self.left.purges.extend(left.purges);
            self.left.segments.extend(left.segments);
        }
        if !gone.is_empty() {
            let removed = self.store.catalog.segments.lock().removed.clone();
            removed.write(&*self.store.catalog.disk)?;
            let mut segments = self.store.catalog.segments.lock();
            segments.forget_purged(gone.iter().map(|purge| (&purge.channel, purge.up_to)));
            drop(segments);
            log::info!("{}: {} purges were removed from the disk", self.directory(), gone.len());
        }
        Ok(gone)
    }
}

/// A job that removes the states of purges.
fn removal(purges: &[Purge]) -> Job {
    let states = purges.iter().map(Purge::removal).collect();
    // Nobody waits for the answer: if it fails, all of it is done again later.
    let (reply, _) = oneshot::channel();
    Job { states, bytes: mem::size_of_val(purges), ..Job::new(reply) }
}
