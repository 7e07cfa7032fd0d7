//! Up to which id each channel has lost messages by the removal of segments.
//!
//! The number of channels is bounded: beyond, the oldest are forgotten, and one id is remembered for all of them.

use std::{collections::BTreeMap, io, sync::Arc};

use super::{
    disk::{Disk, DiskFile, is_full, is_unreadable, read_exact},
    error::WriteError,
};
use crate::pure::{ChannelName, Cursor, name::MAX_NAME_BYTES};

/// The name of the file.
const NAME: &str = "dropped";
/// The next table, while it is written. Before, it reserves the space.
const NEW: &str = "dropped.new";
/// More than what this table takes and as much again is reserved for the next one.
const RESERVE: usize = 64 * 1024;
/// What is in its place while a copy is made.
const INCOMPLETE: &[u8] = b"This copy is incomplete.\n";
const MAGIC: [u8; 8] = *b"TRIDROP\n";
/// Magic, checksum, oldest segment, forgotten, number of channels.
const HEAD: usize = 8 + 4 + 8 + 16 + 8;
/// A channel: its id, the length of its name, and the name.
const ENTRY: usize = 16 + 1;
/// Maximum number of channels.
const MAX: usize = 65_536;
/// The length of the largest table.
const MAX_LENGTH: usize = HEAD + MAX * (ENTRY + MAX_NAME_BYTES);

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Removed {
    /// Segments before this one are removed.
    pub(super) oldest: u64,
    /// Channels that are not in the table may have lost messages up to here.
    forgotten: Cursor,
    by_channel: BTreeMap<ChannelName, Cursor>,
    /// The bytes of their entries.
    names: usize,
}

impl Removed {
    /// The newest id that the channel may have lost; zero if it has lost none. Some messages up to it may be stored: this is for gaps alone.
    pub(super) fn of(&self, channel: &ChannelName) -> Cursor {
        self.by_channel.get(channel).copied().unwrap_or(self.forgotten)
    }

    /// What was lost after `cursor`: up to where by any channel, and by some.
    pub(super) fn after(&self, cursor: Cursor) -> (Option<Cursor>, impl Iterator<Item = (&ChannelName, Cursor)>) {
        let channels = self.by_channel.iter().map(|(channel, last)| (channel, *last));
        (Some(self.forgotten).filter(|last| *last > cursor), channels.filter(move |(_, last)| *last > cursor))
    }

    /// The channel has lost its messages up to `last`.
    pub(super) fn raise(&mut self, channel: ChannelName, last: Cursor) {
        let last = last.max(self.of(&channel));
        self.set(channel, last);
    }

    /// The channel has lost its messages up to `last`, and no others.
    pub(super) fn set(&mut self, channel: ChannelName, last: Cursor) {
        let length = channel.len();
        if self.by_channel.insert(channel, last).is_none() {
            self.names += ENTRY + length;
        }
    }

    /// Segments before `oldest` are lost, with any message up to `last`.
    pub(super) fn lose(&mut self, oldest: u64, last: Cursor) {
        self.oldest = oldest;
        self.forgotten = self.forgotten.max(last);
        self.by_channel.values_mut().for_each(|lost| *lost = last.max(*lost));
    }

    /// Forgets the oldest quarter of the channels if there are too many.
    pub(super) fn shrink(&mut self) {
        if self.by_channel.len() <= MAX {
            return;
        }
        let mut all: Vec<Cursor> = self.by_channel.values().copied().collect();
        let at = all.len() - MAX * 3 / 4;
        let (_, &mut border, _) = all.select_nth_unstable(at);
        let forgotten = self.by_channel.values().filter(|last| **last < border).max().copied();
        self.forgotten = self.forgotten.max(forgotten.unwrap_or_default());
        self.by_channel.retain(|_, last| *last >= border);
        self.names = self.by_channel.keys().map(|name| ENTRY + name.len()).sum();
    }

