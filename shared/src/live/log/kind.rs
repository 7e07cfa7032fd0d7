//! The kinds of channels, each with a budget of memory and limits of its own.

/// Whose channels they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Channels that clients publish to.
    Client,
    /// The [server's own](ChannelName::is_server).
    Server,
    /// Those that have a lifecycle. Their messages are never evicted.
    Stream,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Client, Self::Server, Self::Stream];
}
