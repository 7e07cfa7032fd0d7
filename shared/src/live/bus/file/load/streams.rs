//! Finds the streams of a checkpoint, and their messages in all segments before it: they are kept however old they are.

use std::{collections::HashMap, io, mem, sync::Arc};

use super::Bad;
use crate::{
    live::{
        bus::file::{
            catalog::{Catalog, SealedSegment},
            index::{Copied, Copies},
            record::{self, Hole},
            segment::{self, Found, HEAD, Head, Visit, file_name},
        },
        clock::Moment,
        log::{Log, Stored},
    },
    pure::{ChannelName, Cursor, Message, stream::StreamRecord},
};

/// The streams of a checkpoint.
#[derive(Default)]
pub(super) struct Streams {
    stored: HashMap<ChannelName, Stored>,
    /// The messages out of order in the segment that is scanned.
    copies: Copies,
}

/// Reads the streams of the checkpoint in the segment `number`, and their messages in those before it. What is damaged there is missing.
///
/// # Errors
/// When a file cannot be read; the inner error is the place of damage in the segment `number`.
pub(super) fn find(catalog: &Catalog, number: u64) -> io::Result<Result<Streams, Bad>> {
    let mut streams = Streams::default();
    if let Some(bad) = scan(catalog, number, &mut Checkpoint(&mut streams))? {
        return Ok(Err(bad));
    }
    let sealed = catalog.segments.lock().sealed.clone();
    let of_checkpoint = mem::take(&mut streams.copies);
    if let Some(segment) = sealed.iter().find(|segment| segment.sealed.number == number) {
        let _ = segment.copies.set(of_checkpoint);
    }
    for segment in sealed.iter().filter(|segment| segment.sealed.number < number) {
        let is_searched = !streams.stored.is_empty() && streams.may_be_in(catalog, segment);
        let is_whole = !is_searched || streams.search(catalog, segment)?;
        let copies = mem::take(&mut streams.copies);
        if is_whole {
            let _ = segment.copies.set(copies);
        }
    }
    Ok(Ok(streams))
}

fn scan(catalog: &Catalog, number: u64, visit: &mut impl Visit) -> io::Result<Option<Bad>> {
    let file = catalog.disk.open(&file_name(number))?;
    let Some(head) = Head::read(&*file)? else {
        return Ok(Some(Bad { number, offset: 0, lost: "all of its messages".to_owned() }));
    };
    let scanned = segment::scan(&*file, head.salt, HEAD, visit)?;
    let length = file.length()?;
    Ok(scanned.bad.map(|offset| Bad { number, offset, lost: scanned.lost(offset, length) }))
}

impl Streams {
    /// When each of them was created.
    pub(super) fn created(&self) -> HashMap<ChannelName, Cursor> {
        let existing = self.stored.iter().filter(|(_, stored)| !stored.saved.is_deleted);
        existing.map(|(name, stored)| (name.clone(), stored.saved.state.created())).collect()
    }

    /// Whether a segment may have messages of them.
    fn may_be_in(&self, catalog: &Catalog, segment: &Arc<SealedSegment>) -> bool {
        let sealed = &segment.sealed;
        let Ok(index) = catalog.index(segment) else { return true };
        let has_some = |(channel, summary): (ChannelName, crate::live::bus::file::index::Summary)| {
            self.stored.get(&channel).is_some_and(|stored| summary.last > stored.saved.state.created())
        };
        sealed.copied > 0 || index.all().any(|one| one.map_or(true, has_some))
    }

    /// Reads what can be read of a segment. Returns whether that is all of it.
    fn search(&mut self, catalog: &Catalog, segment: &SealedSegment) -> io::Result<bool> {
        let sealed = &segment.sealed;
        let name = file_name(sealed.number);
        let file = catalog.disk.open(&name)?;
        let (mut from, mut is_whole) = (HEAD, true);
        while let Some(bad) = segment::scan(&*file, sealed.salt, from, self)?.bad {
            if is_whole {
                log::error!(
                    "{}: {name} is damaged at byte {bad}, so messages of streams may be missing: see `standalone log verify`",
                    catalog.disk.directory()
                );
            }
            is_whole = false;
            match segment::find_group(&*file, sealed.salt, bad, |_| true)?.at {
                Some(at) => from = at,
                None => break,
            }
        }
        if !is_whole {
            self.damage(catalog, segment)?;
        }
        Ok(is_whole)
    }

