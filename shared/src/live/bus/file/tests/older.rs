//! Readers whose cursors are older than the memory, and retention on disk.

use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::{live::reader::Batch, pure::Retention};

/// A bus whose memory keeps next to nothing, with segments of 4 KiB.
fn open(disk: &SimulatedDisk, channel: Retention, total: Option<u64>) -> Simulated {
    open_with(disk, 4_096, channel, total)
}

fn open_with(disk: &SimulatedDisk, segment_bytes: u64, channel: Retention, total: Option<u64>) -> Simulated {
    let limits = Limits { channel, total: Some(8_000), ..Limits::default() };
    let options = FileOptions { total, ..FileOptions::default() };
    let clock = || START.into();
    let (bus, writer) = FileBus::on(Arc::new(disk.clone()), options, segment_bytes, limits, clock).unwrap();
    Simulated { bus, writer }
}

/// The next batch, with the disk read on this thread; `None` if nothing is stored after the cursor.
fn next(bus: &FileBus, reader: &mut Reader, messages: usize) -> Option<Batch> {
    let context = Context::from_waker(Waker::noop());
    for _ in 0..1_000 {
        match reader.poll_stored(&context, Limit { messages, bytes: usize::MAX }) {
            Poll::Ready(batch) => return batch,
            Poll::Pending => bus.archive.serve_next(),
        }
    }
    panic!("the reader requests pieces without an end");
}

/// Everything after `since`, in batches of seven; and the gaps.
fn all(bus: &FileBus, channels: &[&str], since: Since) -> (Vec<Cursor>, Vec<Cursor>) {
    let names: Vec<ChannelName> = channels.iter().map(|name| name.parse().unwrap()).collect();
    let mut reader = Reader::open(bus.log(), &names, since);
    let (mut ids, mut gaps) = (Vec::new(), Vec::new());
    while let Some(batch) = next(bus, &mut reader, 7) {
        ids.extend(batch.messages.iter().map(|message| message.id));
        gaps.extend(batch.gap.map(|gap| gap.resumed));
    }
    (ids, gaps)
}

fn say(simulated: &mut Simulated, channel: &str, bytes: usize) -> Cursor {
    simulated.publish(publication(channel, &"x".repeat(bytes))).unwrap()[0]
}

/// An idempotency key is known after a restart even if the memory does not have its message.
#[test]
fn keys_are_loaded_from_segments_that_are_on_disk_only() {
    let disk = SimulatedDisk::new();
    let mut simulated = open(&disk, Retention::default(), None);
    let first = simulated.publish(keyed("1")).unwrap();
    for _ in 0..100 {
        say(&mut simulated, "c", 300);
    }
    let mut again = open(&disk.kill(), Retention::default(), None);
    assert_eq!(again.publish(keyed("1")), Ok(Published { is_repeat: true, ..first }));
}

/// Only the space for the log removes it before its time.
#[test]
fn keys_outlive_the_limits_of_channels() {
    let disk = SimulatedDisk::new();
    let few = Retention { count: Some(10), ..Retention::default() };
    let mut simulated = open(&disk, few, None);
    let first = simulated.publish(keyed("1")).unwrap();
    for _ in 0..100 {
        say(&mut simulated, "c", 300);
    }
    let mut again = open(&disk.kill(), few, None);
    assert_eq!(again.publish(keyed("1")), Ok(Published { is_repeat: true, ..first }));
    let mut small = open(&disk.kill(), few, Some(9_000));
    for _ in 0..40 {
        say(&mut small, "c", 300);
    }
    assert!(small.bus.disk().unwrap().bytes < 20_000);
}

