//! The store of sessions that clients can resume, and its guarantees.

use std::{fmt, sync::Arc, time::Duration};

use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use socketio::adapter::BoxFuture;

/// The holder of a session's lease: a random number, new for each socket that acquires the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Holder(u64);

impl Holder {
    pub(crate) fn draw() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for Holder {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// One save of a session.
#[derive(Clone, Debug)]
pub(crate) struct Save {
    /// The secret by which the client asks for it.
    pub(crate) pid: ByteString,
    /// The replica that saves.
    pub(crate) holder: Holder,
    /// The previous holder, if the store may not know yet that it was taken over.
    pub(crate) before: Option<Holder>,
    /// The session as text; `None` leaves it unchanged.
    pub(crate) session: Option<Arc<str>>,
    /// The lifetime from now on; zero removes the session.
    pub(crate) keep: Duration,
    /// Whether its client is connected: then it is renewed before it expires.
    pub(crate) is_live: bool,
}

/// The result of a [`Save`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SaveOutcome {
    /// The session was saved.
    Saved,
    /// The session does not exist, and no text was given.
    Missing,
    /// Another holder has acquired it; nothing was changed.
    TakenOver,
}

/// A session that has been acquired.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LeasedSession {
    /// Its last saved text.
    pub(crate) session: Arc<str>,
    /// The previous holder.
    pub(crate) before: Holder,
    /// Its remaining lifetime.
    pub(crate) left: Duration,
}

/// The store is unavailable. The request may have been executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sessions are unavailable: {0}")]
pub(crate) struct StoreUnavailable(pub(crate) String);

/// Stores sessions by their secrets, each with an expiry.
///
/// # Guarantee
/// A session has one holder at any moment. [`acquire`](Self::acquire) changes the holder, and from then on whatever the previous one
/// saves is rejected. So of two clients that ask for one session at the same time, or of a client that reconnects before its broken
/// connection was noticed, one socket continues: the one that acquired it last. If sessions were *removed* instead, a client whose
/// reconnection broke half-way would have lost its session.
pub(crate) trait SessionStore: Send + Sync + 'static {
    /// Saves the sessions that no other holder has acquired. The results are in the order of the saves.
    fn save<'a>(&'a self, saves: &'a [Save]) -> BoxFuture<'a, Result<Vec<SaveOutcome>, StoreUnavailable>>;

    /// Acquires a session that has not expired.
    fn acquire<'a>(
        &'a self,
        pid: &'a str,
        holder: Holder,
    ) -> BoxFuture<'a, Result<Option<LeasedSession>, StoreUnavailable>>;

    /// Whether it outlives this process, so that sessions of connected clients belong in it too.
    fn outlives_us(&self) -> bool;

    /// Frees expired sessions, if the store does not do so itself. Call it every few seconds, and not while something is saved.
    fn sweep(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Why sessions cannot be stored for now; `None` when they can.
    fn problem(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
pub(super) mod contract;
