//! Outgoing messages: encoded once, shared by all connections that send them.
//!
//! ```text
//! an event ─▶ Frames (messages, and lazily their WebSocket bytes) ─▶ Outgoing ─▶ many outboxes ─▶ write(2)
//! ```
//!
//! A broadcast to ten thousand WebSockets clones one reference count per socket; the bytes that each transport writes, frame
//! headers included, are the same allocation for all.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::packet::{Data, Packet, Protocol};
use crate::stats::Counters;

/// One or more Engine.IO messages that leave one behind the other with nothing between them: a text and its attachments.
#[derive(Debug)]
pub struct Frames {
    first: Data,
    rest: Vec<Bytes>,
    v4: OnceLock<Bytes>,
    #[cfg(feature = "eio3")]
    v3: OnceLock<Bytes>,
}

impl Frames {
    /// A text message, followed by binary ones.
    pub fn text(text: &str, attachments: Vec<Bytes>) -> Self {
        let mut frame = BytesMut::with_capacity(11 + text.len());
        write_header(&mut frame, OpCode::Text, 1 + text.len());
        frame.put_u8(b'4');
        let start = frame.len();
        frame.put_slice(text.as_bytes());
        let frame = frame.freeze();
        // The text and its frame are one allocation; what is cut out was a `str` a moment ago, so the check cannot fail.
        let first = ByteString::try_from(frame.slice(start..)).unwrap_or_default();
        let v4 = OnceLock::new();
        if attachments.is_empty() {
            let _ = v4.set(frame);
        }
        Self { v4, ..Self::new(Data::Text(first), attachments) }
    }

    /// A single binary message.
    pub fn binary(bytes: Bytes) -> Self {
        Self::new(Data::Binary(bytes), Vec::new())
    }

    fn new(first: Data, rest: Vec<Bytes>) -> Self {
        Self {
            first,
            rest,
            v4: OnceLock::new(),
            #[cfg(feature = "eio3")]
            v3: OnceLock::new(),
        }
    }

    /// The messages in order, for transports that do not write WebSocket frames.
    pub fn packets(&self) -> impl Iterator<Item = Packet> + '_ {
        let rest = self.rest.iter().cloned().map(Data::Binary);
        std::iter::once(self.first.clone()).chain(rest).map(Packet::Message)
    }

    /// All messages as unmasked WebSocket frames (RFC 6455 §5.2), ready for the wire.
    pub fn websocket(&self, protocol: Protocol) -> &Bytes {
        let cache = match protocol {
            Protocol::V4 => &self.v4,
            #[cfg(feature = "eio3")]
            Protocol::V3 => &self.v3,
        };
        cache.get_or_init(|| {
            let mut out = BytesMut::with_capacity(self.len() + 12 * (1 + self.rest.len()));
            for packet in self.packets() {
                write_frame(&mut out, &packet.encode_frame(protocol));
            }
            out.freeze()
        })
    }

    /// Bytes of all messages together, without framing.
    pub fn len(&self) -> usize {
        self.first.len() + self.rest.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Data> for Frames {
    fn from(data: Data) -> Self {
        match data {
            Data::Text(text) => Self::text(&text, Vec::new()),
            Data::Binary(bytes) => Self::binary(bytes),
        }
    }
}

/// A message that provides its encoded frames, in one or several forms.
pub trait Encoded: Send + Sync {
    /// The frames in the form that the connection chose with
    /// [`Connection::set_form`](super::Connection::set_form).
    fn frames(&self, form: Form) -> &Frames;

    /// The approximate size in bytes, the same for every form. Counts against the outbox limit.
    fn len(&self) -> usize;

    /// Whether there is nothing to send.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same message with an offset of connection state recovery at its end, if a client would otherwise take the last argument for one;
    /// see [`Source::offset`](super::Source::offset).
    fn with_offset(&self, offset: &str) -> Option<Arc<dyn Encoded>> {
        let _ = offset;
        None
    }

    /// Whether [`with_offset`](Self::with_offset) has something to give.
    fn wants_offset(&self) -> bool {
        false
    }
}

impl Encoded for Frames {
    fn frames(&self, _: Form) -> &Frames {
        self
    }

    fn len(&self) -> usize {
        self.len()
    }
}

/// The encoding that a connection's messages take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// JSON text with binary attachments behind it.
    #[default]
    Text,
    /// One msgpack map a packet.
    #[cfg(feature = "msgpack")]
    Msgpack,
}

/// Identifies one user of a connection, such as a socket in one of its namespaces: the owner of a message or a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Party(NonZeroU32);

impl Party {
    /// Another one than all before, unless there have been four thousand million.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self(NonZeroU32::new(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU32::MAX))
    }
}

/// One shared outgoing message. A clone costs a reference count.
#[derive(Clone)]
pub struct Outgoing {
    body: Arc<dyn Encoded>,
    /// The party whose sources provide the offset to append, if the message needs one.
    party: Option<Party>,
    /// Shared by all copies of a message to many, so that its bytes count once in the total.
    charge: Option<Arc<Charge>>,
    volatile: bool,
    apart: bool,
}

/// Bytes in the total of what waits, for as long as this lives.
pub(crate) struct Charge {
    counters: Arc<Counters>,
    bytes: u64,
}

