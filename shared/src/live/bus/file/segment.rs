//! A segment: a file with a head and records, which only grows, until it is sealed.
//!
//! ```text
//! head   magic (8), version (4), salt (4), number (8), creation of the log (8), newest id before (16), checksum (4), 0
//! ```

use std::io;

use super::{
    disk::{DiskFile, is_unreadable, read_exact},
    record::{self, FRAME, Framed, GROUP, Hole, MAGIC, Record},
};
use crate::pure::Cursor;

const MAGIC_OF_FILE: [u8; 8] = *b"TRIDENT\n";
const VERSION: u32 = 1;
/// The length of the head.
pub(super) const HEAD: u64 = 64;
/// How much is read at once.
const CHUNK: usize = 1024 * 1024;
/// What a disk reads at once: where one byte cannot be read, others nearby cannot be read, either.
const SECTOR: usize = 4_096;

/// The name of the file of segment `number`.
pub(super) fn file_name(number: u64) -> String {
    format!("{number:016}.log")
}

/// The name of the file of its index.
pub(super) fn index_name(number: u64) -> String {
    format!("{number:016}.index")
}

/// The number in the name of a segment; `None` for other files.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    digits.parse().ok()
}

/// The head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Drawn at random, so that no bytes that somebody chose can be a record.
    pub(super) salt: u32,
    pub(super) number: u64,
    /// When the log was created, in milliseconds since the Unix epoch: no older cursor is one of it.
    pub(super) created_ms: u64,
    /// The newest id in earlier segments.
    pub(super) before: Cursor,
}

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD as usize);
        bytes.extend_from_slice(&MAGIC_OF_FILE);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        for number in [self.number, self.created_ms, self.before.ms, self.before.seq] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes.resize(HEAD as usize, 0);
        bytes
    }

    /// The head of a file; `None` if it has no valid one, or the disk cannot read it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn read(file: &dyn DiskFile) -> io::Result<Option<Self>> {
        let bytes = match read_exact(file, 0, HEAD as usize) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || is_unreadable(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (text, sum) = bytes.split_at(48);
        let short = |at: usize| text[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        let long = |at: usize| text[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        let is_whole = sum[..4] == crc32c::crc32c(text).to_le_bytes();
        Ok((is_whole && text[..8] == MAGIC_OF_FILE && short(8) == VERSION).then(|| Self {
            salt: short(12),
            number: long(16),
            created_ms: long(24),
            before: Cursor::new(long(32), long(40)),
        }))
    }
}

/// One message of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) id: Cursor,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) fields: &'a [u8],
}

/// What a scan meets: only what belongs to whole publications.
pub(super) trait Visit {
    fn message(&mut self, found: Found<'_>) -> io::Result<()>;
    fn state(&mut self, fields: &[u8], offset: u64, length: u64) -> io::Result<()>;
    fn hole(&mut self, hole: Hole);
    /// A change of a stream.
    fn stream(&mut self, _record: &[u8]) -> io::Result<()> {
        Ok(())
    }
    /// A message of the stream that was created at `created`, out of order.
    fn copy(&mut self, _found: Found<'_>, _created: Cursor) -> io::Result<()> {
        Ok(())
    }
    /// A write begins.
    fn write(&mut self) {}
    /// All states, streams and holes of earlier segments have been visited again.
    fn checkpoint(&mut self) {}
}

/// The result of a scan.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scanned {
    /// The end of the last whole publication.
    pub(super) end: u64,
    /// The first place without a valid record before the end of the file.
    pub(super) bad: Option<u64>,
    /// Whether the bad place is no incomplete write: a record that is as it was written, and yet cannot be one of this log, or bytes that the disk
    /// cannot read.
    pub(super) is_invalid: bool,
    /// The first byte that the disk cannot read.
    pub(super) unreadable: Option<u64>,
    /// The last group.
    pub(super) group: record::Group,
    /// Where it is.
    pub(super) group_at: u64,
}

impl Scanned {
    /// Whether the last record is a group, and says that everything before it was durable.
    pub(super) fn is_confirmed(&self) -> bool {
        self.end == self.group_at + GROUP as u64 && self.group.synced >= self.group_at
    }

    /// The ids after `last` that were handed out and may be lost: the system was restarted since, and runs as `boot` now, or it lost what it had
    /// not written.
    pub(super) fn hole(&self, last: Cursor, boot: u64) -> Option<Hole> {
        let record::Group { reserved_ms, boot: before, .. } = self.group;
        let may_be_lost = before != boot || boot == 0 || self.bad.is_some();
        (reserved_ms > last.ms && may_be_lost).then(|| Hole { after: last, up_to: Cursor::new(reserved_ms, u64::MAX) })
    }

