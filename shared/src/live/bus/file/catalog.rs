//! The segments of a log, as the writer changes them and readers of the disk see them.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;

use super::{
    disk::{Disk, DiskFile, is_unreadable},
    index::{Copies, Index, Pages, Sealed, sealed::SealedIndex},
    indexing::Indexing,
    removed::Removed,
    segment::{self, HEAD, file_name, index_name},
};
use crate::pure::{ChannelName, Cursor};

/// With more channels than this, those whose bytes have left the disk are forgotten.
const MAX_PURGED: usize = 65_536;

/// See the module.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) segments: Mutex<Segments>,
}

/// All segments.
#[derive(Debug)]
pub(super) struct Segments {
    /// Oldest first, without a missing number. Readers share the list.
    pub(super) sealed: Arc<Vec<Arc<SealedSegment>>>,
    /// The segment that is being written.
    pub(super) active: ActiveSegment,
    /// What each channel may have lost.
    pub(super) removed: Arc<Removed>,
    /// Up to which message each channel was purged. It has all purges whose bytes may still be on disk: what was purged is not read. Nothing else is left
    /// out, since `removed` may say more of a channel than it has lost.
    pub(super) purged: HashMap<ChannelName, Cursor>,
    /// How many purges were obeyed.
    pub(super) purges: u64,
}

/// A segment that does not change any more.
#[derive(Debug)]
pub(super) struct SealedSegment {
    pub(super) sealed: Sealed,
    /// Bytes of the segment and its index.
    pub(super) bytes: u64,
    /// Messages of streams that are not in the order of ids. A start learns it when it looks for streams.
    pub(super) copies: OnceLock<Copies>,
    /// Those of its index, as it was written or checked.
    pub(super) pages: Pages,
    /// Its index, made again when the file turned out to be damaged; `None` if the records are damaged, too.
    pub(super) made_again: OnceLock<Option<SealedIndex>>,
}

impl SealedSegment {
    pub(super) fn new(sealed: Sealed, pages: Pages) -> Self {
        let bytes = sealed.length + pages.length();
        Self { sealed, bytes, copies: OnceLock::new(), pages, made_again: OnceLock::new() }
    }

    /// Whether its index is in memory.
    pub(super) fn is_made_again(&self) -> bool {
        matches!(self.made_again.get(), Some(Some(_)))
    }
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    pub(super) number: u64,
    pub(super) salt: u32,
    pub(super) file: Arc<dyn DiskFile>,
    /// What is written and whole.
    pub(super) length: u64,
    pub(super) index: Arc<Index>,
    /// Whether it has all states and holes: until then, the segment before is needed. They are durable then, whatever `TRIDENT_FSYNC` says: the first
    /// write of a segment reserves ids, for which publishers wait until it is synced.
    pub(super) has_checkpoint: bool,
}

impl Segments {
    /// The newest message of a channel that is known to be purged.
    pub(super) fn purged(&self, channel: &ChannelName) -> Cursor {
        self.purged.get(channel).copied().unwrap_or_default()
    }

    /// The bytes of these purges have left the disk. They are remembered for readers that have read a piece before, as long as they are few.
    pub(super) fn forget_purged<'a>(&mut self, purges: impl Iterator<Item = (&'a ChannelName, Cursor)>) {
        for (channel, up_to) in purges {
            if self.purged.len() > MAX_PURGED && self.purged(channel) <= up_to {
                self.purged.remove(channel);
            }
        }
    }
}

impl Catalog {
    /// Bytes on disk, and the number of segments.
    pub(super) fn size(&self) -> (u64, usize) {
        let segments = self.segments.lock();
        let sealed: u64 = segments.sealed.iter().map(|segment| segment.bytes).sum();
        (sealed + segments.active.length, segments.sealed.len() + 1)
    }

    /// Whether there is a sealed segment `number`.
    pub(super) fn is_sealed(&self, number: u64) -> bool {
        self.segments.lock().sealed.iter().any(|segment| segment.sealed.number == number)
    }

    /// The index of a sealed segment.
    ///
    /// # Errors
    /// `NotFound` if it has been removed.
    pub(super) fn index(&self, segment: &SealedSegment) -> io::Result<SealedIndex> {
        if let Some(Some(index)) = segment.made_again.get() {
            return Ok(index.clone());
        }
        let file = self.disk.open(&index_name(segment.sealed.number))?;
        Ok(SealedIndex::new(file, segment.pages.clone(), segment.sealed.channels))
    }

    /// Reads the index of a sealed segment. If that is damaged, it is made again from the records, and read once more; the next start writes it.
    ///
    /// # Errors
    /// Those of `read`, and of the files.
    pub(super) fn with_index<T>(
        &self,
        segment: &SealedSegment,
        read: impl Fn(&SealedIndex) -> io::Result<T>,
    ) -> io::Result<T> {
        match self.index(segment).and_then(|index| read(&index)) {
            Err(error) if is_damage(&error) && segment.made_again.get().is_none() => match self.make_again(segment)? {
                Some(index) => read(&index),
                None => Err(error),
            },
            read => read,
        }
    }

    fn make_again(&self, segment: &SealedSegment) -> io::Result<Option<SealedIndex>> {
        let Sealed { number, salt, length, .. } = segment.sealed;
        let (name, mut indexing) = (file_name(number), Indexing::default());
        let scanned = segment::scan(&*self.disk.open(&name)?, salt, HEAD, &mut indexing)?;
        let is_whole = scanned.bad.is_none() && scanned.end == length;
        log::error!(
            "{}: the index of {name} is damaged, and {}",
            self.disk.directory(),
            if is_whole {
                "was made again from its messages"
            } else {
                "so are its messages: see `standalone log verify`"
            }
        );
        let index = is_whole.then(|| SealedIndex::in_memory(&indexing.index, &segment.sealed));
        Ok(segment.made_again.get_or_init(|| index).clone())
    }
}

/// Whether bytes of a file are not what they were, or cannot be read.
fn is_damage(error: &io::Error) -> bool {
    is_unreadable(error) || matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
