//! When the bytes of purged messages leave the disk.

use std::{
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use super::{Failure, Writer};
use crate::live::bus::file::{
    disk::explain,
    error::WriteError,
    index::Listing as _,
    purge::{self, Purge},
    queue::Job,
};

/// After a failure, the next attempt begins after so many milliseconds.
const RETRY_MS: u64 = 60_000;

/// The bytes of some purges are being removed, on a thread of its own.
#[derive(Debug)]
pub(in crate::live::bus::file) struct Erasing {
    thread: JoinHandle<Result<(), WriteError>>,
    is_cancelled: Arc<AtomicBool>,
    purges: Vec<Purge>,
}

impl Erasing {
    /// Whether it has ended, and is to be completed.
    #[cfg(test)]
    pub(in crate::live::bus::file) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end, which comes soon.
    pub(super) fn cancel(self) {
        self.is_cancelled.store(true, Relaxed);
        let _ = self.thread.join();
    }
}

impl Writer {
    /// Begins to remove the bytes of all purges if the first one is due, and completes what was begun.
    pub(super) fn erase(&mut self) -> Result<(), Failure> {
        if let Some(Erasing { thread, purges, .. }) = self.erasing.take_if(|erasing| erasing.thread.is_finished()) {
            let ended = |_| Err(WriteError::Other(io::Error::other("its thread ended unexpectedly")));
            match thread.join().unwrap_or_else(ended).and_then(|()| self.erased(&purges)) {
                Ok(()) => {
                    self.publish(vec![removal(&purges)])?;
                    let is_left =
                        |purge: &Purge| self.store.states.lock().value(purge::TABLE, &purge.state().key).is_some();
                    if purges.first().is_some_and(is_left) {
                        // The disk is full.
                        self.erase_after_ms = (self.clock)().mono_ms.saturating_add(RETRY_MS);
                    }
                }
                Err(WriteError::Sync(error)) => return Err(self.sync_failure(&error)),
                Err(WriteError::Other(error)) => {
                    self.warn(&format!("purged messages are not removed from the disk yet: {}", explain(&error)));
                    self.erase_after_ms = (self.clock)().mono_ms.saturating_add(RETRY_MS);
                }
            }
        }
        let now = (self.clock)();
        if self.erasing.is_some() || now.mono_ms < self.erase_after_ms || !self.is_erasure_due(now.time_ms) {
            return Ok(());
        }
        let purges = purge::all(&self.store.states.lock());
        if self.has_purged(&purges) && (self.roll()?.is_some() || self.has_purged(&purges)) {
            // There is no new segment: the disk is full.
            self.erase_after_ms = now.mono_ms.saturating_add(RETRY_MS);
            return Ok(());
        }
        let (catalog, is_cancelled) = (self.store.catalog.clone(), Arc::<AtomicBool>::default());
        let (of_thread, cancelled) = (purges.clone(), is_cancelled.clone());
        let run = move || purge::erase(&catalog, &of_thread, &cancelled);
        match thread::Builder::new().name("log-eraser".to_owned()).spawn(run) {
            Ok(thread) => self.erasing = Some(Erasing { thread, is_cancelled, purges }),
            Err(_) => self.erase_after_ms = now.mono_ms.saturating_add(RETRY_MS),
        }
        Ok(())
    }

    /// Whether the oldest purge is due, or there are so many that later ones would be refused.
    fn is_erasure_due(&self, now_ms: u64) -> bool {
        let states = self.store.states.lock();
        let Some(oldest_ms) = purge::oldest_ms(&states) else { return false };
        // There has to be time for it.
        let patience = u64::try_from(self.purge_within.as_millis() / 2).unwrap_or(u64::MAX);
        let (bytes, most) = states.fill(purge::TABLE, self.store.segment_bytes);
        oldest_ms.saturating_add(patience) <= now_ms || bytes >= most / 2
    }

    /// Whether the segment that is being written has messages of these purges.
    fn has_purged(&self, purges: &[Purge]) -> bool {
        let segments = self.store.catalog.segments.lock();
        let index = &segments.active.index;
        purges.iter().any(|Purge { channel, up_to, .. }| {
            index.channel(channel).is_some_and(|entries| entries.summary().first <= *up_to)
        })
    }

    /// The bytes are gone. What each channel lost was known by the purges, and has to be known without them.
    fn erased(&self, purges: &[Purge]) -> Result<(), WriteError> {
        let removed = self.store.catalog.segments.lock().removed.clone();
        removed.write(&*self.store.catalog.disk)?;
        log::info!("{}: {} purges were removed from the disk", self.directory(), purges.len());
        Ok(())
    }
}

/// A job that removes the states of purges.
fn removal(purges: &[Purge]) -> Job {
    let states = purges.iter().map(Purge::removal).collect();
    // Nobody waits for the answer: if it fails, all of it is done again later.
    let (reply, _) = oneshot::channel();
    Job { drafts: Vec::new(), states, claim: None, bytes: mem::size_of_val(purges), reply, _permit: None }
}
