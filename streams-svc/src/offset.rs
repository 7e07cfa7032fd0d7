//! Offsets: cursors in a form that sorts as text.

use std::{fmt, str::FromStr};

use shared::pure::Cursor;

/// A cursor as `<ms>_<seq>`, both of fixed width, so that texts sort as positions (PROTOCOL.md of Durable Streams, §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset(pub Cursor);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016}_{:020}", self.0.ms, self.0.seq)
    }
}

/// Where a read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// At the first message.
    Start,
    /// At the end.
    Now,
    /// After this.
    After(Cursor),
}

/// An invalid offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an offset is a Stream-Next-Offset of this server, a cursor such as 1763800000000-0, `-1` for the beginning, or `now`"
)]
pub struct OffsetError;

impl FromStr for Offset {
    type Err = OffsetError;

    fn from_str(text: &str) -> Result<Self, OffsetError> {
        if let Ok(cursor) = text.parse() {
            return Ok(Self(cursor));
        }
        let number = |text: &str| {
            let is_decimal = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_decimal).ok_or(OffsetError)
        };
        let (ms, seq) = text.split_once('_').ok_or(OffsetError)?;
        Ok(Self(Cursor::new(number(ms)?, number(seq)?)))
    }
}

impl FromStr for Position {
    type Err = OffsetError;

    fn from_str(text: &str) -> Result<Self, OffsetError> {
        match text {
            "-1" => Ok(Self::Start),
            "now" => Ok(Self::Now),
            _ => text.parse().map(|Offset(cursor)| Self::After(cursor)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_sort_as_texts_and_read_back() {
        let cursors = [
            Cursor::ZERO,
            Cursor::new(999, u64::MAX),
            Cursor::new(1_763_800_000_000, 0),
            Cursor::new(1_763_800_000_000, 9),
            Cursor::new(1_763_800_000_000, 10),
            Cursor::new(1_763_800_000_001, 0),
        ];
        let texts = cursors.map(|cursor| Offset(cursor).to_string());
        assert!(texts.is_sorted() && texts.iter().all(|text| text.as_str() > "-1"), "{texts:?}");
        for (cursor, text) in cursors.iter().zip(&texts) {
            assert_eq!(text.parse(), Ok(Offset(*cursor)));
            assert_eq!(cursor.to_string().parse(), Ok(Offset(*cursor)), "the cursor of another transport");
        }
    }

    #[test]
    fn what_is_no_offset_is_rejected() {
        for text in [
            "",
            "0,1",
            "0 1",
            "_",
            "1_",
            "_1",
            "+1_2",
            "1_2_3",
            "../1",
            "1_-2",
            "0_0\0",
            "000000000000000000001_0",
            "Now",
        ] {
            assert_eq!(text.parse::<Position>(), Err(OffsetError), "{text:?}");
        }
        assert_eq!(("-1".parse(), "now".parse()), (Ok(Position::Start), Ok(Position::Now)));
    }
}
