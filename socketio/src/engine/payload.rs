//! Several Engine.IO packets in one HTTP body, the long-polling transport.
//!
//! A POST body goes through [`Packets`] (or [`decode`], which collects it); the packets queued for a client become the answer to
//! its GET through [`encode`]. The two protocols share nothing but the packets inside, so each has a file:
//! protocol 4 joins them with a separator (`v4`), protocol 3 writes lengths before them (`v3`). Around
//! either, clients that can only load scripts get [`jsonp`].
//!
//! Specification: Engine.IO protocol 4, "Payload encoding"; Engine.IO protocol 3, the same heading.

pub mod jsonp;
mod v3;
mod v4;

use bytes::Bytes;

use super::packet::{Data, DecodeError, Packet, Protocol};

/// How many packets [`decode`] collects out of one body. A body of the default size limit could name half a million
/// packets of one byte each, which would take twenty times its own memory; who must read more uses [`Packets`].
pub const MAX_PACKETS: usize = 16_384;

/// Writes packets as one HTTP body. Binary (`application/octet-stream`) only in protocol 3, when the client
/// `supports_binary` (it did not say `b64=1`) and a packet is binary; text otherwise.
pub fn encode(packets: &[Packet], protocol: Protocol, supports_binary: bool) -> Data {
    match protocol {
        Protocol::V4 => Data::Text(v4::encode(packets)),
        Protocol::V3 if supports_binary && packets.iter().any(is_binary) => Data::Binary(v3::encode_binary(packets)),
        Protocol::V3 => Data::Text(v3::encode_text(packets)),
    }
}

/// Reads one HTTP body. `is_binary` says whether it came as `application/octet-stream`.
///
/// All or nothing: the first bad packet, or more than [`MAX_PACKETS`], refuses the body.
pub fn decode(body: Bytes, protocol: Protocol, is_binary: bool) -> Result<Vec<Packet>, DecodeError> {
    let mut packets = Vec::new();
    for packet in Packets::new(body, protocol, is_binary)? {
        if packets.len() == MAX_PACKETS {
            return Err(DecodeError::TooMany(MAX_PACKETS));
        }
        packets.push(packet?);
    }
    Ok(packets)
}

/// An upper bound of the bytes that `packet` takes in a text payload, including its separator or length header. A server adds these up and
/// stops at the size that it is willing to write. In protocol 4 the sum is exact except for one separator too many.
pub fn encoded_len(packet: &Packet, protocol: Protocol) -> usize {
    let header = match protocol {
        Protocol::V4 => 1,
        // Digits of the length and a colon; or, in the binary form, a byte before and one behind the digits.
        Protocol::V3 => 2 + v3::digits(packet.text_len(protocol)),
    };
    header + packet.text_len(protocol)
}

/// How many of the leading packets fit a body of `max` bytes; at least one if there is one, since a packet is never split.
pub fn fitting(packets: &[Packet], protocol: Protocol, max: usize) -> usize {
    let mut total = 0_usize;
    let fit = packets
        .iter()
        .take_while(|packet| {
            total = total.saturating_add(encoded_len(packet, protocol));
            total <= max
        })
        .count();
    fit.max(1).min(packets.len())
}

fn is_binary(packet: &Packet) -> bool {
    matches!(packet, Packet::Message(Data::Binary(_)))
}

/// Iterates over the packets of one HTTP body. Memory use is that of the body, whatever it contains.
///
/// Ends after the first error.
#[derive(Debug)]
pub struct Packets {
    encoding: Encoding,
}

#[derive(Debug)]
enum Encoding {
    V4(v4::Packets),
    V3Text(v3::TextPackets),
    V3Binary(v3::BinaryPackets),
    Done,
}

impl Packets {
    /// Takes the body. Fails immediately if it is binary in protocol 4, or is text that is not UTF-8.
    pub fn new(body: Bytes, protocol: Protocol, is_binary: bool) -> Result<Self, DecodeError> {
        let encoding = match (protocol, is_binary) {
            (Protocol::V4, true) => return Err(DecodeError::BinaryPayload),
            (Protocol::V4, false) => Encoding::V4(v4::Packets::new(text(body)?)),
            (Protocol::V3, false) => Encoding::V3Text(v3::TextPackets::new(text(body)?)),
            (Protocol::V3, true) => Encoding::V3Binary(v3::BinaryPackets::new(body)),
        };
        Ok(Self { encoding })
    }
}

impl Iterator for Packets {
    type Item = Result<Packet, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match &mut self.encoding {
            Encoding::V4(packets) => packets.next(),
            Encoding::V3Text(packets) => packets.next(),
            Encoding::V3Binary(packets) => packets.next(),
            Encoding::Done => None,
        };
        if !matches!(next, Some(Ok(_))) {
            self.encoding = Encoding::Done;
        }
        next
    }
}

fn text(body: Bytes) -> Result<bytestring::ByteString, DecodeError> {
    body.try_into().map_err(|_| DecodeError::Utf8)
}

#[cfg(test)]
mod tests;
