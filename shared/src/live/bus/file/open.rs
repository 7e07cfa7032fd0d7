//! Opening a log: what a crash left is completed or cut, and what is damaged is reported.
//!
//! ```text
//! lock ─▶ segments by their names ─▶ index of each sealed one, made again if it is missing ─▶ scan of the last one ─▶ its torn end is cut
//! ```

use std::{collections::HashMap, io, sync::Arc};

use parking_lot::Mutex;

use super::{
    catalog::{ActiveSegment, Catalog, SealedSegment, Segments},
    disk::{Disk, DiskFile},
    error::OpenError,
    index::{Pages, sealed},
    indexing::Indexing,
    progress::Progress,
    purge,
    record::Hole,
    removed::Removed,
    repair::plan::{self, Plan},
    segment::{self, HEAD, Head, Scanned, Visit, file_name, index_name},
    store::{self, Store},
};
use crate::pure::Cursor;

struct Opening {
    disk: Arc<dyn Disk>,
    directory: String,
}

impl Opening {
    fn error(&self, what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
        let (directory, what) = (self.directory.clone(), what.into());
        move |error| OpenError::Disk { directory, what, error }
    }

    fn damaged(&self, file: String, offset: u64, lost: impl Into<String>) -> OpenError {
        OpenError::Damaged { directory: self.directory.clone(), file, offset, lost: lost.into() }
    }

    /// Removes what an interrupted start or removal left, and returns the numbers of the segments.
    fn numbers(&self, removed: &Removed) -> Result<Vec<u64>, OpenError> {
        let names = self.disk.list().map_err(self.error("cannot list the directory"))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number_of(name)).collect();
        numbers.sort_unstable();
        for name in names.iter().filter(|name| purge::is_unfinished(name)) {
            self.disk.remove(name).map_err(self.error(format!("cannot remove {name}")))?;
        }
        let (gone, kept): (Vec<u64>, Vec<u64>) = numbers.into_iter().partition(|number| *number < removed.oldest);
        for number in gone {
            for name in [file_name(number), index_name(number)] {
                match self.disk.remove(&name) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(self.error(format!("cannot remove {name}"))(error));
                    }
                    _ => {}
                }
            }
        }
        for (expected, &number) in (removed.oldest.max(1)..).zip(&kept) {
            if number != expected {
                let lost = format!("the messages of the segments before {}", file_name(number));
                return Err(self.damaged(file_name(expected), 0, lost));
            }
        }
        Ok(kept)
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>, OpenError> {
        self.disk.open(name).map_err(self.error(format!("cannot open {name}")))
    }

    /// A segment that has a successor: its index is read, or made again.
    fn sealed(&self, number: u64) -> Result<SealedSegment, OpenError> {
        let name = file_name(number);
        let file = self.open(&name)?;
        let length = file.length().map_err(self.error(format!("cannot read {name}")))?;
        let index = self.disk.open(&index_name(number)).and_then(|index| sealed::check(&*index));
        match index {
            Ok((sealed, _)) if sealed.number == number && sealed.length > length => {
                Err(self.damaged(name, length, format!("{} bytes that were there", sealed.length - length)))
            }
            Ok((sealed, pages)) if sealed.number == number && sealed.length == length => {
                Ok(SealedSegment::new(sealed, pages))
            }
            _ => {
                log::warn!("{}: the index of {name} is missing or damaged; rebuilding it", self.directory);
                let head = Head::read(&*file).map_err(self.error(format!("cannot read {name}")))?;
                let Some(head) = head.filter(|head| head.number == number) else {
                    return Err(self.damaged(name, 0, "all of its messages"));
                };
                let mut indexing = Indexing::default();
                let scanned = self.scan(&*file, &head, &mut indexing)?;
                if let Some(bad) = scanned.bad {
                    return Err(self.damaged(name, bad, scanned.lost(bad, length)));
                }
                let bytes = indexing.index.encode(number, head.salt, length);
                let written = store::write_index(&*self.disk, number, &bytes);
                written.map_err(io::Error::from).map_err(self.error("cannot write an index"))?;
                let sealed = indexing.index.sealed(number, head.salt, length);
                let copies = indexing.index.copies.into();
                Ok(SealedSegment { copies, ..SealedSegment::new(sealed, Pages::of(&bytes)) })
            }
        }
    }

    /// The holes that a segment has.
    fn holes(&self, segment: &SealedSegment) -> Result<Vec<Hole>, OpenError> {
        let (name, sealed) = (file_name(segment.sealed.number), &segment.sealed);
        let file = self.open(&name)?;
        let head = Head::read(&*file).map_err(self.error(format!("cannot read {name}")))?;
        let Some(head) = head else { return Err(self.damaged(name, 0, "all of its messages")) };
        let mut indexing = Indexing::default();
        let scanned = self.scan(&*file, &head, &mut indexing)?;
        match scanned.bad {
            Some(bad) => Err(self.damaged(name, bad, scanned.lost(bad, sealed.length))),
            None => Ok(indexing.holes),
        }
    }

    fn scan(&self, file: &dyn DiskFile, head: &Head, visit: &mut impl Visit) -> Result<Scanned, OpenError> {
        segment::scan(file, head.salt, HEAD, visit)
            .map_err(self.error(format!("cannot read {}", file_name(head.number))))
    }
}

