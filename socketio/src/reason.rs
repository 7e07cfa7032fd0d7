//! Why a connection or a socket ended, by the names that Socket.IO gives.

use std::fmt;

/// Why a socket (or its Engine.IO connection) ended.
///
/// The first nine have the names that the Node server uses, so existing code and log searches keep working. The last three are limits of
/// this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The transport failed: a broken frame, an aborted poll, two overlapping requests.
    TransportError,
    /// The client closed its transport, or the TCP connection was lost.
    TransportClose,
    /// The server closed the Engine.IO connection.
    ForcedClose,
    /// No pong came within [`ping_timeout`](crate::Config::ping_timeout).
    PingTimeout,
    /// The client sent something that is not a packet.
    ParseError,
    /// [`SocketIo::close`](crate::SocketIo::close) was called.
    ServerShuttingDown,
    /// The server closed the connection because the client broke the order of packets or joined no namespace in time.
    ForcedServerClose,
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The server took the socket out of the namespace.
    ServerNamespaceDisconnect,
    /// More bytes were queued for this client than [`max_pending_bytes`](crate::Config::max_pending_bytes) allows, and the message that
    /// exceeded the limit had no sender to notify.
    OutboxOverflow,
    /// The pending handlers of this client's events use more memory than [`max_handler_bytes`](crate::Config::max_handler_bytes) allows.
    HandlerOverflow,
    /// The client sent more packets a second than [`packet_rate`](crate::Config::packet_rate) allows.
    RateLimit,
}

impl DisconnectReason {
    /// The reason as Socket.IO spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransportError => "transport error",
            Self::TransportClose => "transport close",
            Self::ForcedClose => "forced close",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ServerShuttingDown => "server shutting down",
            Self::ForcedServerClose => "forced server close",
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::OutboxOverflow => "outbox overflow",
            Self::HandlerOverflow => "handler overflow",
            Self::RateLimit => "rate limit",
        }
    }

    /// Whether a client whose connection ended for this reason may resume its session.
    ///
    /// A deliberate disconnect ends the session for good, and so does sending an invalid packet.
    pub const fn is_recoverable(self) -> bool {
        !matches!(self, Self::ParseError | Self::ClientNamespaceDisconnect | Self::ServerNamespaceDisconnect)
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
