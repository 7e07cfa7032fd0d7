//! How the bus starts: the log is opened, and what the memory has is loaded.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

use super::{
    FileBus, FileOptions, OpenError, archive::DiskArchive, disk::Disk, load, open, publishing::ROOM_KIB, purge,
    records, retention, segment, task::Tasks, writer, writer::Writer,
};
use crate::{
    live::{
        bus::{Stored, answers::Answers},
        clock::Clock,
        log::{Limits, Log},
    },
    pure::Cursor,
    throttle::Throttle,
};

/// How often a warning is repeated.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// The memory for messages that are loaded at the start, if there is no limit.
const LOADED: usize = 512 << 20;
/// Streams take at most this part of the disk, counted as memory: what retention removes is written again for them.
const STREAMS: u64 = 4;

impl FileBus {
    /// The bus on `disk`, and its writer, which does not run yet. A segment is sealed at `segment_bytes`.
    pub(super) fn on(
        disk: Arc<dyn Disk>,
        options: FileOptions,
        segment_bytes: u64,
        limits: Limits,
        clock: Clock,
    ) -> Result<(Self, Writer), OpenError> {
        let (directory, now) = (disk.directory(), clock());
        // What is written again for streams is a part of the disk only.
        let most = options.total.map(|total| usize::try_from(total / STREAMS).unwrap_or(usize::MAX));
        let limits = Limits { streams: limits.streams.into_iter().chain(most).min(), ..limits };
        let failed = |error| OpenError::Disk { directory: directory.clone(), what: "cannot read".to_owned(), error };
        let mut store = open::open(disk, now.time_ms, segment_bytes)?;
        let catalog = store.catalog.clone();
        retention::reserve(&catalog);
        let plan = load::plan(
            &catalog,
            limits.total.unwrap_or(LOADED).min(LOADED),
            now.time_ms.saturating_sub(writer::TTL_MS),
        )
        .map_err(failed)?;
        let holes = store.holes.iter().map(|hole| (hole.after, hole.up_to)).collect();
        let archive = Arc::new(DiskArchive::new(catalog.clone(), limits, clock));
        let log = Log::new(limits, Cursor::new(store.created_ms, 0)).with_holes(holes).with_archive(archive.clone());
        let log = Arc::new(log);
        store.streams = Some((log.clone(), clock));
        // Clients get no cursor of a lost part: it would be a gap again.
        log.mark_lost_up_to(store.issued_up_to(plan.before));
        let mut answers = Answers::new(options.key_bytes);
        let states = store.states.clone();
        let loaded = load::load(&catalog, &plan, &log, now, |change| match change.table {
            writer::KEYS => drop(writer::restore_key(&mut answers, change, now)),
            _ => states.lock().apply(change),
        });
        if let Err(bad) = loaded.map_err(failed)? {
            return Err(OpenError::Damaged {
                file: segment::file_name(bad.number),
                offset: bad.offset,
                lost: bad.lost,
                directory,
            });
        }
        // Messages of the loaded segments may have been erased, also the newest ones.
        let removed = catalog.segments.lock().removed.clone();
        let (forgotten, channels) = removed.after(plan.before);
        forgotten.into_iter().for_each(|last| log.forget_up_to(last));
        channels.for_each(|(channel, last)| log.purge_up_to(channel, last));
        log.continue_after(store.issued_up_to(store.last));
        states.lock().expire(now.time_ms);
        let purges = purge::all(&states.lock());
        purges.iter().for_each(|purge| purge.obey(&catalog, &log));
        let (sender, receiver) = mpsc::unbounded_channel();
        // The receiver is here.
        let _ = sender.send(Stored::new(records::all(&states.lock(), now.time_ms), None));
        let bus = Self {
            log: log.clone(),
            states,
            catalog,
            archive,
            answers: Arc::new(Mutex::new(answers)),
            state: Arc::default(),
            queue: Arc::default(),
            room: Arc::new(Semaphore::new(ROOM_KIB)),
            clock,
            segment_bytes,
            purge_within: options.purge_within,
            stored: Mutex::new(Some(receiver)),
        };
        let writer = Writer {
            store,
            archive: bus.archive.clone(),
            log,
            answers: bus.answers.clone(),
            state: bus.state.clone(),
            clock,
            fsync: options.fsync,
            total: options.total,
            purge_within: options.purge_within,
            erasing: None,
            erase_after_ms: 0,
            left: purge::Left::default(),
            left_after_ms: 0,
            roll_after_ms: 0,
            // By an earlier process.
            is_kept: true,
            warnings: Throttle::new(WARN_EVERY),
            tasks: Tasks::Threads,
            dirty_since: None,
            syncing: None,
            promised_ms: 0,
            // What an earlier process wrote last may not be confirmed.
            written: Some(now.mono_ms),
            is_gone: false,
            moving: None,
            moved: None,
            owed: 0,
            needed: None,
            move_after_ms: 0,
        };
        Ok((bus, writer))
    }
}
