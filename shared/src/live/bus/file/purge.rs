//! Purges: all messages of a channel up to an id are removed.
//!
//! ```text
//! Bus::purge ─▶ a state of the log, synced ─▶ the memory, and all readers of the disk ─▶ (later, on another thread) the bytes of all purges ─▶ the
//! state is removed
//! ```
//!
//! A segment that has purged messages is written anew ([`erasing`]), with records of the same length without content in their places: its index, and
//! each place in it, remain valid. The new file replaces the old one at once, so after a crash one of the two is there.

use std::sync::Arc;

use super::{
    catalog::Catalog,
    segment,
    states::{self, States},
};
use crate::{
    live::{
        bus::{StateTable, StoredState},
        log::Log,
    },
    pure::{ChannelName, Cursor},
};

mod erasing;

pub(super) use erasing::{Attempt, Left, erase};

/// Purges whose bytes may still be on disk. A power cut loses none.
pub(super) const TABLE: StateTable = StateTable { is_synced: true, ..StateTable::new("purge", 8 << 20) };
/// What a segment is called while it is written anew.
const NEW: &str = ".new";

/// A purge whose bytes may still be on disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Purge {
    pub(super) channel: ChannelName,
    pub(super) up_to: Cursor,
    /// When it was requested, in milliseconds since the Unix epoch.
    pub(super) at_ms: u64,
}

impl Purge {
    /// As a state of the log.
    pub(super) fn state(&self) -> StoredState {
        let mut key = self.channel.as_bytes().to_vec();
        key.extend_from_slice(&self.up_to.ms.to_be_bytes());
        key.extend_from_slice(&self.up_to.seq.to_be_bytes());
        StoredState { table: TABLE, key, value: Some(self.at_ms.to_be_bytes().to_vec()), until_ms: u64::MAX }
    }

    /// The bytes of its state.
    pub(super) fn size(&self) -> usize {
        let StoredState { key, value, .. } = self.state();
        states::size(&key, &value.unwrap_or_default())
    }

    /// The removal of its state.
    pub(super) fn removal(&self) -> StoredState {
        StoredState { value: None, ..self.state() }
    }

    /// The purge that such a state describes; `None` if it describes none.
    pub(super) fn of(state: &StoredState) -> Option<Self> {
        let (rest, seq) = state.key.split_last_chunk::<8>()?;
        let (channel, ms) = rest.split_last_chunk::<8>()?;
        let at_ms = state.value.as_deref()?.try_into().ok()?;
        Some(Self {
            channel: std::str::from_utf8(channel).ok()?.parse().ok()?,
            up_to: Cursor::new(u64::from_be_bytes(*ms), u64::from_be_bytes(*seq)),
            at_ms: u64::from_be_bytes(at_ms),
        })
    }

    /// Has all readers obey it: none of its messages is read from now on.
    pub(super) fn obey(&self, catalog: &Catalog, log: &Log) {
        self.obey_on_disk(catalog);
        log.purge_up_to(&self.channel, self.up_to);
    }

    /// The same only for what is read from the disk.
    pub(super) fn obey_on_disk(&self, catalog: &Catalog) {
        let mut segments = catalog.segments.lock();
        let removed = Arc::make_mut(&mut segments.removed);
        removed.raise(self.channel.clone(), self.up_to);
        removed.shrink();
        let purged = segments.purged.entry(self.channel.clone()).or_default();
        *purged = self.up_to.max(*purged);
        segments.purges += 1;
    }

    /// The states that change with it: one is enough for a channel, and a repetition does not postpone when the bytes leave the disk.
    pub(super) fn changes(self, states: &States) -> Vec<StoredState> {
        let mut earlier = of_channel(states, &self.channel);
        let at_ms = earlier.iter().map(|earlier| earlier.at_ms).chain([self.at_ms]).min().unwrap_or_default();
        earlier.retain(|earlier| earlier.up_to < self.up_to);
        let mut changes: Vec<StoredState> = earlier.iter().map(Self::removal).collect();
        changes.push(Self { at_ms, ..self }.state());
        changes
    }
}

/// Whether a file is a segment that was not written anew completely.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(NEW).is_some_and(|name| segment::number_of(name).is_some())
}

/// All purges whose bytes may still be on disk.
pub(super) fn all(states: &States) -> Vec<Purge> {
    states.of(TABLE, 0).iter().filter_map(Purge::of).collect()
}

/// Those of one channel.
pub(super) fn of_channel(states: &States, channel: &ChannelName) -> Vec<Purge> {
    let purges = states.beginning_with(TABLE, channel.as_bytes());
    purges.iter().filter_map(Purge::of).filter(|purge| purge.channel == *channel).collect()
}

/// When the oldest of them was requested.
pub(super) fn oldest_ms(states: &States) -> Option<u64> {
    states.values(TABLE).filter_map(|value| Some(u64::from_be_bytes(value.try_into().ok()?))).min()
}
