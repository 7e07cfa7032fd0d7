//! Readers against a plain model: a list of everything that was ever published.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What a test does to the log and to its readers.
#[derive(Clone, Debug)]
enum Step {
    /// Advances the time, or sets it back, then publishes to these channels in one batch.
    Publish { clock: i64, channels: Vec<usize>, bytes: usize },
    /// Drops what has become too old.
    Sweep { clock: i64 },
    /// Learns that something may be lost: up to a place so far from now.
    Lose { clock: i64 },
    /// Opens the reader anew: on these channels, after the n-th newest message, or another place.
    Open { reader: usize, channels: Vec<usize>, place: Place },
    /// Reads at most this many.
    Read { reader: usize, most: usize },
    /// Has one more channel read, up to the n-th newest message not at all, or one less.
    Change { reader: usize, channel: usize, from: Option<usize> },
}

#[derive(Clone, Debug)]
enum Place {
    Now,
    Earliest,
    Back(usize),
    BeforeTheLog,
    Future,
    Zero,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let channels = || proptest::collection::vec(0..4_usize, 1..4);
    let place = prop_oneof![
        3 => Just(Place::Now),
        2 => Just(Place::Earliest),
        6 => (0..40_usize).prop_map(Place::Back),
        1 => Just(Place::BeforeTheLog),
        1 => Just(Place::Future),
        1 => Just(Place::Zero),
    ];
    let step = prop_oneof![
        6 => (-3..6_i64, channels(), 0..40_usize).prop_map(|(clock, channels, bytes)| Step::Publish { clock, channels, bytes }),
        1 => (0..30_i64).prop_map(|clock| Step::Sweep { clock }),
        1 => (-3..30_i64).prop_map(|clock| Step::Lose { clock }),
        2 => (0..3_usize, channels(), place).prop_map(|(reader, channels, place)| Step::Open { reader, channels, place }),
        5 => (0..3_usize, 1..8_usize).prop_map(|(reader, most)| Step::Read { reader, most }),
        2 => (0..3_usize, 0..4_usize, proptest::option::of(0..10_usize))
            .prop_map(|(reader, channel, from)| Step::Change { reader, channel, from }),
    ];
    proptest::collection::vec(step, 1..120)
}

fn retention() -> impl Strategy<Value = Retention> {
    let limit = |range: std::ops::Range<usize>| proptest::option::weighted(0.6, range);
    (limit(1..12), limit(1..200), proptest::option::weighted(0.5, 1..40_u64))
        .prop_map(|(count, bytes, age_ms)| Retention { count, bytes, age_ms })
}

/// Everything ever published, and which of it is stored.
#[derive(Default)]
struct Model {
    all: Vec<(Cursor, usize, usize)>,
    held: BTreeMap<usize, Vec<(Cursor, usize)>>,
    /// When each was published, by the clock that never steps.
    published: BTreeMap<Cursor, u64>,
}

impl Model {
    fn is_too_old(&self, id: Cursor, retention: &Retention, mono: u64) -> bool {
        retention.age_ms.is_some_and(|most| mono - self.published[&id] > most)
    }

    fn trim(&mut self, channel: usize, retention: &Retention, mono: u64) {
        let mut held = self.held.remove(&channel).unwrap_or_default();
        self.trim_list(&mut held, retention, mono);
        self.held.insert(channel, held);
    }

    fn trim_list(&self, held: &mut Vec<(Cursor, usize)>, retention: &Retention, mono: u64) {
        loop {
            let Some(oldest) = held.first() else { return };
            let too_many = retention.count.is_some_and(|most| held.len() > most);
            let bytes: usize = held.iter().map(|(_, bytes)| bytes).sum();
            let too_large = retention.bytes.is_some_and(|most| bytes > most) && held.len() > 1;
            let too_old = self.is_too_old(oldest.0, retention, mono);
            if !too_many && !too_large && !too_old {
                return;
            }
            held.remove(0);
        }
    }

    fn is_held(&self, id: Cursor, channel: usize) -> bool {
        self.held.get(&channel).is_some_and(|held| held.iter().any(|(other, _)| *other == id))
    }
}

/// Messages of a channel that need not be reported: those whose loss was, and everything that is to be skipped.
#[derive(Clone, Debug, Default)]
struct Reported {
    told: BTreeSet<Cursor>,
    from: Cursor,
}

