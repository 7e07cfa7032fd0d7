//! The items of msgpack, each in its shortest form.

use bytes::Bytes;
use rmp::encode as rmp;

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

    pub(super) fn array(&mut self, items: u32) {
        let Ok(_) = rmp::write_array_len(&mut self.out, items);
    }

    pub(super) fn binary(&mut self, bytes: &[u8]) {
        let Ok(()) = rmp::write_bin(&mut self.out, bytes);
    }

    pub(super) fn bool(&mut self, value: bool) {
        let Ok(()) = rmp::write_bool(&mut self.out, value);
    }

    pub(super) fn null(&mut self) {
        let Ok(()) = rmp::write_nil(&mut self.out);
    }

    pub(super) fn unsigned(&mut self, number: u64) {
        let Ok(_) = rmp::write_uint(&mut self.out, number);
    }

    /// A number of JSON: an integer of 64 bits as such, anything else as the nearest float.
    pub(super) fn number(&mut self, digits: &str) {
        match (digits.parse::<u64>(), digits.parse::<i64>()) {
            (Ok(number), _) => self.unsigned(number),
            // Not -0, which only a float can be.
            (_, Ok(number)) if number != 0 => {
                let Ok(_) = rmp::write_sint(&mut self.out, number);
            }
            _ => {
                let Ok(()) = rmp::write_f64(&mut self.out, digits.parse().unwrap_or(f64::NAN));
            }
        }
    }
}
