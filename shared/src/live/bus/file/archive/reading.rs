//! Reads the messages of a piece from one segment after the other, in the order of ids.

use std::{io, sync::Arc};

use crate::{
    live::bus::file::{
        disk::{DiskFile, read_exact},
        index::Entry,
        record::{self, Framed, Record},
        segment::file_name,
    },
    pure::{ChannelName, Cursor, Message},
};

/// The largest read, unless one message is larger.
const RUN: u64 = 256 * 1024;
/// Records that are not wanted are read along with those around them, up to so many bytes.
const SKIPPED: u64 = 16 * 1024;

/// One channel of a request.
pub(super) struct Wanted {
    pub(super) channel: ChannelName,
    /// Messages after this one are wanted and have not been removed.
    pub(super) after: Cursor,
    /// The newest message that was removed.
    pub(super) floor: Cursor,
    /// Its entries in the segment that is being written.
    pub(super) active: (Vec<Entry>, bool),
}

/// The piece is complete.
pub(super) struct Full;

/// A piece that is being read.
pub(super) struct Reading {
    pub(super) up_to: Cursor,
    pub(super) budget: usize,
    pub(super) bytes: usize,
    /// Messages before this time have expired.
    pub(super) oldest_ms: u64,
    /// The last message that was looked at; before that, where the piece begins.
    pub(super) seen: Cursor,
    pub(super) messages: Vec<Arc<Message>>,
}

impl Reading {
    /// Takes the messages of one segment. `lists` has the entries of each channel, and whether it has more.
    pub(super) fn take(
        &mut self,
        file: &dyn DiskFile,
        (number, salt): (u64, u32),
        lists: Vec<(Vec<Entry>, bool)>,
        wanted: &mut [Wanted],
    ) -> io::Result<Option<Full>> {
        // Beyond the end of a list that has more, the order is not known.
        let ends = lists.iter().filter(|(_, is_more)| *is_more).filter_map(|(list, _)| list.last());
        let cut = ends.map(|entry| entry.offset).min().unwrap_or(u64::MAX);
        let mut merged: Vec<(Entry, usize)> = Vec::new();
        for (at, (list, _)) in lists.into_iter().enumerate() {
            merged.extend(list.into_iter().filter(|entry| entry.offset <= cut).map(|entry| (entry, at)));
        }
        merged.sort_unstable();
        let mut rest = &merged[..];
        while let Some((first, _)) = rest.first() {
            let (mut end, mut count) = (first.offset + first.length, 1);
            while let Some((next, _)) = rest.get(count)
                && next.offset <= end + SKIPPED
                && next.offset + next.length - first.offset <= RUN
            {
                end = next.offset + next.length;
                count += 1;
            }
            let (run, later) = rest.split_at(count);
            rest = later;
            let length = usize::try_from(end - first.offset).map_err(|_| io::ErrorKind::InvalidData)?;
            let bytes = read_exact(file, first.offset, length)?;
            for (entry, at) in run {
                let begin = usize::try_from(entry.offset - first.offset).map_err(|_| io::ErrorKind::InvalidData)?;
                let damaged = || {
                    let place = format!("{} is damaged at byte {}", file_name(number), entry.offset);
                    io::Error::new(io::ErrorKind::InvalidData, place)
                };
                let Framed::Whole { body, .. } = record::framed(&bytes[begin..], salt, entry.offset) else {
                    return Err(damaged());
                };
                let Some(Record::Message { id, fields, .. }) = record::parse(body) else { return Err(damaged()) };
                let one = &mut wanted[*at];
                if id <= one.after {
                    continue;
                }
                if id > self.up_to {
                    self.seen = self.up_to;
                    return Ok(Some(Full));
                }
                if self.bytes >= self.budget {
                    return Ok(Some(Full));
                }
                self.seen = id;
                if id.ms < self.oldest_ms {
                    one.floor = one.floor.max(id);
                    continue;
                }
                let draft = record::draft(fields).ok_or_else(damaged)?;
                let message = Message::new(id, draft);
                self.bytes += message.footprint();
                self.messages.push(Arc::new(message));
            }
        }
        Ok((cut < u64::MAX).then_some(Full))
    }
}
