//! The index of a sealed segment, as a file.
//!
//! A file is read in place through a [`SealedIndex`], which is made by a check of all of it: what is read later is compared with that, page by page
//! ([`Pages`]).
//!
//! ```text
//! head     magic (8), version (4), checksum of all that follows (4), number of the segment (8), its salt (4), 0 (4), its length (8),
//!          channels (8), messages (8), first and last id (32), bytes of messages that are not in the order of ids (8)
//! places   for each channel, in the order of names, the place of its entry (8)
//! entries  count (8), bytes (8), first and last id (32), place of the blocks (8), of the stream (8), length of the stream (8),
//!          length of the name (1), name
//! blocks   first id (16), offset (8), place in the stream (8), bytes before (8)
//! streams
//! ```

use std::{borrow::Cow, cmp::Ordering, io, sync::Arc};

use super::{BLOCK, Block, Entries, Index, Listing, Sealed, Summary, pages, pages::Pages};
use crate::{
    live::bus::file::disk::{DiskFile, read_exact},
    pure::{ChannelName, Cursor, name::MAX_NAME_BYTES},
};

const MAGIC: [u8; 8] = *b"TRINDEX\n";
const VERSION: u32 = 1;
pub(crate) const HEAD: usize = 96;
const ENTRY: usize = 73;
const BLOCK_BYTES: usize = 40;
/// The longest stream of a block: two numbers of at most ten bytes for each message.
const MAX_STREAM: u64 = 2 * 10 * BLOCK;
/// Where the checksum's part begins.
const SUMMED: usize = 16;
/// How much is read at once to check a file.
const CHUNK: usize = 256 * 1024;

