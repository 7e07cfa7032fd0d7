//! Operations on streams, crashes at any step of the disk and restarts in any order, against a list of what was acknowledged.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The epoch of the producer.
const EPOCH: u64 = 1;

#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Fork(usize, usize),
    /// By whom, and whether it closes the stream.
    Append(usize, By, bool),
    Delete(usize),
    Fill(usize),
    Kill,
    CutPower(u64),
}

/// Whose append it is.
#[derive(Clone, Copy, Debug)]
enum By {
    Nobody,
    /// The next request of a producer.
    Next,
    /// Its last one again.
    Again,
    /// The one after the next.
    Later,
    OldEpoch,
    /// Of nobody, with a `Stream-Seq` that is greater than the last one, or the same.
    Seq(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let by = prop_oneof![
        4 => Just(By::Nobody),
        5 => Just(By::Next),
        1 => Just(By::Again),
        1 => Just(By::Later),
        1 => Just(By::OldEpoch),
        2 => any::<bool>().prop_map(By::Seq),
    ];
    let step = prop_oneof![
        3 => (0..3_usize).prop_map(Step::Create),
        2 => (0..3_usize, 0..3_usize).prop_map(|(fork, source)| Step::Fork(fork, source)),
        10 => (0..3_usize, by, proptest::bool::weighted(0.1))
            .prop_map(|(at, by, is_closing)| Step::Append(at, by, is_closing)),
        2 => (0..3_usize).prop_map(Step::Delete),
        2 => (1..12_usize).prop_map(Step::Fill),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(Step::CutPower),
    ];
    proptest::collection::vec(step, 1..50)
}

/// A stream, as far as a client knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    texts: Vec<String>,
    /// It is closed, perhaps by the producer's request of this number.
    closed: Option<Option<u64>>,
    /// The next request of the producer.
    next: u64,
    seq: String,
    source: Option<usize>,
}

/// All streams, and those that were deleted and have forks, each with what it is a fork of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    streams: BTreeMap<usize, Known>,
    deleted: BTreeMap<usize, Option<usize>>,
}

/// The answer to an operation, as far as it is known without positions.
fn answer_of(answer: &Result<StreamReply, BusError>) -> Option<String> {
    match answer {
        Ok(reply) => Some(format!("{:?}", reply.outcome)),
        Err(BusError::Stream(StreamError::Closed { .. })) => Some("Closed".to_owned()),
        Err(BusError::Stream(StreamError::Exists(_))) => Some("Exists".to_owned()),
        Err(BusError::Stream(error)) => Some(format!("{error:?}")),
        Err(_) => None,
    }
}

const DONE: &str = "Done";

impl Model {
    /// What a step asks for, the answer, and what is there if it is [`DONE`].
    fn predict(&self, step: &Step, number: usize) -> Option<(StreamOp, String, Self)> {
        let mut after = self.clone();
        let named = |error: fn(ChannelName) -> StreamError, at: usize| format!("{:?}", error(name(NAMES[at])));
        let (op, answer) = match *step {
            Step::Create(at) => {
                after.streams.entry(at).or_default();
                (StreamOp::Create(create(NAMES[at]).into()), self.of_creation(at, None))
            }
            Step::Fork(at, source) if at != source => {
                let known = self.streams.get(&source);
                let texts = known.map(|known| known.texts.clone()).unwrap_or_default();
                after.streams.entry(at).or_insert(Known { texts, source: Some(source), ..Known::default() });
                let is_new = !self.streams.contains_key(&at) && !self.deleted.contains_key(&at);
                let answer = match known {
                    None if is_new && self.deleted.contains_key(&source) => named(StreamError::SourceGone, source),
                    None if is_new => named(StreamError::NoSource, source),
                    _ => self.of_creation(at, Some(source)),
                };
                (StreamOp::Create(fork(NAMES[at], NAMES[source], None).into()), answer)
            }
            Step::Append(at, by, is_closing) => {
                let text = format!("{number} {}", "t".repeat(number % 200));
                let one = Append { is_closing, ..append(NAMES[at], &[&text]) };
                let known = after.streams.entry(at).or_default();
                let (append, answer) = known.append(one, by, text);
                let answer = match self.streams.contains_key(&at) {
                    true => answer,
                    false if self.deleted.contains_key(&at) => named(StreamError::Gone, at),
                    false => named(StreamError::NotFound, at),
                };
                (StreamOp::Append(append.into()), answer)
            }
            Step::Delete(at) => {
                let answer = match after.streams.remove(&at) {
                    Some(known) => {
                        after.deleted.insert(at, known.source);
                        after.forget(at);
                        DONE.to_owned()
                    }
                    None if self.deleted.contains_key(&at) => named(StreamError::Gone, at),
                    None => named(StreamError::NotFound, at),
                };
                (StreamOp::Delete(name(NAMES[at])), answer)
            }
            Step::Fork(..) | Step::Fill(_) | Step::Kill | Step::CutPower(_) => return None,
        };
        Some((op, answer, after))
    }

