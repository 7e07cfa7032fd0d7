//! Where the messages of each channel are in a segment.
//!
//! The segment that is being written has an [`Index`] in memory. When it is sealed, [`Index::encode`] writes it as a file, which is read in
//! place ([`sealed`]): a channel is found by its name, and a message by its cursor, with a few small reads.
//!
//! ```text
//! of a channel   count, bytes, first and last id
//!   blocks       one for each 128 messages: the first id, its place, and the bytes before
//!   stream       for each message the distance from the one before, and its length
//! ```

use std::{borrow::Cow, collections::HashMap, io};

use super::record::{read_number, write_number};
use crate::pure::{ChannelName, Cursor};

mod copies;
mod pages;
pub(super) mod sealed;

pub(super) use copies::{Copied, Copies, Ids};
pub(super) use pages::Pages;

/// Messages of one block.
const BLOCK: u64 = 128;
/// The memory of a channel in an index, besides its name.
const CHANNEL: usize = 320;
/// The memory of a message in an index.
const MESSAGE: usize = 5;

/// Where a message is in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The beginning of a block of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) first: Cursor,
    /// The end of the message before; places in the stream are counted from here.
    offset: u64,
    /// Where the block begins in the stream.
    stream: u64,
    /// The bytes of all messages before.
    bytes: u64,
}

/// The messages of one channel, in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) count: u64,
    /// Of the records.
    pub(super) bytes: u64,
    pub(super) first: Cursor,
    pub(super) last: Cursor,
}

impl Summary {
    /// The number of blocks.
    fn blocks(&self) -> u64 {
        self.count.div_ceil(BLOCK)
    }
}

/// The entries of one channel, in memory or in a file.
pub(super) trait Listing {
    fn summary(&self) -> &Summary;
    fn block(&self, number: u64) -> io::Result<Block>;
    /// The stream of one block.
    fn stream(&self, number: u64) -> io::Result<Cow<'_, [u8]>>;
}

/// The messages after `after`, and less than a block of earlier ones, in the order of ids. About `budget` bytes of them, and at least one
/// block. Returns whether there are more.
pub(super) fn entries(listing: &impl Listing, after: Cursor, budget: u64) -> io::Result<(Vec<Entry>, bool)> {
    let summary = listing.summary();
    if summary.last <= after {
        return Ok((Vec::new(), false));
    }
    // The last block that begins at or before the message after the cursor.
    let (mut low, mut high) = (0, summary.blocks());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if listing.block(middle)?.first <= after { low = middle } else { high = middle }
    }
    let (mut all, mut bytes) = (Vec::new(), 0);
    for number in low..summary.blocks() {
        if number > low + 1 && bytes >= budget {
            return Ok((all, true));
        }
        for entry in block_entries(listing, number)? {
            // Those of the first block may all be before the cursor.
            bytes += if number > low { entry.length } else { 0 };
            all.push(entry);
        }
    }
    Ok((all, false))
}

