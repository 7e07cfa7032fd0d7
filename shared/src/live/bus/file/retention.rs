//! Removes the oldest segments: when all segments together are too large, when all messages of a segment have expired, and when the limits of
//! their channels keep none of them.
//!
//! What each channel loses is written first ([`Removed`]), so that a reader from before it gets a gap, and no other reader.

use std::{io, sync::Arc};

use super::{
    archive::DiskArchive,
    catalog::{Catalog, SealedSegment},
    disk::is_unreadable,
    error::WriteError,
    index::sealed,
    removed::Removed,
    segment::{file_name, index_name},
};

/// A segment with more channels is not checked for the limits of each: it goes by age and by the total.
const MAX_CHANNELS: u64 = 64;

/// Removes the oldest segments that exceed `total` bytes or are not needed; returns how many, and whether the next one remains for its idempotency keys:
/// messages from `keys_ms` on may have some, which only `total` removes before their time. The limits of channels are checked only if there
/// is a new segment, or one remained: they look at the index of each segment.
///
/// # Errors
/// When the disk fails: then everything that is still listed is there.
pub(super) fn enforce(
    catalog: &Catalog,
    archive: &DiskArchive,
    total: Option<u64>,
    keys_ms: u64,
    has_new: bool,
) -> Result<(usize, bool), WriteError> {
    let (mut size, _) = catalog.size();
    // Neither is copied unless something is removed.
    let (sealed, mut removed, has_checkpoint) = {
        let segments = catalog.segments.lock();
        (segments.sealed.clone(), segments.removed.clone(), segments.active.has_checkpoint)
    };
    // Until a segment has a checkpoint, the states and holes are in the one before.
    let removable = sealed.len().saturating_sub(usize::from(!has_checkpoint));
    let oldest_ms = archive.oldest_ms();
    let (mut count, mut is_kept) = (0, false);
    for segment in &sealed[..removable] {
        let is_over = total.is_some_and(|most| size > most);
        let has_expired = segment.sealed.last.ms < oldest_ms;
        // A segment whose index cannot be read goes by age and by the total.
        let is_over_limits = || is_over_limits(catalog, archive, &sealed, segment).unwrap_or(false);
        let has_keys = segment.sealed.last.ms >= keys_ms;
        if !(is_over || !has_keys && (has_expired || has_new && is_over_limits())) {
            is_kept = has_keys;
            break;
        }
        lose(catalog, segment, Arc::make_mut(&mut removed)).map_err(WriteError::Other)?;
        size -= segment.bytes;
        count += 1;
    }
    if count == 0 {
        return Ok((0, is_kept));
    }
    Arc::make_mut(&mut removed).shrink();
    removed.write(&*catalog.disk)?;
    {
        let mut segments = catalog.segments.lock();
        segments.removed = removed;
        Arc::make_mut(&mut segments.sealed).drain(..count);
    }
    for segment in &sealed[..count] {
        for name in [file_name(segment.sealed.number), index_name(segment.sealed.number)] {
            if let Err(error) = catalog.disk.remove(&name) {
                log::warn!(
                    "{}: cannot remove {name} now, trying again at the next start: {error}",
                    catalog.disk.directory()
                );
            }
        }
    }
    Ok((count, is_kept))
}

/// Notes that the messages of a segment are removed.
fn lose(catalog: &Catalog, segment: &SealedSegment, removed: &mut Removed) -> io::Result<()> {
    let after = segment.sealed.number + 1;
    let index = catalog.disk.open(&index_name(segment.sealed.number));
    let raised = index.and_then(|index| {
        sealed::all(&*index, segment.sealed.channels).try_for_each(|one| {
            let (channel, summary) = one?;
            removed.raise(channel, summary.last);
            Ok(())
        })
    });
    match raised {
        Ok(()) => removed.oldest = after,
        // Without the index it is not known which channels lose something: each of them may.
        Err(error)
            if is_unreadable(&error)
                || matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound
                ) =>
        {
            removed.lose(after, segment.sealed.last);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Reserves the space that the next removal needs. Without it, a full disk stops retention.
pub(super) fn reserve(catalog: &Catalog) {
    let removed = catalog.segments.lock().removed.clone();
    if let Err(error) = removed.reserve(&*catalog.disk) {
        log::debug!("{}: no space is reserved for the removal of segments: {error}", catalog.disk.directory());
    }
}

/// Whether the limits of count and bytes keep no message of a segment.
fn is_over_limits(
    catalog: &Catalog,
    archive: &DiskArchive,
    sealed: &[Arc<SealedSegment>],
    segment: &SealedSegment,
) -> io::Result<bool> {
    if segment.sealed.channels > MAX_CHANNELS {
        return Ok(false);
    }
    let index = catalog.disk.open(&index_name(segment.sealed.number))?;
    for one in sealed::all(&*index, segment.sealed.channels) {
        let (channel, summary) = one?;
        if archive.limit(&channel, sealed)? < summary.last {
            return Ok(false);
        }
    }
    Ok(true)
}
