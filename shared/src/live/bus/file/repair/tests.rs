//! A damaged log is cut, and what is lost is a gap.

use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use super::{super::*, *};
use crate::{
    live::{
        bus::file::disk::simulated::{Faults, SimulatedDisk},
        clock::Moment,
        reader::{Limit, Reader},
    },
    pure::{Draft, Payload, Since},
};

const START: u64 = 1_763_800_000_000;

fn bus(disk: &SimulatedDisk) -> Result<(FileBus, writer::Writer), OpenError> {
    FileBus::on(Arc::new(disk.clone()), FileOptions::default(), 4_096, Limits::default(), || Moment::from(START))
}

fn publish(bus: &mut (FileBus, writer::Writer), text: &str) -> Cursor {
    publish_to(bus, "c", text)
}

fn publish_to((_, writer): &mut (FileBus, writer::Writer), channel: &str, text: &str) -> Cursor {
    let (reply, mut replied) = oneshot::channel();
    let drafts = vec![Draft::new(channel.parse().unwrap(), Payload::from_text(text))];
    let job = queue::Job { drafts, ..queue::Job::new(reply) };
    writer.work(queue::Work { jobs: vec![job], ..queue::Work::default() }).unwrap();
    replied.try_recv().unwrap().unwrap()[0]
}

fn decide((_, writer): &mut (FileBus, writer::Writer), states: Vec<crate::live::bus::StoredState>) {
    let (reply, _) = oneshot::channel();
    let job = queue::Job { states, ..queue::Job::new(reply) };
    writer.work(queue::Work { jobs: vec![job], ..queue::Work::default() }).unwrap();
}

/// The ids after `since`, and whether there was a gap.
fn read_after((bus, _): &(FileBus, writer::Writer), since: Since) -> (Vec<Cursor>, bool) {
    let mut reader = Reader::open(bus.log(), &["c".parse().unwrap()], since);
    let (limit, context) = (Limit { messages: usize::MAX, bytes: usize::MAX }, Context::from_waker(Waker::noop()));
    let mut batch = reader.poll_stored(&context, limit);
    while batch.is_pending() {
        bus.archive.serve_next();
        batch = reader.poll_stored(&context, limit);
    }
    let Poll::Ready(batch) = batch else { panic!("the disk was read") };
    batch.map_or((vec![], false), |batch| (batch.messages.iter().map(|one| one.id).collect(), batch.gap.is_some()))
}

#[test]
fn a_damaged_log_is_cut_at_the_first_damage() {
    let disk = SimulatedDisk::new();
    let mut before = bus(&disk).unwrap();
    let sent: Vec<_> = (0..60).map(|_| publish(&mut before, &"x".repeat(300))).collect();
    let disk = disk.kill();
    let sound = super::read(&disk).unwrap();
    assert_eq!((sound.messages, sound.ids, &sound.cut), (60, Some((sent[0], sent[59])), &None));
    disk.damage(&file_name(3), |bytes| bytes[2_000..2_400].iter_mut().for_each(|byte| *byte ^= 1));
    let examined = super::read(&disk).unwrap();
    let cut = examined.cut.clone().unwrap();
    assert_eq!((&*cut.file, examined.segments), (&*file_name(3), 3));
    let kept = usize::try_from(examined.messages).unwrap();
    assert!(
        (20..30).contains(&kept) && cut.offset < 2_400 && cut.messages > 10 && cut.newest == sent[59],
        "{examined:?}"
    );

    assert_eq!(repair_on(Arc::new(disk.clone()), START).unwrap(), examined);
    let disk = disk.cut_power(1);
    assert_eq!(super::read(&disk).unwrap().cut, None);
    let mut after = bus(&disk).unwrap();
    let at_the_end = Since::After(sent[kept - 1]);
    assert_eq!(read_after(&after, at_the_end), (vec![], false), "the last one that is kept is no loss");
    let next = publish(&mut after, "next");
    assert!(next > sent[59], "no id is used again");
    assert_eq!(read_after(&after, at_the_end), (vec![next], false));
    assert_eq!(read_after(&after, Since::After(sent[kept - 2])), (vec![sent[kept - 1], next], false));
    for lost in &sent[kept..] {
        assert!(read_after(&after, Since::After(*lost)).1, "a client may have received it");
    }
}

