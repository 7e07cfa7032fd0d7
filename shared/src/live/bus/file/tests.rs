//! The bus on a real directory, and what its disk does to it.

use std::{
    cell::Cell,
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use tokio::sync::oneshot::{self, Receiver};

use super::{
    disk::{
        Disk,
        simulated::{Faults, SimulatedDisk},
    },
    queue::{Job, Work},
    writer::Writer,
    *,
};
use crate::{
    live::{
        bus::{IdempotencyKey, contract},
        clock::Moment,
        reader::{Limit, Reader},
    },
    pure::{ChannelName, Draft, Message, Payload, Since},
};

mod crash;
mod directory;
mod faults;
mod older;
mod purges;
mod states;
mod streams;
mod tools;
mod unreadable;
mod world;

const START: u64 = 1_763_800_000_000;

/// A directory that is removed at the end of its test.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("trident-log-{:016x}", rand::random::<u64>())))
    }

    fn bus(&self) -> Result<FileBus, OpenError> {
        FileBus::open(&self.0, FileOptions::default(), Limits::default(), Moment::now)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn draft(channel: &str, text: &str) -> Draft {
    Draft::new(channel.parse().unwrap(), Payload::from_text(text))
}

fn publication(channel: &str, text: &str) -> Publication {
    Publication::new(vec![draft(channel, text)])
}

fn keyed(text: &str) -> Publication {
    let key = IdempotencyKey { scope: "s".into(), key: "k".into() };
    Publication { key: Some(key), ..publication("c", text) }
}

/// Everything stored on `channel`, with the ids, after `since`; and whether there was a gap.
fn read(bus: &FileBus, channel: &str, since: Since) -> (Vec<(Cursor, String)>, bool) {
    let mut reader = Reader::open(bus.log(), &[channel.parse().unwrap()], since);
    let Some(batch) = reader.read(Limit { messages: usize::MAX, bytes: usize::MAX }) else { return (vec![], false) };
    let text = |message: &Arc<Message>| (message.id, message.draft.payload.plain_json().into_owned());
    (batch.messages.iter().map(text).collect(), batch.gap.is_some())
}

/// A bus on a simulated disk, whose writer does one round of work at each call.
struct Simulated {
    bus: FileBus,
    writer: Writer,
}

impl Simulated {
    fn open(disk: &SimulatedDisk, fsync: Fsync, segment_bytes: u64) -> Result<Self, OpenError> {
        // Of each test: by the time of another one, something would be due.
        thread_local! {
            static TIME: Cell<u64> = const { Cell::new(START) };
        }
        let options = FileOptions { fsync, ..FileOptions::default() };
        let clock = || TIME.replace(TIME.get() + 1).into();
        let opened = FileBus::on(Arc::new(disk.clone()), options, segment_bytes, Limits::default(), clock);
        opened.map(|(bus, writer)| Self { bus, writer })
    }

    fn job(publication: Publication) -> (Job, Receiver<Result<Published, BusError>>) {
        let mut publication = publication;
        let states = std::mem::take(&mut publication.states);
        let (claim, drafts) = Claim::split(publication);
        let (reply, replied) = oneshot::channel();
        (Job { drafts, states, claim, ..Job::new(reply) }, replied)
    }

    /// Publishes all in one round of the writer; the answers that came, and whether the writer failed.
    fn publish_all(&mut self, all: Vec<Publication>) -> (Vec<Option<Result<Published, BusError>>>, bool) {
        let (jobs, replies): (Vec<_>, Vec<_>) = all.into_iter().map(Self::job).unzip();
        let done = self.writer.work(Work { jobs, ..Work::default() });
        if let Err(failure) = &done {
            self.bus.state.failure.send_replace(Some(failure.0.clone()));
        }
        (replies.into_iter().map(|mut reply| reply.try_recv().ok()).collect(), done.is_err())
    }

    fn publish(&mut self, publication: Publication) -> Result<Published, BusError> {
        self.publish_all(vec![publication]).0.remove(0).expect("the writer answers")
    }

    fn check(&mut self) {
        self.writer.work(Work { is_check: true, ..Work::default() }).unwrap();
    }
}

/// What can be read of a channel after `since`, also from disk; and whether there was a gap.
fn read_all(simulated: &Simulated, channel: &str, since: Since) -> (Vec<Cursor>, bool) {
    let mut reader = Reader::open(simulated.bus.log(), &[channel.parse().unwrap()], since);
    let context = std::task::Context::from_waker(std::task::Waker::noop());
    let (mut ids, mut is_gap) = (Vec::new(), false);
    loop {
        match reader.poll_stored(&context, Limit::default()) {
            std::task::Poll::Pending => simulated.bus.archive.serve_next(),
            std::task::Poll::Ready(None) => return (ids, is_gap),
            std::task::Poll::Ready(Some(batch)) => {
                ids.extend(batch.messages.iter().map(|message| message.id));
                is_gap |= batch.gap.is_some();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let directory = Temporary::new();
    let bus = Arc::new(directory.bus().unwrap());
    contract::suite(|| std::future::ready(bus.clone() as Arc<dyn Bus>)).await;
    contract::streams(bus.clone() as Arc<dyn Bus>).await;
    assert!(bus.disk().unwrap().syncs.iter().sum::<u64>() > 0);
}

#[tokio::test]
async fn a_restart_is_no_gap() {
    let directory = Temporary::new();
    let bus = directory.bus().unwrap();
    let first = bus.publish(keyed("1")).await.unwrap();
    let second = bus.publish(publication("c", "2")).await.unwrap();
    bus.close().await;
    assert!(matches!(bus.publish(publication("c", "3")).await, Err(BusError::Unavailable(_))), "after the end");

    let bus = directory.bus().unwrap();
    let after = Since::After(first[0]);
    assert_eq!(read(&bus, "c", after), (vec![(second[0], "\"2\"".to_owned())], false));
    assert_eq!(bus.publish(keyed("1")).await.unwrap(), Published { is_repeat: true, ..first.clone() });
    assert_eq!(bus.publish(keyed("other")).await, Err(BusError::Reused));
    let third = bus.publish(publication("c", "3")).await.unwrap();
    assert!(third[0] > second[0]);
    assert_eq!(read(&bus, "c", Since::Earliest).0.len(), 3);
    let before = Cursor::new(first[0].ms - 86_400_000, 0);
    assert!(read(&bus, "c", Since::After(before)).1, "a cursor from before the log was created");
}

/// A publisher would wait for ever for a writer that has ended.
#[tokio::test]
async fn a_panic_of_the_writer_is_a_failure() {
    static IS_BROKEN: AtomicBool = AtomicBool::new(false);
    let clock = || {
        assert!(!IS_BROKEN.load(Relaxed), "the clock is broken");
        Moment::from(START)
    };
    let directory = Temporary::new();
    let bus = FileBus::open(&directory.0, FileOptions::default(), Limits::default(), clock).unwrap();
    IS_BROKEN.store(true, Relaxed);
    let answer = tokio::time::timeout(Duration::from_secs(20), bus.publish(publication("c", "1"))).await;
    assert!(matches!(answer, Ok(Err(BusError::Unknown(_)))), "it may have been written: {answer:?}");
    assert!(bus.failed().await.contains("ended unexpectedly"));
    bus.close().await;
}

#[tokio::test]
async fn a_directory_has_one_process() {
    let directory = Temporary::new();
    let bus = directory.bus().unwrap();
    let refused = directory.bus().unwrap_err().to_string();
    assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
    bus.close().await;
    directory.bus().unwrap();
}

#[test]
fn a_message_is_seen_only_when_it_is_durable() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
    let ids = simulated.publish(publication("c", "1")).unwrap();
    disk.faults(Faults { sync: Some(io::ErrorKind::Other), ..Faults::default() });
    let (answers, has_failed) = simulated.publish_all(vec![publication("c", "2")]);
    assert!(has_failed && matches!(answers[0], Some(Err(BusError::Unknown(_)))), "{answers:?}");
    assert_eq!(read(&simulated.bus, "c", Since::Earliest).0, [(ids[0], "\"1\"".to_owned())]);
    let reason = simulated.bus.ready().unwrap_err().to_string();
    assert!(reason.contains("a sync failed"), "{reason}");
}

/// Publishing is refused with its own error, readers continue, and it goes on by itself.
#[test]
fn a_full_disk_recovers_by_itself() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
    let first = simulated.publish(keyed("1")).unwrap();
    disk.faults(Faults { space: Some(100), ..Faults::default() });
    let other =
        Publication { key: Some(IdempotencyKey { scope: "s".into(), key: "2".into() }), ..publication("c", "2") };
    let (answers, has_failed) = simulated.publish_all(vec![keyed("1"), other.clone(), other.clone()]);
    assert!(!has_failed);
    assert_eq!(answers[0], Some(Ok(Published { is_repeat: true, ..first })), "what is there is still answered");
    for answer in &answers[1..] {
        assert!(matches!(answer, Some(Err(BusError::DiskFull(_)))), "{answer:?}");
    }
    assert_eq!((simulated.bus.ready(), simulated.bus.degraded()[0].reason), (Ok(()), reason::DISK_FULL));
    assert_eq!(simulated.bus.keys().keys, 1, "the key of what was refused is free");
    simulated.check();
    assert_eq!(simulated.bus.degraded().len(), 1);
    disk.faults(Faults::default());
    simulated.check();
    assert!(simulated.bus.degraded().is_empty());
    assert!(!simulated.publish(other).unwrap().is_repeat);
    let again = Simulated::open(&disk.cut_power(1), Fsync::Always, 1 << 20).unwrap();
    assert_eq!(read(&again.bus, "c", Since::Earliest).0.len(), 2);
}

#[test]
fn other_errors_of_the_disk_are_reported_and_end() {
    for (kind, text) in [(io::ErrorKind::ReadOnlyFilesystem, "read-only"), (io::ErrorKind::Other, "other error")] {
        let disk = SimulatedDisk::new();
        let mut simulated = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
        disk.faults(Faults { write: Some(kind), ..Faults::default() });
        let refused = simulated.publish(publication("c", "1")).unwrap_err();
        assert!(matches!(&refused, BusError::Unavailable(why) if why.contains(text)), "{refused}");
        assert_eq!(simulated.bus.ready(), Err(refused));
        disk.faults(Faults::default());
        simulated.check();
        assert_eq!(simulated.bus.ready(), Ok(()));
        simulated.publish(publication("c", "1")).unwrap();
    }
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
    for name in disk.list().unwrap() {
        disk.remove(&name).unwrap();
    }
    simulated.check();
    let refused = simulated.publish(publication("c", "1")).unwrap_err();
    assert!(refused.to_string().contains("does not exist"), "{refused}");
}

#[test]
fn damage_before_the_end_stops_the_start() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
    for text in ["1", "2", "3"] {
        simulated.publish(publication("c", text)).unwrap();
    }
    let (disk, name) = (disk.kill(), segment::file_name(1));
    disk.damage(&name, |bytes| bytes[segment::HEAD as usize + 60] ^= 1);
    let refused = Simulated::open(&disk, Fsync::Always, 1 << 20).err().unwrap();
    let place = segment::HEAD + (record::GROUP + record::FRAME + 2) as u64;
    assert!(
        matches!(&refused, OpenError::Damaged { file, offset, .. } if *file == name && *offset == place),
        "{refused}"
    );
    assert!(refused.to_string().contains(&format!("damaged at byte {place}")), "{refused}");
}

/// Segments are sealed and read by their index, which is made again when it is missing.
#[test]
fn sealed_segments_are_opened_by_their_index() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 4_096).unwrap();
    let sent: Vec<_> =
        (0..50).map(|n| (simulated.publish(publication("c", &"x".repeat(500 + n))).unwrap()[0], 502 + n)).collect();
    assert!(simulated.bus.disk().unwrap().segments > 4);
    let all = |simulated: &Simulated| -> Vec<_> {
        read(&simulated.bus, "c", Since::Earliest).0.into_iter().map(|(id, text)| (id, text.len())).collect()
    };
    let disk = disk.kill();
    let again = Simulated::open(&disk, Fsync::Always, 4_096).unwrap();
    assert_eq!((all(&again), again.bus.disk().unwrap().segments > 4), (sent.clone(), true));
    let disk = disk.kill();
    disk.remove(&segment::index_name(2)).unwrap();
    disk.damage(&segment::index_name(3), |bytes| bytes[20] ^= 1);
    assert_eq!(all(&Simulated::open(&disk, Fsync::Always, 4_096).unwrap()), sent);
    let disk = disk.kill();
    disk.damage(&segment::file_name(2), |bytes| bytes.truncate(3_000));
    assert!(matches!(Simulated::open(&disk, Fsync::Always, 4_096), Err(OpenError::Damaged { .. })));
    disk.remove(&segment::file_name(2)).unwrap();
    let missing = Simulated::open(&disk.kill(), Fsync::Always, 4_096).err().unwrap();
    assert!(matches!(&missing, OpenError::Damaged { file, .. } if *file == segment::file_name(2)), "{missing}");
}

