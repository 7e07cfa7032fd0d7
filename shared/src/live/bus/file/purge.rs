//! Purges: all messages of a channel up to an id are removed.
//!
//! ```text
//! Bus::purge ─▶ a state of the log, synced ─▶ the memory, and all readers of the disk ─▶ (later, on another thread) the bytes of all purges ─▶ the
//! state is removed
//! ```
//!
//! A segment that has purged messages is written anew, with records of the same length without content in their places: its index, and each place in
//! it, remain valid. The new file replaces the old one at once, so after a crash one of the two is there.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{
    catalog::Catalog,
    disk::{Disk, DiskFile, read_exact},
    error::WriteError,
    index::{Sealed, sealed},
    record::{self, Hole},
    segment::{self, Found, HEAD, Head, Visit, file_name, index_name},
    states::States,
};
use crate::{
    live::{
        bus::{StateTable, StoredState},
        log::Log,
    },
    pure::{ChannelName, Cursor},
};

/// Purges whose bytes may still be on disk. A power cut loses none.
pub(super) const TABLE: StateTable = StateTable { is_synced: true, ..StateTable::new("purge", 1 << 20) };
/// What a segment is called while it is written anew.
const NEW: &str = ".new";
/// How much is copied at once.
const CHUNK: usize = 1 << 20;

/// A purge whose bytes may still be on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Purge {
    pub(super) channel: ChannelName,
    pub(super) up_to: Cursor,
    /// When it was requested, in milliseconds since the Unix epoch.
    pub(super) at_ms: u64,
}

impl Purge {
    /// As a state of the log. Each purge of a channel has its own, so that a later one does not delay an earlier one.
    pub(super) fn state(&self) -> StoredState {
        let mut key = self.channel.as_bytes().to_vec();
        key.extend_from_slice(&self.up_to.ms.to_be_bytes());
        key.extend_from_slice(&self.up_to.seq.to_be_bytes());
        StoredState { table: TABLE, key, value: Some(self.at_ms.to_be_bytes().to_vec()), until_ms: u64::MAX }
    }

    /// The purge that such a state describes; `None` if it describes none.
    pub(super) fn of(state: &StoredState) -> Option<Self> {
        let (rest, seq) = state.key.split_last_chunk::<8>()?;
        let (channel, ms) = rest.split_last_chunk::<8>()?;
        let at_ms = state.value.as_deref()?.try_into().ok()?;
        Some(Self {
            channel: std::str::from_utf8(channel).ok()?.parse().ok()?,
            up_to: Cursor::new(u64::from_be_bytes(*ms), u64::from_be_bytes(*seq)),
            at_ms: u64::from_be_bytes(at_ms),
        })
    }

    /// Has all readers obey it: none of its messages is read from now on.
    pub(super) fn obey(&self, catalog: &Catalog, log: &Log) {
        let mut segments = catalog.segments.lock();
        let removed = Arc::make_mut(&mut segments.removed);
        removed.raise(self.channel.clone(), self.up_to);
        removed.shrink();
        segments.purges += 1;
        drop(segments);
        log.purge_up_to(&self.channel, self.up_to);
    }
}

/// Whether a file is a segment that was not written anew completely.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(NEW).is_some_and(|name| segment::number_of(name).is_some())
}

/// All purges whose bytes may still be on disk.
pub(super) fn all(states: &States) -> Vec<Purge> {
    states.of(TABLE, 0).iter().filter_map(Purge::of).collect()
}

/// Removes the bytes of `purges` from all sealed segments, until `is_cancelled`.
///
/// # Errors
/// When a segment cannot be read or written: then some of them may be left. `Interrupted` if it was cancelled.
pub(super) fn erase(catalog: &Catalog, purges: &[Purge], is_cancelled: &AtomicBool) -> Result<(), WriteError> {
    let mut up_to: HashMap<&ChannelName, Cursor> = HashMap::new();
    for purge in purges {
        let newest = up_to.entry(&purge.channel).or_default();
        *newest = purge.up_to.max(*newest);
    }
    let sealed = catalog.segments.lock().sealed.clone();
    for segment in &*sealed {
        match erase_in(catalog, &segment.sealed, &up_to, is_cancelled) {
            // Retention has removed it.
            Err(WriteError::Other(error))
                if error.kind() == io::ErrorKind::NotFound && !catalog.is_sealed(segment.sealed.number) => {}
            erased => erased?,
        }
    }
    Ok(())
}

