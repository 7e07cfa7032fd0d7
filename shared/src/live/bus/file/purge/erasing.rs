//! Removes the bytes of purged messages from segments.
//!
//! A segment that has some is written anew, with records of the same length without content in their places, and replaces the old one. Its copy is no
//! part of the log before: whatever fails until then, the copy is removed, and all of it is done again later. A damaged segment is copied with its damage,
//! so the log gets no worse. One that the disk cannot read remains as it is: the next attempt may be able to.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::{NEW, Purge};
use crate::{
    live::bus::file::{
        catalog::Catalog,
        disk::{Disk, DiskFile, is_unreadable, read_exact},
        error::WriteError::{self, Other, Sync},
        index::{
            self, Entry, Sealed,
            sealed::{self, SealedEntries, SealedIndex},
        },
        record::{self, Framed, Hole, Record},
        segment::{self, Found, HEAD, Head, Visit, file_name, index_name},
    },
    pure::{ChannelName, Cursor},
};

/// How much is copied at once.
const CHUNK: usize = 1 << 20;
/// How much is read or copied before the others have the disk. What was copied is synced then, so that no sync of a publication waits for more.
const PAUSE_EVERY: u64 = 4 << 20;
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Up to which message each channel was purged.
type Purged<'a> = HashMap<&'a ChannelName, Cursor>;

/// Purges whose bytes are still on disk, and the segments that may have some of them: no other segment has.
#[derive(Clone, Debug, Default)]
pub(in crate::live::bus::file) struct Left {
    pub(in crate::live::bus::file) purges: HashSet<Purge>,
    pub(in crate::live::bus::file) segments: BTreeSet<u64>,
}

/// What an attempt did not remove.
#[derive(Debug, Default)]
pub(in crate::live::bus::file) struct Attempt {
    pub(in crate::live::bus::file) left: Left,
    /// Why, for the first of these segments.
    pub(in crate::live::bus::file) why: Option<io::Error>,
    /// Whether there is another reason than damage, one that may end soon.
    pub(in crate::live::bus::file) is_passing: bool,
}

/// Removes the bytes of the purges `new` from all sealed segments, and those of `left` from its segments, until `is_cancelled`. A segment that cannot be
/// read or written does not keep the others.
///
/// # Errors
/// [`Sync`], which is the end of the log. `Interrupted` if it was cancelled.
pub(in crate::live::bus::file) fn erase(
    catalog: &Catalog,
    new: &[Purge],
    left: &Left,
    is_cancelled: &AtomicBool,
) -> Result<Attempt, WriteError> {
    let (purged_new, purged_all) = (purged(new), purged(new.iter().chain(&left.purges)));
    let sealed = catalog.segments.lock().sealed.clone();
    let mut attempt = Attempt::default();
    let mut pace = Pace::new();
    for segment in &*sealed {
        let (index, segment) = (catalog.index(segment), &segment.sealed);
        let had_left = left.segments.contains(&segment.number);
        let purged = if had_left { &purged_all } else { &purged_new };
        let mut erasing = Erasing { catalog, disk: &*catalog.disk, purged, is_cancelled, pace: &mut pace };
        match erasing.erase_in(segment, index.as_ref().ok()) {
            // Retention has removed it.
            Err(Other(error)) if error.kind() == io::ErrorKind::NotFound && !catalog.is_sealed(segment.number) => {}
            Err(Other(error)) if error.kind() != io::ErrorKind::Interrupted => {
                let index = index.ok();
                let all = new.iter().chain(left.purges.iter().filter(|_| had_left));
                let here = all.filter(|purge| may_have(index.as_ref(), segment, &purge.channel, purge.up_to));
                attempt.left.purges.extend(here.cloned());
                attempt.left.segments.insert(segment.number);
                attempt.is_passing |= error.kind() != io::ErrorKind::InvalidData;
                attempt.why.get_or_insert(error);
            }
            erased => erased?,
        }
    }
    Ok(attempt)
}

fn purged<'a>(purges: impl IntoIterator<Item = &'a Purge>) -> Purged<'a> {
    let mut purged = Purged::new();
    for purge in purges {
        let newest = purged.entry(&purge.channel).or_default();
        *newest = purge.up_to.max(*newest);
    }
    purged
}

