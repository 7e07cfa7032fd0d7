//! What was purged is never read again, and its bytes leave the disk.

use std::cell::Cell;

use super::*;

mod damage;
mod others;

const WITHIN: Duration = Duration::from_secs(3_600);
const HALF_MS: u64 = 1_800_000;

thread_local! {
    /// The clock of each test.
    static TIME: Cell<u64> = const { Cell::new(START) };
}

fn pass(ms: u64) {
    TIME.set(TIME.get() + ms);
}

fn open(disk: &SimulatedDisk, fsync: Fsync) -> Simulated {
    open_with(disk, fsync, 4_096)
}

fn open_with(disk: &SimulatedDisk, fsync: Fsync, segment_bytes: u64) -> Simulated {
    let options = FileOptions { fsync, purge_within: WITHIN, ..FileOptions::default() };
    // The memory has the newest messages only.
    let limits = Limits { total: Some(8_000), ..Limits::default() };
    let clock = || {
        pass(1);
        TIME.get().into()
    };
    let (bus, writer) = FileBus::on(Arc::new(disk.clone()), options, segment_bytes, limits, clock).unwrap();
    Simulated { bus, writer }
}

/// Purges a channel; returns up to which message.
fn purge_now(simulated: &mut Simulated, channel: &str) -> Cursor {
    let (purge, states) = simulated.bus.plan_purge(channel.parse().unwrap());
    simulated.publish(Publication::of_states(states)).unwrap();
    purge.up_to
}

/// How often `text` is in the files of the disk.
pub(super) fn occurrences(disk: &SimulatedDisk, text: &str) -> usize {
    let count = |name: &String| {
        let file = disk.open(name).unwrap();
        let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
        file.read_at(&mut bytes, 0).unwrap();
        memchr::memmem::find_iter(&bytes, text).count()
    };
    disk.list().unwrap().iter().map(count).sum()
}

/// Where a file has `text`, if it has it.
pub(super) fn place(disk: &SimulatedDisk, name: &str, text: &str) -> Option<usize> {
    let file = disk.open(name).unwrap();
    let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
    file.read_at(&mut bytes, 0).unwrap();
    memchr::memmem::find(&bytes, text.as_bytes())
}

/// Checks the disk until nothing is being erased, or the process ends.
pub(super) fn erase(simulated: &mut Simulated) -> Result<(), writer::Failure> {
    simulated.writer.work(Work { is_check: true, ..Work::default() })?;
    while simulated.writer.erasing.is_some() {
        std::thread::yield_now();
        simulated.writer.work(Work { is_check: true, ..Work::default() })?;
    }
    Ok(())
}

/// A log whose channel `a` has secrets on disk and in memory, and `b` other messages: the ids of both.
fn filled(disk: &SimulatedDisk, fsync: Fsync) -> (Simulated, Vec<Cursor>, Vec<Cursor>) {
    let mut simulated = open(disk, fsync);
    let (mut secrets, mut others) = (Vec::new(), Vec::new());
    for n in 0..40 {
        // Some are of one publication with others.
        let drafts = vec![draft("a", &format!("secret{}", "x".repeat(n))), draft("b", &"y".repeat(300))];
        let published = simulated.publish(Publication::new(drafts)).unwrap();
        secrets.push(published[0]);
        others.push(published[1]);
    }
    (simulated, secrets, others)
}

#[test]
fn a_purge_is_obeyed_at_once_and_after_every_end() {
    for fsync in [Fsync::Always, Fsync::Never] {
        let disk = SimulatedDisk::new();
        let (mut simulated, secrets, others) = filled(&disk, fsync);
        assert_eq!(read_all(&simulated, "a", Since::Earliest), (secrets.clone(), false));
        let up_to = purge_now(&mut simulated, "a");
        assert_eq!(up_to, secrets[39]);
        let check = |simulated: &Simulated| {
            assert_eq!(read_all(simulated, "a", Since::Earliest).0, []);
            for missed in [0, 20, 38] {
                assert_eq!(read_all(simulated, "a", Since::After(secrets[missed])), (vec![], true), "{missed}");
            }
            assert!(!read_all(simulated, "a", Since::After(secrets[39])).1, "it had all of them");
            assert_eq!(read_all(simulated, "b", Since::After(others[0])), (others[1..].to_vec(), false));
        };
        check(&simulated);
        for seed in 0..10 {
            check(&open(&disk.cut_power(seed), fsync));
        }
        let mut again = open(&disk.kill(), fsync);
        check(&again);
        let later = again.publish(publication("a", "later")).unwrap().ids;
        assert_eq!(read_all(&open(&disk.kill(), fsync), "a", Since::After(up_to)), (later, false));
    }
}