/// What the model knows of a reader: its channels, each with the place up to which losses do not count any more.
struct Expected {
    reader: Reader,
    channels: BTreeMap<usize, Reported>,
    cursor: Cursor,
    /// What the client has: the place that it came with, then that of the last thing it was given.
    client: Cursor,
    foreign: Option<Cursor>,
    earliest: bool,
}

impl Expected {
    /// Compares one read with what the model says it has to be.
    fn check(&mut self, model: &Model, head: Cursor, most: usize) -> Result<(), TestCaseError> {
        let batch = self.reader.read(Limit { messages: most, bytes: usize::MAX });
        let channels = self.channels.clone();
        let wanted = |cursor: Cursor| {
            let is_wanted = |id: Cursor, n: &usize| channels.get(n).is_some_and(|told| id > told.from.max(cursor));
            let after = model.all.iter().filter(|(id, channel, _)| is_wanted(*id, channel));
            after.map(|(id, channel, _)| (*id, *channel)).collect::<Vec<_>>()
        };
        let (held, lost): (Vec<_>, Vec<_>) =
            wanted(self.cursor).into_iter().partition(|(id, channel)| model.is_held(*id, *channel));
        let untold = lost.iter().any(|(id, channel)| !self.channels[channel].told.contains(id)) && !self.earliest;
        let is_gap = self.foreign.is_some() || untold;
        let expected: Vec<_> = held.iter().map(|(id, _)| *id).take(most).collect();

        let Some(batch) = batch else {
            prop_assert!(expected.is_empty() && !is_gap, "nothing was read, not {expected:?}, gap {is_gap}");
            self.cursor = head;
            self.earliest = false;
            return Ok(());
        };
        prop_assert_eq!(ids(&batch), expected.clone());
        prop_assert_eq!(batch.gap.is_some(), is_gap, "lost {:?} after {}", lost, self.cursor);
        if let Some(gap) = &batch.gap {
            prop_assert_eq!(gap.requested, self.foreign.unwrap_or(self.client));
            // Resuming with `resumed` misses no stored message, and repeats none that was received.
            let again: Vec<_> =
                wanted(gap.resumed).into_iter().filter(|(id, channel)| model.is_held(*id, *channel)).collect();
            prop_assert_eq!(&again, &held);
            // On one channel it also is no gap again.
            if self.channels.len() == 1 && self.channels.values().all(|told| told.from == Cursor::ZERO) {
                let names: Vec<_> = self.channels.keys().map(|n| channel(*n)).collect();
                let mut back = Reader::open(&self.reader.log, &names, Since::After(gap.resumed));
                let again = back.read(Limit::default()).and_then(|batch| batch.gap);
                // Except for losses between stored messages.
                prop_assert_eq!(again.is_some(), lost.iter().any(|(id, _)| *id > gap.resumed));
            }
        }
        let given = expected.last().copied().or(batch.gap.map(|gap| gap.resumed));
        self.client = given.unwrap_or(self.client);
        if is_gap || self.earliest {
            for (id, channel) in &lost {
                let told = self.channels.get_mut(channel).expect("a channel that is read");
                told.told.insert(*id);
            }
        }
        self.foreign = None;
        self.earliest = false;
        self.cursor = if expected.len() < held.len() { expected[expected.len() - 1] } else { head };
        prop_assert_eq!(batch.cursor, self.cursor);
        Ok(())
    }
}

