//! Who is in which room, on this replica and on the others, and which notifications are due. No I/O: the time is a parameter, and
//! notifications are returned.
//!
//! ```text
//! members come, go, change names ─▶ here ───┐                       ┌─▶ the clients of this replica
//! notices of other replicas ────▶ others ───┴─▶ tick: what changed ─┴─▶ the other replicas
//! ```
//!
//! The cost of a change is proportional to the change: nothing here visits all members of a room.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use shared::pure::ChannelName;

use super::notice::{Notice, Part, Replica, What};
use crate::reply::Present;

/// In a larger room, clients receive the number of members only.
pub(super) const MAX_NAMES: usize = 100;
/// Minimum interval between two notifications of a room.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// The interval grows by itself for each of this many members here: notifying a large room costs as much as it has members.
const MEMBERS_A_PERIOD: usize = 1_000;
/// The longest interval of a large room.
const MAX_PERIODS: u32 = 10;
/// A replica sends a notice at least this often.
const BEAT: Duration = Duration::from_secs(2);
/// A replica without notices for this long is removed, with all its members.
const SILENCE: Duration = Duration::from_secs(5);
/// Maximum number of rooms in one notice.
const MAX_PARTS_PER_NOTICE: usize = 64;

/// See the module.
#[derive(Default)]
pub(super) struct Table {
    here: HashMap<ChannelName, Here>,
    others: HashMap<Replica, Other>,
    /// Rooms whose clients are due a notification.
    to_notify: HashSet<ChannelName>,
    /// Rooms whose part is due to be sent to the other replicas.
    to_send: HashSet<ChannelName>,
    /// The number of the last notice with parts.
    number: u64,
    /// When the last notice was sent; `None` before the first.
    sent: Option<Instant>,
    /// Another replica has requested the whole state.
    is_asked: bool,
}

/// The members of one room on this replica.
#[derive(Default)]
struct Here {
    count: usize,
    /// The number of members with each name, in the order in which they are listed.
    names: BTreeMap<Arc<str>, usize>,
    last_notified: Option<Instant>,
}

/// Another replica.
struct Other {
    heard: Instant,
    /// The number of its last notice with parts.
    number: u64,
    /// No notice of it has been missed.
    is_whole: bool,
    /// How often it has sent its whole state, and with each room, the last time that it named it.
    round: u64,
    rooms: HashMap<ChannelName, (u64, Part)>,
}

/// The actions that are due.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Due {
    /// The clients of these rooms receive their members.
    pub(super) notify: Vec<(ChannelName, Present)>,
    /// The other replicas receive this, in this order.
    pub(super) send: Vec<What>,
}

impl Table {
    /// A member with this name has joined a room.
    pub(super) fn enter(&mut self, room: &ChannelName, name: &Arc<str>) {
        let here = self.here.entry(room.clone()).or_default();
        here.count += 1;
        *here.names.entry(name.clone()).or_default() += 1;
        self.changed_here(room);
    }

    /// A member with this name has left.
    pub(super) fn leave(&mut self, room: &ChannelName, name: &str) {
        let Some(here) = self.here.get_mut(room) else { return };
        here.drop_name(name);
        here.count -= 1;
        if here.count == 0 {
            self.here.remove(room);
        }
        self.changed_here(room);
    }

    /// A member of a room has changed their name.
    pub(super) fn rename(&mut self, room: &ChannelName, old: &str, new: &Arc<str>) {
        let Some(here) = self.here.get_mut(room) else { return };
        here.drop_name(old);
        *here.names.entry(new.clone()).or_default() += 1;
        self.changed_here(room);
    }

    fn changed_here(&mut self, room: &ChannelName) {
        self.to_notify.insert(room.clone());
        self.to_send.insert(room.clone());
    }

    /// The members of a room, on all replicas.
    pub(super) fn present(&self, room: &str) -> Present {
        let here = self.here.get(room);
        let parts = || self.others.values().filter_map(|other| other.rooms.get(room)).map(|(_, part)| part);
        let count = here.map_or(0, |here| here.count) + parts().map(|part| part.count).sum::<usize>();
        let is_known = count <= MAX_NAMES && parts().all(|part| part.names.is_some());
        let members = is_known.then(|| {
            let mut names: Vec<Arc<str>> = Vec::with_capacity(count);
            names.extend(here.into_iter().flat_map(Here::all));
            let is_mixed = !names.is_empty();
            names.extend(parts().filter_map(|part| part.names.as_ref()).flatten().cloned());
            if is_mixed || self.others.len() > 1 {
                names.sort_unstable();
            }
            names
        });
        Present { count, members }
    }

    /// The number of replicas, including this one.
    pub(super) fn replicas(&self) -> usize {
        self.others.len() + 1
    }

