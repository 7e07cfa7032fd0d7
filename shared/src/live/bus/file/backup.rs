//! Copies a log while a process uses it.
//!
//! The copy is the log as it was at one moment, which is not before the copy began: each segment is copied in order, and the newest one up to
//! the last whole publication. What retention removes meanwhile is removed from the copy, too.

use std::{io, path::Path, sync::Arc};

use super::{
    disk::{Directory, Disk, DiskFile, is_unreadable, read_exact},
    error::OpenError,
    open,
    record::Hole,
    removed::{self, Removed},
    repair::{failed, plan::Plan, unopened},
    segment::{self, Found, HEAD, Head, Visit, file_name, index_name},
};
use crate::pure::Cursor;

/// How much is copied at once.
const CHUNK: usize = 1 << 20;
/// How often the end of the newest segment is copied again because it was written to meanwhile.
const ATTEMPTS: usize = 10;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Segments.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The newest message.
    pub last: Option<Cursor>,
}

/// Copies the log at `path` to the directory `to`, which must be empty, or is created. The copy has everything that was acknowledged when
/// this was called, and is a log of its own: when a server starts with it, ids that were issued after the copy was made are a gap.
///
/// # Errors
/// [`OpenError::Disk`] when something cannot be read or written, or `to` is not empty. Without success, no server starts with the copy.
pub fn back_up(path: &Path, to: &Path) -> Result<Copied, OpenError> {
    let from = Directory::open_read_only(path).map_err(unopened(path))?;
    let target = Directory::open(to).map_err(unopened(to))?;
    let read = |what| failed(&from, what);
    open::lock(&target)?;
    if target.list().map_err(failed(&target, "cannot list the directory"))?.iter().any(|name| name != "lock") {
        return Err(failed(&target, "a backup needs an empty directory")(io::ErrorKind::DirectoryNotEmpty.into()));
    }
    if Plan::read(&from).map_err(read("cannot read"))?.is_some() {
        return Err(read("no backup is made")(io::Error::other(
            "the log is to be cut at the next start: start a server with it first",
        )));
    }
    let copied = copy(&from, &target);
    target.unlock();
    copied.map_err(|error| match error {
        CopyError::Read(error) | CopyError::Unreadable(_, error) => read("cannot read")(error),
        CopyError::Write(error) => failed(&target, "cannot write the backup")(error),
    })
}

/// Where a copy failed.
#[derive(Debug)]
pub(super) enum CopyError {
    Read(io::Error),
    /// From this byte on, the disk cannot read a file.
    Unreadable(u64, io::Error),
    Write(io::Error),
}

impl CopyError {
    /// Names the file.
    fn of(self, name: &str) -> Self {
        match self {
            Self::Unreadable(at, error) => Self::Read(io::Error::other(format!(
                "{name} cannot be read at byte {at} ({error}); `standalone log verify` shows what is lost"
            ))),
            error => error,
        }
    }
}

/// Copies a log that another process may use.
pub(super) fn copy(from: &dyn Disk, to: &dyn Disk) -> Result<Copied, CopyError> {
    use CopyError::{Read, Write};
    removed::write_incomplete(to).map_err(Write)?;
    let mut numbers: Vec<u64> = from.list().map_err(Read)?.iter().filter_map(|name| segment::number_of(name)).collect();
    numbers.sort_unstable();
    let mut before = None::<Copy>;
    for &number in &numbers {
        let file = match from.open(&file_name(number)) {
            // Retention has removed it, and with it all that was before.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file.map_err(Read)?,
        };
        let copied = Copy { number, copy: to.create(&file_name(number)).map_err(Write)?, length: 0, file };
        let copied = copied.extend()?;
        if Some(&number) == numbers.last() && Head::read(&*copied.copy).map_err(Write)?.is_none() {
            // It is being created, or cannot be.
            to.remove(&file_name(number)).map_err(Write)?;
            break;
        }
        // Now it is certain that the one before does not change any more.
        if let Some(before) = before.replace(copied) {
            let before = before.extend()?;
            before.copy.sync().map_err(Write)?;
            copy_index(from, to, before.number)?;
        }
    }
    let Some(newest) = before else { return Err(Read(io::Error::other("there is no log in it"))) };
    let end = whole(&*newest.file, &newest.copy, newest.length).map_err(|error| error.of(&file_name(newest.number)))?;
    newest.copy.sync().map_err(Write)?;
    // Read after the segments: it knows everything that was removed meanwhile.
    let table = Removed::read(from).map_err(Read)?.ok_or_else(|| {
        Read(io::Error::other("the table of dropped messages is damaged: use `standalone log repair` first"))
    })?;
    let mut copied = Copied { last: end.1, ..Copied::default() };
    for number in numbers {
        match to.open(&file_name(number)) {
            Ok(_) if number < table.oldest => {
                to.remove(&file_name(number)).map_err(Write)?;
                // It may have been removed before it was copied.
                let _ = to.remove(&index_name(number));
            }
            Ok(file) => {
                copied.segments += 1;
                copied.bytes += file.length().map_err(Write)?;
            }
            Err(_) => {}
        }
    }
    if copied.segments == 0 {
        return Err(Read(io::Error::other("retention removed all of it meanwhile; try again")));
    }
    // When a server starts with it, whatever was issued later is lost.
    let plan = Plan { number: newest.number, offset: end.0, ..Plan::default() };
    plan.store(to).map_err(|error| Write(error.into()))?;
    table.write(to).map_err(|error| Write(error.into()))?;
    Ok(copied)
}

