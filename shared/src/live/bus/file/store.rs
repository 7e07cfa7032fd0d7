//! The files of a log as its only writer sees them: writes, syncs, and the change to the next segment.
//!
//! A segment is sealed when it is large enough: it is synced, its index is written, and only then the next segment is created. So every
//! segment but the last is whole, whatever happens.

use std::{io, sync::Arc};

use parking_lot::Mutex;

use super::{
    catalog::{ActiveSegment, Catalog, SealedSegment},
    disk::{Disk, DiskFile},
    error::WriteError,
    index::{Copied, Pages},
    record::{Change, Encoder, Group, Hole},
    segment::{HEAD, Head, file_name, index_name},
    states::States,
};
use crate::{
    live::{clock::Clock, log::Log},
    pure::{ChannelName, Cursor},
};

/// The memory of the index of the segment that is written; beyond, the segment is sealed early.
const INDEX_BYTES: usize = 16 << 20;

/// Maximum number of holes that are remembered.
const MAX_HOLES: usize = 64;

/// A message that has been encoded, for the index.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) channel: ChannelName,
    pub(super) id: Cursor,
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) catalog: Arc<Catalog>,
    pub(super) created_ms: u64,
    /// The newest id that was written, or may have been handed out.
    pub(super) last: Cursor,
    pub(super) holes: Vec<Hole>,
    /// What outlives the process, besides messages.
    pub(super) states: Arc<Mutex<States>>,
    pub(super) boot: u64,
    /// Ids up to this millisecond may be handed out before they are durable; 0 if none are.
    pub(super) reserved_ms: u64,
    /// How much of the segment is durable.
    pub(super) synced: u64,
    /// Whether a group after the last record says that everything before it is durable.
    pub(super) is_confirmed: bool,
    /// The length at which a segment is sealed.
    pub(super) segment_bytes: u64,
    /// The log whose streams are written with each segment, and its clock.
    pub(super) streams: Option<(Arc<Log>, Clock)>,
    /// The bytes of the last checkpoint.
    pub(super) checkpoint_bytes: u64,
}

impl Store {
    /// Begins a write at the end of the log.
    pub(super) fn begin(&self) -> Encoder {
        let mut encoder = self.begin_group();
        if !self.catalog.segments.lock().active.has_checkpoint {
            // Each segment has all of them, so that they outlive the segments before.
            self.holes.iter().for_each(|hole| encoder.hole(*hole));
            self.states.lock().encode(&mut encoder);
            let streams = self.streams.as_ref().map(|(log, clock)| log.saved_streams(clock()));
            streams.into_iter().flatten().for_each(|record| encoder.stream(&record.encode(), true));
            encoder.checkpoint();
        }
        encoder
    }

    /// As [`begin`](Self::begin), without a checkpoint.
    pub(super) fn begin_group(&self) -> Encoder {
        let segments = self.catalog.segments.lock();
        let mut encoder = Encoder::new(segments.active.salt, segments.active.length);
        encoder.group(Group { synced: self.synced, reserved_ms: self.reserved_ms, boot: self.boot });
        encoder
    }

    /// Writes what was encoded since [`begin`](Self::begin). It is not durable yet, and readers of the disk do not see it.
    ///
    /// # Errors
    /// When it cannot be written; then nothing of it is there, except if [`undo`](Self::undo) fails.
    pub(super) fn write(&mut self, encoder: &Encoder) -> io::Result<()> {
        let (file, at) = self.end();
        file.write_at(encoder.bytes(), at)
    }

    /// Removes what a failed write left, so that no power cut brings it back.
    ///
    /// # Errors
    /// When it is not known any more what the file has.
    pub(super) fn undo(&mut self) -> io::Result<()> {
        let (file, at) = self.end();
        if file.length()? > at {
            file.set_len(at)?;
            file.sync()?;
        }
        Ok(())
    }

    /// The segment, and where the next record will be in it.
    pub(super) fn end(&self) -> (Arc<dyn DiskFile>, u64) {
        let segments = self.catalog.segments.lock();
        (segments.active.file.clone(), segments.active.length)
    }

    /// Adds what was written: it counts from now on.
    pub(super) fn commit(&mut self, encoder: &Encoder, placed: &[Placed]) {
        let mut segments = self.catalog.segments.lock();
        let active = &mut segments.active;
        active.length += encoder.bytes().len() as u64;
        active.has_checkpoint |= encoder.has_checkpoint;
        if encoder.has_checkpoint {
            self.checkpoint_bytes = encoder.checkpoint_bytes as u64;
        }
        // Only the writer has the index for longer than it has the lock, and not now: nothing is copied.
        let index = Arc::make_mut(&mut active.index);
        for Placed { channel, id, offset, length } in placed {
            index.add(channel, *id, *offset, *length as u64);
        }
        drop(segments);
        self.last = placed.last().map_or(self.last, |last| last.id);
        self.is_confirmed = false;
    }

    /// Adds what was written besides messages and states: messages of streams out of order, and positions up to `last`.
    pub(super) fn commit_streams(&mut self, copied: Vec<Copied>, last: Cursor) {
        self.last = self.last.max(last);
        if !copied.is_empty() {
            let mut segments = self.catalog.segments.lock();
            let index = Arc::make_mut(&mut segments.active.index);
            copied.into_iter().for_each(|copied| index.add_copy(copied));
        }
    }