/// Segments of states alone are between those with messages, and hide none of them.
#[test]
fn segments_without_messages_hide_no_others() {
    const TABLE: StateTable = StateTable::new("test", 1 << 20);
    let disk = SimulatedDisk::new();
    let mut simulated = open(&disk, Retention::default(), None);
    let mut sent = Vec::new();
    for round in 0..4 {
        sent.extend((0..20).map(|_| say(&mut simulated, "c", 300)));
        // Two segments and more, with values that replace each other.
        for n in 0..40_u64 {
            let state = StoredState {
                table: TABLE,
                key: b"key".to_vec(),
                value: Some(vec![round; 300]),
                until_ms: u64::MAX - n,
            };
            simulated.publish(Publication::of_states(vec![state])).unwrap();
        }
    }
    let sealed = simulated.bus.catalog.segments.lock().sealed.clone();
    let empty = sealed.iter().filter(|segment| segment.sealed.messages == 0).count();
    assert!(empty >= 3, "{empty} segments have states alone");
    for missed in [0, 1, 19, 20, 45, 79] {
        assert_eq!(all(&simulated.bus, &["c"], Since::After(sent[missed])), (sent[missed + 1..].to_vec(), vec![]));
    }
    assert_eq!(all(&simulated.bus, &["c"], Since::Earliest), (sent, vec![]));
}

#[test]
fn history_is_larger_than_memory() {
    let disk = SimulatedDisk::new();
    let mut simulated = open(&disk, Retention::default(), None);
    let sent: Vec<_> = (0..300).map(|n| say(&mut simulated, if n % 10 == 3 { "rare" } else { "c" }, 100)).collect();
    assert!(simulated.bus.log().counts().messages < 30);
    let of = |is_rare: bool| -> Vec<Cursor> {
        sent.iter().enumerate().filter(|(n, _)| (n % 10 == 3) == is_rare).map(|(_, id)| *id).collect()
    };
    let bus = &simulated.bus;
    assert_eq!(all(bus, &["c", "rare"], Since::Earliest), (sent.clone(), vec![]));
    assert_eq!(all(bus, &["c"], Since::Earliest), (of(false), vec![]));
    assert_eq!(all(bus, &["rare"], Since::After(sent[0])), (of(true), vec![]));
    assert_eq!(all(bus, &["rare", "c"], Since::After(sent[123])), (sent[124..].to_vec(), vec![]));
    assert_eq!(all(bus, &["none"], Since::After(sent[0])), (vec![], vec![]));
    assert!(next(bus, &mut Reader::open(bus.log(), &["c".parse().unwrap()], Since::Now), 7).is_none());
    // The same after a restart, when the memory has only the last segment.
    let again = open(&disk.kill(), Retention::default(), None);
    assert_eq!(all(&again.bus, &["c", "rare"], Since::After(sent[5])), (sent[6..].to_vec(), vec![]));
    assert_eq!(again.bus.disk().unwrap().reading, 0, "everything that was read is delivered");
}

/// A pattern finds the channels that the memory knows. That it does not have the others is a gap, from the oldest message on too.
#[test]
fn a_pattern_has_a_gap_before_what_the_memory_knows() {
    let disk = SimulatedDisk::new();
    let mut simulated = open(&disk, Retention::default(), None);
    let first = say(&mut simulated, "orders.quiet", 300);
    let sent: Vec<_> = (0..100).map(|_| say(&mut simulated, "orders.busy", 300)).collect();
    let by_pattern = |bus: &FileBus, since| {
        let mut reader = Reader::open(bus.log(), &[ChannelName::selector("orders.*").unwrap()], since);
        let is_gap = is_gap(bus, &mut reader);
        let (mut ids, mut gaps) = (Vec::new(), 0);
        while let Some(batch) = next(bus, &mut reader, 7) {
            ids.extend(batch.messages.iter().map(|message| message.id));
            gaps += usize::from(batch.gap.is_some());
        }
        assert_eq!(is_gap, gaps > 0);
        (ids, gaps)
    };
    for since in [Since::Earliest, Since::After(first.before())] {
        let (ids, gaps) = by_pattern(&open(&disk.kill(), Retention::default(), None).bus, since);
        assert_eq!((ids.contains(&first), ids.ends_with(&sent[90..]), gaps), (false, true, 1), "{since:?}");
    }
    // With everything in memory there is none.
    let disk = SimulatedDisk::new();
    let mut simulated = open(&disk, Retention::default(), None);
    let sent = [say(&mut simulated, "orders.a", 10), say(&mut simulated, "orders.b", 10)];
    assert_eq!(by_pattern(&simulated.bus, Since::Earliest), (sent.to_vec(), 0));
    assert_eq!(by_pattern(&open(&disk.kill(), Retention::default(), None).bus, Since::Earliest), (sent.to_vec(), 0));
}

