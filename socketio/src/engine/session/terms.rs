//! The words that a session and its owner speak to each other in.

use std::time::Duration;

use crate::engine::packet::Packet;

/// The times and sizes of a session, the same for all sessions of a server.
#[derive(Clone, Debug)]
pub(crate) struct SessionConfig {
    /// From one pong to the next ping.
    pub(crate) ping_interval: Duration,
    /// From a ping to the pong that it must get.
    pub(crate) ping_timeout: Duration,
    /// How long a WebSocket may take from its opening to the packet `5`.
    pub(crate) upgrade_timeout: Duration,
    /// How long a closed session waits for the poll that receives the close packet.
    pub(crate) close_timeout: Duration,
    /// Announced to the client in the handshake: the largest request body that the server accepts.
    pub(crate) max_payload: usize,
    /// Whether a polling session may become a WebSocket session.
    pub(crate) allow_upgrades: bool,
    /// Packets a second that the session takes beside messages, which the application counts; bursts may be twice as many. 0 means
    /// no limit.
    pub(crate) packet_rate: u32,
}

/// How often an open poll is answered with a noop while the client's WebSocket is probing.
///
/// A single noop can cross the client's next poll on the wire. The client would then wait forever for that poll to return before it sends
/// `5`.
pub(crate) const NOOP_INTERVAL: Duration = Duration::from_millis(100);

/// The transport of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// A WebSocket.
    WebSocket,
}

impl Transport {
    /// The name in the query parameter `transport`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// The next action of a transport, as returned by [`Session::next`](super::Session::next).
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Send this packet, then ask again.
    Send(Packet),
    /// Send what the application has; when it has nothing, wait to be woken.
    Application,
    /// Send what the application still has; when that is out, call [`Session::flushed`](super::Session::flushed) and ask again.
    Flush,
    /// Wait to be woken.
    Wait,
    /// The answer is complete; for a WebSocket, send its close frame and end.
    End,
}

/// The session does not take this request: answer it with 400. If it overlapped with another of its kind, the session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;
