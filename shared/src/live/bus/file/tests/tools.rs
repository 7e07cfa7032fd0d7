//! What the tools say about a log, and the copies that they make.

use std::sync::Mutex as StdMutex;

use super::*;
use crate::pure::Retention;

const TABLE: StateTable = StateTable::new("t", 1 << 20);

/// A bus on a directory with small segments, of which at most `total` bytes are kept.
fn open(directory: &Temporary, total: u64) -> FileBus {
    let options = FileOptions { fsync: Fsync::Never, total: Some(total), ..FileOptions::default() };
    let limits = Limits { channel: Retention::default(), ..Limits::default() };
    FileBus::open(&directory.0, options, limits, Moment::now).unwrap()
}

/// All ids on a channel after `since`, from disk too; and whether there was a gap.
async fn all(bus: &FileBus, channel: &str, since: Since) -> (Vec<Cursor>, bool) {
    let mut reader = Reader::open(bus.log(), &[channel.parse().unwrap()], since);
    let (mut ids, mut is_gap) = (Vec::new(), false);
    while let Some(batch) = reader.stored(Limit::default()).await {
        ids.extend(batch.messages.iter().map(|message| message.id));
        is_gap |= batch.gap.is_some();
    }
    (ids, is_gap)
}

async fn ids(bus: &FileBus) -> Vec<Cursor> {
    all(bus, "c", Since::Earliest).await.0
}

/// What was imported to a new directory, once the writer of the other one has ended, on its own thread.
async fn imported(new: &Temporary, from: &Temporary) -> Imported {
    loop {
        match import(&new.0, &from.0) {
            Err(OpenError::Locked { .. }) => tokio::task::yield_now().await,
            imported => return imported.unwrap(),
        }
    }
}

#[tokio::test]
async fn info_describes_a_log_that_is_used() {
    let directory = Temporary::new();
    let bus = open(&directory, 4 << 20);
    let mut sent = Vec::new();
    for n in 0..600 {
        let channel = if n % 3 == 0 { "c" } else { "other" };
        sent.push(bus.publish(publication(channel, &"x".repeat(500))).await.unwrap()[0]);
    }
    let found = info(&directory.0).unwrap();
    let expected_ids = Some((sent[0], sent[599]));
    assert_eq!((found.messages, found.channels, found.ids), (600, 2, expected_ids), "{found:?}");
    let disk = bus.disk().unwrap();
    assert_eq!((found.segments, found.bytes), (disk.segments, disk.bytes));
    assert_eq!(found.holder, Some(format!("process {}", std::process::id())));
    assert!(found.unproven > 0 && found.written.is_some());
    bus.close().await;
    let closed = info(&directory.0).unwrap();
    assert_eq!((closed.messages, closed.holder, closed.unproven), (600, None, 0));
    assert!(info(&Temporary::new().0).is_err(), "there is no directory");
}

