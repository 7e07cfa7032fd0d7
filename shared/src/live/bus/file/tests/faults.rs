//! What a disk does that fails, is full, or is not the same any more.

use std::task::{Context, Waker};

use super::*;

/// What is stored on `c`, after a restart from `disk`.
fn stored(disk: &SimulatedDisk) -> Vec<(Cursor, String)> {
    read(&Simulated::open(disk, Fsync::Always, 1 << 20).unwrap().bus, "c", Since::Earliest).0
}

/// After a failed sync the system shows what was written, and takes it for durable although it is not.
#[test]
fn what_a_failed_sync_left_is_made_durable_before_it_is_seen() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
    simulated.publish(publication("c", "1")).unwrap();
    disk.faults(Faults { sync: Some(io::ErrorKind::Other), ..Faults::default() });
    assert!(simulated.publish_all(vec![publication("c", &"2".repeat(5_000))]).1, "the process ends");
    let disk = disk.kill();
    let seen = stored(&disk);
    assert_eq!(seen.len(), 2, "the system still shows it");
    for seed in 0..30 {
        assert_eq!(stored(&disk.cut_power(seed)), seen, "{seed}");
    }
}

/// Without another write after it, a damaged message could not be distinguished from one that was never complete.
#[test]
fn damage_of_the_last_message_is_known_once_it_is_confirmed() {
    for is_quiet in [true, false] {
        let disk = SimulatedDisk::new();
        let mut simulated = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
        simulated.publish(publication("c", "1")).unwrap();
        if is_quiet {
            simulated.writer.written = Some(0);
            simulated.writer.work(Work::default()).unwrap();
        } else {
            simulated.writer.finish().unwrap();
        }
        let length = disk.open(&segment::file_name(1)).unwrap().length().unwrap();
        simulated.writer.finish().unwrap();
        assert_eq!(disk.open(&segment::file_name(1)).unwrap().length().unwrap(), length, "it is confirmed once");
        // As after a power cut: the confirmation is durable, too.
        let disk = disk.cut_power(3);
        disk.damage(&segment::file_name(1), |bytes| bytes[segment::HEAD as usize + record::GROUP + 20] ^= 1);
        let refused = Simulated::open(&disk, Fsync::Always, 1 << 20).err();
        assert!(matches!(refused, Some(OpenError::Damaged { .. })), "{refused:?}");
    }
}

/// The rest of a refused write must not reappear with the next power cut.
#[test]
fn an_undone_write_does_not_return() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
    simulated.publish(publication("c", "1")).unwrap();
    let length = disk.open(&segment::file_name(1)).unwrap().length().unwrap();
    disk.faults(Faults { space: Some(600), ..Faults::default() });
    simulated.publish(publication("c", &"2".repeat(5_000))).unwrap_err();
    for seed in 0..30 {
        let left = disk.cut_power(seed).open(&segment::file_name(1)).unwrap().length().unwrap();
        assert_eq!(left, length, "{seed}");
    }
}

/// Without space no message can be published, but old ones can be removed.
#[test]
fn a_full_disk_does_not_stop_retention() {
    static TIME: AtomicU64 = AtomicU64::new(START);
    let limits = Limits {
        channel: crate::pure::Retention { age_ms: Some(1_000), ..crate::pure::Retention::default() },
        ..Limits::default()
    };
    let clock = || TIME.load(Relaxed).into();
    let disk = SimulatedDisk::new();
    let opened = FileBus::on(Arc::new(disk.clone()), FileOptions::default(), 4_096, limits, clock).unwrap();
    let mut simulated = Simulated { bus: opened.0, writer: opened.1 };
    for _ in 0..30 {
        simulated.publish(publication("c", &"x".repeat(500))).unwrap();
    }
    let segments = simulated.bus.disk().unwrap().segments;
    disk.faults(Faults { space: Some(0), ..Faults::default() });
    TIME.fetch_add(5_000, Relaxed);
    simulated.check();
    let left = simulated.bus.disk().unwrap().segments;
    assert!(segments > 3 && left == 1, "{segments} and {left}");
    simulated.publish(publication("c", "there is space again")).unwrap();
}

#[test]
fn a_failed_sync_of_the_removal_is_the_end() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 4_096).unwrap();
    for _ in 0..30 {
        simulated.publish(publication("c", &"x".repeat(500))).unwrap();
    }
    simulated.writer.total = Some(5_000);
    disk.faults(Faults { sync: Some(io::ErrorKind::Other), ..Faults::default() });
    let failure = simulated.writer.work(Work { is_check: true, ..Work::default() }).unwrap_err();
    assert!(failure.0.contains("a sync failed"), "{failure:?}");
}

