//! What is asked of a stream, and the answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{MediaType, Producer};
use crate::pure::{ChannelName, Cursor, Payload};

/// The longest time to live of a stream, in seconds: a hundred years.
pub const MAX_LIFETIME_SECS: u64 = 3_153_600_000;

/// An operation that changes a stream. What it depends on is checked where the order of messages is made.
#[derive(Clone, Debug)]
pub enum StreamOp {
    /// Creates a stream, or finds the same one.
    Create(Box<Create>),
    /// Appends to a stream, closes it, or both in one step.
    Append(Box<Append>),
    /// Deletes a stream with its messages.
    Delete(ChannelName),
}

impl StreamOp {
    /// The channel of the stream.
    #[must_use]
    pub fn channel(&self) -> &ChannelName {
        match self {
            Self::Create(create) => &create.channel,
            Self::Append(append) => &append.channel,
            Self::Delete(channel) => channel,
        }
    }
}

/// The creation of a stream.
#[derive(Clone, Debug)]
pub struct Create {
    /// Its channel.
    pub channel: ChannelName,
    /// Its content type; by default that of the source of a fork, and otherwise bytes.
    pub content_type: Option<MediaType>,
    /// When it ends by itself; by default as the source of a fork.
    pub lifetime: Lifetime,
    /// Whether it is closed from the beginning.
    pub is_closed: bool,
    /// Its first messages.
    pub payloads: Vec<Payload>,
    /// The stream whose beginning it has.
    pub fork: Option<Fork>,
    /// The verified `sub` of the creator's token.
    pub user: Option<Arc<str>>,
    /// The client whose share of the memory it takes; `None` for one that may take all of it.
    pub owner: Option<Arc<str>>,
}

/// When a stream ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifetime {
    /// It does not.
    #[default]
    Unlimited,
    /// So many seconds after it was last read or appended to.
    Idle(u64),
    /// At this time, in milliseconds since the Unix epoch.
    Until(u64),
}

/// Where a fork begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// The stream whose messages it begins with.
    pub source: ChannelName,
    /// The last of them; by default the newest.
    pub at: Option<Cursor>,
    /// Additional messages of a JSON stream, or bytes of the next append of another stream.
    pub sub: u64,
}

/// An append, a closing, or both.
#[derive(Clone, Debug)]
pub struct Append {
    /// The channel of the stream.
    pub channel: ChannelName,
    /// The content type of the messages. Required if there are any.
    pub content_type: Option<MediaType>,
    /// The messages.
    pub payloads: Vec<Payload>,
    /// Greater, byte by byte, than that of any earlier append.
    pub seq: Option<Box<str>>,
    /// The producer whose request it is.
    pub producer: Option<Producer>,
    /// Whether the stream is closed after the messages.
    pub is_closing: bool,
    /// The verified `sub` of the writer's token.
    pub user: Option<Arc<str>>,
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamReply {
    /// The stream after it, or before its deletion.
    pub info: StreamInfo,
    /// What was done.
    pub outcome: Outcome,
}

/// What an operation has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was asked.
    Done,
    /// Nothing: it had been done before. With the highest sequence of the producer, if it was a producer's request.
    Repeated(Option<u64>),
}

/// What readers know of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its content type.
    pub content_type: MediaType,
    /// When it ends by itself.
    pub lifetime: Lifetime,
    /// The position at which it was created. It differs from that of an earlier stream on the same channel.
    pub created: Cursor,
    /// The position before its first message. A fork has that of its source.
    pub start: Cursor,
    /// Its newest message, or its start if it has none.
    pub tail: Cursor,
    /// The position of its end, if it is closed.
    pub end: Option<Cursor>,
}

/// What connected readers see of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// As [`StreamInfo::created`].
    pub created: Cursor,
    /// Its end, if it has ended.
    pub end: Option<End>,
}

/// The end of a stream: no message follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The position after its last message.
    pub id: Cursor,
    /// Why.
    pub reason: EndReason,
}

/// The end of a stream, for readers on any transport. Serialized, it is the `data` that clients receive.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEnd {
    /// The channel of the stream.
    pub channel: ChannelName,
    /// Why it has ended.
    pub reason: EndReason,
    /// The position of the end, after its last message.
    pub id: Cursor,
}

/// Why a stream has ended.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// A writer closed it. It can still be read.
    Closed,
    /// It was deleted.
    Deleted,
    /// Its lifetime ended.
    Expired,
}

impl EndReason {
    /// Its name on every transport.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Deleted => "deleted",
            Self::Expired => "expired",
        }
    }
}
