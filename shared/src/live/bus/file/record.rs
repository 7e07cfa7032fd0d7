//! Records: what a segment consists of.
//!
//! ```text
//! record   length of the body (4 bytes), checksum (4), body
//! body     kind (1), flags (1), then by kind:
//!   group    magic (8), synced (8), reserved (8), boot (8)
//!   message  id: milliseconds (8), sequence (8); fields
//!   state    fields
//!   hole     after: milliseconds (8), sequence (8); up to: milliseconds (8), sequence (8)
//!   checkpoint
//!   erased   id: milliseconds (8), sequence (8); zeros
//!   stream   a change of a stream, as JSON
//!   copy     id: milliseconds (8), sequence (8); creation of the stream: milliseconds (8), sequence (8); fields, as those of a message
//! field    tag (1), length (variable), bytes
//! ```
//!
//! Numbers are little-endian; a variable length has seven bits a byte, the lowest first. A reader skips fields with unknown tags, so that
//! later versions can add some. The checksum (CRC32C) covers a number of the segment that was drawn at random, the place of the record in it,
//! the length and the body: no record is valid in another place, and no publisher can write bytes that look like one.
//!
//! A publication is one record or several; all but the last have the flag [`MORE`], and it counts only as a whole. Each write begins with a
//! group record, which says how much of the segment was durable before: that proves what has to be there. The first write of a segment repeats all
//! states, streams and holes; the checkpoint record after them says that it is complete.

use crate::pure::{Cursor, Draft};

mod fields;

pub(super) use fields::{change, channel, draft, read_number, write_number};

/// The length of what precedes each body.
pub(super) const FRAME: usize = 8;
/// Maximum length of a body. More than the largest publication has.
const MAX_BODY: u32 = 512 << 20;
/// Where a group record can be found among damaged bytes.
pub(super) const MAGIC: [u8; 8] = *b"\xd1TRgroup";
/// The length of a whole group record.
pub(super) const GROUP: usize = FRAME + 2 + 8 * 4;
/// The length of a message's body up to its fields.
pub(super) const MESSAGE_HEAD: usize = 2 + 16;

/// More records of the same publication follow.
const MORE: u8 = 1;

mod kind {
    pub(super) const GROUP: u8 = 1;
    pub(super) const MESSAGE: u8 = 2;
    pub(super) const STATE: u8 = 3;
    pub(super) const HOLE: u8 = 4;
    pub(super) const CHECKPOINT: u8 = 5;
    pub(super) const ERASED: u8 = 6;
    pub(super) const STREAM: u8 = 7;
    pub(super) const COPY: u8 = 8;
}

/// The beginning of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// Up to here, the segment was durable when this was written.
    pub(super) synced: u64,
    /// Ids up to this millisecond may be handed out before they are durable; 0 if none are.
    pub(super) reserved_ms: u64,
    /// The run of the operating system; 0 if it is unknown.
    pub(super) boot: u64,
}

/// Ids that were handed out and may be lost: those after `after` up to and including `up_to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) after: Cursor,
    pub(super) up_to: Cursor,
}

/// One change of a small state: the value of a key in a table, until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change<'a> {
    pub(super) table: &'a str,
    pub(super) key: &'a [u8],
    /// `None` removes the key.
    pub(super) value: Option<&'a [u8]>,
    /// The time of day, in milliseconds, at which the key expires.
    pub(super) until_ms: u64,
}

/// A record that has been read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Record<'a> {
    Group(Group),
    Message {
        id: Cursor,
        is_last: bool,
        fields: &'a [u8],
    },
    State {
        is_last: bool,
        fields: &'a [u8],
    },
    Hole(Hole),
    Checkpoint,
    /// A message that was purged.
    Erased {
        id: Cursor,
        is_last: bool,
    },
    /// A change of a stream.
    Stream {
        is_last: bool,
        record: &'a [u8],
    },
    /// A message of a stream that is not in the order of ids: a fork has it of its source, or the segment with its message was removed.
    Copy {
        id: Cursor,
        /// When the stream was created.
        created: Cursor,
        is_last: bool,
        fields: &'a [u8],
    },
}

/// What is at a place of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Framed<'a> {
    /// A whole record with the right checksum.
    Whole { body: &'a [u8], length: usize },
    /// It would have this length, and the bytes end before.
    Short(usize),
    /// None.
    Bad,
}

fn checksum(salt: u32, offset: u64, body: &[u8]) -> u32 {
    let mut place = [0; 16];
    place[..4].copy_from_slice(&salt.to_le_bytes());
    place[4..12].copy_from_slice(&offset.to_le_bytes());
    place[12..].copy_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), body)
}