/// A reader that catches up has a piece of the disk in memory, or waits for one.
#[test]
fn a_purge_is_obeyed_in_pieces_that_were_read_before() {
    let context = std::task::Context::from_waker(std::task::Waker::noop());
    let few = Limit { messages: 2, bytes: usize::MAX };
    let is_gap = |batch: &std::task::Poll<Option<crate::live::reader::Batch>>| match batch {
        std::task::Poll::Ready(Some(batch)) => batch.messages.is_empty() && batch.gap.is_some(),
        _ => false,
    };
    for is_read in [true, false] {
        let disk = SimulatedDisk::new();
        let (mut simulated, secrets, _) = filled(&disk, Fsync::Always);
        let mut reader = Reader::open(simulated.bus.log(), &["a".parse().unwrap()], Since::After(secrets[0]));
        assert!(reader.poll_stored(&context, few).is_pending());
        if is_read {
            simulated.bus.archive.serve_next();
            let batch = reader.poll_stored(&context, few);
            let std::task::Poll::Ready(Some(batch)) = batch else { panic!("the piece was read") };
            assert_eq!((batch.messages[1].id, batch.gap.is_none()), (secrets[2], true));
        }
        purge_now(&mut simulated, "a");
        if !is_read {
            simulated.bus.archive.serve_next();
        }
        let batch = reader.poll_stored(&context, few);
        assert!(is_gap(&batch), "{is_read}: {batch:?}");
        while reader.poll_stored(&context, few).is_pending() {
            simulated.bus.archive.serve_next();
        }
        let kept = simulated.publish(publication("a", "kept")).unwrap().ids;
        let batch = reader.read(few).unwrap();
        assert!(batch.gap.is_none() && batch.messages[0].id == kept[0] && batch.messages.len() == 1);
    }
}

/// Between the reading of a piece and its delivery.
#[test]
fn a_piece_that_was_read_and_not_delivered_obeys_a_purge() {
    let context = std::task::Context::from_waker(std::task::Waker::noop());
    let disk = SimulatedDisk::new();
    let (mut simulated, secrets, others) = filled(&disk, Fsync::Always);
    let names = ["a".parse().unwrap(), "b".parse().unwrap()];
    let mut reader = Reader::open(simulated.bus.log(), &names, Since::After(secrets[0]));
    assert!(reader.poll_stored(&context, Limit::default()).is_pending());
    simulated.bus.archive.serve_next();
    purge_now(&mut simulated, "a");
    let (mut ids, mut gaps) = (Vec::new(), 0);
    loop {
        match reader.poll_stored(&context, Limit::default()) {
            std::task::Poll::Pending => simulated.bus.archive.serve_next(),
            std::task::Poll::Ready(None) => break,
            std::task::Poll::Ready(Some(batch)) => {
                ids.extend(batch.messages.iter().map(|message| message.id));
                gaps += usize::from(batch.gap.is_some());
            }
        }
    }
    let expected: Vec<Cursor> = others.into_iter().filter(|id| *id > secrets[0]).collect();
    assert_eq!((ids, gaps), (expected, 1));
}

/// A piece of erased messages alone, whose channel is not known to have lost some.
#[test]
fn erased_messages_are_passed() {
    let disk = SimulatedDisk::new();
    let mut simulated = open_with(&disk, Fsync::Always, 1 << 20);
    for _ in 0..400 {
        simulated.publish(publication("a", &"x".repeat(2_000))).unwrap();
    }
    purge_now(&mut simulated, "a");
    let kept = simulated.publish(publication("a", "kept")).unwrap()[0];
    pass(HALF_MS);
    erase(&mut simulated).unwrap();
    // Something else is in memory.
    (0..9).for_each(|_| drop(simulated.publish(publication("b", &"x".repeat(2_000)))));
    let disk = disk.kill();
    removed::Removed::default().write(&disk).unwrap();
    let simulated = open_with(&disk, Fsync::Always, 1 << 20);
    let mut reader = Reader::open(simulated.bus.log(), &["a".parse().unwrap()], Since::Earliest);
    let context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..100 {
        match reader.poll_stored(&context, Limit::default()) {
            std::task::Poll::Pending => simulated.bus.archive.serve_next(),
            std::task::Poll::Ready(batch) => return assert_eq!(batch.unwrap().messages[0].id, kept),
        }
    }
    panic!("the reader requests pieces without an end");
}

