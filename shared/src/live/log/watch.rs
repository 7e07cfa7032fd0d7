//! Readers of many channels, selected by name: they visit only channels with new messages.
//!
//! ```text
//! Log::insert ─▶ the channel is noted in each watch that selects it ─┬▶ Watch::after reads the channels noted since the last call
//!                                                                    └▶ ChannelWatch::poll_take returns their names
//! ```

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;

use super::{Channel, Log};
use crate::pure::{ChannelName, Cursor, Message};

/// Returns the messages of all channels with a prefix, in the order of their ids. Created by [`Log::watch`].
pub struct Watch {
    log: Arc<Log>,
    noted: Arc<Noted>,
}

/// Returns the names of channels that have new messages. Created by [`Log::watch_channels`].
pub struct ChannelWatch {
    log: Arc<Log>,
    noted: Arc<Noted>,
}

/// The channels with messages that have not been read: at most one entry for a channel.
pub(super) struct Noted {
    is_wanted: Box<dyn Fn(&ChannelName) -> bool + Send + Sync>,
    channels: Mutex<HashMap<ChannelName, Arc<Channel>>>,
    waker: AtomicWaker,
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
                noted.channels.lock().insert(channel.name.clone(), channel.clone());
                is_new = true;
            }
            if is_new {
                wakers.extend(noted.waker.take());
            }
            true
        });
    }
}

impl Log {
    /// Watches all channels whose names begin with `prefix`. Visits every channel once, now; later reads visit only channels with new
    /// messages.
    pub fn watch(self: &Arc<Self>, prefix: &'static str) -> Watch {
        Watch { log: self.clone(), noted: self.note_all(Box::new(move |name| name.starts_with(prefix))) }
    }

    /// Watches all channels that `is_wanted` selects. Visits every channel once, now; later only those with new messages.
    pub fn watch_channels(
        self: &Arc<Self>,
        is_wanted: impl Fn(&ChannelName) -> bool + Send + Sync + 'static,
    ) -> ChannelWatch {
        ChannelWatch { log: self.clone(), noted: self.note_all(Box::new(is_wanted)) }
    }

    fn note_all(&self, is_wanted: Box<dyn Fn(&ChannelName) -> bool + Send + Sync>) -> Arc<Noted> {
        let mut writer = self.writer.lock();
        let matching = writer.channels.iter().filter(|(name, _)| is_wanted(name));
        let channels = matching.map(|(name, channel)| (name.clone(), channel.clone())).collect();
        let noted = Arc::new(Noted { is_wanted, channels: Mutex::new(channels), waker: AtomicWaker::new() });
        writer.watches.push(Arc::downgrade(&noted));
        noted
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl ChannelWatch {
    /// The channels that got messages since the last call, and the head of the log: all messages up to it are of these channels, or were
    /// before. The first call returns every channel that the log knows. Waits while there are none.
    pub fn poll_take(&self, cx: &Context<'_>) -> Poll<(Vec<ChannelName>, Cursor)> {
        self.noted.waker.register(cx.waker());
        // Together, so that the head does not move in between.
        let writer = self.log.writer.lock();
        let channels = mem::take(&mut *self.noted.channels.lock());
        let head = self.log.head();
        drop(writer);
        if channels.is_empty() { Poll::Pending } else { Poll::Ready((channels.into_keys().collect(), head)) }
    }
}

impl fmt::Debug for ChannelWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelWatch").finish_non_exhaustive()
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
            found.extend(channel.history.lock().range(cursor, head).cloned());
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
    #[test]
    fn a_watch_of_channels_wakes_for_those_it_selects() {
        let log = Arc::new(Log::new(Limits::default(), Cursor::ZERO));
        publish(&log, "a.1", 0);
        publish(&log, "b", 0);
        let watch = log.watch_channels(|name| name.starts_with("a."));
        let woken = Arc::new(Woken::default());
        let take = || match watch.poll_take(&Context::from_waker(&Waker::from(woken.clone()))) {
            Poll::Ready((mut names, head)) => {
                names.sort_unstable();
                assert_eq!(head, log.head());
                names.iter().map(ToString::to_string).collect()
            }
            Poll::Pending => Vec::new(),
        };
        assert_eq!(take(), ["a.1"]);
        assert_eq!(take(), [""; 0]);
        publish(&log, "b", 0);
        assert_eq!(woken.0.load(std::sync::atomic::Ordering::SeqCst), 0);
        for name in ["a.2", "a.1", "a.2"] {
            publish(&log, name, 0);
        }
        assert_eq!(woken.0.load(std::sync::atomic::Ordering::SeqCst), 1, "once, until it looks again");
        assert_eq!(take(), ["a.1", "a.2"]);
    }

    #[derive(Default)]
    struct Woken(std::sync::atomic::AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
}