/// A channel that lost something by the removal of segments is a gap; one that lost nothing is none, also after a restart.
#[test]
fn removed_segments_are_a_gap_for_their_channels_only() {
    let disk = SimulatedDisk::new();
    let mut simulated = open(&disk, Retention::default(), Some(30_000));
    let first = say(&mut simulated, "early", 10);
    let sent: Vec<_> = (0..300).map(|_| say(&mut simulated, "busy", 300)).collect();
    let late = say(&mut simulated, "late", 10);
    let size = simulated.bus.disk().unwrap().bytes;
    assert!((20_000..40_000).contains(&size), "{size}");
    for bus in [&simulated.bus, &open(&disk.kill(), Retention::default(), Some(30_000)).bus] {
        let (kept, gaps) = all(bus, &["busy"], Since::After(sent[0]));
        assert!(sent.ends_with(&kept) && (30..150).contains(&kept.len()), "{}", kept.len());
        assert_eq!(gaps, [sent[sent.len() - kept.len() - 1]], "resumed from there, nothing is missed or repeated");
        assert_eq!(all(bus, &["busy"], Since::After(gaps[0])).1, [], "resuming after the gap is not a gap");
        assert_eq!(all(bus, &["busy"], Since::Earliest), (kept, vec![]));
        assert_eq!(all(bus, &["late"], Since::After(first)), (vec![late], vec![]));
        assert_eq!(all(bus, &["early"], Since::After(first)), (vec![], vec![]), "its only message was received");
        assert_eq!(all(bus, &["early"], Since::After(first.before())).1.len(), 1);
    }
}

/// What is removed from the disk while a reader without a cursor lags is a gap; what was removed before it began is none.
#[test]
fn a_reader_without_a_cursor_learns_what_it_missed() {
    let mut simulated = open(&SimulatedDisk::new(), Retention::default(), Some(30_000));
    let busy: ChannelName = "busy".parse().unwrap();
    let sent: Vec<_> = (0..300).map(|_| say(&mut simulated, "busy", 300)).collect();
    let now = Reader::open(simulated.bus.log(), std::slice::from_ref(&busy), Since::Now);
    let mut joining = Reader::open(simulated.bus.log(), &["calm".parse().unwrap()], Since::After(sent[0]));
    joining.add_from(&busy, Cursor::ZERO);
    assert!(next(&simulated.bus, &mut joining, 7).unwrap().gap.is_none());
    let mut joining = Reader::open(simulated.bus.log(), &["calm".parse().unwrap()], Since::After(sent[0]));
    joining.add_from(&busy, Cursor::ZERO);
    let later: Vec<_> = (0..300).map(|_| say(&mut simulated, "busy", 300)).collect();
    for mut reader in [now, joining] {
        let batch = next(&simulated.bus, &mut reader, 7).unwrap();
        let at = later.iter().position(|id| *id == batch.messages[0].id).unwrap();
        assert_eq!(batch.gap.map(|gap| gap.resumed), Some(later[at - 1]));
        assert!(next(&simulated.bus, &mut reader, 7).unwrap().gap.is_none(), "once");
    }
}

