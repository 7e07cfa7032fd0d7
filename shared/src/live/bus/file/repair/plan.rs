//! What a repair cuts. It is stored before anything is cut, so that an interrupted repair is completed by the next start or repair.

use std::io;

use super::decisions::Decisions;
use crate::{
    live::bus::file::{
        disk::{Disk, is_unreadable, read_exact},
        error::WriteError,
        record::Hole,
        segment::{HEAD, file_name, index_name, number_of},
        store::Store,
    },
    pure::Cursor,
};

/// The name of the file.
pub(in crate::live::bus::file) const NAME: &str = "repair";
const NEW: &str = "repair.new";
const MAGIC: [u8; 8] = *b"TRIREPR\n";
/// Magic, number, offset, up to (16). Then follow the decisions, and a checksum.
const HEAD_LENGTH: usize = 8 + 8 + 8 + 16;
/// The length of the checksum.
const SUM: usize = 4;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::live::bus::file) struct Plan {
    /// The segment that is cut. Later ones are removed.
    pub(in crate::live::bus::file) number: u64,
    /// Where it is cut; before the end of its head, it is removed, too.
    pub(in crate::live::bus::file) offset: u64,
    /// Ids after those that are kept and up to here are lost.
    pub(in crate::live::bus::file) up_to: Cursor,
    /// What is kept of what is cut.
    pub(in crate::live::bus::file) decisions: Decisions,
}

impl Plan {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.number, self.offset, self.up_to.ms, self.up_to.seq] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.decisions.encode());
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The repair that was interrupted, if one was.
    ///
    /// # Errors
    /// `InvalidData` if it is damaged or the disk cannot read it, and those of the disk.
    pub(in crate::live::bus::file) fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let file = match disk.open(NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let length = usize::try_from(file.length()?).unwrap_or(usize::MAX).max(HEAD_LENGTH + SUM);
        let bytes = read_exact(&*file, 0, length).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::ErrorKind::InvalidData.into(),
            _ if is_unreadable(&error) => io::ErrorKind::InvalidData.into(),
            _ => error,
        })?;
        let (text, sum) = bytes.split_at(length - SUM);
        if text[..8] != MAGIC || sum != crc32c::crc32c(text).to_le_bytes() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let decisions = Decisions::decode(&text[HEAD_LENGTH..]).ok_or(io::ErrorKind::InvalidData)?;
        let number = |at: usize| text[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        let up_to = Cursor::new(number(24), number(32));
        Ok(Some(Self { number: number(8), offset: number(16), up_to, decisions }))
    }

    /// Stores the plan, so that it is there after a power cut, as a whole.
    pub(in crate::live::bus::file) fn store(&self, disk: &dyn Disk) -> Result<(), WriteError> {
        let file = disk.create(NEW).map_err(WriteError::Other)?;
        file.write_at(&self.encode(), 0).map_err(WriteError::Other)?;
        file.sync().map_err(WriteError::Sync)?;
        disk.rename(NEW, NAME).map_err(WriteError::Other)?;
        disk.sync_names().map_err(WriteError::Sync)
    }

    /// A plan that cuts nothing: ids up to `now_ms` may be lost.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(in crate::live::bus::file) fn without_cut(disk: &dyn Disk, now_ms: u64) -> io::Result<Self> {
        let newest = disk.list()?.into_iter().filter_map(|name| number_of(&name)).max();
        let (number, up_to) = (newest.unwrap_or_default(), Cursor::new(now_ms, u64::MAX));
        Ok(Self { number, offset: u64::MAX, up_to, ..Self::default() })
    }

    /// Cuts. A second time does nothing.
    ///
    /// # Errors
    /// When the disk fails.
    pub(in crate::live::bus::file) fn cut(&self, disk: &dyn Disk) -> io::Result<()> {
        let numbers = disk.list()?.into_iter().filter_map(|name| number_of(&name));
        let is_whole = self.offset < HEAD;
        let mut removed: Vec<u64> = numbers.filter(|number| *number > self.number).collect();
        removed.extend(is_whole.then_some(self.number));
        for number in removed {
            remove(disk, &file_name(number))?;
            remove(disk, &index_name(number))?;
        }
        remove(disk, &index_name(self.number))?;
        if !is_whole {
            let file = disk.open(&file_name(self.number))?;
            if file.length()? > self.offset {
                file.set_len(self.offset)?;
            }
            file.sync()?;
        }
        disk.sync_names()
    }

    /// Records in the log which ids are lost, and what is kept; then the repair is complete.
    ///
    /// # Errors
    /// When the disk fails.
    pub(in crate::live::bus::file) fn complete(&self, store: &mut Store, now_ms: u64) -> io::Result<()> {
        let up_to = self.up_to.max(store.last.next(now_ms));
        let is_known = {
            let segments = store.catalog.segments.lock();
            segments.active.has_checkpoint || !segments.sealed.is_empty()
        };
        // Without a checkpoint, earlier holes are not known any more: each id may be in one.
        let after = if is_known { store.last } else { Cursor::new(store.created_ms, 0) };
        store.add_hole(Hole { after, up_to }, self.decisions.changes())?;
        forget(&*store.catalog.disk)
    }
}

/// Removes the plan.
pub(super) fn forget(disk: &dyn Disk) -> io::Result<()> {
    remove(disk, NAME)?;
    disk.sync_names()
}

/// Removes a file that may be missing.
fn remove(disk: &dyn Disk, name: &str) -> io::Result<()> {
    disk.remove(name).or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
