//! Where sessions are kept for those who come back, and what that place promises.

use std::{fmt, sync::Arc, time::Duration};

use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use socketio::adapter::BoxFuture;

/// Who has a session: a number that each socket that it gets is given anew.
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

/// What is to be kept of one session.
#[derive(Clone, Debug)]
pub(crate) struct Save {
    /// The secret by which the client asks for it.
    pub(crate) pid: ByteString,
    /// Who says so.
    pub(crate) holder: Holder,
    /// From whom they have it, where the store may not have been told of that yet.
    pub(crate) before: Option<Holder>,
    /// The session as text; `None` leaves it as it is.
    pub(crate) session: Option<Arc<str>>,
    /// For how long from now on. Nothing ends it.
    pub(crate) keep: Duration,
}

/// What became of a [`Save`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It was done.
    Yes,
    /// There is no such session, and none was given.
    Missing,
    /// Somebody else has it by now; nothing was changed.
    Lost,
}

/// A session that one has got hold of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Taken {
    /// As it was saved last.
    pub(crate) session: Arc<str>,
    /// Who had it up to now.
    pub(crate) before: Holder,
    /// For how long it is still kept.
    pub(crate) left: Duration,
}

/// The store cannot be reached. What it was asked for may have been done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sessions cannot be reached: {0}")]
pub(crate) struct Away(pub(crate) String);

/// Keeps sessions by their secrets, each for its time.
///
/// # Guarantee
/// A session has one holder at any moment. [`take`](Self::take) makes another its holder, and from then on whatever the one of before
/// saves is refused. So of two clients that ask for one session at once, or of a client that comes back before its cut
/// connection was noticed, one socket goes on: the one that took it last. Were it taken *out* instead, a client whose way back
/// broke half-way would have lost its session.
pub(crate) trait SessionStore: Send + Sync + 'static {
    /// Keeps sessions that nobody else holds. The answers are in the order of the questions.
    fn save<'a>(&'a self, saves: &'a [Save]) -> BoxFuture<'a, Result<Vec<Held>, Away>>;

    /// Gets hold of a session, for as long as it is kept.
    fn take<'a>(&'a self, pid: &'a str, holder: Holder) -> BoxFuture<'a, Result<Option<Taken>, Away>>;

    /// Whether it outlives this process, so that sessions of connected clients belong in it too.
    fn outlives_us(&self) -> bool;

    /// Frees what is kept of sessions whose time is over, where that does not happen by itself. To be called every few seconds.
    fn sweep(&self) {}

    /// Why sessions cannot be stored for now; `None` when they can.
    fn problem(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
pub(super) mod contract;
