//! A reader of all channels with a prefix: it visits only channels with new messages.
//!
//! ```text
//! Log::insert ─▶ the channel is noted in each Watch whose prefix it has ─▶ Watch::after reads the channels noted since the last call
//! ```

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use super::{Channel, Log};
use crate::pure::{ChannelName, Cursor, Message};

/// Returns the messages of all channels with a prefix, in the order of their ids. Created by [`Log::watch`].
pub struct Watch {
    log: Arc<Log>,
    noted: Arc<Noted>,
}

/// The channels with messages that have not been read: at most one entry for a channel.
pub(super) struct Noted {
    prefix: &'static str,
    channels: Mutex<HashMap<ChannelName, Arc<Channel>>>,
}

/// The watches of a log, which end when they are dropped.
pub(super) type Watches = Vec<Weak<Noted>>;

impl Noted {
    /// Records channels with new messages. Called under the writer's lock.
    pub(super) fn note(watches: &mut Watches, channels: &[Arc<Channel>]) {
        watches.retain(|watch| {
            let Some(noted) = watch.upgrade() else { return false };
            for channel in channels.iter().filter(|channel| channel.name.starts_with(noted.prefix)) {
                noted.channels.lock().insert(channel.name.clone(), channel.clone());
            }
            true
        });
    }
}

impl Log {
    /// Watches all channels whose names begin with `prefix`. Visits every channel once, now; later reads visit only channels with new
    /// messages.
    pub fn watch(self: &Arc<Self>, prefix: &'static str) -> Watch {
        let mut writer = self.writer.lock();
        let matching = writer.channels.iter().filter(|(name, _)| name.starts_with(prefix));
        let channels = matching.map(|(name, channel)| (name.clone(), channel.clone())).collect();
        let noted = Arc::new(Noted { prefix, channels: Mutex::new(channels) });
        writer.watches.push(Arc::downgrade(&noted));
        Watch { log: self.clone(), noted }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("prefix", &self.noted.prefix).finish_non_exhaustive()
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
}
