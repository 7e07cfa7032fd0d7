//! The bus of one process whose log is on disk: a restart loses nothing.
//!
//! ```text
//! publish ─▶ Queue ─▶ Writer, one thread: write, sync, index ─▶ Log in memory ─▶ readers
//!                         │
//!                         ▼
//!            segments, each with an index when it is sealed  ─▶ readers of older messages
//! ```
//!
//! A log is appended to at its end and trimmed at its beginning. So it is stored in append-only files, not in a key-value store. [`record`]
//! is their format, [`segment`] a file of them, [`index`] finds the messages of a channel, [`store`] writes, [`open`] starts after whatever
//! happened, and [`disk`] is the interface to the system. See `docs/decisions/0080-file-bus.md`.

use std::{fmt, io, path::Path, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

use self::{
    archive::DiskArchive,
    catalog::Catalog,
    disk::Directory,
    publishing::ROOM_KIB,
    queue::Queue,
    state::{DiskState, Problem},
    states::States,
};
use super::{
    Answer, Bus, BusError, DiskStats, Entry, EntryChange, IdempotencyKey, KeyStats, Lease, Publication, Published,
    Record, StateTable, Stored, StoredState,
    answers::{Answers, Claim},
};
use crate::{
    live::{
        clock::Clock,
        degraded::{Degradation, reason},
        log::{Limits, Log},
    },
    pure::{
        ChannelName, Cursor, Draft,
        stream::{StreamInfo, StreamOp, StreamReply},
    },
};

mod archive;
mod backup;
mod catalog;
pub mod disk;
mod error;
mod import;
mod index;
mod indexing;
mod info;
mod load;
mod open;
mod options;
mod progress;
mod publishing;
mod purge;
mod queue;
mod record;
mod records;
mod removed;
mod repair;
mod retention;
mod segment;
mod start;
mod state;
mod states;
pub mod stepped;
mod store;
mod streams;
mod task;
mod writer;

pub use backup::{Copied, back_up};
pub use error::OpenError;
pub use import::{Imported, import, import_log};
pub use info::{Info, info};
pub use options::{FileOptions, Fsync};
pub use repair::{Cut, Decisions, Examined, Lack, examine, repair};

/// How long the end of the process waits for the disk.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Threads that read older messages.
const READERS: usize = 2;

/// A bus whose log is on disk. When it is dropped, the writer finishes its queue and stops.
pub struct FileBus {
    log: Arc<Log>,
    states: Arc<Mutex<States>>,
    catalog: Arc<Catalog>,
    archive: Arc<DiskArchive>,
    answers: Arc<Mutex<Answers>>,
    state: Arc<DiskState>,
    queue: Arc<Queue>,
    room: Arc<Semaphore>,
    clock: Clock,
    /// The length at which a segment is sealed.
    segment_bytes: u64,
    /// The bytes of purged messages leave the disk within this time.
    purge_within: Duration,
    /// The records at the start, until somebody takes them.
    stored: Mutex<Option<mpsc::UnboundedReceiver<Stored>>>,
}

impl FileBus {
    /// The bus on the directory at `path`, which is created if it does not exist. `limits` are those of the memory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, options: FileOptions, limits: Limits, clock: Clock) -> Result<Self, OpenError> {
        let directory = Directory::open(path).map_err(|error| OpenError::Disk {
            directory: path.display().to_string(),
            what: "cannot open the directory".to_owned(),
            error,
        })?;
        let (bus, writer) = Self::on(Arc::new(directory), options, options.segment_bytes(), limits, clock)?;
        let (queue, archive) = (bus.queue.clone(), bus.archive.clone());
        start("log-writer", move || writer.run(&queue))
            .and_then(|()| {
                (0..READERS).try_for_each(|_| {
                    let archive = archive.clone();
                    start("log-reader", move || archive.run())
                })
            })
            .map_err(|error| OpenError::Disk {
                directory: path.display().to_string(),
                what: "cannot start a thread".to_owned(),
                error,
            })?;
        Ok(bus)
    }
}

