//! WebSocket frames (RFC 6455 §5) of a client: it reads unmasked ones and writes masked ones.

use super::Malformed;

/// The header lines of a request that opens a WebSocket (RFC 6455 §4.1).
pub(crate) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                                  Sec-WebSocket-Key: dHJpZGVudC1iZW5jaC0wMA==\r\n";

/// A text message.
pub(crate) const TEXT: u8 = 1;
/// The connection ends.
pub(crate) const CLOSE: u8 = 8;
/// To be answered by [`PONG`].
pub(crate) const PING: u8 = 9;
/// The answer to [`PING`].
pub(crate) const PONG: u8 = 10;

/// A part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A frame of this opcode begins.
    Start(u8),
    /// A part of its payload.
    Data(&'a [u8]),
    /// It is complete; whether it ends its message.
    End { is_final: bool },
}

/// Takes frames apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoder {
    header: [u8; 10],
    len: usize,
    /// Bytes of the payload still to come, once the header is there.
    left: Option<u64>,
}

impl Decoder {
    /// The next piece of `input`, which moves on past it; `None` when more has to come first.
    ///
    /// # Errors
    /// When a frame is masked or has reserved bits: nothing that was asked for leads to either.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Malformed> {
        if let Some(left) = self.left {
            if left == 0 {
                self.left = None;
                self.len = 0;
                return Ok(Some(Piece::End { is_final: self.header[0] & 0x80 != 0 }));
            }
            if input.is_empty() {
                return Ok(None);
            }
            let taken = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let (data, rest) = input.split_at(taken);
            *input = rest;
            self.left = Some(left - taken as u64);
            return Ok(Some(Piece::Data(data)));
        }
        while self.len < 2 || self.len < self.header_len() {
            let Some((byte, rest)) = input.split_first() else { return Ok(None) };
            self.header[self.len] = *byte;
            self.len += 1;
            *input = rest;
            if self.len == 2 && (self.header[0] & 0x70 != 0 || self.header[1] & 0x80 != 0) {
                return Err(Malformed(format!("a frame that begins {:02x?}", &self.header[..2])));
            }
        }
        self.left = Some(match self.header[1] {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => u64::from_be_bytes(std::array::from_fn(|at| self.header[2 + at])),
            len => u64::from(len),
        });
        Ok(Some(Piece::Start(self.header[0] & 0x0f)))
    }

    fn header_len(&self) -> usize {
        match self.header[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }
}

/// Appends the header of a final frame of `len` bytes. Its mask is zero, which is a mask (RFC 6455 §5.3) under which the
/// payload follows as it is; proxies that a random one protects are not here.
pub(crate) fn header(opcode: u8, len: usize, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..=125), _) => out.push(0x80 | len),
        (_, Ok(len)) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
}

/// Appends a final frame.
pub(crate) fn frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], cut: usize) -> Result<Vec<(u8, Vec<u8>, bool)>, Malformed> {
        let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
        for mut piece in bytes.chunks(cut) {
            while let Some(part) = decoder.next(&mut piece)? {
                match part {
                    Piece::Start(opcode) => frames.push((opcode, Vec::new(), false)),
                    Piece::Data(data) => frames.last_mut().unwrap().1.extend_from_slice(data),
                    Piece::End { is_final } => frames.last_mut().unwrap().2 = is_final,
                }
            }
        }
        Ok(frames)
    }

    /// As a server writes it: the same without mask.
    fn unmasked(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        header(opcode, payload.len(), &mut bytes);
        bytes[1] &= 0x7f;
        bytes.truncate(bytes.len() - 4);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn frames_of_every_length_are_found_wherever_they_are_cut() {
        let mut bytes = Vec::new();
        let lengths = [0, 1, 125, 126, 65_535, 65_536];
        let payload = |len: usize| (0..len).map(|at| at as u8).collect::<Vec<_>>();
        for len in lengths {
            bytes.extend(unmasked(TEXT, &payload(len)));
        }
        bytes.extend(b"\x01\x02ab\x80\x01c\x89\x00");
        let mut expected: Vec<_> = lengths.map(|len| (TEXT, payload(len), true)).to_vec();
        expected.extend([(TEXT, b"ab".to_vec(), false), (0, b"c".to_vec(), true), (PING, vec![], true)]);
        for cut in [1, 2, 3, 7, 100, 1000, bytes.len()] {
            assert_eq!(decode(&bytes, cut).unwrap(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_that_is_masked_or_compressed_is_an_error() {
        assert!(decode(b"\x81\x81\0\0\0\0a", 7).is_err());
        assert!(decode(b"\xc1\x01a", 3).is_err());
    }

    #[test]
    fn a_client_writes_masked_frames() {
        let mut out = Vec::new();
        frame(TEXT, b"40", &mut out);
        assert_eq!(out, b"\x81\x82\0\0\0\x0040");
    }
}
