//! Readers of many channels, selected by name: they visit only channels with new messages.
//!
//! ```text
//! Log::insert ─▶ the channel is noted in each watch that selects it ─┬▶ Watch::after reads the channels noted since the last call
//!                                                                    └▶ a Reader of a pattern adds them to its subscriptions
//! ```

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Waker,
};

use parking_lot::Mutex;

use super::{Channel, Log, Waiter};
use crate::{
    live::reader::COLLECTED_BYTES,
    pure::{ChannelName, Cursor, Loss, Message},
};

/// Returns the messages of all channels with a prefix, in the order of their ids. Created by [`Log::watch`].
pub struct Watch {
    log: Arc<Log>,
    noted: Arc<Noted>,
}

/// Maximum number of channels that are noted for one pattern until its reader reads.
const MAX_NOTED: usize = 2_048;

/// The memory of a noted channel in bytes, in a table that is filled to 7/16.
const NOTED_BYTES: usize = (size_of::<(ChannelName, Arc<Channel>)>() + 1) * 16 / 7;

/// The channels with messages that have not been read: at most one entry for a channel.
pub(in crate::live) struct Noted {
    is_wanted: Box<dyn Fn(&ChannelName) -> bool + Send + Sync>,
    channels: Mutex<HashMap<ChannelName, Arc<Channel>>>,
    /// The number of channels beyond which no more are noted. A reader that finds as many looks at the log itself.
    most: usize,
    /// The number of channels that its reader has collected from what was noted, and from the log.
    collected: AtomicUsize,
    waiter: Arc<Waiter>,
}

/// The watches of a log, which end when they are dropped.
pub(super) type Watches = Vec<Weak<Noted>>;

impl Noted {
    /// Records channels with new messages, and adds whom to wake. Called under the writer's lock, outside of which `wakers` are to be called.
    pub(super) fn note(watches: &mut Watches, channels: &[Arc<Channel>], wakers: &mut Vec<Waker>) {
        watches.retain(|watch| {
            let Some(noted) = watch.upgrade() else { return false };
            let mut is_new = false;
            for channel in channels.iter().filter(|channel| (noted.is_wanted)(&channel.name)) {
                let mut channels = noted.channels.lock();
                if channels.len() < noted.most {
                    channels.insert(channel.name.clone(), channel.clone());
                }
                is_new = true;
            }
            if is_new {
                wakers.extend(noted.waiter.waker.take());
            }
            true
        });
    }

    /// Those that wait for messages of channels that do not exist yet.
    pub(super) fn wakers(watches: &Watches) -> Vec<Waker> {
        watches.iter().filter_map(|watch| watch.upgrade()?.waiter.waker.take()).collect()
    }

    /// Its reader has collected this many channels.
    pub(in crate::live) fn set_collected(&self, channels: usize) {
        self.collected.store(channels, Relaxed);
    }

    /// The memory of what is noted and collected.
    pub(super) fn bytes(watches: &Watches) -> usize {
        let bytes = |noted: Arc<Self>| {
            noted.channels.lock().len() * NOTED_BYTES + noted.collected.load(Relaxed) * COLLECTED_BYTES
        };
        watches.iter().filter_map(Weak::upgrade).map(bytes).sum()
    }

    /// How many channels are noted.
    #[cfg(test)]
    pub(in crate::live) fn count(&self) -> usize {
        self.channels.lock().len()
    }

    /// The channels with new messages since the last call; `None` if there were too many.
    pub(in crate::live) fn take(&self) -> Option<Vec<Arc<Channel>>> {
        let channels = {
            let mut channels = self.channels.lock();
            if channels.is_empty() {
                return Some(Vec::new());
            }
            mem::take(&mut *channels)
        };
        // Dropped here, and not by a publisher, if they are the last references.
        (channels.len() < self.most).then(|| channels.into_values().collect())
    }
}

impl Log {
    /// Watches all channels whose names begin with `prefix`. Visits every channel once, now; later reads visit only channels with new
    /// messages.
    pub fn watch(self: &Arc<Self>, prefix: &'static str) -> Watch {
        Watch { log: self.clone(), noted: self.note_all(Box::new(move |name| name.starts_with(prefix))) }
    }

    fn note_all(&self, is_wanted: Box<dyn Fn(&ChannelName) -> bool + Send + Sync>) -> Arc<Noted> {
        let mut writer = self.writer.lock();
        let matching = writer.channels.iter().filter(|(name, _)| is_wanted(name));
        let channels = matching.map(|(name, channel)| (name.clone(), channel.clone())).collect();
        let (channels, waiter) = (Mutex::new(channels), Arc::default());
        let noted = Arc::new(Noted { is_wanted, channels, most: usize::MAX, collected: AtomicUsize::new(0), waiter });
        writer.watches.push(Arc::downgrade(&noted));
        noted
    }

