//! Retention removes segments, and streams lose nothing.

use super::*;

const TOTAL: u64 = 120_000;

fn fill(site: &mut Site, count: usize) {
    for n in 0..count {
        site.at.publish(publication(&format!("other{}", n % 7), &"x".repeat(400))).unwrap();
        site.at.check();
    }
}

/// Several times what the disk may have is published. What streams have is written again, also a second time.
#[test]
fn streams_outlive_their_segments() {
    let mut site = Site::new(Some(TOTAL));
    site.make(create("s"));
    site.make(create("gone"));
    let mut texts = Vec::new();
    for n in 0..12 {
        let text = format!("{n} {}", "s".repeat(100));
        site.add(append("s", &[&text]));
        site.add(append("gone", &["secret"]));
        texts.push(text);
        fill(&mut site, 5);
    }
    site.make(fork("f", "s", None));
    site.ask(StreamOp::Delete(name("gone"))).unwrap();
    for round in 0..6 {
        fill(&mut site, 300);
        assert!(site.at.bus.catalog.size().0 < TOTAL + 3 * 4_096, "{round}: {:?}", site.at.bus.catalog.size());
        assert_eq!(site.texts("s"), (texts.clone(), false), "{round}");
        let before = site.all();
        site.restart();
        assert_eq!(site.all(), before, "{round}");
        assert_eq!(site.texts("s"), (texts.clone(), false), "{round}");
        assert_eq!(site.texts("f"), (texts.clone(), false), "{round}");
        assert!(site.info("gone").is_err() && site.texts("gone").0.is_empty());
    }
    let first = site.at.bus.catalog.segments.lock().removed.oldest;
    assert!(first > 30, "{first} segments were removed");
}

/// A reader of a stream and of a channel whose messages are on disk gets both, in their order, wherever the stream's are.
#[test]
fn a_reader_of_older_messages_gets_those_of_streams() {
    let mut site = Site::new(Some(TOTAL));
    site.make(create("s"));
    let mut expected = Vec::new();
    for n in 0..60 {
        let (of_stream, other) = (format!("s{n}"), format!("o{n}"));
        site.add(append("s", &[&of_stream]));
        site.at.publish(publication("o", &other)).unwrap();
        expected.extend([of_stream, other]);
    }
    // The memory has few messages of the other channel.
    fill(&mut site, 30);
    assert!(site.at.bus.log().channel_stats(&name("o")).messages <= 3);
    let both = [name("s"), name("o")];
    let read = |site: &Site| site.read(Reader::open(site.at.bus.log(), &both, Since::Earliest));
    // Its limit of three messages applies to the disk as well: those of the stream are there, in their order.
    let ordered = |texts: &[String]| {
        let places: Vec<usize> =
            texts.iter().map(|text| expected.iter().position(|one| one == text).unwrap()).collect();
        places.is_sorted_by(|a, b| a < b)
    };
    let count = |texts: &[String], first: char| texts.iter().filter(|text| text.starts_with(first)).count();
    let (texts, _) = read(&site);
    assert!(ordered(&texts), "{texts:?}");
    assert_eq!((count(&texts, 's'), count(&texts, 'o')), (60, 3));
    // The segments with the messages of both are removed.
    fill(&mut site, 600);
    site.restart();
    site.at.publish(publication("o", "o60")).unwrap();
    fill(&mut site, 30);
    let (texts, _) = read(&site);
    assert_eq!(count(&texts, 's'), 60);
    assert_eq!(texts.last().map(String::as_str), Some("o60"));
}

/// A deleted stream whose messages were written again.
#[test]
fn the_bytes_of_a_deleted_stream_leave_the_disk() {
    let mut site = Site::new(Some(TOTAL));
    site.make(create("s"));
    site.add(append("s", &["secret"]));
    site.make(fork("f", "s", None));
    fill(&mut site, 300);
    assert!(purges::occurrences(&site.disk, "secret") > 0 && site.texts("s").0 == ["secret"]);
    site.ask(StreamOp::Delete(name("f"))).unwrap();
    site.ask(StreamOp::Delete(name("s"))).unwrap();
    // A new stream of the name is not what was deleted.
    site.make(create("s"));
    site.add(append("s", &["kept"]));
    TIME.set(TIME.get() + 20_000);
    purges::erase(&mut site.at).unwrap();
    assert_eq!(purges::occurrences(&site.disk, "secret"), 0);
    site.restart();
    assert_eq!(site.texts("s"), (vec!["kept".to_owned()], false));
}

/// Publishes `bytes` in one round of the writer.
fn burst(site: &mut Site, bytes: usize) {
    let one = || publication("other", &"x".repeat(16 << 10));
    let all = (0..bytes / (16 << 10)).map(|_| one()).collect();
    assert!(site.at.publish_all(all).0.iter().all(|answer| matches!(answer, Some(Ok(_)))));
    site.at.check();
}

