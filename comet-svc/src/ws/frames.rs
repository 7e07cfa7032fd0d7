//! Messages as text frames, one for each, one for a gap before them, and one for the end of a stream after them.

use std::{any::Any, iter};

use bytes::{Bytes, BytesMut};
use edge::stream::{AnyForm, Form as _};
use shared::{
    live::reader::Batch,
    pure::{Pieces, Publisher},
};
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

    /// The first bytes of the frames of a batch, and the rest, if there is one. Long messages are encoded in pieces.
    pub(super) fn begin(self, batch: Batch) -> (Bytes, Option<Pieces>) {
        if !batch.messages.iter().any(|message| message.is_long()) {
            let (frames, rest) = self.encode(&batch);
            return (frames, (!rest.is_empty()).then(|| Box::new(iter::once(rest)) as Pieces));
        }
        let Batch { gap, messages, end, cursor } = batch;
        let around = |messages, gap, end| self.encode(&Batch { gap, messages, end, cursor }).0;
        let (first, last) = (around(Vec::new(), gap, None), around(Vec::new(), None, end));
        let pieces = messages.into_iter().flat_map(move |message| -> Pieces {
            if !message.is_long() {
                let batch = Batch { gap: None, messages: vec![message], end: None, cursor };
                return Box::new(<[Bytes; 2]>::from(self.encode(&batch)).into_iter());
            }
            let mut header = BytesMut::new();
            encode::text_header(message.line_len(self.publisher), &mut header);
            message.line_pieces(self.publisher, header.into(), b"")
        });
        (first, Some(Box::new(pieces.chain(iter::once(last)))))
    }
}

impl AnyForm for TextFrames {
    fn chunk(&self, batch: &Batch, _: bool) -> Bytes {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared::pure::{
        Cursor, Draft, Gap, Message, Payload,
        stream::{EndReason, StreamEnd},
    };

    use super::*;

    /// A connection whose client did not read kept the whole frame of a message of any size.
    #[test]
    fn frames_of_long_messages_are_in_pieces_and_the_same() {
        let message = |n: u64, size| {
            let draft = Draft::new("a".parse().unwrap(), Payload::from_text(&"x".repeat(size)));
            Arc::new(Message::new(Cursor::new(1, n), draft.by(Some("ann".into()))))
        };
        let cursor = Cursor::new(2, 0);
        let gap = Some(Gap { requested: Cursor::ZERO, resumed: Cursor::new(1, 0) });
        let end = Some(StreamEnd { channel: "a".parse().unwrap(), reason: EndReason::Closed, id: cursor });
        for sizes in [&[1_usize << 20][..], &[1, 1 << 20], &[1 << 20, 5_000, 70_000, 1], &[1, 5_000]] {
            let messages: Vec<_> = (1..).zip(sizes).map(|(n, size)| message(n, *size)).collect();
            for (gap, end) in [(None, None), (gap, end.clone())] {
                let batch = || Batch { gap, messages: messages.clone(), end: end.clone(), cursor };
                let frames = TextFrames { publisher: Publisher::Shown };
                let (first, rest) = frames.begin(batch());
                let pieces: Vec<Bytes> = iter::once(first).chain(rest.into_iter().flatten()).collect();
                assert!(pieces.iter().all(|piece| piece.len() <= 32 * 1024), "{sizes:?}");
                let (frames, rest) = frames.encode(&batch());
                assert!(pieces.concat() == [frames, rest].concat(), "{sizes:?}");
            }
        }
    }
}
