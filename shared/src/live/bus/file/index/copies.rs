//! The messages of streams in a segment that are not in the order of ids: which they are. The index does not say where.

use std::collections::BTreeMap;

use super::{read_number, write_number};
use crate::pure::{ChannelName, Cursor};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(in crate::live::bus::file) struct Copies {
    /// By the channel of the stream, and when it was created.
    streams: BTreeMap<(ChannelName, Cursor), Ids>,
    /// The bytes of all records.
    pub(in crate::live::bus::file) bytes: u64,
}

/// A message out of order.
#[derive(Clone, Debug)]
pub(in crate::live::bus::file) struct Copied {
    pub(in crate::live::bus::file) channel: ChannelName,
    /// When its stream was created.
    pub(in crate::live::bus::file) created: Cursor,
    pub(in crate::live::bus::file) id: Cursor,
    /// The length of its record.
    pub(in crate::live::bus::file) length: u64,
}

/// The ids of some messages of a stream, in the order of their records.
#[derive(Clone, Debug)]
pub(in crate::live::bus::file) struct Ids {
    /// The distance of each from the one before, which is small for most of them.
    encoded: Vec<u8>,
    newest: Cursor,
    least: Cursor,
    greatest: Cursor,
    /// How many there are.
    pub(in crate::live::bus::file) count: u64,
    /// The bytes of the records.
    pub(in crate::live::bus::file) bytes: u64,
}

impl Ids {
    fn new() -> Self {
        Self {
            encoded: Vec::new(),
            newest: Cursor::ZERO,
            least: Cursor::MAX,
            greatest: Cursor::ZERO,
            count: 0,
            bytes: 0,
        }
    }

    fn add(&mut self, id: Cursor, length: u64) {
        write_number(&mut self.encoded, distance(self.newest.ms, id.ms));
        write_number(&mut self.encoded, distance(self.newest.seq, id.seq));
        self.newest = id;
        (self.least, self.greatest) = (self.least.min(id), self.greatest.max(id));
        self.count += 1;
        self.bytes += length;
    }

    /// All of them.
    pub(in crate::live::bus::file) fn iter(&self) -> impl Iterator<Item = Cursor> {
        let (mut encoded, mut before) = (&*self.encoded, Cursor::ZERO);
        std::iter::from_fn(move || {
            let (ms, seq) = (read_number(&mut encoded)?, read_number(&mut encoded)?);
            before = Cursor::new(moved(before.ms, ms), moved(before.seq, seq));
            Some(before)
        })
    }

    /// Those from `first` up to `last`, if there may be some.
    pub(in crate::live::bus::file) fn within(&self, first: Cursor, last: Cursor) -> impl Iterator<Item = Cursor> {
        let may_have = self.least <= last && first <= self.greatest;
        let all = may_have.then(|| self.iter()).into_iter().flatten();
        all.filter(move |id| (first..=last).contains(id))
    }
}

/// How far it is from one number to another, in either direction: a short distance is a small number.
fn distance(from: u64, to: u64) -> u64 {
    let by = to.wrapping_sub(from).cast_signed();
    ((by << 1) ^ (by >> 63)).cast_unsigned()
}

/// The number that is so [far](distance) from `from`.
fn moved(from: u64, distance: u64) -> u64 {
    from.wrapping_add((distance >> 1) ^ (distance & 1).wrapping_neg())
}

impl Copies {
    /// Adds a message. Returns by how many bytes the memory grows, about.
    pub(in crate::live::bus::file) fn add(&mut self, copied: Copied) -> usize {
        let Copied { channel, created, id, length } = copied;
        let name = channel.len();
        let ids = self.streams.entry((channel, created)).or_insert_with(Ids::new);
        let before = ids.encoded.len();
        ids.add(id, length);
        self.bytes += length;
        let added = ids.encoded.len() - before;
        if ids.count == 1 { added + name + size_of::<Ids>() } else { added }
    }

    /// Whether there are messages of this channel.
    pub(in crate::live::bus::file) fn has(&self, channel: &ChannelName) -> bool {
        self.streams.range((channel.clone(), Cursor::ZERO)..).next().is_some_and(|((first, _), _)| first == channel)
    }

    /// Those of one stream.
    pub(in crate::live::bus::file) fn of(&self, channel: &ChannelName, created: Cursor) -> Option<&Ids> {
        self.streams.get(&(channel.clone(), created))
    }

    /// The streams: the channel, the creation, and the messages.
    pub(in crate::live::bus::file) fn iter(&self) -> impl Iterator<Item = (&ChannelName, Cursor, &Ids)> {
        self.streams.iter().map(|((channel, created), ids)| (channel, *created, ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_any_order_are_there() {
        let ids = [(5, 7), (5, 8), (6, 0), (2, u64::MAX), (u64::MAX, 0), (0, 1), (0, 1)]
            .map(|(ms, seq)| Cursor::new(ms, seq));
        let mut copies = Copies::default();
        let channel: ChannelName = "c".parse().unwrap();
        for id in ids {
            copies.add(Copied { channel: channel.clone(), created: Cursor::new(1, 1), id, length: 10 });
        }
        let of = copies.of(&channel, Cursor::new(1, 1)).unwrap();
        assert_eq!(of.iter().collect::<Vec<_>>(), ids);
        assert_eq!((of.count, of.bytes, copies.bytes), (7, 70, 70));
        assert_eq!(of.within(ids[1], ids[2]).collect::<Vec<_>>(), ids[1..3]);
        assert!(copies.has(&channel) && !copies.has(&"b".parse().unwrap()) && !copies.has(&"c1".parse().unwrap()));
        assert!(copies.of(&channel, Cursor::new(1, 2)).is_none());
    }
}
