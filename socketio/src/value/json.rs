//! JSON text with placeholders, beside a list of attachments.
//!
//! A buffer in JSON text is written `{"_placeholder":true,"num":n}`, where `n` is its index in the list of attachments. The protocol cannot
//! distinguish a placeholder from an application's object that looks the same. JavaScript peers replace every such object in a binary
//! packet, and so does this module. No two placeholders may name the same attachment: official encoders never write that, although their
//! parsers accept it.
//!
//! Specification: Socket.IO protocol 5, "Packet encoding", binary events.

use std::borrow::Cow;
use std::cell::Cell;
use std::io;

use base64::Engine as _;
use bytes::Bytes;
use serde::Serialize;
use serde::de::{Error as _, IgnoredAny};
use serde_json::Error;
use serde_json::ser::Formatter;

use super::Value;
use super::tokens::{Candidate, Kind, NUM, PLACEHOLDER, Token, Tokens, text_end, unescaped};

pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Writes `data` as JSON, its bytes moved to the list.
pub(crate) fn write<T: Serialize + ?Sized>(data: &T) -> Result<(String, Vec<Bytes>), Error> {
    let mut json = Vec::with_capacity(64);
    let mut attachments = Vec::new();
    write_to(&mut json, &mut attachments, data)?;
    Ok((into_string(json)?, attachments))
}

/// The same, behind what is already there.
pub(crate) fn write_to<T: Serialize + ?Sized>(
    json: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
    data: &T,
) -> Result<(), Error> {
    data.serialize(&mut serde_json::Serializer::with_formatter(json, Placeholders { attachments }))
}

pub(crate) fn into_string(json: Vec<u8>) -> Result<String, Error> {
    // Cannot fail: serde_json writes UTF-8. Checking is cheap beside writing it.
    String::from_utf8(json).map_err(|_| Error::custom("JSON that is not UTF-8"))
}

/// Compact JSON; bytes are written as placeholders.
struct Placeholders<'a> {
    attachments: &'a mut Vec<Bytes>,
}

impl Formatter for Placeholders<'_> {
    fn write_byte_array<W>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        write!(writer, r#"{{"{PLACEHOLDER}":true,"{NUM}":{}}}"#, self.attachments.len())?;
        self.attachments.push(Bytes::copy_from_slice(value));
        Ok(())
    }
}

/// Parses JSON. With attachments, placeholders are replaced by them. Without, an object that looks like a placeholder stays an object.
///
/// # Errors
/// On text that is not JSON, nesting beyond [`MAX_NESTING`](super::MAX_NESTING), a number beyond 64-bit floats, a lone
/// surrogate, and a placeholder that names no attachment or one that has a placeholder already.
pub(crate) fn parse(json: &str, attachments: &[Bytes]) -> Result<Value, Error> {
    if attachments.is_empty() {
        return serde_json::from_str(json);
    }
    let mut value = serde_json::from_str(json)?;
    fill(&mut value, attachments, &vec![Cell::new(false); attachments.len()])?;
    Ok(value)
}

/// Replaces the placeholders in `value`, innermost first, by the attachments that they name.
fn fill(value: &mut Value, attachments: &[Bytes], named: &[Cell<bool>]) -> Result<(), Error> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill(item, attachments, named)),
        Value::Object(members) => {
            members.values_mut().try_for_each(|member| fill(member, attachments, named))?;
            if members.get(PLACEHOLDER) == Some(&Value::Bool(true)) {
                let number = match members.get(NUM) {
                    Some(Value::Number(number)) => number.as_u64().and_then(|number| usize::try_from(number).ok()),
                    _ => None,
                };
                *value = Value::Binary(attachments[name(named, number)?].clone());
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Checks at any depth, without building a value, that `json` is valid JSON and that each of its placeholders names a different one of the
/// attachments. [`parse`] rejects more; that is left to the reader of the data.
pub(crate) fn check(json: &str, attachments: usize) -> Result<(), Error> {
    serde_json::from_str::<IgnoredAny>(json)?;
    let named = vec![Cell::new(false); attachments];
    let mut open: Vec<Option<Candidate>> = Vec::new();
    for token in Tokens::new(json) {
        if let Token::Close = token {
            if let Some(Some(closed)) = open.pop()
                && closed.is_placeholder()
            {
                name(&named, closed.attachment())?;
            }
            continue;
        }
        if let Some(Some(object)) = open.last_mut() {
            object.take(token);
        }
        if let Token::Open(kind) = token {
            open.push((kind == Kind::Object).then(Candidate::new));
        }
    }
    Ok(())
}

/// Marks the attachment that a placeholder names. If many placeholders could name the same one, the data of a small packet would be
/// many times as large as the packet.
fn name(named: &[Cell<bool>], number: Option<usize>) -> Result<usize, Error> {
    match number.and_then(|number| Some((number, named.get(number)?))) {
        None => Err(Error::custom("a placeholder refers to no attachment")),
        Some((_, seen)) if seen.replace(true) => Err(Error::custom("two placeholders refer to the same attachment")),
        Some((number, _)) => Ok(number),
    }
}

/// Whether arrays and objects nest no deeper than [`MAX_NESTING`](super::MAX_NESTING). Looks at brackets
/// only; that the text is JSON is for others to check.
pub(crate) fn is_shallow(json: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > super::MAX_NESTING {
            return false;
        }
    }
    true
}

/// The string that valid JSON begins with, if it does.
pub(crate) fn lossy_text(json: &str) -> Option<Cow<'_, str>> {
    json.starts_with('"').then(|| unescaped(&json[1..text_end(json).max(1)]))
}
