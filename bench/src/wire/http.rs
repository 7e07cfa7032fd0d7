//! HTTP/1.1 responses (RFC 9112), as they come over a connection one after the other.

use memchr::memchr;

use super::Malformed;

/// Bytes of the longest head that is read.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// A part of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// The status. After 101 the bytes that follow are no longer HTTP, and no other piece comes.
    Head(u16),
    /// A part of the body, without its framing.
    Body(&'a [u8]),
    /// The response is complete; the next one may follow.
    End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Length(u64),
    ChunkSize {
        size: u64,
        is_digits: bool,
    },
    Chunk(u64),
    /// The line end behind a chunk: bytes of it still to come.
    ChunkEnd(u8),
    /// Lines behind the last chunk; whether the present one has something on it.
    Trailer(bool),
    ToEnd,
}

/// Takes responses apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoder {
    state: State,
    /// An incomplete head.
    head: Vec<u8>,
    /// The last complete head, for who looks at its lines.
    kept: Option<Vec<u8>>,
}

impl Decoder {
    /// One that keeps the last head for [`field`](Self::field).
    pub(crate) fn keeping() -> Self {
        Self { kept: Some(Vec::new()), ..Self::default() }
    }

    /// The value of the last head's field `name`, if it is kept.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(self.kept.as_deref()?).ok()?;
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = fields.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value.trim_ascii())
    }

    /// The next piece of `input`, which moves on past it; `None` when more has to come first.
    ///
    /// # Errors
    /// When this is no HTTP, or a head of no end.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Malformed> {
        loop {
            if input.is_empty() && self.state != State::Length(0) {
                return Ok(None);
            }
            match self.state {
                State::Head => return self.head(input),
                State::Length(0) => {
                    self.state = State::Head;
                    return Ok(Some(Piece::End));
                }
                State::Length(left) => {
                    let body = take(input, left);
                    self.state = State::Length(left - body.len() as u64);
                    return Ok(Some(Piece::Body(body)));
                }
                State::Chunk(left) => {
                    let body = take(input, left);
                    let left = left - body.len() as u64;
                    self.state = if left == 0 { State::ChunkEnd(2) } else { State::Chunk(left) };
                    return Ok(Some(Piece::Body(body)));
                }
                State::ToEnd => return Ok(Some(Piece::Body(std::mem::take(input)))),
                _ => {
                    let byte = input[0];
                    *input = &input[1..];
                    if self.between(byte)? {
                        return Ok(Some(Piece::End));
                    }
                }
            }
        }
    }

    /// One byte of a chunk's framing; whether it was the last of the response.
    fn between(&mut self, byte: u8) -> Result<bool, Malformed> {
        self.state = match (self.state, byte) {
            (State::ChunkSize { size: 0, .. }, b'\n') => State::Trailer(false),
            (State::ChunkSize { size, .. }, b'\n') => State::Chunk(size),
            (State::ChunkSize { size, is_digits: true }, digit) if digit.is_ascii_hexdigit() => {
                let value = char::from(digit).to_digit(16).unwrap_or_default();
                let size = size.checked_mul(16).ok_or_else(|| Malformed("a chunk without end".into()))?;
                State::ChunkSize { size: size + u64::from(value), is_digits: true }
            }
            (State::ChunkSize { size, is_digits: true }, b';' | b'\r' | b' ') => {
                State::ChunkSize { size, is_digits: false }
            }
            (state @ State::ChunkSize { is_digits: false, .. }, _) => state,
            (State::ChunkEnd(2), b'\r') => State::ChunkEnd(1),
            (State::ChunkEnd(1), b'\n') => State::ChunkSize { size: 0, is_digits: true },
            (State::Trailer(false), b'\n') => {
                self.state = State::Head;
                return Ok(true);
            }
            (State::Trailer(_), b'\n') => State::Trailer(false),
            (state @ State::Trailer(_), b'\r') => state,
            (State::Trailer(_), _) => State::Trailer(true),
            _ => return Err(Malformed(format!("byte {byte:#04x} in a chunk's framing"))),
        };
        Ok(false)
    }

    fn head<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Malformed> {
        // Mostly a head comes in one piece and is read where it lies.
        if self.head.is_empty()
            && let Some(len) = head_len(input)
        {
            let (head, rest) = input.split_at(len);
            *input = rest;
            return self.begin(head).map(Some);
        }
        // Otherwise up to the next line end at a time, so that nothing of the body is taken for the head.
        let taken = memchr(b'\n', input).map_or(input.len(), |at| at + 1);
        self.head.extend_from_slice(take(input, taken as u64));
        if self.head.len() > MAX_HEAD_BYTES {
            return Err(Malformed("a head without end".into()));
        }
        if !self.head.ends_with(b"\r\n\r\n") {
            return if input.is_empty() { Ok(None) } else { self.head(input) };
        }
        let head = std::mem::take(&mut self.head);
        self.begin(&head).map(Some)
    }

    fn begin(&mut self, head: &[u8]) -> Result<Piece<'static>, Malformed> {
        let bad = || Malformed(format!("no HTTP head: {:?}", String::from_utf8_lossy(&head[..head.len().min(60)])));
        let digits = head.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)).ok_or_else(bad)?;
        let status = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or_else(bad)?;
        if let Some(kept) = &mut self.kept {
            kept.clear();
            kept.extend_from_slice(head);
        }
        let mut state = State::ToEnd;
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            let Some(colon) = memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                let value = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                state = State::Length(value.ok_or_else(bad)?);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") && value.eq_ignore_ascii_case(b"chunked") {
                state = State::ChunkSize { size: 0, is_digits: true };
            }
        }
        self.state = match status {
            // Of 100 the real head follows; of 101 the caller takes the rest.
            100..=199 => State::Head,
            204 | 304 => State::Length(0),
            _ => state,
        };
        Ok(Piece::Head(status))
    }
}