    /// Another replica sent a notice.
    pub(super) fn hear(&mut self, notice: Notice, me: Replica, now: Instant) {
        let Notice { from, what } = notice;
        if from == me {
            return;
        }
        match what {
            What::Hello => self.is_asked = true,
            What::Ask { of } => self.is_asked |= of == me,
            What::Bye => return self.forget(from),
            What::Beat { .. } | What::Parts { .. } => {}
        }
        let other = self.others.entry(from).or_insert_with(|| Other {
            heard: now,
            number: 0,
            is_whole: false,
            round: 0,
            rooms: HashMap::new(),
        });
        other.heard = now;
        match what {
            What::Beat { number } => other.is_whole &= number == other.number,
            What::Parts { number, is_first, is_last, parts } => {
                // A whole state starts anew; after a missed notice nothing else is accepted.
                other.is_whole = is_first || (other.is_whole && number == other.number + 1);
                other.number = number;
                if !other.is_whole {
                    return;
                }
                other.round += u64::from(is_first);
                for part in parts {
                    let round = other.round;
                    let before = if part.count == 0 {
                        other.rooms.remove(&part.room).map(|(_, before)| before)
                    } else {
                        other.rooms.insert(part.room.clone(), (round, part.clone())).map(|(_, before)| before)
                    };
                    let is_same = before.as_ref().map_or(part.count == 0, |before| *before == part);
                    if !is_same && self.here.contains_key(&part.room) {
                        self.to_notify.insert(part.room);
                    }
                }
                if is_last {
                    let (here, to_notify, round) = (&self.here, &mut self.to_notify, other.round);
                    other.rooms.retain(|room, (named, _)| {
                        let stays = *named == round;
                        if !stays && here.contains_key(room) {
                            to_notify.insert(room.clone());
                        }
                        stays
                    });
                }
            }
            What::Hello | What::Ask { .. } | What::Bye => {}
        }
    }

    fn forget(&mut self, replica: Replica) {
        let Some(other) = self.others.remove(&replica) else { return };
        let known = other.rooms.into_keys().filter(|room| self.here.contains_key(room));
        self.to_notify.extend(known);
    }

    /// The actions that are due now. Call it every [`PERIOD`].
    pub(super) fn tick(&mut self, now: Instant) -> Due {
        let silent = |other: &Other| now.saturating_duration_since(other.heard) >= SILENCE;
        let gone: Vec<Replica> =
            self.others.iter().filter(|(_, other)| silent(other)).map(|(replica, _)| *replica).collect();
        gone.into_iter().for_each(|replica| self.forget(replica));
        Due { send: self.notices(now), notify: self.due_notifications(now) }
    }

    fn due_notifications(&mut self, now: Instant) -> Vec<(ChannelName, Present)> {
        let mut notifications = Vec::new();
        let (due, later) = self.to_notify.drain().partition(|room| match self.here.get_mut(room) {
            Some(here)
                if here.last_notified.is_some_and(|last| now.saturating_duration_since(last) < here.period()) =>
            {
                false
            }
            Some(here) => {
                here.last_notified = Some(now);
                true
            }
            // No client is left here to notify.
            None => true,
        });
        self.to_notify = later;
        let due: HashSet<ChannelName> = due;
        for room in due.into_iter().filter(|room| self.here.contains_key(room)) {
            let present = self.present(&room);
            notifications.push((room, present));
        }
        notifications
    }

    fn notices(&mut self, now: Instant) -> Vec<What> {
        let mut notices = Vec::new();
        if self.sent.is_none() {
            notices.push(What::Hello);
        }
        notices.extend(self.others.iter().filter(|(_, other)| !other.is_whole).map(|(of, _)| What::Ask { of: *of }));
        let is_whole = std::mem::take(&mut self.is_asked);
        let rooms: Vec<ChannelName> = if is_whole {
            self.to_send.clear();
            self.here.keys().cloned().collect()
        } else {
            self.to_send.drain().collect()
        };
        let chunks = rooms.chunks(MAX_PARTS_PER_NOTICE);
        let last = chunks.len().saturating_sub(1);
        for (at, chunk) in chunks.enumerate() {
            let parts = chunk.iter().map(|room| self.part(room)).collect();
            self.number += 1;
            let (is_first, is_last) = (is_whole && at == 0, is_whole && at == last);
            notices.push(What::Parts { number: self.number, is_first, is_last, parts });
        }
        if is_whole && rooms.is_empty() {
            self.number += 1;
            notices.push(What::Parts { number: self.number, is_first: true, is_last: true, parts: Vec::new() });
        }
        if notices.is_empty() && self.sent.is_none_or(|sent| now.saturating_duration_since(sent) >= BEAT) {
            notices.push(What::Beat { number: self.number });
        }
        if !notices.is_empty() {
            self.sent = Some(now);
        }
        notices
    }

    /// The members of a room on this replica.
    fn part(&self, room: &ChannelName) -> Part {
        let here = self.here.get(room);
        let count = here.map_or(0, |here| here.count);
        let names = (count <= MAX_NAMES).then(|| here.into_iter().flat_map(Here::all).collect());
        Part { room: room.clone(), count, names }
    }
}

impl Here {
    fn drop_name(&mut self, name: &str) {
        if let Some(count) = self.names.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.names.remove(name);
            }
        }
    }

    /// The name of each.
    fn all(&self) -> impl Iterator<Item = Arc<str>> {
        self.names.iter().flat_map(|(name, count)| std::iter::repeat_n(name.clone(), *count))
    }

    fn period(&self) -> Duration {
        let times = u32::try_from(1 + self.count / MEMBERS_A_PERIOD).unwrap_or(MAX_PERIODS).min(MAX_PERIODS);
        // A tick may be slightly early.
        (PERIOD * times).saturating_sub(PERIOD / 4)
    }
}

#[cfg(test)]
mod tests;
