//! The bus on disk without threads: its owner runs the writer, the reads of older messages and the work beside them step by step, on any [`Disk`] and by
//! any clock. So a simulation decides in which order everything happens, and the same decisions give the same run.

use std::{sync::Arc, time::Duration};

use super::{
    Examined, FileBus, FileOptions, OpenError,
    disk::Disk,
    open,
    repair::{failed, read, repair_on},
    task::Tasks,
    writer::Writer,
};
use crate::live::{clock::Clock, log::Limits};

/// See the module. Dropping it is the end of its process, without an orderly end.
#[derive(Debug)]
pub struct SteppedBus {
    bus: Arc<FileBus>,
    writer: Option<Writer>,
}

impl SteppedBus {
    /// The bus on `disk`, whose segments are sealed at `segment_bytes`. `limits` are those of the memory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        options: FileOptions,
        segment_bytes: u64,
        limits: Limits,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let (bus, mut writer) = FileBus::on(disk, options, segment_bytes, limits, clock)?;
        writer.tasks = Tasks::Stepped;
        Ok(Self { bus: Arc::new(bus), writer: Some(writer) })
    }

    /// The bus. Its answers are there after the next [`write`](Self::write).
    #[must_use]
    pub fn bus(&self) -> &Arc<FileBus> {
        &self.bus
    }

    /// Time until the next timed task of the writer; `None` if there is no task.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.writer.as_ref().and_then(Writer::patience)
    }

    /// One round of the writer: it writes what waits, syncs what is due, and answers. Returns whether it can do more: it has ended after
    /// [`close`](crate::live::bus::Bus::close), and after a [failure](crate::live::bus::Bus::failed).
    pub fn write(&mut self) -> bool {
        let Some(writer) = &mut self.writer else { return false };
        if writer.round(&self.bus.queue, Some(Duration::ZERO)) {
            return true;
        }
        writer.end();
        self.writer = None;
        false
    }

    /// Runs one background task of the writer: a sync, or the erasure of purged messages. Returns whether there was one.
    pub fn work_beside(&mut self) -> bool {
        self.writer.as_mut().is_some_and(Writer::run_tasks)
    }

    /// Serves one request of a reader for older messages; `false` if there is none.
    #[must_use]
    pub fn read_older(&self) -> bool {
        self.bus.archive.serve_one()
    }
}

/// As [`examine`](super::examine), on any disk.
///
/// # Errors
/// As there.
pub fn examine_on(disk: &dyn Disk) -> Result<Examined, OpenError> {
    read(disk).map_err(failed(disk, "cannot read the log"))
}

/// As [`repair`](super::repair()), on any disk.
///
/// # Errors
/// As there.
pub fn repair_disk(disk: &Arc<dyn Disk>, now_ms: u64) -> Result<Examined, OpenError> {
    open::lock(&**disk)?;
    let repaired = repair_on(disk.clone(), now_ms);
    disk.unlock();
    repaired
}