/// A repetition without new messages in between has the time of the first.
#[test]
fn a_repeated_purge_is_not_due_later() {
    let (mut simulated, ..) = filled(&SimulatedDisk::new(), Fsync::Always);
    // From the second on, no message of the channel is known.
    purge_now(&mut simulated, "a");
    purge_now(&mut simulated, "a");
    let before = purge::all(&simulated.bus.states.lock());
    pass(HALF_MS / 2);
    purge_now(&mut simulated, "a");
    assert_eq!(purge::all(&simulated.bus.states.lock()), before);
}

/// Whoever set the clock back would otherwise keep the bytes on the disk for as much longer.
#[test]
fn the_bytes_of_a_purge_leave_the_disk_after_the_clock_was_set_back() {
    let disk = SimulatedDisk::new();
    let (mut simulated, ..) = filled(&disk, Fsync::Always);
    purge_now(&mut simulated, "a");
    TIME.set(TIME.get() - HALF_MS);
    erase(&mut simulated).unwrap();
    assert_eq!((occurrences(&disk, "secret"), purge::all(&simulated.bus.states.lock())), (0, vec![]));
}

#[test]
fn the_bytes_of_a_purge_leave_the_disk() {
    let disk = SimulatedDisk::new();
    let (mut simulated, secrets, others) = filled(&disk, Fsync::Always);
    let early = purge_now(&mut simulated, "a");
    erase(&mut simulated).unwrap();
    assert_eq!(occurrences(&disk, "secret"), 40, "not before half of the time");
    pass(HALF_MS / 2);
    let kept = simulated.publish(publication("a", "kept")).unwrap().ids;
    // A later purge does not delay it.
    purge_now(&mut simulated, "other");
    pass(HALF_MS / 2);
    erase(&mut simulated).unwrap();
    assert_eq!((occurrences(&disk, "secret"), occurrences(&disk, "kept")), (0, 1));
    assert_eq!(purge::all(&simulated.bus.states.lock()), []);
    let check = |simulated: &Simulated| {
        assert_eq!(read_all(simulated, "a", Since::After(secrets[3])), (kept.clone(), true));
        assert_eq!(read_all(simulated, "a", Since::After(early)), (kept.clone(), false));
        assert_eq!(read_all(simulated, "b", Since::After(others[0])), (others[1..].to_vec(), false));
    };
    check(&simulated);
    let disk = disk.cut_power(1);
    check(&open(&disk, Fsync::Always));
    let examined = repair::read(&disk).unwrap();
    assert!(!examined.is_damaged() && examined.messages == 41, "{examined:?}");
    // Also if the indexes have to be made again.
    let disk = disk.kill();
    for name in disk.list().unwrap().iter().filter(|name| name.ends_with(".index")) {
        disk.remove(name).unwrap();
    }
    check(&open(&disk, Fsync::Always));
}

/// At each step, the process ends; the next one completes it.
#[test]
fn an_interrupted_erasure_loses_nothing_else() {
    for steps in 0..60 {
        let disk = SimulatedDisk::new();
        let (mut simulated, _, others) = filled(&disk, Fsync::Always);
        purge_now(&mut simulated, "a");
        pass(HALF_MS);
        disk.faults(Faults { steps: Some(steps), ..Faults::default() });
        let has_failed = erase(&mut simulated).is_err();
        drop(simulated);
        let cut = disk.cut_power(steps as u64);
        let mut again = open(&cut, Fsync::Always);
        assert_eq!(read_all(&again, "a", Since::Earliest).0, [], "{steps}");
        assert_eq!(read_all(&again, "b", Since::After(others[0])), (others[1..].to_vec(), false), "{steps}");
        erase(&mut again).unwrap();
        assert_eq!(again.writer.erase_after_ms, 0);
        assert!(cut.list().unwrap().iter().all(|name| !purge::is_unfinished(name)), "{steps}");
        assert_eq!(occurrences(&cut, "secret"), 0, "{steps}");
        assert_eq!(purge::all(&again.bus.states.lock()), [], "{steps} {has_failed}");
    }
}

/// After a restart, the head is not before what a client has received.
#[test]
fn the_newest_messages_may_be_erased() {
    let disk = SimulatedDisk::new();
    let (mut simulated, secrets, others) = filled(&disk, Fsync::Always);
    let last = simulated.publish(publication("a", "secret")).unwrap()[0];
    purge_now(&mut simulated, "a");
    pass(HALF_MS);
    erase(&mut simulated).unwrap();
    let again = open(&disk.kill(), Fsync::Always);
    assert_eq!(purge::all(&again.bus.states.lock()), []);
    assert_eq!(read_all(&again, "a", Since::After(last)), (vec![], false), "it had all of them");
    for missed in [secrets[39], others[39]] {
        assert_eq!(read_all(&again, "a", Since::After(missed)), (vec![], true));
    }
    assert_eq!(read_all(&again, "b", Since::After(others[38])), (others[39..].to_vec(), false));
}

