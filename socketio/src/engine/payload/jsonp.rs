//! Polling through `<script>` and `<form>`, for pages without CORS support (Engine.IO's JSONP, query parameter `j`).
//!
//! An answer, a text payload of either protocol, is wrapped into a function call ([`wrap`]). A POST is a form whose field `d` contains the
//! payload ([`unwrap`](fn@unwrap)). The answer's type is `text/javascript; charset=UTF-8`.

use std::borrow::Cow;

use bytes::Bytes;

use crate::engine::packet::DecodeError;

/// `___eio[<j>]("<payload>");`. Of the client's `j` only the digits are taken: it is written into a script.
pub fn wrap(j: &str, payload: &str) -> String {
    let mut out = String::with_capacity(payload.len() + payload.len() / 8 + 24);
    out.push_str("___eio[");
    out.extend(j.chars().filter(char::is_ascii_digit));
    out.push_str("](\"");
    for character in payload.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Legal in JSON, but line ends in scripts older than ECMAScript 2019.
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            control if control < ' ' => {
                out.push_str("\\u00");
                for nibble in [control as u32 >> 4, control as u32 & 0xf] {
                    out.extend(char::from_digit(nibble, 16));
                }
            }
            other => out.push(other),
        }
    }
    out.push_str("\");");
    out
}

/// The payload in the field `d` of a form (`application/x-www-form-urlencoded`).
///
/// A form turns line feeds into CR LF, so clients send a line feed as backslash `n`, and a backslash `n` of the
/// payload's own with a second backslash before it; both are undone here.
pub fn unwrap(form: &[u8]) -> Result<Bytes, DecodeError> {
    let value =
        form.split(|&byte| byte == b'&').find_map(|field| field.strip_prefix(b"d=")).ok_or(DecodeError::NoData)?;
    let decoded = percent_decode(value);
    let text = std::str::from_utf8(&decoded).map_err(|_| DecodeError::Utf8)?;
    Ok(unescape_newlines(text).into_owned().into())
}

fn percent_decode(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', &[high, low, ref tail @ ..]) => match (nibble(high), nibble(low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = tail;
                }
                // A `%` without two hexadecimal digits is kept as it is, as in browsers and Node.
                _ => out.push(byte),
            },
            _ => out.push(byte),
        }
    }
    out
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok())
}

fn unescape_newlines(text: &str) -> Cow<'_, str> {
    if !text.contains("\\n") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\n") {
        match rest[..at].strip_suffix('\\') {
            Some(before) => {
                out.push_str(before);
                out.push_str("\\n");
            }
            None => {
                out.push_str(&rest[..at]);
                out.push('\n');
            }
        }
        rest = &rest[at + 2..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
