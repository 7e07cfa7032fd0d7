//! How many connections of this process read each channel, and of which users.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use parking_lot::Mutex;
use shared::pure::ChannelName;

/// The number of parts of the table, each with its own lock.
const PARTS: usize = 16;

/// See the module. Its size is bounded by that of the registry of connections.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    hasher: RandomState,
    parts: [Mutex<HashMap<ChannelName, Readers>>; PARTS],
}

#[derive(Debug, Default)]
struct Readers {
    count: usize,
    users: HashMap<Arc<str>, usize>,
}

impl Occupancy {
    fn part(&self, channel: &ChannelName) -> &Mutex<HashMap<ChannelName, Readers>> {
        &self.parts[usize::try_from(self.hasher.hash_one(channel) % PARTS as u64).unwrap_or_default()]
    }

    /// A connection of `user` reads `channel`. Calls `first` with whether it is the channel's first, and the user's first there.
    pub(super) fn enter(&self, channel: &ChannelName, user: Option<&Arc<str>>, first: impl FnOnce(bool, bool)) {
        let mut part = self.part(channel).lock();
        let readers = part.entry(channel.clone()).or_default();
        readers.count += 1;
        let of_user = user.map(|user| {
            let count = readers.users.entry(user.clone()).or_default();
            *count += 1;
            *count
        });
        first(readers.count == 1, of_user == Some(1));
    }

    /// It does not any more. Calls `last` with whether it was the channel's last, and the user's last there.
    pub(super) fn leave(&self, channel: &ChannelName, user: Option<&Arc<str>>, last: impl FnOnce(bool, bool)) {
        let mut part = self.part(channel).lock();
        let Some(readers) = part.get_mut(channel) else { return };
        readers.count -= 1;
        let was_last_of_user = user.is_some_and(|user| {
            let Some(count) = readers.users.get_mut(user) else { return false };
            *count -= 1;
            let is_gone = *count == 0;
            if is_gone {
                readers.users.remove(user);
            }
            is_gone
        });
        let was_last = readers.count == 0;
        last(was_last, was_last_of_user);
        if was_last {
            part.remove(channel);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().len()).sum()
    }
}