    /// Makes everything up to the end of what is written durable, committed or not.
    ///
    /// # Errors
    /// When that fails: the log cannot go on then.
    pub(super) fn sync(&mut self, written: u64) -> io::Result<()> {
        let (file, at) = self.end();
        file.sync()?;
        self.synced = at + written;
        Ok(())
    }

    /// Records that ids after those in the log were handed out and are lost, and continues after them; and changes of states, which need not be
    /// loaded yet.
    ///
    /// # Errors
    /// When it cannot be written and synced.
    pub(super) fn add_hole<'a>(&mut self, hole: Hole, changes: impl IntoIterator<Item = Change<'a>>) -> io::Result<()> {
        self.holes.push(hole);
        self.last = self.last.max(hole.up_to);
        let excess = self.holes.len().saturating_sub(MAX_HOLES);
        self.holes.drain(..excess);
        let mut encoder = self.begin_group();
        encoder.hole(hole);
        for change in changes {
            encoder.state(change, true);
        }
        self.write(&encoder)?;
        self.sync(encoder.bytes().len() as u64)?;
        self.commit(&encoder, &[]);
        Ok(())
    }

    /// Whether so many bytes can be written. They are to be [undone](Self::undo).
    ///
    /// # Errors
    /// The one that a write would have.
    pub(super) fn has_space(&self, bytes: usize) -> io::Result<()> {
        let (file, at) = self.end();
        file.write_at(&vec![0; bytes], at)
    }

    /// The newest id up to `last` that was issued and is not lost.
    pub(super) fn issued_up_to(&self, last: Cursor) -> Cursor {
        let mut last = last;
        while let Some(hole) = self.holes.iter().find(|hole| last > hole.after && last <= hole.up_to) {
            last = hole.after;
        }
        last
    }

    /// Whether something is not durable.
    pub(super) fn is_dirty(&self) -> bool {
        self.synced < self.catalog.segments.lock().active.length
    }

    /// Whether the segment is large enough to be sealed.
    pub(super) fn is_full(&self) -> bool {
        // Most of a segment is not its checkpoint.
        let least = self.segment_bytes.max(2 * self.states.lock().bytes() as u64).max(2 * self.checkpoint_bytes);
        let segments = self.catalog.segments.lock();
        // Until it has the states, they are only in the one before.
        let is_large = segments.active.length >= least || segments.active.index.memory >= INDEX_BYTES;
        is_large && segments.active.has_checkpoint
    }

    /// Seals the segment and begins the next one.
    ///
    /// # Errors
    /// With [`WriteError::Other`], the log can continue with the same segment.
    pub(super) fn roll(&mut self) -> Result<(), WriteError> {
        if self.is_dirty() {
            self.sync(0).map_err(WriteError::Sync)?;
        }
        let disk = self.catalog.disk.clone();
        let (number, salt, length, index) = {
            let active = &self.catalog.segments.lock().active;
            (active.number, active.salt, active.length, active.index.clone())
        };
        // Readers look at the index meanwhile.
        let bytes = index.encode(number, salt, length);
        let head = Head { salt: disk.random(), number: number + 1, created_ms: self.created_ms, before: self.last };
        let created = write_index(&*disk, number, &bytes).and_then(|()| create(&*disk, &head));
        let file = created.inspect_err(|_| {
            // Its space is needed, and it will be another one.
            let _ = disk.remove(&index_name(number));
        })?;
        let sealed = index.sealed(number, salt, length);
        let copies = index.copies.clone().into();
        let segment = SealedSegment { copies, ..SealedSegment::new(sealed, Pages::of(&bytes)) };
        let mut segments = self.catalog.segments.lock();
        segments.active = ActiveSegment {
            number: head.number,
            salt: head.salt,
            file,
            length: HEAD,
            index: Arc::default(),
            has_checkpoint: false,
        };
        Arc::make_mut(&mut segments.sealed).push(Arc::new(segment));
        drop(segments);
        self.synced = HEAD;
        self.is_confirmed = true;
        // All ids that were handed out are durable now. The next ones are reserved again, since the new segment does not say anything yet.
        self.reserved_ms = 0;
        Ok(())
    }
}

/// Writes the index of a sealed segment.
pub(super) fn write_index(disk: &dyn Disk, number: u64, bytes: &[u8]) -> Result<(), WriteError> {
    // It is checked by its checksum when it is read, and can be made again: no other name is needed until it is whole.
    let file = disk.create(&index_name(number)).map_err(WriteError::Other)?;
    file.write_at(bytes, 0).map_err(WriteError::Other)?;
    file.sync().map_err(WriteError::Sync)
}

/// Creates a segment, which is there after a power cut.
pub(super) fn create(disk: &dyn Disk, head: &Head) -> Result<Arc<dyn DiskFile>, WriteError> {
    let file = disk.create(&file_name(head.number)).map_err(WriteError::Other)?;
    if let Err(error) = file.write_at(&head.encode(), 0) {
        // The log continues in the segment before, which is the newest one then.
        let _ = disk.remove(&file_name(head.number));
        return Err(WriteError::Other(error));
    }
    file.sync().map_err(WriteError::Sync)?;
    disk.sync_names().map_err(WriteError::Sync)?;
    Ok(file)
}
