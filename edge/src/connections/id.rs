//! Ids of connections.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The id of a connection: 15 bytes, written as 20 characters of URL-safe base64, as Socket.IO's ids are. A socket has its own id here, too.
/// It is not a secret, unlike the id of an Engine.IO session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId([u8; 15]);

/// Not the id of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a connection has 20 of the characters A-Z a-z 0-9 _ -")]
pub struct InvalidConnectionId;

impl ConnectionId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// A number for it: two connections have the same one as rarely as two random numbers of 64 bits are equal.
    #[must_use]
    pub fn tag(self) -> u64 {
        let [_, _, _, _, _, _, _, a, b, c, d, e, f, g, h] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1)
    }

    /// The part of the registry that has it, by its first four bits.
    pub(super) fn part(self) -> usize {
        usize::from(self.0[0] >> 4)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 20];
        // Fifteen bytes are twenty characters, all of them ASCII.
        URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ConnectionId {
    type Err = InvalidConnectionId;

    fn from_str(text: &str) -> Result<Self, InvalidConnectionId> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidConnectionId)?;
        bytes.try_into().map(Self).map_err(|_| InvalidConnectionId)
    }
}
