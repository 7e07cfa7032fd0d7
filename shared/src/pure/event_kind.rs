//! The kinds of events of the feed.

use std::{fmt, str::FromStr};

/// What happened. The order is that of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A connection has begun.
    Connected,
    /// A connection has ended.
    Disconnected,
    /// A connection reads a channel.
    Subscribed,
    /// A connection does not read a channel any more.
    Unsubscribed,
    /// A channel has its first reader in this process.
    ChannelOccupied,
    /// A channel has lost its last reader in this process.
    ChannelVacated,
    /// A user reads a channel over its first connection to this process.
    MemberAdded,
    /// A user does not read a channel in this process any more.
    MemberRemoved,
    /// A Socket.IO client has emitted an event.
    ClientEvent,
    /// A backend has written through `/v1`.
    ApiWrite,
    /// Another process is not heard any more, and has not reported the ends of its connections.
    ProcessGone,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Connected,
        Self::Disconnected,
        Self::Subscribed,
        Self::Unsubscribed,
        Self::ChannelOccupied,
        Self::ChannelVacated,
        Self::MemberAdded,
        Self::MemberRemoved,
        Self::ClientEvent,
        Self::ApiWrite,
        Self::ProcessGone,
    ];

    /// The name, in settings and on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Subscribed => "subscribed",
            Self::Unsubscribed => "unsubscribed",
            Self::ChannelOccupied => "channel_occupied",
            Self::ChannelVacated => "channel_vacated",
            Self::MemberAdded => "member_added",
            Self::MemberRemoved => "member_removed",
            Self::ClientEvent => "client_event",
            Self::ApiWrite => "api_write",
            Self::ProcessGone => "process_gone",
        }
    }

    fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventKinds(u16);

impl EventKinds {
    /// Whether `kind` is one of them.
    #[must_use]
    pub fn has(self, kind: EventKind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the readers of each channel have to be counted for them.
    #[must_use]
    pub fn is_about_readers(self) -> bool {
        use EventKind::{ChannelOccupied, ChannelVacated, MemberAdded, MemberRemoved};
        [ChannelOccupied, ChannelVacated, MemberAdded, MemberRemoved].into_iter().any(|kind| self.has(kind))
    }
}

impl FromIterator<EventKind> for EventKinds {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | kind.bit()))
    }
}

/// Their names, separated by commas; `none` if there are none.
impl fmt::Display for EventKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let kinds = EventKind::ALL.into_iter().filter(|kind| self.has(*kind));
        kinds.enumerate().try_for_each(|(n, kind)| write!(f, "{}{}", if n == 0 { "" } else { "," }, kind.name()))
    }
}

/// Names separated by commas, or `all`, or `none`.
impl FromStr for EventKinds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" | "none" => return Ok(Self::default()),
            "all" => return Ok(EventKind::ALL.into_iter().collect()),
            _ => {}
        }
        let kind = |name: &str| {
            EventKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
                let name: String = name.chars().take(60).flat_map(char::escape_debug).collect();
                let all: Self = EventKind::ALL.into_iter().collect();
                format!("unknown kind of event `{name}`: expected `all`, `none`, or some of {all}")
            })
        };
        text.split(',').map(|name| kind(name.trim())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_and_written_by_name() {
        let some: EventKinds = " disconnected, connected".parse().unwrap();
        assert_eq!(some.to_string(), "connected,disconnected");
        assert!(some.has(EventKind::Connected) && !some.has(EventKind::Subscribed) && !some.is_about_readers());
        let all: EventKinds = "all".parse().unwrap();
        assert!(EventKind::ALL.into_iter().all(|kind| all.has(kind)) && all.is_about_readers());
        assert_eq!(all.to_string().parse(), Ok(all));
        assert_eq!(some.without("connected".parse().unwrap()).to_string(), "disconnected");
        for none in ["", "none"] {
            assert!(none.parse::<EventKinds>().unwrap().is_empty());
        }
        assert_eq!(EventKinds::default().to_string(), "none");
        for bad in ["connect", "connected,", "all,connected", "Connected"] {
            assert!(bad.parse::<EventKinds>().unwrap_err().contains("connected,disconnected"), "{bad}");
        }
    }
}
