//! The transports that are measured.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How a reader gets its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// Server-sent events.
    Sse,
    /// A line of JSON for each message, without end.
    Stream,
    /// Comet: a request that waits, and then the next.
    Longpoll,
    /// A text frame for each message, over a WebSocket without a protocol above it.
    Ws,
    /// Socket.IO over WebSocket.
    Websocket,
    /// Socket.IO over HTTP long polling.
    Polling,
    /// `write(2)` to each socket and nothing else, by a server of this program's: the limit.
    Bare,
}

impl Transport {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Stream => "stream",
            Self::Longpoll => "longpoll",
            Self::Ws => "ws",
            Self::Websocket => "websocket",
            Self::Polling => "polling",
            Self::Bare => "bare",
        }
    }
}
