//! Removes the bytes of purged messages from segments.
//!
//! A segment that has some is written anew, with records of the same length without content in their places, and replaces the old one. Its copy is no
//! part of the log before: whatever fails until then, the copy is removed, and all of it is done again later.

use std::{
    collections::HashMap,
    io,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::{NEW, Purge};
use crate::{
    live::bus::file::{
        catalog::Catalog,
        disk::{Disk, DiskFile, is_full, read_exact},
        error::WriteError::{self, Other, Sync},
        index::{Sealed, sealed},
        record::{self, Hole},
        segment::{self, Found, HEAD, Head, Visit, file_name, index_name},
    },
    pure::{ChannelName, Cursor},
};

/// How much is copied at once.
const CHUNK: usize = 1 << 20;
/// How much is copied before it is synced, so that no sync of a publication waits for more.
const SYNC_EVERY: u64 = 4 << 20;
/// The longest pause after each part.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Up to which message each channel was purged.
type Purged<'a> = HashMap<&'a ChannelName, Cursor>;

/// Removes the bytes of `purges` from all sealed segments, until `is_cancelled`. What cannot be read does not keep the rest.
///
/// # Errors
/// When a segment cannot be read or written: then some of them may be left. `Interrupted` if it was cancelled.
pub(in crate::live::bus::file) fn erase(
    catalog: &Catalog,
    purges: &[Purge],
    is_cancelled: &AtomicBool,
) -> Result<(), WriteError> {
    let mut purged = Purged::new();
    for purge in purges {
        let newest = purged.entry(&purge.channel).or_default();
        *newest = purge.up_to.max(*newest);
    }
    let sealed = catalog.segments.lock().sealed.clone();
    let erasing = Erasing { catalog, disk: &*catalog.disk, purged, is_cancelled };
    let mut failed = None;
    for segment in &*sealed {
        match erasing.erase_in(&segment.sealed) {
            // Retention has removed it.
            Err(Other(error))
                if error.kind() == io::ErrorKind::NotFound && !catalog.is_sealed(segment.sealed.number) => {}
            Err(Other(error)) if error.kind() != io::ErrorKind::Interrupted && !is_full(&error) => {
                failed.get_or_insert(error);
            }
            erased => erased?,
        }
    }
    failed.map_or(Ok(()), |error| Err(Other(error)))
}

struct Erasing<'a> {
    catalog: &'a Catalog,
    disk: &'a dyn Disk,
    purged: Purged<'a>,
    is_cancelled: &'a AtomicBool,
}

