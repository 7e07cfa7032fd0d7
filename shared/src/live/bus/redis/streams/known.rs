//! What this process knows of the streams in Redis: which operations on each it has read from the log.
//!
//! It is what the index in Redis had when these were the newest, so the script that makes an operation compares the two.

use std::collections::{HashMap, HashSet};

use redis::Cmd;

use crate::pure::{ChannelName, Cursor, Draft, stream::StreamRecord};

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// The last operation that changed what it is: its creation, closing or purge, or its forks.
    pub(super) base: Cursor,
    /// The last append of a producer or with a `Stream-Seq`.
    pub(super) accepted: Cursor,
    /// The last operation.
    pub(super) last: Cursor,
    /// Names its journal.
    pub(super) token: String,
    /// Whether it is deleted, and its name is in use by its forks.
    pub(super) is_deleted: bool,
    /// The stream that it was forked from.
    pub(super) source: Option<ChannelName>,
    /// The number of its forks.
    pub(super) forks: usize,
    /// Entries of the log up to here are part of what was loaded.
    pub(super) loaded: Cursor,
}

/// How a stream has to be for an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It does not exist.
    Absent(ChannelName),
    /// These are its last operations; `None` for one that does not matter.
    Is { channel: ChannelName, base: Cursor, accepted: Option<Cursor>, last: Option<Cursor> },
}

/// What a process has to expect of a channel that it publishes to.
pub(in crate::live::bus::redis) struct Check {
    pub(in crate::live::bus::redis) channel: ChannelName,
    pub(in crate::live::bus::redis) base: Cursor,
    pub(in crate::live::bus::redis) token: String,
}

/// What the end of a stream does to others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ending {
    /// Whether its own name stays in use.
    pub(super) is_kept: bool,
    /// Deleted streams whose last fork it was.
    pub(super) forgotten: Vec<ChannelName>,
    /// The stream that has one fork less.
    pub(super) source: Option<ChannelName>,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::live::bus::redis) struct Known {
    streams: HashMap<ChannelName, Version>,
}

impl Condition {
    /// That what is published to a stream is still accepted or refused.
    pub(super) fn of(check: &Check) -> Self {
        Self::Is { channel: check.channel.clone(), base: check.base, accepted: None, last: None }
    }

    pub(super) fn write(&self, call: &mut Cmd) {
        let optional = |id: &Option<Cursor>| id.map_or_else(|| "*".to_owned(), |id| id.to_string());
        match self {
            Self::Absent(channel) => call.arg(channel.as_str()).arg("-").arg("*").arg("*"),
            Self::Is { channel, base, accepted, last } => {
                call.arg(channel.as_str()).arg(base.to_string()).arg(optional(accepted)).arg(optional(last))
            }
        };
    }
}

impl Version {
    /// A fork was created, or has ended. What was loaded may have a later one: the log has forks that had ended by then, and those are read again.
    fn forked(&mut self, id: Cursor) {
        self.base = self.base.max(id);
    }

    /// The newest operation that is known.
    pub(super) fn newest(&self) -> Cursor {
        self.base.max(self.accepted).max(self.last)
    }

    /// A stream that has just been created.
    pub(super) fn created(id: Cursor, token: String, source: Option<ChannelName>) -> Self {
        let (base, accepted, last) = (id, id, id);
        Self { base, accepted, last, token, is_deleted: false, source, forks: 0, loaded: Cursor::ZERO }
    }
}

impl Known {
    /// The streams in Redis.
    pub(super) fn of(streams: HashMap<ChannelName, Version>) -> Self {
        let sources: Vec<_> = streams.values().filter_map(|version| version.source.clone()).collect();
        let mut known = Self { streams };
        for source in sources {
            if let Some(source) = known.streams.get_mut(&source) {
                source.forks += 1;
            }
        }
        known
    }

    pub(super) fn get(&self, channel: &ChannelName) -> Option<&Version> {
        self.streams.get(channel)
    }

    /// That a stream is exactly as it is known.
    pub(super) fn exactly(&self, channel: &ChannelName) -> Condition {
        match self.streams.get(channel) {
            None => Condition::Absent(channel.clone()),
            Some(known) => Condition::Is {
                channel: channel.clone(),
                base: known.base,
                accepted: Some(known.accepted),
                last: Some(known.last),
            },
        }
    }