    /// What is lost if a segment of `length` bytes ends at `bad`.
    pub(super) fn lost(&self, bad: u64, length: u64) -> String {
        let lost = format!("up to {} bytes of messages", length - bad);
        match self.unreadable {
            Some(unreadable) => format!("{lost} (the disk cannot read byte {unreadable})"),
            None => lost,
        }
    }
}

/// A window on a file that moves forward.
struct Window<'a> {
    file: &'a dyn DiskFile,
    bytes: Vec<u8>,
    /// Where the bytes are in the file.
    at: u64,
    length: u64,
    /// The first byte that the disk cannot read.
    unreadable: Option<u64>,
}

impl<'a> Window<'a> {
    fn new(file: &'a dyn DiskFile, at: u64) -> io::Result<Self> {
        Ok(Self { file, bytes: Vec::new(), at, length: file.length()?, unreadable: None })
    }

    /// The bytes from `offset` on: at least `least` of them, if the file has as many, and the disk can read them.
    fn from(&mut self, offset: u64, least: usize) -> io::Result<&[u8]> {
        let skipped = usize::try_from(offset - self.at).unwrap_or(usize::MAX);
        if skipped.saturating_add(least) > self.bytes.len() {
            let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.bytes.drain(..skipped.min(self.bytes.len()));
            self.at = offset;
            let had = self.bytes.len();
            self.bytes.resize(least.max(CHUNK).min(left).max(had), 0);
            let read = self.file.read_at(&mut self.bytes[had..], offset + had as u64);
            let read = match read {
                Err(error) if is_unreadable(&error) => self.readable(had, offset)?,
                read => read?,
            };
            self.bytes.truncate(had + read);
            return Ok(&self.bytes);
        }
        Ok(self.bytes.get(skipped..).unwrap_or_default())
    }

    /// Reads what can be read after the first `had` bytes, up to the sector that cannot; returns how many bytes these are.
    fn readable(&mut self, had: usize, offset: u64) -> io::Result<usize> {
        let mut end = had;
        while end < self.bytes.len() {
            let at = offset + end as u64;
            let sector = (SECTOR - usize::try_from(at % SECTOR as u64).unwrap_or_default()).min(self.bytes.len() - end);
            match self.file.read_at(&mut self.bytes[end..end + sector], at) {
                Err(error) if is_unreadable(&error) => {
                    self.unreadable.get_or_insert(at);
                    break;
                }
                read => match read? {
                    0 => break,
                    read => end += read,
                },
            }
        }
        Ok(end - had)
    }
}

/// Reads the segment from `from` on, and calls `visit` for each whole publication. It ends at the first record that `visit` refuses with
/// `InvalidData`.
///
/// # Errors
/// When the file cannot be read, and other errors of `visit`.
pub(super) fn scan(file: &dyn DiskFile, salt: u32, from: u64, visit: &mut impl Visit) -> io::Result<Scanned> {
    let mut window = Window::new(file, from)?;
    let length = window.length;
    let (mut at, mut least) = (from, FRAME);
    let mut scanned = Scanned { end: from, ..Scanned::default() };
    // The records of a publication whose last one has not come yet.
    let mut begun: Vec<(u64, u64)> = Vec::new();
    // One of them that the disk does not read again.
    let mut unreadable = None;
    while at < length {
        let bytes = window.from(at, least)?;
        let (body, size) = match record::framed(bytes, salt, at) {
            Framed::Whole { body, length } => (body, length as u64),
            // Only what the file can have is waited for.
            // If it was cut meanwhile, asking again does not help.
            Framed::Short(needed) if needed > bytes.len() && needed > least && at + needed as u64 <= length => {
                least = needed;
                continue;
            }
            Framed::Short(_) | Framed::Bad => break,
        };
        least = FRAME;
        let mut visited = Ok(());
        let is_last = match record::parse(body) {
            None => break,
            Some(Record::Group(_) | Record::Hole(_) | Record::Checkpoint) if !begun.is_empty() => break,
            Some(Record::Group(group)) => {
                (scanned.group, scanned.group_at) = (group, at);
                visit.write();
                true
            }
            Some(Record::Hole(hole)) => {
                visit.hole(hole);
                true
            }
            Some(Record::Checkpoint) => {
                visit.checkpoint();
                true
            }
            Some(
                record @ (Record::Message { is_last, .. }
                | Record::State { is_last, .. }
                | Record::Stream { is_last, .. }
                | Record::Copy { is_last, .. }
                | Record::Erased { is_last, .. }),
            ) => {
                if is_last && begun.is_empty() {
                    visited = give(record, at, size, visit);
                } else {
                    begun.push((at, size));
                }
                is_last
            }
        };
        if is_last {
            let mut begun = begun.drain(..);
            visited =
                visited.and_then(|()| begun.try_for_each(|(at, size)| again(file, at, size, visit, &mut unreadable)));
            match visited {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let unreadable = unreadable.or(window.unreadable);
                    return Ok(Scanned { bad: Some(scanned.end), is_invalid: true, unreadable, ..scanned });
                }
                visited => visited?,
            }
            scanned.end = at + size;
        }
        at += size;
    }
    scanned.bad = (at < length).then_some(at);
    // A publication that has begun and does not end is none.
    scanned.bad = scanned.bad.or((scanned.end < at).then_some(at));
    scanned.unreadable = window.unreadable;
    scanned.is_invalid = window.unreadable.is_some();
    Ok(scanned)
}