    /// Any of them may have lost messages in a damaged segment: those that its index knows, and, of others, any that is older than the next segment.
    fn damage(&mut self, catalog: &Catalog, segment: &SealedSegment) -> io::Result<()> {
        let sealed = &segment.sealed;
        let next = Head::read(&*catalog.disk.open(&file_name(sealed.number + 1))?)?;
        let newest = next.map_or(Cursor::MAX, |next| next.before);
        let index = catalog.index(segment).ok().filter(|_| sealed.copied == 0);
        for (channel, stored) in &mut self.stored {
            let found = index.as_ref().and_then(|index| index.find(channel).ok());
            let last = found.map_or(newest, |found| found.map_or(Cursor::ZERO, |entry| entry.summary.last));
            stored.damaged = stored.damaged.max(last);
        }
        Ok(())
    }

    /// Adds them to the log. Returns those of which messages are missing, and when they were created: unless they were deleted or purged after the
    /// checkpoint, these messages are lost.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn restore(self, catalog: &Catalog, log: &Log, now: Moment) -> io::Result<Vec<(ChannelName, Cursor)>> {
        if self.stored.is_empty() {
            return Ok(Vec::new());
        }
        let first = {
            let segments = catalog.segments.lock();
            segments.sealed.first().map_or(segments.active.number, |segment| segment.sealed.number)
        };
        let oldest = Head::read(&*catalog.disk.open(&file_name(first))?)?.map_or(Cursor::ZERO, |head| head.before);
        Ok(log.restore_streams(self.stored.into_values().collect(), oldest, now))
    }

    fn add(&mut self, channel: &ChannelName, found: Found<'_>) -> io::Result<()> {
        if let Some(stored) = self.stored.get_mut(channel) {
            let draft = record::draft(found.fields).ok_or(io::ErrorKind::InvalidData)?;
            stored.messages.insert(found.id, Message::new(found.id, draft));
        }
        Ok(())
    }

    /// Whether the stream of `channel`, created at `created`, has a message, as far as its id says: it may have been purged.
    fn has(&self, channel: &ChannelName, id: Cursor, created: Option<Cursor>) -> bool {
        let Some(Stored { saved, .. }) = self.stored.get(channel).filter(|stored| !stored.saved.is_deleted) else {
            return false;
        };
        let own = saved.state.created();
        let dropped = match &saved.copies {
            Some(copies) if id <= own => copies.dropped,
            _ => saved.dropped,
        };
        let is_of_it = created.map_or(id > own, |created| created == own);
        is_of_it && Some(id) > dropped
    }
}

impl Visit for Streams {
    fn message(&mut self, found: Found<'_>) -> io::Result<()> {
        let channel = record::channel(found.fields).ok_or(io::ErrorKind::InvalidData)?;
        if self.has(&channel, found.id, None) { self.add(&channel, found) } else { Ok(()) }
    }

    fn state(&mut self, _: &[u8], _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn copy(&mut self, found: Found<'_>, created: Cursor) -> io::Result<()> {
        let channel = record::channel(found.fields).ok_or(io::ErrorKind::InvalidData)?;
        self.copies.add(Copied { channel: channel.clone(), created, id: found.id, length: found.length });
        if self.has(&channel, found.id, Some(created)) { self.add(&channel, found) } else { Ok(()) }
    }

    fn hole(&mut self, _: Hole) {}
}

/// The streams that a checkpoint has.
struct Checkpoint<'a>(&'a mut Streams);

impl Visit for Checkpoint<'_> {
    fn message(&mut self, _: Found<'_>) -> io::Result<()> {
        Ok(())
    }

    fn state(&mut self, _: &[u8], _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn stream(&mut self, record: &[u8]) -> io::Result<()> {
        let record = StreamRecord::decode(record).ok_or(io::ErrorKind::InvalidData)?;
        if let StreamRecord::Saved(saved) = record {
            self.0
                .stored
                .insert(saved.channel.clone(), Stored { saved, messages: HashMap::new(), damaged: Cursor::ZERO });
        }
        Ok(())
    }

    /// It was in a segment that has been removed since.
    fn copy(&mut self, found: Found<'_>, created: Cursor) -> io::Result<()> {
        self.0.copy(found, created)
    }

    fn hole(&mut self, _: Hole) {}
}
