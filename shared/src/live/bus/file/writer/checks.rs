//! Problems of the disk: they are noticed, reported, and end when the disk works again.

use std::{fmt, io};

use super::{Failure, TTL_MS, Writer};
use crate::live::bus::{
    BusError,
    file::{
        disk::{explain, is_full},
        error::WriteError,
        retention::{self, Enforced, Rules},
        state::Problem,
    },
};

/// The space that has to be free before publishing resumes after the disk was full.
const SPACE: usize = 64 * 1024;
/// The pause before a new segment is tried again, in milliseconds: each attempt writes the index of the old one.
const ROLL_AGAIN_MS: u64 = 1_000;

impl Writer {
    /// Checks whether the directory is still there, and whether a problem has ended.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        let is_there = self.store.catalog.disk.check();
        self.is_gone = is_there.is_err();
        if let Err(error) = is_there {
            self.problem(&error);
            return Ok(());
        }
        self.store.states.lock().expire((self.clock)().time_ms);
        self.remove_old(false)?;
        self.erase()?;
        self.store_due_streams()?;
        if self.state.problem.lock().is_none() {
            return Ok(());
        }
        match self.store.has_space(SPACE) {
            Ok(()) => self.solved(),
            Err(error) => drop(self.problem(&error)),
        }
        self.undo()
    }

    /// Begins the next segment. Returns the answer to publications if the directory is not the log any more.
    pub(in crate::live::bus::file) fn roll(&mut self) -> Result<Option<BusError>, Failure> {
        if let Err(error) = self.store.catalog.disk.check() {
            self.is_gone = true;
            return Ok(Some(self.problem(&error)));
        }
        self.join_sync()?;
        self.store.states.lock().expire((self.clock)().time_ms);
        match self.store.roll() {
            Ok(()) => {
                (self.dirty_since, self.written, self.promised_ms) = (None, None, 0);
                self.remove_old(true)?;
            }
            Err(WriteError::Sync(error)) => return Err(self.sync_failure(&error)),
            // The segment grows on, until there is space for the next one.
            Err(WriteError::Other(error)) => {
                self.warn("no new segment", explain(&error));
                self.roll_after_ms = (self.clock)().mono_ms.saturating_add(ROLL_AGAIN_MS);
            }
        }
        Ok(None)
    }

    /// Removes segments that are too old or exceed the space for the log.
    pub(super) fn remove_old(&mut self, has_new: bool) -> Result<(), Failure> {
        if self.moving.is_some() {
            // The oldest one cannot be removed before.
            return Ok(());
        }
        let has_keys = self.answers.lock().keys().stats().keys > 0;
        let keys_ms = if has_keys { (self.clock)().time_ms.saturating_sub(TTL_MS) } else { u64::MAX };
        let has_new = has_new || self.is_kept;
        let rules = Rules { total: self.total, keys_ms, has_new, moved: self.moved, needed: self.needed };
        match retention::enforce(&self.store.catalog, &self.archive, &self.log, &rules) {
            Ok(Enforced { count, is_kept, to_move, needed }) => {
                self.is_kept = has_new && is_kept;
                self.needed = needed;
                self.moved = self.moved.filter(|moved| self.store.catalog.is_sealed(*moved));
                if let Some(number) = to_move {
                    self.begin_moving(number);
                }
                if count > 0 {
                    log::debug!("{}: {count} segments were removed", self.directory());
                }
            }
            Err(WriteError::Sync(error)) => return Err(self.sync_failure(&error)),
            Err(WriteError::Other(error)) => {
                self.warn("old segments are not removed", explain(&error));
            }
        }
        retention::reserve(&self.store.catalog);
        Ok(())
    }

    /// Logs `reason: what` as a warning, unless one of this reason was logged a short time ago.
    pub(super) fn warn(&mut self, reason: &'static str, what: impl fmt::Display) {
        if let Some(suppressed) = self.warnings.admit(reason) {
            log::warn!("{}: {reason}: {what}{suppressed}", self.directory());
        }
    }

    pub(super) fn directory(&self) -> String {
        self.store.catalog.disk.directory()
    }

    pub(super) fn problem(&self, error: &io::Error) -> BusError {
        let message = format!("{}: {}", self.directory(), explain(error));
        let problem = if is_full(error) { Problem::Full(message) } else { Problem::Disk(message) };
        let answer = problem.error();
        let before = self.state.problem.lock().replace(problem.clone());
        if before.as_ref() != Some(&problem) {
            log::error!("nothing can be published: {answer}");
        }
        answer
    }

    pub(super) fn solved(&self) {
        if self.state.problem.lock().take().is_some() {
            log::info!("{}: messages can be published again", self.directory());
        }
    }

    pub(super) fn undo(&mut self) -> Result<(), Failure> {
        self.store.undo().map_err(|error| {
            let directory = self.directory();
            Failure(format!("{directory}: an incomplete write could not be undone: {}", explain(&error)))
        })
    }
}
