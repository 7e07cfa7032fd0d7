//! Readers against a plain model: a list of everything that was ever published.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    live::log::Limits,
    pure::{Draft, Payload, Retention, message::Wire},
};

const START: u64 = 1_763_800_000_000;

fn channel(n: usize) -> ChannelName {
    format!("c{n}").parse().unwrap()
}

fn draft(n: usize, bytes: usize) -> Draft {
    Draft::new(channel(n), Payload::from_text(&"x".repeat(bytes)))
}

fn log(channel: Retention) -> Arc<Log> {
    Arc::new(Log::new(Limits { channel, ..Limits::default() }, Cursor::new(START, 0)))
}

fn ids(batch: &Batch) -> Vec<Cursor> {
    batch.messages.iter().map(|message| message.id).collect()
}

/// What a test does to the log and to its readers.
#[derive(Clone, Debug)]
enum Step {
    /// Lets time pass, or go back, then publishes to these channels at once.
    Publish { clock: i64, channels: Vec<usize>, bytes: usize },
    /// Drops what has become too old.
    Sweep { clock: i64 },
    /// Learns that something may be lost: up to a place so far from now.
    Lose { clock: i64 },
    /// Opens the reader anew: on these channels, after the n-th newest message, or another place.
    Open { reader: usize, channels: Vec<usize>, place: Place },
    /// Reads at most so many.
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

/// Everything ever published, and of it what is held.
#[derive(Default)]
struct Model {
    all: Vec<(Cursor, usize, usize)>,
    held: BTreeMap<usize, Vec<(Cursor, usize)>>,
}

impl Model {
    fn trim(&mut self, channel: usize, retention: &Retention, now: u64) {
        let held = self.held.entry(channel).or_default();
        loop {
            let Some(oldest) = held.first() else { return };
            let too_many = retention.count.is_some_and(|most| held.len() > most);
            let bytes: usize = held.iter().map(|(_, bytes)| bytes).sum();
            let too_large = retention.bytes.is_some_and(|most| bytes > most) && held.len() > 1;
            let too_old = retention.age_ms.is_some_and(|most| now.saturating_sub(oldest.0.ms) > most);
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

/// What of a channel does not count: losses that were told, and everything up to where it is wanted from.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    told: Cursor,
    from: Cursor,
}

/// What the model knows of a reader: its channels, each with the place up to which losses do not count any more.
struct Expected {
    reader: Reader,
    channels: BTreeMap<usize, Told>,
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
        let untold = lost.iter().any(|(id, channel)| *id > self.channels[channel].told) && !self.earliest;
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
            // Coming back with `resumed` misses nothing that is held, and repeats nothing that was seen.
            let again: Vec<_> =
                wanted(gap.resumed).into_iter().filter(|(id, channel)| model.is_held(*id, *channel)).collect();
            prop_assert_eq!(&again, &held);
            // On one channel it also is no gap again.
            if self.channels.len() == 1 && self.channels.values().all(|told| told.from == Cursor::ZERO) {
                let names: Vec<_> = self.channels.keys().map(|n| channel(*n)).collect();
                let mut back = Reader::open(&self.reader.log, &names, Since::After(gap.resumed));
                let again = back.read(Limit::default()).and_then(|batch| batch.gap);
                // But for losses that lie between messages which are held.
                prop_assert_eq!(again.is_some(), lost.iter().any(|(id, _)| *id > gap.resumed));
            }
        }
        let given = expected.last().copied().or(batch.gap.map(|gap| gap.resumed));
        self.client = given.unwrap_or(self.client);
        if is_gap || self.earliest {
            for (id, channel) in &lost {
                let told = self.channels.get_mut(channel).expect("a channel that is read");
                told.told = told.told.max(*id);
            }
        }
        self.foreign = None;
        self.earliest = false;
        self.cursor = if expected.len() < held.len() { expected[expected.len() - 1] } else { head };
        prop_assert_eq!(batch.cursor, self.cursor);
        Ok(())
    }
}

fn newest_lost(model: &Model, channel: usize) -> Cursor {
    let lost = model.all.iter().filter(|(id, of, _)| *of == channel && !model.is_held(*id, channel));
    lost.map(|(id, ..)| *id).max().unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Never a skip, never a repeat, never a gap that is not told or not there.
    #[test]
    fn a_openedsees_what_a_list_would_show(retention in retention(), steps in steps()) {
        let log = log(retention);
        let mut model = Model::default();
        let mut now = START + 1_000;
        let mut readers: BTreeMap<usize, Expected> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Publish { clock, channels, bytes } => {
                    now = now.saturating_add_signed(clock);
                    let drafts = channels.iter().map(|n| draft(*n, bytes)).collect();
                    let ids = log.append(drafts, now);
                    for (id, channel) in ids.into_iter().zip(channels) {
                        prop_assert!(model.all.last().is_none_or(|(last, ..)| *last < id));
                        model.all.push((id, channel, bytes + 2));
                        model.held.entry(channel).or_default().push((id, bytes + 2));
                        model.trim(channel, &retention, now);
                    }
                }
                Step::Sweep { clock } => {
                    now = now.saturating_add_signed(clock);
                    log.sweep(now);
                    // The sweep goes by the oldest of all: as long as that one is young enough it drops nothing.
                    while let Some((channel, _)) = model.held.iter()
                        .filter_map(|(channel, held)| Some((*channel, held.first()?.0)))
                        .min_by_key(|(_, id)| *id)
                        .filter(|(_, id)| retention.age_ms.is_some_and(|most| now.saturating_sub(id.ms) > most))
                    {
                        model.held.get_mut(&channel).unwrap().remove(0);
                    }
                }
                Step::Lose { clock } => {
                    let last = log.head().next(now.saturating_add_signed(clock));
                    log.lose(last);
                    // As if something had been published to every channel and was held by none.
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
                        let told = if counts { Cursor::ZERO } else { newest_lost(&model, *n) };
                        (*n, Told { told, from: Cursor::ZERO })
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
                        expected.channels.insert(n, Told { told: newest_lost(&model, n), from });
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

/// A batch larger than what a channel holds has dropped its own beginning before any of it is shown; who reads or comes
/// just then is told of that beginning too.
#[test]
fn what_was_dropped_before_it_was_shown_is_told_of_once_it_is() {
    let log = log(Retention::default());
    let ids_of = |count, now| log.append((0..count).map(|_| draft(0, 1)).collect(), now);
    let sent = ids_of(2, START + 1);
    let mut behind = Reader::open(&log, &[channel(0)], Since::After(sent[0]));
    // As it is in the midst of such an append.
    let (unshown, shown) = (Cursor::new(START + 5, 0), Cursor::new(START + 5, 1));
    behind.seats[0].channel.history.lock().lose(unshown);
    let mut new = Reader::open(&log, &[channel(0)], Since::Now);
    assert_eq!((new.place(), behind.read(Limit::default()).map(|batch| batch.cursor)), (Some(sent[1]), Some(sent[1])));
    let draft = draft(0, 1);
    log.append_placed(vec![Message::new(shown, draft)], START + 5).unwrap();
    for reader in [&mut behind, &mut new] {
        let batch = reader.read(Limit::default()).unwrap();
        assert_eq!(batch.gap, Some(Gap { requested: sent[1], resumed: unshown }));
        assert_eq!(ids(&batch), [shown]);
    }
}

#[test]
fn a_gap_resumes_just_before_the_oldest_message_held() {
    let log = log(Retention { count: Some(2), ..Retention::default() });
    let sent: Vec<_> = (0..5).flat_map(|_| log.append(vec![draft(0, 1)], START + 1)).collect();
    let mut reader = Reader::open(&log, &[channel(0)], Since::After(sent[0]));
    let batch = reader.read(Limit::default()).unwrap();
    assert_eq!(batch.gap, Some(Gap { requested: sent[0], resumed: sent[2] }));
    assert_eq!(ids(&batch), sent[3..]);
    assert!(reader.read(Limit::default()).is_none());
}

/// Case 3.7: what other channels made the reader pass over is no cursor that the client has.
#[test]
fn a_gap_names_the_cursor_that_the_client_has() {
    let log = log(Retention { count: Some(1), ..Retention::default() });
    let say = |n| log.append(vec![draft(n, 1)], START + 1)[0];
    let mut reader = Reader::open(&log, &[channel(0)], Since::Now);
    let mut client = reader.place().unwrap();
    for _ in 0..3 {
        say(1);
        assert!(reader.read(Limit::default()).is_none());
        assert!(reader.cursor() > client);
        let (dropped, held) = (say(0), say(0));
        let batch = reader.read(Limit::default()).unwrap();
        assert_eq!(batch.gap, Some(Gap { requested: client, resumed: dropped }));
        assert_eq!(ids(&batch), [held]);
        client = held;
    }
}

#[test]
fn a_restarted_log_tells_who_was_here_before() {
    let log = log(Retention::default());
    let before = Cursor::new(START - 5, 0);
    let gap = |since: &str| {
        let since = since.parse().unwrap();
        Reader::open(&log, &[channel(0)], since).read(Limit::default()).and_then(|batch| batch.gap)
    };
    assert_eq!(gap(&before.to_string()), Some(Gap { requested: before, resumed: log.head() }));
    assert_eq!(gap("0-0"), None, "who has seen nothing has lost nothing");
    assert_eq!(gap("earliest"), None);
    let future = Cursor::new(START + 1, 0);
    assert_eq!(gap(&future.to_string()), Some(Gap { requested: future, resumed: log.head() }));
}

#[test]
fn a_log_that_may_have_lost_something_tells_everybody_once() {
    let log = log(Retention::default());
    let sent = log.append(vec![draft(0, 1), draft(0, 1)], START + 1);
    let mut idle = Reader::open(&log, &[channel(1)], Since::Now);
    let mut behind = Reader::open(&log, &[channel(0)], Since::After(sent[0]));
    let lost = Cursor::new(START + 9, 0);
    log.lose(lost);
    log.lose(sent[1]);
    assert_eq!(log.head(), lost, "what is older than the head changes nothing");
    let after = log.append(vec![draft(1, 1)], START + 1);
    assert!(after[0] > lost, "ids go on after it");
    let batch = idle.read(Limit::default()).unwrap();
    assert_eq!(batch.gap, Some(Gap { requested: sent[1], resumed: lost }));
    assert_eq!(ids(&batch), after);
    let batch = behind.read(Limit::default()).unwrap();
    assert_eq!((batch.gap.is_some(), ids(&batch)), (true, vec![sent[1]]), "what is held is still read");
    assert!(idle.read(Limit::default()).is_none() && behind.read(Limit::default()).is_none());
    let mut new = Reader::open(&log, &[channel(2)], Since::After(sent[1]));
    assert!(new.read(Limit::default()).unwrap().gap.is_some(), "on channels that were not there then, too");
    let mut new = Reader::open(&log, &[channel(2)], Since::After(lost));
    assert!(new.read(Limit::default()).is_none());
}

/// An unfilled log with readers from everywhere on it; then filled with three messages, of which the log has the last two.
#[test]
fn readers_of_a_log_that_is_not_filled_wait_and_then_get_their_place() {
    let log = Arc::new(Log::unfilled(Limits::default()));
    let at = |ms: u64| Cursor::new(START + ms, 0);
    let open = |since| Reader::open(&log, &[channel(0)], since);
    let message = |ms| Message::new(at(ms), draft(0, 1));
    let mut now = open(Since::Now);
    let mut earliest = open(Since::Earliest);
    let mut within = open(Since::After(at(2)));
    let mut older = open(Since::After(at(0)));
    let mut ahead = open(Since::After(at(9)));
    let mut all = [&mut now, &mut earliest, &mut within, &mut older, &mut ahead];
    log.append_placed(vec![message(2), message(3)], 0).unwrap();
    assert!(all.iter_mut().all(|reader| reader.read(Limit::default()).is_none()), "half filled is not filled");
    assert_eq!((log.head(), log.is_filled(), all[2].cursor()), (Cursor::ZERO, false, at(2)));

    log.filled(at(1));
    log.append_placed(vec![message(4)], 0).unwrap();
    let told: Vec<_> = all.iter_mut().map(|reader| reader.read(Limit::default())).collect();
    let told: Vec<_> = told.iter().map(|batch| batch.as_ref().map(|batch| (batch.gap.is_some(), ids(batch)))).collect();
    assert_eq!(
        told,
        [
            Some((false, vec![at(4)])),
            Some((false, vec![at(2), at(3), at(4)])),
            Some((false, vec![at(3), at(4)])),
            Some((true, vec![at(2), at(3), at(4)])),
            None,
        ]
    );
}

#[tokio::test]
async fn a_cursor_ahead_of_the_log_is_foreign_only_once_the_bus_was_asked_after_it_came() {
    let log = Arc::new(Log::unfilled(Limits::default()));
    let at = |ms: u64| Cursor::new(START + ms, 0);
    log.filled(at(1));
    let early = log.begin_probe();
    let open = |cursor| Reader::open(&log, &[channel(0)], Since::After(cursor));
    let (mut reached, foreign) = (open(at(5)), open(at(9)));
    log.end_probe(early);
    assert!(reached.is_gap() && reached.read(Limit::default()).is_none(), "that was asked before");

    let waiting = tokio::spawn(async move {
        let mut foreign = foreign;
        foreign.next(Limit::default()).await
    });
    tokio::task::yield_now().await;
    let probe = log.begin_probe();
    log.append_placed(vec![Message::new(at(5), draft(0, 1)), Message::new(at(6), draft(0, 1))], 0).unwrap();
    let batch = reached.read(Limit::default()).unwrap();
    assert_eq!((batch.gap, ids(&batch)), (None, vec![at(6)]), "the log has come up to it");
    log.end_probe(probe);
    let batch = waiting.await.unwrap().unwrap();
    assert_eq!(batch.gap, Some(Gap { requested: at(9), resumed: at(1) }));
    assert_eq!(ids(&batch), [at(5), at(6)]);
}

#[test]
fn bytes_bound_a_read_but_one_message_always_comes() {
    let log = log(Retention::default());
    log.append(vec![draft(0, 98), draft(0, 98), draft(0, 998)], START + 1);
    let mut reader = Reader::open(&log, &[channel(0)], Since::Earliest);
    let mut next = || reader.read(Limit { messages: 10, bytes: 250 }).map(|batch| batch.messages.len());
    assert_eq!([next(), next(), next()], [Some(2), Some(1), None]);
}

#[test]
fn all_channels_together_stay_within_the_total() {
    let limits = Limits { total: Some(20_000), ..Limits::default() };
    let log = Arc::new(Log::new(limits, Cursor::new(START, 0)));
    let first = log.append(vec![draft(0, 100)], START)[0];
    let mut most = 0;
    for n in 1..100 {
        log.append(vec![draft(n, 100)], START);
        let stats = log.stats(START);
        assert!(stats.footprint <= 20_000);
        most = most.max(stats.messages);
    }
    assert!((10..30).contains(&most), "{most} messages, each in a channel of its own");
    let mut reader = Reader::open(&log, &[channel(0)], Since::After(Cursor::ZERO));
    let batch = reader.read(Limit::default()).unwrap();
    assert_eq!(batch.gap.map(|gap| gap.requested), Some(Cursor::ZERO), "{first} went for room");
}

#[test]
fn what_readers_have_made_of_messages_counts_too() {
    let limits = Limits { total: Some(100_000), ..Limits::default() };
    let log = Arc::new(Log::new(limits, Cursor::new(START, 0)));
    log.append((0..80).map(|_| draft(0, 500)).collect(), START);
    let held = log.stats(START).messages;
    assert_eq!(held, 80);
    let mut reader = Reader::open(&log, &[channel(0)], Since::Earliest);
    let batch = reader.read(Limit { messages: 100, bytes: usize::MAX }).unwrap();
    for message in &batch.messages {
        message.wire(Wire::Sse, |message| vec![b'x'; message.len()].into());
        message.packet(message.len(), |_| ());
    }
    let used = log.stats(START).footprint;
    assert!((100_000..=112_500).contains(&used), "an eighth more at most: {used}");
    log.sweep(START);
    let stats = log.stats(START);
    assert!(stats.footprint <= 100_000 && stats.messages < held, "{stats:?}");
    drop(batch);
    while log.stats(START).messages > 1 {
        log.append(vec![draft(1, 90_000)], START);
    }
    let alone = log.stats(START).footprint;
    assert!((90_000..92_000).contains(&alone), "with the messages their forms are gone: {alone}");
}

#[test]
fn channels_that_hold_nothing_are_bounded() {
    let limits = Limits { channels: Some(3), ..Limits::default() };
    let log = Arc::new(Log::new(limits, Cursor::new(START, 0)));
    let channels: Vec<_> = (0..5).map(channel).collect();
    assert!(log.has_room(&channels[..3]) && !log.has_room(&channels[..4]));
    let reader = Reader::open(&log, &channels[..3], Since::Now);
    assert!(log.has_room(&channels[..3]), "who reads what is read already takes no more");
    assert!(!log.has_room(&channels[3..4]));
    log.append(vec![draft(0, 1), draft(4, 1)], START);
    assert!(log.has_room(&channels[3..4]), "one of the three holds something now, and is counted as memory");
    assert!(log.has_room(&channels[4..]), "what holds something can be read");
    drop(reader);
    assert!(log.has_room(&[channel(7), channel(8), channel(9)]));
}

#[test]
fn the_memory_of_what_empty_channels_dropped_makes_room() {
    let retention = Retention { age_ms: Some(1), ..Retention::default() };
    let limits = Limits { channels: Some(2), channel: retention, ..Limits::default() };
    let log = Arc::new(Log::new(limits, Cursor::new(START, 0)));
    let ids = log.append((0..5).map(|n| draft(n, 1)).collect(), START);
    log.sweep(START + 10);
    assert_eq!(log.stats(START).channels, 5);
    assert!(log.has_room(&[channel(7), channel(8)]));
    assert_eq!(log.stats(START).channels, 0);
    let mut reader = Reader::open(&log, &[channel(7)], Since::After(ids[0]));
    log.append(vec![draft(7, 1)], START + 20);
    assert!(reader.read(Limit::default()).unwrap().gap.is_some(), "for all of them at once");
}

#[test]
fn a_channel_that_nobody_needs_is_gone() {
    let log = log(Retention { age_ms: Some(10), ..Retention::default() });
    let reader = Reader::open(&log, &[channel(0), channel(1)], Since::Now);
    log.append(vec![draft(1, 1)], START);
    assert_eq!(log.stats(START).channels, 2);
    drop(reader);
    assert_eq!(log.stats(START).channels, 1, "the other one holds a message");
    log.sweep(START + 100);
    assert_eq!(log.stats(START).messages, 0);
    assert_eq!(log.stats(START).channels, 1, "and then the memory of having dropped it");
}

#[test]
fn lag_is_what_the_slowest_openedhas_before_it() {
    let log = log(Retention::default());
    let mut fast = Reader::open(&log, &[channel(0)], Since::Now);
    let _slow = Reader::open(&log, &[channel(0)], Since::Now);
    assert_eq!(log.stats(START).lag_messages, 0);
    log.append(vec![draft(0, 1), draft(0, 1)], START + 5);
    fast.read(Limit::default());
    let stats = log.stats(START + 25);
    assert_eq!((stats.lag_messages, stats.lag_ms, stats.subscriptions), (2, 20, 2));
}

#[tokio::test]
async fn a_closed_log_ends_its_readers_when_they_have_read_it() {
    let log = log(Retention::default());
    let mut waiting = Reader::open(&log, &[channel(0)], Since::Now);
    let waiting = tokio::spawn(async move { waiting.next(Limit::default()).await.is_none() });
    tokio::task::yield_now().await;
    let mut behind = Reader::open(&log, &[channel(1)], Since::Earliest);
    log.append(vec![draft(1, 1)], START);
    log.close();
    assert!(waiting.await.unwrap());
    assert!(behind.next(Limit::default()).await.is_some());
    assert!(behind.next(Limit::default()).await.is_none());
}

/// One leaves an empty channel and another after it, both find nothing to keep, and somebody publishes between their steps.
#[tokio::test]
async fn who_forgets_late_takes_no_other_channel_of_that_name() {
    let log = log(Retention::default());
    let reader = Reader::open(&log, &[channel(0)], Since::Now);
    let left = reader.seats[0].channel.clone();
    drop(reader);
    assert_eq!(log.stats(START).channels, 0);

    let ids = log.append(vec![draft(0, 1)], START);
    log.forget_if_blank(&left);
    assert_eq!(log.latest(&channel(0), 9, Cursor::MAX).len(), 1);
    let mut reader = Reader::open(&log, &[channel(0)], Since::Earliest);
    assert_eq!(reader.next(Limit::default()).await.unwrap().cursor, ids[0]);
    // Nor does it take the place from under who has just sat down.
    let waiting = Reader::open(&log, &[channel(1)], Since::Now);
    let gone = waiting.seats[0].channel.clone();
    drop(waiting);
    let mut waiting = Reader::open(&log, &[channel(1)], Since::Now);
    log.forget_if_blank(&gone);
    let ids = log.append(vec![draft(1, 1)], START);
    assert_eq!(waiting.next(Limit::default()).await.unwrap().cursor, ids[0]);
}

/// Threads publish while tasks subscribe, read, leave and come back with their cursors: the race between looking and
/// waiting, run for real.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_falls_between_looking_and_waiting() {
    const EACH: usize = 4_000;
    let log = log(Retention::default());
    let start = log.head();
    let publishers: Vec<_> = (0..3)
        .map(|publisher| {
            let log = log.clone();
            std::thread::spawn(move || {
                for n in 0..EACH {
                    log.append(vec![draft(publisher, 1)], START + n as u64 / 10);
                    if n % 64 == 0 {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..8_usize)
        .map(|n| {
            let log = log.clone();
            tokio::spawn(async move {
                let names: Vec<_> = (0..3).filter(|other| n == 0 || *other != n % 3).map(channel).collect();
                let (mut cursor, mut seen) = (start, Vec::new());
                while seen.len() < names.len() * EACH {
                    let mut reader = Reader::open(&log, &names, Since::After(cursor));
                    for _ in 0..=seen.len() % 7 {
                        if seen.len() == names.len() * EACH {
                            break;
                        }
                        let limit = Limit { messages: 1 + n * 5, bytes: usize::MAX };
                        let batch = tokio::time::timeout(std::time::Duration::from_secs(20), reader.next(limit)).await;
                        let batch = batch.expect("a reader is woken").expect("the log is open");
                        assert!(batch.gap.is_none());
                        seen.extend(ids(&batch));
                        cursor = batch.cursor;
                    }
                }
                assert!(seen.is_sorted_by(|a, b| a < b), "in order and once");
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    for publisher in publishers {
        publisher.join().unwrap();
    }
    assert_eq!(log.stats(START).subscriptions, 0);
}
