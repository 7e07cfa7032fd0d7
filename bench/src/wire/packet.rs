//! Engine.IO packets as far as a reader has to know them: what each one begins with.

use super::Prefix;

/// Between two packets of a polling payload (Engine.IO protocol 4, "HTTP long-polling").
const SEPARATOR: u8 = 0x1e;

/// What a reader reacts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// `0{…}`
    Open,
    /// `2`: to be answered by `3`.
    Ping,
    /// `1`: the session has ended.
    Close,
    /// `40…`: the namespace is joined.
    Connected,
    /// `44…`: it is not.
    Refused,
    /// `43…`: the answer to something that was asked.
    Ack,
    /// Anything else.
    Other,
}

/// Recognizes packets by their first bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packets {
    head: Prefix<2>,
}

impl Packets {
    /// Calls `met` for each packet of a polling payload that ends within `bytes`. The payload ends by
    /// [`end`](Self::end).
    pub(crate) fn feed_payload(&mut self, bytes: &[u8], met: &mut dyn FnMut(Packet)) {
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(SEPARATOR, rest) {
            self.head.extend(&rest[..at]);
            self.end(met);
            rest = &rest[at + 1..];
        }
        self.head.extend(rest);
    }

    /// A part of the packet that is being read.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.head.extend(bytes);
    }

    /// The packet is complete.
    pub(crate) fn end(&mut self, met: &mut dyn FnMut(Packet)) {
        let packet = match self.head.bytes() {
            [] => return,
            [b'0', ..] => Packet::Open,
            [b'1', ..] => Packet::Close,
            [b'2', ..] => Packet::Ping,
            [b'4', b'0'] => Packet::Connected,
            [b'4', b'4'] => Packet::Refused,
            [b'4', b'3'] => Packet::Ack,
            _ => Packet::Other,
        };
        self.head.clear();
        met(packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_recognized_wherever_a_payload_is_split() {
        let payload = "0{\"sid\":\"x\"}\u{1e}2\u{1e}40{\"sid\":\"y\"}\u{1e}42[\"a\",\"0124\"]\u{1e}430[{}]\u{1e}44{}\u{1e}6\u{1e}1";
        for cut in 1..payload.len() {
            let (mut packets, mut met) = (Packets::default(), Vec::new());
            for piece in payload.as_bytes().chunks(cut) {
                packets.feed_payload(piece, &mut |packet| met.push(packet));
            }
            packets.end(&mut |packet| met.push(packet));
            use Packet::*;
            assert_eq!(met, [Open, Ping, Connected, Other, Ack, Refused, Other, Close], "cut at {cut}");
        }
    }
}
