//! Names of channels and patterns in what a session stores. Elsewhere only names of channels are read.

use serde::{Deserialize, Deserializer, de::Error as _};
use shared::pure::{ChannelName, Cursor};

struct Selector(ChannelName);

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        ChannelName::selector(&text).map(Self).map_err(D::Error::custom)
    }
}

/// Reads a list of names.
pub(crate) fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ChannelName>, D::Error> {
    Ok(Vec::<Selector>::deserialize(deserializer)?.into_iter().map(|Selector(name)| name).collect())
}

/// Reads a list of names with their positions.
pub(crate) fn positions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(ChannelName, Cursor)>, D::Error> {
    let read = Vec::<(Selector, Cursor)>::deserialize(deserializer)?;
    Ok(read.into_iter().map(|(Selector(name), cursor)| (name, cursor)).collect())
}
