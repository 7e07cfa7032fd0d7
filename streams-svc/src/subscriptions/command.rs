//! Requests for subscriptions, as processes pass them on to the one that has them, and their answers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::pure::ChannelName;

use super::{ack::Ack, request::Config, subscription::Scope};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Caller {
    /// The identity of the client.
    pub(super) owner: String,
    /// Whether it may use the subscriptions of others, and as many as there can be.
    pub(super) has_all: bool,
}

/// A request for a subscription.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Command {
    /// Create it, or find the same one.
    Put {
        id: String,
        caller: Caller,
        config: Config,
        scope: Scope,
        base: String,
    },
    Get {
        id: String,
        caller: Caller,
    },
    Delete {
        id: String,
        caller: Caller,
    },
    /// Add streams.
    Link {
        id: String,
        caller: Caller,
        streams: BTreeSet<ChannelName>,
    },
    /// Remove a stream that was added.
    Unlink {
        id: String,
        caller: Caller,
        stream: ChannelName,
    },
    /// Take the wake.
    Claim {
        id: String,
        caller: Caller,
        worker: String,
    },
    /// What a worker says; its token decides.
    Worker {
        id: String,
        token: String,
        ack: Ack,
        act: Act,
    },
    /// The public keys.
    Keys,
}

/// Which request of a worker it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Act {
    Callback,
    Ack,
    Release,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Option<Value>,
}

impl Reply {
    pub(super) fn of(status: u16, body: Value) -> Self {
        Self { status, body: Some(body) }
    }

    pub(super) fn done() -> Self {
        Self { status: 204, body: None }
    }

    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::of(status, json!({ "error": { "code": code, "message": message } }))
    }

    pub(super) fn missing() -> Self {
        Self::error(404, "SUBSCRIPTION_NOT_FOUND", "there is no such subscription")
    }
}
