//! The notices by which replicas exchange presence: a server event of the Socket.IO cluster.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use shared::pure::ChannelName;

/// The name of the server event.
pub(super) const EVENT: &str = "trident:presence";

/// One run of a replica; a different number after each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Replica(pub(super) u32);

impl Replica {
    /// One of four billion; two replicas with the same number would hide each other, and nothing worse.
    pub(crate) fn draw() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A notice from one replica to all others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Notice {
    pub(super) from: Replica,
    #[serde(flatten)]
    pub(super) what: What,
}

/// Its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub(super) enum What {
    /// The replica is new and knows no other: all are to send their whole state.
    Hello,
    /// One replica is to send its whole state, since one of its notices was missed.
    Ask {
        /// The replica that is asked.
        of: Replica,
    },
    /// Its part of some rooms.
    Parts {
        /// One more than the previous, so that the others notice a missing one.
        number: u64,
        /// Begin of a replica's whole state.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_first: bool,
        /// End of the whole state: rooms not named since its begin are empty.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_last: bool,
        /// The parts.
        parts: Vec<Part>,
    },
    /// Heartbeat, with the number of notices sent so far.
    Beat {
        /// The number of its last notice with parts.
        number: u64,
    },
    /// The replica shuts down.
    Bye,
}

/// The members of a room on one replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) room: ChannelName,
    pub(super) count: usize,
    /// Their names, unless there are too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) names: Option<Vec<Arc<str>>>,
}
