//! What was decided about a stream, as a bus stores it.

use serde::{Deserialize, Serialize};

use super::{EndReason, Producer, SavedState};
use crate::pure::{ChannelName, Cursor};

/// A change of a stream that was decided. Its messages are beside it, as any others: a record has none. Records are applied in their order without
/// being checked. Times are those of the time of day, in milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum StreamRecord {
    /// It was created, in this state.
    Create(SavedStream),
    /// A producer's request, or one with a `Stream-Seq`, was accepted.
    Append {
        /// Its channel.
        channel: ChannelName,
        /// The producer's request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        producer: Option<Producer>,
        /// `Stream-Seq`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<Box<str>>,
        /// When.
        time_ms: u64,
    },
    /// It was closed.
    Close {
        /// Its channel.
        channel: ChannelName,
        /// The position of the end.
        at: Cursor,
        /// The producer that closed it, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Producer>,
    },
    /// It was deleted, or has expired.
    End {
        /// Its channel.
        channel: ChannelName,
        /// The position of the end. The next position is used, too.
        at: Cursor,
        /// Why.
        reason: EndReason,
    },
    /// Its messages were purged.
    Purge {
        /// Its channel.
        channel: ChannelName,
        /// The newest of them.
        up_to: Cursor,
    },
    /// It was read.
    Renew {
        /// Its channel.
        channel: ChannelName,
        /// When.
        time_ms: u64,
    },
    /// All of it but its messages, in a checkpoint.
    Saved(SavedStream),
}

/// A stream as it is stored, without its messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedStream {
    /// Its channel.
    pub channel: ChannelName,
    /// The client whose share of the memory it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Box<str>>,
    /// Its state.
    pub state: SavedState,
    /// Whether it is deleted, and its name is in use by its forks.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_deleted: bool,
    /// The newest message of the channel that was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Cursor>,
    /// What it has of its source, if it is a fork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<SavedCopies>,
    /// The number of its messages.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub messages: u64,
}

/// The first messages of a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedCopies {
    /// The position of the last of them, also if there are none.
    pub end: Cursor,
    /// The newest of them that the source had dropped, or that was purged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Cursor>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl StreamRecord {
    /// The channel of the stream.
    #[must_use]
    pub fn channel(&self) -> &ChannelName {
        match self {
            Self::Create(saved) | Self::Saved(saved) => &saved.channel,
            Self::Append { channel, .. }
            | Self::Close { channel, .. }
            | Self::End { channel, .. }
            | Self::Purge { channel, .. }
            | Self::Renew { channel, .. } => channel,
        }
    }

    /// The last position that it uses, if it uses any: the next message has a greater id.
    #[must_use]
    pub fn position(&self) -> Option<Cursor> {
        match self {
            Self::Create(saved) => Some(saved.state.created()),
            Self::Saved(saved) => Some(saved.state.last()),
            Self::Close { at, .. } => Some(*at),
            Self::End { at, .. } => Some(at.next(0)),
            Self::Append { .. } | Self::Purge { .. } | Self::Renew { .. } => None,
        }
    }

    /// The same at `position`, for a bus that says where it is when it has stored it. A checkpoint stays where it is.
    #[must_use]
    pub fn placed_at(mut self, position: Cursor) -> Self {
        match &mut self {
            Self::Create(saved) => saved.state.create_at(position),
            Self::Close { at, .. } | Self::End { at, .. } => *at = position,
            Self::Append { .. } | Self::Purge { .. } | Self::Renew { .. } | Self::Saved(_) => {}
        }
        self
    }

    /// As bytes, for a bus.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Maps have texts as keys, and nothing else can fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What [`encode`](Self::encode) made; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::stream::{Create, Lifetime, StreamState};

    #[test]
    fn records_are_read_as_they_were_written() {
        let channel: ChannelName = "s".parse().unwrap();
        let producer = Some(Producer { id: "p\u{0}\"".into(), epoch: 1, seq: 2 });
        let create = Create {
            channel: channel.clone(),
            content_type: None,
            lifetime: Lifetime::Until(9),
            is_closed: false,
            payloads: Vec::new(),
            fork: None,
            user: None,
            owner: Some("o".into()),
        };
        let at = Cursor::new(1_763_800_000_000, 7);
        let saved = SavedStream {
            channel: channel.clone(),
            owner: Some("o".into()),
            state: StreamState::new(&create, None, at, 3).save(|ms| ms),
            is_deleted: true,
            dropped: Some(Cursor::new(1, 2)),
            copies: Some(SavedCopies { end: at, dropped: None }),
            messages: 5,
        };
        let next = Cursor::new(at.ms, 8);
        for (record, position) in [
            (StreamRecord::Create(saved.clone()), Some(at)),
            (StreamRecord::Saved(saved), Some(at)),
            (StreamRecord::Append { channel: channel.clone(), producer, seq: Some("a".into()), time_ms: 1 }, None),
            (StreamRecord::Close { channel: channel.clone(), at, by: None }, Some(at)),
            (StreamRecord::End { channel: channel.clone(), at, reason: EndReason::Expired }, Some(next)),
            (StreamRecord::Purge { channel: channel.clone(), up_to: at }, None),
            (StreamRecord::Renew { channel: channel.clone(), time_ms: 1 }, None),
        ] {
            let bytes = record.encode();
            assert_eq!(StreamRecord::decode(&bytes), Some(record.clone()), "{}", String::from_utf8_lossy(&bytes));
            assert_eq!((record.channel(), record.position()), (&channel, position));
            let placed = record.clone().placed_at(Cursor::new(at.ms, 20));
            let expected = match record {
                StreamRecord::Saved(_) => position,
                StreamRecord::End { .. } => Some(Cursor::new(at.ms, 21)),
                _ => position.map(|_| Cursor::new(at.ms, 20)),
            };
            assert_eq!(placed.position(), expected);
        }
        assert_eq!(StreamRecord::decode(b"{}"), None);
        assert_eq!(StreamRecord::decode(b""), None);
    }
}
