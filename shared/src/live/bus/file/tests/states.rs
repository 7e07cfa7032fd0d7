//! Small states are there after a restart, whatever becomes of the segments in which they were stored.

use super::*;
use crate::pure::Retention;

const TABLE: &str = "test";

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
    let (reply, mut replied) = oneshot::channel();
    let job = Job { drafts: Vec::new(), state: Some(Box::new(state)), claim: None, bytes: 0, reply, _permit: None };
    simulated.writer.work(Work { jobs: vec![job], ..Work::default() }).unwrap();
    replied.try_recv().unwrap().map(drop)
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
    }
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
        let (reply, _replied) = oneshot::channel();
        let job = Job { drafts: Vec::new(), state: Some(Box::new(state)), claim: None, bytes: 0, reply, _permit: None };
        // It fails, if the process ends there.
        let _ = simulated.writer.work(Work { jobs: vec![job], is_check: true, ..Work::default() });
        let again = open(&disk.kill(), None);
        assert!(stored(&again).starts_with("a=1 b="), "{steps}: {}", stored(&again));
    }
}