/// A segment, and the bytes of it that are copied.
struct Copy {
    number: u64,
    file: Arc<dyn DiskFile>,
    copy: Arc<dyn DiskFile>,
    length: u64,
}

impl Copy {
    /// Copies what the segment has besides.
    fn extend(self) -> Result<Self, CopyError> {
        let length = self.file.length().map_err(CopyError::Read)?;
        copy_bytes(&*self.file, &*self.copy, self.length, length).map_err(|error| error.of(&file_name(self.number)))?;
        Ok(Self { length: length.max(self.length), ..self })
    }
}

/// Copies an index. Without it, the first start takes longer.
fn copy_index(from: &dyn Disk, to: &dyn Disk, number: u64) -> Result<(), CopyError> {
    let Ok(index) = from.open(&index_name(number)) else { return Ok(()) };
    let copy = to.create(&index_name(number)).map_err(CopyError::Write)?;
    match copy_bytes(&*index, &*copy, 0, index.length().map_err(CopyError::Read)?) {
        // It is made again at the first start.
        Err(CopyError::Unreadable(..)) => {}
        copied => copied?,
    }
    copy.sync().map_err(CopyError::Write)
}

fn copy_bytes(from: &dyn DiskFile, to: &dyn DiskFile, begin: u64, end: u64) -> Result<(), CopyError> {
    let mut chunk = vec![0; CHUNK];
    let mut at = begin;
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        let read = from.read_at(&mut chunk[..most], at).map_err(|error| {
            if is_unreadable(&error) { CopyError::Unreadable(at, error) } else { CopyError::Read(error) }
        })?;
        if read == 0 {
            break;
        }
        to.write_at(&chunk[..read], at).map_err(CopyError::Write)?;
        at += read as u64;
    }
    Ok(())
}

/// Cuts the copy of the newest segment after the last whole publication; returns its end, and the newest message.
fn whole(file: &dyn DiskFile, copy: &Arc<dyn DiskFile>, length: u64) -> Result<(u64, Option<Cursor>), CopyError> {
    use CopyError::{Read, Write};
    for _ in 0..ATTEMPTS {
        let Some(head) = Head::read(&**copy).map_err(Write)? else { return Ok((0, None)) };
        let mut last = Last((head.before > Cursor::ZERO).then_some(head.before));
        let scanned = segment::scan(&**copy, head.salt, HEAD, &mut last).map_err(Write)?;
        match scanned.bad {
            // It was written to while it was read, or is damaged.
            Some(bad) if segment::was_durable(&**copy, head.salt, bad).map_err(Write)? => {
                copy_bytes(file, &**copy, scanned.end, length)?;
            }
            _ => {
                // What is not known to be durable may have been written, undone and written again while it was read.
                let proven = scanned.group.synced.clamp(HEAD, scanned.end);
                if is_same(file, &**copy, proven, scanned.end)? {
                    copy.set_len(scanned.end).map_err(Write)?;
                    return Ok((scanned.end, last.0));
                }
                copy_bytes(file, &**copy, proven, length)?;
            }
        }
    }
    Err(Read(io::Error::other("the newest segment is damaged: see `standalone log verify`")))
}

/// Whether a file has the same bytes in this range as its copy.
fn is_same(file: &dyn DiskFile, copy: &dyn DiskFile, from: u64, to: u64) -> Result<bool, CopyError> {
    for at in (from..to).step_by(CHUNK) {
        let length = usize::try_from(to - at).unwrap_or(CHUNK).min(CHUNK);
        let bytes = match read_exact(file, at, length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            bytes => bytes.map_err(CopyError::Read)?,
        };
        if read_exact(copy, at, length).map_err(CopyError::Write)? != bytes {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The newest message.
struct Last(Option<Cursor>);

impl Visit for Last {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        self.0 = Some(found.id);
        Ok(())
    }

    fn state(&mut self, _: &[u8], _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn hole(&mut self, _: Hole) {}
}
