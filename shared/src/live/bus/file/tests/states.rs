//! Small states are there after a restart, whatever becomes of the segments in which they were stored.

use super::*;
use crate::pure::Retention;

const TABLE: StateTable = StateTable::new("test", 4 << 20);

fn open(disk: &SimulatedDisk, total: Option<u64>) -> Simulated {
    let options = FileOptions { total, ..FileOptions::default() };
    let limits = Limits { channel: Retention::default(), ..Limits::default() };
    let (bus, writer) = FileBus::on(Arc::new(disk.clone()), options, 4_096, limits, || START.into()).unwrap();
    Simulated { bus, writer }
}

/// Stores a state that expires after `for_ms`.
fn store(simulated: &mut Simulated, key: &str, value: Option<&str>, for_ms: u64) -> Result<(), BusError> {
    let value = value.map(|value| value.as_bytes().to_vec());
    let state = StoredState { table: TABLE, key: key.into(), value, until_ms: START + for_ms };
    simulated.publish(Publication::of_states(vec![state])).map(drop)
}

/// The keys and the values, one after the other.
fn stored(simulated: &Simulated) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let state = |state: StoredState| format!("{}={} ", text(&state.key), text(&state.value.unwrap()));
    simulated.bus.states(TABLE).into_iter().map(state).collect()
}

#[test]
fn states_outlive_the_segments_in_which_they_were_stored() {
    let disk = SimulatedDisk::new();
    let mut simulated = open(&disk, Some(12_000));
    store(&mut simulated, "a", Some("1"), 1_000).unwrap();
    store(&mut simulated, "a", Some("2"), 1_000).unwrap();
    store(&mut simulated, "b", Some("1"), 1_000).unwrap();
    store(&mut simulated, "gone", Some("1"), 1_000).unwrap();
    store(&mut simulated, "gone", None, 0).unwrap();
    store(&mut simulated, "expired", Some("1"), 0).unwrap();
    assert_eq!(stored(&simulated), "a=2 b=1 ");
    for _ in 0..60 {
        simulated.publish(publication("c", &"x".repeat(500))).unwrap();
    }
    assert!(!disk.list().unwrap().contains(&segment::file_name(1)), "the first segment is removed");
    let disk = disk.kill();
    assert_eq!(stored(&open(&disk, None)), "a=2 b=1 ");
    // The next segment has nothing yet, or its first write is torn.
    let mut again = open(&disk.kill(), None);
    again.writer.store.roll().unwrap();
    let name = segment::file_name(again.writer.store.catalog.segments.lock().active.number);
    again.publish(publication("c", "1")).unwrap();
    let whole = disk.open(&name).unwrap().length().unwrap();
    for torn in [segment::HEAD, segment::HEAD + 60, segment::HEAD + record::GROUP as u64 + 45, whole] {
        let disk = disk.cut_power(1);
        disk.damage(&name, |bytes| bytes.truncate(usize::try_from(torn).unwrap()));
        for _ in 0..2 {
            let mut once_more = open(&disk.kill(), None);
            assert_eq!(stored(&once_more), "a=2 b=1 ", "{torn}");
            once_more.publish(publication("c", "2")).unwrap();
        }
        // The next write completed what was torn, so later segments have it.
        let mut later = open(&disk.kill(), Some(12_000));
        for _ in 0..30 {
            later.publish(publication("c", &"x".repeat(500))).unwrap();
        }
        assert!(!disk.list().unwrap().contains(&name));
        assert_eq!(stored(&open(&disk.kill(), None)), "a=2 b=1 ", "{torn}");
    }
}