impl Erasing<'_> {
    fn go_on(&self) -> io::Result<()> {
        if self.is_cancelled.load(Relaxed) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    fn erase_in(&self, sealed: &Sealed) -> Result<(), WriteError> {
        self.go_on().map_err(Other)?;
        if !self.may_have(sealed) {
            return Ok(());
        }
        let name = file_name(sealed.number);
        let file = self.disk.open(&name).map_err(Other)?;
        let (found, is_whole) = self.find(&*file, sealed).map_err(Other)?;
        if !is_whole {
            self.overwrite(&*file, sealed.salt, &found).map_err(Other)?;
            let left =
                format!("{name} is damaged, and may have some where it cannot be read; see `standalone log verify`");
            return Err(Other(io::Error::other(left)));
        }
        if found.is_empty() {
            return Ok(());
        }
        // Publishers need as much again meanwhile.
        let wanted = 2 * sealed.length;
        if let Some(free) = self.disk.free().map_err(Other)?.filter(|free| *free < wanted) {
            log::debug!(
                "{}: {wanted} bytes are needed to remove purged messages, {free} are free",
                self.disk.directory()
            );
            return Err(Other(io::ErrorKind::StorageFull.into()));
        }
        let new = format!("{name}{NEW}");
        let replaced = self.disk.create(&new).and_then(|copy| {
            self.rewrite(&*file, &*copy, sealed.salt, &found)?;
            copy.sync()?;
            // What is there now may be another log.
            self.disk.check()?;
            self.disk.rename(&new, &name)
        });
        replaced.map_err(|error| {
            let _ = self.disk.remove(&new);
            Other(error)
        })?;
        self.disk.sync_names().map_err(Sync)?;
        if !self.catalog.is_sealed(sealed.number) {
            // Retention has removed the old one meanwhile.
            let _ = self.disk.remove(&name);
        }
        Ok(())
    }

    /// Whether a segment may have purged messages: if its index cannot be read, it may.
    fn may_have(&self, segment: &Sealed) -> bool {
        let Ok(index) = self.disk.open(&index_name(segment.number)) else { return true };
        self.purged.iter().any(|(channel, up_to)| match sealed::find(&*index, segment.channels, channel) {
            Ok(found) => found.is_some_and(|entry| entry.summary.first <= *up_to),
            Err(_) => true,
        })
    }

    /// The places of all purged messages that can be read, and whether that is all of the segment.
    fn find(&self, file: &dyn DiskFile, sealed: &Sealed) -> io::Result<(Vec<(u64, u64)>, bool)> {
        let head = Head::read(file)?;
        if head.is_some_and(|head| (head.salt, head.number) != (sealed.salt, sealed.number)) {
            // Another log has this name now.
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut finding = Finding { erasing: self, found: Vec::new() };
        let (mut from, mut is_whole) = (HEAD, head.is_some());
        while let Some(bad) = segment::scan(file, sealed.salt, from, &mut finding)?.bad {
            is_whole = false;
            match segment::find_group(file, sealed.salt, bad, |_| true)?.at {
                Some(at) => from = at,
                None => break,
            }
        }
        Ok((finding.found, is_whole))
    }

    /// Writes a copy of a segment without the content of the messages at these places.
    fn rewrite(&self, file: &dyn DiskFile, copy: &dyn DiskFile, salt: u32, erased: &[(u64, u64)]) -> io::Result<()> {
        let mut left = erased.iter().peekable();
        let (mut at, length) = (0, file.length()?);
        let (mut synced, mut begun) = (0, Instant::now());
        while at < length {
            self.go_on()?;
            // Purged messages are never written.
            let end = match left.peek() {
                Some(&&(offset, length)) if offset == at => {
                    copy.write_at(&blank(file, salt, offset, length)?, at)?;
                    left.next();
                    at += length;
                    continue;
                }
                Some((offset, _)) => *offset,
                None => length,
            };
            let chunk = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            copy.write_at(&read_exact(file, at, chunk)?, at)?;
            at += chunk as u64;
            if at - synced >= SYNC_EVERY {
                copy.sync()?;
                // Publishers have the disk for half of the time.
                thread::sleep(begun.elapsed().min(MAX_PAUSE));
                (synced, begun) = (at, Instant::now());
            }
        }
        Ok(())
    }

    /// Removes the content of messages in a damaged segment, of which no copy can be made: an interruption leaves records that are not valid,
    /// which it has already.
    fn overwrite(&self, file: &dyn DiskFile, salt: u32, found: &[(u64, u64)]) -> io::Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        self.disk.check()?;
        for (offset, length) in found {
            self.go_on()?;
            file.write_at(&blank(file, salt, *offset, *length)?, *offset)?;
        }
        file.sync()
    }
}

/// A message without its content.
fn blank(file: &dyn DiskFile, salt: u32, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = read_exact(file, offset, usize::try_from(length).unwrap_or(usize::MAX))?;
    record::erase(&mut bytes, salt, offset);
    Ok(bytes)
}

struct Finding<'a> {
    erasing: &'a Erasing<'a>,
    found: Vec<(u64, u64)>,
}

impl Visit for Finding<'_> {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        self.erasing.go_on()?;
        let channel = record::channel(found.fields);
        if channel.is_some_and(|channel| self.erasing.purged.get(&channel).is_some_and(|up_to| found.id <= *up_to)) {
            self.found.push((found.offset, found.length));
        }
        Ok(())
    }

    fn state(&mut self, _: &[u8], _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn hole(&mut self, _: Hole) {}
}
