//! Up to which id each channel has lost messages by the removal of segments.
//!
//! The number of channels is bounded: beyond, the oldest are forgotten, and one id is remembered for all of them.

use std::{collections::HashMap, io};

use super::disk::{Disk, read_exact};
use crate::pure::{ChannelName, Cursor};

/// The name of the file.
const NAME: &str = "dropped";
const NEW: &str = "dropped.new";
const MAGIC: [u8; 8] = *b"TRIDROP\n";
/// Magic, checksum, oldest segment, forgotten, number of channels.
const HEAD: usize = 8 + 4 + 8 + 16 + 8;
/// Maximum number of channels.
const MAX: usize = 65_536;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Floors {
    /// Segments before this one are removed.
    pub(super) oldest: u64,
    /// Channels that are not in the table may have lost messages up to here.
    forgotten: Cursor,
    by_channel: HashMap<ChannelName, Cursor>,
}

impl Floors {
    /// The newest id that the channel may have lost; zero if it has lost none.
    pub(super) fn of(&self, channel: &ChannelName) -> Cursor {
        self.by_channel.get(channel).copied().unwrap_or_default().max(self.forgotten)
    }

    /// The channel has lost its messages up to `last`.
    pub(super) fn raise(&mut self, channel: ChannelName, last: Cursor) {
        let floor = self.by_channel.entry(channel).or_default();
        *floor = last.max(*floor);
    }

    /// Segments before `oldest` are lost, with any message up to `last`.
    pub(super) fn lose(&mut self, oldest: u64, last: Cursor) {
        self.oldest = oldest;
        self.forgotten = self.forgotten.max(last);
    }

    /// Forgets the oldest quarter of the channels if there are too many.
    pub(super) fn shrink(&mut self) {
        if self.by_channel.len() <= MAX {
            return;
        }
        let mut all: Vec<Cursor> = self.by_channel.values().copied().collect();
        let at = all.len() - MAX * 3 / 4;
        let (_, &mut border, _) = all.select_nth_unstable(at);
        let forgotten = self.by_channel.values().filter(|floor| **floor < border).max().copied();
        self.forgotten = self.forgotten.max(forgotten.unwrap_or_default());
        self.by_channel.retain(|_, floor| *floor >= border);
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.by_channel.len() * 48);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        for number in [self.oldest, self.forgotten.ms, self.forgotten.seq, self.by_channel.len() as u64] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for (channel, floor) in &self.by_channel {
            bytes.extend_from_slice(&floor.ms.to_le_bytes());
            bytes.extend_from_slice(&floor.seq.to_le_bytes());
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
        let mut floors =
            Self { oldest: long(12)?, forgotten: Cursor::new(long(20)?, long(28)?), by_channel: HashMap::new() };
        let mut at = HEAD;
        for _ in 0..long(36)? {
            let floor = Cursor::new(long(at)?, long(at + 8)?);
            let length = usize::from(*bytes.get(at + 16)?);
            let name = std::str::from_utf8(bytes.get(at + 17..at + 17 + length)?).ok()?;
            floors.by_channel.insert(name.parse().ok()?, floor);
            at += 17 + length;
        }
        Some(floors)
    }

    /// Reads the table of a directory; an empty one if it has none, `None` if it is damaged.
    pub(super) fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let file = match disk.open(NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Self::default())),
            Err(error) => return Err(error),
        };
        let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
        Ok(Self::decode(&read_exact(&*file, 0, length)?))
    }

    /// Writes the table, so that after a crash the old one or this one is there.
    pub(super) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let file = disk.create(NEW)?;
        file.write_at(&self.encode(), 0)?;
        file.sync()?;
        disk.rename(NEW, NAME)?;
        disk.sync_names()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::disk::simulated::SimulatedDisk, *};

    fn name(n: usize) -> ChannelName {
        format!("c{n}").parse().unwrap()
    }

    #[test]
    fn a_table_is_written_and_read() {
        let disk = SimulatedDisk::new();
        assert_eq!(Floors::read(&disk).unwrap(), Some(Floors::default()));
        let mut floors = Floors { oldest: 4, forgotten: Cursor::new(1, 2), ..Floors::default() };
        floors.raise(name(1), Cursor::new(5, 6));
        floors.raise(name(1), Cursor::new(3, 6));
        floors.raise(name(2), Cursor::new(0, 6));
        floors.write(&disk).unwrap();
        assert_eq!(Floors::read(&disk.cut_power(1)).unwrap(), Some(floors.clone()));
        let of = |n| floors.of(&name(n));
        assert_eq!([of(1), of(2), of(3)], [Cursor::new(5, 6), Cursor::new(1, 2), Cursor::new(1, 2)]);
        disk.damage(NAME, |bytes| bytes[50] ^= 1);
        assert_eq!(Floors::read(&disk).unwrap(), None);
    }

    #[test]
    fn the_oldest_are_forgotten_and_nothing_is_denied() {
        let mut floors = Floors::default();
        for n in 0..=MAX {
            floors.raise(name(n), Cursor::new(1 + n as u64, 0));
        }
        floors.shrink();
        assert_eq!(floors.by_channel.len(), MAX * 3 / 4);
        assert!((0..=MAX).all(|n| floors.of(&name(n)) >= Cursor::new(1 + n as u64, 0)));
        assert_eq!(floors.of(&name(MAX)), Cursor::new(1 + MAX as u64, 0), "the newest are exact");
    }
}
