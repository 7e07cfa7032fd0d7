//! What is stored: an entry for the key of the server, one for each subscription, and one for each stream of one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use shared::{
    live::bus::{Entry, EntryChange},
    pure::ChannelName,
    throttle,
};

use super::{
    signing::ServerKey,
    subscription::{Link, Subscription},
};

/// The key of the entry with the key of the server.
const KEY: &[u8] = b"key";
/// What the keys of the other entries begin with. An id has no slash.
const SUBSCRIPTION: &str = "subscription/";
const LINK: &str = "stream/";

/// Everything that is stored.
pub(super) struct Loaded {
    pub(super) key: Option<ServerKey>,
    pub(super) subscriptions: BTreeMap<String, Subscription>,
    /// The ids of those that do not parse.
    pub(super) unreadable: BTreeSet<String>,
}

/// Reads the entries. What does not parse is of another version, and is left out.
pub(super) fn read(entries: Vec<Entry>) -> Loaded {
    let mut loaded = Loaded { key: None, subscriptions: BTreeMap::new(), unreadable: BTreeSet::new() };
    let mut links = Vec::new();
    for (key, value) in entries {
        if key == KEY {
            loaded.key = ServerKey::stored(&value);
        } else if let Some(id) = name(&key, SUBSCRIPTION) {
            match serde_json::from_slice(&value) {
                Ok(subscription) => drop(loaded.subscriptions.insert(id.to_owned(), subscription)),
                Err(error) => {
                    throttle::log(
                        log::Level::Error,
                        "a stored subscription cannot be read",
                        format_args!("{id}: {error}"),
                    );
                    loaded.unreadable.insert(id.to_owned());
                }
            }
        } else if let Some((id, stream)) = name(&key, LINK).and_then(|name| name.split_once('/')) {
            links.extend(stream.parse::<ChannelName>().ok().map(|stream| (id.to_owned(), stream, value)));
        }
    }
    for (id, stream, value) in links {
        if let (Some(subscription), Ok(link)) = (loaded.subscriptions.get_mut(&id), serde_json::from_slice(&value)) {
            subscription.links.insert(stream, link);
        }
    }
    loaded
}

fn name<'a>(key: &'a [u8], prefix: &str) -> Option<&'a str> {
    std::str::from_utf8(key).ok()?.strip_prefix(prefix)
}

/// The entry with the key of the server.
pub(super) fn key(key: &ServerKey) -> EntryChange {
    (KEY.to_vec(), Some(Bytes::copy_from_slice(&key.seed())))
}

/// The entry of a subscription, or that there is none any more.
pub(super) fn subscription(id: &str, subscription: Option<&Subscription>) -> EntryChange {
    (format!("{SUBSCRIPTION}{id}").into_bytes(), subscription.and_then(encode))
}

/// The entry of a stream of a subscription, or that there is none any more.
pub(super) fn link(id: &str, stream: &ChannelName, link: Option<&Link>) -> EntryChange {
    (format!("{LINK}{id}/{stream}").into_bytes(), link.and_then(encode))
}

fn encode(value: &impl serde::Serialize) -> Option<Bytes> {
    // Numbers and texts always serialize.
    serde_json::to_vec(value).ok().map(Bytes::from)
}
