//! What a log has lost: up to which id, and when.

use super::Cursor;

/// Messages that are lost: none after `up_to`, and none after the event `number`.
///
/// Two losses are compared with what a reader knows by both. A message that was still stored when a gap was reported may be older than that gap, and
/// is lost later: its position alone would seem to be reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    /// The newest id of them.
    pub up_to: Cursor,
    /// The number of the event by which the last of them was lost. Those of one log ascend from 1 on; 0 means that nothing is lost.
    pub number: u64,
}

impl Loss {
    /// Whether something is lost after the position `after`, by an event after the one with the number `reported`.
    #[must_use]
    pub fn is_news(self, after: Cursor, reported: u64) -> bool {
        self.up_to > after && self.number > reported
    }

    /// One loss in place of two.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { up_to: self.up_to.max(other.up_to), number: self.number.max(other.number) }
    }

    /// Whether `other` in place of both reports everything.
    #[must_use]
    pub fn is_part_of(self, other: Self) -> bool {
        self.with(other) == other
    }

    /// Its id, if anything is lost.
    #[must_use]
    pub fn id(self) -> Option<Cursor> {
        Some(self.up_to).filter(|up_to| *up_to > Cursor::ZERO)
    }
}