    fn of_creation(&self, at: usize, source: Option<usize>) -> String {
        match self.streams.get(&at) {
            None if self.deleted.contains_key(&at) => format!("{:?}", StreamError::NameTaken(name(NAMES[at]))),
            None => DONE.to_owned(),
            Some(known) if known.source == source && known.closed.is_none() => "Repeated(None)".to_owned(),
            Some(_) => "Exists".to_owned(),
        }
    }

    /// A name without forks is free, and then perhaps that of its source.
    fn forget(&mut self, at: usize) {
        let mut sources = self.streams.values().map(|known| known.source).chain(self.deleted.values().copied());
        if sources.any(|source| source == Some(at)) {
            return;
        }
        if let Some(Some(source)) = self.deleted.remove(&at)
            && self.deleted.contains_key(&source)
        {
            self.forget(source);
        }
    }

    /// What readers see: the texts, and whether it is closed.
    fn seen(&self) -> BTreeMap<usize, (Vec<String>, bool)> {
        let seen = |known: &Known| (known.texts.clone(), known.closed.is_some());
        self.streams.iter().map(|(at, known)| (*at, seen(known))).collect()
    }
}

impl Known {
    /// The request and its answer; if that is [`DONE`], it is done.
    fn append(&mut self, one: Append, by: By, text: String) -> (Append, String) {
        let (is_closing, next) = (one.is_closing, self.next);
        // A producer without an earlier request can do nothing else.
        let by = if next == 0 && !matches!(by, By::Nobody | By::Seq(_)) { By::Next } else { by };
        let seq = match by {
            By::Next => Some((EPOCH, next)),
            By::Again => Some((EPOCH, next - 1)),
            By::Later => Some((EPOCH, next + 1)),
            By::OldEpoch => Some((EPOCH - 1, next)),
            By::Nobody | By::Seq(_) => None,
        };
        let append = match (seq, by) {
            (Some((epoch, seq)), _) => super::by(one, epoch, seq),
            (None, By::Seq(is_greater)) => {
                let last = self.seq.len() + usize::from(is_greater || self.seq.is_empty());
                Append { seq: Some("s".repeat(last).into()), ..one }
            }
            (None, _) => one,
        };
        let answer = match (&self.closed, by) {
            (Some(Some(seq)), By::Again) if *seq == next - 1 => format!("Repeated(Some({seq}))"),
            (Some(_), _) => "Closed".to_owned(),
            (None, By::Again) => format!("Repeated(Some({}))", next - 1),
            (None, By::Later) => {
                format!("{:?}", StreamError::SequenceGap { expected: next, received: next + 1 })
            }
            (None, By::OldEpoch) => format!("{:?}", StreamError::StaleEpoch { current: EPOCH }),
            (None, By::Seq(false)) if !self.seq.is_empty() => {
                format!("{:?}", StreamError::Seq { last: self.seq.as_str().into() })
            }
            (None, _) => {
                self.texts.push(text);
                self.next += u64::from(seq.is_some());
                self.seq = append.seq.as_deref().unwrap_or(&self.seq).to_owned();
                self.closed = is_closing.then_some(seq.map(|(_, seq)| seq));
                DONE.to_owned()
            }
        };
        (append, answer)
    }
}

