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
    index::{Ids, Summary},
    removed::Removed,
    segment::{file_name, index_name},
};
use crate::{
    live::log::Log,
    pure::{ChannelName, Cursor},
};

/// A segment with more channels is not checked for the limits of each: it goes by age and by the total.
const MAX_CHANNELS: u64 = 64;

/// What is removed, and when.
pub(super) struct Rules {
    /// Bytes on disk; beyond, the oldest segments are removed.
    pub(super) total: Option<u64>,
    /// Messages from here on may have idempotency keys, which only `total` removes before their time.
    pub(super) keys_ms: u64,
    /// Whether there is a new segment, or one remained for its keys: then the limits of channels are checked, for which the index of each segment is read.
    pub(super) has_new: bool,
    /// The segment whose messages of streams have been written again.
    pub(super) moved: Option<u64>,
    /// See [`Enforced::needed`]: it is not looked at again until streams lose something, unless there is a new segment.
    pub(super) needed: Option<(u64, u64)>,
}

/// What was removed.
#[derive(Debug, Default)]
pub(super) struct Enforced {
    /// Segments.
    pub(super) count: usize,
    /// Whether the next one remains for its idempotency keys.
    pub(super) is_kept: bool,
    /// The segment whose messages of streams are to be written again before it is removed.
    pub(super) to_move: Option<u64>,
    /// The oldest segment if streams need it, and what they had lost then.
    pub(super) needed: Option<(u64, u64)>,
}

/// Removes the oldest segments that exceed the total or are not needed, except for one that has messages of the streams of `log`: these are kept.
///
/// # Errors
/// When the disk fails: then everything that is still listed is there.
pub(super) fn enforce(
    catalog: &Catalog,
    archive: &DiskArchive,
    log: &Log,
    rules: &Rules,
) -> Result<Enforced, WriteError> {
    let Rules { total, keys_ms, has_new, moved, needed } = *rules;
    let (mut size, _) = catalog.size();
    // Neither is copied unless something is removed.
    let (sealed, mut removed, has_checkpoint) = {
        let segments = catalog.segments.lock();
        (segments.sealed.clone(), segments.removed.clone(), segments.active.has_checkpoint)
    };
    // Until a segment has a checkpoint, the states and holes are in the one before.
    let removable = sealed.len().saturating_sub(usize::from(!has_checkpoint));
    let oldest_ms = archive.oldest_ms();
    let losses = log.stream_losses();
    let mut enforced = Enforced::default();
    let is_unneeded = |segment: &SealedSegment| {
        let has_expired = segment.sealed.last.ms < oldest_ms;
        // A segment whose index cannot be read goes by age and by the total.
        let is_over_limits = || is_over_limits(catalog, archive, log, &sealed, segment).unwrap_or(false);
        segment.sealed.last.ms < keys_ms && (has_expired || has_new && is_over_limits())
    };
    for (at, segment) in sealed[..removable].iter().enumerate() {
        let is_over = total.is_some_and(|most| size > most);
        if !is_over && !is_unneeded(segment) {
            enforced.is_kept = segment.sealed.last.ms >= keys_ms;
            break;
        }
        let here = Some((segment.sealed.number, losses));
        if !is_over && !has_new && needed == here {
            enforced.needed = here;
            break;
        }
        let of_streams = if moved == Some(segment.sealed.number) { 0 } else { live_bytes(catalog, log, segment) };
        if of_streams > 0 {
            // What is written again is not more than what becomes free, unless there is no other space.
            let unneeded = sealed[at..removable].iter().take_while(|segment| is_unneeded(segment));
            let is_worth = || {
                let (mut live, mut bytes) = (0, 0);
                for segment in unneeded {
                    live += live_bytes(catalog, log, segment);
                    bytes += segment.bytes;
                }
                bytes >= 2 * live
            };
            enforced.to_move = (is_over || has_new && is_worth()).then_some(segment.sealed.number);
            enforced.needed = here.filter(|_| enforced.to_move.is_none());
            break;
        }
        lose(catalog, log, segment, Arc::make_mut(&mut removed)).map_err(WriteError::Other)?;
        size -= segment.bytes;
        enforced.count += 1;
    }
    let count = enforced.count;
    if count == 0 {
        return Ok(enforced);
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
    Ok(enforced)
}

/// The bytes of a segment that streams need: all of it if its index cannot be read. What was deleted or purged does not count.
fn live_bytes(catalog: &Catalog, log: &Log, segment: &SealedSegment) -> u64 {
    if !log.has_streams() {
        return 0;
    }
    let of_stream = |one: io::Result<(ChannelName, Summary)>| {
        let (channel, Summary { first, last, bytes, count, .. }) = one?;
        let live = log
            .stream_created(&channel)
            .map_or(0, |created| log.stream_count((&channel, created), (created.max(first.before()), last)) as u64);
        Ok(part(bytes, live, count))
    };
    let copied = segment.copies.get().map(|copies| {
        let live = |(channel, created, ids): (&ChannelName, Cursor, &Ids)| {
            // A stream loses its oldest messages first.
            let oldest = log.stream_oldest((channel, created));
            let live = oldest.map_or(0, |oldest| ids.within(oldest, Cursor::MAX).count() as u64);
            part(ids.bytes, live, ids.count)
        };
        copies.iter().map(live).sum()
    });
    // Unknown if the start could not read them.
    let copied = copied.unwrap_or(segment.sealed.copied);
    let sum = catalog.index(segment).and_then(|index| index.all().map(of_stream).sum::<io::Result<u64>>());
    sum.map_or(segment.bytes, |sum| sum + copied)
}

/// The bytes of `live` of `count` messages that have so many bytes together.
fn part(bytes: u64, live: u64, count: u64) -> u64 {
    let bytes = u128::from(bytes) * u128::from(live.min(count)) / u128::from(count.max(1));
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Whether the channel is a stream that was created before its message `last`.
pub(super) fn is_of_stream(log: &Log, channel: &ChannelName, last: Cursor) -> bool {
    log.stream_created(channel).is_some_and(|created| last > created)
}

/// Notes that the messages of a segment are removed. Streams lose nothing: theirs have been written again.
fn lose(catalog: &Catalog, log: &Log, segment: &SealedSegment, removed: &mut Removed) -> io::Result<()> {
    let after = segment.sealed.number + 1;
    let raised = catalog.index(segment).and_then(|index| {
        index.all().try_for_each(|one| {
            let (channel, summary) = one?;
            if !is_of_stream(log, &channel, summary.last) {
                removed.raise(channel, summary.last);
            }
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
    log: &Log,
    sealed: &[Arc<SealedSegment>],
    segment: &SealedSegment,
) -> io::Result<bool> {
    if segment.sealed.channels > MAX_CHANNELS {
        return Ok(false);
    }
    for one in catalog.index(segment)?.all() {
        let (channel, summary) = one?;
        if !is_of_stream(log, &channel, summary.last) && archive.limit(&channel, sealed)? < summary.last {
            return Ok(false);
        }
    }
    Ok(true)
}
