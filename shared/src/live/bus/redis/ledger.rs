//! How much of the stream is needed: the newest entries within the memory limit.
//!
//! Every process reads every entry, so each can compute by itself where the stream can be trimmed, and all get the same result.

use std::collections::VecDeque;

use crate::pure::Cursor;

/// The number of parts of the memory limit, which determines the precision, and the length of the list.
const PARTS: usize = 256;

/// The newest entries, in parts.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The memory limit for entries in bytes; `None` is no limit.
    room: Option<usize>,
    /// The first entry of each part, and its size in bytes.
    parts: VecDeque<(Cursor, usize)>,
    bytes: usize,
    is_over: bool,
}

impl Ledger {
    pub(super) fn new(room: Option<usize>) -> Self {
        Self { room, parts: VecDeque::new(), bytes: 0, is_over: false }
    }

    /// Counts the newest entry.
    pub(super) fn add(&mut self, id: Cursor, bytes: usize) {
        let Some(room) = self.room else { return };
        match self.parts.back_mut() {
            Some((_, part)) if *part + bytes <= room / PARTS => *part += bytes,
            _ => self.parts.push_back((id, bytes)),
        }
        self.bytes += bytes;
        while let Some((_, oldest)) = self.parts.front().filter(|_| self.parts.len() > 1) {
            if self.bytes - oldest < room {
                break;
            }
            self.bytes -= oldest;
            self.parts.pop_front();
            self.is_over = true;
        }
    }

    /// Entries before this one are not needed.
    pub(super) fn edge(&self) -> Cursor {
        self.parts.front().filter(|_| self.is_over).map_or(Cursor::ZERO, |(first, _)| *first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_a_limit_all_is_needed() {
        let mut ledger = Ledger::new(None);
        (1..1_000).for_each(|ms| ledger.add(Cursor::new(ms, 0), usize::MAX / 2_000));
        assert_eq!((ledger.edge(), ledger.parts.len()), (Cursor::ZERO, 0));
    }

    proptest! {
        /// The kept entries fill the limit with little excess, whatever their sizes are, and the list stays short.
        #[test]
        fn the_edge_leaves_the_room_full(room in 1..100_000_usize, sizes in proptest::collection::vec(1..2_000_usize, 1..3_000)) {
            let mut ledger = Ledger::new(Some(room));
            let largest = *sizes.iter().max().unwrap();
            for (ms, size) in sizes.iter().enumerate() {
                ledger.add(Cursor::new(ms as u64 + 1, 0), *size);
                let first = usize::try_from(ledger.edge().ms).unwrap().max(1) - 1;
                let kept: usize = sizes[first..=ms].iter().sum();
                prop_assert!(first == 0 || kept >= room, "{kept} of {room}");
                prop_assert!(kept <= room + room / PARTS + 2 * largest, "{kept} of {room}");
                prop_assert!(ledger.parts.len() <= 2 * PARTS + 4);
            }
        }
    }
}
