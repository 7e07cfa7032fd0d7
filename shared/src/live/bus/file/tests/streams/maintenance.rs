//! Checks, repairs and copies of a log with streams.

use super::*;

impl Site {
    /// Streams of all kinds: closed, deleted, forks with and without their source, and producers.
    fn with_streams() -> Self {
        let mut site = Self::new(None);
        for channel in ["s", "closed", "source", "gone"] {
            site.make(create(channel));
        }
        site.add(by(append("s", &["1", "2"]), 3, 0));
        site.make(fork("f", "s", None));
        site.make(fork("g", "source", None));
        site.add(Append { is_closing: true, ..append("closed", &["last"]) });
        site.ask(StreamOp::Delete(name("source"))).unwrap();
        site.ask(StreamOp::Delete(name("gone"))).unwrap();
        site
    }

    fn examined(&self) -> Examined {
        repair::read(&self.disk.kill()).unwrap()
    }

    /// Damages the log at this text, and repairs it.
    fn repair_at(&mut self, text: &str) -> Examined {
        let names = self.disk.list().unwrap();
        let mut places = names.iter().filter_map(|name| Some((name, purges::place(&self.disk, name, text)?)));
        let (file, at) = places.next().unwrap();
        self.disk = self.disk.kill();
        self.disk.damage(file, |bytes| bytes[at] ^= 1);
        match open(&self.disk, self.total) {
            Err(OpenError::Damaged { file: named, .. }) => assert_eq!(named, *file),
            other => panic!("{:?}", other.err()),
        }
        self.disk = self.disk.kill();
        let repaired = repair::repair_on(Arc::new(self.disk.clone()), TIME.get()).unwrap();
        self.restart();
        repaired
    }
}

#[test]
fn a_check_of_streams_counts_what_a_repair_would_undo() {
    let mut site = Site::with_streams();
    assert!(!site.examined().is_damaged());
    site.add(append("s", &["3"]));
    site.add(append("s", &["the damaged one"]));
    // What is in later segments is counted.
    site.at.writer.roll().unwrap();
    site.make(create("later"));
    site.add(Append { is_closing: true, ..append("s", &["4"]) });
    site.restart();
    let repaired = site.repair_at("the damaged one");
    let cut = repaired.cut.unwrap();
    // The message behind the damage, the creation and the closing.
    assert_eq!((cut.messages, cut.changes), (1, 2), "{cut:?}");
    assert!(!site.examined().is_damaged());
}

/// Streams are what they were before the damage, and their writers and readers continue.
#[test]
fn a_repair_returns_streams_to_where_they_were() {
    let mut site = Site::with_streams();
    site.add(by(append("s", &["3"]), 3, 1));
    let before = site.all();
    let tail = site.info("s").unwrap().tail;
    let lost = site.add(by(append("s", &["the damaged one"]), 3, 2)).tail;
    site.add(Append { is_closing: true, ..append("f", &[]) });
    site.ask(StreamOp::Delete(name("g"))).unwrap();
    site.make(create("gone"));
    site.restart();
    site.repair_at("the damaged one");
    assert_eq!(site.all(), before);
    assert_eq!(site.texts("s").0, ["1", "2", "3"]);
    assert_eq!(site.texts("f").0, ["1", "2"]);
    assert!(site.info("gone").is_err());
    let after = |cursor| Reader::open(site.at.bus.log(), &[name("s")], Since::After(cursor));
    assert_eq!(site.read(after(tail)), (vec![], false));
    assert!(site.read(after(lost)).1, "whoever has read what is lost gets a gap");
    // The source of `g` was deleted before.
    assert_eq!(site.refused(StreamOp::Create(create("source").into())), StreamError::NameTaken(name("source")));
    let gap = StreamError::SequenceGap { expected: 2, received: 3 };
    assert_eq!(site.refused(StreamOp::Append(by(append("s", &["x"]), 3, 3).into())), gap);
    let again = site.add(by(append("s", &["4"]), 3, 2)).tail;
    assert!(again > lost, "no position is used twice");
    site.restart();
    assert_eq!(site.texts("s").0, ["1", "2", "3", "4"]);
}

/// A copy that was made while retention wrote messages of streams again.
#[tokio::test]
async fn a_backup_under_load_has_the_streams() {
    let (directory, copy) = (Temporary::new(), Temporary::new());
    let bus = tools::open(&directory, 1 << 20);
    let ask = async |bus: &FileBus, op: StreamOp| bus.stream(op).await.unwrap();
    ask(&bus, StreamOp::Create(create("s").into())).await;
    for n in 0..8 {
        ask(&bus, StreamOp::Append(by(append("s", &[&n.to_string()]), 2, n).into())).await;
    }
    ask(&bus, StreamOp::Create(fork("a", "s", None).into())).await;
    ask(&bus, StreamOp::Create(create("z").into())).await;
    ask(&bus, StreamOp::Create(fork("y", "z", None).into())).await;
    ask(&bus, StreamOp::Delete(name("z"))).await;
    ask(&bus, StreamOp::Append(Append { is_closing: true, ..append("y", &[]) }.into())).await;
    let fill = async || {
        for _ in 0..1_200 {
            bus.publish(publication("c", &"x".repeat(1_000))).await.unwrap();
        }
    };
    fill().await;
    let (from, to) = (directory.0.clone(), copy.0.clone());
    let copying = tokio::task::spawn_blocking(move || back_up(&from, &to));
    fill().await;
    copying.await.unwrap().unwrap();
    assert!(!examine(&copy.0).unwrap().is_damaged());
    let copied = tools::open(&copy, 1 << 20);
    let expected: Vec<String> = (0..8).map(|n| format!("\"{n}\"")).collect();
    for channel in ["s", "a"] {
        assert_eq!(tools::texts(&copied, channel).await, expected, "{channel}");
    }
    for channel in ["s", "a", "y"] {
        let info = |bus: &FileBus| bus.stream_info(&name(channel), false).unwrap();
        assert_eq!(info(&copied), info(&bus), "{channel}");
    }
    let refused = async |op| match copied.stream(op).await {
        Err(BusError::Stream(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(StreamOp::Create(create("z").into())).await, StreamError::NameTaken(name("z")));
    let stale = StreamOp::Append(by(append("s", &["x"]), 1, 8).into());
    assert_eq!(refused(stale).await, StreamError::StaleEpoch { current: 2 });
    let again = copied.stream(StreamOp::Append(by(append("s", &["7"]), 2, 7).into())).await.unwrap();
    assert_eq!(again.outcome, Outcome::Repeated(Some(7)));
}
