//! Values as msgpack, as the encoder of Node's adapter (notepack.io) writes them, in all versions in use.
//!
//! Lengths are trusted only as far as there are bytes, the depth is bounded, and so is the [number of values](Budget), since a single byte
//! can be one. The size of a message and its number of values therefore bound its memory.

use bytes::Bytes;
use rmp::{Marker, encode as rmp_out, encode::buffer::ByteBuf};
use socketio::{
    Value,
    value::{MAX_NESTING, Object},
};

use super::{Budget, WireError};

/// Maximum nesting of a packet's data, within the message and the packet.
const MAX_DEPTH: usize = MAX_NESTING + 2;
/// Extension type of old encoders, for `undefined`, dates and array buffers.
const OLD: i8 = 0;
/// Extension type of the specification, for timestamps.
const TIMESTAMP: i8 = -1;

/// Writes a value, each part in its shortest encoding.
pub(crate) fn write(out: &mut ByteBuf, value: &Value) {
    // Writing to memory cannot fail, but the types have errors.
    match value {
        Value::Null => {
            let Ok(()) = rmp_out::write_nil(out);
        }
        Value::Bool(value) => {
            let Ok(()) = rmp_out::write_bool(out, *value);
        }
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_str(out, text),
        Value::Binary(bytes) => {
            let Ok(()) = rmp_out::write_bin(out, bytes);
        }
        Value::Array(items) => {
            write_array(out, items.len());
            items.iter().for_each(|item| write(out, item));
        }
        Value::Object(members) => {
            write_map(out, members.len());
            for (key, value) in members {
                write_str(out, key);
                write(out, value);
            }
        }
    }
}

pub(crate) fn write_str(out: &mut ByteBuf, text: &str) {
    let Ok(()) = rmp_out::write_str(out, text);
}

pub(crate) fn write_uint(out: &mut ByteBuf, number: u64) {
    let Ok(_) = rmp_out::write_uint(out, number);
}

pub(crate) fn write_array(out: &mut ByteBuf, len: usize) {
    let Ok(_) = rmp_out::write_array_len(out, length(len));
}

pub(crate) fn write_map(out: &mut ByteBuf, len: usize) {
    let Ok(_) = rmp_out::write_map_len(out, length(len));
}

/// Four thousand million members fit no message.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn write_number(out: &mut ByteBuf, number: &serde_json::Number) {
    if let Some(number) = number.as_u64() {
        write_uint(out, number);
    } else if let Some(number) = number.as_i64() {
        let Ok(_) = rmp_out::write_sint(out, number);
    } else {
        let Ok(()) = rmp_out::write_f64(out, number.as_f64().unwrap_or_default());
    }
}

/// Reads a message: exactly one value.
///
/// `undefined` becomes null; times become ISO 8601 text, as in JSON.
pub(crate) fn read(message: &[u8], budget: Budget) -> Result<Value, WireError> {
    let mut reader = Reader { rest: message, budget, has_binary: false, has_placeholder: false };
    let value = reader.value(0)?;
    if !reader.rest.is_empty() {
        return Err(WireError::Msgpack("bytes after the message"));
    }
    // JSON text with attachments, the form that most clients get, cannot express both.
    if reader.has_binary && reader.has_placeholder {
        return Err(WireError::Msgpack("binary data and what looks like a placeholder for it"));
    }
    Ok(value)
}