impl FileBus {
    /// How long ago the oldest purge was whose messages may still be on disk.
    fn purge_age(&self) -> Duration {
        let oldest_ms = purge::oldest_ms(&self.states.lock());
        let now_ms = (self.clock)().time_ms;
        oldest_ms.map_or(Duration::ZERO, |at_ms| Duration::from_millis(now_ms.saturating_sub(at_ms)))
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

impl Bus for FileBus {
    fn log(&self) -> &Arc<Log> {
        &self.log
    }

    fn publish(&self, publication: Publication) -> Answer<'_, Result<Published, BusError>> {
        Box::pin(self.publish_within(publication))
    }

    fn find<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        drafts: &'a [Draft],
    ) -> Answer<'a, Result<Option<Published>, BusError>> {
        let claim = Claim::of(key, drafts);
        let found = self.answers.lock().find(&claim, self.log.epoch(), (self.clock)().mono_ms);
        Box::pin(std::future::ready(found))
    }

    fn states(&self, table: StateTable) -> Vec<StoredState> {
        self.states.lock().of(table, (self.clock)().time_ms)
    }

    fn wait_for(&self, _: Cursor) -> Answer<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn filled(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// A full disk is not an error here: readers are served.
    fn ready(&self) -> Result<(), BusError> {
        match self.state.error() {
            None | Some(BusError::DiskFull(_)) => Ok(()),
            Some(error) => Err(error),
        }
    }

    fn sweep(&self) -> bool {
        let now = (self.clock)();
        let is_more = self.answers.lock().sweep(now.mono_ms) | self.log.sweep(now);
        if !is_more {
            self.queue.check();
        }
        is_more
    }

    fn purge(&self, channel: ChannelName) -> Answer<'_, Result<Cursor, BusError>> {
        Box::pin(async move {
            let head = self.log.head();
            let (_, states) = self.plan_purge(channel);
            self.publish(Publication::of_states(states)).await?;
            Ok(head)
        })
    }

    fn stream(&self, op: StreamOp) -> Answer<'_, Result<StreamReply, BusError>> {
        Box::pin(self.change_stream(op))
    }

    fn stream_info(&self, channel: &ChannelName, renews: bool) -> Result<StreamInfo, BusError> {
        self.log.stream_info(channel, renews, (self.clock)()).map_err(BusError::Stream)
    }

    fn store(&self, records: Vec<Record>) -> Answer<'_, Result<(), BusError>> {
        let states = records.into_iter().map(records::state_of).collect();
        Box::pin(async move { self.publish(Publication::of_states(states)).await.map(drop) })
    }

    fn stored(&self) -> Option<mpsc::UnboundedReceiver<Stored>> {
        self.stored.lock().take()
    }

    fn keys(&self) -> KeyStats {
        self.answers.lock().keys().stats()
    }

    fn publishing_bytes(&self) -> usize {
        (ROOM_KIB - self.room.available_permits().min(ROOM_KIB)) * 1024
    }

    fn degraded(&self) -> Vec<Degradation> {
        let mut all = Vec::new();
        if let Some(Problem::Full(message)) = &*self.state.problem.lock() {
            let message = format!("nothing can be published until there is space: {message}");
            all.push(Degradation::new(reason::DISK_FULL, message));
        }
        let age = self.purge_age();
        if age > self.purge_within {
            let (hours, directory) = (age.as_secs() / 3_600, self.catalog.disk.directory());
            let message =
                format!("{directory}: messages that were purged {hours} h ago are not erased: the log says why");
            all.push(Degradation::new(reason::PURGE_OVERDUE, message));
        }
        all
    }

    fn failed(&self) -> Answer<'_, String> {
        Box::pin(async move {
            let mut failure = self.state.failure.subscribe();
            // This process owns the sender, so there is always an answer.
            let reason = failure.wait_for(Option::is_some).await.map(|reason| reason.clone());
            reason.ok().flatten().unwrap_or_default()
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.queue.close();
            let mut has_ended = self.state.has_ended.subscribe();
            // A disk that does not answer does not keep the process.
            if timeout(CLOSE_TIMEOUT, has_ended.wait_for(|has_ended| *has_ended)).await.is_err() {
                let (directory, waited) = (self.catalog.disk.directory(), CLOSE_TIMEOUT.as_secs());
                log::error!("{directory}: the disk did not answer within {waited} s; the log was not closed cleanly");
            }
        })
    }

    fn disk(&self) -> Option<DiskStats> {
        let ((bytes, segments), (syncs, sync_time)) = (self.catalog.size(), self.state.syncs());
        let states = self.states.lock().sizes();
        let purge_age = self.purge_age();
        let reading = self.archive.buffered();
        Some(DiskStats { bytes, segments, states, purge_age, reading, syncs, sync_time })
    }

    /// No other process can have it.
    fn lease(&self, _: &'static str, _: Duration) -> Answer<'_, Option<Lease>> {
        Box::pin(std::future::ready(Some(Lease::Kept)))
    }

    fn read_state(&self, name: &'static str) -> Answer<'_, Result<Option<Bytes>, BusError>> {
        Box::pin(std::future::ready(Ok(records::of_lease(&self.states.lock(), name))))
    }

    fn write_state(&self, name: &'static str, state: Bytes) -> Answer<'_, Result<(), BusError>> {
        self.store_state(records::lease(name, &state))
    }

    fn read_entries(&self, name: &'static str) -> Answer<'_, Result<Vec<Entry>, BusError>> {
        Box::pin(std::future::ready(Ok(records::entries_of(&self.states.lock(), name))))
    }

    fn write_entries(&self, name: &'static str, changes: Vec<EntryChange>) -> Answer<'_, Result<(), BusError>> {
        let states = changes.into_iter().map(|(key, value)| records::entry(name, &key, value)).collect();
        Box::pin(async move { self.publish(Publication::of_states(states)).await.map(drop) })
    }

    fn entry_space(&self) -> usize {
        records::entry_space(self.segment_bytes)
    }

    fn release(&self, _: &'static str, _: Cursor) -> Answer<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Drop for FileBus {
    fn drop(&mut self) {
        self.queue.close();
        self.archive.close();
    }
}

impl fmt::Debug for FileBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBus").field("log", &self.log).field("ready", &self.ready()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
