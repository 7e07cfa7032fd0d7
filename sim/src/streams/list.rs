//! The list: the streams as their clients know them, and what each operation does to them and is answered. It is written from the protocol, and
//! shares nothing with the log.

use std::{collections::BTreeMap, mem};

use shared::pure::Cursor;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A stream, or an existing one of that kind.
    Create {
        at: usize,
        is_closed: bool,
    },
    /// A copy of the beginning of another one, up to a message; all of it without one.
    Fork {
        at: usize,
        source: usize,
        up_to: Option<Cursor>,
    },
    /// Messages with these numbers. A closing may have none.
    Append {
        at: usize,
        numbers: Vec<u64>,
        producer: Option<Request>,
        seq: Option<String>,
        is_closing: bool,
    },
    Delete {
        at: usize,
    },
    /// Its messages are removed, and it remains.
    Purge {
        at: usize,
    },
}

/// The request of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The number of the producer.
    pub(super) producer: usize,
    pub(super) epoch: u64,
    pub(super) seq: u64,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Done,
    /// It was done before; with the highest sequence of the producer.
    Repeated(Option<u64>),
    NotFound,
    Gone,
    NameTaken,
    /// A stream of another kind.
    Exists,
    Closed,
    StaleEpoch(u64),
    EpochStart,
    SequenceGap(u64),
    Seq(String),
    NoSource,
    SourceGone,
}

/// A message: its number, and its id once somebody was told.
pub(super) type Entry = (u64, Option<Cursor>);

/// A stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    /// The position of its creation, once it is known. No other stream has it.
    pub(super) created: Option<Cursor>,
    pub(super) messages: Vec<Entry>,
    /// Its newest message, once it is known, also if it was purged.
    pub(super) tail: Option<Cursor>,
    /// It is closed, perhaps by a producer.
    closed: Option<Option<Request>>,
    /// The last request of each.
    producers: BTreeMap<usize, (u64, u64)>,
    seq: Option<String>,
    /// What it is a fork of, and up to where it was asked for.
    fork: Option<(usize, Option<Cursor>)>,
}

impl Stream {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// The last request of a producer: its epoch and sequence.
    pub(super) fn last_of(&self, producer: usize) -> Option<(u64, u64)> {
        self.producers.get(&producer).copied()
    }

    fn check(&self, op: &Op) -> Expected {
        let Op::Append { numbers, producer, seq, is_closing, .. } = op else { return Expected::Done };
        if let Some(by) = &self.closed {
            return match producer {
                Some(request) if *by == Some(*request) => Expected::Repeated(Some(request.seq)),
                None if *is_closing && numbers.is_empty() => Expected::Repeated(None),
                _ => Expected::Closed,
            };
        }
        if let Some(Request { producer, epoch, seq }) = *producer {
            match self.last_of(producer) {
                None if seq > 0 => return Expected::SequenceGap(0),
                Some((current, _)) if epoch < current => return Expected::StaleEpoch(current),
                Some((current, _)) if epoch > current && seq > 0 => return Expected::EpochStart,
                Some((current, last)) if epoch == current && seq <= last => return Expected::Repeated(Some(last)),
                Some((current, last)) if epoch == current && seq > last + 1 => return Expected::SequenceGap(last + 1),
                _ => {}
            }
        }
        match (seq, &self.seq) {
            (Some(seq), Some(last)) if seq <= last => Expected::Seq(last.clone()),
            _ => Expected::Done,
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    pub(super) streams: BTreeMap<usize, Stream>,
    /// Deleted ones whose names are in use by forks, and what they were forks of themselves.
    pub(super) deleted: BTreeMap<usize, Option<usize>>,
}

impl List {
    /// The answer to an operation.
    pub(super) fn expect(&self, op: &Op) -> Expected {
        match op {
            Op::Create { at, is_closed } => self.expect_creation(*at, None, *is_closed),
            Op::Fork { at, source, up_to } => {
                let is_new = !self.streams.contains_key(at) && !self.deleted.contains_key(at);
                if is_new && self.deleted.contains_key(source) {
                    return Expected::SourceGone;
                }
                if is_new && !self.streams.contains_key(source) {
                    return Expected::NoSource;
                }
                self.expect_creation(*at, Some((*source, *up_to)), false)
            }
            Op::Append { at, .. } | Op::Delete { at } => match self.streams.get(at) {
                Some(stream) => stream.check(op),
                None if self.deleted.contains_key(at) => Expected::Gone,
                None => Expected::NotFound,
            },
            Op::Purge { .. } => Expected::Done,
        }
    }

    fn expect_creation(&self, at: usize, fork: Option<(usize, Option<Cursor>)>, is_closed: bool) -> Expected {
        match self.streams.get(&at) {
            None if self.deleted.contains_key(&at) => Expected::NameTaken,
            None => Expected::Done,
            Some(stream) if stream.fork == fork && stream.is_closed() == is_closed => Expected::Repeated(None),
            Some(_) => Expected::Exists,
        }
    }

    /// Does what an operation does that is [`Done`](Expected::Done).
    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { at, is_closed } => {
                let closed = is_closed.then_some(None);
                self.streams.insert(*at, Stream { closed, ..Stream::default() });
            }
            Op::Fork { at, source, up_to } => {
                let Some(of) = self.streams.get(source) else { return };
                let is_before = |(_, id): &&Entry| up_to.is_none_or(|up_to| id.is_some_and(|id| id <= up_to));
                let messages = of.messages.iter().take_while(is_before).copied().collect();
                let fork = Some((*source, *up_to));
                self.streams.insert(*at, Stream { messages, fork, ..Stream::default() });
            }
            Op::Append { at, numbers, producer, seq, is_closing } => {
                let Some(stream) = self.streams.get_mut(at) else { return };
                stream.messages.extend(numbers.iter().map(|number| (*number, None)));
                if !numbers.is_empty() {
                    stream.tail = None;
                }
                if let Some(Request { producer, epoch, seq }) = *producer {
                    stream.producers.insert(producer, (epoch, seq));
                }
                stream.seq = seq.clone().or_else(|| mem::take(&mut stream.seq));
                if *is_closing {
                    stream.closed = Some(*producer);
                }
            }
            Op::Delete { at } => {
                let Some(stream) = self.streams.remove(at) else { return };
                self.deleted.insert(*at, stream.fork.map(|(source, _)| source));
                self.forget(*at);
            }
            Op::Purge { at } => {
                if let Some(stream) = self.streams.get_mut(at) {
                    stream.messages.clear();
                }
            }
        }
    }

    /// The name of a deleted stream is free without forks, and then perhaps that of its source.
    fn forget(&mut self, at: usize) {
        let is_source = |fork: Option<usize>| fork == Some(at);
        let is_used = self.streams.values().any(|stream| is_source(stream.fork.map(|(source, _)| source)))
            || self.deleted.values().any(|fork| is_source(*fork));
        if is_used {
            return;
        }
        if let Some(Some(source)) = self.deleted.remove(&at)
            && self.deleted.contains_key(&source)
        {
            self.forget(source);
        }
    }

    /// Notes what an answer says of a stream.
    pub(super) fn learn(&mut self, at: usize, created: Cursor, tail: Cursor) {
        let Some(stream) = self.streams.get_mut(&at) else { return };
        stream.created = Some(created);
        stream.tail = Some(tail);
        // A fork without messages of its own has the tail of its source.
        if let Some((_, id)) = stream.messages.last_mut() {
            *id = Some(tail);
        }
    }
}