/// Also if the clock was set back since.
#[test]
fn ids_after_the_damage_in_the_same_segment_are_not_used_again() {
    let disk = SimulatedDisk::new();
    let mut before = bus(&disk).unwrap();
    let sent: Vec<_> = (0..5).map(|_| publish(&mut before, &"x".repeat(300))).collect();
    let disk = disk.kill();
    disk.damage(&file_name(1), |bytes| bytes[600] ^= 1);
    let cut = repair_on(Arc::new(disk.clone()), START - 1_000).unwrap().cut.unwrap();
    assert!(cut.offset < 600 && cut.newest == sent[4], "{cut:?}");
    assert!(publish(&mut bus(&disk.kill()).unwrap(), "next") > sent[4]);
}

/// What backends decided after the damage is not undone: in the rest of the damaged segment, in later ones, and in the first write of each.
#[test]
fn decisions_after_the_damage_are_kept() {
    let record = |name: &str, is_monotone| Record { name: name.into(), value: 1, expires_ms: u64::MAX, is_monotone };
    for (damaged, missing) in [(1_000..1_001, None), (1_000..1_001, Some(3)), (0..4, None)] {
        let disk = SimulatedDisk::new();
        let mut before = bus(&disk).unwrap();
        let early = publish(&mut before, "early");
        for _ in 0..4 {
            publish(&mut before, &"x".repeat(300));
        }
        // They are in the rest of the first segment, and in each later one.
        decide(&mut before, vec![records::state_of(record("revoked:user:a", true))]);
        let secret = publish(&mut before, "secret");
        for _ in 0..40 {
            publish(&mut before, &"x".repeat(300));
        }
        decide(&mut before, vec![records::state_of(record("refused:b", false))]);
        let (_, purge) = before.0.plan_purge("c".parse().unwrap());
        decide(&mut before, purge);
        decide(&mut before, vec![records::lease("hooks", b"1")]);
        let disk = disk.kill();
        disk.damage(&file_name(1), |bytes| bytes[damaged].iter_mut().for_each(|byte| *byte ^= 1));
        if let Some(number) = missing {
            disk.remove(&file_name(number)).unwrap();
        }
        disk.remove(&segment::index_name(1)).unwrap();
        let cut = super::read(&disk).unwrap().cut.unwrap();
        let counts = |of: &Decisions| (of.revocations(), of.refused_users(), of.purges(), of.lack);
        assert_eq!((cut.number, counts(&cut.decisions)), (1, (1, 1, 1, Lack::None)));
        repair_on(Arc::new(disk.clone()), START).unwrap();
        // The plan had them, and the log has them after it.
        for _ in 0..2 {
            let after = bus(&disk.cut_power(1)).unwrap();
            let all = records::all(&after.0.states.lock(), START);
            assert_eq!(all, [record("refused:b", false), record("revoked:user:a", true)]);
            assert_eq!(read_after(&after, Since::Earliest).0, [], "{early} and {secret} were purged");
            assert_eq!(after.0.states.lock().value(records::lease("hooks", b"").table, b"hooks"), None);
        }
    }
}

/// If what follows the damage has no checkpoint, the damaged bytes may have had some; and all of them, if nothing before has one.
#[test]
fn decisions_that_may_be_lost_are_reported() {
    for (damaged, lack) in [(1_000, Lack::Later), (segment::HEAD + 50, Lack::All)] {
        let disk = SimulatedDisk::new();
        let mut before = bus(&disk).unwrap();
        for _ in 0..9 {
            publish(&mut before, &"x".repeat(300));
        }
        let disk = disk.kill();
        disk.damage(&file_name(1), |bytes| bytes[usize::try_from(damaged).unwrap()] ^= 1);
        assert_eq!(super::read(&disk).unwrap().cut.unwrap().decisions.lack, lack);
    }
}

