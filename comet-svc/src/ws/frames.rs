//! Messages as text frames, one for each, one for a gap before them, and one for the end of a stream after them.

use std::any::Any;

use bytes::{Bytes, BytesMut};
use edge::stream::{AnyForm, Form as _};
use shared::{live::reader::Batch, pure::Publisher};
use socketio::websocket::encode;

use crate::{ask::Format, wire::Lines};

/// A line of at least this many bytes is not copied: other readers share it.
const SHARED: usize = 4 * 1024;
/// The approximate overhead of a message in a frame, in bytes, for the initial allocation.
const BESIDE_DATA: usize = 128;
/// The maximum initial allocation in bytes.
const MAX_INITIAL: usize = 12 * 1024;

/// How the messages of a connection are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextFrames {
    /// Whether they have the user who published them.
    pub(super) publisher: Publisher,
}

impl TextFrames {
    /// The frames of a batch, in two parts: the data of a long last message is not copied.
    pub(super) fn encode(self, batch: &Batch) -> (Bytes, Bytes) {
        let publisher = self.publisher;
        let lines = Lines { format: Format::Batch, publisher };
        let data = batch.messages.iter().map(|message| message.len() + BESIDE_DATA).sum::<usize>();
        let (mut frames, mut rest) = (BytesMut::with_capacity(data.min(MAX_INITIAL)), Bytes::new());
        if let Some(gap) = &batch.gap {
            append(&lines.gap(gap), &mut frames);
        }
        for (left, message) in (0..batch.messages.len()).rev().zip(&batch.messages) {
            message.with_line(publisher, |line| {
                if left == 0 && line.len() >= SHARED {
                    rest = without_end(line);
                    encode::text_header(rest.len(), &mut frames);
                } else {
                    append(line, &mut frames);
                }
            });
        }
        if let Some(end) = &batch.end {
            let mut after = BytesMut::from(&rest[..]);
            append(&lines.end(end, batch.cursor), if rest.is_empty() { &mut frames } else { &mut after });
            rest = after.freeze();
        }
        (frames.freeze(), rest)
    }
}

impl AnyForm for TextFrames {
    fn chunk(&self, batch: &Batch) -> Bytes {
        let (frames, rest) = self.encode(batch);
        if rest.is_empty() { frames } else { [&frames[..], &rest[..]].concat().into() }
    }

    fn keep_alive(&self) -> Bytes {
        encode::PING
    }

    fn is_same(&self, other: &dyn AnyForm) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<Self>() == Some(self)
    }
}

/// A line without its line end.
fn without_end(line: &Bytes) -> Bytes {
    line.slice(..line.len().saturating_sub(1))
}

/// Appends the text frame of a line.
fn append(line: &Bytes, frames: &mut BytesMut) {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    encode::text_header(text.len(), frames);
    frames.extend_from_slice(text);
}
