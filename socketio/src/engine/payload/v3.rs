//! Payloads of protocol 3: each packet behind its length.
//!
//! As text, `<length>:<packet>`, where the length counts UTF-16 code units, as the length of a JavaScript string does. As bytes, one
//! byte 0 (text) or 1 (binary), the decimal digits of the length in bytes as the values 0 to 9, a byte 255, the packet.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use crate::engine::packet::{Data, DecodeError, Packet, Protocol};

const TEXT: u8 = 0;
const BINARY: u8 = 1;
const END_OF_LENGTH: u8 = 255;

/// No body is anywhere near ten thousand million bytes; more digits are an attack or an accident.
const MAX_DIGITS: usize = 10;

pub(super) fn encode_text(packets: &[Packet]) -> ByteString {
    if packets.is_empty() {
        return ByteString::from_static("0:");
    }
    let mut out = String::new();
    for packet in packets {
        let text = packet.encode_text(Protocol::V3);
        let units = text.encode_utf16().count();
        out.push_str(&units.to_string());
        out.push(':');
        out.push_str(&text);
    }
    out.into()
}

pub(super) fn encode_binary(packets: &[Packet]) -> Bytes {
    let mut out = BytesMut::new();
    for packet in packets {
        let (kind, data) = match packet.encode_frame(Protocol::V3) {
            Data::Text(text) => (TEXT, text.into_bytes()),
            Data::Binary(bytes) => (BINARY, bytes),
        };
        out.put_u8(kind);
        out.extend(data.len().to_string().bytes().map(|digit| digit - b'0'));
        out.put_u8(END_OF_LENGTH);
        out.put_slice(&data);
    }
    out.freeze()
}

#[derive(Debug)]
pub(super) struct TextPackets {
    body: ByteString,
    at: usize,
    /// An empty body is an error, an empty rest is the end.
    started: bool,
}

impl TextPackets {
    pub(super) fn new(body: ByteString) -> Self {
        Self { body, at: 0, started: false }
    }

    pub(super) fn next(&mut self) -> Option<Result<Packet, DecodeError>> {
        loop {
            if self.at == self.body.len() && self.started {
                return None;
            }
            self.started = true;
            match self.take() {
                // `0:` means "no packets".
                Ok((start, end)) if start == end => {}
                Ok((start, end)) => {
                    return Some(Packet::decode_text(&self.body, &self.body[start..end], Protocol::V3));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Finds the next packet and steps over it.
    fn take(&mut self) -> Result<(usize, usize), DecodeError> {
        let rest = &self.body[self.at..];
        let colon = rest.bytes().take(MAX_DIGITS + 1).position(|byte| byte == b':').ok_or(DecodeError::Length)?;
        let units = number(rest[..colon].bytes().map(|byte| byte.wrapping_sub(b'0')))?;
        let len = utf16_prefix(&rest[colon + 1..], units).ok_or(DecodeError::Length)?;
        let start = self.at + colon + 1;
        self.at = start + len;
        Ok((start, self.at))
    }
}

/// The number of bytes in the first `units` UTF-16 code units of `text`, if it has that many and they end between two characters.
fn utf16_prefix(text: &str, units: usize) -> Option<usize> {
    let mut left = units;
    for (at, character) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(character.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

#[derive(Debug)]
pub(super) struct BinaryPackets {
    rest: Bytes,
}

impl BinaryPackets {
    pub(super) fn new(body: Bytes) -> Self {
        Self { rest: body }
    }

    pub(super) fn next(&mut self) -> Option<Result<Packet, DecodeError>> {
        let kind = *self.rest.first()?;
        Some(self.take().and_then(|packet| {
            let frame = match kind {
                TEXT => Data::Text(super::text(packet)?),
                BINARY => Data::Binary(packet),
                other => return Err(DecodeError::UnknownType(char::from(other))),
            };
            Packet::decode_frame(frame, Protocol::V3)
        }))
    }

    fn take(&mut self) -> Result<Bytes, DecodeError> {
        let end = self
            .rest
            .iter()
            .take(1 + MAX_DIGITS + 1)
            .position(|&byte| byte == END_OF_LENGTH)
            .filter(|&end| end > 0)
            .ok_or(DecodeError::Length)?;
        let len = number(self.rest[1..end].iter().copied())?;
        let start = end + 1;
        let stop = start.checked_add(len).filter(|&stop| stop <= self.rest.len()).ok_or(DecodeError::Length)?;
        let packet = self.rest.slice(start..stop);
        self.rest = self.rest.slice(stop..);
        Ok(packet)
    }
}

/// The number whose decimal digits these are; at least one.
fn number(digits: impl ExactSizeIterator<Item = u8>) -> Result<usize, DecodeError> {
    if digits.len() == 0 {
        return Err(DecodeError::Length);
    }
    let mut number = 0_usize;
    for digit in digits {
        if digit > 9 {
            return Err(DecodeError::Length);
        }
        number = number
            .checked_mul(10)
            .and_then(|number| number.checked_add(usize::from(digit)))
            .ok_or(DecodeError::Length)?;
    }
    Ok(number)
}
