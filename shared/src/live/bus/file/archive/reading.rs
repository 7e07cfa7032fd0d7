//! Reads the messages of a piece from one segment after the other, in the order of ids.

use std::{mem, sync::Arc};

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
    /// Messages after this one are wanted, and neither purged nor beyond the limits of the channel.
    pub(super) after: Cursor,
    /// Up to here, it may have lost some.
    pub(super) removed: Cursor,
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
    /// Why some messages are lost, if they are.
    pub(super) damage: Option<String>,
}

impl Reading {
    /// Takes the messages of one segment, which has none after `last`. `lists` has the entries of each channel, and whether it has more.
    ///
    /// The piece ends before a message that cannot be read. At the beginning of a piece, it is lost, and what follows is taken.
    pub(super) fn take(
        &mut self,
        file: &dyn DiskFile,
        (number, salt): (u64, u32),
        lists: Vec<(Vec<Entry>, bool)>,
        wanted: &mut [Wanted],
        last: Cursor,
    ) -> Option<Full> {
        // Beyond the end of a list that has more, the order is not known.
        let ends = lists.iter().filter(|(_, is_more)| *is_more).filter_map(|(list, _)| list.last());
        let cut = ends.map(|entry| entry.offset).min().unwrap_or(u64::MAX);
        let mut merged: Vec<(Entry, usize)> = Vec::new();
        for (at, (list, _)) in lists.into_iter().enumerate() {
            merged.extend(list.into_iter().filter(|entry| entry.offset <= cut).map(|entry| (entry, at)));
        }
        merged.sort_unstable();
        let mut rest = &merged[..];
        // Messages of these channels cannot be read, up to the next one that can be.
        let mut lost: Vec<usize> = Vec::new();
        let mut why = String::new();
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
            // Where one byte cannot be read, the others may be.
            let whole = read(file, first.offset, end - first.offset);
            for (entry, at) in run {
                let alone = whole.is_none().then(|| read(file, entry.offset, entry.length)).flatten();
                let bytes = match &whole {
                    Some(whole) => usize::try_from(entry.offset - first.offset).ok().and_then(|at| whole.get(at..)),
                    None => alone.as_deref(),
                };
                let found = bytes.and_then(|bytes| message(bytes, salt, entry.offset));
                if let Some(Record::Erased { id, .. }) = found {
                    // It was purged after the piece was begun, or before the table of dropped messages was damaged.
                    let one = &mut wanted[*at];
                    one.removed = one.removed.max(id);
                    if lost.is_empty() {
                        self.seen = self.seen.max(id.min(self.up_to));
                    }
                    continue;
                }
                let Some(Record::Message { id, fields, .. }) = found else {
                    if !self.messages.is_empty() {
                        return Some(Full);
                    }
                    why = format!("{} cannot be read at byte {}", file_name(number), entry.offset);
                    lost.push(*at);
                    continue;
                };
                if !lost.is_empty() {
                    self.lose(wanted, mem::take(&mut lost), id.before(), &why);
                }
                let one = &mut wanted[*at];
                if id <= one.after {
                    continue;
                }
                if id > self.up_to {
                    self.seen = self.up_to;
                    return Some(Full);
                }
                if self.bytes >= self.budget {
                    return Some(Full);
                }
                if id.ms < self.oldest_ms {
                    self.seen = id;
                    one.removed = one.removed.max(id);
                    continue;
                }
                let Some(draft) = record::draft(fields) else {
                    if !self.messages.is_empty() {
                        return Some(Full);
                    }
                    self.lose(wanted, [*at], id, &format!("{} has an invalid message {id}", file_name(number)));
                    continue;
                };
                self.seen = id;
                let message = Message::new(id, draft);
                self.bytes += message.footprint();
                self.messages.push(Arc::new(message));
            }
        }
        if !lost.is_empty() {
            if cut < u64::MAX {
                // A whole list cannot be read: where the order is known again would have to be searched in what is damaged.
                self.give_up(wanted, last, &why);
            } else {
                self.lose(wanted, lost, last, &why);
            }
            return None;
        }
        (cut < u64::MAX).then_some(Full)
    }

    /// Everything up to `up_to` was looked at, and messages of these channels cannot be read.
    fn lose(&mut self, wanted: &mut [Wanted], channels: impl IntoIterator<Item = usize>, up_to: Cursor, why: &str) {
        let up_to = up_to.min(self.up_to);
        self.seen = self.seen.max(up_to);
        for at in channels {
            let one = &mut wanted[at];
            if up_to > one.after {
                one.removed = one.removed.max(up_to);
                self.damage.get_or_insert_with(|| why.to_owned());
            }
        }
    }

    /// Nothing can be read up to `last`.
    pub(super) fn give_up(&mut self, wanted: &mut [Wanted], last: Cursor, why: &str) {
        self.lose(wanted, 0..wanted.len(), last, why);
    }
}

/// Bytes of a file; `None` if they cannot be read.
fn read(file: &dyn DiskFile, offset: u64, length: u64) -> Option<Vec<u8>> {
    read_exact(file, offset, usize::try_from(length).ok()?).ok()
}

/// The record at the beginning of `bytes`, which are at `offset`.
fn message(bytes: &[u8], salt: u32, offset: u64) -> Option<Record<'_>> {
    let Framed::Whole { body, .. } = record::framed(bytes, salt, offset) else { return None };
    record::parse(body)
}