impl Charge {
    pub(crate) fn new(counters: &Arc<Counters>, bytes: usize) -> Self {
        let bytes = bytes as u64;
        counters.pending_bytes.add(bytes);
        Self { counters: counters.clone(), bytes }
    }

    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.counters.pending_bytes.sub(self.bytes);
    }
}

impl Outgoing {
    /// A message that must be delivered, or else its sender gets an error.
    pub fn new(body: Arc<dyn Encoded>) -> Self {
        Self { body, party: None, charge: None, volatile: false, apart: false }
    }

    /// The same message, but it may be dropped when the client is slow.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// The same message, but on a WebSocket it is sent in a write of its own, and the next one a millisecond later.
    ///
    /// For the answer that a client awaits before it registers further handlers: if both arrived in one TCP segment, the client would
    /// receive the second before it listens for it. The protocol's own test suites contain such clients.
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// The same message, with an offset from the sources of this party if it wants one.
    pub(crate) fn of(mut self, party: Party) -> Self {
        self.party = Some(party);
        self
    }

    /// The same message for many connections: its bytes are counted in the total now, and once for all of them.
    pub(crate) fn charged(mut self, counters: &Arc<Counters>) -> Self {
        self.charge = Some(Arc::new(Charge::new(counters, self.len())));
        self
    }

    /// Its place in the total, made now if its bytes are counted nowhere.
    pub(crate) fn charge(&self, counters: &Arc<Counters>) -> Option<Arc<Charge>> {
        let new = || self.is_uncounted().then(|| Arc::new(Charge::new(counters, self.len())));
        self.charge.clone().or_else(new)
    }

    /// Whether its bytes are not counted: nothing else refers to them.
    pub(crate) fn is_uncounted(&self) -> bool {
        self.charge.is_none() && Arc::strong_count(&self.body) == 1
    }

    /// Whether its bytes are counted already.
    pub(crate) fn is_charged(&self) -> bool {
        self.charge.is_some()
    }

    /// Whose sources are to be asked for an offset before this leaves.
    pub(crate) fn wants_offset(&self) -> Option<Party> {
        self.party.filter(|_| self.body.wants_offset())
    }

    pub(crate) fn with_offset(mut self, offset: &str) -> Self {
        if let Some(body) = self.body.with_offset(offset) {
            self.body = body;
        }
        self
    }

    /// Whether it is sent in a write of its own.
    pub(crate) fn is_apart(&self) -> bool {
        self.apart
    }

    /// Whether it may be dropped.
    pub(crate) fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// Bytes that it counts for.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The frames in the given form.
    pub fn frames(&self, form: Form) -> &Frames {
        self.body.frames(form)
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing").field("len", &self.len()).field("volatile", &self.volatile).finish()
    }
}

impl From<Data> for Outgoing {
    fn from(data: Data) -> Self {
        Self::new(Arc::new(Frames::from(data)))
    }
}

#[derive(Clone, Copy)]
enum OpCode {
    Text = 1,
    Binary = 2,
}

/// Appends one frame as a server sends it: final and unmasked.
pub(crate) fn write_frame(out: &mut BytesMut, data: &Data) {
    match data {
        Data::Text(text) => {
            write_header(out, OpCode::Text, text.len());
            out.put_slice(text.as_bytes());
        }
        Data::Binary(bytes) => {
            write_header(out, OpCode::Binary, bytes.len());
            out.put_slice(bytes);
        }
    }
}

fn write_header(out: &mut BytesMut, opcode: OpCode, len: usize) {
    const FINAL: u8 = 0x80;
    out.put_u8(FINAL | opcode as u8);
    if let Ok(short) = u8::try_from(len)
        && short < 126
    {
        out.put_u8(short);
    } else if let Ok(medium) = u16::try_from(len) {
        out.put_u8(126);
        out.put_u16(medium);
    } else {
        out.put_u8(127);
        out.put_u64(len as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        Frames::text(text, vec![]).websocket(Protocol::V4).to_vec()
    }

    #[test]
    fn frame_headers_have_the_length_of_rfc_6455() {
        for (len, header) in [
            (0, vec![0x81, 1]),
            (124, vec![0x81, 125]),
            (125, vec![0x81, 126, 0, 126]),
            (65_534, vec![0x81, 126, 0xff, 0xff]),
            (65_535, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = text(&"x".repeat(len));
            assert_eq!(&frame[..header.len()], header, "{len}");
            assert_eq!(frame.len(), header.len() + 1 + len);
        }
    }

    #[test]
    fn attachments_follow_their_text() {
        let frames = Frames::text("5", vec![Bytes::from_static(b"ab")]);
        assert_eq!(frames.websocket(Protocol::V4)[..], *b"\x81\x0245\x82\x02ab");
        assert_eq!(frames.websocket(Protocol::V3)[..], *b"\x81\x0245\x82\x03\x04ab");
        assert_eq!(frames.packets().count(), 2);
        assert_eq!(frames.len(), 3);
    }

    #[test]
    fn bytes_are_made_once() {
        let frames = Frames::text("hello", vec![]);
        let a = frames.websocket(Protocol::V4).as_ptr();
        assert_eq!(a, frames.websocket(Protocol::V4).as_ptr());
    }
}
