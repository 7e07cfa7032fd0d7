//! The acks of the chat: `{ok: true, …}` or `{ok: false, error: {code, message}}`.

use std::sync::Arc;

use serde::Serialize;
use shared::pure::Cursor;
use socketio::Ack;

use crate::{history::Page, refusal::Refusal, wire::text};

/// The result of an event.
pub(crate) type Outcome<T> = Result<T, Refusal>;

/// Success without data.
#[derive(Debug, Serialize)]
pub(crate) struct Done {}

/// The chat message was appended to the log.
#[derive(Debug, Serialize)]
pub(crate) struct Said {
    pub(crate) id: Cursor,
}

/// The member's new name.
#[derive(Debug, Serialize)]
pub(crate) struct Named {
    pub(crate) name: Arc<str>,
}

/// Where a subscription begins.
#[derive(Debug, Serialize)]
pub(crate) struct Subscribed {
    pub(crate) cursor: Cursor,
}

/// The room that was joined, with earlier messages.
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

/// Earlier messages of a room.
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

/// The position of the messages in an answer, and whether there are older ones.
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

/// `data` as a successful answer with the messages, whose JSON is copied unchanged.
fn with_messages(data: &impl Serialize, page: &Page) -> String {
    let good = text(&Good { ok: true, data });
    let open = good.strip_suffix('}').unwrap_or(&good);
    format!("{open},\"messages\":[{}]}}", page.messages)
}

/// The members of a room.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Present {
    pub(crate) count: usize,
    /// Their names, unless there are too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<Vec<Arc<str>>>,
}

/// Success.
#[derive(Serialize)]
struct Good<'a, T> {
    ok: bool,
    #[serde(flatten)]
    data: &'a T,
}

/// Acks an outcome, if the client asked for it.
pub(crate) fn send<T: Serialize>(ack: &Ack, outcome: &Outcome<T>) {
    #[derive(Serialize)]
    struct Bad<'a> {
        ok: bool,
        error: &'a Refusal,
    }
    let sent = match outcome {
        Ok(data) => ack.send(&Good { ok: true, data }),
        Err(error) => ack.send(&Bad { ok: false, error }),
    };
    if let Err(error) = sent {
        log::error!("an ack could not be encoded: {error}");
    }
}

/// Acks an error.
pub(crate) fn refuse(ack: &Ack, refusal: Refusal) {
    send::<Done>(ack, &Err(refusal));
}

/// Like [`refuse`], for requests whose success is acked elsewhere.
pub(crate) fn unless_ok(ack: &Ack, outcome: Outcome<()>) {
    if let Err(refusal) = outcome {
        refuse(ack, refusal);
    }
}