    /// That what a stream is has not changed.
    pub(super) fn basically(&self, channel: &ChannelName) -> Condition {
        match self.exactly(channel) {
            Condition::Is { channel, base, .. } => Condition::Is { channel, base, accepted: None, last: None },
            absent @ Condition::Absent(_) => absent,
        }
    }

    /// The same, and that nothing was accepted by what only the stream knows: producers and `Stream-Seq`.
    pub(super) fn strictly(&self, channel: &ChannelName) -> Condition {
        match self.exactly(channel) {
            Condition::Is { channel, base, accepted, .. } => Condition::Is { channel, base, accepted, last: None },
            absent @ Condition::Absent(_) => absent,
        }
    }

    /// The streams among the channels of `drafts`.
    pub(in crate::live::bus::redis) fn checks(&self, drafts: &[Draft]) -> Vec<Check> {
        if self.streams.is_empty() {
            return Vec::new();
        }
        let mut seen = HashSet::new();
        let streams = drafts.iter().filter_map(|draft| {
            let known = self.streams.get(&draft.channel).filter(|known| !known.is_deleted)?;
            let check = || Check { channel: draft.channel.clone(), base: known.base, token: known.token.clone() };
            seen.insert(&draft.channel).then(check)
        });
        streams.collect()
    }

    /// Whether the entry `id` of the log is part of what was loaded of a stream.
    pub(in crate::live::bus::redis) fn is_loaded(&self, channel: &ChannelName, id: Cursor) -> bool {
        !self.streams.is_empty() && self.streams.get(channel).is_some_and(|known| id <= known.loaded)
    }

    /// A message was added to the channel.
    pub(in crate::live::bus::redis) fn message(&mut self, channel: &ChannelName, id: Cursor) {
        if self.streams.is_empty() {
            return;
        }
        if let Some(known) = self.streams.get_mut(channel).filter(|known| !known.is_deleted) {
            known.last = id;
        }
    }

    /// The messages of the channel were purged by the entry `id`.
    pub(in crate::live::bus::redis) fn purge(&mut self, channel: &ChannelName, id: Cursor) {
        if let Some(known) = self.streams.get_mut(channel).filter(|known| !known.is_deleted) {
            (known.base, known.last) = (id, id);
        }
    }

    /// The record of the entry `id` was applied; with the token of the journal of a stream that was created.
    pub(in crate::live::bus::redis) fn record(&mut self, record: &StreamRecord, id: Cursor, token: Option<String>) {
        let channel = record.channel();
        if let StreamRecord::Create(saved) = record {
            let source = saved.state.fork().map(|fork| fork.source.clone());
            if let Some(source) = source.as_ref().and_then(|source| self.streams.get_mut(source)) {
                source.forks += 1;
                source.forked(id);
            }
            let created = Version::created(id, token.unwrap_or_default(), source);
            self.streams.insert(channel.clone(), created);
            return;
        }
        if let StreamRecord::End { .. } = record {
            return self.end(channel, id);
        }
        let Some(known) = self.streams.get_mut(channel).filter(|known| !known.is_deleted) else { return };
        known.last = id;
        match record {
            StreamRecord::Append { .. } => known.accepted = id,
            StreamRecord::Close { .. } => known.base = id,
            _ => {}
        }
    }

    /// The record of the entry `id` is part of what was loaded of its stream. The source of a fork may have been read before it was created.
    pub(in crate::live::bus::redis) fn loaded(&mut self, record: &StreamRecord, id: Cursor) {
        if let StreamRecord::Create(saved) = record
            && let Some(source) = saved.state.fork().and_then(|fork| self.streams.get_mut(&fork.source))
        {
            source.forked(id);
        }
    }

    /// What Redis says of a stream that this process has read up to `read`. What changed while it was being loaded, and is not in the log, is not known.
    pub(super) fn correct(&mut self, channel: &ChannelName, stored: &Version, read: Cursor) {
        let known = self.streams.get_mut(channel).filter(|known| known.token == stored.token && stored.base <= read);
        if let Some(known) = known {
            known.forked(stored.base);
        }
    }

    /// What the end of a stream does to others.
    pub(super) fn ending(&self, channel: &ChannelName) -> Ending {
        let mut ending = Ending::default();
        let Some(mut known) = self.streams.get(channel) else { return ending };
        ending.is_kept = known.forks > 0;
        while !ending.is_kept
            && let Some(name) = &known.source
            && let Some(source) = self.streams.get(name)
        {
            if !source.is_deleted || source.forks > 1 {
                ending.source = Some(name.clone());
                break;
            }
            ending.forgotten.push(name.clone());
            known = source;
        }
        ending
    }

