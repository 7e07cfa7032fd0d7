//! A position in the order of all messages: `<milliseconds>-<sequence>`.
//!
//! A message's id is the cursor after it, on every transport. The format is that of a Redis stream entry id
//! (<https://redis.io/docs/latest/develop/data-types/streams/#entry-ids>), so that a bus can use its own ids.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The milliseconds of the first cursor that a clock can have issued (September 2001, thirteen digits).
///
/// Anything below means "from the very beginning", and does not mean that the client has received anything.
const FIRST_ISSUED: u64 = 1_000_000_000_000;

/// A position between two messages: everything up to and including the message with this id has been received.
///
/// Ordered like the messages. Text form `<ms>-<seq>`, both decimal and without leading zeros, signs or spaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Milliseconds since the Unix epoch, by the clock of the bus.
    pub ms: u64,
    /// The index among the messages of that millisecond, from 0.
    pub seq: u64,
}

/// A text that is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cursor has the form <milliseconds>-<sequence>, such as 1763800000000-0")]
pub struct CursorError;

impl Cursor {
    /// Before every message.
    pub const ZERO: Self = Self { ms: 0, seq: 0 };
    /// After every message.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };
    /// The first cursor that counts as issued by a clock; see [`is_issued`](Self::is_issued).
    pub const FIRST_ISSUED: Self = Self { ms: FIRST_ISSUED, seq: 0 };

    /// The cursor `<ms>-<seq>`.
    #[must_use]
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The id of the next message when the clock reads `now_ms`: greater than this one even if the clock did not advance or was set back.
    #[must_use]
    pub const fn next(self, now_ms: u64) -> Self {
        self.next_in(Epoch::ANY, now_ms)
    }

    /// As [`next`](Self::next), within `epoch`. This cursor has to belong to it, unless its millisecond has passed.
    #[must_use]
    pub const fn next_in(self, epoch: Epoch, now_ms: u64) -> Self {
        if now_ms > self.ms {
            Self::new(now_ms, epoch.mark)
        } else if let Some(seq) = self.seq.checked_add(epoch.step) {
            Self::new(self.ms, seq)
        } else {
            Self::new(self.ms.saturating_add(1), epoch.mark)
        }
    }

    /// The greatest cursor that is less than this one; the first one itself if it is the first.
    #[must_use]
    pub const fn before(self) -> Self {
        match (self.ms, self.seq) {
            (0, 0) => Self::ZERO,
            (ms, 0) => Self::new(ms - 1, u64::MAX),
            (ms, seq) => Self::new(ms, seq - 1),
        }
    }

    /// Whether a clock can have issued this: people write cursors of the last century to mean "from the start".
    #[must_use]
    pub const fn is_issued(self) -> bool {
        self.ms >= FIRST_ISSUED
    }
}

/// A mark that distinguishes the ids of one process from those of another with the same clock or an earlier one.
///
/// It is the remainder of the sequence of each of its ids. Two processes that chose their marks at random have the same one with a
/// probability of one in a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    step: u64,
    mark: u64,
}

impl Epoch {
    /// The number of different marks.
    const MARKS: u32 = 1 << 20;
    /// Matches every cursor: for ids from a store that outlives the process.
    pub const ANY: Self = Self { step: 1, mark: 0 };

    /// The epoch whose mark is `number`, modulo the number of marks.
    #[must_use]
    pub const fn numbered(number: u32) -> Self {
        // Widening: `From` is not const.
        Self { step: Self::MARKS as u64, mark: (number % Self::MARKS) as u64 }
    }

    /// The first cursor of this epoch in millisecond `ms`.
    #[must_use]
    pub const fn first(self, ms: u64) -> Cursor {
        Cursor::new(ms, self.mark)
    }

    /// Whether `cursor` can belong to this epoch.
    #[must_use]
    pub const fn issued(self, cursor: Cursor) -> bool {
        cursor.seq % self.step == self.mark
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (ms, seq) = text.split_once('-').ok_or(CursorError)?;
        Ok(Self::new(decimal(ms)?, decimal(seq)?))
    }
}