/// What backends decided, and the position of webhooks, are states as well, and a power cut loses none of what was decided.
#[tokio::test]
async fn records_and_leases_are_states() {
    let record = |name: &str, value, until, is_monotone| Record {
        name: name.into(),
        value,
        expires_ms: START + until,
        is_monotone,
    };
    let publish = |states| Publication::of_states(states);
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Never, 8_192).unwrap();
    let given = [
        record("refused:a", 5, 90_000, false),
        record("refused:a", 7, 80_000, false),
        record("refused:a", 6, 99_000, false),
        record("refused:a", 7, 70_000, false),
        record("revoked:b", 7, 80_000, true),
        record("revoked:b", 9, 50_000, true),
        record("revoked:b", 8, 90_000, true),
        record("past", 1, 1, false),
    ];
    simulated.publish(publish(vec![records::lease("hooks", b"5")])).unwrap();
    let entry = |key: &[u8], value: Option<&'static str>| records::entry("hooks", key, value.map(Into::into));
    simulated.publish(publish(vec![entry(b"a", Some("1")), entry(b"b", Some("2"))])).unwrap();
    simulated.publish(publish(vec![entry(b"b", None), records::entry("hooks2", b"c", Some("3".into()))])).unwrap();
    for record in &given[..5] {
        simulated.publish(publish(vec![records::state_of(record.clone())])).unwrap();
    }
    // Also within one publication.
    simulated.publish(publish(given[5..].iter().cloned().map(records::state_of).collect())).unwrap();
    let expected = [record("refused:a", 7, 80_000, false), record("revoked:b", 9, 90_000, true)];
    for seed in 0..20 {
        let again = Simulated::open(&disk.cut_power(seed), Fsync::Never, 8_192).unwrap();
        let stored = again.bus.stored().unwrap().recv().await.unwrap();
        assert_eq!(stored.records, expected, "{seed}");
        assert_eq!(again.bus.read_state("hooks").await, Ok(Some("5".into())));
        assert_eq!(again.bus.read_state("other").await, Ok(None));
        assert_eq!(again.bus.read_entries("hooks").await, Ok(vec![(b"a".to_vec(), "1".into())]));
    }
}

/// With messages and an idempotency key: all of it is there after a crash, or nothing.
#[test]
fn states_change_together_with_messages() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
    let state = |key: &str, value: &str| StoredState {
        table: TABLE,
        key: key.into(),
        value: Some(value.into()),
        until_ms: u64::MAX,
    };
    simulated.publish(Publication::of_states(vec![state("a", "1")])).unwrap();
    let name = segment::file_name(1);
    let before = disk.open(&name).unwrap().length().unwrap();
    let publication = Publication { states: vec![state("a", "2"), state("b", "1")], ..keyed("m") };
    let published = simulated.publish(publication.clone()).unwrap();
    assert_eq!(stored(&simulated), "a=2 b=1 ");
    let whole = disk.open(&name).unwrap().length().unwrap();
    for torn in before..=whole {
        let disk = disk.cut_power(0);
        disk.damage(&name, |bytes| bytes.truncate(usize::try_from(torn).unwrap()));
        let mut again = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
        let is_there = torn == whole;
        assert_eq!(stored(&again), if is_there { "a=2 b=1 " } else { "a=1 " }, "{torn}");
        assert_eq!(read(&again.bus, "c", Since::Earliest).0.len(), usize::from(is_there));
        let repeated = again.publish(publication.clone()).unwrap();
        assert_eq!((repeated.is_repeat, repeated.ids == published.ids), (is_there, is_there));
    }
    // What is refused leaves nothing, and its key is free.
    let large = Publication {
        key: Some(IdempotencyKey { scope: "s".into(), key: "large".into() }),
        states: vec![state("b", "2"), state("c", &"x".repeat(200_000))],
        ..super::publication("c", "2")
    };
    assert!(matches!(simulated.publish(large.clone()), Err(BusError::StatesFull(_))));
    let small = Publication { states: vec![state("c", "1")], ..large };
    assert!(!simulated.publish(small).unwrap().is_repeat);
    assert_eq!(stored(&simulated), "a=2 b=1 c=1 ");
    assert_eq!(read(&simulated.bus, "c", Since::Earliest).0.len(), 2);
}

#[test]
fn a_start_writes_nothing_that_is_there() {
    let disk = SimulatedDisk::new();
    let mut simulated = open(&disk, None);
    store(&mut simulated, "a", Some("1"), 1_000).unwrap();
    let length = || disk.open(&segment::file_name(1)).unwrap().length().unwrap();
    let before = length();
    for _ in 0..3 {
        assert_eq!(stored(&open(&disk.kill(), None)), "a=1 ");
        assert_eq!(length(), before);
    }
}

/// They may have been stored with larger segments.
#[test]
fn many_states_do_not_seal_a_segment_with_each_publication() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
    for n in 0..100 {
        store(&mut simulated, &format!("{n}"), Some(&"x".repeat(200)), 1_000).unwrap();
    }
    let mut small = open(&disk.kill(), None);
    for _ in 0..50 {
        small.publish(publication("c", &"x".repeat(200))).unwrap();
    }
    assert!(small.bus.disk().unwrap().segments < 4, "{:?}", small.bus.disk());
}

