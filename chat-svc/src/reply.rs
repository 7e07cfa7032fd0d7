//! What the chat acks: `{ok: true, …}` or `{ok: false, error: {code, message}}`.

use std::sync::Arc;

use edge::ApiError;
use serde::Serialize;
use shared::{
    live::bus::BusError,
    pure::{Cursor, NameError},
};
use socketio::Ack;

use crate::{history::Page, wire::text};

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

#[cfg(test)]
impl Refusal {
    pub(crate) fn code(&self) -> &str {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
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
            BusError::Keys { .. } => "too_many_keys",
            BusError::Reused => "idempotency_key_reused",
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

/// The room that one has come into, with messages of before.
#[derive(Serialize)]
pub(crate) struct Joined<'a> {
    room: &'a str,
    #[serde(flatten)]
    present: &'a Present,
    #[serde(flatten)]
    bounds: Bounds,
}

impl Joined<'_> {
    /// The answer as JSON.
    pub(crate) fn encode(room: &str, present: &Present, page: &Page) -> String {
        with_messages(&Joined { room, present, bounds: Bounds::of(page) }, page)
    }
}

/// Messages of before in a room.
#[derive(Serialize)]
pub(crate) struct Past<'a> {
    room: &'a str,
    #[serde(flatten)]
    bounds: Bounds,
}

impl Past<'_> {
    /// The answer as JSON.
    pub(crate) fn encode(room: &str, page: &Page) -> String {
        with_messages(&Past { room, bounds: Bounds::of(page) }, page)
    }
}

/// Where the messages of an answer begin, and whether there are older ones.
#[derive(Serialize)]
struct Bounds {
    cursor: Cursor,
    more: bool,
}

impl Bounds {
    fn of(page: &Page) -> Self {
        Self { cursor: page.cursor, more: page.more }
    }
}

/// `told` as the answer that all went well, with the messages, whose JSON is copied as it is.
fn with_messages(told: &impl Serialize, page: &Page) -> String {
    let good = text(&Good { ok: true, told });
    let open = good.strip_suffix('}').unwrap_or(&good);
    format!("{open},\"messages\":[{}]}}", page.messages)
}

/// Who is in a room.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Present {
    pub(crate) count: usize,
    /// Their names, unless they are too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<Vec<Arc<str>>>,
}

/// All went well.
#[derive(Serialize)]
struct Good<'a, T> {
    ok: bool,
    #[serde(flatten)]
    told: &'a T,
}

/// Acks an outcome, if the client wants to know.
pub(crate) fn send<T: Serialize>(ack: &Ack, outcome: &Outcome<T>) {
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

/// Acks why something was not done.
pub(crate) fn refuse(ack: &Ack, refusal: Refusal) {
    send::<Done>(ack, &Err(refusal));
}

/// As [`refuse`], of what is acked elsewhere when it was done.
pub(crate) fn unless_ok(ack: &Ack, outcome: Outcome<()>) {
    if let Err(refusal) = outcome {
        refuse(ack, refusal);
    }
}