/// The record at the beginning of `bytes`, which are at `offset` of the segment with `salt`.
pub(super) fn framed(bytes: &[u8], salt: u32, offset: u64) -> Framed<'_> {
    let Some((head, rest)) = bytes.split_at_checked(FRAME) else { return Framed::Short(FRAME) };
    let (length, sum) = (u32_at(head, 0), u32_at(head, 4));
    if !(2..=MAX_BODY).contains(&length) {
        return Framed::Bad;
    }
    let length = length as usize;
    match rest.get(..length) {
        None => Framed::Short(FRAME + length),
        Some(body) if checksum(salt, offset, body) == sum => Framed::Whole { body, length: FRAME + length },
        Some(_) => Framed::Bad,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn cursor_at(bytes: &[u8], at: usize) -> Cursor {
    Cursor::new(u64_at(bytes, at), u64_at(bytes, at + 8))
}

/// What the body of a record says; `None` if this version does not know its form.
pub(super) fn parse(body: &[u8]) -> Option<Record<'_>> {
    let (&[kind, flags], rest) = body.split_first_chunk::<2>()?;
    let is_last = flags & MORE == 0;
    Some(match kind {
        kind::GROUP if rest.len() == GROUP - FRAME - 2 && rest.starts_with(&MAGIC) => {
            Record::Group(Group { synced: u64_at(rest, 8), reserved_ms: u64_at(rest, 16), boot: u64_at(rest, 24) })
        }
        kind::MESSAGE if body.len() >= MESSAGE_HEAD => {
            Record::Message { id: cursor_at(rest, 0), is_last, fields: &body[MESSAGE_HEAD..] }
        }
        kind::STATE => Record::State { is_last, fields: rest },
        kind::HOLE if rest.len() == 32 => Record::Hole(Hole { after: cursor_at(rest, 0), up_to: cursor_at(rest, 16) }),
        kind::CHECKPOINT => Record::Checkpoint,
        kind::STREAM => Record::Stream { is_last, record: rest },
        kind::COPY if rest.len() >= 32 => {
            Record::Copy { id: cursor_at(rest, 0), created: cursor_at(rest, 16), is_last, fields: &rest[32..] }
        }
        kind::ERASED if rest.len() >= 16 => Record::Erased { id: cursor_at(rest, 0), is_last },
        _ => return None,
    })
}

/// Removes the content of a message, whose whole record `bytes` are, at `offset` of the segment with `salt`. Its length and its id remain.
pub(super) fn erase(bytes: &mut [u8], salt: u32, offset: u64) {
    let Some((head, body)) = bytes.split_at_mut_checked(FRAME) else { return };
    if let Some(kind) = body.first_mut() {
        *kind = kind::ERASED;
    }
    if let Some(fields) = body.get_mut(MESSAGE_HEAD..) {
        fields.fill(0);
    }
    head[4..].copy_from_slice(&checksum(salt, offset, body).to_le_bytes());
}

/// Writes records one after the other, as they will be in a segment.
#[derive(Debug)]
pub(super) struct Encoder {
    salt: u32,
    /// Where the bytes will be.
    start: u64,
    bytes: Vec<u8>,
    /// Whether there is a checkpoint among the records.
    pub(super) has_checkpoint: bool,
    /// The bytes up to its end.
    pub(super) checkpoint_bytes: usize,
}

impl Encoder {
    /// For the place `start` of the segment with `salt`.
    pub(super) fn new(salt: u32, start: u64) -> Self {
        Self { salt, start, bytes: Vec::new(), has_checkpoint: false, checkpoint_bytes: 0 }
    }

    /// All records.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn record(&mut self, kind: u8, is_last: bool, fill: impl FnOnce(&mut Vec<u8>)) -> (u64, usize) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; FRAME]);
        self.bytes.extend_from_slice(&[kind, if is_last { 0 } else { MORE }]);
        fill(&mut self.bytes);
        let (offset, body) = (self.start + at as u64, &self.bytes[at + FRAME..]);
        let (length, sum) = (body.len(), checksum(self.salt, offset, body));
        self.bytes[at..at + 4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes[at + 4..at + FRAME].copy_from_slice(&sum.to_le_bytes());
        (offset, FRAME + length)
    }

    pub(super) fn group(&mut self, Group { synced, reserved_ms, boot }: Group) {
        self.record(kind::GROUP, true, |bytes| {
            bytes.extend_from_slice(&MAGIC);
            for number in [synced, reserved_ms, boot] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        });
    }

    pub(super) fn hole(&mut self, Hole { after, up_to }: Hole) {
        self.record(kind::HOLE, true, |bytes| {
            for number in [after.ms, after.seq, up_to.ms, up_to.seq] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        });
    }

    /// A message; returns its place and its length.
    pub(super) fn message(&mut self, id: Cursor, draft: &Draft, is_last: bool) -> (u64, usize) {
        self.record(kind::MESSAGE, is_last, |bytes| {
            bytes.extend_from_slice(&id.ms.to_le_bytes());
            bytes.extend_from_slice(&id.seq.to_le_bytes());
            fields::write_draft(bytes, draft);
        })
    }

    /// A change of a stream.
    pub(super) fn stream(&mut self, record: &[u8], is_last: bool) {
        self.record(kind::STREAM, is_last, |bytes| bytes.extend_from_slice(record));
    }

    /// A message of the stream that was created at `created`, under the id that it has; returns its length.
    pub(super) fn copy(&mut self, id: Cursor, created: Cursor, draft: &Draft, is_last: bool) -> usize {
        let (_, length) = self.record(kind::COPY, is_last, |bytes| {
            for number in [id.ms, id.seq, created.ms, created.seq] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            fields::write_draft(bytes, draft);
        });
        length
    }

    /// Says that all states, streams and holes are before it in this segment.
    pub(super) fn checkpoint(&mut self) {
        self.record(kind::CHECKPOINT, true, |_| {});
        self.has_checkpoint = true;
        self.checkpoint_bytes = self.bytes.len();
    }

    pub(super) fn state(&mut self, change: Change<'_>, is_last: bool) -> (u64, usize) {
        self.record(kind::STATE, is_last, |bytes| fields::write_change(bytes, change))
    }
}

#[cfg(test)]
mod tests;
