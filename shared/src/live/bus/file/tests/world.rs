//! Purges, erasures, states, retention, readers of the disk, crashes and full disks in any order, against a list.
//!
//! What was acknowledged and not purged is there once, under its id. What retention removed is the oldest, and whoever misses it gets a gap; nobody
//! else does. What was purged is never read again, and once it is erased, no file has it.

use std::{cell::Cell, collections::BTreeMap};

use proptest::prelude::*;

use super::*;
use crate::pure::Retention;

const TABLE: StateTable = StateTable::new("test", 1 << 20);
const HALF_MS: u64 = 1_800_000;
/// How the content of each message begins: longer than what checksums may look like by chance.
const TEXT: &str = "<the message ";
const NAMES: [&str; 2] = ["a", "b"];

/// The value of a key, and when it expires; `None` if it was removed.
type Value = Option<(Vec<u8>, u64)>;

thread_local! {
    static TIME: Cell<u64> = const { Cell::new(START) };
}

#[derive(Clone, Debug)]
enum Step {
    /// One publication: for each message the channel and the bytes.
    Publish(Vec<(usize, usize)>),
    /// A state of this key and so many bytes, which lasts for so many milliseconds; several times.
    States(u8, usize, u64, u8),
    /// The state of this key is removed.
    Remove(u8),
    Purge(usize),
    /// Purges become due, and the writer looks.
    Erase,
    Check,
    /// So many bytes are free from now on.
    Fill(usize),
    CutPower(u64),
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let publication = proptest::collection::vec((0..2_usize, 0..1_500_usize), 1..4);
    let step = prop_oneof![
        12 => publication.prop_map(Step::Publish),
        4 => (0..3_u8, 0..250_usize, prop_oneof![1..200_u64, Just(u64::MAX)], 1..30_u8)
            .prop_map(|(key, length, lasts, times)| Step::States(key, length, lasts, times)),
        2 => (0..3_u8).prop_map(Step::Remove),
        2 => (0..2_usize).prop_map(Step::Purge),
        2 => Just(Step::Erase),
        3 => Just(Step::Check),
        1 => (0..9_000_usize).prop_map(Step::Fill),
        1 => any::<u64>().prop_map(Step::CutPower),
        1 => Just(Step::Kill),
    ];
    proptest::collection::vec(step, 1..60)
}

/// A message of a channel, by the number that its text begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    channel: usize,
    number: usize,
    id: Cursor,
}

struct World {
    disk: SimulatedDisk,
    simulated: Simulated,
    total: Option<u64>,
    /// What was acknowledged and not purged.
    sent: Vec<Sent>,
    purged: Vec<Sent>,
    /// Up to where each channel was purged.
    floors: [Cursor; 2],
    /// The channels and numbers of a publication whose outcome is not known.
    unknown: Vec<(usize, usize)>,
    /// The same of a purge.
    purging: Option<(usize, Cursor)>,
    states: BTreeMap<u8, (Vec<u8>, u64)>,
    /// The same of a state.
    changing: Option<(u8, Value)>,
    /// Then the channels that lost messages may be forgotten, and each of them gets the gaps of the others.
    was_full: bool,
    number: usize,
}

fn open(disk: &SimulatedDisk, total: Option<u64>) -> Result<Simulated, OpenError> {
    let purge_within = Duration::from_millis(2 * HALF_MS);
    let options = FileOptions { total, purge_within, ..FileOptions::default() };
    let limits = Limits { channel: Retention::default(), total: Some(8_000), ..Limits::default() };
    let clock = || {
        TIME.set(TIME.get() + 1);
        TIME.get().into()
    };
    let (bus, writer) = FileBus::on(Arc::new(disk.clone()), options, 4_096, limits, clock)?;
    Ok(Simulated { bus, writer })
}

impl World {
    fn new(total: Option<u64>) -> Self {
        TIME.set(START);
        let disk = SimulatedDisk::new();
        let simulated = open(&disk, total).unwrap();
        Self {
            disk,
            simulated,
            total,
            sent: Vec::new(),
            purged: Vec::new(),
            floors: [Cursor::ZERO; 2],
            unknown: Vec::new(),
            purging: None,
            states: BTreeMap::new(),
            changing: None,
            was_full: false,
            number: 0,
        }
    }

    /// The numbers and ids of a channel after `since`, and whether there was a gap.
    fn read(&self, channel: usize, since: Since) -> (Vec<Sent>, bool) {
        let mut reader = Reader::open(self.simulated.bus.log(), &[NAMES[channel].parse().unwrap()], since);
        let context = std::task::Context::from_waker(std::task::Waker::noop());
        let (mut all, mut is_gap) = (Vec::new(), false);
        for _ in 0..10_000 {
            match reader.poll_stored(&context, Limit { messages: 5, bytes: usize::MAX }) {
                std::task::Poll::Pending => self.simulated.bus.archive.serve_next(),
                std::task::Poll::Ready(None) => return (all, is_gap),
                std::task::Poll::Ready(Some(batch)) => {
                    is_gap |= batch.gap.is_some();
                    all.extend(batch.messages.iter().map(|message| {
                        let text = message.draft.payload.plain_json().into_owned();
                        let number = text[1 + TEXT.len()..text.find('>').unwrap()].parse().unwrap();
                        Sent { channel, number, id: message.id }
                    }));
                }
            }
        }
        panic!("the reader requests pieces without an end");
    }

