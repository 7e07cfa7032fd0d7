//! Several Engine.IO packets in one HTTP body, the long-polling transport.
//!
//! A POST body goes through [`Packets`] (or [`decode`], which collects it); the packets queued for a client become the answer to
//! its GET through [`encode`]. The two protocols share nothing but the packets inside, so each has a file:
//! protocol 4 joins them with a separator (`v4`), protocol 3 writes lengths before them (`v3`). Around
//! either, clients that can only load scripts get [`jsonp`].
//!
//! Specification: Engine.IO protocol 4, "Payload encoding"; Engine.IO protocol 3, the same heading.

#[cfg(feature = "jsonp")]
pub mod jsonp;
#[cfg(feature = "eio3")]
mod v3;
mod v4;

use bytes::Bytes;

use super::packet::{Data, DecodeError, Packet, Protocol};

/// How many packets [`decode`] collects out of one body. A body of the default size limit could name half a million packets of one byte
/// each, which would take twenty times its own memory; use [`Packets`] to read more.
pub const MAX_PACKETS: usize = 16_384;

/// Writes packets as one HTTP body. Binary (`application/octet-stream`) only in protocol 3, when the client
/// `supports_binary` (it did not say `b64=1`) and a packet is binary; text otherwise.
pub fn encode(packets: &[Packet], protocol: Protocol, supports_binary: bool) -> Data {
    #[cfg(not(feature = "eio3"))]
    let _ = supports_binary;
    match protocol {
        Protocol::V4 => Data::Text(v4::encode(packets)),
        #[cfg(feature = "eio3")]
        Protocol::V3 if supports_binary && packets.iter().any(is_binary) => Data::Binary(v3::encode_binary(packets)),
        #[cfg(feature = "eio3")]
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

#[cfg(feature = "eio3")]
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
    #[cfg(feature = "eio3")]
    V3Text(v3::TextPackets),
    #[cfg(feature = "eio3")]
    V3Binary(v3::BinaryPackets),
    Done,
}

impl Packets {
    /// Takes the body. Fails immediately if it is binary in protocol 4, or is text that is not UTF-8.
    pub fn new(body: Bytes, protocol: Protocol, is_binary: bool) -> Result<Self, DecodeError> {
        let encoding = match (protocol, is_binary) {
            (Protocol::V4, true) => return Err(DecodeError::BinaryPayload),
            (Protocol::V4, false) => Encoding::V4(v4::Packets::new(text(body)?)),
            #[cfg(feature = "eio3")]
            (Protocol::V3, false) => Encoding::V3Text(v3::TextPackets::new(text(body)?)),
            #[cfg(feature = "eio3")]
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
            #[cfg(feature = "eio3")]
            Encoding::V3Text(packets) => packets.next(),
            #[cfg(feature = "eio3")]
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