fn block_entries(listing: &impl Listing, number: u64) -> io::Result<Vec<Entry>> {
    let block = listing.block(number)?;
    let count = BLOCK.min(listing.summary().count - number * BLOCK);
    let stream = listing.stream(number)?;
    let (mut rest, mut offset) = (&stream[..], block.offset);
    let read = (0..count).map(|_| {
        offset = offset.checked_add(read_number(&mut rest)?)?;
        let entry = Entry { offset, length: read_number(&mut rest)? };
        offset = offset.checked_add(entry.length)?;
        Some(entry)
    });
    read.collect::<Option<Vec<_>>>().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The message of this number in its channel, counted from 0.
pub(super) fn entry(listing: &impl Listing, number: u64) -> io::Result<Entry> {
    let within = usize::try_from(number % BLOCK).unwrap_or_default();
    let found = block_entries(listing, number / BLOCK)?.get(within).copied();
    found.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// How many of the oldest messages have to go so that those that are left have at most `most` bytes.
pub(super) fn count_over_bytes(listing: &impl Listing, most: u64) -> io::Result<u64> {
    let over = listing.summary().bytes.saturating_sub(most);
    if over == 0 {
        return Ok(0);
    }
    let (mut low, mut high) = (0, listing.summary().blocks());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if listing.block(middle)?.bytes < over { low = middle } else { high = middle }
    }
    let mut bytes = listing.block(low)?.bytes;
    let mut count = low * BLOCK;
    for entry in block_entries(listing, low)? {
        if bytes >= over {
            break;
        }
        bytes += entry.length;
        count += 1;
    }
    Ok(count)
}

/// The index of a segment in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    channels: HashMap<ChannelName, Entries>,
    pub(super) messages: u64,
    /// The oldest of them.
    pub(super) first: Option<Cursor>,
    /// The memory in bytes, about.
    pub(super) memory: usize,
    /// Messages of streams that are not in the order of ids.
    pub(super) copies: Copies,
}

/// The entries of a channel in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    summary: Summary,
    blocks: Vec<Block>,
    stream: Vec<u8>,
    /// The end of the last message.
    end: u64,
}

impl Index {
    /// Adds a message after all others.
    pub(super) fn add(&mut self, channel: &ChannelName, id: Cursor, offset: u64, length: u64) {
        let entries = match self.channels.get_mut(channel) {
            Some(entries) => entries,
            None => {
                self.memory += CHANNEL + channel.len();
                self.channels.entry(channel.clone()).or_default()
            }
        };
        self.memory += MESSAGE;
        self.messages += 1;
        self.first = self.first.or(Some(id));
        let Entries { summary, blocks, stream, end } = entries;
        if summary.count.is_multiple_of(BLOCK) {
            blocks.push(Block { first: id, offset: *end, stream: stream.len() as u64, bytes: summary.bytes });
        }
        if summary.count == 0 {
            summary.first = id;
        }
        write_number(stream, offset - *end);
        write_number(stream, length);
        *end = offset + length;
        summary.count += 1;
        summary.bytes += length;
        summary.last = id;
    }

    /// Adds a message of a stream that is not in the order of ids: the index does not say where.
    pub(super) fn add_copy(&mut self, copied: Copied) {
        self.memory += self.copies.add(copied);
    }

    pub(super) fn channel(&self, name: &ChannelName) -> Option<&Entries> {
        self.channels.get(name)
    }

    /// What the head of its file says, for the segment `number` with `salt` and `length`.
    pub(super) fn sealed(&self, number: u64, salt: u32, length: u64) -> Sealed {
        let first = self.channels.values().map(|entries| entries.summary.first).min().unwrap_or_default();
        let last = self.channels.values().map(|entries| entries.summary.last).max().unwrap_or_default();
        let (channels, messages, copied) = (self.channels.len() as u64, self.messages, self.copies.bytes);
        Sealed { number, salt, length, channels, messages, first, last, copied }
    }
}

/// What the head of an index says about its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) number: u64,
    pub(super) salt: u32,
    /// The length of the segment in bytes.
    pub(super) length: u64,
    pub(super) channels: u64,
    pub(super) messages: u64,
    pub(super) first: Cursor,
    pub(super) last: Cursor,
    /// The bytes of messages that are not in the order of ids, and not in the index.
    pub(super) copied: u64,
}

impl Listing for Entries {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    fn block(&self, number: u64) -> io::Result<Block> {
        let block = self.blocks.get(usize::try_from(number).unwrap_or(usize::MAX));
        block.copied().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn stream(&self, number: u64) -> io::Result<Cow<'_, [u8]>> {
        let at = |number| self.block(number).map_or(self.stream.len(), |block| block.stream as usize);
        let stream = self.stream.get(at(number)..at(number + 1));
        stream.map(Cow::Borrowed).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests;
