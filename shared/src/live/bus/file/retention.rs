//! Removes the oldest segments: when all segments together are too large, when all messages of a segment have expired, and when the limits of
//! their channels keep none of them.
//!
//! What each channel loses is written first ([`Floors`]), so that a reader from before it gets a gap, and no other reader.
//!
//! [`Floors`]: super::floors::Floors

use std::{io, sync::Arc};

use super::{
    archive::DiskArchive,
    catalog::{Catalog, SealedSegment},
    index::sealed,
    segment::{file_name, index_name},
};

/// A segment with more channels is not checked for the limits of each: it goes by age and by the total.
const MAX_CHANNELS: u64 = 64;

/// Removes the oldest segments that exceed `total` bytes or are not needed; returns how many. The limits of channels are checked only if there
/// is a new segment: they look at the index of each segment.
///
/// # Errors
/// When the disk fails: then everything that is still listed is there.
pub(super) fn enforce(
    catalog: &Catalog,
    archive: &DiskArchive,
    total: Option<u64>,
    has_new: bool,
) -> io::Result<usize> {
    let (mut size, _) = catalog.size();
    let (sealed, mut floors) = {
        let segments = catalog.segments.lock();
        (segments.sealed.clone(), segments.floors.clone())
    };
    let oldest_ms = archive.oldest_ms();
    let mut count = 0;
    for segment in sealed.iter() {
        let is_over = total.is_some_and(|most| size > most);
        let has_expired = segment.sealed.last.ms < oldest_ms;
        let is_removable = is_over || has_expired || has_new && is_over_limits(catalog, archive, &sealed, segment)?;
        if !is_removable {
            break;
        }
        let index = catalog.disk.open(&index_name(segment.sealed.number))?;
        for one in sealed::all(&*index, segment.sealed.channels) {
            let (channel, summary) = one?;
            floors.raise(channel, summary.last);
        }
        floors.oldest = segment.sealed.number + 1;
        size -= segment.bytes;
        count += 1;
    }
    if count == 0 {
        return Ok(0);
    }
    floors.shrink();
    floors.write(&*catalog.disk)?;
    {
        let mut segments = catalog.segments.lock();
        segments.floors = floors;
        Arc::make_mut(&mut segments.sealed).drain(..count);
    }
    for segment in &sealed[..count] {
        for name in [file_name(segment.sealed.number), index_name(segment.sealed.number)] {
            if let Err(error) = catalog.disk.remove(&name) {
                log::warn!("{}: {name} is not removed before the next start: {error}", catalog.disk.place());
            }
        }
    }
    Ok(count)
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
