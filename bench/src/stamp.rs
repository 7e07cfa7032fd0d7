//! What every message carries: a number and a clock, found again in whatever a transport wraps around it.
//!
//! A stamp is plain ASCII that neither JSON nor an event stream escapes, between two `~`, which none of our transports
//! writes of itself. So one scanner serves them all: it looks at the bytes of a message body, wherever reads and frames
//! cut them, and needs no parser of JSON.

use memchr::memchr;

/// Bytes of a stamp on the wire: `~`, 16 hexadecimal digits each of number and clock, `~`.
pub(crate) const LEN: usize = 34;

/// The number of a message and when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// From 0 on, over all channels.
    pub(crate) seq: u64,
    /// Nanoseconds of this process's own clock.
    pub(crate) nanos: u64,
}

impl Stamp {
    /// Writes the stamp, and padding up to `size` bytes in all.
    pub(crate) fn write(self, size: usize, out: &mut Vec<u8>) {
        let end = out.len() + size.max(LEN);
        out.push(b'~');
        hex(self.seq, out);
        hex(self.nanos, out);
        out.push(b'~');
        out.resize(end, b'x');
    }

    fn read(bytes: &[u8; LEN]) -> Option<Self> {
        if bytes[LEN - 1] != b'~' {
            return None;
        }
        Some(Self { seq: unhex(&bytes[1..17])?, nanos: unhex(&bytes[17..33])? })
    }
}

fn hex(number: u64, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend((0..16).rev().map(|at| DIGITS[(number >> (4 * at)) as usize & 15]));
}

fn unhex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

/// Finds stamps in a stream of bytes. Stores at most one incomplete stamp between two calls.
#[derive(Clone, Debug)]
pub(crate) struct Scanner {
    held: [u8; LEN],
    len: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { held: [0; LEN], len: 0 }
    }
}

impl Scanner {
    /// Calls `heard` for each stamp that `bytes` contains or completes.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], heard: &mut dyn FnMut(Stamp)) {
        while !bytes.is_empty() {
            if self.len == 0 {
                let Some(at) = memchr(b'~', bytes) else { return };
                bytes = &bytes[at..];
                if let Some(whole) = bytes.first_chunk::<LEN>() {
                    bytes = match Stamp::read(whole) {
                        Some(stamp) => {
                            heard(stamp);
                            &bytes[LEN..]
                        }
                        // A `~` of somebody else's.
                        None => &bytes[1..],
                    };
                    continue;
                }
            }
            let taken = bytes.len().min(LEN - self.len);
            self.held[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
            self.len += taken;
            bytes = &bytes[taken..];
            if self.len == LEN {
                self.len = 0;
                match Stamp::read(&self.held) {
                    Some(stamp) => heard(stamp),
                    None => {
                        // The stored bytes may contain another beginning after their first byte.
                        let held = self.held;
                        self.feed(&held[1..], heard);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Stamp> {
        let (mut scanner, mut found) = (Scanner::default(), Vec::new());
        pieces.into_iter().for_each(|piece| scanner.feed(piece, &mut |stamp| found.push(stamp)));
        found
    }

    #[test]
    fn a_message_has_the_size_that_was_asked_for() {
        for (size, expected) in [(0, LEN), (LEN, LEN), (128, 128)] {
            let mut out = b"before".to_vec();
            Stamp { seq: 1, nanos: 2 }.write(size, &mut out);
            assert_eq!(out.len(), expected + 6);
        }
    }

    #[test]
    fn text_that_looks_like_a_stamp_is_skipped() {
        let mut text = b"~~~not a stamp at all, but long enough to be one~".to_vec();
        Stamp { seq: 7, nanos: 9 }.write(0, &mut text);
        text.extend(b"~0123");
        assert_eq!(scan([&text[..]]), [Stamp { seq: 7, nanos: 9 }]);
        assert_eq!(scan(text.chunks(1)), [Stamp { seq: 7, nanos: 9 }]);
    }

    proptest! {
        #[test]
        fn stamps_are_found_wherever_they_are_cut(
            stamps in prop::collection::vec((any::<u64>(), any::<u64>(), 0_usize..200), 0..20),
            noise in "[a-z~{}:\",0-9]{0,80}",
            cut in 1_usize..300,
        ) {
            let mut text = Vec::new();
            for (seq, nanos, size) in &stamps {
                text.extend(noise.as_bytes());
                text.push(b'"');
                Stamp { seq: *seq, nanos: *nanos }.write(*size, &mut text);
                text.push(b'"');
            }
            let expected: Vec<_> = stamps.iter().map(|(seq, nanos, _)| Stamp { seq: *seq, nanos: *nanos }).collect();
            prop_assert_eq!(scan([&text[..]]), expected.clone());
            prop_assert_eq!(scan(text.chunks(cut)), expected);
        }
    }
}
