//! The limits of a log.

use super::kind::Kind;
use crate::pure::{ChannelName, Retention};

/// Limits of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of each channel.
    pub channel: Retention,
    /// Bytes of memory of all channels together: messages ([`Message::footprint`](crate::pure::Message::footprint)) and the overhead of
    /// channels with messages. The oldest messages are evicted first.
    pub total: Option<usize>,
    /// Bytes of the encoded forms of messages, which readers share. Beyond, those of the oldest messages are evicted, but no messages.
    pub forms: Option<usize>,
    /// Maximum number of channels that are read although they have no messages ([`Log::vacancy`](super::Log::vacancy)).
    pub channels: Option<usize>,
    /// Bytes of memory of the server's own channels, which do not count in `total`. Neither they nor the others evict messages of the
    /// other kind.
    pub server: Option<usize>,
    /// Bytes of memory of all streams together. Their messages are never evicted: what exceeds it is rejected.
    pub streams: Option<usize>,
}

impl Limits {
    /// The limits of a channel without a lifecycle.
    #[must_use]
    pub fn retention_of(&self, channel: &ChannelName) -> Retention {
        self.retention(if channel.is_server() { Kind::Server } else { Kind::Client })
    }

    /// The limits of a channel. Those of the server have a budget in bytes instead of limits of each, and streams none but their budget.
    pub(super) fn retention(&self, kind: Kind) -> Retention {
        match kind {
            Kind::Client => self.channel,
            Kind::Server => Retention { count: None, bytes: self.server, age_ms: self.channel.age_ms },
            Kind::Stream => Retention::default(),
        }
    }
}

/// Whether channels without messages can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vacancy {
    /// How many of the given channels do not exist yet.
    pub new: usize,
    /// How many more can be created. `None` is no limit.
    pub left: Option<usize>,
}
