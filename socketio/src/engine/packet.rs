//! Engine.IO packets, and their form as one WebSocket frame.
//!
//! A frame comes in as [`Data`] and becomes a [`Packet`] ([`Packet::decode_frame`]); a packet goes out as one frame
//! ([`Packet::encode_frame`]). Several packets in one HTTP body are the business of [`payload`](super::payload), which reads
//! and writes each of them with the text form of this file.
//!
//! Decoding takes slices of the incoming buffer: nothing is copied but base64.
//!
//! Specification: Engine.IO protocol 4, "Packet encoding"; the differences of protocol 3 are named where they occur.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
#[cfg(feature = "eio3")]
use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

/// Standard alphabet; padding written, but not asked for, since clients differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The byte that says "message" at the head of a binary frame of protocol 3.
#[cfg(feature = "eio3")]
const BINARY_MESSAGE: u8 = 4;

/// Version of the Engine.IO protocol, the query parameter `EIO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `EIO=3`, spoken by Socket.IO 2 clients: the client pings, payloads carry lengths.
    #[cfg(feature = "eio3")]
    V3,
    /// `EIO=4`, spoken by Socket.IO 3 and 4 clients.
    V4,
}

/// What a WebSocket frame, an HTTP body or a message carries: text or bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// UTF-8 text.
    Text(ByteString),
    /// Bytes.
    Binary(Bytes),
}