/// A power cut may lose what was delivered before it was durable: cursors of it are a gap, and no id is used again.
#[test]
fn a_cursor_into_a_lost_part_is_a_gap() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Never, 1 << 20).unwrap();
    let kept = simulated.publish(publication("c", "1")).unwrap()[0];
    let lost = simulated.publish(publication("c", "2")).unwrap()[0];
    let cut = (0..100).map(|seed| Simulated::open(&disk.cut_power(seed), Fsync::Never, 1 << 20).unwrap());
    let mut cut = cut.into_iter().find(|cut| read(&cut.bus, "c", Since::Earliest).0.len() == 1).unwrap();
    let next = cut.publish(publication("c", "3")).unwrap()[0];
    assert!(next > lost);
    assert!(read(&cut.bus, "c", Since::After(lost)).1, "a client may have received it");
    assert_eq!(read(&cut.bus, "c", Since::After(kept)), (vec![(next, "\"3\"".to_owned())], false));

    let killed = Simulated::open(&disk.kill(), Fsync::Never, 1 << 20).unwrap();
    assert_eq!(read(&killed.bus, "c", Since::After(kept)), (vec![(lost, "\"2\"".to_owned())], false), "only killed");
}

/// A start that was interrupted while it recorded what is lost left a group without a reservation, and the next start took the ids again.
#[test]
fn an_interrupted_start_does_not_forget_a_lost_part() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Never, 1 << 20).unwrap();
    simulated.publish(publication("c", "1")).unwrap();
    let lost = simulated.publish(publication("c", "2")).unwrap()[0];
    let count = |disk: &SimulatedDisk| {
        read(&Simulated::open(disk, Fsync::Never, 1 << 20).unwrap().bus, "c", Since::Earliest).0.len()
    };
    let seed = (0..100).find(|seed| count(&disk.cut_power(*seed)) == 1).unwrap();
    let mut interrupted = 0;
    for steps in 0..20 {
        let disk = disk.cut_power(seed);
        disk.faults(Faults { steps: Some(steps), ..Faults::default() });
        interrupted += usize::from(Simulated::open(&disk, Fsync::Never, 1 << 20).is_err());
        let mut again = Simulated::open(&disk.kill(), Fsync::Never, 1 << 20).unwrap();
        // Until there is a newer message, the cursor is beyond the end of the log.
        assert!(again.publish(publication("c", "3")).unwrap()[0] > lost, "{steps}");
        assert!(read(&again.bus, "c", Since::After(lost)).1, "a client may have received it: {steps}");
    }
    assert!(interrupted > 4, "{interrupted}");
}