/// Whether a segment may have messages of a channel up to this one: if its index cannot be read, it may.
fn may_have(index: Option<&SealedIndex>, segment: &Sealed, channel: &ChannelName, up_to: Cursor) -> bool {
    let Some(index) = index.filter(|_| segment.copied == 0) else { return true };
    match index.find(channel) {
        Ok(found) => found.is_some_and(|entry| entry.summary.first <= up_to),
        Err(_) => true,
    }
}

/// Leaves the disk to others for as long as it was used.
struct Pace {
    /// The bytes since the last pause.
    bytes: u64,
    begun: Instant,
}

impl Pace {
    fn new() -> Self {
        Self { bytes: 0, begun: Instant::now() }
    }

    fn is_due(&self) -> bool {
        self.bytes >= PAUSE_EVERY
    }

    fn pause(&mut self) {
        thread::sleep(self.begun.elapsed().min(MAX_PAUSE));
        *self = Self::new();
    }
}

struct Erasing<'a> {
    catalog: &'a Catalog,
    disk: &'a dyn Disk,
    purged: &'a Purged<'a>,
    is_cancelled: &'a AtomicBool,
    pace: &'a mut Pace,
}

impl Erasing<'_> {
    fn go_on(&self) -> io::Result<()> {
        if self.is_cancelled.load(Relaxed) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    fn erase_in(&mut self, sealed: &Sealed, index: Option<&SealedIndex>) -> Result<(), WriteError> {
        self.go_on().map_err(Other)?;
        if !self.purged.iter().any(|(channel, up_to)| may_have(index, sealed, channel, *up_to)) {
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
        let name = file_name(sealed.number);
        let file = self.disk.open(&name).map_err(Other)?;
        let found = self.find(&*file, sealed);
        let (found, is_all) = found.map_err(|error| Other(named(&name, error)))?;
        if !found.is_empty() {
            self.replace(&name, &*file, sealed, &found)?;
        }
        if is_all {
            return Ok(());
        }
        let left = format!("{name} and its index are damaged: see `standalone log verify`");
        Err(Other(io::Error::new(io::ErrorKind::InvalidData, left)))
    }

    /// Puts a copy without these messages in the place of a segment.
    fn replace(
        &mut self,
        name: &str,
        file: &dyn DiskFile,
        sealed: &Sealed,
        found: &[(u64, u64)],
    ) -> Result<(), WriteError> {
        let new = format!("{name}{NEW}");
        let replaced = self.disk.create(&new).and_then(|copy| {
            self.rewrite(file, &*copy, sealed.salt, found)?;
            copy.sync()?;
            // What is there now may be another log.
            self.disk.check()?;
            self.disk.rename(&new, name)
        });
        replaced.map_err(|error| {
            let _ = self.disk.remove(&new);
            Other(named(name, error))
        })?;
        self.disk.sync_names().map_err(Sync)?;
        if !self.catalog.is_sealed(sealed.number) {
            // Retention has removed the old one meanwhile.
            let _ = self.disk.remove(name);
        }
        Ok(())
    }

    /// The places of purged messages, and whether none is missing.
    fn find(&mut self, file: &dyn DiskFile, sealed: &Sealed) -> io::Result<(Vec<(u64, u64)>, bool)> {
        let head = Head::read(file)?;
        if head.is_some_and(|head| (head.salt, head.number) != (sealed.salt, sealed.number)) {
            // Another log has this name now.
            return Err(io::ErrorKind::NotFound.into());
        }
        let index = self.disk.open(&index_name(sealed.number)).and_then(sealed::open).ok();
        if let Some((_, index)) = index.filter(|(found, _)| found == sealed) {
            let mut places = self.find_by_index(file, sealed, &index)?;
            if sealed.copied == 0 {
                return Ok((places, true));
            }
            // The index does not say where messages are that are not in the order of ids.
            let (scanned, is_whole) = self.scan(file, sealed, head.is_some())?;
            places.extend(scanned);
            places.sort_unstable();
            places.dedup();
            return Ok((places, is_whole));
        }
        self.scan(file, sealed, head.is_some())
    }

    /// The places by reading all of it, which has a head if that `is_whole`; and whether none may be missing.
    fn scan(&mut self, file: &dyn DiskFile, sealed: &Sealed, is_whole: bool) -> io::Result<(Vec<(u64, u64)>, bool)> {
        let mut finding = Finding { erasing: self, found: Vec::new(), at: HEAD };
        let (mut from, mut is_whole) = (HEAD, is_whole);
        while let Some(bad) = segment::scan(file, sealed.salt, from, &mut finding)?.bad {
            is_whole = false;
            match segment::find_group(file, sealed.salt, bad, |_| true)?.at {
                Some(at) => from = at,
                None => break,
            }
        }
        Ok((finding.found, is_whole))
    }

    /// The places by a valid index, which knows those of damaged messages, too.
    fn find_by_index(
        &mut self,
        file: &dyn DiskFile,
        sealed: &Sealed,
        index: &SealedIndex,
    ) -> io::Result<Vec<(u64, u64)>> {
        let mut places = Vec::new();
        for (channel, up_to) in self.purged {
            let entry = index.find(channel)?;
            let Some(entry) = entry.filter(|entry| entry.summary.first <= *up_to) else { continue };
            let entries = SealedEntries { index: index.clone(), entry };
            for Entry { offset, length } in index::entries(&entries, Cursor::ZERO, u64::MAX)?.0 {
                self.go_on()?;
                self.pace.bytes += length;
                if self.pace.is_due() {
                    self.pace.pause();
                }
                let bytes = read_exact(file, offset, usize::try_from(length).unwrap_or(usize::MAX))?;
                match whole(&bytes, sealed.salt, offset) {
                    Some(Record::Message { id, .. }) if id > *up_to => break,
                    Some(Record::Erased { .. }) => {}
                    // It is damaged, and was erased before.
                    None if bytes.iter().all(|byte| *byte == 0) => {}
                    _ => places.push((offset, length)),
                }
            }
        }
        places.sort_unstable();
        Ok(places)
    }

    /// Writes a copy of a segment without the content of the messages at these places.
    fn rewrite(
        &mut self,
        file: &dyn DiskFile,
        copy: &dyn DiskFile,
        salt: u32,
        erased: &[(u64, u64)],
    ) -> io::Result<()> {
        let mut left = erased.iter().peekable();
        let (mut at, length) = (0, file.length()?);
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
            self.pace.bytes += chunk as u64;
            if self.pace.is_due() {
                copy.sync()?;
                self.pace.pause();
            }
        }
        Ok(())
    }
}