#[test]
fn a_channels_own_limits_hold_on_disk() {
    let disk = SimulatedDisk::new();
    let limits = Retention { count: Some(40), ..Retention::default() };
    let mut simulated = open(&disk, limits, None);
    let other = say(&mut simulated, "other", 10);
    let sent: Vec<_> = (0..200).map(|_| say(&mut simulated, "c", 100)).collect();
    let bus = &simulated.bus;
    assert_eq!(all(bus, &["c"], Since::Earliest), (sent[160..].to_vec(), vec![]));
    assert_eq!(all(bus, &["c"], Since::After(sent[10])), (sent[160..].to_vec(), vec![sent[159]]));
    assert_eq!(all(bus, &["c"], Since::After(sent[159])), (sent[160..].to_vec(), vec![]));
    assert_eq!(all(bus, &["other"], Since::Earliest), (vec![other], vec![]));
    // A segment that has nothing but what the limits drop is removed.
    let later: Vec<_> = (0..300).map(|_| say(&mut simulated, "other", 100)).collect();
    let (_, segments) = simulated.bus.catalog.size();
    assert!(segments > 5, "`c` still has forty messages before them: {segments}");
    for _ in 0..40 {
        say(&mut simulated, "c", 100);
    }
    for _ in 0..40 {
        say(&mut simulated, "other", 100);
    }
    simulated.check();
    let (size, _) = simulated.bus.catalog.size();
    assert!(size < 30_000, "{size}");
    assert_eq!(all(&simulated.bus, &["other"], Since::After(later[0])).0.len(), 40);
}

/// What the limit dropped is far more than a piece, all in the segment that is written.
#[test]
fn limits_hold_in_a_large_segment() {
    let limits = Retention { count: Some(40), ..Retention::default() };
    let mut simulated = open_with(&SimulatedDisk::new(), 1 << 30, limits, None);
    let sent: Vec<_> = (0..600).map(|_| say(&mut simulated, "c", 1_000)).collect();
    let other = say(&mut simulated, "other", 10);
    let bus = &simulated.bus;
    assert_eq!(all(bus, &["c"], Since::Earliest), (sent[560..].to_vec(), vec![]));
    assert_eq!(all(bus, &["c"], Since::After(sent[10])), (sent[560..].to_vec(), vec![sent[559]]));
    assert_eq!(all(bus, &["other", "c"], Since::Earliest).0, [&sent[560..], &[other]].concat());
}

/// Whether the next read of a reader reports a gap, with the disk read on this thread.
fn is_gap(bus: &FileBus, reader: &mut Reader) -> bool {
    let context = Context::from_waker(Waker::noop());
    loop {
        match reader.poll_gap(&context) {
            Poll::Ready(is_gap) => return is_gap,
            Poll::Pending => bus.archive.serve_next(),
        }
    }
}

/// Whoever resumes a session has to know what is lost before the first message is read.
#[test]
fn a_gap_by_the_limits_of_a_channel_is_known_in_advance() {
    let limits = Retention { count: Some(40), ..Retention::default() };
    let mut simulated = open(&SimulatedDisk::new(), limits, None);
    let sent: Vec<_> = (0..200).map(|_| say(&mut simulated, "c", 100)).collect();
    let bus = &simulated.bus;
    for (after, expected) in [(10, true), (158, true), (159, false), (170, false), (199, false)] {
        let mut reader = Reader::open(bus.log(), &["c".parse().unwrap()], Since::After(sent[after]));
        assert_eq!(is_gap(bus, &mut reader), expected, "{after}");
        let batch = next(bus, &mut reader, 7);
        assert_eq!(batch.is_some_and(|batch| batch.gap.is_some()), expected, "{after}");
    }
}