impl Data {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, whichever kind they are of. Costs nothing.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl From<&'static str> for Data {
    fn from(text: &'static str) -> Self {
        Self::Text(ByteString::from_static(text))
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<ByteString> for Data {
    fn from(text: ByteString) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Data {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// One Engine.IO packet.
///
/// `Close`, `Upgrade` and `Noop` have no use for data; what a peer puts behind their type is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// `0`: the server's handshake, a JSON object.
    Open(ByteString),
    /// `1`: the session ends.
    Close,
    /// `2`: ping (heartbeat). Its data is `probe` during an upgrade and empty otherwise.
    Ping(ByteString),
    /// `3`: pong (heartbeat), with the data of the ping.
    Pong(ByteString),
    /// `4`: a message of the application.
    Message(Data),
    /// `5`: the client has moved to the WebSocket.
    Upgrade,
    /// `6`: nothing; releases a poll that waits.
    Noop,
}

/// Why a frame or a payload is no Engine.IO packet. The session closes with "parse error" on any of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A packet without even a type.
    #[error("empty packet")]
    Empty,
    /// The first character is no packet type.
    #[error("unknown packet type {0:?}")]
    UnknownType(char),
    /// Text that is not UTF-8.
    #[error("text is not valid UTF-8")]
    Utf8,
    /// `b` followed by something that is not base64.
    #[error("invalid base64")]
    Base64,
    /// A length in a protocol 3 payload that is no number, or does not fit what follows.
    #[error("invalid length in payload")]
    Length,
    /// A binary body in protocol 4, where payloads are always text.
    #[error("binary payloads are valid in protocol 3 only")]
    BinaryPayload,
    /// One body contains more packets than the server accepts.
    #[error("more than {0} packets in one payload")]
    TooMany(usize),
    /// A JSONP form without its field `d`.
    #[cfg(feature = "jsonp")]
    #[error("the form has no field `d`")]
    NoData,
}

impl Packet {
    /// This packet as one WebSocket frame.
    ///
    /// A binary message is a binary frame: the bytes alone in protocol 4, after a byte 4 in protocol 3. All else is text.
    pub fn encode_frame(&self, protocol: Protocol) -> Data {
        match self {
            Self::Message(Data::Binary(bytes)) => Data::Binary(match protocol {
                Protocol::V4 => bytes.clone(),
                #[cfg(feature = "eio3")]
                Protocol::V3 => {
                    let mut frame = BytesMut::with_capacity(1 + bytes.len());
                    frame.put_u8(BINARY_MESSAGE);
                    frame.put_slice(bytes);
                    frame.freeze()
                }
            }),
            _ => Data::Text(self.encode_text(protocol)),
        }
    }

    /// This packet as text, binary messages as base64: the form for a WebSocket whose client said `b64=1`.
    pub(super) fn encode_text(&self, protocol: Protocol) -> ByteString {
        match self {
            Self::Close => ByteString::from_static("1"),
            Self::Upgrade => ByteString::from_static("5"),
            Self::Noop => ByteString::from_static("6"),
            Self::Ping(data) if data.is_empty() => ByteString::from_static("2"),
            Self::Pong(data) if data.is_empty() => ByteString::from_static("3"),
            _ => {
                let mut text = String::with_capacity(self.text_len(protocol));
                self.write_text(protocol, &mut text);
                text.into()
            }
        }
    }

    /// Reads one WebSocket frame. Also accepts `b` and base64 in a text frame, as sent by clients that avoid binary frames.
    pub fn decode_frame(frame: Data, protocol: Protocol) -> Result<Self, DecodeError> {
        match frame {
            Data::Text(text) => Self::decode_text(&text, &text, protocol),
            Data::Binary(bytes) => match protocol {
                Protocol::V4 => Ok(Self::Message(Data::Binary(bytes))),
                #[cfg(feature = "eio3")]
                Protocol::V3 => match bytes.first() {
                    Some(&BINARY_MESSAGE) => Ok(Self::Message(Data::Binary(bytes.slice(1..)))),
                    Some(&other) => Err(DecodeError::UnknownType(char::from(other))),
                    None => Err(DecodeError::Empty),
                },
            },
        }
    }

    /// Appends the text form to `out`.
    pub(super) fn write_text(&self, protocol: Protocol, out: &mut String) {
        let (kind, data) = match self {
            Self::Message(Data::Binary(bytes)) => {
                out.push_str(base64_mark(protocol));
                BASE64.encode_string(bytes, out);
                return;
            }
            Self::Open(data) => ('0', &**data),
            Self::Close => ('1', ""),
            Self::Ping(data) => ('2', &**data),
            Self::Pong(data) => ('3', &**data),
            Self::Message(Data::Text(data)) => ('4', &**data),
            Self::Upgrade => ('5', ""),
            Self::Noop => ('6', ""),
        };
        out.push(kind);
        out.push_str(data);
    }

    /// Length in bytes of what [`write_text`](Self::write_text) appends.
    pub(super) fn text_len(&self, protocol: Protocol) -> usize {
        match self {
            Self::Message(Data::Binary(bytes)) => {
                base64_mark(protocol).len() + bytes.len().div_ceil(3).saturating_mul(4)
            }
            Self::Open(data) | Self::Ping(data) | Self::Pong(data) => 1 + data.len(),
            Self::Message(Data::Text(data)) => 1 + data.len(),
            Self::Close | Self::Upgrade | Self::Noop => 1,
        }
    }

    /// Reads the text form of one packet; `text` is a part of `whole`, and the packet will share its buffer.
    pub(super) fn decode_text(whole: &ByteString, text: &str, protocol: Protocol) -> Result<Self, DecodeError> {
        let mut chars = text.chars();
        let kind = chars.next().ok_or(DecodeError::Empty)?;
        let rest = chars.as_str();
        let data = || whole.slice_ref(rest);
        Ok(match kind {
            '0' => Self::Open(data()),
            '1' => Self::Close,
            '2' => Self::Ping(data()),
            '3' => Self::Pong(data()),
            '4' => Self::Message(Data::Text(data())),
            '5' => Self::Upgrade,
            '6' => Self::Noop,
            'b' => {
                let encoded = match protocol {
                    Protocol::V4 => rest,
                    #[cfg(feature = "eio3")]
                    Protocol::V3 => match rest.strip_prefix('4') {
                        Some(encoded) => encoded,
                        None => {
                            return Err(rest.chars().next().map_or(DecodeError::Empty, DecodeError::UnknownType));
                        }
                    },
                };
                let bytes = BASE64.decode(encoded).map_err(|_| DecodeError::Base64)?;
                Self::Message(Data::Binary(bytes.into()))
            }
            other => return Err(DecodeError::UnknownType(other)),
        })
    }
}

/// Prefix of the base64 of a binary message: protocol 4 has no type digit.
fn base64_mark(protocol: Protocol) -> &'static str {
    match protocol {
        #[cfg(feature = "eio3")]
        Protocol::V3 => "b4",
        Protocol::V4 => "b",
    }
}

#[cfg(test)]
pub(crate) mod tests;