    /// Notes channels with new messages that `pattern` selects, and wakes `waiter` for them, until the result is dropped.
    pub(in crate::live) fn note_pattern(&self, pattern: &ChannelName, waiter: &Arc<Waiter>) -> Arc<Noted> {
        let selector = pattern.clone();
        self.note_wanted(Box::new(move |name: &ChannelName| selector.selects(name)), waiter)
    }

    /// As [`note_pattern`](Self::note_pattern), for channels of which `is_wanted` holds.
    pub(super) fn note_wanted(
        &self,
        is_wanted: Box<dyn Fn(&ChannelName) -> bool + Send + Sync>,
        waiter: &Arc<Waiter>,
    ) -> Arc<Noted> {
        let (channels, waiter) = (Mutex::default(), waiter.clone());
        let noted = Arc::new(Noted { is_wanted, channels, most: MAX_NOTED, collected: AtomicUsize::new(0), waiter });
        self.writer.lock().watches.push(Arc::downgrade(&noted));
        noted
    }

    /// The channels that `pattern` selects and that exist now; one with that name, if it is no pattern. Holds the writer's lock for a part of
    /// them at a time.
    pub(in crate::live) fn selected_by(&self, pattern: &ChannelName) -> Vec<Arc<Channel>> {
        if !pattern.is_pattern() {
            return self.find(pattern).into_iter().collect();
        }
        let mut found = Vec::new();
        let mut parts = 0..;
        while parts
            .next()
            .and_then(|part| self.visit_selected(pattern, part, |channel| found.push(channel.clone())))
            .is_some()
        {}
        found
    }

    /// Calls `visit` for the channels in the part `part` that `pattern` selects, and returns how many channels the part has; `None` if there is
    /// no such part. Holds the writer's lock.
    pub(in crate::live) fn visit_selected(
        &self,
        pattern: &ChannelName,
        part: usize,
        mut visit: impl FnMut(&Arc<Channel>),
    ) -> Option<usize> {
        let mut visited = 0;
        let mut select = |channel: &Arc<Channel>| {
            visited += 1;
            if pattern.selects(&channel.name) {
                visit(channel);
            }
        };
        self.writer.lock().channels.visit(part, &mut select).then_some(visited)
    }

    /// What channels that the log does not know any more may have lost.
    pub(in crate::live) fn forgotten(&self) -> Loss {
        self.writer.lock().forgotten()
    }

    /// The number of patterns of readers, and of other watches. Each publication is compared with all of them.
    pub fn patterns(&self) -> usize {
        self.writer.lock().watches.iter().filter(|watch| watch.strong_count() > 0).count()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    /// The messages after `cursor`, and the cursor after them. `cursor` is the one that the previous call returned: only the first call
    /// finds messages before it.
    pub fn after(&self, cursor: Cursor) -> (Vec<Arc<Message>>, Cursor) {
        let (head, channels) = {
            // Together, so that no channel is recorded for a message beyond the head and then cleared.
            let writer = self.log.writer.lock();
            let head = self.log.head();
            if head <= cursor || head < writer.last {
                return (Vec::new(), cursor);
            }
            (head, mem::take(&mut *self.noted.channels.lock()))
        };
        let mut found = Vec::new();
        for channel in channels.into_values() {
            found.extend(channel.history.lock().own(cursor, head).cloned());
        }
        found.sort_unstable_by_key(|message| message.id);
        (found, head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        live::log::Limits,
        pure::{Draft, Payload},
    };

    fn publish(log: &Log, channel: &str, n: u64) -> Cursor {
        let draft = Draft::new(channel.parse().unwrap(), Payload::from_value(&n));
        log.append(vec![draft], 1_000)[0]
    }

    fn ids(messages: &[Arc<Message>]) -> Vec<Cursor> {
        messages.iter().map(|message| message.id).collect()
    }

    /// Case 8.6: a reader of all rooms visits the channels that got something since it last looked, however many there are.
    #[test]
    fn only_channels_that_got_something_are_visited() {
        let log = Arc::new(Log::new(Limits::default(), Cursor::ZERO));
        let start = log.head();
        let first: Vec<Cursor> = (0..1_000).map(|n| publish(&log, &format!("chat.{n}"), n)).collect();
        let watch = log.watch("chat.");
        let (found, mut at) = watch.after(start);
        assert_eq!((ids(&found), at), (first, log.head()));
        assert_eq!(watch.noted.channels.lock().len(), 0);
        for round in 0..10 {
            let mut expected = vec![publish(&log, "chat.7", round)];
            publish(&log, "news", round);
            expected.push(publish(&log, "chat.new", round));
            expected.push(publish(&log, "chat.7", round));
            assert_eq!(watch.noted.channels.lock().len(), 2, "the two of a thousand that got something");
            let (found, next) = watch.after(at);
            assert_eq!((ids(&found), next), (expected, log.head()));
            assert!(watch.after(next).0.is_empty());
            at = next;
        }
        drop(watch);
        publish(&log, "chat.7", 0);
        assert!(log.writer.lock().watches.is_empty(), "a watch that is dropped costs nothing");
    }
}
