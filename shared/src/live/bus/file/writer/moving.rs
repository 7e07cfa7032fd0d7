//! Messages of streams in a segment that is to be removed: they are written again at the end of the log, under their ids.
//!
//! They are in memory, as all messages of streams are. What is written again is synced before the segment is removed: after a crash a message may be
//! there twice, and is found once.

use std::{collections::VecDeque, io, sync::Arc};

use super::{Failure, Writer};
use crate::{
    live::{
        bus::file::{
            disk::explain,
            index::{Summary, sealed},
            record::{self, Hole},
            segment::{self, Found, HEAD, Head, Visit, file_name},
        },
        log::Log,
    },
    pure::{ChannelName, Cursor, Message},
};

/// The bytes of one write: publishers wait for it.
const CHUNK: usize = 1 << 20;
/// After a failure, the next attempt begins after so many milliseconds.
const RETRY_MS: u64 = 1_000;

/// The messages of a segment that are being written again.
#[derive(Debug)]
pub(in crate::live::bus::file) struct Moving {
    number: u64,
    /// Each with the creation of its stream.
    left: VecDeque<Place>,
}

/// A message of a stream.
#[derive(Debug)]
struct Place {
    channel: ChannelName,
    created: Cursor,
    id: Cursor,
}

impl Writer {
    /// Begins to write the messages of streams in the segment `number` again.
    pub(super) fn begin_moving(&mut self, number: u64) {
        if self.moving.is_some() {
            return;
        }
        let left = self.find_in(number).unwrap_or_else(|error| {
            self.warn(&format!(
                "{} cannot be read ({}): all messages of streams are written again",
                file_name(number),
                explain(&error)
            ));
            all(&self.log)
        });
        self.moving = Some(Moving { number, left });
    }

    /// The messages of streams in a segment.
    fn find_in(&self, number: u64) -> io::Result<VecDeque<Place>> {
        let (file, index) = self.store.catalog.open(number)?;
        let sealed = sealed::check(&*index)?;
        let mut left = VecDeque::new();
        for one in sealed::all(&*index, sealed.channels) {
            let (channel, Summary { first, last, .. }) = one?;
            left.extend(places(&self.log, &channel, (first, last)).filter(|place| place.id > place.created));
        }
        if sealed.copied > 0 {
            let mut finding = Finding { log: &self.log, left };
            if segment::scan(&*file, head_of(&*file)?.salt, HEAD, &mut finding)?.bad.is_some() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            left = finding.left;
        }
        Ok(left)
    }

    /// Writes some of them. When all are durable, the segment is removed.
    pub(super) fn move_some(&mut self) -> Result<(), Failure> {
        let now = (self.clock)();
        if self.is_gone || now.mono_ms < self.move_after_ms || self.moving.is_none() {
            return Ok(());
        }
        // While it is being moved: a new segment is a reason to look which one is next.
        if self.store.is_full() && now.mono_ms >= self.roll_after_ms && self.roll()?.is_some() {
            return Ok(());
        }
        let Some(mut moving) = self.moving.take() else { return Ok(()) };
        let mut encoder = self.store.begin();
        let (begun, mut copied, mut taken) = (encoder.bytes().len(), Vec::new(), Vec::new());
        while encoder.bytes().len() - begun < CHUNK
            && let Some(place) = moving.left.pop_front()
        {
            let Place { channel, created, id } = &place;
            // It may have been deleted or purged since.
            if let Some((_, messages)) =
                self.log.stream_messages(channel, (*id, *id)).filter(|found| found.0 == *created)
                && let Some(message) = messages.first()
            {
                let length = encoder.copy(*id, *created, &message.draft, true);
                copied.push((channel.clone(), length));
            }
            taken.push(place);
        }
        if !copied.is_empty() {
            if let Err(error) = self.store.write(&encoder) {
                self.warn(&format!("messages of streams are not written again: {}", explain(&error)));
                taken.into_iter().rev().for_each(|place| moving.left.push_front(place));
                self.moving = Some(moving);
                self.move_after_ms = now.mono_ms.saturating_add(RETRY_MS);
                return self.undo();
            }
            self.sync(encoder.bytes().len() as u64)?;
            self.store.commit(&encoder, &[]);
            self.store.commit_streams(&copied, Cursor::ZERO);
            self.written = Some(self.mono_ms());
        }
        if !moving.left.is_empty() {
            self.moving = Some(moving);
            return Ok(());
        }
        self.moved = Some(moving.number);
        self.remove_old(true)
    }
}

fn head_of(file: &dyn crate::live::bus::file::disk::DiskFile) -> io::Result<Head> {
    Head::read(file)?.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The messages of a stream with ids in `range`.
fn places(log: &Log, channel: &ChannelName, range: (Cursor, Cursor)) -> impl Iterator<Item = Place> {
    let (created, messages) = log.stream_messages(channel, range).unwrap_or_default();
    let channel = channel.clone();
    messages.into_iter().map(move |message: Arc<Message>| Place { channel: channel.clone(), created, id: message.id })
}

/// All messages of streams.
fn all(log: &Log) -> VecDeque<Place> {
    let names = log.stream_names();
    names.iter().flat_map(|channel| places(log, channel, (Cursor::ZERO, Cursor::MAX))).collect()
}

/// Finds messages that are not in the order of ids.
struct Finding<'a> {
    log: &'a Log,
    left: VecDeque<Place>,
}

impl Visit for Finding<'_> {
    fn message(&mut self, _: Found<'_>) -> io::Result<()> {
        Ok(())
    }

    fn state(&mut self, _: &[u8], _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn copy(&mut self, found: Found<'_>, created: Cursor) -> io::Result<()> {
        let channel = record::channel(found.fields).ok_or(io::ErrorKind::InvalidData)?;
        let here = places(self.log, &channel, (found.id, found.id));
        self.left.extend(here.filter(|place| place.created == created));
        Ok(())
    }

    fn hole(&mut self, _: Hole) {}
}