/// Also after a restart, when the memory has no message of the channel.
#[tokio::test]
async fn the_newest_message_may_be_on_disk_only() {
    let disk = SimulatedDisk::new();
    let mut simulated = open(&disk, Retention::default(), None);
    say(&mut simulated, "quiet", 10);
    let quiet = say(&mut simulated, "quiet", 10);
    let sent: Vec<_> = (0..100).map(|_| say(&mut simulated, "c", 300)).collect();
    let again = open(&disk.kill(), Retention::default(), None);
    for bus in [&simulated.bus, &again.bus] {
        let archive = bus.archive.clone();
        std::thread::spawn(move || archive.run());
        let newest = async |names: &[&str]| {
            let names: Vec<ChannelName> = names.iter().map(|name| name.parse().unwrap()).collect();
            crate::live::reader::newest(bus.log(), &names).await.map(|message| message.id)
        };
        assert!(bus.log().newest(&["quiet".parse().unwrap()]).is_none());
        assert_eq!(newest(&["quiet"]).await, Some(quiet));
        assert_eq!(newest(&["none", "quiet"]).await, Some(quiet));
        assert_eq!(newest(&["quiet", "c"]).await, sent.last().copied());
        assert_eq!(newest(&["none"]).await, None);
    }
}

/// Channels that are not read any more take no memory.
#[test]
fn reported_losses_are_forgotten() {
    let mut simulated = open(&SimulatedDisk::new(), Retention::default(), Some(30_000));
    let sent: Vec<_> = (0..300).map(|_| say(&mut simulated, "busy", 300)).collect();
    let mut reader = Reader::open(simulated.bus.log(), &["busy".parse().unwrap()], Since::After(sent[0]));
    for n in 0..20 {
        let name = format!("c{n}").parse().unwrap();
        reader.add(&name);
        assert!(next(&simulated.bus, &mut reader, 1).is_some());
        reader.remove(&name);
    }
    assert!(reader.reported() <= 1, "{}", reader.reported());
}

#[test]
fn messages_expire_on_disk() {
    static TIME: AtomicU64 = AtomicU64::new(START);
    let limits = Limits {
        channel: Retention { age_ms: Some(1_000), ..Retention::default() },
        total: Some(4_000),
        ..Limits::default()
    };
    let clock = || TIME.load(Relaxed).into();
    let opened = FileBus::on(Arc::new(SimulatedDisk::new()), FileOptions::default(), 4_096, limits, clock).unwrap();
    let mut simulated = Simulated { bus: opened.0, writer: opened.1 };
    let mut sent = Vec::new();
    for _ in 0..200 {
        sent.push(say(&mut simulated, "c", 100));
        TIME.fetch_add(10, Relaxed);
    }
    let kept = sent.iter().filter(|id| TIME.load(Relaxed) - id.ms <= 1_000).count();
    let bus = &simulated.bus;
    assert_eq!(all(bus, &["c"], Since::After(sent[3])), (sent[200 - kept..].to_vec(), vec![sent[199 - kept]]));
    TIME.fetch_add(5_000, Relaxed);
    say(&mut simulated, "c", 4_000);
    say(&mut simulated, "c", 10);
    assert_eq!(simulated.bus.catalog.size().1, 2, "only segments with messages that have not expired");
}

/// The ids and the places of the messages of a segment.
#[derive(Default)]
struct Places(Vec<(Cursor, std::ops::Range<usize>)>);

impl segment::Visit for Places {
    fn message(&mut self, found: segment::Found<'_>) -> io::Result<()> {
        let begin = usize::try_from(found.offset).unwrap();
        self.0.push((found.id, begin..begin + usize::try_from(found.length).unwrap()));
        Ok(())
    }