fn erase_in(
    catalog: &Catalog,
    sealed: &Sealed,
    purges: &HashMap<&ChannelName, Cursor>,
    is_cancelled: &AtomicBool,
) -> Result<(), WriteError> {
    use WriteError::{Other, Sync};
    let (disk, name) = (&*catalog.disk, file_name(sealed.number));
    if !may_have(disk, sealed, purges) {
        return Ok(());
    }
    let file = disk.open(&name).map_err(Other)?;
    let mut finding = Finding { purges, found: Vec::new() };
    let is_whole = find(&*file, &mut finding).map_err(Other)?;
    let Finding { found, .. } = finding;
    if !is_whole {
        return Err(Other(io::Error::other(format!("{name} is damaged; see `standalone log verify`"))));
    }
    if found.is_empty() {
        return Ok(());
    }
    let new = format!("{name}{NEW}");
    let written = disk.create(&new).and_then(|copy| {
        rewrite(&*file, &*copy, sealed.salt, &found, is_cancelled)?;
        Ok(copy)
    });
    let copy = written.map_err(|error| {
        // So that nothing of it counts as written.
        let _ = disk.remove(&new);
        Other(error)
    })?;
    copy.sync().map_err(Sync)?;
    disk.rename(&new, &name).map_err(Other)?;
    disk.sync_names().map_err(Sync)?;
    if !catalog.is_sealed(sealed.number) {
        // Retention has removed the old one meanwhile.
        let _ = disk.remove(&name);
    }
    Ok(())
}

/// Whether a segment may have purged messages: if its index cannot be read, it may.
fn may_have(disk: &dyn Disk, segment: &Sealed, purges: &HashMap<&ChannelName, Cursor>) -> bool {
    let Ok(index) = disk.open(&index_name(segment.number)) else { return true };
    purges.iter().any(|(channel, up_to)| match sealed::find(&*index, segment.channels, channel) {
        Ok(found) => found.is_some_and(|entry| entry.summary.first <= *up_to),
        Err(_) => true,
    })
}

/// Finds all purged messages; returns whether the segment is whole.
fn find(file: &dyn DiskFile, finding: &mut Finding<'_>) -> io::Result<bool> {
    let Some(head) = Head::read(file)? else { return Ok(false) };
    Ok(segment::scan(file, head.salt, HEAD, finding)?.bad.is_none())
}

struct Finding<'a> {
    purges: &'a HashMap<&'a ChannelName, Cursor>,
    found: Vec<(u64, u64)>,
}

impl Visit for Finding<'_> {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        let channel = record::channel(found.fields);
        if channel.is_some_and(|channel| self.purges.get(&channel).is_some_and(|up_to| found.id <= *up_to)) {
            self.found.push((found.offset, found.length));
        }
        Ok(())
    }

    fn state(&mut self, _: &[u8], _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn hole(&mut self, _: Hole) {}
}

/// Writes a copy of a segment without the content of the messages at these places.
fn rewrite(
    file: &dyn DiskFile,
    copy: &dyn DiskFile,
    salt: u32,
    erased: &[(u64, u64)],
    is_cancelled: &AtomicBool,
) -> io::Result<()> {
    let mut left = erased.iter().peekable();
    let (mut at, length) = (0, file.length()?);
    while at < length {
        if is_cancelled.load(Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        // Purged messages are never written.
        let end = match left.peek() {
            Some(&&(offset, length)) if offset == at => {
                let mut bytes = read_exact(file, offset, usize::try_from(length).unwrap_or(usize::MAX))?;
                record::erase(&mut bytes, salt, offset);
                copy.write_at(&bytes, at)?;
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
    }
    Ok(())
}
