//! The channels of a log with what they store, in pages.

use std::collections::BinaryHeap;

use super::Log;
use crate::pure::{ChannelName, Cursor};

/// What a channel stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelStats {
    /// Its name.
    pub name: ChannelName,
    /// The number of stored messages.
    pub messages: usize,
    /// The bytes of their data.
    pub bytes: usize,
    /// The id of the oldest one.
    pub oldest: Option<Cursor>,
    /// The id of the newest one.
    pub newest: Option<Cursor>,
}

/// A page of channels, in the order of their names, as [`Log::list`] makes it. The channels are in hash tables, so each page visits all names,
/// one table at a time.
#[derive(Debug)]
pub struct Listing {
    prefix: String,
    after: Option<ChannelName>,
    limit: usize,
    /// The next part of the table to visit.
    part: usize,
    /// The first names found so far, one more than the page has; the last of them is the first to be replaced.
    found: BinaryHeap<ChannelName>,
    page: Vec<ChannelStats>,
}

impl Listing {
    /// The first `limit` channels after `after` whose names begin with `prefix`.
    #[must_use]
    pub fn new(prefix: &str, after: Option<ChannelName>, limit: usize) -> Self {
        Self { prefix: prefix.to_owned(), after, limit, part: 0, found: BinaryHeap::new(), page: Vec::new() }
    }

    /// The channels, and whether there are none after them.
    #[must_use]
    pub fn into_page(mut self) -> (Vec<ChannelStats>, bool) {
        let is_last = self.page.len() <= self.limit;
        self.page.truncate(self.limit);
        (self.page, is_last)
    }

    fn visit(&mut self, name: &ChannelName) {
        if !name.starts_with(&self.prefix) || self.after.as_ref().is_some_and(|after| name <= after) {
            return;
        }
        if self.found.len() <= self.limit {
            self.found.push(name.clone());
        } else if let Some(mut last) = self.found.peek_mut()
            && *name < *last
        {
            *last = name.clone();
        }
    }
}

impl Log {
    /// Continues a listing: one slice of it, which holds the writer's lock for a few thousand names at most. Returns whether there is more to
    /// do.
    pub fn list(&self, listing: &mut Listing) -> bool {
        let is_visited = self.writer.lock().channels.visit(listing.part, |channel| listing.visit(&channel.name));
        listing.part += 1;
        if is_visited {
            return true;
        }
        let found = std::mem::take(&mut listing.found).into_sorted_vec();
        listing.page = found.iter().map(|name| self.channel_stats(name)).collect();
        false
    }

    /// What `channel` stores; nothing if it does not exist.
    #[must_use]
    pub fn channel_stats(&self, channel: &ChannelName) -> ChannelStats {
        let name = channel.clone();
        let Some(channel) = self.find(channel) else {
            return ChannelStats { name, messages: 0, bytes: 0, oldest: None, newest: None };
        };
        let history = channel.history.lock();
        let mut own = history.own(Cursor::ZERO, Cursor::MAX);
        let messages = own.len();
        let oldest = own.next().map(|oldest| oldest.id);
        let newest = own.next_back().map(|newest| newest.id).or(oldest);
        ChannelStats { name, messages, bytes: history.own_bytes(), oldest, newest }
    }

    /// Removes the messages that `channel` stores; returns the newest id of the log. A reader whose cursor is before the newest of them gets a
    /// gap.
    pub fn purge(&self, channel: &ChannelName) -> Cursor {
        let mut writer = self.writer.lock();
        let head = writer.last;
        let newest = writer.channels.get(channel).and_then(|it| Some(it.history.lock().newest()?.id));
        if let Some(newest) = newest {
            writer.purge(channel, newest);
        }
        let gone = writer.take_gone();
        drop(writer);
        drop(gone);
        head
    }

    /// The newest message of `channel` that was dropped, if that is known.
    #[must_use]
    pub fn dropped(&self, channel: &ChannelName) -> Option<Cursor> {
        self.find(channel)?.history.lock().dropped()
    }

    /// Removes the messages of `channel` up to the one with the id `up_to`. They need not be here: a reader whose cursor is before `up_to` gets a gap
    /// all the same. A stream loses only what it has, and nothing if it was created later.
    pub fn purge_up_to(&self, channel: &ChannelName, up_to: Cursor) {
        let mut writer = self.writer.lock();
        let stream =
            writer.streams.known(channel).ok().map(|entry| (entry.state.info().created, entry.channel.clone()));
        let up_to = match stream {
            None => Some(up_to),
            Some((created, _)) if created > up_to => None,
            Some((_, known)) => {
                known.and_then(|known| Some(known.history.lock().range(Cursor::ZERO, up_to).next_back()?.id))
            }
        };
        let Some(up_to) = up_to else { return };
        writer.purge(channel, up_to);
        let gone = writer.take_gone();
        drop(writer);
        drop(gone);
    }

    /// Obeys a record with the id `id`, which removes the messages of `channel` up to the one with the id `up_to`. They need not be here: a
    /// reader whose cursor is before `up_to` gets a gap all the same.
    ///
    /// # Errors
    /// The id of the record if it is not newer than everything before it; nothing is removed then.
    pub fn purge_placed(&self, channel: &ChannelName, up_to: Cursor, id: Cursor) -> Result<(), Cursor> {
        let mut writer = self.writer.lock();
        if id <= writer.last {
            return Err(id);
        }
        writer.purge(channel, up_to);
        writer.last = id;
        self.publish_head(id);
        let gone = writer.take_gone();
        drop(writer);
        drop(gone);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        live::{
            log::Limits,
            reader::{Limit, Reader},
        },
        pure::{Draft, Payload, Since},
    };