/// A copy of a segment is no part of the log: publishers keep the space, and a failure is no failure of the log.
#[test]
fn a_copy_that_cannot_be_made_is_made_later() {
    let faults = [
        Faults { space: Some(3_000), ..Faults::default() },
        Faults { sync_of_copies: Some(io::ErrorKind::StorageFull), ..Faults::default() },
        Faults { sync_of_copies: Some(io::ErrorKind::Other), ..Faults::default() },
    ];
    for fault in faults {
        let disk = SimulatedDisk::new();
        let (mut simulated, ..) = filled(&disk, Fsync::Always);
        purge_now(&mut simulated, "a");
        simulated.writer.store.roll().unwrap();
        pass(HALF_MS);
        disk.faults(fault);
        for _ in 0..3 {
            erase(&mut simulated).unwrap();
            simulated.publish(publication("b", "1")).expect("there is space");
            pass(60_000);
        }
        assert!(disk.list().unwrap().iter().all(|name| !purge::is_unfinished(name)));
        assert!(occurrences(&disk, "secret") > 0 && simulated.bus.degraded().is_empty());
        disk.faults(Faults::default());
        erase(&mut simulated).unwrap();
        assert_eq!((occurrences(&disk, "secret"), purge::all(&simulated.bus.states.lock())), (0, vec![]));
    }
}

/// On a full disk the states of purges cannot be removed; then not all of it is done again each second.
#[test]
fn an_erasure_that_cannot_be_completed_is_not_repeated_at_once() {
    let disk = SimulatedDisk::new();
    let (mut simulated, ..) = filled(&disk, Fsync::Always);
    purge_now(&mut simulated, "a");
    simulated.writer.store.roll().unwrap();
    simulated.publish(publication("b", "1")).unwrap();
    pass(HALF_MS);
    simulated.writer.work(Work { is_check: true, ..Work::default() }).unwrap();
    while !simulated.writer.erasing.as_ref().unwrap().is_finished() {
        std::thread::yield_now();
    }
    // Nothing becomes free with the next table of dropped messages: it has one channel.
    disk.damage("dropped.new", |bytes| bytes.truncate(62));
    disk.faults(Faults { space: Some(10), ..Faults::default() });
    erase(&mut simulated).unwrap();
    assert!(simulated.writer.erase_after_ms > 0 && simulated.writer.erasing.is_none());
    disk.faults(Faults::default());
    pass(60_000);
    erase(&mut simulated).unwrap();
    assert_eq!(purge::all(&simulated.bus.states.lock()), []);
}

/// More purges than the table has space for are erased earlier.
#[test]
fn many_purges_are_not_refused() {
    let disk = SimulatedDisk::new();
    let mut simulated = open_with(&disk, Fsync::Always, 64 << 10);
    for n in 0..200 {
        simulated.publish(publication(&format!("c{n}"), "secret")).unwrap();
        purge_now(&mut simulated, &format!("c{n}"));
        erase(&mut simulated).unwrap();
    }
    assert!(occurrences(&disk, "secret") < 60);
    // A channel has one, and the time of the first.
    let first = purge::all(&simulated.bus.states.lock()).len();
    for _ in 0..100 {
        simulated.publish(publication("often", "1")).unwrap();
        purge_now(&mut simulated, "often");
    }
    assert_eq!(purge::all(&simulated.bus.states.lock()).len(), first + 1);
}

/// A directory that vanishes meanwhile has not lost its messages.
#[test]
fn a_segment_that_cannot_be_found_is_not_erased() {
    let disk = SimulatedDisk::new();
    let (mut simulated, ..) = filled(&disk, Fsync::Always);
    purge_now(&mut simulated, "a");
    pass(HALF_MS);
    let (name, away) = (segment::file_name(1), "away");
    disk.rename(&name, away).unwrap();
    erase(&mut simulated).unwrap();
    disk.rename(away, &name).unwrap();
    assert_eq!(purge::all(&simulated.bus.states.lock()).len(), 1);
    pass(60_000);
    erase(&mut simulated).unwrap();
    assert_eq!((occurrences(&disk, "secret"), purge::all(&simulated.bus.states.lock())), (0, vec![]));
}
