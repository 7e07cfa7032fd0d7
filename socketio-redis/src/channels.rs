//! The names of the channels that the servers of a cluster meet on.
//!
//! | channel | carries |
//! | --- | --- |
//! | `key#nsp#` | events for many rooms, or all |
//! | `key#nsp#room#` | events for one room |
//! | `key-request#nsp#` | questions and orders |
//! | `key-response#nsp#`, `key-response#nsp#uid#` | answers to all, or to the one who asked |
//! | `key-pulse#uid#` | what a server says to itself, to hear whether the way is open; Node knows nothing of it |

use bytestring::ByteString;

/// The channels of one namespace.
#[derive(Debug)]
pub(crate) struct Channels {
    /// Events for many rooms, and what the names of all channels for one room begin with.
    pub(crate) events: String,
    /// Matches all that begin with `events`.
    pub(crate) pattern: String,
    pub(crate) request: String,
    pub(crate) response: String,
    /// Answers to this server alone.
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

    /// Where events for these rooms go: one room has a channel of its own, so that servers without it need not look inside.
    pub(crate) fn events_for(&self, rooms: &[ByteString]) -> String {
        match rooms {
            [room] => format!("{}{room}#", self.events),
            _ => self.events.clone(),
        }
    }

    /// The one room that a channel is for, if it is for one that can be told by it.
    pub(crate) fn room<'a>(&self, channel: &'a str) -> Option<&'a str> {
        channel.strip_prefix(&self.events)?.strip_suffix('#').filter(|room| !room.is_empty())
    }

    /// Where a question of the server `uid` is answered.
    pub(crate) fn response_to(&self, uid: Option<&str>, specific: bool) -> String {
        match uid {
            Some(uid) if specific => format!("{}{uid}#", self.response),
            _ => self.response.clone(),
        }
    }
}

/// What a server says to itself on.
pub(crate) fn pulse(key: &str, uid: &str) -> String {
    format!("{key}-pulse#{uid}#")
}

/// A pattern that matches this text alone: names of namespaces may hold what patterns mean something by.
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
