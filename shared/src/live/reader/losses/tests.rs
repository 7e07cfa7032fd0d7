//! Readers of names and patterns against a list of everything that was published, and of when the log lost what of it.
//!
//! A loss has to be reported before its position is passed. A gap reports all that had been lost when it was returned, and nothing that is lost
//! later, also if that is an older message, which was still stored then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::{
    live::{
        clock::Moment,
        log::{Limits, Log},
        reader::Limit,
    },
    pure::{ChannelName, Draft, Payload, Retention, Since},
};

const NAMES: [&str; 8] = ["a.0", "a.1", "a.2", "a.3", "a.4", "a.5", "b.0", "$own"];
const SELECTORS: [&str; 7] = ["a.0", "a.1", "a.2", "b.0", "$own", "a.*", "*"];
/// A channel that only patterns select: one that the log does not know.
const UNKNOWN: &str = "a.unknown";

#[derive(Clone, Debug)]
enum Step {
    Publish {
        channel: usize,
        after_ms: u64,
    },
    /// Drops what has become too old. Channels without messages are retired.
    Sweep {
        after_ms: u64,
    },
    Purge {
        channel: usize,
    },
    /// Learns that something may be lost, and forgets the channels without messages.
    Lose,
    /// Begins again with these selectors after the n-th newest message, or with the next message.
    Open {
        selectors: Vec<usize>,
        back: Option<usize>,
    },
    Subscribe {
        selector: usize,
    },
    Unsubscribe {
        selector: usize,
    },
    Read {
        messages: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let selectors = || proptest::collection::vec(0..SELECTORS.len(), 1..4);
    let step = prop_oneof![
        8 => (0..NAMES.len(), 0..4_u64).prop_map(|(channel, after_ms)| Step::Publish { channel, after_ms }),
        2 => (0..30_u64).prop_map(|after_ms| Step::Sweep { after_ms }),
        1 => (0..NAMES.len()).prop_map(|channel| Step::Purge { channel }),
        1 => Just(Step::Lose),
        1 => (selectors(), proptest::option::weighted(0.8, 0..20_usize))
            .prop_map(|(selectors, back)| Step::Open { selectors, back }),
        1 => (0..SELECTORS.len()).prop_map(|selector| Step::Subscribe { selector }),
        1 => (0..SELECTORS.len()).prop_map(|selector| Step::Unsubscribe { selector }),
        6 => (1..4_usize).prop_map(|messages| Step::Read { messages }),
    ];
    proptest::collection::vec(step, 1..100)
}

fn selector(name: &str) -> ChannelName {
    ChannelName::selector(name).unwrap()
}

/// Whether a name or a pattern selects a channel.
fn selects(by: &str, channel: &str) -> bool {
    let by = selector(by);
    if by.is_pattern() { by.selects(&channel.parse().unwrap()) } else { &*by == channel }
}

/// What was lost: a message of a channel.
type Losses = BTreeSet<(Cursor, &'static str)>;

struct World {
    log: Arc<Log>,
    reader: Reader,
    all: BTreeMap<Cursor, &'static str>,
    /// What the log had after the last step.
    stored: BTreeSet<Cursor>,
    /// All that it lost.
    lost: Losses,
    /// What is still to be reported, if it is after the cursor, to each name and pattern that is read.
    owed: BTreeMap<&'static str, Losses>,
    /// What was lost on any other channels since the last gap.
    others: usize,
    /// Whether the log may forget on which channels something was lost.
    may_forget: bool,
    /// The number of channels of a pattern that are read at once.
    at_once: usize,
}

impl World {
    fn new(limits: Limits, at_once: usize) -> Self {
        let log = Arc::new(Log::new(limits, Cursor::ZERO));
        let reader = Reader::open(&log, &[selector("a.*")], Since::Now);
        let owed = BTreeMap::from([("a.*", BTreeSet::new())]);
        let (all, stored, lost) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let may_forget = limits.total.is_some();
        Self { log, reader, all, stored, lost, owed, others: 0, may_forget, at_once }
    }

    fn reads_few(&mut self) {
        if let Some(matching) = &mut self.reader.matching {
            matching.backlog.take_at_once(self.at_once);
            matching.backlog.collect_at_most(self.at_once);
        }
    }

    fn open(&mut self, selectors: &[usize], back: Option<usize>) {
        let names: Vec<_> = selectors.iter().map(|at| selector(SELECTORS[*at])).collect();
        let since = match back {
            None => Since::Now,
            Some(back) => Since::After(self.all.keys().rev().nth(back).copied().unwrap_or(self.log.head())),
        };
        self.reader = Reader::open(&self.log, &names, since);
        self.reads_few();
        let lost = if back.is_some() { self.lost.clone() } else { Losses::new() };
        self.others = lost.len();
        self.owed = selectors.iter().map(|at| (SELECTORS[*at], Losses::new())).collect();
        lost.into_iter().for_each(|loss| self.owe(loss));
    }

    fn owe(&mut self, (id, channel): (Cursor, &'static str)) {
        for (by, owed) in &mut self.owed {
            if selects(by, channel) {
                owed.insert((id, channel));
            }
        }
    }

    fn lose(&mut self, id: Cursor, channel: &'static str) {
        self.lost.insert((id, channel));
        self.others += 1;
        self.owe((id, channel));
    }

    fn subscribe(&mut self, name: &'static str) {
        if self.owed.contains_key(name) {
            return;
        }
        self.reader.add(&selector(name));
        self.reads_few();
        // What a pattern has read so far is still to be reported if a channel is read by its name from now on.
        let of_patterns = self.owed.iter().filter(|(by, _)| selector(by).is_pattern()).flat_map(|(_, owed)| owed);
        let owed = of_patterns.filter(|(_, channel)| *channel == name).copied().collect();
        self.owed.insert(name, owed);
    }

    /// Compares with what the log has now.
    fn look(&mut self) {
        let channels = NAMES.iter().flat_map(|name| self.log.selected_by(&name.parse().unwrap()));
        let ids = channels.flat_map(|channel| {
            let history = channel.history.lock();
            history.own(Cursor::ZERO, Cursor::MAX).map(|message| message.id).collect::<Vec<_>>()
        });
        let stored: BTreeSet<_> = ids.collect();
        for id in std::mem::take(&mut self.stored).difference(&stored) {
            self.lose(*id, self.all[id]);
        }
        self.stored = stored;
    }

    fn read(&mut self, messages: usize) -> Result<bool, TestCaseError> {
        let before = self.reader.cursor();
        let is_after = |(id, _): &&(Cursor, &str)| *id > before;
        let is_owed = self.owed.values().flatten().any(|loss| is_after(&loss));
        let reads_names = self.owed.keys().all(|by| !selector(by).is_pattern());
        if reads_names && !self.may_forget {
            prop_assert_eq!(self.reader.is_gap(), is_owed, "after {}", before);
        }
        let batch = self.reader.read(Limit { messages, bytes: usize::MAX });
        let after = self.reader.cursor();
        prop_assert!(before <= after);
        let is_read = |id: &&Cursor| self.owed.keys().any(|by| selects(by, self.all[*id]));
        let expected: Vec<_> =
            self.stored.iter().filter(|id| **id > before && **id <= after).filter(is_read).copied().collect();
        let got: Vec<_> = batch.iter().flat_map(|batch| &batch.messages).map(|message| message.id).collect();
        prop_assert_eq!(got, expected, "from {} to {}", before, after);
        if batch.as_ref().is_some_and(|batch| batch.gap.is_some()) {
            let may_be = is_owed || (self.may_forget && self.others > 0);
            prop_assert!(may_be, "a gap after {before}, and everything that is lost was reported");
            self.owed.values_mut().for_each(BTreeSet::clear);
            self.others = 0;
        }
        let missed: Vec<_> = self.owed.values().flatten().filter(|loss| is_after(loss) && loss.0 <= after).collect();
        prop_assert!(missed.is_empty(), "{missed:?} were passed at {after} without a gap");
        Ok(batch.is_some())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Nothing is missing without a gap, nothing is returned twice, and no loss is reported twice.
    #[test]
    fn a_loss_is_reported_once(
        steps in steps(),
        count in 1..5_usize,
        age_ms in proptest::option::of(1..30_u64),
        // One tombstone or three.
        total in proptest::option::weighted(0.3, prop_oneof![Just(8_192_usize), Just(24_576)]),
        at_once in 1..4_usize,
    ) {
        let channel = Retention { count: Some(count), age_ms, ..Retention::default() };
        let mut world = World::new(Limits { channel, total, ..Limits::default() }, at_once);
        world.reads_few();
        let mut now = 1_000;
        for step in steps {
            match step {
                Step::Publish { channel, after_ms } => {
                    now += after_ms;
                    let draft = Draft::new(NAMES[channel].parse().unwrap(), Payload::from_text("x"));
                    let id = world.log.append(vec![draft], Moment { time_ms: now, mono_ms: now })[0];
                    world.all.insert(id, NAMES[channel]);
                    world.stored.insert(id);
                }
                Step::Sweep { after_ms } => {
                    now += after_ms;
                    while world.log.sweep(Moment { time_ms: now, mono_ms: now }) {}
                }
                Step::Purge { channel } => drop(world.log.purge(&NAMES[channel].parse().unwrap())),
                Step::Lose => {
                    let last = world.log.head().next(now);
                    world.log.mark_lost_up_to(last);
                    NAMES.into_iter().chain([UNKNOWN]).for_each(|channel| world.lose(last, channel));
                }
                Step::Open { selectors, back } => world.open(&selectors, back),
                Step::Subscribe { selector } => world.subscribe(SELECTORS[selector]),
                Step::Unsubscribe { selector: at } => {
                    world.reader.remove(&selector(SELECTORS[at]));
                    world.owed.remove(SELECTORS[at]);
                }
                Step::Read { messages } => drop(world.read(messages)?),
            }
            world.look();
        }
        while world.read(2)? || world.reader.cursor() != world.log.head() {}
    }
}