fn lost(model: &Model, channel: usize) -> BTreeSet<Cursor> {
    let lost = model.all.iter().filter(|(id, of, _)| *of == channel && !model.is_held(*id, channel));
    lost.map(|(id, ..)| *id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Never a skip, never a repeat, never a missing or a wrong gap.
    #[test]
    fn a_reader_sees_what_a_list_would_show(retention in retention(), steps in steps()) {
        let log = log(retention);
        let mut model = Model::default();
        // The time of day goes back too; the clock that ages are counted by does not.
        let (mut now, mut mono) = (START + 1_000, 500);
        let mut readers: BTreeMap<usize, Expected> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Publish { clock, channels, bytes } => {
                    (now, mono) = (now.saturating_add_signed(clock), mono + clock.unsigned_abs());
                    let drafts = channels.iter().map(|n| draft(*n, bytes)).collect();
                    let ids = log.append(drafts, Moment { time_ms: now, mono_ms: mono });
                    for (id, channel) in ids.into_iter().zip(channels) {
                        prop_assert!(model.all.last().is_none_or(|(last, ..)| *last < id));
                        model.all.push((id, channel, bytes + 2));
                        model.held.entry(channel).or_default().push((id, bytes + 2));
                        model.published.insert(id, mono);
                        model.trim(channel, &retention, mono);
                    }
                }
                Step::Sweep { clock } => {
                    mono += clock.unsigned_abs();
                    log.sweep(Moment { time_ms: now, mono_ms: mono });
                    // The sweep goes by the oldest of all: as long as that one is young enough it drops nothing.
                    while let Some((channel, _)) = model.held.iter()
                        .filter_map(|(channel, held)| Some((*channel, held.first()?.0)))
                        .min_by_key(|(_, id)| *id)
                        .filter(|(_, id)| model.is_too_old(*id, &retention, mono))
                    {
                        model.held.get_mut(&channel).unwrap().remove(0);
                    }
                }
                Step::Lose { clock } => {
                    let last = log.head().next(now.saturating_add_signed(clock));
                    log.mark_lost_up_to(last);
                    // As if something had been published to every channel and stored by none.
                    model.all.extend((0..4).map(|n| (last, n, 0)));
                }
                Step::Open { reader, channels, place } => {
                    let names: Vec<_> = channels.iter().map(|n| channel(*n)).collect();
                    let head = log.head();
                    let back = |n: usize| model.all.iter().rev().nth(n).map_or(head, |(id, ..)| *id);
                    let (since, cursor, foreign) = match place {
                        Place::Now => (Since::Now, head, None),
                        Place::Earliest => (Since::Earliest, Cursor::ZERO, None),
                        Place::Back(n) => (Since::After(back(n)), back(n), None),
                        Place::Zero => (Since::After(Cursor::ZERO), Cursor::ZERO, None),
                        Place::BeforeTheLog => {
                            let cursor = Cursor::new(START - 1, 7);
                            (Since::After(cursor), Cursor::ZERO, Some(cursor))
                        }
                        Place::Future => {
                            let cursor = Cursor::new(head.ms + 1, 0);
                            (Since::After(cursor), Cursor::ZERO, Some(cursor))
                        }
                    };
                    let told = |n: &usize| {
                        let counts = matches!(since, Since::After(_)) && foreign.is_none();
                        let told = if counts { BTreeSet::new() } else { lost(&model, *n) };
                        (*n, Reported { told, from: Cursor::ZERO })
                    };
                    let channels = channels.iter().map(told).collect();
                    let earliest = matches!(since, Since::Earliest);
                    let opened = Reader::open(&log, &names, since);
                    let expected = Expected { reader: opened, channels, cursor, client: cursor, foreign, earliest };
                    readers.insert(reader, expected);
                }
                Step::Read { reader, most } => {
                    if let Some(expected) = readers.get_mut(&reader) {
                        expected.check(&model, log.head(), most)?;
                    }
                }
                Step::Change { reader, channel: n, from } => {
                    let Some(expected) = readers.get_mut(&reader) else { continue };
                    if expected.channels.remove(&n).is_some() {
                        expected.reader.remove(&channel(n));
                    } else {
                        let from = from.map(|back| model.all.iter().rev().nth(back).map_or(log.head(), |(id, ..)| *id));
                        let from = from.unwrap_or_default();
                        expected.channels.insert(n, Reported { told: lost(&model, n), from });
                        expected.reader.add_from(&channel(n), from);
                    }
                }
            }
            let stats = log.stats(now);
            prop_assert_eq!(stats.messages, model.held.values().map(Vec::len).sum::<usize>());
            prop_assert_eq!(stats.bytes, model.held.values().flatten().map(|(_, bytes)| bytes).sum::<usize>());
            prop_assert_eq!(stats.subscriptions, readers.values().map(|expected| expected.channels.len()).sum::<usize>());
        }
        for (_, mut expected) in readers {
            while expected.reader.cursor() != log.head() {
                expected.check(&model, log.head(), 3)?;
            }
        }
    }
}
