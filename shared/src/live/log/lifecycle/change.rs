//! A change of the log that was decided.

use std::fmt;

use super::{Inherited, PRODUCER};
use crate::{
    live::log::Channel,
    pure::{
        Message,
        stream::{StreamRecord, StreamState},
    },
};

/// A change of the log.
pub(in crate::live) enum Change {
    /// A message.
    Message(Message),
    /// A change of a stream; with what a fork begins with.
    Stream(Box<StreamRecord>, Option<Box<Inherited>>),
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => f.debug_tuple("Message").field(&message.id).finish(),
            Self::Stream(record, _) => f.debug_tuple("Stream").field(record).finish(),
        }
    }
}

impl Change {
    pub(in crate::live) fn stream(record: StreamRecord) -> Self {
        Self::Stream(Box::new(record), None)
    }
}

/// The memory that a change of a stream takes at most, besides messages.
pub(super) fn growth(record: &StreamRecord) -> usize {
    match record {
        StreamRecord::Create(saved) => {
            let names = 2 * saved.channel.len() + saved.owner.as_ref().map_or(0, |owner| owner.len());
            let state = StreamState::restore(&saved.state, |time_ms| time_ms);
            Channel::OVERHEAD + names + state.footprint()
        }
        StreamRecord::Append { producer: Some(producer), .. } => PRODUCER + producer.id.len(),
        _ => 0,
    }
}