/// What was acknowledged when the backup began is in it, nothing is missing before the newest that is, and each server can start with it.
/// Retention removes segments meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_a_prefix() {
    for total in [64 << 20, 2 << 20] {
        let (directory, copy) = (Temporary::new(), Temporary::new());
        let bus = Arc::new(open(&directory, total));
        let (sent, has_ended) = (Arc::new(StdMutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let publisher = {
            let (bus, sent, has_ended) = (bus.clone(), sent.clone(), has_ended.clone());
            tokio::spawn(async move {
                while !has_ended.load(Relaxed) {
                    let publications = (0..20).map(|n| bus.publish(publication("c", &"x".repeat(1_000 + n))));
                    let ids = futures_util::future::join_all(publications).await;
                    sent.lock().unwrap().extend(ids.into_iter().map(|published| published.unwrap()[0]));
                }
            })
        };
        while sent.lock().unwrap().len() < 3_000 {
            tokio::task::yield_now().await;
        }
        let acknowledged = *sent.lock().unwrap().iter().max().unwrap();
        let (from, to) = (directory.0.clone(), copy.0.clone());
        let copied = tokio::task::spawn_blocking(move || back_up(&from, &to)).await.unwrap().unwrap();
        has_ended.store(true, Relaxed);
        publisher.await.unwrap();
        let mut sent = sent.lock().unwrap().clone();
        sent.sort_unstable();
        assert!(copied.last >= Some(acknowledged), "{copied:?}");

        let refused = back_up(&directory.0, &copy.0).unwrap_err().to_string();
        assert!(refused.contains("a backup needs an empty directory"), "{refused}");
        let restored = open(&copy, total);
        let there = ids(&restored).await;
        assert_eq!(there.last().copied(), copied.last);
        let first = sent.iter().position(|id| *id == there[0]).unwrap();
        assert_eq!(there, sent[first..first + there.len()], "nothing is missing");
        assert_eq!(first == 0, total > 10 << 20, "{first}");
        let later = sent.last().copied().filter(|last| Some(*last) > copied.last);
        if let Some(later) = later {
            assert!(all(&restored, "c", Since::After(later)).await.1, "what was published later is lost");
        }
        assert!(restored.publish(publication("c", "1")).await.unwrap()[0] > sent[sent.len() - 1]);
        bus.close().await;
    }
}

/// An interrupted copy is not a backup.
#[tokio::test]
async fn an_incomplete_backup_is_refused() {
    let (directory, copy) = (Temporary::new(), Temporary::new());
    let bus = directory.bus().unwrap();
    bus.publish(publication("c", "1")).await.unwrap();
    bus.close().await;
    std::fs::create_dir(&copy.0).unwrap();
    removed::write_incomplete(&Directory::open(&copy.0).unwrap()).unwrap();
    std::fs::copy(directory.0.join(segment::file_name(1)), copy.0.join(segment::file_name(1))).unwrap();
    let refused = [copy.bus().err().unwrap(), repair::repair(&copy.0, START).unwrap_err()];
    assert!(refused.iter().all(|error| error.to_string().contains("this copy is incomplete")), "{refused:?}");
}

#[tokio::test]
async fn an_import_keeps_ids_keys_and_losses() {
    let (directory, copy, new) = (Temporary::new(), Temporary::new(), Temporary::new());
    let bus = open(&directory, 1 << 20);
    let first = bus.publish(publication("early", "1")).await.unwrap()[0];
    for _ in 0..2_500 {
        bus.publish(publication("c", &"x".repeat(1_000))).await.unwrap();
    }
    let state = StoredState { table: TABLE, key: b"k".to_vec(), value: Some(b"v".to_vec()), until_ms: u64::MAX };
    bus.store_state(state.clone()).await.unwrap();
    let record = Record { name: "r".to_owned(), value: 7, expires_ms: u64::MAX, is_monotone: false };
    bus.store(vec![record]).await.unwrap();
    bus.write_state("hooks", "5".into()).await.unwrap();
    let last = bus.publish(keyed("last")).await.unwrap();
    back_up(&directory.0, &copy.0).unwrap();
    assert!(matches!(import(&new.0, &directory.0), Err(OpenError::Locked { .. })));
    bus.close().await;
    let before = ids(&open(&directory, 1 << 20)).await;
    let imported = imported(&new, &directory).await;
    assert_eq!((imported.messages, imported.ids), (before.len() as u64, Some((before[0], last[0]))));
    // A copy of either kind has everything that a restart has.
    let (restored, again) = (open(&copy, 64 << 20), open(&new, 64 << 20));
    for copied in [&restored, &again] {
        assert_eq!(ids(copied).await, before);
        assert_eq!(copied.states(TABLE), std::slice::from_ref(&state));
        let stored = copied.stored().unwrap().recv().await.unwrap();
        assert!(format!("{stored:?}").contains("value: 7"), "{stored:?}");
        assert_eq!(copied.read_state("hooks").await, Ok(Some("5".into())));
        assert!(copied.publish(keyed("last")).await.unwrap().is_repeat);
    }
    restored.close().await;
    assert!(all(&again, "early", Since::After(first.before())).await.1, "retention had removed it");
    assert!(!all(&again, "none", Since::After(first)).await.1);
    again.close().await;
    let refused = import(&new.0, &directory.0).unwrap_err().to_string();
    assert!(refused.contains("an import needs an empty directory"), "{refused}");
}

/// The newest segment is being created: the one before is copied up to its last whole publication.
#[test]
fn a_backup_ends_with_a_whole_publication() {
    let (disk, copy) = (SimulatedDisk::new(), SimulatedDisk::new());
    let mut simulated = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
    let first = simulated.publish(publication("c", "1")).unwrap()[0];
    simulated.publish(publication("c", "2")).unwrap();
    let disk = disk.kill();
    disk.damage(&segment::file_name(1), |bytes| bytes.truncate(bytes.len() - 3));
    disk.create(&segment::file_name(2)).unwrap();
    let copied = backup::copy(&disk, &copy).unwrap();
    assert_eq!((copied.segments, copied.last), (1, Some(first)));
    let restored = Simulated::open(&copy, Fsync::Always, 1 << 20).unwrap();
    assert_eq!(read(&restored.bus, "c", Since::Earliest).0.len(), 1);
}

#[tokio::test]
async fn two_backups_do_not_mix() {
    let (directory, copy) = (Temporary::new(), Temporary::new());
    let bus = directory.bus().unwrap();
    let other = Directory::open(&copy.0).unwrap();
    other.lock().unwrap();
    assert!(matches!(back_up(&directory.0, &copy.0), Err(OpenError::Locked { .. })));
    other.unlock();
    back_up(&directory.0, &copy.0).unwrap();
    bus.close().await;
}

#[tokio::test]
async fn info_does_not_need_an_index() {
    let directory = Temporary::new();
    let bus = open(&directory, 1 << 20);
    for _ in 0..100 {
        bus.publish(publication("c", &"x".repeat(1_000))).await.unwrap();
    }
    std::fs::write(directory.0.join(segment::index_name(1)), "half").unwrap();
    assert_eq!(info(&directory.0).unwrap().messages, 100);
    bus.close().await;
}

/// What a replica had in memory: messages in their order, the floors of purges, and ids of what is gone.
#[tokio::test]
async fn an_import_of_a_memory_has_its_order_and_its_floors() {
    let log = Arc::new(Log::new(Limits::default(), Cursor::new(START, 0)));
    let sent: Vec<Cursor> = (0..60)
        .map(|n| log.append(vec![draft(["a", "b", "purged"][n % 3], &n.to_string())], START + 1 + n as u64)[0])
        .collect();
    log.purge_up_to(&"purged".parse().unwrap(), sent[59]);
    let new = Temporary::new();
    let imported = import_log(&new.0, &log).unwrap();
    assert_eq!((imported.messages, imported.ids), (40, Some((sent[0], sent[58]))));
    let again = open(&new, 1 << 20);
    let of = |rest: usize| -> Vec<Cursor> { sent.iter().skip(rest).step_by(3).copied().collect() };
    assert_eq!(all(&again, "a", Since::After(sent[0])).await, (of(3), false));
    assert_eq!(all(&again, "b", Since::After(sent[0])).await, (of(1), false));
    assert_eq!(all(&again, "purged", Since::After(sent[5])).await, (vec![], true));
    assert_eq!(all(&again, "purged", Since::After(sent[59])).await, (vec![], false));
    assert!(again.publish(publication("a", "next")).await.unwrap()[0] > sent[59]);
    again.close().await;
}

/// Channels that the memory does not know any more have lost what it has forgotten, and those that it knows have not.
#[tokio::test]
async fn an_import_of_a_memory_has_what_it_forgot() {
    // It remembers two channels without messages.
    let log = Arc::new(Log::new(Limits { total: Some(16 << 10), ..Limits::default() }, Cursor::new(START, 0)));
    let append = |channel: &str| log.append(vec![draft(channel, "1")], START + 1)[0];
    let kept = append("kept");
    let channels: Vec<String> = (0..4).map(|n| format!("purged{n}")).collect();
    let purged: Vec<Cursor> = channels.iter().map(|channel| append(channel)).collect();
    for (channel, id) in channels.iter().zip(&purged) {
        log.purge_up_to(&channel.parse().unwrap(), *id);
    }
    let new = Temporary::new();
    assert_eq!(import_log(&new.0, &log).unwrap().messages, 1);
    let again = open(&new, 1 << 20);
    for (channel, id) in channels.iter().zip(&purged) {
        assert!(all(&again, channel, Since::After(id.before())).await.1, "{channel}");
    }
    assert_eq!(all(&again, "kept", Since::Earliest).await.0, [kept]);
    assert!(again.catalog.segments.lock().removed.of(&"kept".parse().unwrap()) < kept);
    again.close().await;
}

/// As after a power cut: what was handed out and is lost is a gap in the new log, too.
#[tokio::test]
async fn an_import_makes_a_gap_of_what_the_other_log_lost() {
    let (directory, torn, new) = (Temporary::new(), Temporary::new(), Temporary::new());
    let bus = open(&directory, 1 << 20);
    let sent = bus.publish(publication("c", "1")).await.unwrap()[0];
    std::fs::create_dir(&torn.0).unwrap();
    let mut bytes = std::fs::read(directory.0.join(segment::file_name(1))).unwrap();
    bytes.extend([7; 9]);
    std::fs::write(torn.0.join(segment::file_name(1)), bytes).unwrap();
    bus.close().await;
    import(&new.0, &torn.0).unwrap();
    let again = open(&new, 1 << 20);
    // It may have been handed out.
    let lost = Cursor::new(sent.ms, sent.seq + 1);
    assert!(again.publish(publication("c", "2")).await.unwrap()[0] > lost);
    assert!(all(&again, "c", Since::After(lost)).await.1);
    assert!(!all(&again, "c", Since::After(sent)).await.1);
    // Also when the segments from before are gone, and for channels that have lost nothing.
    while new.0.join(segment::file_name(1)).exists() {
        again.publish(publication("c", &"x".repeat(5_000))).await.unwrap();
    }
    assert!(all(&again, "other", Since::After(lost)).await.1);
    again.close().await;
    let newer = Temporary::new();
    imported(&newer, &new).await;
    let last = open(&newer, 1 << 20);
    assert!(all(&last, "other", Since::After(lost)).await.1);
    last.close().await;
}

/// A client that has received the newest message misses nothing, although its bytes are gone.
#[tokio::test]
async fn an_import_knows_the_newest_id_although_it_is_erased() {
    let (directory, new) = (Temporary::new(), Temporary::new());
    let options = FileOptions { fsync: Fsync::Never, purge_within: Duration::from_millis(1), ..FileOptions::default() };
    let bus = FileBus::open(&directory.0, options, Limits::default(), Moment::now).unwrap();
    bus.publish(publication("c", "1")).await.unwrap();
    let last = bus.publish(publication("c", "2")).await.unwrap()[0];
    bus.purge("c".parse().unwrap()).await.unwrap();
    while !purge::all(&bus.states.lock()).is_empty() {
        bus.sweep();
        tokio::task::yield_now().await;
    }
    bus.close().await;
    assert_eq!(imported(&new, &directory).await.messages, 0);
    let again = open(&new, 1 << 20);
    assert_eq!(all(&again, "c", Since::After(last)).await, (vec![], false));
    assert!(all(&again, "c", Since::After(last.before())).await.1, "the message before it was purged, too");
    again.close().await;
}