/// A refusal that is replaced by a shorter one, or a purge that is complete, does not return although the damaged bytes said so.
#[test]
fn decisions_that_ended_in_what_is_damaged_do_not_return() {
    let record = |name: &str, value, until| {
        let expires_ms = START + until;
        records::state_of(Record { name: name.into(), value, expires_ms, is_monotone: false })
    };
    let disk = SimulatedDisk::new();
    let mut before = bus(&disk).unwrap();
    publish(&mut before, "early");
    let (purge, states) = before.0.plan_purge("c".parse().unwrap());
    decide(&mut before, states);
    decide(&mut before, vec![record("refused:long", 1, 1_000_000), record("refused:kept", 1, 1_000_000)]);
    let damaged = usize::try_from(before.1.store.end().1).unwrap();
    decide(&mut before, vec![record("refused:long", 2, 1), purge.removal()]);
    // The next segment has what is there then.
    before.1.store.states.lock().expire(START + 1);
    while before.1.store.catalog.segments.lock().active.number == 1 {
        publish(&mut before, &"x".repeat(300));
    }
    let disk = disk.kill();
    disk.damage(&file_name(1), |bytes| bytes[damaged + record::GROUP + 20] ^= 1);
    let decisions = super::read(&disk).unwrap().cut.unwrap().decisions;
    assert_eq!((decisions.lack, decisions.refused_users(), decisions.purges()), (Lack::None, 1, 0));
    repair_on(Arc::new(disk.clone()), START).unwrap();
    for _ in 0..2 {
        let after = bus(&disk.cut_power(1)).unwrap();
        let names: Vec<_> = records::all(&after.0.states.lock(), START).into_iter().map(|one| one.name).collect();
        assert_eq!((names, purge::all(&after.0.states.lock())), (vec!["refused:kept".to_owned()], vec![]));
    }
}

/// What was handed out and lost before the damage is not known any more when the only checkpoint is damaged: it is a gap nevertheless.
#[test]
fn holes_that_are_damaged_are_gaps() {
    let disk = SimulatedDisk::new();
    let mut before = bus(&disk).unwrap();
    before.1.total = Some(1);
    let sent = publish(&mut before, "1");
    let hole = record::Hole { after: sent, up_to: Cursor::new(sent.ms, sent.seq + 10) };
    before.1.store.add_hole(hole, []).unwrap();
    // Of another channel: this one loses no message.
    for _ in 0..20 {
        publish_to(&mut before, "other", &"x".repeat(300));
        before.1.work(queue::Work { is_check: true, ..queue::Work::default() }).unwrap();
    }
    let number = before.1.store.catalog.segments.lock().active.number;
    let disk = disk.kill();
    assert!(number > 1 && !disk.list().unwrap().contains(&file_name(number - 1)));
    let lost = Since::After(Cursor::new(sent.ms, sent.seq + 5));
    assert!(read_after(&bus(&disk.cut_power(1)).unwrap(), lost).1);
    disk.damage(&file_name(number), |bytes| bytes[usize::try_from(segment::HEAD).unwrap() + record::GROUP + 20] ^= 1);
    assert_eq!(repair_on(Arc::new(disk.clone()), START).unwrap().cut.unwrap().decisions.lack, Lack::All);
    assert!(read_after(&bus(&disk.kill()).unwrap(), lost).1);
}

#[test]
fn a_missing_segment_ends_the_log() {
    let disk = SimulatedDisk::new();
    let mut before = bus(&disk).unwrap();
    let sent: Vec<_> = (0..60).map(|_| publish(&mut before, &"x".repeat(300))).collect();
    let disk = disk.kill();
    disk.remove(&file_name(2)).unwrap();
    assert!(matches!(bus(&disk), Err(OpenError::Damaged { .. })));
    let disk = disk.kill();
    let examined = repair_on(Arc::new(disk.clone()), START).unwrap();
    let after = bus(&disk.kill()).unwrap();
    let (kept, is_gap) = read_after(&after, Since::Earliest);
    assert!(sent.starts_with(&kept) && kept.len() as u64 == examined.messages && !is_gap && kept.len() > 5);
}

/// Nothing of the rest is lost, and who may have missed something gets a gap.
#[test]
fn missing_segments_at_the_beginning_are_given_up() {
    let disk = SimulatedDisk::new();
    let mut before = bus(&disk).unwrap();
    let sent: Vec<_> = (0..60).map(|_| publish(&mut before, &"x".repeat(300))).collect();
    let disk = disk.kill();
    for number in [1, 2] {
        disk.remove(&file_name(number)).unwrap();
    }
    let refused = bus(&disk).err().unwrap();
    assert!(matches!(&refused, OpenError::Damaged { file, .. } if *file == file_name(1)), "{refused}");
    let disk = disk.kill();
    let examined = repair_on(Arc::new(disk.clone()), START).unwrap();
    assert_eq!((examined.missing, &examined.cut), (2, &None));
    let disk = disk.cut_power(1);
    assert_eq!(super::read(&disk).unwrap().missing, 0);
    let mut after = bus(&disk).unwrap();
    let next = publish(&mut after, "next");
    let kept = &sent[60 - usize::try_from(examined.messages).unwrap()..];
    let last_lost = sent[sent.len() - kept.len() - 1];
    let expected = [kept, &[next]].concat();
    assert_eq!(read_after(&after, Since::After(last_lost)), (expected, false));
    assert!(read_after(&after, Since::After(last_lost.before())).1);
}