    fn state(&mut self, _: &[u8], _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn hole(&mut self, _: record::Hole) {}
}

/// Each message that can be read is read, what is lost is a gap right there, and whoever resumes after that gap has no other.
#[test]
fn damage_on_disk_is_a_gap_and_never_skipped() {
    const BAD: std::ops::Range<usize> = 2_000..2_300;
    let name = segment::file_name(2);
    let flip = |bytes: &mut Vec<u8>| bytes[BAD].iter_mut().for_each(|byte| *byte ^= 1);
    let damages: [&dyn Fn(&SimulatedDisk); 3] =
        [&|disk| disk.damage(&name, flip), &|disk| disk.unreadable(&name, BAD), &|disk| disk.remove(&name).unwrap()];
    for (damage, is_all) in damages.into_iter().zip([false, false, true]) {
        let disk = SimulatedDisk::new();
        let mut simulated = open(&disk, Retention::default(), None);
        let sent: Vec<_> = (0..100).map(|n| say(&mut simulated, if n % 3 == 0 { "other" } else { "c" }, 200)).collect();
        let (file, mut places) = (disk.open(&name).unwrap(), Places::default());
        let head = segment::Head::read(&*file).unwrap().unwrap();
        segment::scan(&*file, head.salt, segment::HEAD, &mut places).unwrap();
        places.0.retain(|(_, place)| is_all || place.start < BAD.end && BAD.start < place.end);
        let lost: Vec<_> = places.0.iter().map(|(id, _)| *id).collect();
        assert!(if is_all { lost.len() > 10 } else { lost.len() == 2 }, "{lost:?}");
        damage(&disk);
        let kept: Vec<_> = sent.iter().copied().filter(|id| !lost.contains(id)).collect();
        let next = *kept.iter().find(|id| **id > lost[0]).unwrap();
        let after_gap = if is_all { *lost.last().unwrap() } else { next.before() };
        let bus = &simulated.bus;
        let channels = ["c", "other"];
        assert_eq!(all(bus, &channels, Since::After(sent[0])), (kept[1..].to_vec(), vec![after_gap]));
        assert_eq!(all(bus, &channels, Since::Earliest), (kept.clone(), vec![after_gap]));
        for after in [after_gap, next, *kept.last().unwrap()] {
            let rest = kept.iter().copied().filter(|id| *id > after).collect();
            assert_eq!(all(bus, &channels, Since::After(after)), (rest, vec![]));
        }
    }
}

/// A damaged index hides nothing, and costs no gap: it is made again from the messages.
#[test]
fn an_index_that_is_damaged_while_it_is_used_is_made_again() {
    let name = segment::index_name(2);
    // The name of a channel is changed, so that it would not be found.
    let rename = |bytes: &mut Vec<u8>| {
        let at = memchr::memmem::find(bytes, b"other").unwrap();
        bytes[at] ^= 1;
    };
    let damages: [&dyn Fn(&SimulatedDisk); 3] =
        [&|disk| disk.damage(&name, |bytes| bytes.truncate(10)), &|disk| disk.unreadable(&name, 0..1 << 20), &|disk| {
            disk.damage(&name, rename)
        }];
    for (damage, is_known) in damages.into_iter().flat_map(|damage| [(damage, false), (damage, true)]) {
        let disk = SimulatedDisk::new();
        let mut simulated = open(&disk, Retention::default(), None);
        let sent: Vec<_> = (0..100).map(|n| say(&mut simulated, if n % 3 == 0 { "other" } else { "c" }, 200)).collect();
        let bus = &simulated.bus;
        if is_known {
            assert_eq!(all(bus, &["c", "other"], Since::Earliest), (sent.clone(), vec![]));
        }
        damage(&disk);
        for _ in 0..2 {
            assert_eq!(all(bus, &["c", "other"], Since::Earliest), (sent.clone(), vec![]));
            assert_eq!(all(bus, &["other"], Since::After(sent[0])).0.len(), 33);
        }
        drop(simulated);
        let bus = open(&disk.kill(), Retention::default(), None).bus;
        assert_eq!(all(&bus, &["c", "other"], Since::Earliest), (sent, vec![]), "also after a start");
    }
}

/// Where more than a piece cannot be read, the rest of the segment is given up.
#[test]
fn damage_larger_than_a_piece_has_an_end() {
    let disk = SimulatedDisk::new();
    let mut simulated = open_with(&disk, 1 << 30, Retention::default(), None);
    let sent: Vec<_> = (0..600).map(|_| say(&mut simulated, "c", 1_000)).collect();
    disk.unreadable(&segment::file_name(1), 20_000..500_000);
    let (kept, gaps) = all(&simulated.bus, &["c"], Since::Earliest);
    let first_lost = kept.iter().zip(&sent).position(|(kept, sent)| kept != sent).unwrap();
    assert!((10..20).contains(&first_lost) && sent.ends_with(&kept[first_lost..]), "{first_lost}");
    assert_eq!((gaps.len(), kept.last()), (1, sent.last()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Readers that advance while others publish get every message of their channels once, wherever it is.
    #[test]
    fn readers_of_disk_and_memory_see_what_a_list_would_show(
        steps in proptest::collection::vec((0..4_usize, 0..4_usize, 0..600_usize, 1..9_usize), 1..150),
    ) {
        let mut simulated = open(&SimulatedDisk::new(), Retention::default(), None);
        let start = simulated.bus.log().head();
        let mut sent: Vec<(usize, Cursor)> = Vec::new();
        let sets = [&[0_usize, 1][..], &[2], &[0, 1, 2, 3]];
        let name = |n: usize| -> ChannelName { format!("c{n}").parse().unwrap() };
        let mut readers: Vec<(Reader, Vec<Cursor>)> = sets.iter().map(|set| {
            let names: Vec<_> = set.iter().map(|n| name(*n)).collect();
            (Reader::open(simulated.bus.log(), &names, Since::After(start)), Vec::new())
        }).collect();
        for (at, (channel, reader, bytes, most)) in steps.into_iter().enumerate() {
            sent.push((channel, say(&mut simulated, &name(channel), bytes)));
            if at % 3 == 0 && let Some((reader, read)) = readers.get_mut(reader)
                && let Some(batch) = next(&simulated.bus, reader, most)
            {
                prop_assert!(batch.gap.is_none() && batch.messages.len() <= most);
                read.extend(batch.messages.iter().map(|message| message.id));
            }
        }
        for ((mut reader, mut read), set) in readers.into_iter().zip(sets) {
            while let Some(batch) = next(&simulated.bus, &mut reader, 5) {
                prop_assert!(batch.gap.is_none());
                read.extend(batch.messages.iter().map(|message| message.id));
            }
            let expected: Vec<_> = sent.iter().filter(|(n, _)| set.contains(n)).map(|(_, id)| *id).collect();
            prop_assert_eq!(read, expected);
        }
    }
}

/// On a quiet log, no new segment comes that would have the others looked at.
#[test]
fn segments_that_remain_for_their_keys_are_removed_after_that() {
    static TIME: AtomicU64 = AtomicU64::new(START);
    for is_restarted in [false, true] {
        let limits = Limits { channel: Retention { count: Some(2), ..Retention::default() }, ..Limits::default() };
        let clock = || TIME.load(Relaxed).into();
        let open = |disk: SimulatedDisk| {
            let (bus, writer) = FileBus::on(Arc::new(disk), FileOptions::default(), 4_096, limits, clock).unwrap();
            Simulated { bus, writer }
        };
        let disk = SimulatedDisk::new();
        let mut simulated = open(disk.clone());
        simulated.publish(keyed("1")).unwrap();
        for _ in 0..30 {
            say(&mut simulated, "c", 500);
        }
        simulated.check();
        assert!(simulated.bus.disk().unwrap().segments > 3);
        if is_restarted {
            simulated = open(disk.kill());
        }
        TIME.fetch_add(writer::TTL_MS + 1, Relaxed);
        simulated.check();
        assert!(simulated.bus.disk().unwrap().segments <= 2, "{is_restarted}");
    }
}
