//! Values as msgpack, each in its shortest form.

use bytes::Bytes;
use rmp::encode as rmp;

use crate::value::Value;

pub(super) struct Writer {
    out: rmp::buffer::ByteBuf,
}

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: rmp::buffer::ByteBuf::with_capacity(bytes) }
    }

    pub(super) fn finish(self) -> Bytes {
        self.out.into_vec().into()
    }

    pub(super) fn map(&mut self, members: u32) {
        let Ok(_) = rmp::write_map_len(&mut self.out, members);
    }

    pub(super) fn string(&mut self, text: &str) {
        let Ok(()) = rmp::write_str(&mut self.out, text);
    }

    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => {
                let Ok(()) = rmp::write_nil(&mut self.out);
            }
            Value::Bool(value) => {
                let Ok(()) = rmp::write_bool(&mut self.out, *value);
            }
            Value::Number(number) => self.number(number),
            Value::String(text) => self.string(text),
            Value::Binary(bytes) => {
                let Ok(()) = rmp::write_bin(&mut self.out, bytes);
            }
            Value::Array(items) => {
                let Ok(_) = rmp::write_array_len(&mut self.out, length(items.len()));
                for item in items {
                    self.value(item);
                }
            }
            Value::Object(members) => {
                self.map(length(members.len()));
                for (key, value) in members {
                    self.string(key);
                    self.value(value);
                }
            }
        }
    }

    fn number(&mut self, number: &serde_json::Number) {
        if let Some(number) = number.as_u64() {
            let Ok(_) = rmp::write_uint(&mut self.out, number);
        } else if let Some(number) = number.as_i64() {
            let Ok(_) = rmp::write_sint(&mut self.out, number);
        } else {
            let Ok(()) = rmp::write_f64(&mut self.out, number.as_f64().unwrap_or_default());
        }
    }
}

/// Four thousand million members fit no packet.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