fn put(bytes: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn short_number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn cursor(bytes: &[u8], at: usize) -> Cursor {
    Cursor::new(number(bytes, at), number(bytes, at + 8))
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl Index {
    /// The index as a file, for the segment `number` with `salt` and `length`.
    pub(crate) fn encode(&self, number: u64, salt: u32, length: u64) -> Vec<u8> {
        let Sealed { first, last, .. } = self.sealed(number, salt, length);
        let mut channels: Vec<(&ChannelName, &Entries)> = self.channels.iter().collect();
        channels.sort_unstable_by_key(|(name, _)| *name);
        let names: usize = channels.iter().map(|(name, _)| name.len()).sum();
        let blocks: usize = channels.iter().map(|(_, entries)| entries.blocks.len() * BLOCK_BYTES).sum();
        let entries_at = HEAD + 8 * channels.len();
        let blocks_at = entries_at + ENTRY * channels.len() + names;
        let mut bytes = Vec::with_capacity(blocks_at + blocks);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        put(&mut bytes, &[number, salt.into(), length, channels.len() as u64, self.messages]);
        put(&mut bytes, &[first.ms, first.seq, last.ms, last.seq, self.copies.bytes]);
        bytes.resize(HEAD, 0);
        let mut at = entries_at;
        for (name, _) in &channels {
            put(&mut bytes, &[at as u64]);
            at += ENTRY + name.len();
        }
        let (mut block_at, mut stream_at) = (blocks_at, blocks_at + blocks);
        for (name, entries) in &channels {
            let Summary { count, bytes: size, first, last } = entries.summary;
            put(&mut bytes, &[count, size, first.ms, first.seq, last.ms, last.seq]);
            put(&mut bytes, &[block_at as u64, stream_at as u64, entries.stream.len() as u64]);
            bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(name.as_bytes());
            block_at += entries.blocks.len() * BLOCK_BYTES;
            stream_at += entries.stream.len();
        }
        for Block { first, offset, stream, bytes: before } in channels.iter().flat_map(|(_, entries)| &entries.blocks) {
            put(&mut bytes, &[first.ms, first.seq, *offset, *stream, *before]);
        }
        channels.iter().for_each(|(_, entries)| bytes.extend_from_slice(&entries.stream));
        let sum = crc32c::crc32c(&bytes[SUMMED..]).to_le_bytes();
        bytes[12..16].copy_from_slice(&sum);
        bytes
    }
}

/// An index that has been checked.
#[derive(Clone, Debug)]
pub(crate) struct SealedIndex {
    source: Source,
    channels: u64,
}

#[derive(Clone, Debug)]
enum Source {
    File(Arc<dyn DiskFile>, Pages),
    /// It was made again from the records, and is in no file.
    Memory(Arc<[u8]>),
}

/// Opens an index, and checks the whole file.
///
/// # Errors
/// Those of [`check`].
pub(crate) fn open(file: Arc<dyn DiskFile>) -> io::Result<(Sealed, SealedIndex)> {
    let (sealed, pages) = check(&*file)?;
    Ok((sealed, SealedIndex::new(file, pages, sealed.channels)))
}

/// Reads the head of an index, and checks the whole file, which has these pages then.
///
/// # Errors
/// `InvalidData` if it is not an index or is damaged, and those of the file.
pub(crate) fn check(file: &dyn DiskFile) -> io::Result<(Sealed, Pages)> {
    let head = read_exact(file, 0, HEAD)?;
    if head[..8] != MAGIC || short_number(&head, 8) != VERSION {
        return Err(invalid());
    }
    let (length, mut sum, mut at, mut sums) = (file.length()?, 0, 0, Vec::new());
    let mut chunk = vec![0; CHUNK];
    while at < length {
        let read = file.read_at(&mut chunk, at)?;
        if read == 0 {
            break;
        }
        sums.extend(pages::sums(&chunk[..read]));
        let summed = if at == 0 { SUMMED.min(read) } else { 0 };
        sum = crc32c::crc32c_append(sum, &chunk[summed..read]);
        at += read as u64;
    }
    if sum != short_number(&head, 12) {
        return Err(invalid());
    }
    let sealed = Sealed {
        number: number(&head, 16),
        salt: short_number(&head, 24),
        length: number(&head, 32),
        channels: number(&head, 40),
        messages: number(&head, 48),
        first: cursor(&head, 56),
        last: cursor(&head, 72),
        copied: number(&head, 88),
    };
    Ok((sealed, Pages::new(sums, at)))
}

impl SealedIndex {
    /// A file with these pages, for a segment with this many channels.
    pub(crate) fn new(file: Arc<dyn DiskFile>, pages: Pages, channels: u64) -> Self {
        Self { source: Source::File(file, pages), channels }
    }

    /// One that is in memory only.
    pub(crate) fn in_memory(index: &Index, sealed: &Sealed) -> Self {
        let bytes = index.encode(sealed.number, sealed.salt, sealed.length);
        Self { source: Source::Memory(bytes.into()), channels: index.channels.len() as u64 }
    }

    /// The bytes of its file; 0 if there is none.
    pub(crate) fn length(&self) -> u64 {
        match &self.source {
            Source::File(_, pages) => pages.length(),
            Source::Memory(_) => 0,
        }
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.source, Source::Memory(_))
    }

    /// Up to `most` bytes from `at` on: fewer only at the end.
    fn read(&self, at: u64, most: usize) -> io::Result<Vec<u8>> {
        match &self.source {
            Source::File(file, pages) => pages.read(&**file, at, most),
            Source::Memory(bytes) => {
                let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                Ok(rest[..most.min(rest.len())].to_vec())
            }
        }
    }

    fn read_exact(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        self.read(at, length).and_then(|bytes| if bytes.len() == length { Ok(bytes) } else { Err(invalid()) })
    }

    /// The entry at `at`, and the name of its channel.
    fn entry_at(&self, at: u64) -> io::Result<(ChannelEntry, Vec<u8>)> {
        let bytes = self.read(at, ENTRY + MAX_NAME_BYTES)?;
        let length = bytes.get(ENTRY - 1).map_or(0, |length| usize::from(*length));
        let name = bytes.get(ENTRY..ENTRY + length).ok_or_else(invalid)?.to_vec();
        let summary = Summary {
            count: number(&bytes, 0),
            bytes: number(&bytes, 8),
            first: cursor(&bytes, 16),
            last: cursor(&bytes, 32),
        };
        let entry = ChannelEntry {
            summary,
            blocks: number(&bytes, 48),
            stream: number(&bytes, 56),
            stream_length: number(&bytes, 64),
        };
        Ok((entry, name))
    }

    /// Finds a channel.
    ///
    /// # Errors
    /// `InvalidData` or `UnexpectedEof` if it is damaged, and those of the file.
    pub(crate) fn find(&self, name: &ChannelName) -> io::Result<Option<ChannelEntry>> {
        let (mut low, mut high) = (0, self.channels);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = number(&self.read_exact(HEAD as u64 + 8 * middle, 8)?, 0);
            let (entry, found) = self.entry_at(at)?;
            match found[..].cmp(name.as_bytes()) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(Some(entry)),
            }
        }
        Ok(None)
    }

    /// All channels, one after the other, or what [`find`](Self::find) fails with.
    pub(crate) fn all(&self) -> impl Iterator<Item = io::Result<(ChannelName, Summary)>> {
        let mut at = HEAD as u64 + 8 * self.channels;
        (0..self.channels).map(move |_| {
            let (entry, name) = self.entry_at(at)?;
            at += (ENTRY + name.len()) as u64;
            let name = std::str::from_utf8(&name).ok().and_then(|name| name.parse().ok());
            Ok((name.ok_or_else(invalid)?, entry.summary))
        })
    }
}

/// Where the entries of a channel are in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelEntry {
    pub(crate) summary: Summary,
    blocks: u64,
    stream: u64,
    stream_length: u64,
}

/// The entries of a channel in an index.
#[derive(Debug)]
pub(crate) struct SealedEntries {
    pub(crate) index: SealedIndex,
    pub(crate) entry: ChannelEntry,
}

impl Listing for SealedEntries {
    fn summary(&self) -> &Summary {
        &self.entry.summary
    }

    fn block(&self, at: u64) -> io::Result<Block> {
        let offset = self.entry.blocks.saturating_add(at.saturating_mul(BLOCK_BYTES as u64));
        let bytes = self.index.read_exact(offset, BLOCK_BYTES)?;
        Ok(Block {
            first: cursor(&bytes, 0),
            offset: number(&bytes, 16),
            stream: number(&bytes, 24),
            bytes: number(&bytes, 32),
        })
    }

    fn stream(&self, at: u64) -> io::Result<Cow<'_, [u8]>> {
        let begin = self.block(at)?.stream;
        let is_last = (at + 1) * BLOCK >= self.entry.summary.count;
        let end = if is_last { self.entry.stream_length } else { self.block(at + 1)?.stream };
        let length = end.checked_sub(begin).filter(|length| *length <= MAX_STREAM).ok_or_else(invalid)?;
        let length = usize::try_from(length).map_err(|_| invalid())?;
        self.index.read_exact(self.entry.stream.saturating_add(begin), length).map(Cow::Owned)
    }
}