/// With `1s` nobody waits for a sync that takes half a second at most, and a failed one is noticed nevertheless.
#[test]
fn publishers_do_not_wait_for_a_sync_beside_the_writer() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::EverySecond, 1 << 20).unwrap();
    // The first publication reserves ids.
    simulated.publish(publication("c", "1")).unwrap();
    for is_failing in [false, true] {
        simulated.publish(publication("c", "2")).unwrap();
        simulated.writer.dirty_since = Some(simulated.writer.mono_ms() - 500);
        if is_failing {
            disk.faults(Faults { sync: Some(io::ErrorKind::Other), ..Faults::default() });
        }
        let gate = disk.gate();
        let held = gate.lock();
        simulated.publish(publication("c", "the sync begins")).unwrap();
        simulated.publish(publication("c", "the sync runs")).unwrap();
        drop(held);
        let ended = simulated.writer.join_sync();
        assert_eq!(ended.is_err(), is_failing, "{ended:?}");
    }
}

/// So with `1s`, a power cut takes the publications of one second, however long a sync takes.
#[test]
fn publishers_wait_for_a_sync_that_is_overdue() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::EverySecond, 1 << 20).unwrap();
    simulated.writer.tasks = task::Tasks::Stepped;
    // The first publication reserves ids.
    simulated.publish(publication("c", "1")).unwrap();
    simulated.publish(publication("c", "2")).unwrap();
    let begun = simulated.writer.mono_ms();
    simulated.writer.dirty_since = Some(begun - 600);
    simulated.publish(publication("c", "the sync begins")).unwrap();
    simulated.publish(publication("c", "the sync does not end")).unwrap();
    assert!(simulated.writer.syncing.is_some() && simulated.writer.store.is_dirty());
    // Each look at the clock takes a millisecond.
    while simulated.writer.mono_ms() < begun + 400 {}
    simulated.publish(publication("c", "a second later")).unwrap();
    assert!(!simulated.writer.store.is_dirty(), "nobody waited");
    // The same without a sync that runs.
    simulated.publish(publication("c", "3")).unwrap();
    simulated.writer.dirty_since = Some(begun - 600);
    simulated.publish(publication("c", "4")).unwrap();
    assert!(!simulated.writer.store.is_dirty(), "nobody waited");
}

/// A directory that was moved away, or another one in its place, is noticed, and it continues when the directory is back.
#[cfg(unix)]
#[tokio::test]
async fn a_replaced_directory_is_noticed() {
    let (directory, moved) = (Temporary::new(), Temporary::new());
    let bus = directory.bus().unwrap();
    bus.publish(publication("c", "1")).await.unwrap();
    let until = async |is_ready: bool| {
        while bus.ready().is_ok() != is_ready {
            bus.sweep();
            tokio::task::yield_now().await;
        }
    };
    std::fs::rename(&directory.0, &moved.0).unwrap();
    for is_another in [false, true] {
        if is_another {
            std::fs::create_dir(&directory.0).unwrap();
            for entry in std::fs::read_dir(&moved.0).unwrap() {
                let path = entry.unwrap().path();
                std::fs::copy(&path, directory.0.join(path.file_name().unwrap())).unwrap();
            }
        }
        until(false).await;
        let refused = bus.publish(publication("c", "2")).await.unwrap_err();
        assert!(refused.to_string().contains("the directory was removed or replaced"), "{refused}");
    }
    std::fs::remove_dir_all(&directory.0).unwrap();
    std::fs::rename(&moved.0, &directory.0).unwrap();
    until(true).await;
    bus.publish(publication("c", "2")).await.unwrap();
    std::fs::remove_file(directory.0.join("lock")).unwrap();
    until(false).await;
    assert!(bus.ready().unwrap_err().to_string().contains("another process could use the directory"));
    bus.close().await;
}

/// A segment is not begun in another directory.
#[cfg(unix)]
#[test]
fn a_replaced_directory_gets_no_segment() {
    let (directory, moved) = (Temporary::new(), Temporary::new());
    let disk = Arc::new(Directory::open(&directory.0).unwrap());
    let (bus, writer) = FileBus::on(disk, FileOptions::default(), 4_096, Limits::default(), || START.into()).unwrap();
    let mut simulated = Simulated { bus, writer };
    simulated.publish(publication("c", &"x".repeat(5_000))).unwrap();
    std::fs::rename(&directory.0, &moved.0).unwrap();
    std::fs::create_dir(&directory.0).unwrap();
    let refused = simulated.publish(publication("c", "2")).unwrap_err();
    assert!(refused.to_string().contains("removed or replaced"), "{refused}");
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 0);
}