/// An error that says which segment cannot be read.
fn named(name: &str, error: io::Error) -> io::Error {
    if !is_unreadable(&error) {
        return error;
    }
    let text = format!("{name} cannot be read ({error}): see `standalone log verify`");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The record that `bytes` are; `None` if they are damaged.
fn whole(bytes: &[u8], salt: u32, offset: u64) -> Option<Record<'_>> {
    match record::framed(bytes, salt, offset) {
        Framed::Whole { body, length } if length == bytes.len() => record::parse(body),
        _ => None,
    }
}

/// A message without its content. Nothing is left of one that is damaged.
fn blank(file: &dyn DiskFile, salt: u32, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = read_exact(file, offset, usize::try_from(length).unwrap_or(usize::MAX))?;
    match whole(&bytes, salt, offset) {
        Some(_) => record::erase(&mut bytes, salt, offset),
        None => bytes.fill(0),
    }
    Ok(bytes)
}

struct Finding<'a, 'b> {
    erasing: &'a mut Erasing<'b>,
    found: Vec<(u64, u64)>,
    /// Up to here, the reading is counted.
    at: u64,
}

impl Visit for Finding<'_, '_> {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        self.visit(found, found.id)
    }

    /// It is of a stream that is as old as it is, or older.
    fn copy(&mut self, found: Found<'_>, created: Cursor) -> io::Result<()> {
        self.visit(found, found.id.max(created))
    }

    fn state(&mut self, _: &[u8], _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn hole(&mut self, _: Hole) {}
}

impl Finding<'_, '_> {
    /// Notes a message if it is purged up to `id`.
    fn visit(&mut self, found: Found<'_>, id: Cursor) -> io::Result<()> {
        self.erasing.go_on()?;
        self.erasing.pace.bytes += found.offset.saturating_sub(self.at);
        self.at = found.offset;
        if self.erasing.pace.is_due() {
            self.erasing.pace.pause();
        }
        let channel = record::channel(found.fields);
        if channel.is_some_and(|channel| self.erasing.purged.get(&channel).is_some_and(|up_to| id <= *up_to)) {
            self.found.push((found.offset, found.length));
        }
        Ok(())
    }
}