#[test]
fn an_incomplete_write_at_the_end_is_no_damage() {
    let disk = SimulatedDisk::new();
    let mut before = bus(&disk).unwrap();
    publish(&mut before, "1");
    let disk = disk.kill();
    disk.damage(&file_name(1), |bytes| bytes.extend_from_slice(b"torn"));
    let examined = repair_on(Arc::new(disk.clone()), START).unwrap();
    assert_eq!((examined.messages, examined.cut), (1, None));
}

/// Wherever a repair is interrupted, the log opens afterwards, or is repaired again, with the same result.
#[test]
fn an_interrupted_repair_is_completed() {
    for steps in 0..40 {
        let disk = SimulatedDisk::new();
        let mut before = bus(&disk).unwrap();
        let sent: Vec<_> = (0..60).map(|_| publish(&mut before, &"x".repeat(300))).collect();
        let disk = disk.kill();
        disk.damage(&file_name(3), |bytes| bytes[2_000..2_400].iter_mut().for_each(|byte| *byte ^= 1));
        let kept = usize::try_from(super::read(&disk).unwrap().messages).unwrap();
        disk.faults(Faults { steps: Some(steps), ..Faults::default() });
        let repaired = repair_on(Arc::new(disk.clone()), START);
        for disk in [disk.cut_power(steps as u64), disk.kill()] {
            let after = match bus(&disk) {
                Err(error) => {
                    assert!(repaired.is_err() && matches!(error, OpenError::Damaged { .. }), "{steps}: {error}");
                    repair_on(Arc::new(disk.kill()), START).unwrap();
                    bus(&disk.kill()).unwrap()
                }
                Ok(opened) => opened,
            };
            assert_eq!(read_after(&after, Since::Earliest), (sent[..kept].to_vec(), false), "{steps}");
            for lost in &sent[kept..] {
                assert!(read_after(&after, Since::After(*lost)).1, "{steps}: a client may have received it");
            }
        }
        if repaired.is_ok() {
            return;
        }
    }
    panic!("the repair does not end");
}

/// Who lost what by retention is not known any more: everybody with a cursor from before the first segment may have.
#[test]
fn a_damaged_table_of_dropped_messages_is_replaced() {
    let disk = SimulatedDisk::new();
    let mut before = bus(&disk).unwrap();
    before.1.total = Some(10_000);
    let sent: Vec<_> = (0..60).map(|_| publish(&mut before, &"x".repeat(300))).collect();
    let disk = disk.kill();
    disk.damage("dropped", |bytes| bytes[20] ^= 1);
    assert!(bus(&disk).is_err());
    let disk = disk.kill();
    let examined = super::read(&disk).unwrap();
    assert!(examined.is_table_damaged && examined.is_damaged() && examined.cut.is_none() && examined.missing == 0);
    assert_eq!(repair_on(Arc::new(disk.clone()), START).unwrap(), examined);
    let disk = disk.cut_power(1);
    assert!(!super::read(&disk).unwrap().is_damaged());
    let after = bus(&disk).unwrap();
    assert!(read_after(&after, Since::After(sent[0])).1);
    let (kept, is_gap) = read_after(&after, Since::Earliest);
    assert!(!is_gap && sent.ends_with(&kept) && (5..50).contains(&kept.len()), "{}", kept.len());
    let last_lost = sent[sent.len() - kept.len() - 1];
    assert_eq!(read_after(&after, Since::After(last_lost)), (kept, false));
}

#[test]
fn a_check_changes_nothing() {
    let path = std::env::temp_dir().join(format!("trident-log-{:016x}", rand::random::<u64>()));
    drop(FileBus::open(&path, FileOptions::default(), Limits::default(), Moment::now).unwrap());
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    std::fs::remove_file(path.join("lock")).unwrap();
    let before = names();
    assert!(!examine(&path).unwrap().is_damaged());
    assert_eq!(names(), before);
    std::fs::remove_dir_all(&path).unwrap();
    assert!(examine(&path).is_err() && !path.exists());
}
