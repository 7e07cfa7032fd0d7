//! The channels that share a budget of memory: those of clients, those of the server, and streams, so that none evicts messages of another.

use std::{collections::BTreeMap, sync::Arc};

use super::Channel;
use crate::pure::{Cursor, Message};

/// See the module.
pub(super) struct Pool {
    /// Every channel with messages, by the id of its oldest message: the order of eviction by age and by memory. Empty for streams.
    pub(super) oldest: BTreeMap<Cursor, Arc<Channel>>,
    /// Bytes of memory of messages and of channels with messages.
    pub(super) footprint: usize,
    /// The limit of `footprint`.
    most: usize,
    pub(super) messages: usize,
}

impl Pool {
    pub(super) fn new(most: Option<usize>) -> Self {
        Self { oldest: BTreeMap::new(), footprint: 0, most: most.unwrap_or(usize::MAX), messages: 0 }
    }

    /// The limit of `footprint`.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// The channel with the oldest message.
    pub(super) fn first(&self) -> Option<&Arc<Channel>> {
        self.oldest.first_key_value().map(|(_, channel)| channel)
    }

    /// Whether the oldest message has to be dropped. The newest is kept however large it is.
    pub(super) fn is_over(&self) -> bool {
        self.footprint > self.most && self.messages > 1
    }

    pub(super) fn count_in(&mut self, message: &Message) {
        self.messages += 1;
        self.footprint += message.footprint();
    }

    pub(super) fn count_out(&mut self, message: &Message) {
        self.messages -= 1;
        self.footprint -= message.footprint();
    }

    /// The oldest message of `channel` is `after` now, and was `before`.
    pub(super) fn reorder(&mut self, channel: &Arc<Channel>, before: Option<Cursor>, after: Option<Cursor>) {
        if before == after {
            return;
        }
        match before {
            Some(before) => drop(self.oldest.remove(&before)),
            None => self.footprint += channel.footprint(),
        }
        match after {
            Some(after) => drop(self.oldest.insert(after, channel.clone())),
            None => self.footprint -= channel.footprint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        live::{
            log::{Limits, Log},
            reader::{Limit, Reader},
        },
        pure::{Cursor, Draft, Payload, Retention, Since},
    };

    fn publish(log: &Log, channel: &str, ms: u64) -> Cursor {
        let payload = Payload::from_text(&"x".repeat(98));
        log.append(vec![Draft::new(channel.parse().unwrap(), payload)], ms)[0]
    }

    /// Each kind has a budget of its own, and a channel of the server no limit of count.
    #[test]
    fn channels_of_clients_and_of_the_server_do_not_evict_each_other() {
        let channel = Retention { count: Some(3), bytes: None, age_ms: Some(1_000) };
        let limits = Limits { total: Some(10_000), server: Some(10_000), channel, ..Limits::default() };
        let log = Arc::new(Log::new(limits, Cursor::ZERO));
        let first = publish(&log, "a", 1_000);
        let events: Vec<_> = (0..100).map(|_| publish(&log, "$events", 1_000)).collect();
        let stats = log.counts();
        assert!((9_000..=10_000).contains(&stats.server_footprint) && stats.footprint < 2_000, "{stats:?}");
        assert_eq!(log.channel_stats(&"a".parse().unwrap()).oldest, Some(first));
        let kept = log.channel_stats(&"$events".parse().unwrap());
        assert_eq!((kept.newest, stats.messages), (Some(events[99]), kept.messages + 1));
        assert!(kept.messages > 15, "{kept:?}");
        for n in 0..100 {
            publish(&log, &format!("c.{n}"), 1_000);
        }
        assert_eq!(log.channel_stats(&"$events".parse().unwrap()), kept);
        assert_eq!(log.channel_stats(&"a".parse().unwrap()).messages, 0);
        // Who has read a part of them gets a gap, as on every channel.
        let mut reader = Reader::open(&log, &["$events".parse().unwrap()], Since::After(events[0]));
        let read = reader.read(Limit { messages: 1_000, bytes: usize::MAX }).unwrap();
        assert_eq!((read.gap.map(|gap| gap.requested), read.messages.len()), (Some(events[0]), kept.messages));
        while log.sweep(2_001) {}
        let stats = log.counts();
        assert_eq!((stats.messages, stats.footprint, stats.server_footprint), (0, 0, 0), "both expire");
    }
}
