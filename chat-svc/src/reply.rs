//! What the chat acks: `{ok: true, …}` or `{ok: false, error: {code, message}}`.

use std::sync::Arc;

use serde::Serialize;
use shared::{
    edge::ApiError,
    live::bus::BusError,
    pure::{Cursor, Message, NameError},
};
use socketio::Ack;

use crate::wire::Meta;

/// Why something was not done, as the client is told.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl ToString) -> Self {
        Self { code, message: message.to_string() }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::new(error.code(), error)
    }
}

impl From<BusError> for Refusal {
    fn from(error: BusError) -> Self {
        let code = match error {
            BusError::Away(_) => "bus_away",
            BusError::Unknown(_) => "outcome_unknown",
            BusError::TooLarge => "too_large",
            // Chat messages bear no keys.
            BusError::Keys | BusError::Reused => "internal",
        };
        Self::new(code, error)
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self::new("bad_channel", error)
    }
}

/// What an event led to.
pub(crate) type Outcome<T> = Result<T, Refusal>;

/// Nothing to tell but that it was done.
#[derive(Debug, Serialize)]
pub(crate) struct Done {}

/// A chat message is in the log.
#[derive(Debug, Serialize)]
pub(crate) struct Said {
    pub(crate) id: Cursor,
}

/// The name that one now has.
#[derive(Debug, Serialize)]
pub(crate) struct Named {
    pub(crate) name: Arc<str>,
}

/// Where a subscription begins.
#[derive(Debug, Serialize)]
pub(crate) struct Subscribed {
    pub(crate) cursor: Cursor,
}

/// The room that one has come into.
#[derive(Serialize)]
pub(crate) struct Joined<'a> {
    pub(crate) room: &'a str,
    #[serde(flatten)]
    pub(crate) present: Present,
    /// The newest messages, oldest first.
    pub(crate) messages: Vec<Held<'a>>,
}

/// Who is in a room.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Present {
    pub(crate) count: usize,
    /// Their names, unless they are too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<Vec<Arc<str>>>,
}

/// A message of before, with its data as JSON; buffers read `{"base64":…}`.
#[derive(Serialize)]
pub(crate) struct Held<'a> {
    #[serde(flatten)]
    meta: Meta<'a>,
    event: &'a str,
    data: serde_json::Value,
}

impl<'a> Held<'a> {
    pub(crate) fn of(message: &'a Message) -> Self {
        let data = serde_json::from_str(&message.draft.payload.plain_json()).unwrap_or_default();
        Self { meta: Meta::of(message), event: &message.draft.event, data }
    }
}

/// Acks an outcome, if the client wants to know.
pub(crate) fn send<T: Serialize>(ack: &Ack, outcome: &Outcome<T>) {
    #[derive(Serialize)]
    struct Good<'a, T> {
        ok: bool,
        #[serde(flatten)]
        told: &'a T,
    }
    #[derive(Serialize)]
    struct Bad<'a> {
        ok: bool,
        error: &'a Refusal,
    }
    let sent = match outcome {
        Ok(told) => ack.send(&Good { ok: true, told }),
        Err(error) => ack.send(&Bad { ok: false, error }),
    };
    if let Err(error) = sent {
        log::error!("an ack could not be written: {error}");
    }
}
