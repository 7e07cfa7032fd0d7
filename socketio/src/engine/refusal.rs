//! Refusals of requests, with Engine.IO's own codes.

use crate::stats::Counters;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Transport unknown")]
    UnknownTransport,
    #[error("Session ID unknown")]
    UnknownSid,
    #[error("Bad handshake method")]
    BadMethod,
    #[error("Bad request")]
    BadRequest,
    #[error("{0}")]
    Forbidden(String),
    /// There are as many connections as there may be: Engine.IO's code for whatever the server forbids.
    #[error("Server is full")]
    Full,
    #[error("Unsupported protocol version")]
    UnsupportedProtocol,
    /// Not one of Engine.IO's codes: a plain 426 (RFC 6455 §4.4).
    #[error("Unsupported WebSocket version")]
    UnsupportedWebSocket,
    /// Not one of Engine.IO's codes: a plain 413.
    #[error("Payload too large")]
    TooLarge,
    /// Not one of Engine.IO's codes: a plain 503, as unfinished bodies take all the memory that there is for them.
    #[error("Too many unfinished requests")]
    NoRoom,
    /// Not one of Engine.IO's codes: a plain 408.
    #[error("Request timeout")]
    Timeout,
    /// Not one of Engine.IO's codes: a plain 500, as code of the application panicked.
    #[error("Internal error")]
    Internal,
}

impl Refusal {
    pub(crate) fn code(&self) -> Option<u8> {
        match self {
            Self::UnknownTransport => Some(0),
            Self::UnknownSid => Some(1),
            Self::BadMethod => Some(2),
            Self::BadRequest => Some(3),
            Self::Forbidden(_) | Self::Full => Some(4),
            Self::UnsupportedProtocol => Some(5),
            Self::UnsupportedWebSocket | Self::TooLarge | Self::NoRoom | Self::Timeout | Self::Internal => None,
        }
    }

    pub(crate) fn count(&self, counters: &Counters) {
        if *self == Self::Full {
            counters.refused_full.inc();
        }
        match self {
            Self::UnknownTransport => &counters.refused_transport,
            Self::UnknownSid => &counters.refused_sid,
            Self::BadMethod => &counters.refused_method,
            Self::BadRequest | Self::NoRoom | Self::Timeout | Self::Internal => &counters.refused_request,
            Self::Forbidden(_) | Self::Full => &counters.refused_forbidden,
            Self::UnsupportedProtocol | Self::UnsupportedWebSocket => &counters.refused_protocol,
            Self::TooLarge => &counters.refused_size,
        }
        .inc();
    }
}
