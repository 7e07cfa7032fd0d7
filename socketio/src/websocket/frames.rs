//! Bytes of a client become messages and control frames.

use actix_http::ws::{CloseCode, CloseReason, Codec, Frame, Item, ProtocolError};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use tokio_util::codec::Decoder as _;

#[cfg(test)]
mod tests;

/// Maximum length of the data of a control frame in bytes (RFC 6455 §5.5).
const MAX_CONTROL: u64 = 125;
/// The bit of the first byte of a frame that ends a message.
const FINAL: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PONG: u8 = 0xa;

/// What has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole text message.
    Text(ByteString),
    /// A whole binary message.
    Binary(Bytes),
    /// A part of a message that is not complete.
    Fragment,
    /// To be answered by a pong with the same data.
    Ping(Bytes),
    /// The answer to a ping, or an unsolicited one.
    Pong,
    /// To be answered by a close frame with the same code, if there is one. Nothing follows it.
    Close(Option<CloseCode>),
}

/// Why the connection has to be closed.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A frame or a message is larger than the limit.
    #[error("the message is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The bytes violate RFC 6455.
    #[error("invalid frame: {0}")]
    Protocol(String),
    /// A text message is not UTF-8 (RFC 6455 §8.1).
    #[error("the text is not UTF-8")]
    NotUtf8,
}

impl FrameError {
    /// The close code (RFC 6455 §7.4.1).
    #[must_use]
    pub fn code(&self) -> CloseCode {
        match self {
            Self::TooLarge { .. } => CloseCode::Size,
            Self::Protocol(_) => CloseCode::Protocol,
            Self::NotUtf8 => CloseCode::Invalid,
        }
    }
}

impl From<ProtocolError> for FrameError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// The incoming side of one connection.
#[derive(Debug)]
pub struct Frames {
    codec: Codec,
    limit: usize,
    /// Bytes that are not decoded yet. Without memory between frames.
    buffer: BytesMut,
    partial: Option<Partial>,
}

/// A message that comes in fragments (RFC 6455 §5.4).
#[derive(Debug)]
struct Partial {
    is_text: bool,
    data: BytesMut,
}

/// The header of a frame, as far as it decides how many bytes follow (RFC 6455 §5.2).
struct Header {
    opcode: u8,
    /// Whether the decoder accepts a frame with this header. It rejects any other without the rest of it.
    is_sound: bool,
    /// Its own size in bytes.
    size: usize,
    /// The length of the data that follows.
    length: u64,
}

impl Header {
    /// The header at the beginning of `bytes`, if its length is there.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let (extended, length) = match second & 0x7f {
            126 => (2, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into()),
            127 => (8, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
            short => (0, short.into()),
        };
        let opcode = first & 0x0f;
        let is_known = matches!(opcode, CONTINUATION..=BINARY | CLOSE..=PONG);
        let (is_plain, is_masked) = (first & 0x70 == 0, second & 0x80 != 0);
        Some(Self { opcode, is_sound: is_known && is_plain && is_masked, size: 2 + extended + 4, length })
    }

    fn is_control(&self) -> bool {
        self.opcode >= CLOSE
    }
}

/// Whether these bytes are a pong and nothing else.
#[must_use]
pub fn is_pong(bytes: &[u8]) -> bool {
    Header::read(bytes).is_some_and(|header| {
        header.opcode == PONG
            && bytes[0] & FINAL != 0
            && header.is_sound
            && header.length <= MAX_CONTROL
            && bytes.len() as u64 == header.size as u64 + header.length
    })
}

impl Frames {
    /// For messages of up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { codec: Codec::new().max_size(limit), limit, buffer: BytesMut::new(), partial: None }
    }

    /// Adds received bytes.
    pub fn push(&mut self, chunk: Bytes) {
        if self.buffer.is_empty() {
            self.buffer = match chunk.try_into_mut() {
                Ok(whole) => whole,
                Err(shared) => BytesMut::from(&shared[..]),
            };
        } else {
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// What has arrived next; `None` if more bytes are needed.
    ///
    /// # Errors
    /// When the connection has to be closed. What follows is not to be decoded.
    pub fn take(&mut self) -> Result<Option<Received>, FrameError> {
        let next = self.decode();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        next
    }

    /// Whether everything that has arrived was taken: no frame and no message is incomplete.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.partial.is_none()
    }

    /// Memory of what is not complete, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.buffer.capacity() + self.partial.as_ref().map_or(0, |partial| partial.data.capacity())
    }

    /// Drops what is not complete: nothing more is decoded.
    pub fn clear(&mut self) {
        (self.buffer, self.partial) = (BytesMut::new(), None);
    }

    fn decode(&mut self) -> Result<Option<Received>, FrameError> {
        let Some(header) = Header::read(&self.buffer) else { return Ok(None) };
        self.check(&header)?;
        // The decoder would reserve the announced length in advance.
        let is_whole = (self.buffer.len() as u64).checked_sub(header.size as u64) >= Some(header.length);
        if header.is_sound && !is_whole {
            return Ok(None);
        }
        match self.codec.decode(&mut self.buffer)? {
            Some(frame) => self.accept(frame).map(Some),
            None => Ok(None),
        }
    }

    /// Rejects a frame by its header, so that nobody waits for the rest.
    fn check(&self, header: &Header) -> Result<(), FrameError> {
        if header.is_control() {
            return if header.length > MAX_CONTROL {
                Err(FrameError::Protocol(format!("a control frame has at most {MAX_CONTROL} bytes")))
            } else {
                Ok(())
            };
        }
        let before = match &self.partial {
            Some(partial) if header.opcode == CONTINUATION => partial.data.len(),
            _ => 0,
        };
        if header.length > (self.limit - before) as u64 { Err(self.too_large()) } else { Ok(()) }
    }

    fn too_large(&self) -> FrameError {
        FrameError::TooLarge { limit: self.limit }
    }

    fn accept(&mut self, frame: Frame) -> Result<Received, FrameError> {
        Ok(match frame {
            Frame::Text(text) => Received::Text(utf8(text)?),
            Frame::Binary(bytes) => Received::Binary(bytes),
            Frame::Continuation(Item::FirstText(data)) => self.begin(true, &data),
            Frame::Continuation(Item::FirstBinary(data)) => self.begin(false, &data),
            Frame::Continuation(Item::Continue(data)) => {
                self.extend(&data);
                Received::Fragment
            }
            Frame::Continuation(Item::Last(data)) => {
                self.extend(&data);
                match self.partial.take() {
                    Some(Partial { is_text: true, data }) => Received::Text(utf8(data.freeze())?),
                    Some(Partial { is_text: false, data }) => Received::Binary(data.freeze()),
                    None => Received::Fragment,
                }
            }
            Frame::Ping(data) => Received::Ping(data),
            Frame::Pong(_) => Received::Pong,
            Frame::Close(reason) => Received::Close(reason.map(|CloseReason { code, .. }| code)),
        })
    }

    fn begin(&mut self, is_text: bool, data: &[u8]) -> Received {
        self.partial = Some(Partial { is_text, data: BytesMut::from(data) });
        Received::Fragment
    }

    /// The limit was checked with the header.
    fn extend(&mut self, data: &[u8]) {
        if let Some(partial) = &mut self.partial {
            partial.data.extend_from_slice(data);
        }
    }
}

fn utf8(bytes: Bytes) -> Result<ByteString, FrameError> {
    ByteString::try_from(bytes).map_err(|_| FrameError::NotUtf8)
}
