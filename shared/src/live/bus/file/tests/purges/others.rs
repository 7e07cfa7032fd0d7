//! A purge takes messages of its own channel only, also if the table of what is lost has no room for names.

use super::*;

/// Erases what was purged while the disk is full, and the space for the next table is too small for names.
fn erase_without_names(disk: &SimulatedDisk, simulated: &mut Simulated) {
    simulated.writer.store.roll().unwrap();
    simulated.publish(publication("b", "1")).unwrap();
    pass(HALF_MS);
    simulated.writer.work(Work { is_check: true, ..Work::default() }).unwrap();
    while !simulated.writer.erasing.as_ref().unwrap().is_finished() {
        std::thread::yield_now();
    }
    disk.damage("dropped.new", |bytes| bytes.truncate(44));
    disk.faults(Faults { space: Some(0), ..Faults::default() });
    erase(simulated).unwrap();
    disk.faults(Faults::default());
}

/// They were hidden, all that were older than the purge, and for good.
#[test]
fn messages_of_others_are_read_after_a_purge_on_a_full_disk() {
    let disk = SimulatedDisk::new();
    let (mut simulated, secrets, others) = filled(&disk, Fsync::Always);
    let up_to = purge_now(&mut simulated, "a");
    erase_without_names(&disk, &mut simulated);
    let disk = disk.kill();
    let table = removed::Removed::read(&disk).unwrap().unwrap();
    assert!(table.of(&"b".parse().unwrap()) >= up_to, "the table has no names");
    let mut again = open(&disk, Fsync::Always);
    let check = |simulated: &Simulated| {
        let (ids, _) = read_all(simulated, "b", Since::After(others[0]));
        assert_eq!(ids[..39], others[1..]);
        assert_eq!(read_all(simulated, "a", Since::After(secrets[3])), (vec![], true));
        assert_eq!(read_all(simulated, "a", Since::Earliest).0, []);
    };
    check(&again);
    // The channel is in the table again, with what it may have lost.
    let mut removed = again.bus.catalog.segments.lock().removed.as_ref().clone();
    removed.raise("b".parse().unwrap(), others[0]);
    removed.write(&disk).unwrap();
    check(&open(&disk.kill(), Fsync::Always));
    erase(&mut again).unwrap();
    assert_eq!((occurrences(&disk, "secret"), purge::all(&again.bus.states.lock())), (0, vec![]));
    check(&again);
    check(&open(&disk.kill(), Fsync::Always));
}

/// More purges than the table has room for: the oldest are forgotten, and what is still on disk of their messages is not read.
#[test]
fn more_purges_than_are_remembered_take_their_messages_only() {
    let disk = SimulatedDisk::new();
    let (mut simulated, secrets, others) = filled(&disk, Fsync::Always);
    purge_now(&mut simulated, "a");
    for n in 0..65_536 {
        let up_to = Cursor::new(others[39].ms + 1 + n, 0);
        let purge = purge::Purge { channel: format!("c{n}").parse().unwrap(), up_to, at_ms: 0 };
        purge.obey_on_disk(&simulated.bus.catalog);
    }
    assert_eq!(read_all(&simulated, "b", Since::After(others[0])).0, others[1..]);
    assert_eq!(read_all(&simulated, "a", Since::After(secrets[3])), (vec![], true));
    assert_eq!(occurrences(&disk, "secret"), 40, "they are on disk");
}