/// Bytes of the head that `input` begins with, if all of it is there.
fn head_len(input: &[u8]) -> Option<usize> {
    memchr::memmem::find(input, b"\r\n\r\n").map(|at| at + 4)
}

fn take<'a>(input: &mut &'a [u8], most: u64) -> &'a [u8] {
    let len = input.len().min(usize::try_from(most).unwrap_or(usize::MAX));
    let (taken, rest) = input.split_at(len);
    *input = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Response {
        status: u16,
        body: String,
        is_complete: bool,
    }

    fn decode(text: &str, cut: usize) -> Result<Vec<Response>, Malformed> {
        let (mut decoder, mut responses) = (Decoder::default(), Vec::<Response>::new());
        for mut piece in text.as_bytes().chunks(cut) {
            while let Some(part) = decoder.next(&mut piece)? {
                match part {
                    Piece::Head(status) => responses.push(Response { status, ..Response::default() }),
                    Piece::Body(body) => responses.last_mut().unwrap().body += std::str::from_utf8(body).unwrap(),
                    Piece::End => responses.last_mut().unwrap().is_complete = true,
                }
            }
        }
        Ok(responses)
    }

    #[test]
    fn responses_are_found_wherever_they_are_cut() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: 1\r\n\r\nhello\
                    HTTP/1.1 204 No Content\r\n\r\n\
                    HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n\
                    HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n\
                    HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    3\r\nabc\r\n1f;a=\"b\"\r\n0123456789012345678901234567890\r\n0\r\nx: y\r\n\r\n\
                    HTTP/1.1 503 No\r\n\r\nto the end";
        let whole = |status, body: &str| Response { status, body: body.into(), is_complete: true };
        for cut in 1..=text.len() {
            let expected = [
                whole(200, "hello"),
                whole(204, ""),
                whole(304, ""),
                whole(201, ""),
                whole(200, "abc0123456789012345678901234567890"),
                Response { status: 503, body: "to the end".into(), is_complete: false },
            ];
            assert_eq!(decode(text, cut).unwrap(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn fields_are_found_in_a_head_that_is_kept() {
        let head = "HTTP/1.1 200 OK\r\nEtag: 7\r\nContent-Length: 0\r\n\r\n";
        let (mut keeping, mut other) = (Decoder::keeping(), Decoder::default());
        for decoder in [&mut keeping, &mut other] {
            assert_eq!(decoder.next(&mut head.as_bytes()), Ok(Some(Piece::Head(200))));
        }
        assert_eq!((keeping.field("etag"), keeping.field("x"), other.field("etag")), (Some("7"), None, None));
    }

    #[test]
    fn bytes_after_an_upgrade_are_left_to_the_caller() {
        let mut input = &b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x01x"[..];
        assert_eq!(Decoder::default().next(&mut input), Ok(Some(Piece::Head(101))));
        assert_eq!(input, b"\x81\x01x");
    }

    #[test]
    fn invalid_http_is_an_error() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        ] {
            assert!(decode(text, text.len()).is_err(), "{text:?}");
        }
        assert!(decode(&"x".repeat(MAX_HEAD_BYTES + 1), 1000).is_err());
    }
}
