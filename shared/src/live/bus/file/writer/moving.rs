//! Messages of streams in a segment that is to be removed: they are written again at the end of the log, under their ids.
//!
//! They are in memory, as all messages of streams are. What is written again is synced before the segment is removed: after a crash a message may be
//! there twice, and is found once.

use std::{collections::HashSet, io};

use super::{Failure, Writer};
use crate::{
    live::{
        bus::file::{
            disk::explain,
            index::{Copied, Copies, Summary},
            segment::file_name,
        },
        log::Log,
    },
    pure::{ChannelName, Cursor},
};

/// The bytes of one write: publishers wait for it.
const CHUNK: usize = 1 << 20;
/// While the log exceeds its total, so many bytes are written again for each byte that is published. Streams have a quarter of the total at most, so the log
/// grows by a sixteenth of it meanwhile.
const PACE: u64 = 4;
/// After a failure, the next attempt begins after so many milliseconds.
const RETRY_MS: u64 = 1_000;

/// The messages of a segment that are being written again.
#[derive(Debug)]
pub(in crate::live::bus::file) struct Moving {
    number: u64,
    parts: Vec<Part>,
    /// The part that is next, and how many of its messages are done.
    at: (usize, usize),
}

/// Messages of a stream.
#[derive(Debug)]
struct Part {
    channel: ChannelName,
    created: Cursor,
    ids: Vec<Cursor>,
}

impl Writer {
    /// Begins to write the messages of streams in the segment `number` again.
    pub(super) fn begin_moving(&mut self, number: u64) {
        if self.moving.is_some() {
            return;
        }
        let parts = self.find_in(number).unwrap_or_else(|error| {
            let why = format!("{}: {}", file_name(number), explain(&error));
            self.warn("all messages of streams are written again, because a segment cannot be read", why);
            all(&self.log)
        });
        self.moving = Some(Moving { number, parts, at: (0, 0) });
    }

    /// The messages of streams in a segment. What is in a later one, too, was written again before a process ended, and is not written a second time: it
    /// would be there twice for ever.
    fn find_in(&self, number: u64) -> io::Result<Vec<Part>> {
        let (sealed, active) = {
            let segments = self.store.catalog.segments.lock();
            (segments.sealed.clone(), segments.active.index.clone())
        };
        let Some(at) = sealed.iter().position(|segment| segment.sealed.number == number) else { return Ok(Vec::new()) };
        let (segment, later) = (&sealed[at], &sealed[at + 1..]);
        let index = self.store.catalog.index(segment)?;
        let mut parts = Vec::new();
        for one in index.all() {
            let (channel, Summary { first, last, .. }) = one?;
            if let Some(created) = self.log.stream_created(&channel).filter(|created| last > *created) {
                let ids = self.log.stream_ids((&channel, created), (created.max(first.before()), last));
                parts.push(Part { channel, created, ids });
            }
        }
        match segment.copies.get() {
            Some(copies) => parts.extend(copies.iter().map(|(channel, created, ids)| {
                let ids = ids.iter().collect();
                Part { channel: channel.clone(), created, ids }
            })),
            // The start could not read them.
            None if segment.sealed.copied > 0 => return Err(io::ErrorKind::InvalidData.into()),
            None => {}
        }
        let later = later.iter().filter_map(|segment| segment.copies.get()).chain([&active.copies]);
        let later: Vec<&Copies> = later.collect();
        parts.iter_mut().for_each(|part| part.leave_out(&later));
        Ok(parts)
    }

    /// Notes that so many bytes were published.
    pub(super) fn published(&mut self, bytes: usize) {
        if self.moving.is_some() {
            self.owed = self.owed.saturating_add(PACE * bytes as u64);
        }
    }

    /// Writes some of them: more if the log exceeds its total and grows. When all are durable, the segment is removed.
    pub(super) fn move_some(&mut self) -> Result<(), Failure> {
        loop {
            let moved = self.move_chunk()?;
            self.owed = self.owed.saturating_sub(moved);
            let is_over = self.total.is_some_and(|most| self.store.catalog.size().0 > most);
            if self.moving.is_none() || !is_over {
                self.owed = 0;
            }
            if moved == 0 || self.owed == 0 {
                return Ok(());
            }
        }
    }

    /// Writes a part of them; returns how many bytes, or 0 if nothing can be done now.
    fn move_chunk(&mut self) -> Result<u64, Failure> {
        let now = (self.clock)();
        if self.is_gone || now.mono_ms < self.move_after_ms || self.moving.is_none() {
            return Ok(0);
        }
        // While it is being moved: a new segment is a reason to look which one is next.
        if self.store.is_full() && now.mono_ms >= self.roll_after_ms && self.roll()?.is_some() {
            return Ok(0);
        }
        let Some(mut moving) = self.moving.take() else { return Ok(0) };
        let mut encoder = self.store.begin();
        let (begun, mut copied, mut at) = (encoder.bytes().len(), Vec::new(), moving.at);
        while encoder.bytes().len() - begun < CHUNK
            && let Some(Part { channel, created, ids }) = moving.parts.get(at.0)
        {
            let Some(id) = ids.get(at.1) else {
                at = (at.0 + 1, 0);
                continue;
            };
            at.1 += 1;
            // It may have been deleted or purged since.
            if let Some(message) = self.log.stream_message((channel, *created), *id) {
                let length = encoder.copy(*id, *created, &message.draft, true) as u64;
                copied.push(Copied { channel: channel.clone(), created: *created, id: *id, length });
            }
        }
        let written = (encoder.bytes().len() - begun) as u64;
        if !copied.is_empty() {
            if let Err(error) = self.store.write(&encoder) {
                self.warn("messages of streams are not written again", explain(&error));
                self.moving = Some(moving);
                self.move_after_ms = now.mono_ms.saturating_add(RETRY_MS);
                self.undo()?;
                return Ok(0);
            }
            self.sync(encoder.bytes().len() as u64)?;
            self.store.commit(&encoder, &[]);
            self.store.commit_streams(copied, Cursor::ZERO);
            self.written = Some(self.mono_ms());
        }
        moving.at = at;
        if at.0 < moving.parts.len() {
            self.moving = Some(moving);
            return Ok(written);
        }
        self.moved = Some(moving.number);
        self.remove_old(true)?;
        // Also if nothing of it was left: the next segment may be moved.
        Ok(written.max(1))
    }
}

impl Part {
    /// Leaves out what `later` segments have, and what is there twice.
    fn leave_out(&mut self, later: &[&Copies]) {
        self.ids.sort_unstable();
        self.ids.dedup();
        let (Some(first), Some(last)) = (self.ids.first().copied(), self.ids.last().copied()) else { return };
        let later = later.iter().filter_map(|copies| copies.of(&self.channel, self.created));
        let known: HashSet<Cursor> = later.flat_map(|ids| ids.within(first, last)).collect();
        self.ids.retain(|id| !known.contains(id));
    }
}

/// All messages of streams.
fn all(log: &Log) -> Vec<Part> {
    let part = |(channel, created)| {
        let ids = log.stream_ids((&channel, created), (Cursor::ZERO, Cursor::MAX));
        Part { channel, created, ids }
    };
    log.stream_names().into_iter().map(part).collect()
}
