//! A segment that cannot be read keeps the purges of its own channels, and no others.

use super::*;

/// The channels whose purges are not complete.
fn left(simulated: &Simulated) -> Vec<String> {
    purge::all(&simulated.bus.states.lock()).into_iter().map(|purge| purge.channel.to_string()).collect()
}

/// What is damaged is copied as it is. What cannot be read remains, until it can be, and is reported.
#[test]
fn a_damaged_segment_does_not_keep_the_others() {
    for is_unreadable in [true, false] {
        let disk = SimulatedDisk::new();
        let (mut simulated, ..) = filled(&disk, Fsync::Always);
        purge_now(&mut simulated, "a");
        assert!(simulated.bus.catalog.segments.lock().active.number > 3);
        let name = segment::file_name(1);
        match is_unreadable {
            true => disk.unreadable(&name, 2_000..2_001),
            false => disk.damage(&name, |bytes| bytes[2_000] ^= 1),
        }
        pass(HALF_MS);
        assert!(simulated.bus.degraded().is_empty());
        erase(&mut simulated).unwrap();
        disk.unreadable(&name, 0..0);
        let secrets = occurrences(&disk, "secret");
        assert!(if is_unreadable { (5..15).contains(&secrets) } else { secrets == 0 }, "{secrets}");
        assert_eq!(left(&simulated).len(), usize::from(is_unreadable));
        pass(HALF_MS + 1);
        if is_unreadable {
            assert_eq!(simulated.bus.degraded()[0].reason, reason::PURGE_OVERDUE);
            assert!(simulated.bus.disk().unwrap().purge_age > WITHIN);
            erase(&mut simulated).unwrap();
        }
        assert_eq!((occurrences(&disk, "secret"), simulated.bus.degraded().len()), (0, 0));
        assert_eq!(simulated.bus.disk().unwrap().purge_age, Duration::ZERO);
    }
}

/// Wherever the power is cut, a repair loses no more than it would have lost before.
#[test]
fn an_erasure_makes_damage_no_worse() {
    for steps in 0..200 {
        let disk = SimulatedDisk::new();
        let (mut simulated, _, others) = filled(&disk, Fsync::Always);
        purge_now(&mut simulated, "a");
        disk.damage(&segment::file_name(2), |bytes| bytes[3_000] ^= 1);
        let cut = |disk: &SimulatedDisk| repair::read(disk).unwrap().cut.map(|cut| (cut.file, cut.offset));
        let before = cut(&disk);
        pass(HALF_MS);
        disk.faults(Faults { steps: Some(steps), ..Faults::default() });
        // The process may end.
        let has_ended = erase(&mut simulated).is_err();
        assert!(before.is_some());
        for seed in 0..4 {
            assert_eq!(cut(&disk.cut_power(seed)), before, "{steps}");
        }
        if !has_ended && left(&simulated).is_empty() {
            assert_eq!(occurrences(&disk, "secret"), 0);
            assert_eq!(read_all(&simulated, "b", Since::After(others[30])).0, others[31..]);
            return;
        }
    }
    panic!("the erasure does not end");
}

/// The index knows where messages are that are damaged themselves, or follow what is damaged.
#[test]
fn damaged_messages_are_erased_too() {
    for has_index in [true, false] {
        let disk = SimulatedDisk::new();
        let (mut simulated, ..) = filled(&disk, Fsync::Always);
        purge_now(&mut simulated, "a");
        disk.damage(&segment::file_name(1), |bytes| {
            let at = memchr::memmem::find_iter(bytes, "secret").nth(2).unwrap();
            bytes[at - 1] ^= 1;
        });
        if !has_index {
            disk.damage(&segment::index_name(1), |bytes| bytes[20] ^= 1);
        }
        for _ in 0..2 {
            pass(HALF_MS);
            erase(&mut simulated).unwrap();
            let (secrets, purges) = (occurrences(&disk, "secret"), left(&simulated).len());
            assert_eq!((secrets, purges), if has_index { (0, 0) } else { (1, 1) });
        }
    }
}

/// And what was erased is not read again with each attempt.
#[test]
fn a_damaged_segment_keeps_the_purges_of_its_channels_only() {
    let disk = SimulatedDisk::new();
    let (mut simulated, ..) = filled(&disk, Fsync::Always);
    simulated.publish(publication("late", "secret")).unwrap();
    purge_now(&mut simulated, "a");
    purge_now(&mut simulated, "late");
    disk.unreadable(&segment::file_name(1), 2_000..2_001);
    pass(HALF_MS);
    erase(&mut simulated).unwrap();
    assert_eq!(left(&simulated), ["a"]);
    let segments = simulated.bus.disk().unwrap().segments;
    for number in 2..segments as u64 {
        disk.unreadable(&segment::file_name(number), 0..1 << 20);
    }
    disk.unreadable(&segment::file_name(1), 0..0);
    pass(60_000);
    erase(&mut simulated).unwrap();
    assert_eq!(left(&simulated), ["a"], "damage hardly ever ends: it is not looked at each minute");
    pass(600_000);
    erase(&mut simulated).unwrap();
    assert_eq!((left(&simulated).len(), simulated.bus.disk().unwrap().segments), (0, segments));
}

/// When retention has removed the damaged segment, its purges are complete.
#[test]
fn a_purge_does_not_wait_for_a_segment_that_is_removed() {
    let disk = SimulatedDisk::new();
    let (mut simulated, ..) = filled(&disk, Fsync::Always);
    purge_now(&mut simulated, "a");
    disk.unreadable(&segment::file_name(1), 2_000..2_001);
    pass(HALF_MS);
    erase(&mut simulated).unwrap();
    assert_eq!(left(&simulated), ["a"]);
    simulated.writer.total = Some(simulated.bus.disk().unwrap().bytes - 1);
    erase(&mut simulated).unwrap();
    assert!(!disk.list().unwrap().contains(&segment::file_name(1)) && left(&simulated).is_empty());
}

/// Purges that take the space of others would have them refused.
#[test]
fn purges_that_damage_keeps_leave_space_for_others() {
    let disk = SimulatedDisk::new();
    let mut simulated = open_with(&disk, Fsync::Always, 64 << 10);
    for n in 0..50 {
        simulated.publish(publication(&format!("damaged{n}"), "secret")).unwrap();
    }
    simulated.writer.store.roll().unwrap();
    let channels = (0..50).map(|n| format!("damaged{n}")).chain((0..100).map(|n| format!("other{n}")));
    disk.unreadable(&segment::file_name(1), 2_000..2_001);
    for channel in channels {
        simulated.publish(publication(&channel, "secret")).unwrap();
        purge_now(&mut simulated, &channel);
        erase(&mut simulated).unwrap();
    }
    let left = left(&simulated);
    assert_eq!(left.iter().filter(|channel| channel.starts_with("damaged")).count(), 50);
    assert!((50..70).contains(&left.len()), "{}", left.len());
    // Not each of them began a segment.
    assert!(simulated.bus.disk().unwrap().segments < 40);
}
