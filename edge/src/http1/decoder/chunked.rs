//! The chunked transfer coding, strictly as in RFC 9112 §7.1.
//!
//! If two parsers find the end of a body at different positions, a request can be hidden from one of them (request smuggling). Therefore
//! lines have to end with CRLF, extensions and trailer fields have to be well formed, and all of them together are bounded.

use bytes::{Buf as _, BytesMut};

use super::{BrokenBody, Part, take};

/// Maximum length of a line in bytes.
const MAX_LINE: usize = 4 * 1024;
/// Maximum size in bytes of all extensions and trailer fields of one body.
const MAX_EXTRA: usize = 8 * 1024;
/// Maximum number of digits of a size.
const MAX_DIGITS: usize = 16;

/// The state of a chunked body.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    next: Next,
    /// The size of extensions and trailer fields so far.
    extra: usize,
}

#[derive(Debug, Default)]
enum Next {
    #[default]
    Size,
    /// The number of remaining bytes of this chunk.
    Data(u64),
    /// The line end after the data of a chunk.
    DataEnd,
    /// A trailer field, or the empty line that ends the body.
    Trailer,
}

impl Chunked {
    /// See [`Decoder::read_body`](super::Decoder::read_body).
    pub(super) fn read(&mut self, inbox: &mut BytesMut) -> Result<Option<Part>, BrokenBody> {
        loop {
            match self.next {
                Next::Size => {
                    let Some(line) = line(inbox)? else { return Ok(None) };
                    let (size, extension) = size(&inbox[..line]).ok_or(BrokenBody)?;
                    self.count(extension)?;
                    inbox.advance(line + 2);
                    self.next = if size == 0 { Next::Trailer } else { Next::Data(size) };
                }
                Next::Data(left) => {
                    let data = take(inbox, left);
                    if data.is_empty() {
                        return Ok(None);
                    }
                    let left = left - data.len() as u64;
                    self.next = if left == 0 { Next::DataEnd } else { Next::Data(left) };
                    return Ok(Some(Part::Data(data)));
                }
                Next::DataEnd => match inbox[..] {
                    [b'\r', b'\n', ..] => {
                        inbox.advance(2);
                        self.next = Next::Size;
                    }
                    [] | [b'\r'] => return Ok(None),
                    _ => return Err(BrokenBody),
                },
                Next::Trailer => {
                    let Some(line) = line(inbox)? else { return Ok(None) };
                    if line > 0 && !is_field(&inbox[..line]) {
                        return Err(BrokenBody);
                    }
                    self.count(line)?;
                    inbox.advance(line + 2);
                    if line == 0 {
                        return Ok(Some(Part::End));
                    }
                }
            }
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), BrokenBody> {
        self.extra += bytes;
        if self.extra > MAX_EXTRA { Err(BrokenBody) } else { Ok(()) }
    }
}

/// The length of the line at the beginning of `inbox`, without its CRLF; `None` if it is incomplete.
fn line(inbox: &[u8]) -> Result<Option<usize>, BrokenBody> {
    match memchr::memchr(b'\n', inbox) {
        Some(end @ 1..=MAX_LINE) if inbox[end - 1] == b'\r' => Ok(Some(end - 1)),
        None if inbox.len() <= MAX_LINE => Ok(None),
        _ => Err(BrokenBody),
    }
}

/// The size in a line, and the length of its extensions: `chunk-size [ chunk-ext ]`.
fn size(line: &[u8]) -> Option<(u64, usize)> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extensions) = line.split_at(digits);
    if !(1..=MAX_DIGITS).contains(&digits) || !are_extensions(extensions) {
        return None;
    }
    let size = u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
    Some((size, extensions.len()))
}

/// `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )` (RFC 9112 §7.1.1).
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(after) = trimmed(rest).strip_prefix(b";") else { return false };
        let Some(after) = after_token(trimmed(after)) else { return false };
        rest = after;
        if let Some(after) = trimmed(after).strip_prefix(b"=") {
            let value = trimmed(after);
            match after_token(value).or_else(|| after_quoted(value)) {
                Some(after) => rest = after,
                None => return false,
            }
        }
    }
    true
}

/// Without white space at its beginning.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let space = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &bytes[space..]
}

/// The rest after the token at the beginning (RFC 9110 §5.6.2).
fn after_token(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.iter().take_while(|byte| is_token(**byte)).count();
    (length > 0).then(|| &bytes[length..])
}

/// The rest after the quoted string at the beginning (RFC 9110 §5.6.4).
fn after_quoted(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', quoted, after @ ..] if is_text(*quoted) => after,
            [b'\\', ..] => return None,
            [byte, after @ ..] if is_text(*byte) => after,
            _ => return None,
        };
    }
}

/// `field-name ":" OWS field-value OWS` (RFC 9112 §5).
fn is_field(line: &[u8]) -> bool {
    let value = after_token(line).and_then(|rest| rest.strip_prefix(b":"));
    value.is_some_and(|value| value.iter().copied().all(is_text))
}

/// A valid character of a field's value or a quoted string: not a control character.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn is_token(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'z' | b'|' | b'~')
        || byte.is_ascii_alphanumeric()
}
