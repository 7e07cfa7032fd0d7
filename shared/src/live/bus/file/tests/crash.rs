//! Publications, crashes, full disks and restarts in any order, against a list of what was acknowledged.
//!
//! Each publication changes a state together with its messages, so that the state is always that of the last one that is there.

use proptest::prelude::*;

use super::*;

const TABLE: StateTable = StateTable::new("test", 1 << 20);

#[derive(Clone, Debug)]
enum Step {
    /// One round of the writer, with publications of so many messages of so many bytes.
    Publish(Vec<Vec<usize>>),
    /// So many bytes are free from now on.
    Fill(usize),
    /// There is space again, and the writer looks.
    Check,
    /// The power is cut; what was not synced is lost, torn or there.
    CutPower(u64),
    /// Only the process ends.
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let publication = proptest::collection::vec(0..1_500_usize, 1..4);
    let step = prop_oneof![
        12 => proptest::collection::vec(publication, 1..4).prop_map(Step::Publish),
        1 => (0..6_000_usize).prop_map(Step::Fill),
        2 => Just(Step::Check),
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

/// What a publication stores besides its messages.
fn mark(texts: &[String]) -> Vec<u8> {
    texts[0].split('-').next().unwrap_or_default().into()
}

struct World {
    disk: SimulatedDisk,
    simulated: Simulated,
    sent: Vec<Sent>,
    /// What was refused: it is nowhere.
    refused: Vec<String>,
    newest: Cursor,
    fsync: Fsync,
}

impl World {
    fn restart(&mut self, disk: SimulatedDisk, is_cut: bool) -> Result<(), TestCaseError> {
        let examined = repair::read(&disk).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(!examined.is_damaged(), "a start works, so there is no damage: {examined:?}");
        let opened = Simulated::open(&disk, self.fsync, 8_192);
        self.simulated = opened.map_err(|error| TestCaseError::fail(error.to_string()))?;
        self.disk = disk;
        let (there, is_gap) = read(&self.simulated.bus, "c", Since::Earliest);
        prop_assert!(!is_gap && there.is_sorted_by(|a, b| a.0 < b.0));
        prop_assert!(!there.iter().any(|(_, text)| self.refused.contains(text)));
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
        let last = self.sent.last().map(|sent| mark(&sent.texts));
        let state = self.simulated.bus.states(TABLE).pop().and_then(|state| state.value);
        prop_assert_eq!(state, last, "the state of the last publication");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_there_once_under_its_id(
        fsync in prop_oneof![3 => Just(Fsync::Always), 1 => Just(Fsync::EverySecond), 1 => Just(Fsync::Never)],
        deaths in proptest::collection::vec(1..40_usize, 0..6),
        steps in steps(),
    ) {
        let disk = SimulatedDisk::new();
        let simulated = Simulated::open(&disk, fsync, 8_192).unwrap();
        let mut world = World { disk, simulated, sent: Vec::new(), refused: Vec::new(), newest: Cursor::ZERO, fsync };
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
                        let drafts = texts.iter().map(|text| draft("c", text)).collect();
                        let texts: Vec<String> = texts.into_iter().map(|text| format!("\"{text}\"")).collect();
                        let state = StoredState {
                            table: TABLE,
                            key: b"last".to_vec(),
                            value: Some(mark(&texts)),
                            until_ms: u64::MAX,
                        };
                        publications.push(Publication { states: vec![state], ..Publication::new(drafts) });
                        world.sent.push(Sent { texts, ids: None, is_volatile: fsync != Fsync::Always });
                    }
                    let (answers, _) = world.simulated.publish_all(publications);
                    for (mut sent, answer) in world.sent.split_off(begun).into_iter().zip(answers) {
                        match answer {
                            Some(Ok(published)) => {
                                prop_assert!(published.ids[0] > world.newest, "an id that was handed out before");
                                world.newest = published.ids[published.ids.len() - 1];
                                sent.ids = Some(published.ids);
                            }
                            Some(Err(BusError::DiskFull(_))) => {
                                world.refused.extend(sent.texts);
                                continue;
                            }
                            _ => {}
                        }
                        world.sent.push(sent);
                    }
                }
                Step::Fill(space) => world.disk.faults(Faults { space: Some(space), ..Faults::default() }),
                Step::Check => {
                    world.disk.faults(Faults::default());
                    if world.simulated.bus.state.failure.borrow().is_some() {
                        continue;
                    }
                    match world.simulated.writer.work(Work { is_check: true, ..Work::default() }) {
                        Ok(()) => prop_assert!(world.simulated.bus.degraded().is_empty()),
                        Err(failure) => drop(world.simulated.bus.state.failure.send_replace(Some(failure.0))),
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