#[test]
fn what_could_not_be_stored_is_not_there() {
    let disk = SimulatedDisk::new();
    let mut simulated = open(&disk, None);
    let large = "x".repeat(300);
    store(&mut simulated, "a", Some(&large), 1_000).unwrap();
    let refused = store(&mut simulated, "b", Some(&large), 1_000).unwrap_err();
    assert!(refused.to_string().contains("stores at most 512"), "{refused}");
    disk.faults(Faults { space: Some(0), ..Faults::default() });
    assert!(matches!(store(&mut simulated, "a", None, 0), Err(BusError::DiskFull(_))));
    assert_eq!(stored(&simulated), format!("a={large} "));
    assert_eq!(stored(&open(&disk.kill(), None)), format!("a={large} "));
}

/// A batch that replaces what is stored does not need the space twice, neither with one change of a key nor with several.
#[test]
fn a_full_table_can_be_replaced_in_one_batch() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 16 << 10).unwrap();
    let state = |key: u8, value: u8, length: usize| StoredState {
        table: TABLE,
        key: vec![key],
        value: Some(vec![value; length]),
        until_ms: u64::MAX,
    };
    let all = |value: u8| (0..9).map(|key| state(key, value, 123)).collect::<Vec<_>>();
    simulated.publish(Publication::of_states(all(1))).unwrap();
    simulated.publish(Publication::of_states([all(2), all(3)].concat())).unwrap();
    let (answers, _) = simulated.publish_all(vec![
        Publication::of_states(all(4)),
        // Refused, so the changes before it count again.
        Publication::of_states([all(5), vec![state(9, 5, 123)]].concat()),
        Publication::of_states(vec![StoredState { value: None, ..state(8, 0, 0) }, state(9, 6, 123)]),
        Publication::of_states(vec![state(8, 7, 123)]),
    ]);
    let is_there: Vec<bool> = answers.iter().map(|answer| matches!(answer, Some(Ok(_)))).collect();
    assert_eq!(is_there, [true, false, true, false]);
    let values: Vec<u8> = simulated.bus.states(TABLE).into_iter().map(|state| state.value.unwrap()[0]).collect();
    assert_eq!(values, [4, 4, 4, 4, 4, 4, 4, 4, 6]);
}

/// Also if the segment in which they are has no messages, and the process ends before the next one repeats them.
#[test]
fn states_are_there_whenever_the_process_ends() {
    for steps in 0..20 {
        let disk = SimulatedDisk::new();
        let limits = Limits { channel: Retention { age_ms: Some(1_000), ..Retention::default() }, ..Limits::default() };
        let opened = FileBus::on(Arc::new(disk.clone()), FileOptions::default(), 4_096, limits, || START.into());
        let (bus, writer) = opened.unwrap();
        let mut simulated = Simulated { bus, writer };
        store(&mut simulated, "a", Some("1"), 1_000).unwrap();
        while !simulated.writer.store.is_full() {
            store(&mut simulated, "b", Some(&"x".repeat(200)), 1_000).unwrap();
        }
        disk.faults(Faults { steps: Some(steps), ..Faults::default() });
        let state = StoredState { table: TABLE, key: b"c".to_vec(), value: Some(b"1".to_vec()), until_ms: START + 9 };
        let (job, _replied) = Simulated::job(Publication::of_states(vec![state]));
        // It fails, if the process ends there.
        let _ = simulated.writer.work(Work { jobs: vec![job], is_check: true, ..Work::default() });
        let again = open(&disk.kill(), None);
        assert!(stored(&again).starts_with("a=1 b="), "{steps}: {}", stored(&again));
    }
}

/// A start reads old segments for their idempotency keys. One that only has states may have removed what they had.
#[test]
fn what_a_segment_of_states_removed_does_not_return() {
    let disk = SimulatedDisk::new();
    // The memory has the newest segments only.
    let limits = Limits { total: Some(8_000), ..Limits::default() };
    let open = || {
        let options = FileOptions::default();
        let opened = FileBus::on(Arc::new(disk.kill()), options, 4_096, limits, || START.into()).unwrap();
        Simulated { bus: opened.0, writer: opened.1 }
    };
    let mut simulated = open();
    simulated.publish(keyed("1")).unwrap();
    store(&mut simulated, "a", Some("1"), 1_000).unwrap();
    simulated.writer.store.roll().unwrap();
    store(&mut simulated, "b", Some("1"), 1_000).unwrap();
    store(&mut simulated, "a", None, 0).unwrap();
    simulated.writer.store.roll().unwrap();
    for _ in 0..30 {
        simulated.publish(publication("c", &"x".repeat(500))).unwrap();
    }
    assert_eq!(stored(&simulated), "b=1 ");
    let mut again = open();
    assert_eq!(stored(&again), "b=1 ");
    assert!(again.publish(keyed("1")).unwrap().is_repeat);
}
