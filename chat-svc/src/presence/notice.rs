//! What replicas tell each other of who is where: a server event of the Socket.IO cluster.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use shared::pure::ChannelName;

/// The name of the server event.
pub(super) const EVENT: &str = "trident:presence";

/// One run of a replica; another number each time it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Replica(pub(super) u32);

impl Replica {
    /// Of four thousand million; two replicas of one number would hide from each other, and no more.
    pub(crate) fn draw() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Something that a replica tells all others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Notice {
    pub(super) from: Replica,
    #[serde(flatten)]
    pub(super) what: What,
}

/// What it tells them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub(super) enum What {
    /// It is new and knows nobody: all are to tell all.
    Hello,
    /// One is to tell all, since something of it was missed.
    Ask {
        /// Which.
        of: Replica,
    },
    /// Its part of some rooms.
    Parts {
        /// One more than the last, so that the others see when they have missed one.
        number: u64,
        /// Here it begins to tell all.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_first: bool,
        /// What has not been told since it began is none.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_last: bool,
        /// The parts.
        parts: Vec<Part>,
    },
    /// It lives, and has told so much.
    Beat {
        /// The number of its last notice with parts.
        number: u64,
    },
    /// It ends.
    Bye,
}

/// What there is of a room on one replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) room: ChannelName,
    pub(super) count: usize,
    /// Of everybody, unless they are too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) names: Option<Vec<Arc<str>>>,
}
