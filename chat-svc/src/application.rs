//! Events that the application answers: those that the chat does not know, and all of the namespaces of `TRIDENT_CALL_NAMESPACES`.
//!
//! ```text
//! event ─▶ the turn of its socket ─▶ call ─▶ its answer: rooms, publications, emits ─▶ ack
//! ```
//!
//! The calls of one socket are made one after the other, so that the application gets its events in order, whichever of its workers it
//! gets them with. A call that has begun is completed even if the client disconnects.

mod answer;
mod binary;
pub(crate) mod calls;
mod namespaces;
mod request;
pub(crate) mod rooms;

pub(crate) use self::namespaces::open;