/// The next segment repeats what is lost with its first write, which may never come, or be torn.
#[test]
fn a_lost_part_is_known_in_a_segment_that_has_nothing_yet() {
    let disk = SimulatedDisk::new();
    let mut simulated = Simulated::open(&disk, Fsync::Always, 1 << 20).unwrap();
    let mut lost = Vec::new();
    for text in ["1", "2"] {
        let after = simulated.publish(publication("c", text)).unwrap()[0];
        lost.push(Cursor::new(after.ms, after.seq + 5));
        let hole = record::Hole { after, up_to: Cursor::new(after.ms, after.seq + 10) };
        simulated.writer.store.add_hole(hole, []).unwrap();
    }
    simulated.writer.store.roll().unwrap();
    let next = simulated.publish(publication("c", "3")).unwrap()[0];
    // A group, two holes and a message.
    let first_hole = segment::HEAD as usize + record::GROUP + record::FRAME + 2 + 32;
    for kept in [segment::HEAD as usize, first_hole + 3, first_hole + 50] {
        let disk = disk.kill();
        let whole = std::cell::RefCell::new(Vec::new());
        disk.damage(&segment::file_name(2), |bytes| {
            whole.replace(bytes.clone());
            bytes.truncate(kept);
        });
        for _ in 0..2 {
            let mut again = Simulated::open(&disk.kill(), Fsync::Always, 1 << 20).unwrap();
            for lost in &lost {
                assert!(read(&again.bus, "c", Since::After(*lost)).1, "{kept}");
            }
            assert!(again.publish(publication("c", "4")).unwrap()[0] > lost[1]);
        }
        disk.damage(&segment::file_name(2), |bytes| *bytes = whole.into_inner());
    }
    assert!(next > lost[1]);
}

/// What an orderly end wrote is complete, whenever the power goes.
#[tokio::test]
async fn an_orderly_end_loses_nothing() {
    let disk = SimulatedDisk::new();
    let Simulated { bus, writer } = Simulated::open(&disk, Fsync::Never, 1 << 20).unwrap();
    let queue = bus.queue.clone();
    let writer = std::thread::spawn(move || writer.run(&queue));
    let id = bus.publish(publication("c", "1")).await.unwrap()[0];
    bus.close().await;
    writer.join().unwrap();
    let again = Simulated::open(&disk.cut_power(7), Fsync::Never, 1 << 20).unwrap();
    assert_eq!(read(&again.bus, "c", Since::After(id)), (vec![], false));
    assert!(!again.bus.log().is_closed() && again.bus.log().can_have_issued(id.next(START + 5_000)), "no hole");
}
