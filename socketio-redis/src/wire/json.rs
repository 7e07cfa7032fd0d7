//! Values as JSON, within a budget.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use socketio::{Value, value::Object};

use super::{Budget, WireError};

/// Reads a message: exactly one value.
pub(super) fn read(message: &[u8], budget: Budget) -> Result<Value, WireError> {
    let mut reader = Reader { budget, is_too_much: false };
    let mut json = serde_json::Deserializer::from_slice(message);
    let read = (&mut reader).deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    read.map_err(|error| if reader.is_too_much { WireError::TooMany } else { error.into() })
}

struct Reader {
    budget: Budget,
    /// Whether reading ended because of the budget, which the parser's own error does not show.
    is_too_much: bool,
}

impl Reader {
    fn value<E: serde::de::Error>(&mut self) -> Result<(), E> {
        let counted = self.budget.value();
        self.counted(counted)
    }

    fn container<E: serde::de::Error>(&mut self) -> Result<(), E> {
        let counted = self.budget.container();
        self.counted(counted)
    }

    fn counted<E: serde::de::Error>(&mut self, counted: Result<(), WireError>) -> Result<(), E> {
        counted.map_err(|error| {
            self.is_too_much = true;
            E::custom(error)
        })
    }
}

impl<'de> DeserializeSeed<'de> for &mut Reader {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.value()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(&mut *self)? {
            if items.is_empty() {
                self.container()?;
            }
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Object::new();
        while let Some(name) = map.next_key::<String>()? {
            self.value()?;
            if members.is_empty() {
                self.container()?;
            }
            let value = map.next_value_seed(&mut *self)?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}
