//! The use of a stream, and its end by itself.

use super::*;
use crate::testing::logged;

/// An idle time began again at each start, or a stream that was read had expired after one.
#[test]
fn use_is_stored_and_an_end_too() {
    let mut site = Site::new(None);
    site.make(Create { lifetime: Lifetime::Idle(100), ..create("read") });
    site.make(Create { lifetime: Lifetime::Idle(100), ..create("idle") });
    let written = |site: &Site| site.at.bus.catalog.size().0;
    for _ in 0..20 {
        TIME.set(TIME.get() + 9_000);
        let before = written(&site);
        assert!(site.at.bus.stream_info(&name("read"), true).is_ok());
        assert_eq!(written(&site), before, "a use alone writes nothing");
        site.at.check();
    }
    assert_eq!(site.at.bus.log().counts().streams, 1, "the other one has ended");
    let before = site.all();
    site.restart();
    assert_eq!(site.all().len(), 1, "{before:?}");
    assert!(site.info("read").is_ok() && site.info("idle").is_err());
    TIME.set(TIME.get() + 95_000);
    assert!(site.info("read").is_ok(), "it was used less than 100 s ago");
    TIME.set(TIME.get() + 30_000);
    assert!(site.info("read").is_err());
    // Another one may take the name at once: the end is stored before.
    let created = site.make(create("read")).created;
    site.restart();
    assert_eq!(site.info("read").unwrap().created, created);
    assert_eq!(site.info("read").unwrap().lifetime, Lifetime::Unlimited);
}

#[test]
fn use_is_stored_once_in_a_tenth_of_the_lifetime() {
    let mut site = Site::new(None);
    let stored =
        |site: &Site, stream| purges::occurrences(&site.disk, &format!(r#""op":"renew","channel":"{stream}""#));
    for stream in ["read", "appended"] {
        site.make(Create { lifetime: Lifetime::Idle(100), ..create(stream) });
    }
    let mut stored_after = Vec::new();
    for second in 1..=100 {
        TIME.set(TIME.get() + 1_000);
        // An append stores that the stream was used.
        if second % 9 == 0 {
            site.add(append("appended", &["1"]));
        }
        let before = stored(&site, "read");
        for stream in ["read", "appended"] {
            site.at.bus.stream_info(&name(stream), true).unwrap();
        }
        site.at.check();
        stored_after.extend((stored(&site, "read") > before).then_some(second));
    }
    assert_eq!(stored_after, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    assert_eq!(stored(&site, "appended"), 0);
}

/// Each start took the use for real that it assumed, and wrote it.
#[test]
fn restarts_do_not_prolong_an_unused_stream() {
    let mut site = Site::new(None);
    let created = site.make(Create { lifetime: Lifetime::Idle(100), ..create("s") }).created;
    while TIME.get() < created.ms + 112_000 {
        TIME.set(TIME.get() + 9_000);
        site.restart();
        let before = site.at.bus.catalog.size().0;
        site.at.check();
        let is_there = site.info("s").is_ok();
        assert!(!is_there || site.at.bus.catalog.size().0 == before, "nothing was used, so nothing is written");
        assert!(is_there || TIME.get() > created.ms + 100_000, "{}", TIME.get() - created.ms);
    }
    assert!(site.info("s").is_err(), "a tenth longer than its lifetime");
}

/// What is read between starts that come more often than its use is stored.
#[test]
fn a_stream_that_is_used_lives_through_restarts() {
    let mut site = Site::new(None);
    site.make(Create { lifetime: Lifetime::Idle(100), ..create("s") });
    for _ in 0..40 {
        TIME.set(TIME.get() + 9_000);
        assert!(site.at.bus.stream_info(&name("s"), true).is_ok());
        site.at.check();
        site.restart();
    }
}

/// Clients choose the names of streams, and how many end at a time.
#[test]
fn ends_that_cannot_be_stored_are_logged_once() {
    logged::collect();
    let mut site = Site::new(None);
    for n in 0..600 {
        let channel = format!("s{n}");
        site.make(Create { lifetime: Lifetime::Idle(60), ..create(&channel) });
        site.add(append(&channel, &["x"]));
    }
    TIME.set(TIME.get() + 60_000);
    logged::take();
    site.at.check();
    let lines: Vec<_> = logged::take().into_iter().filter(|line| line.contains("the end of a stream")).collect();
    assert!(matches!(&lines[..], [line] if line.contains("is not stored yet: s")), "{} lines: {lines:?}", lines.len());
}

/// The purges of other streams had taken all the space, so none could be deleted, and expired ones kept their memory.
#[test]
fn more_streams_can_end_than_channels_can_be_purged() {
    let mut site = Site::new(None);
    let names: Vec<String> = (0..30).map(|n| format!("s{n}")).collect();
    for channel in &names {
        site.make(create(channel));
        site.add(append(channel, &["secret"]));
    }
    names.iter().for_each(|channel| drop(site.ask(StreamOp::Delete(name(channel))).unwrap()));
    for _ in 0..2 {
        assert!(names.iter().all(|channel| site.info(channel).is_err() && site.texts(channel).0.is_empty()));
        site.restart();
    }
    for _ in 0..3 {
        TIME.set(TIME.get() + 20_000);
        purges::erase(&mut site.at).unwrap();
    }
    assert_eq!(purges::occurrences(&site.disk, "secret"), 0);
}
