//! What a session stores of its feed, and what the offsets of its events mean.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use shared::{
    live::{
        log::{Log, Opener},
        reader::Reader,
    },
    pure::{ChannelName, Cursor, Since},
};

use crate::selectors;

/// A catch-up, as stored in a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CatchUp {
    pub(super) number: u64,
    #[serde(deserialize_with = "selectors::names")]
    pub(super) channels: Vec<ChannelName>,
    /// Where to begin; `None` is the oldest stored message.
    pub(super) since: Option<Cursor>,
    /// Its end: the position of the live reader when it began.
    pub(super) until: Cursor,
    /// Whether it is for the ends of streams that were closed before, and for no messages. Then its positions are those of ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_for_ends: bool,
}

impl CatchUp {
    pub(super) fn open(&self, log: &Arc<Log>) -> Reader {
        if self.is_for_ends {
            return self.resume(log, Cursor::ZERO, None);
        }
        Reader::open(log, &self.channels, self.since.map_or(Since::Earliest, Since::After))
    }

    /// Its reader, for a client that has received everything up to `cursor`.
    pub(super) fn resume(&self, log: &Arc<Log>, cursor: Cursor, opener: Option<Arc<Opener>>) -> Reader {
        let since = if self.is_for_ends { self.until } else { cursor };
        let mut reader = Reader::open_for(log, &self.channels, Since::After(since), opener);
        if self.is_for_ends {
            reader.require_closed_after(cursor);
        }
        reader
    }
}

/// The subscriptions of a feed, as stored in a session: with an offset, they restore the same feed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Distinguishes this session's catch-ups from those of others: the upper half of their numbers.
    #[serde(default)]
    pub(super) session: u32,
    /// The channels, and the position from which each is read live.
    #[serde(deserialize_with = "selectors::positions")]
    pub(super) channels: Vec<(ChannelName, Cursor)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) catch_ups: Vec<CatchUp>,
}

impl Plan {
    pub(super) fn first_number(&self) -> u64 {
        u64::from(self.session) << 32
    }

    /// The position of the live reader when the session began, or a later one before anything that it reads. `None` if it reads nothing.
    pub(crate) fn beginning(&self) -> Option<Cursor> {
        let live = self.channels.iter().map(|(_, from)| *from);
        live.chain(self.catch_ups.iter().map(|catch_up| catch_up.until)).min()
    }

    /// Reads subscriptions after a cursor that no log has issued from the end of their catch-up on, if that is one of the first `begun`. A
    /// feed does the same when a catch-up begins, but the session may have been saved earlier and its process killed.
    pub(super) fn forget_unissued(&mut self, begun: usize, head: Cursor) {
        for catch_up in self.catch_ups.iter().take(begun).filter(|catch_up| catch_up.since > Some(head)) {
            let is_read = |(channel, from): &&mut (ChannelName, Cursor)| {
                catch_up.since == Some(*from) && catch_up.channels.contains(channel)
            };
            self.channels.iter_mut().filter(is_read).for_each(|(_, from)| *from = catch_up.until);
        }
    }

    /// Whether a catch-up of this number belongs to this session.
    pub(super) fn is_mine(&self, number: u64) -> bool {
        number >> 32 == u64::from(self.session)
    }
}

/// The meaning of an event's offset: everything before it has been received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offset {
    pub(super) live: Cursor,
    /// The number of the catch-up that the event belongs to, and its position: earlier catch-ups are done. At [`Cursor::ZERO`] it has not
    /// begun.
    pub(super) catch_up: Option<(u64, Cursor)>,
}

impl Offset {
    /// The latest position that it names.
    pub(crate) fn cursor(&self) -> Cursor {
        self.live
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.catch_up {
            None => write!(f, "{}", self.live),
            Some((number, cursor)) => write!(f, "{}/{number}/{cursor}", self.live),
        }
    }
}

impl FromStr for Offset {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('/');
        let live = parts.next().and_then(|live| live.parse().ok()).ok_or(())?;
        let catch_up = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            (Some(number), Some(cursor), None) => {
                Some((number.parse().map_err(|_| ())?, cursor.parse().map_err(|_| ())?))
            }
            _ => return Err(()),
        };
        Ok(Self { live, catch_up })
    }
}