fn there(site: &Site) -> BTreeMap<usize, (Vec<String>, bool)> {
    let existing = (0..NAMES.len()).filter_map(|at| Some((at, site.info(NAMES[at]).ok()?)));
    existing
        .map(|(at, info)| {
            let (texts, is_gap) = site.texts(NAMES[at]);
            assert!(!is_gap, "{}", NAMES[at]);
            (at, (texts, info.end.is_some()))
        })
        .collect()
}

/// Whether streams may be refused more memory, of which they have a quarter of the disk.
fn may_be_full(site: &Site) -> bool {
    let used = site.at.bus.log().counts().stream_footprint as u64;
    // A fork takes as much as its source.
    site.total.is_some_and(|total| 2 * used + 2_048 > total / 4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_acknowledged_operation_is_there(
        total in prop_oneof![Just(None), Just(Some(40_000))],
        deaths in proptest::collection::vec(1..60_usize, 0..5),
        steps in steps(),
    ) {
        let mut site = Site::new(total);
        let (mut model, mut deaths) = (Model::default(), deaths.into_iter());
        let (mut death, mut is_dying) = (deaths.next(), false);
        let has_failed = |site: &Site| site.at.bus.state.failure.borrow().is_some();
        for (number, step) in steps.into_iter().enumerate() {
            let before = site.all();
            // What may have happened, and its answer did not come.
            let (mut unknown, mut is_dead) = (None, false);
            if let Some((op, expected, after)) = model.predict(&step, number) {
                if let Some(steps) = death.take() {
                    site.disk.faults(Faults { steps: Some(steps), ..Faults::default() });
                    is_dying = true;
                }
                let answer = site.ask(op);
                match (answer_of(&answer), answer) {
                    (Some(got), _) if got == expected => {
                        if got == DONE {
                            model = after;
                        }
                    }
                    (_, Err(BusError::Stream(StreamError::Full { .. }))) if may_be_full(&site) => {}
                    // The table of purges of small segments is small.
                    (_, Err(BusError::StatesFull(_))) if matches!(step, Step::Delete(_)) => {}
                    (None, Err(_)) if is_dying => {
                        unknown = Some(after).filter(|_| expected == DONE);
                        is_dead = true;
                    }
                    (_, answer) => {
                        let what = format!("{step:?} got {answer:?}, expected {expected}");
                        return Err(TestCaseError::fail(what));
                    }
                }
            }
            match step {
                Step::Fill(count) => {
                    for _ in 0..count {
                        if !has_failed(&site) {
                            site.at.publish_all(vec![publication("other", &"x".repeat(300))]);
                        }
                    }
                }
                Step::CutPower(seed) => {
                    site.disk = site.disk.cut_power(seed);
                    death = None;
                }
                _ => {}
            }
            if matches!(step, Step::Kill | Step::CutPower(_)) || is_dead || has_failed(&site) {
                // All that is known of all streams, and not only what readers see.
                let known = if unknown.is_some() { before } else { site.all() };
                site.disk.faults(Faults::default());
                site.restart();
                (death, is_dying) = (deaths.next(), false);
                match unknown {
                    Some(after) if site.all() != known => model = after,
                    _ => prop_assert_eq!(site.all(), known),
                }
                prop_assert_eq!(there(&site), model.seen());
            }
        }
        site.disk.faults(Faults::default());
        let known = site.all();
        site.restart();
        prop_assert_eq!(site.all(), known);
        prop_assert_eq!(there(&site), model.seen());
    }
}