struct Reader<'a> {
    rest: &'a [u8],
    budget: Budget,
    has_binary: bool,
    has_placeholder: bool,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, WireError> {
        self.budget.value()?;
        let [marker] = self.array()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Value::Null,
            Marker::True => true.into(),
            Marker::False => false.into(),
            Marker::FixPos(number) => u64::from(number).into(),
            Marker::FixNeg(number) => i64::from(number).into(),
            Marker::U8 => u64::from(u8::from_be_bytes(self.array()?)).into(),
            Marker::U16 => u64::from(u16::from_be_bytes(self.array()?)).into(),
            Marker::U32 => u64::from(u32::from_be_bytes(self.array()?)).into(),
            Marker::U64 => u64::from_be_bytes(self.array()?).into(),
            Marker::I8 => i64::from(i8::from_be_bytes(self.array()?)).into(),
            Marker::I16 => i64::from(i16::from_be_bytes(self.array()?)).into(),
            Marker::I32 => i64::from(i32::from_be_bytes(self.array()?)).into(),
            Marker::I64 => i64::from_be_bytes(self.array()?).into(),
            Marker::F32 => f64::from(f32::from_be_bytes(self.array()?)).into(),
            Marker::F64 => f64::from_be_bytes(self.array()?).into(),
            Marker::FixStr(len) => self.text(len.into())?.into(),
            Marker::Str8 => {
                let len = self.len8()?;
                self.text(len)?.into()
            }
            Marker::Str16 => {
                let len = self.len16()?;
                self.text(len)?.into()
            }
            Marker::Str32 => {
                let len = self.len32()?;
                self.text(len)?.into()
            }
            Marker::Bin8 => {
                let len = self.len8()?;
                self.binary(len)?
            }
            Marker::Bin16 => {
                let len = self.len16()?;
                self.binary(len)?
            }
            Marker::Bin32 => {
                let len = self.len32()?;
                self.binary(len)?
            }
            Marker::FixArray(len) => self.items(len.into(), depth)?,
            Marker::Array16 => {
                let len = self.len16()?;
                self.items(len, depth)?
            }
            Marker::Array32 => {
                let len = self.len32()?;
                self.items(len, depth)?
            }
            Marker::FixMap(len) => self.members(len.into(), depth)?,
            Marker::Map16 => {
                let len = self.len16()?;
                self.members(len, depth)?
            }
            Marker::Map32 => {
                let len = self.len32()?;
                self.members(len, depth)?
            }
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => {
                let len = self.len8()?;
                self.extension(len)?
            }
            Marker::Ext16 => {
                let len = self.len16()?;
                self.extension(len)?
            }
            Marker::Ext32 => {
                let len = self.len32()?;
                self.extension(len)?
            }
            Marker::Reserved => return Err(WireError::Msgpack("a reserved byte")),
        })
    }

    fn items(&mut self, len: usize, depth: usize) -> Result<Value, WireError> {
        if depth == MAX_DEPTH {
            return Err(WireError::Nesting);
        }
        if len > 0 {
            self.budget.container()?;
        }
        // Each item takes at least one byte.
        let mut items = Vec::with_capacity(len.min(self.rest.len()).min(64));
        for _ in 0..len {
            items.push(self.value(depth + 1)?);
        }
        Ok(Value::Array(items))
    }

    fn members(&mut self, len: usize, depth: usize) -> Result<Value, WireError> {
        if depth == MAX_DEPTH {
            return Err(WireError::Nesting);
        }
        if len > 0 {
            self.budget.container()?;
        }
        let mut members = Object::new();
        for _ in 0..len {
            let key = match self.value(MAX_DEPTH)? {
                Value::String(key) => key,
                Value::Number(number) => number.to_string(),
                _ => return Err(WireError::Msgpack("a key that is not a string")),
            };
            self.has_placeholder |= key == "_placeholder";
            let value = self.value(depth + 1)?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }

    fn extension(&mut self, len: usize) -> Result<Value, WireError> {
        let [kind] = self.array()?;
        let kind = i8::from_be_bytes([kind]);
        let data = self.take(len)?;
        Ok(match (kind, data) {
            (OLD, [_]) => Value::Null,
            (OLD, &[a, b, c, d, e, f, g, h]) => date(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
            (OLD, bytes) => {
                self.has_binary = true;
                Bytes::copy_from_slice(bytes).into()
            }
            (TIMESTAMP, &[a, b, c, d]) => time(i64::from(u32::from_be_bytes([a, b, c, d])), 0),
            (TIMESTAMP, &[a, b, c, d, e, f, g, h]) => {
                let both = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                // 30 bits of nanoseconds before 34 of seconds.
                time(i64::try_from(both & 0x3_ffff_ffff).unwrap_or_default(), both >> 34)
            }
            (TIMESTAMP, &[a, b, c, d, e, f, g, h, i, j, k, l]) => {
                let nanoseconds = u32::from_be_bytes([a, b, c, d]);
                time(i64::from_be_bytes([e, f, g, h, i, j, k, l]), nanoseconds.into())
            }
            _ => return Err(WireError::Msgpack("an unknown extension")),
        })
    }

    fn binary(&mut self, len: usize) -> Result<Value, WireError> {
        self.has_binary = true;
        Ok(Bytes::copy_from_slice(self.take(len)?).into())
    }

    fn text(&mut self, len: usize) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.take(len)?).map_err(|_| WireError::Msgpack("text that is not UTF-8"))
    }

    fn len8(&mut self) -> Result<usize, WireError> {
        self.array().map(|bytes| u8::from_be_bytes(bytes).into())
    }

    fn len16(&mut self) -> Result<usize, WireError> {
        self.array().map(|bytes| u16::from_be_bytes(bytes).into())
    }

    fn len32(&mut self) -> Result<usize, WireError> {
        usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| WireError::CutOff)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(WireError::CutOff)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(WireError::CutOff)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn time(seconds: i64, nanoseconds: u64) -> Value {
    let milliseconds = i64::try_from(nanoseconds / 1_000_000).unwrap_or_default();
    date(seconds.saturating_mul(1_000).saturating_add(milliseconds))
}

/// A `Date`, as JSON represents it.
fn date(milliseconds: i64) -> Value {
    match socketio::iso_date_of_millis(milliseconds) {
        Some(text) => text.into(),
        None => Value::Null,
    }
}