    fn end(&mut self, channel: &ChannelName, id: Cursor) {
        let Ending { is_kept, forgotten, source } = self.ending(channel);
        if is_kept {
            if let Some(known) = self.streams.get_mut(channel) {
                (known.base, known.accepted, known.last, known.is_deleted) = (id, id, id, true);
            }
            return;
        }
        self.streams.remove(channel);
        for name in forgotten {
            self.streams.remove(&name);
        }
        if let Some(source) = source.and_then(|source| self.streams.get_mut(&source)) {
            source.forks = source.forks.saturating_sub(1);
            source.forked(id);
        }
    }
}

/// The kind of an entry with `record`, as the script knows it.
pub(super) fn kind(record: &StreamRecord) -> &'static str {
    match record {
        StreamRecord::Append { .. } => "s",
        StreamRecord::Close { .. } => "b",
        _ => "r",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::stream::{Create, EndReason, Fork, Lifetime, SavedStream, StreamState};

    fn name(text: &str) -> ChannelName {
        text.parse().unwrap()
    }

    fn at(seq: u64) -> Cursor {
        Cursor::new(1_763_800_000_000, seq)
    }

    fn create(known: &mut Known, channel: &str, source: Option<&str>, id: Cursor) {
        let create = Create {
            channel: name(channel),
            content_type: None,
            lifetime: Lifetime::Unlimited,
            is_closed: false,
            payloads: Vec::new(),
            fork: source.map(|source| Fork { source: name(source), at: None, sub: 0 }),
            user: None,
            owner: None,
        };
        let state = StreamState::new(&create, None, id, 0).save(|ms| ms);
        let (owner, is_deleted, dropped, copies, messages) = (None, false, None, None, 0);
        let saved = SavedStream { channel: name(channel), owner, state, is_deleted, dropped, copies, messages };
        known.record(&StreamRecord::Create(saved), id, Some("t".into()));
    }

    fn end(known: &mut Known, channel: &str, id: Cursor) {
        known.record(&StreamRecord::End { channel: name(channel), at: id, reason: EndReason::Deleted }, id, None);
    }

    #[test]
    fn the_last_fork_forgets_all_deleted_sources() {
        let mut known = Known::default();
        for (n, (channel, source)) in
            [("a", None), ("b", Some("a")), ("c", Some("b")), ("d", Some("c")), ("e", Some("c"))].iter().enumerate()
        {
            create(&mut known, channel, *source, at(n as u64));
        }
        assert_eq!(known.get(&name("c")).map(|c| (c.forks, c.base, c.last)), Some((2, at(4), at(2))));
        end(&mut known, "c", at(10));
        end(&mut known, "b", at(11));
        end(&mut known, "d", at(12));
        assert_eq!(known.get(&name("c")).map(|c| (c.forks, c.base, c.is_deleted)), Some((1, at(12), true)));
        let expected = Ending { is_kept: false, forgotten: vec![name("c"), name("b")], source: Some(name("a")) };
        assert_eq!(known.ending(&name("e")), expected);
        end(&mut known, "e", at(13));
        assert!(["b", "c", "e"].iter().all(|gone| known.get(&name(gone)).is_none()));
        assert_eq!(known.get(&name("a")).map(|a| (a.forks, a.base)), Some((0, at(13))));
    }

    #[test]
    fn each_operation_changes_what_others_depend_on() {
        let mut known = Known::default();
        let of = |known: &Known| known.get(&name("s")).map(|s| (s.base.seq, s.accepted.seq, s.last.seq));
        create(&mut known, "s", None, at(1));
        known.message(&name("s"), at(2));
        assert_eq!(of(&known), Some((1, 1, 2)));
        let append = StreamRecord::Append { channel: name("s"), producer: None, seq: None, time_ms: 0 };
        known.record(&append, at(3), None);
        assert_eq!(of(&known), Some((1, 3, 3)));
        known.record(&StreamRecord::Renew { channel: name("s"), time_ms: 0 }, at(4), None);
        assert_eq!(of(&known), Some((1, 3, 4)));
        known.purge(&name("s"), at(5));
        assert_eq!(of(&known), Some((5, 3, 5)));
        known.record(&StreamRecord::Close { channel: name("s"), at: at(6), by: None }, at(6), None);
        assert_eq!(of(&known), Some((6, 3, 6)));
        assert_eq!(known.basically(&name("none")), Condition::Absent(name("none")));
    }
}