/// For each MiB that was written again, publishers added four, so the log had twice the size that it may have.
#[test]
fn the_log_does_not_outgrow_its_limit_while_messages_of_streams_are_moved() {
    const TOTAL: u64 = 4 << 20;
    let mut site = Site::new(Some(TOTAL));
    site.make(create("s"));
    let text = "s".repeat(15 << 10);
    for _ in 0..50 {
        site.add(append("s", &[&text]));
    }
    for round in 0..12 {
        burst(&mut site, 1 << 20);
        let size = site.at.bus.catalog.size().0;
        assert!(size <= TOTAL + TOTAL / 16 + (1 << 20) + (64 << 10), "{round}: {size}");
    }
    assert_eq!(site.texts("s").0.len(), 50);
}

/// What was deleted or purged counted as needed, so nothing behind it was ever removed without a limit of bytes.
#[test]
fn what_streams_have_lost_keeps_no_segment() {
    let mut site = Site::new(None);
    site.make(create("queue"));
    for _ in 0..60 {
        site.add(append("queue", &[&"x".repeat(400)]));
        let (_, states) = site.at.bus.plan_purge(name("queue"));
        site.at.publish(Publication::of_states(states)).unwrap();
    }
    site.make(create("s"));
    for _ in 0..20 {
        site.add(append("s", &[&"x".repeat(400)]));
    }
    for _ in 0..5 {
        site.make(fork("f", "s", None));
        site.ask(StreamOp::Delete(name("f"))).unwrap();
    }
    site.ask(StreamOp::Delete(name("s"))).unwrap();
    TIME.set(TIME.get() + 7_200_000);
    let before = site.at.bus.catalog.segments.lock().active.number;
    assert!(before > 8, "{before}");
    fill(&mut site, 30);
    let oldest = site.at.bus.catalog.segments.lock().removed.oldest;
    assert!(oldest + 1 >= before, "{oldest} of {before}");
}

/// The index of a segment that is kept for streams was read each second, by the thread that writes.
#[test]
fn a_segment_that_streams_need_is_not_looked_at_again() {
    let mut site = Site::new(None);
    site.make(create("s"));
    for _ in 0..40 {
        site.add(append("s", &[&"x".repeat(400)]));
    }
    TIME.set(TIME.get() + 7_200_000);
    site.at.check();
    let first = site.at.bus.catalog.segments.lock().removed.oldest;
    site.disk.faults(Faults { panic: true, ..Faults::default() });
    site.at.check();
    site.disk.faults(Faults::default());
    assert_eq!(site.at.bus.catalog.segments.lock().removed.oldest, first);
    // It is not needed any more.
    site.ask(StreamOp::Delete(name("s"))).unwrap();
    site.at.check();
    assert!(site.at.bus.catalog.segments.lock().removed.oldest > first);
}

/// How often each of these texts is on the disk.
fn most_often(site: &Site, texts: &[String]) -> usize {
    texts.iter().map(|text| purges::occurrences(&site.disk, text)).max().unwrap_or_default()
}

/// A segment that had new messages beside some that were written again had all between them written again, too, and each time there were more such
/// segments.
#[test]
fn what_is_written_again_does_not_grow_with_each_time() {
    let mut site = Site::new(Some(TOTAL));
    site.make(create("s"));
    let mut texts = Vec::new();
    for n in 0..60 {
        let text = format!("<{n}> {}", "s".repeat(60));
        site.add(append("s", &[&text]));
        texts.push(text);
        fill(&mut site, if n < 30 { 2 } else { 60 });
    }
    assert!(site.at.bus.catalog.segments.lock().removed.oldest > 150, "all of it was written again several times");
    assert_eq!(most_often(&site, &texts), 1);
    assert_eq!(site.texts("s"), (texts, false));
}

/// Each process that ended while messages were written again left them once more, for ever.
#[test]
fn what_was_written_again_before_the_process_ended_is_not_written_once_more() {
    let mut site = Site::new(None);
    site.make(create("s"));
    let texts: Vec<String> = (0..8).map(|n| format!("<{n}> {}", "s".repeat(60))).collect();
    texts.iter().for_each(|text| drop(site.add(append("s", &[text]))));
    fill(&mut site, 20);
    for round in 0..20 {
        // Each time in another segment.
        site.at.writer.roll().unwrap();
        fill(&mut site, 1);
        site.at.writer.total = Some(1);
        site.disk.faults(Faults { steps: Some(1 + round % 5), ..Faults::default() });
        // It dies at some point.
        drop(site.at.writer.work(Work { is_check: true, ..Work::default() }));
        site.restart();
        assert_eq!(site.texts("s"), (texts.clone(), false));
        assert!(most_often(&site, &texts) <= 2, "{round}: {}", most_often(&site, &texts));
    }
}