/// Opens the log on `disk`, or begins one. `now_ms` is the time of day; a segment is sealed when it has `segment_bytes`.
///
/// # Errors
/// [`OpenError`].
pub(super) fn open(disk: Arc<dyn Disk>, now_ms: u64, segment_bytes: u64) -> Result<Store, OpenError> {
    lock(&*disk)?;
    open_locked(disk, now_ms, segment_bytes)
}

/// Locks the directory.
pub(super) fn lock(disk: &dyn Disk) -> Result<(), OpenError> {
    let directory = disk.directory();
    disk.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { directory, owner: error.to_string() },
        _ => OpenError::Disk { directory, what: "cannot lock the directory".to_owned(), error },
    })
}

/// As [`open`], for a directory that this process has locked.
pub(super) fn open_locked(disk: Arc<dyn Disk>, now_ms: u64, segment_bytes: u64) -> Result<Store, OpenError> {
    let opening = Opening { directory: disk.directory(), disk: disk.clone() };
    let removed = Removed::read(&*disk).map_err(opening.error("cannot read the table of dropped messages"))?;
    let removed = removed.ok_or_else(|| {
        opening.damaged("dropped".to_owned(), 0, "the knowledge which channels lost messages by retention")
    })?;
    let plan = Plan::read(&*disk).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => opening.damaged(plan::NAME.to_owned(), 0, "nothing"),
        _ => opening.error("cannot read")(error),
    })?;
    if let Some(plan) = &plan {
        log::info!("{}: completing an interrupted repair: the log is cut", opening.directory);
        plan.cut(&*disk).map_err(opening.error("cannot cut the log"))?;
    }
    let mut numbers = opening.numbers(&removed)?;

    // The last segment may have been created and never used; then the one before may have been written to after that.
    let (mut last, mut is_newest) = (None, true);
    while let (None, Some(&number)) = (&last, numbers.last()) {
        let name = file_name(number);
        let file = opening.open(&name)?;
        let length = file.length().map_err(opening.error(format!("cannot read {name}")))?;
        numbers.pop();
        match Head::read(&*file).map_err(opening.error(format!("cannot read {name}")))? {
            Some(head) if head.number == number => last = Some((head, file, length)),
            _ if length > HEAD || !is_newest => return Err(opening.damaged(name, 0, "all of its messages")),
            _ => disk.remove(&name).map_err(opening.error(format!("cannot remove {name}")))?,
        }
        is_newest = false;
    }
    let mut progress = Progress::new(&opening.directory, "the log is opened");
    let sealed = numbers.iter().enumerate().map(|(done, number)| {
        progress.report(done, numbers.len());
        opening.sealed(*number).map(Arc::new)
    });
    let sealed = sealed.collect::<Result<Vec<Arc<SealedSegment>>, _>>()?;

    let mut indexing = Indexing::default();
    let mut scanned = Scanned { end: HEAD, ..Scanned::default() };
    let (head, file) = match last {
        Some((head, file, length)) => {
            indexing.last = head.before;
            scanned = opening.scan(&*file, &head, &mut indexing)?;
            if let Some(bad) = scanned.bad {
                let read = opening.error(format!("cannot read {}", file_name(head.number)));
                if scanned.is_invalid || segment::was_durable(&*file, head.salt, bad).map_err(read)? {
                    let lost = scanned.lost(bad, length);
                    return Err(opening.damaged(file_name(head.number), bad, lost));
                }
                log::info!(
                    "{}: {} bytes at the end of {}, which were not written completely, are cut",
                    opening.directory,
                    length - scanned.end,
                    file_name(head.number)
                );
                file.set_len(scanned.end).map_err(opening.error("cannot cut the log"))?;
            }
            (head, file)
        }
        None => {
            let head = Head {
                salt: disk.random(),
                number: removed.oldest.max(1),
                created_ms: now_ms.max(Cursor::FIRST_ISSUED.ms),
                before: Cursor::ZERO,
            };
            let file = store::create(&*disk, &head).map_err(io::Error::from);
            (head, file.map_err(opening.error("cannot write"))?)
        }
    };
    // What an earlier process left in the cache of the system is shown to readers only once it is durable.
    let proven = scanned.group.synced.min(scanned.end);
    segment::rewrite(&*file, proven, scanned.end).map_err(opening.error("cannot write"))?;
    // And its length: a sync that failed may have lost that an incomplete write was cut.
    file.set_len(scanned.end).map_err(opening.error("cannot cut the log"))?;
    file.sync().map_err(opening.error("cannot sync the log"))?;
    disk.sync_names().map_err(opening.error("cannot sync the directory"))?;

    // Without a checkpoint, the holes are in the segment before. The next write repeats them.
    if !indexing.has_checkpoint
        && let Some(before) = sealed.last()
    {
        let mut holes = opening.holes(before)?;
        indexing.holes.retain(|hole| !holes.contains(hole));
        holes.append(&mut indexing.holes);
        indexing.holes = holes;
    }

    let boot = disk.boot().unwrap_or_default();
    let index = Arc::new(indexing.index);
    let has_checkpoint = indexing.has_checkpoint;
    let active =
        ActiveSegment { number: head.number, salt: head.salt, file, length: scanned.end, index, has_checkpoint };
    let segments =
        Segments { sealed: Arc::new(sealed), active, removed: Arc::new(removed), purged: HashMap::new(), purges: 0 };
    let floor = Cursor::new(head.created_ms, 0);
    let mut store = Store {
        catalog: Arc::new(Catalog { disk, segments: Mutex::new(segments) }),
        created_ms: head.created_ms,
        last: indexing.last.max(head.before).max(floor),
        holes: indexing.holes,
        states: Arc::default(),
        boot,
        reserved_ms: 0,
        synced: scanned.end,
        is_confirmed: scanned.end == HEAD || scanned.is_confirmed(),
        segment_bytes,
        streams: None,
        checkpoint_bytes: 0,
    };
    if let Some(hole) = scanned.hole(store.last, boot) {
        log::warn!("{}: messages after {} may be lost by a power cut", opening.directory, hole.after);
        // If this is interrupted after the group, that group is the last one: it has to say so again, also if the system runs on.
        (store.boot, store.reserved_ms) = (0, scanned.group.reserved_ms);
        store.add_hole(hole, []).map_err(opening.error("cannot write"))?;
        (store.boot, store.reserved_ms) = (boot, 0);
    }
    if let Some(plan) = plan {
        plan.complete(&mut store, now_ms).map_err(opening.error("cannot write"))?;
    }
    Ok(store)
}
