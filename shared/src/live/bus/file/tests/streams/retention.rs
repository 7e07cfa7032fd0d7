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
