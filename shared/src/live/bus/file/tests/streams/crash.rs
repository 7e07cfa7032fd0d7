//! Operations on streams, crashes at any step of the disk and restarts in any order, against a list of what was acknowledged.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Fork(usize, usize),
    /// With a producer's sequence, perhaps, and a closing.
    Append(usize, bool, bool),
    Delete(usize),
    Fill(usize),
    Kill,
    CutPower(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..3_usize).prop_map(Step::Create),
        2 => (0..3_usize, 0..3_usize).prop_map(|(fork, source)| Step::Fork(fork, source)),
        10 => (0..3_usize, any::<bool>(), proptest::bool::weighted(0.1))
            .prop_map(|(at, is_numbered, is_closing)| Step::Append(at, is_numbered, is_closing)),
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
    is_closed: bool,
    next: u64,
}

type Model = BTreeMap<&'static str, Known>;

fn there(site: &Site) -> Model {
    let existing = NAMES.into_iter().filter_map(|name| Some((name, site.info(name).ok()?)));
    existing
        .map(|(name, info)| {
            let (texts, is_gap) = site.texts(name);
            assert!(!is_gap, "{name}");
            (name, Known { texts, is_closed: info.end.is_some(), next: 0 })
        })
        .collect()
}

/// The same without what can only be asked for.
fn seen(model: &Model) -> Model {
    model.iter().map(|(name, known)| (*name, Known { next: 0, ..known.clone() })).collect()
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
        let (mut model, mut number, mut deaths) = (Model::new(), 0, deaths.into_iter());
        let mut death = deaths.next();
        for step in steps {
            let mut after = model.clone();
            let mut op = None;
            match step {
                Step::Create(at) => {
                    op = Some(StreamOp::Create(create(NAMES[at]).into()));
                    after.entry(NAMES[at]).or_default();
                }
                Step::Fork(at, source) if at != source => {
                    op = Some(StreamOp::Create(fork(NAMES[at], NAMES[source], None).into()));
                    if let Some(source) = model.get(NAMES[source]) {
                        let texts = source.texts.clone();
                        after.entry(NAMES[at]).or_insert(Known { texts, ..Known::default() });
                    }
                }
                Step::Append(at, is_numbered, is_closing) => {
                    number += 1;
                    let text = format!("{number} {}", "t".repeat(number % 200));
                    let one = Append { is_closing, ..append(NAMES[at], &[&text]) };
                    let known = after.entry(NAMES[at]).or_default();
                    let seq = known.next;
                    op = Some(StreamOp::Append(if is_numbered { by(one, 0, seq) } else { one }.into()));
                    known.texts.push(text);
                    known.is_closed = is_closing;
                    known.next += u64::from(is_numbered);
                }
                Step::Delete(at) => {
                    op = Some(StreamOp::Delete(name(NAMES[at])));
                    after.remove(NAMES[at]);
                }
                Step::Fill(count) => {
                    let has_failed = |site: &Site| site.at.bus.state.failure.borrow().is_some();
                    for _ in 0..count {
                        if !has_failed(&site) {
                            site.at.publish_all(vec![publication("other", &"x".repeat(300))]);
                        }
                    }
                }
                Step::Kill | Step::Fork(..) => {}
                Step::CutPower(seed) => {
                    site.disk = site.disk.cut_power(seed);
                    death = None;
                }
            }
            let is_restart = matches!(step, Step::Kill | Step::CutPower(_));
            let mut is_unknown = false;
            if let Some(op) = op {
                if let Some(steps) = death.take() {
                    site.disk.faults(Faults { steps: Some(steps), ..Faults::default() });
                }
                match site.ask(op) {
                    Ok(reply) if reply.outcome == Outcome::Done => model = after.clone(),
                    Ok(_) | Err(BusError::Stream(_)) => {}
                    Err(_) => is_unknown = true,
                }
            }
            let has_failed = site.at.bus.state.failure.borrow().is_some();
            if is_restart || has_failed || is_unknown {
                site.disk.faults(Faults::default());
                site.restart();
                death = deaths.next();
                let found = there(&site);
                if is_unknown && found == seen(&after) {
                    model = after;
                }
                prop_assert_eq!(found, seen(&model));
            }
        }
        site.disk.faults(Faults::default());
        site.restart();
        prop_assert_eq!(there(&site), seen(&model));
    }
}