/// Only one spelling for each number, so that equal cursors are equal texts: `u64::from_str` would accept `+1` and `01`.
fn decimal(text: &str) -> Result<u64, CursorError> {
    let canonical = text == "0" || text.starts_with(|c: char| matches!(c, '1'..='9'));
    if canonical { text.parse().map_err(|_| CursorError) } else { Err(CursorError) }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a subscription starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// From now on: none of the stored messages.
    #[default]
    Now,
    /// From the oldest stored message.
    Earliest,
    /// After this cursor.
    After(Cursor),
}

impl Since {
    /// After a position that no log of this installation has issued: from the oldest stored message, with a gap reported to the client.
    pub const UNKNOWN: Self = Self::After(Cursor::MAX);
}

/// A `since` that is neither a cursor nor `earliest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`since` must be a cursor such as 1763800000000-0, or `earliest`; omit it to read from now on")]
pub struct SinceError;

impl FromStr for Since {
    type Err = SinceError;

    fn from_str(text: &str) -> Result<Self, SinceError> {
        match text {
            "earliest" => Ok(Self::Earliest),
            _ => text.parse().map(Self::After).map_err(|_| SinceError),
        }
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_only_the_canonical_form() {
        for (text, cursor) in [
            ("0-0", Cursor::ZERO),
            ("1763800000000-0", Cursor::new(1_763_800_000_000, 0)),
            ("18446744073709551615-18446744073709551615", Cursor::MAX),
        ] {
            assert_eq!(text.parse(), Ok(cursor));
            assert_eq!(cursor.to_string(), text);
        }
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "1-2-3",
            "01-0",
            "1-00",
            "+1-0",
            "1 -0",
            " 1-0",
            "1-0\n",
            "a-b",
            "１-0",
            "18446744073709551616-0",
            "1-0\0",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text:?}");
        }
    }

    #[test]
    fn the_next_id_is_greater_whatever_the_clock_does() {
        let at = Cursor::new(10, 3);
        assert_eq!(at.next(11), Cursor::new(11, 0));
        assert_eq!(at.next(10), Cursor::new(10, 4));
        assert_eq!(at.next(2), Cursor::new(10, 4));
        assert_eq!(Cursor::new(10, u64::MAX).next(9), Cursor::new(11, 0));
    }

    #[test]
    fn ids_of_an_epoch_grow_and_keep_its_mark() {
        let (epoch, other) = (Epoch::numbered(7), Epoch::numbered(8));
        let mut id = epoch.first(10);
        for now in [10, 9, 12, 12, 11, 13] {
            let next = id.next_in(epoch, now);
            assert!(next > id && epoch.issued(next) && !other.issued(next), "{next}");
            id = next;
        }
        let last = Cursor::new(10, u64::MAX - 3);
        assert_eq!(last.next_in(epoch, 0), epoch.first(11));
        assert!(Epoch::ANY.issued(Cursor::new(1, 12_345)));
    }

    #[test]
    fn before_a_cursor_there_is_nothing_between() {
        assert_eq!(Cursor::new(5, 3).before(), Cursor::new(5, 2));
        assert_eq!(Cursor::new(5, 0).before(), Cursor::new(4, u64::MAX));
        assert_eq!(Cursor::ZERO.before(), Cursor::ZERO);
    }

    #[test]
    fn since_is_a_cursor_or_earliest() {
        assert_eq!("earliest".parse(), Ok(Since::Earliest));
        assert_eq!("5-1".parse(), Ok(Since::After(Cursor::new(5, 1))));
        for text in ["", "now", "Earliest", "latest", "$"] {
            assert_eq!(text.parse::<Since>(), Err(SinceError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn text_and_value_agree(ms: u64, seq: u64) {
            let cursor = Cursor::new(ms, seq);
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn any_text_is_refused_or_reads_back_as_itself(text in "\\PC{0,24}|[0-9]{1,21}-[0-9]{1,21}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }

        #[test]
        fn ids_only_grow(start: u64, clock in proptest::collection::vec(any::<u64>(), 1..50)) {
            let mut id = Cursor::new(start / 2, 0);
            for now in clock {
                let next = id.next(now / 2);
                prop_assert!(next > id);
                id = next;
            }
        }
    }
}