    fn channel(name: &str) -> ChannelName {
        name.parse().unwrap()
    }

    fn publish(log: &Log, name: &str, text: &str) -> Cursor {
        log.append(vec![Draft::new(channel(name), Payload::from_text(text))], 1_000)[0]
    }

    fn page(log: &Log, prefix: &str, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
        let mut listing = Listing::new(prefix, after.map(channel), limit);
        while log.list(&mut listing) {}
        let (page, is_last) = listing.into_page();
        (page.into_iter().map(|stats| stats.name.to_string()).collect(), is_last)
    }

    #[test]
    fn pages_of_channels_are_in_order_and_complete() {
        let log = Arc::new(Log::new(Limits::default(), Cursor::ZERO));
        let mut expected: Vec<String> = (0..500).map(|n| format!("a.{n}")).collect();
        for name in &expected {
            publish(&log, name, "x");
        }
        publish(&log, "b", "x");
        let _reader = Reader::open(&log, &[channel("a.read")], Since::Now);
        expected.push("a.read".to_owned());
        expected.sort_unstable();
        let (mut all, mut after) = (Vec::<String>::new(), None);
        loop {
            let (names, is_last) = page(&log, "a.", after.as_deref(), 70);
            after = names.last().cloned();
            all.extend(names);
            if is_last {
                break;
            }
        }
        assert_eq!(all, expected);
        assert_eq!(page(&log, "", None, 1_000).0.len(), 502);
        assert_eq!(page(&log, "b", None, 1), (vec!["b".to_owned()], true));
        assert_eq!(page(&log, "c", None, 10), (Vec::new(), true));
    }

    #[test]
    fn a_channel_says_what_it_stores() {
        let log = Arc::new(Log::new(Limits::default(), Cursor::ZERO));
        let (first, last) = (publish(&log, "a", "x"), publish(&log, "a", "xyz"));
        let expected =
            ChannelStats { name: channel("a"), messages: 2, bytes: 8, oldest: Some(first), newest: Some(last) };
        assert_eq!(log.channel_stats(&channel("a")), expected);
        let none = ChannelStats { name: channel("b"), messages: 0, bytes: 0, oldest: None, newest: None };
        assert_eq!(log.channel_stats(&channel("b")), none);
    }

    /// Readers that have received everything notice nothing; one that resumes from before gets a gap, and so does one that is behind.
    #[test]
    fn a_purge_is_a_gap_for_those_who_missed_something() {
        let log = Arc::new(Log::new(Limits::default(), Cursor::ZERO));
        let first = publish(&log, "a", "1");
        let (mut caught_up, mut behind) = (
            Reader::open(&log, &[channel("a")], Since::Earliest),
            Reader::open(&log, &[channel("a")], Since::Earliest),
        );
        for reader in [&mut caught_up, &mut behind] {
            assert_eq!(reader.read(Limit::default()).unwrap().messages.len(), 1);
        }
        let second = publish(&log, "a", "2");
        assert_eq!(caught_up.read(Limit::default()).unwrap().messages.len(), 1);
        let other = publish(&log, "b", "other");
        let before = log.counts();
        assert_eq!(log.purge(&channel("a")), other);
        let counts = log.counts();
        assert_eq!((counts.messages, log.channel_stats(&channel("a")).messages), (1, 0));
        assert!(counts.footprint < before.footprint && counts.bytes < before.bytes);
        assert!(caught_up.read(Limit::default()).is_none());
        let gap = behind.read(Limit::default()).unwrap().gap.unwrap();
        assert_eq!((gap.requested, gap.resumed), (first, other));
        for (cursor, is_gap) in [(first, true), (second, false)] {
            let reader = Reader::open(&log, &[channel("a")], Since::After(cursor));
            assert_eq!(reader.is_gap(), is_gap, "{cursor}");
        }
        let next = publish(&log, "a", "3");
        assert_eq!(caught_up.read(Limit::default()).unwrap().messages[0].id, next);
        log.purge(&channel("nobody"));
        assert_eq!(log.channel_stats(&channel("nobody")).messages, 0);
    }

    /// The messages may be gone before a process loads its log, which then has the record alone.
    #[test]
    fn a_record_of_a_purge_applies_to_messages_that_are_not_here() {
        let log = Arc::new(Log::new(Limits::default(), Cursor::ZERO));
        let first = publish(&log, "a", "1");
        let (second, last) = (publish(&log, "a", "2"), publish(&log, "a", "3"));
        let unread = publish(&log, "unread", "x");
        let at = Cursor::new(9_000, 0);
        assert_eq!(log.purge_placed(&channel("a"), second, unread), Err(unread), "not newer than the head");
        log.purge_placed(&channel("a"), second, at).unwrap();
        assert_eq!((log.head(), log.channel_stats(&channel("a")).oldest), (at, Some(last)));
        let (up_to, at) = (Cursor::new(8_000, 0), Cursor::new(9_000, 1));
        log.purge_placed(&channel("b"), up_to, at).unwrap();
        log.purge_placed(&channel("b"), up_to, Cursor::new(9_000, 2)).unwrap();
        for (name, cursor, is_gap) in [
            ("a", first, true),
            ("a", second, false),
            ("b", Cursor::new(7_999, 0), true),
            ("b", up_to, false),
            ("unread", first, false),
        ] {
            assert_eq!(Reader::open(&log, &[channel(name)], Since::After(cursor)).is_gap(), is_gap, "{name} {cursor}");
        }
        let mut reader = Reader::open(&log, &[channel("b")], Since::After(up_to));
        let next = publish(&log, "b", "4");
        assert_eq!(reader.read(Limit::default()).unwrap().messages[0].id, next);
    }
}