/// A reader would wait for ever for a thread that has ended.
#[test]
fn a_panic_while_older_messages_are_read_is_a_gap() {
    let disk = SimulatedDisk::new();
    let limits = Limits { total: Some(8_000), ..Limits::default() };
    let (bus, writer) =
        FileBus::on(Arc::new(disk.clone()), FileOptions::default(), 4_096, limits, || START.into()).unwrap();
    let mut simulated = Simulated { bus, writer };
    let sent: Vec<_> = (0..60).map(|_| simulated.publish(publication("c", &"x".repeat(500))).unwrap()[0]).collect();
    let context = Context::from_waker(Waker::noop());
    let next = |since| {
        let mut reader = Reader::open(simulated.bus.log(), &["c".parse().unwrap()], since);
        assert!(reader.poll_stored(&context, Limit::default()).is_pending());
        simulated.bus.archive.serve_next();
        let polled = reader.poll_stored(&context, Limit::default());
        assert!(polled.is_ready());
        reader.read(Limit::default());
        polled
    };
    disk.faults(Faults { panic: true, ..Faults::default() });
    let lost = next(Since::After(sent[0]));
    assert!(matches!(lost, std::task::Poll::Ready(Some(batch)) if batch.gap.is_some()));
    disk.faults(Faults::default());
    let whole = next(Since::After(sent[0]));
    assert!(
        matches!(whole, std::task::Poll::Ready(Some(batch)) if batch.gap.is_none() && batch.messages[0].id == sent[1])
    );
}

/// Two records with one id, or a record of another version, stop the start instead of being left out.
#[test]
fn nothing_is_left_out_at_the_start() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
    simulated.publish(publication("c", "1")).unwrap();
    let store = &mut simulated.writer.store;
    let mut encoder = store.begin();
    encoder.message(store.last, &draft("c", "again"), true);
    store.write(&encoder).unwrap();
    let disk = disk.kill();
    let refused = Simulated::open(&disk, Fsync::Always, 1 << 20).err();
    assert!(matches!(refused, Some(OpenError::Damaged { .. })), "{refused:?}");
    let examined = repair::repair_on(Arc::new(disk.kill()), START).unwrap();
    assert!(examined.cut.is_some());
    assert_eq!(stored(&disk.kill()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_does_not_wait_for_a_disk_that_does_not_answer() {
    let simulated = Simulated::open(&SimulatedDisk::new(), Fsync::Always, 1 << 20).unwrap();
    tokio::time::timeout(Duration::from_secs(60), simulated.bus.close()).await.expect("the writer does not run");
}

/// Only the newest segment can have been created and never used.
#[test]
fn two_segments_without_a_head_are_damage() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 4_096).unwrap();
    for _ in 0..30 {
        simulated.publish(publication("c", &"x".repeat(500))).unwrap();
    }
    let newest = simulated.writer.store.catalog.segments.lock().active.number;
    let disk = disk.kill();
    disk.create(&segment::file_name(newest + 1)).unwrap();
    assert!(!repair::read(&disk).unwrap().is_damaged());
    disk.damage(&segment::file_name(newest), |bytes| bytes.truncate(10));
    assert!(repair::read(&disk).unwrap().is_damaged());
    let refused = Simulated::open(&disk, Fsync::Always, 4_096).err();
    assert!(
        matches!(&refused, Some(OpenError::Damaged { file, .. }) if *file == segment::file_name(newest)),
        "{refused:?}"
    );
    // A segment under the name of another one.
    let disk = disk.kill();
    disk.remove(&segment::file_name(newest)).unwrap();
    disk.rename(&segment::file_name(newest - 1), &segment::file_name(newest)).unwrap();
    disk.rename(&segment::file_name(newest - 2), &segment::file_name(newest - 1)).unwrap();
    disk.remove(&segment::index_name(newest - 2)).unwrap();
    assert!(repair::read(&disk).unwrap().is_damaged());
    assert!(matches!(Simulated::open(&disk, Fsync::Always, 4_096), Err(OpenError::Damaged { .. })));
}

/// A segment that cannot be created is tried again after a pause, and leaves nothing.
#[test]
fn a_new_segment_is_not_tried_with_each_publication() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 4_096).unwrap();
    simulated.publish(publication("c", &"x".repeat(5_000))).unwrap();
    // Space for the index, but not for a segment; then for neither.
    disk.faults(Faults { space: Some(250), ..Faults::default() });
    let full = simulated.publish(publication("c", "1"));
    assert!(full.is_ok() || matches!(full, Err(BusError::DiskFull(_))), "{full:?}");
    assert!(simulated.writer.roll_after_ms > 0);
    assert!(!disk.list().unwrap().contains(&segment::index_name(1)));
    disk.faults(Faults::default());
    simulated.writer.roll_after_ms = u64::MAX;
    simulated.publish(publication("c", "2")).unwrap();
    assert_eq!(simulated.bus.disk().unwrap().segments, 1, "the pause");
    simulated.writer.roll_after_ms = 0;
    simulated.publish(publication("c", "3")).unwrap();
    assert_eq!(simulated.bus.disk().unwrap().segments, 2);
}
