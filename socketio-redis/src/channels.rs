//! The names of the channels that the servers of a cluster use.
//!
//! | channel | carries |
//! | --- | --- |
//! | `key#nsp#` | events for many rooms, or all |
//! | `key#nsp#room#` | events for one room |
//! | `key-request#nsp#` | requests and commands |
//! | `key-response#nsp#`, `key-response#nsp#uid#` | answers to all, or to the server that asked |
//! | `key-pulse#uid#` | a server's messages to itself, as a heartbeat of the connection; unknown to Node |

use bytestring::ByteString;

/// The channels of one namespace.
#[derive(Debug)]
pub(crate) struct Channels {
    /// Events for many rooms, and the prefix of all channels for one room.
    pub(crate) events: String,
    /// Matches all channels that begin with `events`.
    pub(crate) pattern: String,
    pub(crate) request: String,
    pub(crate) response: String,
    /// Answers to this server only.
    pub(crate) own_response: String,
}

impl Channels {
    pub(crate) fn new(key: &str, nsp: &str, uid: &str) -> Self {
        let events = format!("{key}#{nsp}#");
        let pattern = format!("{}*", literal(&events));
        let response = format!("{key}-response#{nsp}#");
        let own_response = format!("{response}{uid}#");
        Self { events, pattern, request: format!("{key}-request#{nsp}#"), response, own_response }
    }

    /// The channel for events to these rooms: one room has a channel of its own, so that servers without members need not decode them.
    pub(crate) fn events_for(&self, rooms: &[ByteString]) -> String {
        match rooms {
            [room] => format!("{}{room}#", self.events),
            _ => self.events.clone(),
        }
    }

    /// The room that a channel is for, if its name contains one.
    pub(crate) fn room<'a>(&self, channel: &'a str) -> Option<&'a str> {
        channel.strip_prefix(&self.events)?.strip_suffix('#').filter(|room| !room.is_empty())
    }

    /// The channel for answers to the server `uid`.
    pub(crate) fn response_to(&self, uid: Option<&str>, specific: bool) -> String {
        match uid {
            Some(uid) if specific => format!("{}{uid}#", self.response),
            _ => self.response.clone(),
        }
    }
}

/// The channel of a server's heartbeat.
pub(crate) fn pulse(key: &str, uid: &str) -> String {
    format!("{key}-pulse#{uid}#")
}

/// A pattern that matches exactly this text: names of namespaces may contain special characters of patterns.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_in_node() {
        let channels = Channels::new("socket.io", "/chat", "Ab12cd");
        assert_eq!(channels.pattern, "socket.io#/chat#*");
        assert_eq!(channels.request, "socket.io-request#/chat#");
        assert_eq!(channels.response, "socket.io-response#/chat#");
        assert_eq!(channels.own_response, "socket.io-response#/chat#Ab12cd#");
        assert_eq!(channels.events_for(&[]), "socket.io#/chat#");
        assert_eq!(channels.events_for(&["a".into(), "b".into()]), "socket.io#/chat#");
        assert_eq!(channels.events_for(&["a#b".into()]), "socket.io#/chat#a#b#");
        assert_eq!(channels.response_to(Some("xyz"), true), "socket.io-response#/chat#xyz#");
        assert_eq!(channels.response_to(Some("xyz"), false), "socket.io-response#/chat#");
        assert_eq!(channels.response_to(None, true), "socket.io-response#/chat#");
    }

    #[test]
    fn rooms_read_back() {
        let channels = Channels::new("socket.io", "/", "u");
        for (room, expected) in
            [("a", Some("a")), ("a#b", Some("a#b")), ("房间", Some("房间")), ("", None), ("#", Some("#"))]
        {
            assert_eq!(channels.room(&channels.events_for(&[room.into()])), expected, "{room}");
        }
        for channel in ["socket.io#/#", "socket.io#/", "socket.io#/x#a#", "", "socket.io#/#a"] {
            assert_eq!(channels.room(channel), None, "{channel}");
        }
    }

    #[test]
    fn patterns_match_one_namespace() {
        assert_eq!(Channels::new("k*", "/a?[b]\\", "u").pattern, r"k\*#/a\?\[b\]\\#*");
    }
}