    fn has_failed(&self) -> bool {
        self.simulated.bus.state.failure.borrow().is_some()
    }

    /// One round of the writer. The thread that erases works alone, so a seed repeats its case.
    fn work(&mut self, work: Work) {
        if let Err(failure) = self.simulated.writer.work(work) {
            self.simulated.bus.state.failure.send_replace(Some(failure.0));
        }
        while self.simulated.writer.erasing.as_ref().is_some_and(|erasing| !erasing.is_finished()) {
            std::thread::yield_now();
        }
    }

    /// The states that are there, and have not expired.
    fn states_there(&self) -> BTreeMap<u8, (Vec<u8>, u64)> {
        let states = self.simulated.bus.states(TABLE).into_iter();
        states.map(|state| (state.key[0], (state.value.unwrap(), state.until_ms))).collect()
    }

    fn expire(&mut self) {
        self.states.retain(|_, (_, until_ms)| *until_ms > TIME.get());
    }

    fn change(&mut self, key: u8, value: Value) {
        match value {
            Some(value) => drop(self.states.insert(key, value)),
            None => drop(self.states.remove(&key)),
        }
    }

    /// What was acknowledged on a channel: what is not there any more, and what is.
    fn missing_and_there(&self, channel: usize) -> (Vec<Sent>, Vec<Sent>) {
        let mut expected: Vec<Sent> = self.sent.iter().filter(|sent| sent.channel == channel).copied().collect();
        let there = self.read(channel, Since::Earliest).0;
        assert!(expected.ends_with(&there), "{expected:?} were acknowledged, and {there:?} are there");
        expected.truncate(expected.len() - there.len());
        (expected, there)
    }

    /// Compares what can be read with the list.
    fn compare(&mut self) {
        let there = self.states_there();
        self.expire();
        assert_eq!(there, self.states);
        let all: Vec<_> = (0..NAMES.len()).map(|channel| self.missing_and_there(channel)).collect();
        // No cursor after this misses anything on any channel.
        let newest = all.iter().filter_map(|(missing, _)| missing.last()).map(|last| last.id).chain(self.floors).max();
        for (channel, (missing, there)) in all.into_iter().enumerate() {
            assert!(self.total.is_some() || missing.is_empty(), "{missing:?} are lost");
            let purged = self.purged.iter().filter(|purged| purged.channel == channel);
            let lost: Vec<Cursor> = missing.iter().chain(purged).map(|sent| sent.id).collect();
            // No cursor after this misses anything.
            let floor = missing.last().map_or(Cursor::ZERO, |last| last.id).max(self.floors[channel]);
            let floor = newest.filter(|_| self.was_full).unwrap_or(floor);
            let all: Vec<Cursor> = self.sent.iter().chain(&self.purged).map(|sent| sent.id).collect();
            for cursor in all.iter().step_by(1 + all.len() / 8).chain(all.last()) {
                let (found, is_gap) = self.read(channel, Since::After(*cursor));
                let later: Vec<Sent> = there.iter().filter(|sent| sent.id > *cursor).copied().collect();
                assert_eq!(found, later, "after {cursor}");
                let is_lost = lost.iter().any(|id| id > cursor);
                assert!(is_gap || !is_lost, "{cursor} gets no gap and misses {lost:?}");
                assert!(!is_gap || *cursor < floor, "{cursor} gets a gap and misses nothing: {lost:?}, {floor}");
            }
        }
    }

    fn restart(&mut self, disk: SimulatedDisk) {
        let examined = repair::read(&disk).unwrap();
        assert!(!examined.is_damaged(), "a start works, so there is no damage: {examined:?}");
        self.simulated = open(&disk, self.total).unwrap();
        self.disk = disk;
        if let Some((channel, up_to)) = self.purging.take() {
            let purges = purge::all(&self.simulated.bus.states.lock());
            if purges.iter().any(|purge| &*purge.channel == NAMES[channel] && purge.up_to == up_to) {
                self.has_purged(channel, up_to);
            }
        }
        if let Some((key, value)) = self.changing.take() {
            let there = self.states_there();
            let value = value.filter(|(_, until_ms)| *until_ms > TIME.get());
            if there.get(&key) == value.as_ref() {
                self.change(key, value);
            }
        }
        let unknown = std::mem::take(&mut self.unknown);
        let there: Vec<Sent> = (0..NAMES.len()).flat_map(|channel| self.read(channel, Since::Earliest).0).collect();
        let mut found: Vec<Sent> =
            there.into_iter().filter(|sent| unknown.contains(&(sent.channel, sent.number))).collect();
        assert!(found.is_empty() || found.len() == unknown.len(), "a publication is there as a whole or not at all");
        found.sort_by_key(|sent| sent.id);
        self.sent.extend(found);
        self.compare();
    }

