//! Damage of what was durable.

use shared::pure::Cursor;

use super::{SimDisk, State, file::Content};

/// Where the head of a segment has the newest id before it: milliseconds and sequence, 8 bytes each.
const BEFORE: usize = 32;
/// The log takes bytes near those that cannot be read for unreadable, too: up to so many before.
const NEARBY: usize = 4_096;

/// What was damaged.
#[derive(Clone, Debug)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// The number of the segment, if the file is one, or the index of one.
    pub segment: Option<u64>,
    /// The newest id before that segment.
    pub after: Cursor,
    /// In a segment, the write that wrote the damaged byte: where it begins, and the number of its change. What was written before is whole.
    pub written: Option<(u64, u64)>,
}

impl SimDisk {
    /// Changes a bit of a file that is proven to be durable, or makes its sector unreadable. Returns what was damaged, or `None` if there is nothing.
    pub fn damage(&self) -> Option<Damage> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let all: Vec<(&String, usize)> = state.names.iter().map(|(name, at)| (name, *at)).collect();
        let newest = all.iter().rev().find(|(name, _)| name.ends_with(".log")).map(|(_, at)| *at);
        let all: Vec<_> = all
            .into_iter()
            .map(|(name, at)| {
                let content = &state.contents[at];
                // At the end of the newest segment, damage cannot be distinguished from an incomplete write.
                (name, at, if Some(at) == newest { content.proven() } else { content.length() })
            })
            .filter(|(_, _, length)| *length > 0)
            .collect();
        if all.is_empty() {
            return None;
        }
        let (name, at, length) = all[state.random.index(all.len())];
        let name = name.clone();
        let place = state.random.index(length);
        let (stem, extension) = name.split_once('.').unwrap_or((&name, ""));
        let segment = Some(extension).filter(|extension| ["log", "index"].contains(extension));
        let segment = segment.and_then(|_| stem.parse().ok());
        let after = segment.and_then(|number| state.before(number)).unwrap_or_default();
        let begin = if state.random.percent(70) {
            let bit = 1 << state.random.below(8);
            state.contents[at].flip(place, bit);
            state.trace.line(format_args!("  disk: a bit of {name} is wrong at {place}"));
            place
        } else {
            state.contents[at].lose(place);
            state.trace.line(format_args!("  disk: {name} cannot be read at {place}"));
            place / NEARBY * NEARBY
        };
        let written = (extension == "log").then(|| state.contents[at].written(begin));
        Some(Damage { file: name, segment, after, written })
    }

    /// The newest id before a segment; `None` if it is not there.
    #[must_use]
    pub fn before(&self, segment: u64) -> Option<Cursor> {
        self.state.lock().before(segment)
    }

    /// Whether there is a file with this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.state.lock().names.contains_key(name)
    }
}

impl State {
    fn before(&self, segment: u64) -> Option<Cursor> {
        before(&self.contents[*self.names.get(&format!("{segment:016}.log"))?])
    }
}

/// The newest id before the segment with this content.
pub(super) fn before(content: &Content) -> Option<Cursor> {
    let number = |at: usize| content.bytes().get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    Some(Cursor::new(number(BEFORE)?, number(BEFORE + 8)?))
}
