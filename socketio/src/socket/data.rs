//! `socket.data` as text: a tree of JSON would cost each idle socket several times as much.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

/// The value of `socket.data`: JSON, stored as compact text. It uses no memory while it is null. Cloning it is cheap.
///
/// ```
/// use socketio::SocketData;
///
/// let data = SocketData::of(&("Mei", 7))?;
/// assert_eq!(data.as_str(), r#"["Mei",7]"#);
/// assert_eq!(data.read::<(String, u8)>()?, ("Mei".to_owned(), 7));
/// assert!(SocketData::default().is_null());
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SocketData(Option<Arc<str>>);

impl SocketData {
    /// The JSON of a value.
    ///
    /// # Errors
    /// What serde says against the value.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        let text = serde_json::to_string(value)?;
        Ok(if text == NULL { Self(None) } else { Self(Some(text.into())) })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or(NULL)
    }

    /// Whether it is null, as it is before anybody sets it.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }

    /// The value.
    ///
    /// # Errors
    /// When it does not fit `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }
}

const NULL: &str = "null";

/// Serialized as the value itself, not as a string that contains it.
impl Serialize for SocketData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.read::<serde_json::Value>().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SocketData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Self::of(&value).map_err(serde::de::Error::custom)
    }
}

impl From<serde_json::Value> for SocketData {
    fn from(value: serde_json::Value) -> Self {
        // A tree of JSON cannot but be written.
        Self::of(&value).unwrap_or_default()
    }
}

impl fmt::Display for SocketData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SocketData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_value_round_trips() {
        for value in [json!(null), json!(7), json!("\u{2028}\"\\茶"), json!([1, [null]]), json!({ "a": { "b": true } })]
        {
            let data = SocketData::from(value.clone());
            assert_eq!(data.is_null(), value.is_null());
            assert_eq!(data.as_str(), value.to_string());
            assert_eq!(data.read::<Value>().unwrap(), value);
            // Inside of something else it is the value again, in any format.
            let within = serde_json::to_string(&(1, &data)).unwrap();
            assert_eq!(within, json!([1, value]).to_string());
            assert_eq!(serde_json::from_str::<(u8, SocketData)>(&within).unwrap(), (1, data));
        }
    }

    #[test]
    fn invalid_json_is_rejected() {
        assert!(SocketData::of(&std::collections::HashMap::from([((1, 2), 3)])).is_err());
        assert!(SocketData::of(&"x").unwrap().read::<u8>().is_err());
    }
}
