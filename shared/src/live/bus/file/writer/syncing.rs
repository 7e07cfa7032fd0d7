//! When what was written becomes durable, and what is written to prove it.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{Failure, Writer};
use crate::live::bus::file::{Fsync, disk::explain, task::Task};

/// With [`Fsync::EverySecond`], a sync begins so many milliseconds after the first publication that it makes durable.
const SYNC_AFTER_MS: u64 = 500;
/// With [`Fsync::EverySecond`], a publication that is written so many milliseconds after one that is not durable yet, or later, waits for a sync. So a
/// power cut takes the publications of this time at most, however long a sync takes.
const MAX_UNSYNCED_MS: u64 = 1_000;
/// After so many milliseconds without a publication, the log is confirmed.
const QUIET_MS: u64 = 1_000;

/// A sync on a thread of its own, so that publishers do not wait for it.
#[derive(Debug)]
pub(in crate::live::bus::file) struct Syncing {
    pub(super) task: Task<io::Result<()>>,
    /// When the first publication was written that it makes durable, as [`dirty_since`](Writer::dirty_since).
    since: Option<u64>,
    /// What it makes durable: the segment up to here, and a reservation up to this millisecond.
    up_to: u64,
    reserved_ms: u64,
}

impl Writer {
    /// How long the writer may wait for publications before [`keep`](Self::keep) has something to do.
    pub(in crate::live::bus::file) fn patience(&self) -> Option<Duration> {
        let sync = self.dirty_since.map(|since| since.saturating_add(SYNC_AFTER_MS));
        let confirm = self.written.filter(|_| self.is_confirmable()).map(|at| at.saturating_add(QUIET_MS));
        let moving = self.moving.as_ref().map(|_| self.move_after_ms);
        let due_ms = [sync, confirm, moving].into_iter().flatten().min()?;
        Some(Duration::from_millis(due_ms.saturating_sub(self.mono_ms())))
    }

    /// Syncs and confirms what is due.
    pub(super) fn keep(&mut self) -> Result<(), Failure> {
        self.join_finished_sync()?;
        if self.dirty_since.is_some_and(|since| self.mono_ms().saturating_sub(since) >= SYNC_AFTER_MS) {
            self.begin_sync()?;
        }
        if self.is_confirmable() && self.written.is_some_and(|at| self.mono_ms().saturating_sub(at) >= QUIET_MS) {
            self.confirm()?;
        }
        Ok(())
    }

    pub(in crate::live::bus::file) fn mono_ms(&self) -> u64 {
        (self.clock)().mono_ms
    }

    /// With [`Fsync::Never`], what would be confirmed is not durable.
    fn is_confirmable(&self) -> bool {
        !self.store.is_confirmed && !self.is_gone && self.fsync != Fsync::Never
    }

    /// Writes that nothing was handed out that is not here, and makes all of it durable.
    pub(in crate::live::bus::file) fn finish(&mut self) -> Result<(), Failure> {
        self.join_sync()?;
        if self.store.reserved_ms == 0 && self.store.is_confirmed && !self.store.is_dirty() {
            return Ok(());
        }
        self.store.reserved_ms = 0;
        self.confirm()
    }

    /// Makes everything durable, and writes that it is: then the last messages are known to be complete, and whatever is not valid among them
    /// is damaged, and not torn.
    pub(super) fn confirm(&mut self) -> Result<(), Failure> {
        self.written = None;
        if self.store.is_dirty() || self.syncing.is_some() {
            self.sync(0)?;
        }
        let encoder = self.store.begin();
        if let Err(error) = self.store.write(&encoder) {
            log::warn!("{}: the end of the log could not be confirmed: {}", self.directory(), explain(&error));
            return self.undo();
        }
        self.sync(encoder.bytes().len() as u64)?;
        self.store.commit(&encoder, &[]);
        self.store.is_confirmed = true;
        Ok(())
    }

    /// Makes everything durable that is committed, and `written` more bytes.
    pub(super) fn sync(&mut self, written: u64) -> Result<(), Failure> {
        // The system reports an error once, to one of the two.
        self.join_sync()?;
        let begun = Instant::now();
        let synced = self.store.sync(written);
        self.state.count_sync(begun.elapsed());
        self.dirty_since = None;
        self.promised_ms = self.store.reserved_ms;
        synced.map_err(|error| self.sync_failure(&error))
    }

    /// Begins to make everything durable that is committed.
    pub(super) fn begin_sync(&mut self) -> Result<(), Failure> {
        self.join_sync()?;
        let (file, up_to) = self.store.end();
        let state = self.state.clone();
        let run = move || {
            let begun = Instant::now();
            let synced = file.sync();
            state.count_sync(begun.elapsed());
            synced
        };
        match self.tasks.begin("log-sync", run) {
            Ok(task) => {
                let since = self.dirty_since.take();
                self.syncing = Some(Syncing { task, since, up_to, reserved_ms: self.store.reserved_ms });
                Ok(())
            }
            // Without a thread, publishers wait.
            Err(_) => self.sync(0),
        }
    }

    /// Whether the next publication has to wait for a sync, since others wait for one for too long.
    ///
    /// # Errors
    /// When the sync failed that runs.
    pub(super) fn is_sync_overdue(&mut self) -> Result<bool, Failure> {
        if self.fsync != Fsync::EverySecond {
            return Ok(false);
        }
        self.join_finished_sync()?;
        let running = self.syncing.as_ref().and_then(|syncing| syncing.since);
        let since = running.or(self.dirty_since);
        Ok(since.is_some_and(|since| self.mono_ms().saturating_sub(since) >= MAX_UNSYNCED_MS))
    }

    fn join_finished_sync(&mut self) -> Result<(), Failure> {
        match &self.syncing {
            Some(syncing) if syncing.task.is_finished() => self.join_sync(),
            _ => Ok(()),
        }
    }

    /// Runs what was begun and waits for its turn, without threads. Returns whether there was something.
    pub(in crate::live::bus::file) fn run_tasks(&mut self) -> bool {
        let has_synced = self.syncing.as_mut().is_some_and(|syncing| syncing.task.run());
        self.erasing.as_mut().is_some_and(|erasing| erasing.task.run()) || has_synced
    }

    /// Waits for the sync that was begun.
    pub(in crate::live::bus::file) fn join_sync(&mut self) -> Result<(), Failure> {
        let Some(Syncing { task, up_to, reserved_ms, .. }) = self.syncing.take() else { return Ok(()) };
        let ended = |_| Err(io::Error::other("its thread ended unexpectedly"));
        task.join().unwrap_or_else(ended).map_err(|error| self.sync_failure(&error))?;
        self.store.synced = self.store.synced.max(up_to);
        self.promised_ms = self.promised_ms.max(reserved_ms);
        Ok(())
    }

    pub(super) fn sync_failure(&self, error: &io::Error) -> Failure {
        Failure(format!(
            "{}: a sync failed ({}), so it is unknown which of the last messages are durable",
            self.directory(),
            explain(error)
        ))
    }
}
