//! Payloads of protocol 4: packets in text form, joined by the record separator U+001E.

use bytestring::ByteString;

use crate::engine::packet::{DecodeError, Packet, Protocol};

const SEPARATOR: char = '\u{1e}';

pub(super) fn encode(packets: &[Packet]) -> ByteString {
    if let [packet] = packets {
        return packet.encode_text(Protocol::V4);
    }
    let len: usize = packets.iter().map(|packet| packet.text_len(Protocol::V4) + 1).sum();
    let mut out = String::with_capacity(len);
    for (n, packet) in packets.iter().enumerate() {
        if n > 0 {
            out.push(SEPARATOR);
        }
        packet.write_text(Protocol::V4, &mut out);
    }
    out.into()
}

#[derive(Debug)]
pub(super) struct Packets {
    body: ByteString,
    /// Where the next packet begins; `None` after the last.
    at: Option<usize>,
}

impl Packets {
    pub(super) fn new(body: ByteString) -> Self {
        Self { body, at: Some(0) }
    }

    pub(super) fn next(&mut self) -> Option<Result<Packet, DecodeError>> {
        let start = self.at?;
        let rest = &self.body[start..];
        let packet = match rest.find(SEPARATOR) {
            Some(end) => {
                self.at = Some(start + end + SEPARATOR.len_utf8());
                &rest[..end]
            }
            None => {
                self.at = None;
                rest
            }
        };
        Some(Packet::decode_text(&self.body, packet, Protocol::V4))
    }
}