/// Visits a record whose checksum is right, unless it has become unreadable.
fn again(
    file: &dyn DiskFile,
    offset: u64,
    length: u64,
    visit: &mut impl Visit,
    unreadable: &mut Option<u64>,
) -> io::Result<()> {
    let bytes = match read_exact(file, offset, usize::try_from(length).unwrap_or(usize::MAX)) {
        Err(error) if is_unreadable(&error) => {
            *unreadable = Some(offset);
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes => bytes?,
    };
    record::parse(&bytes[FRAME..]).map_or(Ok(()), |record| give(record, offset, length, visit))
}

/// Visits a record of a publication.
fn give(record: Record<'_>, offset: u64, length: u64, visit: &mut impl Visit) -> io::Result<()> {
    match record {
        Record::Message { id, fields, .. } => visit.message(Found { id, offset, length, fields }),
        Record::State { fields, .. } => visit.state(fields, offset, length),
        Record::Stream { record, .. } => visit.stream(record),
        Record::Copy { id, created, fields, .. } => visit.copy(Found { id, offset, length, fields }, created),
        Record::Erased { .. } | Record::Group(_) | Record::Hole(_) | Record::Checkpoint => Ok(()),
    }
}

/// Whether the bytes at `bad`, where no valid record is, were durable: a later write says so, or cannot be read. Then they were damaged, and not
/// just torn.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn was_durable(file: &dyn DiskFile, salt: u32, bad: u64) -> io::Result<bool> {
    let later = find_group(file, salt, bad, |group| group.synced > bad)?;
    Ok(later.at.is_some() || later.is_unreadable)
}

/// What a search for a write found.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundGroup {
    /// Where the write begins.
    pub(super) at: Option<u64>,
    /// Whether there are bytes on the way that the disk cannot read.
    pub(super) is_unreadable: bool,
}

/// Finds the first write from `from` on, which may be anywhere in a record, whose group is `wanted`.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn find_group(
    file: &dyn DiskFile,
    salt: u32,
    from: u64,
    wanted: impl Fn(&record::Group) -> bool,
) -> io::Result<FoundGroup> {
    let finder = memchr::memmem::Finder::new(&MAGIC);
    let mut window = Window::new(file, from)?;
    let mut at = from;
    while at + (GROUP as u64) <= window.length {
        let bytes = window.from(at, GROUP)?;
        // The magic is after the frame, the kind and the flags.
        for found in finder.find_iter(bytes) {
            let Some(begin) = found.checked_sub(FRAME + 2) else { continue };
            let Framed::Whole { body, .. } = record::framed(&bytes[begin..], salt, at + begin as u64) else { continue };
            if let Some(Record::Group(group)) = record::parse(body)
                && wanted(&group)
            {
                let at = Some(at + begin as u64);
                return Ok(FoundGroup { at, is_unreadable: window.unreadable.is_some() });
            }
        }
        let read = bytes.len() as u64;
        at = match bytes.len().checked_sub(GROUP - 1) {
            // A group may be on the border.
            Some(searched) if searched > 0 => at + searched as u64,
            // The next sector may be readable.
            _ => ((at + read) / SECTOR as u64 + 1) * SECTOR as u64,
        };
    }
    Ok(FoundGroup { at: None, is_unreadable: window.unreadable.is_some() })
}

/// Writes bytes of a file again, as they are. After a failed sync, the system may show what it never wrote, and may take it for written: then
/// no sync makes it durable.
///
/// # Errors
/// When they cannot be read or written.
pub(super) fn rewrite(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    for at in (from..to).step_by(CHUNK) {
        let length = usize::try_from(to - at).unwrap_or(usize::MAX).min(CHUNK);
        file.write_at(&read_exact(file, at, length)?, at)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
