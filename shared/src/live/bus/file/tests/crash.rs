//! Publications, crashes and restarts in any order, against a list of what was acknowledged.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// One round of the writer, with publications of so many messages of so many bytes.
    Publish(Vec<Vec<usize>>),
    /// The power is cut; what was not synced is lost, torn or there.
    CutPower(u64),
    /// Only the process ends.
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let publication = proptest::collection::vec(0..1_500_usize, 1..4);
    let step = prop_oneof![
        12 => proptest::collection::vec(publication, 1..4).prop_map(Step::Publish),
        2 => any::<u64>().prop_map(Step::CutPower),
        1 => Just(Step::Kill),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What was published: the texts of one publication, and its ids if it was acknowledged.
struct Sent {
    texts: Vec<String>,
    ids: Option<Vec<Cursor>>,
    /// Whether it may be lost although it was acknowledged.
    is_volatile: bool,
}

struct World {
    disk: SimulatedDisk,
    simulated: Simulated,
    sent: Vec<Sent>,
    newest: Cursor,
    fsync: Fsync,
}

impl World {
    fn restart(&mut self, disk: SimulatedDisk, is_cut: bool) -> Result<(), TestCaseError> {
        let opened = Simulated::open(&disk, self.fsync, 8_192);
        self.simulated = opened.map_err(|error| TestCaseError::fail(error.to_string()))?;
        self.disk = disk;
        let (there, is_gap) = read(&self.simulated.bus, "c", Since::Earliest);
        prop_assert!(!is_gap && there.is_sorted_by(|a, b| a.0 < b.0));
        let mut expected = 0;
        self.sent.retain_mut(|sent| {
            let found: Vec<_> = there.iter().filter(|(_, text)| sent.texts.contains(text)).collect();
            let is_whole = found.len() == sent.texts.len();
            assert!(is_whole || found.is_empty(), "a publication is there as a whole or not at all");
            let Some(ids) = &sent.ids else {
                // Nobody knows the outcome: from now on it is what is there.
                sent.ids = is_whole.then(|| found.iter().map(|(id, _)| *id).collect());
                expected += found.len();
                return is_whole;
            };
            if !is_whole && sent.is_volatile && is_cut {
                return false;
            }
            assert!(is_whole, "{ids:?} was acknowledged and is lost");
            assert!(found.iter().map(|(id, _)| id).eq(ids), "under its ids");
            expected += found.len();
            true
        });
        self.sent.iter_mut().for_each(|sent| sent.is_volatile = false);
        prop_assert_eq!(there.len(), expected, "each once");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_there_once_under_its_id(
        fsync in prop_oneof![3 => Just(Fsync::Always), 1 => Just(Fsync::Never)],
        deaths in proptest::collection::vec(1..40_usize, 0..6),
        steps in steps(),
    ) {
        let disk = SimulatedDisk::new();
        let simulated = Simulated::open(&disk, fsync, 8_192).unwrap();
        let mut world = World { disk, simulated, sent: Vec::new(), newest: Cursor::ZERO, fsync };
        let mut deaths = deaths.into_iter();
        let mut number = 0;
        for step in steps {
            match step {
                Step::Publish(all) => {
                    if world.simulated.bus.state.failure.borrow().is_some() {
                        continue;
                    }
                    let mut publications = Vec::new();
                    let begun = world.sent.len();
                    for sizes in all {
                        let texts: Vec<String> = sizes.into_iter().map(|size| {
                            number += 1;
                            format!("{number}-{}", "x".repeat(size))
                        }).collect();
                        publications.push(Publication::new(texts.iter().map(|text| draft("c", text)).collect()));
                        let texts = texts.into_iter().map(|text| format!("\"{text}\"")).collect();
                        world.sent.push(Sent { texts, ids: None, is_volatile: fsync == Fsync::Never });
                    }
                    let (answers, _) = world.simulated.publish_all(publications);
                    for (sent, answer) in world.sent[begun..].iter_mut().zip(answers) {
                        if let Some(Ok(published)) = answer {
                            prop_assert!(published.ids[0] > world.newest, "an id that was handed out before");
                            world.newest = published.ids[published.ids.len() - 1];
                            sent.ids = Some(published.ids);
                        }
                    }
                }
                Step::CutPower(seed) => {
                    let disk = world.disk.cut_power(seed);
                    world.restart(disk.clone(), true)?;
                    disk.faults(Faults { steps: deaths.next(), ..Faults::default() });
                }
                Step::Kill => {
                    let disk = world.disk.kill();
                    world.restart(disk, false)?;
                }
            }
        }
        let disk = world.disk.cut_power(number);
        world.restart(disk, true)?;
    }
}
