//! Reads older messages from the segments, in pieces, on threads of its own.
//!
//! Each reader has one request at a time, and requests are served in the order in which they come: many that catch up all advance.

use std::{
    collections::{HashMap, VecDeque},
    io, mem,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

mod reading;

use reading::{Reading, Wanted};

use super::{
    catalog::{Catalog, SealedSegment},
    disk::{DiskFile, explain, read_exact},
    index::{
        self, Entry, Listing as _, Sealed, Summary,
        sealed::{ChannelEntry, SealedEntries, SealedIndex},
    },
    record::{self, FRAME, Record},
    segment::file_name,
};
use crate::{
    live::{
        clock::{Clock, Moment},
        log::{Archive, Limits, Piece, PieceShare, Request},
    },
    pure::{ChannelName, Cursor},
    throttle::Throttle,
};

/// Bytes of one piece; at least one message, however large.
const PIECE: usize = 256 * 1024;
/// The same while all pieces together take much memory.
const SMALL_PIECE: usize = 16 * 1024;
/// The memory of all pieces, above which they are small.
const PIECES: usize = 64 << 20;
/// Maximum number of channels' entries in indexes that are remembered.
const MAX_CHANNEL_ENTRIES: usize = 65_536;
/// How often a read begins again because segments were removed meanwhile.
const ATTEMPTS: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct DiskArchive {
    catalog: Arc<Catalog>,
    limits: Limits,
    clock: Clock,
    opened: Moment,
    requests: Mutex<Requests>,
    changed: Condvar,
    buffered: Arc<AtomicUsize>,
    /// Where the entries of channels are in the indexes of sealed segments, those in files and those in memory.
    channel_entries: Mutex<HashMap<(u64, bool, ChannelName), Option<ChannelEntry>>>,
    warnings: Mutex<Throttle>,
}

#[derive(Debug, Default)]
struct Requests {
    waiting: VecDeque<Request>,
    is_closed: bool,
}

impl Archive for DiskArchive {
    fn request(&self, request: Request) {
        self.requests.lock().waiting.push_back(request);
        self.changed.notify_one();
    }

    fn removed(&self, channel: &ChannelName) -> Cursor {
        self.catalog.segments.lock().removed.of(channel)
    }

    fn purged(&self, channel: &ChannelName) -> Cursor {
        self.catalog.segments.lock().purged(channel)
    }

    fn has_before(&self, cursor: Cursor) -> bool {
        let segments = self.catalog.segments.lock();
        let sealed =
            segments.sealed.iter().find(|segment| segment.sealed.messages > 0).map(|segment| segment.sealed.first);
        sealed.or(segments.active.index.first).is_some_and(|first| first <= cursor)
    }

    fn purges(&self) -> u64 {
        self.catalog.segments.lock().purges
    }
}

impl DiskArchive {
    pub(super) fn new(catalog: Arc<Catalog>, limits: Limits, clock: Clock) -> Self {
        Self {
            catalog,
            limits,
            clock,
            opened: clock(),
            requests: Mutex::default(),
            changed: Condvar::new(),
            buffered: Arc::default(),
            channel_entries: Mutex::default(),
            warnings: Mutex::new(Throttle::new(Duration::from_secs(1))),
        }
    }

    /// Bytes of pieces that have not been delivered.
    pub(super) fn buffered(&self) -> usize {
        self.buffered.load(Relaxed)
    }

    /// Serves requests until [`close`](Self::close).
    pub(super) fn run(&self) {
        loop {
            let request = {
                let mut requests = self.requests.lock();
                while requests.waiting.is_empty() && !requests.is_closed {
                    self.changed.wait(&mut requests);
                }
                if requests.is_closed {
                    return;
                }
                requests.waiting.pop_front()
            };
            if let Some(request) = request {
                self.serve(request);
            }
        }
    }

    /// Serves the next request, on this thread; `false` if there is none.
    pub(super) fn serve_one(&self) -> bool {
        let request = self.requests.lock().waiting.pop_front();
        request.map(|request| self.serve(request)).is_some()
    }

    #[cfg(test)]
    pub(super) fn serve_next(&self) {
        assert!(self.serve_one(), "there is a request");
    }

    fn serve(&self, request: Request) {
        if !request.is_abandoned() {
            // A reader would wait for ever for a thread that has ended.
            let read = panic::catch_unwind(AssertUnwindSafe(|| self.read(&request)));
            let piece = read.unwrap_or_else(|_| self.lost(&request, "reading them ended unexpectedly"));
            request.answer(piece);
        }
    }

    /// A piece without messages: none up to the end of the request can be read.
    fn lost(&self, request: &Request, why: &str) -> Piece {
        self.warn(why);
        let removed = vec![request.up_to; request.channels.len()];
        Piece { end: request.up_to, removed, is_damaged: true, ..Piece::default() }
    }

    /// Messages from before this time have expired: by the clock that does not step, from the time of day of the start on.
    pub(super) fn oldest_ms(&self) -> u64 {
        let Some(age) = self.limits.channel.age_ms else { return 0 };
        let since = (self.clock)().mono_ms.saturating_sub(self.opened.mono_ms);
        self.opened.time_ms.saturating_add(since).saturating_sub(age)
    }

    /// Ends all threads.
    pub(super) fn close(&self) {
        let waiting = {
            let mut requests = self.requests.lock();
            requests.is_closed = true;
            mem::take(&mut requests.waiting)
        };
        self.changed.notify_all();
        drop(waiting);
    }

    fn read(&self, request: &Request) -> Piece {
        let mut attempts = 0;
        loop {
            match self.try_read(request, attempts < ATTEMPTS) {
                Ok(mut piece) => {
                    let bytes = piece.messages.iter().map(|message| message.footprint()).sum();
                    piece.share = Some(PieceShare::new(&self.buffered, bytes));
                    return piece;
                }
                // A segment was removed meanwhile; the next attempt knows.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < ATTEMPTS => attempts += 1,
                Err(error) => return self.lost(request, &explain(&error)),
            }
        }
    }

    fn warn(&self, why: &str) {
        let reason = "older messages cannot be read, and their readers get a gap";
        // A reader chooses where it reads, and so what is damaged there.
        if let Some(suppressed) = self.warnings.lock().admit(reason) {
            log::error!("{}: {reason}: {why}{suppressed}", self.catalog.disk.directory());
        }
    }

    /// Reads a piece. Only while `is_patient` a missing file is an error: it may just have been removed.
    fn try_read(&self, request: &Request, is_patient: bool) -> io::Result<Piece> {
        let is_gone = |error: &io::Error| is_patient && error.kind() == io::ErrorKind::NotFound;
        let is_scarce = self.buffered.load(Relaxed) > PIECES;
        let budget = if is_scarce { SMALL_PIECE } else { PIECE };
        let sealed = self.catalog.segments.lock().sealed.clone();
        // Where a limit is cannot be found in what is damaged; then more is kept.
        let limit = |channel| match self.limit(channel, &sealed) {
            Err(error) if !is_gone(&error) => Ok(Cursor::ZERO),
            found => found,
        };
        let limits = request.channels.iter().map(|(channel, _)| limit(channel));
        let limits = limits.collect::<io::Result<Vec<_>>>()?;
        let (sealed, file, active, mut wanted) = self.snapshot(request, &limits, budget as u64)?;
        let oldest_ms = self.oldest_ms();
        let first = wanted.iter().map(|one| one.after).min().unwrap_or_default();
        let up_to = request.up_to;
        let mut reading =
            Reading { up_to, budget, bytes: 0, oldest_ms, seen: first, messages: Vec::new(), damage: None };
        let mut is_full = false;
        // A segment without messages has no place in their order, so the first one to read is not found by bisection.
        for segment in sealed.iter().filter(|segment| segment.sealed.messages > 0 && segment.sealed.last > first) {
            if segment.sealed.first > up_to {
                break;
            }
            let Sealed { number, salt, last, .. } = segment.sealed;
            let (file, lists) = match self.lists(segment, &wanted, budget as u64) {
                Ok(listed) => listed,
                Err(error) if is_gone(&error) => return Err(error),
                Err(_) if !reading.messages.is_empty() => {
                    is_full = true;
                    break;
                }
                Err(error) => {
                    reading.give_up(&mut wanted, last, &format!("{}: {}", file_name(number), explain(&error)));
                    continue;
                }
            };
            if reading.take(&*file, (number, salt), lists, &mut wanted, last).is_some() {
                is_full = true;
                break;
            }
        }
        if !is_full {
            let lists = wanted.iter_mut().map(|one| mem::take(&mut one.active)).collect();
            is_full = reading.take(&*file, active, lists, &mut wanted, up_to).is_some();
        }
        if let Some(why) = &reading.damage {
            self.warn(why);
        }
        let end = if is_full { reading.seen } else { up_to };
        let removed = wanted.iter().map(|one| one.removed).collect();
        Ok(Piece { messages: reading.messages, end, removed, is_damaged: reading.damage.is_some(), share: None })
    }

    /// The records of a segment, and the entries of each channel in it.
    #[expect(clippy::type_complexity, reason = "taken apart where it is used")]
    fn lists(
        &self,
        segment: &SealedSegment,
        wanted: &[Wanted],
        budget: u64,
    ) -> io::Result<(Arc<dyn DiskFile>, Vec<(Vec<Entry>, bool)>)> {
        let file = self.catalog.disk.open(&file_name(segment.sealed.number))?;
        let lists = self.catalog.with_index(segment, |index| {
            let list = |one: &Wanted| match self.channel_entry(segment, index, &one.channel)? {
                Some(entry) if entry.summary.last > one.after => {
                    index::entries(&SealedEntries { index: index.clone(), entry }, one.after, budget)
                }
                _ => Ok(Default::default()),
            };
            wanted.iter().map(list).collect::<io::Result<_>>()
        });
        Ok((file, lists?))
    }

    /// The segments at one moment, and what the last one has of each channel after its limits.
    #[expect(clippy::type_complexity, reason = "taken apart where it is used")]
    fn snapshot(
        &self,
        request: &Request,
        limits: &[Cursor],
        budget: u64,
    ) -> io::Result<(Arc<Vec<Arc<SealedSegment>>>, Arc<dyn DiskFile>, (u64, u32), Vec<Wanted>)> {
        let segments = self.catalog.segments.lock();
        let wanted = request.channels.iter().zip(limits).map(|((channel, after), limit)| {
            let removed = segments.removed.of(channel).max(*limit);
            // What it has lost besides is not there.
            let after = segments.purged(channel).max(*limit).max(*after);
            let active = match segments.active.index.channel(channel) {
                Some(entries) => index::entries(entries, after, budget)?,
                None => Default::default(),
            };
            Ok(Wanted { channel: channel.clone(), after, removed, active })
        });
        let wanted = wanted.collect::<io::Result<Vec<_>>>()?;
        let active = &segments.active;
        Ok((segments.sealed.clone(), active.file.clone(), (active.number, active.salt), wanted))
    }

    /// Where the entries of a channel are in the index of a segment.
    fn channel_entry(
        &self,
        segment: &SealedSegment,
        index: &SealedIndex,
        channel: &ChannelName,
    ) -> io::Result<Option<ChannelEntry>> {
        if let Some(known) = self.known(segment, index.is_in_memory(), channel) {
            return Ok(known);
        }
        let entry = index.find(channel)?;
        let mut known = self.channel_entries.lock();
        if known.len() >= MAX_CHANNEL_ENTRIES {
            known.clear();
        }
        known.insert((segment.sealed.number, index.is_in_memory(), channel.clone()), entry);
        Ok(entry)
    }

    /// The same, as far as it is remembered.
    fn known(
        &self,
        segment: &SealedSegment,
        is_in_memory: bool,
        channel: &ChannelName,
    ) -> Option<Option<ChannelEntry>> {
        let key = (segment.sealed.number, is_in_memory, channel.clone());
        self.channel_entries.lock().get(&key).copied()
    }

    /// The newest message that the channel's limits of count and bytes do not keep.
    pub(super) fn limit(&self, channel: &ChannelName, sealed: &[Arc<SealedSegment>]) -> io::Result<Cursor> {
        let most = |limit: Option<usize>| limit.map_or(u64::MAX, |limit| limit as u64);
        let retention = self.limits.retention_of(channel);
        let (count, bytes) = (most(retention.count), most(retention.bytes));
        if (count, bytes) == (u64::MAX, u64::MAX) {
            return Ok(Cursor::ZERO);
        }
        let (mut counted, mut sum) = (0, 0);
        {
            let segments = self.catalog.segments.lock();
            if let Some(entries) = segments.active.index.channel(channel) {
                let over = over(entries, count, bytes)?;
                if over > 0 {
                    let entry = index::entry(entries, over - 1)?;
                    let file = segments.active.file.clone();
                    drop(segments);
                    return id_at(&*file, entry);
                }
                (counted, sum) = (entries.summary().count, entries.summary().bytes);
            }
        }
        // Segments that have states alone need not be opened.
        for segment in sealed.iter().rev().filter(|segment| segment.sealed.messages > 0) {
            let found = match self.known(segment, segment.is_made_again(), channel) {
                Some(known) => known,
                None => self.catalog.with_index(segment, |index| self.channel_entry(segment, index, channel))?,
            };
            let Some(Summary { count: more, bytes: size, .. }) = found.map(|entry| entry.summary) else { continue };
            if counted.saturating_add(more) > count || sum.saturating_add(size) > bytes {
                let entry = self.catalog.with_index(segment, |index| {
                    let entry = self.channel_entry(segment, index, channel)?.ok_or(io::ErrorKind::InvalidData)?;
                    let entries = SealedEntries { index: index.clone(), entry };
                    let over = over(&entries, count - counted, bytes.saturating_sub(sum))?;
                    index::entry(&entries, over.max(1) - 1)
                })?;
                return id_at(&*self.catalog.disk.open(&file_name(segment.sealed.number))?, entry);
            }
            (counted, sum) = (counted + more, sum + size);
        }
        Ok(Cursor::ZERO)
    }
}

/// How many of the oldest messages exceed one of the limits.
fn over(listing: &impl index::Listing, count: u64, bytes: u64) -> io::Result<u64> {
    let by_count = listing.summary().count.saturating_sub(count);
    Ok(by_count.max(index::count_over_bytes(listing, bytes)?))
}

/// The id of the message at a place.
fn id_at(file: &dyn DiskFile, entry: Entry) -> io::Result<Cursor> {
    let bytes = read_exact(file, entry.offset, FRAME + record::MESSAGE_HEAD)?;
    match record::parse(&bytes[FRAME..]) {
        Some(Record::Message { id, .. } | Record::Erased { id, .. }) => Ok(id),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
