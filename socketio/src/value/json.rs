//! JSON text with placeholders, beside a list of attachments.
//!
//! A buffer in JSON text reads `{"_placeholder":true,"num":n}`, where `n` is its place in the list. The data model
//! of the protocol cannot tell such an object from one that an application means literally; JavaScript peers replace
//! it wherever they meet it in a binary packet, and so does this module.
//!
//! Specification: Socket.IO protocol 5, "Packet encoding", binary events.

use std::borrow::Cow;
use std::fmt;
use std::io;

use base64::Engine as _;
use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Error;
use serde_json::ser::Formatter;

use super::{Object, Value};

pub(crate) const PLACEHOLDER: &str = "_placeholder";
pub(crate) const NUM: &str = "num";

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

/// Compact JSON, but for bytes.
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

/// Reads JSON. Where there are attachments, placeholders are replaced by them; where there are none, an object that looks like a
/// placeholder is an object.
///
/// # Errors
/// On text that is not JSON, nesting beyond [`MAX_NESTING`](super::MAX_NESTING), a number beyond 64-bit floats, a lone
/// surrogate, and a placeholder whose number names no attachment.
pub(crate) fn parse(json: &str, attachments: &[Bytes]) -> Result<Value, Error> {
    if attachments.is_empty() {
        return serde_json::from_str(json);
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    let value = Fill { attachments }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Fill<'a> {
    attachments: &'a [Bytes],
}

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Object::new();
        while let Some(key) = map.next_key()? {
            members.insert(key, map.next_value_seed(self)?);
        }
        if members.get(PLACEHOLDER) != Some(&Value::Bool(true)) {
            return Ok(Value::Object(members));
        }
        let attachment = match members.get(NUM) {
            Some(Value::Number(number)) => number
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
                .and_then(|number| self.attachments.get(number)),
            _ => None,
        };
        match attachment {
            Some(bytes) => Ok(Value::Binary(bytes.clone())),
            None => Err(A::Error::custom("a placeholder names no attachment")),
        }
    }
}

/// Checks, without building anything, what [`parse`] would check with so many attachments.
pub(crate) fn check(json: &str, attachments: usize) -> Result<(), Error> {
    let mut reader = serde_json::Deserializer::from_str(json);
    Check { attachments }.deserialize(&mut reader)?;
    reader.end()
}

#[derive(Clone, Copy)]
struct Check {
    attachments: usize,
}

/// As much as [`Check`] must know of a member to judge the object around it.
#[derive(Clone, Copy, PartialEq)]
enum Leaf {
    True,
    Number(u64),
    Other,
}

impl<'de> DeserializeSeed<'de> for Check {
    type Value = Leaf;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Leaf, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = Leaf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Leaf, E> {
        Ok(Leaf::Other)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Leaf, E> {
        Ok(if value { Leaf::True } else { Leaf::Other })
    }

    fn visit_i64<E>(self, _: i64) -> Result<Leaf, E> {
        Ok(Leaf::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Leaf, E> {
        Ok(Leaf::Number(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Leaf, E> {
        Ok(Leaf::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Leaf, E> {
        Ok(Leaf::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Leaf, A::Error> {
        while seq.next_element_seed(self)?.is_some() {}
        Ok(Leaf::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Leaf, A::Error> {
        let (mut placeholder, mut num) = (Leaf::Other, Leaf::Other);
        while let Some(key) = map.next_key_seed(KeyKind)? {
            let leaf = map.next_value_seed(self)?;
            match key {
                Key::Placeholder => placeholder = leaf,
                Key::Num => num = leaf,
                Key::Other => {}
            }
        }
        let named = |n: u64| usize::try_from(n).is_ok_and(|n| n < self.attachments);
        match (placeholder, num) {
            (Leaf::True, Leaf::Number(n)) if named(n) => Ok(Leaf::Other),
            (Leaf::True, _) => Err(A::Error::custom("a placeholder names no attachment")),
            _ => Ok(Leaf::Other),
        }
    }
}

enum Key {
    Placeholder,
    Num,
    Other,
}

/// Tells the two keys that matter from the rest.
struct KeyKind;

impl<'de> DeserializeSeed<'de> for KeyKind {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyKind {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            PLACEHOLDER => Key::Placeholder,
            NUM => Key::Num,
            _ => Key::Other,
        })
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

/// The place of the quote that ends the string which `text` begins with.
pub(crate) fn text_end(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    text.len()
}

/// The text that a string's escapes stand for (RFC 8259 §7); of an unpaired surrogate, U+FFFD.
pub(crate) fn unescaped(escaped: &str) -> Cow<'_, str> {
    if !escaped.contains('\\') {
        return escaped.into();
    }
    let mut text = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(kind) = rest.chars().next() else { break };
        rest = &rest[kind.len_utf8()..];
        match kind {
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'u' => {
                let unit = |text: &str| text.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
                let Some(first) = unit(rest) else { continue };
                rest = &rest[4..];
                let second = rest.strip_prefix("\\u").and_then(unit);
                let pair = [first, second.unwrap_or_default()];
                // One unit, or two that belong together.
                let char = match char::decode_utf16(pair).next() {
                    Some(Ok(char)) => char,
                    _ => char::REPLACEMENT_CHARACTER,
                };
                if char.len_utf16() == 2 {
                    rest = &rest[6..];
                }
                text.push(char);
            }
            other => text.push(other),
        }
    }
    text.push_str(rest);
    text.into()
}

/// The string that valid JSON begins with, if it does.
pub(crate) fn lossy_text(json: &str) -> Option<Cow<'_, str>> {
    json.starts_with('"').then(|| unescaped(&json[1..text_end(json).max(1)]))
}
