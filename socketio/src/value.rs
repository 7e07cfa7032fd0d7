//! JSON that may contain bytes: the data of a Socket.IO packet.
//!
//! Most packets are never converted to a [`Value`]: their arguments stay JSON text from the wire until serde reads them into the user's
//! type, and likewise in the other direction ([`Payload`](crate::socket::packet::Payload)). A [`Value`] is built for packets with
//! attachments, and for code that inspects data of unknown shape.
//!
//! In:  JSON text with placeholders, and the attachments → `json::parse` → [`Value`] → [`from_value`] → the user's type.
//! Out: the user's type → `json::write` → JSON text with placeholders, and the attachments.
//!
//! Bytes are what serde calls bytes: [`Binary`] here, `serde_bytes` elsewhere.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use indexmap::IndexMap;
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod de;
pub(crate) mod json;
mod ser;
pub(crate) mod tokens;

/// How deep arrays and objects may nest, in each parser: as deep as `serde_json` reads.
pub const MAX_NESTING: usize = 127;

/// The members of an object, in the order in which they came.
pub type Object = IndexMap<String, Value>;

/// Any data of a packet.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `null`, and what JavaScript calls `undefined`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, with the precision of 64 bits.
    Number(serde_json::Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Object),
    /// Bytes: a `Buffer`, `ArrayBuffer`, typed array, `Blob` or `File` of the other side.
    Binary(Bytes),
}

/// Reads a value into a type of yours.
///
/// # Errors
/// When the value has another shape than `T`.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, serde_json::Error> {
    T::deserialize(value)
}

/// Converts a value of your type into the form that the peer would receive.
///
/// # Errors
/// When `T` fails to serialize, or has a map with keys other than strings and numbers.
pub fn to_value<T: Serialize + ?Sized>(data: &T) -> Result<Value, serde_json::Error> {
    let (json, attachments) = json::write(data)?;
    json::parse(&json, &attachments)
}

impl Value {
    /// The member `key`, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(key),
            _ => None,
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if this is binary.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The items, if this is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Whether there are bytes anywhere in it, so that it needs attachments on the wire.
    pub fn has_binary(&self) -> bool {
        match self {
            Self::Binary(_) => true,
            Self::Array(items) => items.iter().any(Self::has_binary),
            Self::Object(members) => members.values().any(Self::has_binary),
            _ => false,
        }
    }

    /// The same as plain JSON, where each buffer reads `{"base64":"…"}`: for readers that know no bytes.
    pub fn into_plain(self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(value),
            Self::Number(number) => Json::Number(number),
            Self::String(text) => Json::String(text),
            Self::Array(items) => Json::Array(items.into_iter().map(Self::into_plain).collect()),
            Self::Object(members) => {
                Json::Object(members.into_iter().map(|(key, value)| (key, value.into_plain())).collect())
            }
            Self::Binary(bytes) => {
                Json::Object([("base64".to_owned(), Json::String(json::base64(&bytes)))].into_iter().collect())
            }
        }
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(number) => Self::Number(number),
            Json::String(text) => Self::String(text),
            Json::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            Json::Object(members) => {
                Self::Object(members.into_iter().map(|(key, value)| (key, Self::from(value))).collect())
            }
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl From<f64> for Value {
    /// Infinities and NaN, which JSON has not, become null, as in JavaScript.
    fn from(number: f64) -> Self {
        serde_json::Number::from_f64(number).map_or(Self::Null, Self::Number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Binary> for Value {
    fn from(Binary(bytes): Binary) -> Self {
        Self::Binary(bytes)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

/// Bytes in a type that is sent or received as an event: they travel as an attachment, not as text.
///
/// ```
/// use socketio::value::Binary;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Upload {
///     name: String,
///     content: Binary,
/// }
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Binary(pub Bytes);

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binary({} bytes)", self.0.len())
    }
}

impl Deref for Binary {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<T: Into<Bytes>> From<T> for Binary {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // JSON deserializers accept a string where bytes are expected. Here that is an error: the client sends the wrong type.
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(BinaryVisitor)
        } else {
            deserializer.deserialize_byte_buf(BinaryVisitor)
        }
    }
}

struct BinaryVisitor;

impl<'de> Visitor<'de> for BinaryVisitor {
    type Value = Binary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("binary data")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Binary, E> {
        Ok(Binary(Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Binary, E> {
        Ok(Binary(bytes.into()))
    }

    /// The form in which `serde_json` writes bytes.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Binary, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        Ok(Binary(bytes.into()))
    }
}

#[cfg(test)]
pub(crate) mod tests;
