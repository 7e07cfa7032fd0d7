//! Reads msgpack straight into JSON text and attachments.
//!
//! There is no recursion; lengths are loop counts, and each turn of a loop takes a byte at least, so that work and memory are
//! bounded by the message.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use rmp::Marker;

use crate::socket::text::ParseError;
use crate::time::iso_of_millis;

/// Type of the extensions that `notepack.io` uses for `undefined`, dates and array buffers.
const NOTEPACK: u8 = 0;

pub(super) struct Reader<'a> {
    message: &'a Bytes,
    at: usize,
}

/// One item: a scalar read whole, a container's length, or the place of bytes.
enum Item<'a> {
    Undefined,
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Str(&'a str),
    Bin(Bytes),
    /// Milliseconds since 1970.
    Date(i64),
    Array(u32),
    Map(u32),
}

const fn bad(what: &'static str) -> ParseError {
    ParseError::MsgPack(what)
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a Bytes) -> Self {
        Self { message, at: 0 }
    }

    /// The number of members of a map. Anything else is an error here.
    pub(super) fn map(&mut self) -> Result<u32, ParseError> {
        match self.item()? {
            Item::Map(len) => Ok(len),
            _ => Err(bad("the packet is not a map")),
        }
    }

    pub(super) fn key(&mut self) -> Result<Cow<'a, str>, ParseError> {
        match self.item()? {
            Item::Str(key) => Ok(Cow::Borrowed(key)),
            // JavaScript turns any key into text; of these a number can come from a sane encoder.
            Item::Unsigned(key) => Ok(Cow::Owned(key.to_string())),
            Item::Signed(key) => Ok(Cow::Owned(key.to_string())),
            _ => Err(bad("a key is not a string")),
        }
    }

    pub(super) fn string(&mut self) -> Result<String, ParseError> {
        match self.item()? {
            Item::Str(text) => Ok(text.to_owned()),
            _ => Err(bad("a string is expected")),
        }
    }

    /// A number that is not negative, or nothing (`null`, `undefined`).
    pub(super) fn unsigned(&mut self) -> Result<Option<u64>, ParseError> {
        match self.item()? {
            Item::Unsigned(number) => Ok(Some(number)),
            Item::Signed(number) => Ok(Some(number.try_into().map_err(|_| ParseError::AckId)?)),
            Item::Nil | Item::Undefined => Ok(None),
            _ => Err(bad("a number is expected")),
        }
    }

    /// Any data as JSON text and attachments; `None` for `undefined`.
    pub(super) fn json(&mut self, max_attachments: usize) -> Result<Option<(String, Vec<Bytes>)>, ParseError> {
        let item = self.item()?;
        if matches!(item, Item::Undefined) {
            return Ok(None);
        }
        let mut json = String::new();
        let mut attachments = Vec::new();
        self.write_json(item, &mut json, &mut attachments, max_attachments)?;
        Ok(Some((json, attachments)))
    }

    pub(super) fn skip(&mut self) -> Result<(), ParseError> {
        let mut left = 1_u64;
        while left > 0 {
            left -= 1;
            left += match self.item()? {
                Item::Array(len) => u64::from(len),
                Item::Map(len) => 2 * u64::from(len),
                _ => 0,
            };
        }
        Ok(())
    }

    pub(super) fn end(&self) -> Result<(), ParseError> {
        if self.at == self.message.len() { Ok(()) } else { Err(bad("bytes after the packet")) }
    }

    fn write_json(
        &mut self,
        mut item: Item<'a>,
        json: &mut String,
        attachments: &mut Vec<Bytes>,
        max_attachments: usize,
    ) -> Result<(), ParseError> {
        // The arrays and maps around the item: how much of each is to come, and whether it has keys.
        let mut open: Vec<(u32, bool)> = Vec::new();
        loop {
            match item {
                Item::Nil | Item::Undefined => json.push_str("null"),
                Item::Bool(value) => json.push_str(if value { "true" } else { "false" }),
                Item::Unsigned(number) => display(json, number),
                Item::Signed(number) => display(json, number),
                Item::Float(number) => float(json, number)?,
                Item::Str(text) => string(json, text)?,
                // Out of the range of JavaScript's dates it is null there, too.
                Item::Date(milliseconds) => match iso_of_millis(milliseconds) {
                    Some(date) => string(json, &date)?,
                    None => json.push_str("null"),
                },
                Item::Bin(bytes) => {
                    if attachments.len() == max_attachments {
                        return Err(ParseError::TooManyAttachments(max_attachments));
                    }
                    json.push_str(r#"{"_placeholder":true,"num":"#);
                    display(json, attachments.len());
                    json.push('}');
                    attachments.push(bytes);
                }
                Item::Array(len) => {
                    json.push('[');
                    open.push((len, false));
                }
                Item::Map(len) => {
                    json.push('{');
                    open.push((len, true));
                }
            }
            let has_keys = loop {
                match open.last_mut() {
                    None => return Ok(()),
                    Some((0, has_keys)) => {
                        json.push(if *has_keys { '}' } else { ']' });
                        open.pop();
                    }
                    Some((left, has_keys)) => {
                        *left -= 1;
                        break *has_keys;
                    }
                }
            };
            // No item ends in an opening bracket: that one was written just now.
            if !json.ends_with(['[', '{']) {
                json.push(',');
            }
            if has_keys {
                let key = self.key()?;
                if key == "_placeholder" {
                    // JSON text with attachments cannot express it, and only an attacker sends it.
                    return Err(bad("a placeholder in msgpack"));
                }
                string(json, &key)?;
                json.push(':');
            }
            item = self.item()?;
        }
    }

    fn item(&mut self) -> Result<Item<'a>, ParseError> {
        let [marker] = self.array()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Item::Nil,
            Marker::True => Item::Bool(true),
            Marker::False => Item::Bool(false),
            Marker::FixPos(number) => Item::Unsigned(number.into()),
            Marker::FixNeg(number) => Item::Signed(number.into()),
            Marker::U8 => Item::Unsigned(self.u8()?.into()),
            Marker::U16 => Item::Unsigned(self.u16()?.into()),
            Marker::U32 => Item::Unsigned(self.u32()?.into()),
            Marker::U64 => Item::Unsigned(u64::from_be_bytes(self.array()?)),
            Marker::I8 => Item::Signed(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Item::Signed(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Item::Signed(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Item::Signed(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Item::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Item::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(len) => self.str(len.into())?,
            Marker::Str8 => {
                let len = self.u8()?;
                self.str(len.into())?
            }
            Marker::Str16 => {
                let len = self.u16()?;
                self.str(len.into())?
            }
            Marker::Str32 => {
                let len = self.u32()?;
                self.str(len)?
            }
            Marker::Bin8 => {
                let len = self.u8()?;
                Item::Bin(self.slice(len.into())?)
            }
            Marker::Bin16 => {
                let len = self.u16()?;
                Item::Bin(self.slice(len.into())?)
            }
            Marker::Bin32 => {
                let len = self.u32()?;
                Item::Bin(self.slice(len)?)
            }
            Marker::FixArray(len) => Item::Array(len.into()),
            Marker::Array16 => Item::Array(self.u16()?.into()),
            Marker::Array32 => Item::Array(self.u32()?),
            Marker::FixMap(len) => Item::Map(len.into()),
            Marker::Map16 => Item::Map(self.u16()?.into()),
            Marker::Map32 => Item::Map(self.u32()?),
            Marker::FixExt1 => {
                self.extension()?;
                self.slice(1)?;
                Item::Undefined
            }
            Marker::FixExt8 => {
                self.extension()?;
                Item::Date(i64::from_be_bytes(self.array()?))
            }
            Marker::Ext8 => {
                let len = self.u8()?;
                self.extension()?;
                Item::Bin(self.slice(len.into())?)
            }
            Marker::Ext16 => {
                let len = self.u16()?;
                self.extension()?;
                Item::Bin(self.slice(len.into())?)
            }
            Marker::Ext32 => {
                let len = self.u32()?;
                self.extension()?;
                Item::Bin(self.slice(len)?)
            }
            Marker::FixExt2 | Marker::FixExt4 | Marker::FixExt16 => {
                return Err(bad("unknown extension"));
            }
            Marker::Reserved => return Err(bad("reserved byte")),
        })
    }

    /// Of all extensions only those of the official parser's encoder are known.
    fn extension(&mut self) -> Result<(), ParseError> {
        if self.u8()? == NOTEPACK { Ok(()) } else { Err(bad("unknown extension")) }
    }

    fn str(&mut self, len: u32) -> Result<Item<'a>, ParseError> {
        std::str::from_utf8(self.take(len)?).map(Item::Str).map_err(|_| bad("text is not valid UTF-8"))
    }

    fn u8(&mut self) -> Result<u8, ParseError> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, ParseError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, ParseError> {
        self.array().map(u32::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let message: &'a [u8] = self.message;
        let (taken, _) = message[self.at..].split_first_chunk().ok_or(bad("the message ends too soon"))?;
        self.at += N;
        Ok(*taken)
    }

    fn take(&mut self, len: u32) -> Result<&'a [u8], ParseError> {
        let message: &'a [u8] = self.message;
        let taken = usize::try_from(len)
            .ok()
            .and_then(|len| message[self.at..].get(..len))
            .ok_or(bad("the message ends too soon"))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn slice(&mut self, len: u32) -> Result<Bytes, ParseError> {
        let taken = self.take(len)?;
        Ok(self.message.slice_ref(taken))
    }
}

fn display(json: &mut String, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(json, "{value}");
}

fn string(json: &mut String, text: &str) -> Result<(), ParseError> {
    json.push_str(&serde_json::to_string(text)?);
    Ok(())
}

/// JSON has no infinities and no NaN: they are a number that is out of range, which whoever reads it rejects. With `null`, its sender would not
/// learn that its value was changed.
fn float(json: &mut String, number: f64) -> Result<(), ParseError> {
    if number.is_finite() {
        json.push_str(&serde_json::to_string(&number)?);
    } else {
        json.push_str(if number == f64::NEG_INFINITY { "-1e999" } else { "1e999" });
    }
    Ok(())
}
