//! Why connections end.

/// Why a connection was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A backend has disconnected it, or its user.
    Disconnected,
    /// Its token has been revoked.
    Revoked,
    /// It does not read messages that only it has any more, and these take too much memory.
    Behind,
}

impl End {
    /// The name in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Revoked => "revoked",
            Self::Behind => "behind",
        }
    }
}

/// Why a connection ended, as far as the server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The client closed it, or was lost, or the server ended a stream at its maximum age.
    Closed,
    /// It was ended from outside.
    Ended(End),
    /// The client stopped polling, or did not answer a ping.
    Timeout,
    /// The client has left.
    Left,
    /// Its token expired.
    Expired,
    /// The client broke a rule or exceeded a limit.
    Refused,
    /// The process shuts down.
    Shutdown,
    /// The client resumed its session over another connection.
    Replaced,
    /// It reads `$events` from now on, and is not in the feed any more.
    ReadsEvents,
}

impl EndReason {
    /// The name in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Ended(end) => end.name(),
            Self::Timeout => "timeout",
            Self::Left => "left",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Shutdown => "shutdown",
            Self::Replaced => "replaced",
            Self::ReadsEvents => "reads_events",
        }
    }

    /// The reasons that a connection is given while it is still registered; each has a number above 0 by its place.
    const KNOWN: [Self; 5] = [Self::Timeout, Self::Left, Self::Expired, Self::Refused, Self::Shutdown];

    pub(super) fn number(self) -> u8 {
        let place = Self::KNOWN.iter().position(|known| *known == self);
        place.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or_default()
    }

    pub(super) fn of(number: u8) -> Option<Self> {
        Self::KNOWN.get(usize::from(number).checked_sub(1)?).copied()
    }
}