    /// The same without names: any channel may have lost what one of them has.
    fn without_channels(&self) -> Self {
        let newest = self.by_channel.values().copied().max().unwrap_or_default();
        Self { oldest: self.oldest, forgotten: self.forgotten.max(newest), ..Self::default() }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.names);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        for number in [self.oldest, self.forgotten.ms, self.forgotten.seq, self.by_channel.len() as u64] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for (channel, last) in &self.by_channel {
            bytes.extend_from_slice(&last.ms.to_le_bytes());
            bytes.extend_from_slice(&last.seq.to_le_bytes());
            bytes.push(u8::try_from(channel.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(channel.as_bytes());
        }
        let sum = crc32c::crc32c(&bytes[12..]).to_le_bytes();
        bytes[8..12].copy_from_slice(&sum);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let long = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let is_whole = bytes.get(..8)? == MAGIC && bytes.get(8..12)? == crc32c::crc32c(bytes.get(12..)?).to_le_bytes();
        if !is_whole {
            return None;
        }
        let mut removed = Self { oldest: long(12)?, forgotten: Cursor::new(long(20)?, long(28)?), ..Self::default() };
        let mut at = HEAD;
        for _ in 0..long(36)? {
            let last = Cursor::new(long(at)?, long(at + 8)?);
            let length = usize::from(*bytes.get(at + 16)?);
            let name = std::str::from_utf8(bytes.get(at + ENTRY..at + ENTRY + length)?).ok()?;
            removed.set(name.parse().ok()?, last);
            at += ENTRY + length;
        }
        Some(removed)
    }

    /// Reads the table of a directory; an empty one if it has none, `None` if it is damaged or the disk cannot read it.
    pub(super) fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let file = match disk.open(NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Self::default())),
            Err(error) => return Err(error),
        };
        match usize::try_from(file.length()?) {
            Ok(length) if length <= MAX_LENGTH => match read_exact(&*file, 0, length) {
                Ok(bytes) if bytes == INCOMPLETE => Err(io::Error::other("this copy is incomplete; make it again")),
                Err(error) if is_unreadable(&error) => Ok(None),
                bytes => Ok(Self::decode(&bytes?)),
            },
            _ => Ok(None),
        }
    }

    /// Writes the table, so that after a crash the old one or this one is there. A full disk does not prevent that if the space was
    /// [reserved](Self::reserve): the removal of segments is what frees space. If the table has grown beyond it, it is written without names.
    pub(super) fn write(&self, disk: &dyn Disk) -> Result<(), WriteError> {
        let mut bytes = self.encode();
        let mut file = next(disk).map_err(WriteError::Other)?;
        let mut written = file.write_at(&bytes, 0);
        if written.as_ref().is_err_and(is_unreadable) {
            // A part of a sector is read before it is written.
            disk.remove(NEW).map_err(WriteError::Other)?;
            file = next(disk).map_err(WriteError::Other)?;
            written = file.write_at(&bytes, 0);
        }
        if let Err(error) = written {
            if !is_full(&error) {
                return Err(WriteError::Other(error));
            }
            // Some channels get a gap that they need not have, but space becomes free.
            bytes = self.without_channels().encode();
            file.write_at(&bytes, 0).map_err(WriteError::Other)?;
        }
        file.set_len(bytes.len() as u64).map_err(WriteError::Other)?;
        file.sync().map_err(WriteError::Sync)?;
        disk.rename(NEW, NAME).map_err(WriteError::Other)?;
        disk.sync_names().map_err(WriteError::Sync)
    }

    /// Reserves the space that the next table needs.
    ///
    /// # Errors
    /// When there is no space.
    pub(super) fn reserve(&self, disk: &dyn Disk) -> io::Result<()> {
        let (file, wanted) = (next(disk)?, RESERVE + 2 * (HEAD + self.names));
        match usize::try_from(file.length()?) {
            Ok(length) if length < wanted => file.write_at(&vec![0; wanted - length], length as u64),
            _ => Ok(()),
        }
    }
}

/// Writes what is no table: no server starts with this directory until it is replaced.
pub(super) fn write_incomplete(disk: &dyn Disk) -> io::Result<()> {
    let file = disk.create(NAME)?;
    file.write_at(INCOMPLETE, 0)?;
    file.sync()?;
    disk.sync_names()
}

/// The file of the next table.
fn next(disk: &dyn Disk) -> io::Result<Arc<dyn DiskFile>> {
    match disk.open(NEW) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(NEW),
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::disk::simulated::{Faults, SimulatedDisk},
        *,
    };

    fn name(n: usize) -> ChannelName {
        format!("c{n}").parse().unwrap()
    }

    #[test]
    fn a_table_is_written_and_read() {
        let disk = SimulatedDisk::new();
        assert_eq!(Removed::read(&disk).unwrap(), Some(Removed::default()));
        let mut removed = Removed { oldest: 4, forgotten: Cursor::new(1, 2), ..Removed::default() };
        removed.raise(name(1), Cursor::new(5, 6));
        removed.raise(name(1), Cursor::new(3, 6));
        removed.raise(name(2), Cursor::new(0, 6));
        removed.reserve(&disk).unwrap();
        disk.faults(Faults { space: Some(0), ..Faults::default() });
        removed.write(&disk).expect("the space is reserved");
        assert_eq!(Removed::read(&disk.cut_power(1)).unwrap(), Some(removed.clone()));
        assert!(removed.reserve(&disk).is_err());
        let of = |n| removed.of(&name(n));
        assert_eq!([of(1), of(2), of(3)], [Cursor::new(5, 6), Cursor::new(1, 2), Cursor::new(1, 2)]);
        disk.damage(NAME, |bytes| bytes[50] ^= 1);
        assert_eq!(Removed::read(&disk).unwrap(), None);
    }

    /// The removal of segments frees space, and must not wait for it.
    #[test]
    fn a_table_that_does_not_fit_is_written_without_names() {
        let disk = SimulatedDisk::new();
        let mut removed = Removed::default();
        removed.reserve(&disk).unwrap();
        for n in 0..20_000 {
            removed.raise(name(n), Cursor::new(1 + n as u64, 0));
        }
        disk.faults(Faults { space: Some(0), ..Faults::default() });
        removed.write(&disk).unwrap();
        let read = Removed::read(&disk.cut_power(1)).unwrap().unwrap();
        assert!((0..20_000).all(|n| read.of(&name(n)) >= removed.of(&name(n))), "nothing is denied");
    }

    /// Retention would stop.
    #[test]
    fn a_reserve_that_cannot_be_read_is_replaced() {
        let disk = SimulatedDisk::new();
        let mut removed = Removed::default();
        removed.reserve(&disk).unwrap();
        disk.unreadable(NEW, 10..11);
        removed.raise(name(1), Cursor::new(5, 6));
        removed.write(&disk).unwrap();
        assert_eq!(Removed::read(&disk.cut_power(1)).unwrap(), Some(removed));
    }

    #[test]
    fn the_oldest_are_forgotten_and_nothing_is_denied() {
        let mut removed = Removed::default();
        for n in 0..=MAX {
            removed.raise(name(n), Cursor::new(1 + n as u64, 0));
        }
        removed.shrink();
        assert_eq!(removed.by_channel.len(), MAX * 3 / 4);
        assert!((0..=MAX).all(|n| removed.of(&name(n)) >= Cursor::new(1 + n as u64, 0)));
        assert_eq!(removed.of(&name(MAX)), Cursor::new(1 + MAX as u64, 0), "the newest are exact");
    }
}