    fn publish(&mut self, messages: Vec<(usize, usize)>) {
        let texts = messages.into_iter().map(|(channel, length)| {
            self.number += 1;
            (channel, self.number, format!("{TEXT}{}>{}", self.number, "x".repeat(length)))
        });
        let texts: Vec<_> = texts.collect();
        let drafts = texts.iter().map(|(channel, _, text)| draft(NAMES[*channel], text)).collect();
        match self.simulated.publish_all(vec![Publication::new(drafts)]).0.remove(0) {
            Some(Ok(Published { ids, .. })) => {
                assert!(self.sent.last().is_none_or(|last| ids[0] > last.id), "an id that was handed out before");
                let sent = texts.iter().zip(ids).map(|((channel, number, _), id)| Sent {
                    channel: *channel,
                    number: *number,
                    id,
                });
                self.sent.extend(sent);
            }
            Some(Err(BusError::DiskFull(_))) => {}
            _ => self.unknown = texts.iter().map(|(channel, number, _)| (*channel, *number)).collect(),
        }
    }

    fn store(&mut self, key: u8, value: Value) {
        if self.has_failed() {
            return;
        }
        let (bytes, until_ms) = value.clone().map_or((None, 0), |(bytes, until_ms)| (Some(bytes), until_ms));
        let state = StoredState { table: TABLE, key: vec![key], value: bytes, until_ms };
        match self.simulated.publish_all(vec![Publication::of_states(vec![state])]).0.remove(0) {
            Some(Ok(_)) => self.change(key, value),
            Some(Err(BusError::DiskFull(_) | BusError::StatesFull(_))) => {}
            _ => self.changing = Some((key, value)),
        }
    }

    fn has_purged(&mut self, channel: usize, up_to: Cursor) {
        self.floors[channel] = self.floors[channel].max(up_to);
        let is_purged = |sent: &Sent| sent.channel == channel && sent.id <= up_to;
        self.purged.extend(self.sent.iter().filter(|sent| is_purged(sent)));
        self.sent.retain(|sent| !is_purged(sent));
    }

    fn purge(&mut self, channel: usize) {
        let (purge, states) = self.simulated.bus.plan_purge(NAMES[channel].parse().unwrap());
        let newest = self.sent.iter().rfind(|sent| sent.channel == channel);
        assert!(newest.is_none_or(|newest| newest.id <= purge.up_to), "all that was acknowledged");
        match self.simulated.publish_all(vec![Publication::of_states(states)]).0.remove(0) {
            Some(Ok(_)) => self.has_purged(channel, purge.up_to),
            Some(Err(BusError::DiskFull(_) | BusError::StatesFull(_))) => {}
            _ => self.purging = Some((channel, purge.up_to)),
        }
    }

    fn erase(&mut self) {
        TIME.set(TIME.get() + HALF_MS);
        self.work(Work { is_check: true, ..Work::default() });
        while self.simulated.writer.erasing.is_some() && !self.has_failed() {
            self.work(Work { is_check: true, ..Work::default() });
        }
        if self.has_failed() || !purge::all(&self.simulated.bus.states.lock()).is_empty() {
            return;
        }
        for name in self.disk.list().unwrap() {
            let file = self.disk.open(&name).unwrap();
            let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
            file.read_at(&mut bytes, 0).unwrap();
            for Sent { number, .. } in &self.purged {
                let text = format!("{TEXT}{number}>");
                assert!(memchr::memmem::find(&bytes, text.as_bytes()).is_none(), "{name} has {text}");
            }
        }
    }

    fn step(&mut self, step: Step, deaths: &mut impl Iterator<Item = usize>) {
        match step {
            Step::CutPower(seed) => {
                let disk = self.disk.cut_power(seed);
                self.restart(disk.clone());
                disk.faults(Faults { steps: deaths.next(), ..Faults::default() });
            }
            Step::Kill => self.restart(self.disk.kill()),
            Step::Fill(space) => {
                self.was_full = true;
                self.disk.faults(Faults { space: Some(space), ..Faults::default() });
            }
            _ if self.has_failed() => {}
            Step::Publish(messages) => self.publish(messages),
            Step::States(key, length, lasts, times) => {
                for n in 0..times {
                    self.store(key, Some((vec![n; length], TIME.get().saturating_add(lasts))));
                }
            }
            Step::Remove(key) => self.store(key, None),
            Step::Purge(channel) => self.purge(channel),
            Step::Erase => self.erase(),
            Step::Check => {
                self.disk.faults(Faults::default());
                self.work(Work { is_check: true, ..Work::default() });
            }
        }
        if !self.has_failed() {
            self.compare();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn what_is_there_is_what_was_acknowledged_less_what_was_purged(
        total in prop_oneof![Just(None), Just(Some(30_000))],
        deaths in proptest::collection::vec(1..60_usize, 0..4),
        steps in steps(),
    ) {
        let mut world = World::new(total);
        let mut deaths = deaths.into_iter();
        for step in steps {
            world.step(step, &mut deaths);
        }
        let disk = world.disk.cut_power(7);
        world.restart(disk);
        // Whatever happened, what was purged leaves the disk.
        world.erase();
        assert!(purge::all(&world.simulated.bus.states.lock()).is_empty());
    }
}
