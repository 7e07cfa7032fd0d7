//! Why the server closes a WebSocket: the codes of RFC 6455 §7.4.1, and two of the range for applications.

use std::borrow::Cow;

use bytes::Bytes;
use edge::{
    ApiError,
    connections::{End, EndReason},
};
use socketio::websocket::{FrameError, encode};

/// A close code, and a reason for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: Cow<'static, str>,
}

impl Close {
    /// All channels are streams that have ended.
    pub(super) const ENDED: Self = Self::new(1000, "all channels have ended");
    /// The maximum age is reached.
    pub(super) const AGE: Self = Self::new(1001, "maximum age (TRIDENT_MAX_AGE): reconnect");
    /// A ping was not answered in time.
    pub(super) const NO_PONG: Self = Self::new(1001, "a ping was not answered within TRIDENT_KEEPALIVE");
    /// A binary message.
    pub(super) const BINARY: Self = Self::new(1003, "commands are text frames with JSON");
    /// Too many messages that are not commands.
    pub(super) const UNREADABLE: Self = Self::new(1008, "three messages were not JSON objects");
    /// More frames than `TRIDENT_SOCKET_RATE` per second.
    pub(super) const RATE: Self = Self::new(1008, "too many frames per second (TRIDENT_SOCKET_RATE)");
    /// The process is shutting down.
    pub(super) const RESTART: Self = Self::new(1012, "the server is shutting down: reconnect");
    /// There is no memory for incomplete messages.
    pub(super) const NO_MEMORY: Self =
        Self::new(1013, "no memory for this message (TRIDENT_RECEIVE_TOTAL): retry later");
    /// The token expired.
    pub(super) const EXPIRED: Self = Self::new(4401, "bad_token: the token has expired; reconnect with a new one");

    /// A backend has disconnected the client.
    pub(super) const DISCONNECTED: Self = Self::new(4403, "disconnected: a backend has ended this connection");
    /// It did not read messages that the log has dropped, and there is no memory for them.
    pub(super) const BEHIND: Self = Self::new(1013, "too far behind: reconnect");
    /// The token was revoked.
    pub(super) const REVOKED: Self = Self::new(4401, "bad_token: the token has been revoked");

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }

    /// For a client that lacks a valid token (4401) or a permission (4403); the reason begins with the code of the error. `None` for any
    /// other error.
    pub(super) fn forbidden(error: &ApiError) -> Option<Self> {
        let code = match error {
            ApiError::TokenNeeded(_) | ApiError::BadToken(_) => 4401,
            ApiError::Forbidden { .. } | ApiError::Denied { .. } => 4403,
            _ => return None,
        };
        Some(Self { code, reason: format!("{}: {error}", error.code()).into() })
    }

    /// For a connection that is ended from outside.
    pub(super) fn ended(end: End) -> Self {
        match end {
            End::Disconnected => Self::DISCONNECTED,
            End::Revoked => Self::REVOKED,
            End::Behind => Self::BEHIND,
        }
    }

    /// The reason for the event feed, unless it is the usual one or known already.
    pub(super) fn end_reason(&self) -> Option<EndReason> {
        match self.code {
            _ if *self == Self::NO_PONG => Some(EndReason::Timeout),
            _ if *self == Self::EXPIRED => Some(EndReason::Expired),
            _ if *self == Self::BEHIND => None,
            1002 | 1003 | 1007..=1009 | 1013 => Some(EndReason::Refused),
            1012 => Some(EndReason::Shutdown),
            _ => None,
        }
    }

    /// The close frame.
    pub(super) fn frame(&self) -> Bytes {
        encode::close_with(self.code, &self.reason)
    }
}

impl From<&FrameError> for Close {
    fn from(error: &FrameError) -> Self {
        Self { code: error.code().into(), reason: error.to_string().into() }
    }
}
