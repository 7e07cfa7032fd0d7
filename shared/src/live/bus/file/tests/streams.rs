//! Streams on the disk: everything acknowledged is there after each end of the process, and no limit of messages removes any of it.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::*;
use crate::pure::{
    Retention,
    stream::{
        Append, Create, Fork, Lifetime, Outcome, Producer, StreamError, StreamInfo, StreamOp, StreamRecord, StreamReply,
    },
};

mod crash;
mod full;
mod lifetime;
mod maintenance;
mod retention;
mod tools;

thread_local! {
    static TIME: Cell<u64> = const { Cell::new(START) };
}

/// A bus whose clock is set by its test, and its disk.
struct Site {
    disk: SimulatedDisk,
    at: Simulated,
    total: Option<u64>,
}

fn open(disk: &SimulatedDisk, total: Option<u64>) -> Result<Simulated, OpenError> {
    let options = FileOptions { total, purge_within: Duration::from_secs(10), ..FileOptions::default() };
    let channel = Retention { count: Some(3), bytes: None, age_ms: Some(3_600_000) };
    let limits = Limits { channel, total: Some(4_000), streams: Some(1 << 20), ..Limits::default() };
    let clock = || {
        TIME.set(TIME.get() + 1);
        TIME.get().into()
    };
    let (bus, writer) = FileBus::on(Arc::new(disk.clone()), options, 4_096, limits, clock)?;
    Ok(Simulated { bus, writer })
}

fn name(text: &str) -> ChannelName {
    text.parse().unwrap()
}

fn create(channel: &str) -> Create {
    Create {
        channel: name(channel),
        content_type: "application/json".parse().ok(),
        lifetime: Lifetime::Unlimited,
        is_closed: false,
        payloads: Vec::new(),
        fork: None,
        user: None,
        owner: None,
    }
}

fn append(channel: &str, texts: &[&str]) -> Append {
    Append {
        channel: name(channel),
        content_type: "application/json".parse().ok(),
        payloads: texts.iter().map(|text| Payload::from_text(text)).collect(),
        seq: None,
        producer: None,
        is_closing: false,
        user: None,
    }
}

fn fork(channel: &str, source: &str, at: Option<Cursor>) -> Create {
    Create { content_type: None, fork: Some(Fork { source: name(source), at, sub: 0 }), ..create(channel) }
}

fn by(append: Append, epoch: u64, seq: u64) -> Append {
    Append { producer: Some(Producer { id: "p".into(), epoch, seq }), ..append }
}

impl Site {
    fn new(total: Option<u64>) -> Self {
        TIME.set(START);
        let disk = SimulatedDisk::new();
        let at = open(&disk, total).unwrap();
        Self { disk, at, total }
    }

    /// The process is killed, and starts again.
    fn restart(&mut self) {
        self.disk = self.disk.kill();
        self.at = open(&self.disk, self.total).unwrap();
    }

    /// Runs the writer, and the reads of older messages, until there is an answer.
    fn ask(&mut self, op: StreamOp) -> Result<StreamReply, BusError> {
        let Simulated { bus, writer } = &mut self.at;
        let bus = &*bus;
        let mut answer = pin!(bus.change_stream(op));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            if let Poll::Ready(answer) = answer.as_mut().poll(&mut context) {
                return answer;
            }
            if !bus.archive.serve_one() {
                writer.round(&bus.queue, Some(Duration::ZERO));
            }
        }
        panic!("there is no answer");
    }

    fn make(&mut self, create: Create) -> StreamInfo {
        self.ask(StreamOp::Create(create.into())).unwrap().info
    }

    fn add(&mut self, append: Append) -> StreamInfo {
        self.ask(StreamOp::Append(append.into())).unwrap().info
    }

    fn refused(&mut self, op: StreamOp) -> StreamError {
        match self.ask(op) {
            Err(BusError::Stream(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    fn info(&self, channel: &str) -> Result<StreamInfo, BusError> {
        self.at.bus.stream_info(&name(channel), false)
    }

    /// The texts of a stream, and whether there was a gap.
    fn texts(&self, channel: &str) -> (Vec<String>, bool) {
        self.read(Reader::open(self.at.bus.log(), &[name(channel)], Since::Earliest).with_copies())
    }

    fn read(&self, mut reader: Reader) -> (Vec<String>, bool) {
        let context = Context::from_waker(Waker::noop());
        let (mut texts, mut is_gap) = (Vec::new(), false);
        for _ in 0..1_000 {
            match reader.poll_stored(&context, Limit { messages: 3, bytes: usize::MAX }) {
                Poll::Pending => self.at.bus.archive.serve_next(),
                Poll::Ready(None) => return (texts, is_gap),
                Poll::Ready(Some(batch)) => {
                    is_gap |= batch.gap.is_some();
                    texts.extend(batch.messages.iter().map(|message| {
                        let text = message.draft.payload.plain_json();
                        serde_json::from_str::<String>(&text).unwrap()
                    }));
                }
            }
        }
        panic!("the reader does not end");
    }

    /// Everything that is known of all streams, except for when they were used.
    fn all(&self) -> Vec<String> {
        let saved = self.at.bus.log().saved_streams(TIME.get().into()).into_iter();
        let without_use = |record: StreamRecord| {
            let mut json: serde_json::Value = serde_json::from_slice(&record.encode()).unwrap();
            json["state"]["used_ms"].take();
            json.to_string()
        };
        saved.map(without_use).collect()
    }
}

/// Everything that a stream has, with producers, epochs, `Stream-Seq`, closings, forks, names in use and owners.
#[test]
fn a_restart_changes_nothing() {
    let mut site = Site::new(None);
    let ttl = Lifetime::Idle(60);
    let owner = Some("owner".into());
    let made = site.make(Create { lifetime: ttl, owner, payloads: vec![Payload::from_text("first")], ..create("a") });
    site.add(by(append("a", &["1", "2"]), 3, 0));
    let tail = site.add(Append { seq: Some("s1".into()), ..by(append("a", &["3"]), 3, 1) }).tail;
    site.make(create("deleted"));
    site.add(append("deleted", &["secret"]));
    site.make(fork("f", "a", Some(tail)));
    site.make(fork("g", "f", None));
    site.add(append("f", &["of f"]));
    let bytes = Create { content_type: Some("text/plain".parse().unwrap()), ..create("bytes") };
    site.make(bytes);
    let data = vec![Payload::from_bytes(bytes::Bytes::from_static(b"\x00\xff"))];
    site.add(Append { payloads: data, content_type: "text/plain".parse().ok(), ..append("bytes", &[]) });
    site.add(Append { is_closing: true, ..by(append("f", &["last"]), 0, 0) });
    site.ask(StreamOp::Delete(name("deleted"))).unwrap();
    // Its name stays in use.
    site.ask(StreamOp::Delete(name("a"))).unwrap();
    let before = site.all();
    let counts = site.at.bus.log().counts();
    for _ in 0..3 {
        site.restart();
        assert_eq!(site.all(), before);
        let after = site.at.bus.log().counts();
        assert_eq!((after.streams, after.stream_footprint), (counts.streams, counts.stream_footprint));
        assert_eq!(site.at.bus.log().head(), site.at.bus.log().head().max(made.created));
        assert_eq!(site.texts("f"), (["first", "1", "2", "3", "of f", "last"].map(str::to_owned).to_vec(), false));
        assert_eq!(site.texts("g"), (["first", "1", "2", "3"].map(str::to_owned).to_vec(), false));
        assert_eq!(site.refused(StreamOp::Create(create("a").into())), StreamError::NameTaken(name("a")));
        let closed = site.info("f").unwrap();
        assert_eq!(
            site.refused(StreamOp::Append(append("f", &["x"]).into())),
            StreamError::Closed { tail: closed.tail }
        );
        let again = site.ask(StreamOp::Append(Append { is_closing: true, ..by(append("f", &["last"]), 0, 0) }.into()));
        assert_eq!(again.unwrap().outcome, Outcome::Repeated(Some(0)));
        let mut reader = Reader::open(site.at.bus.log(), &[name("bytes")], Since::Earliest);
        let batch = reader.read(Limit::default()).unwrap();
        assert_eq!(batch.messages[0].draft.payload.bytes().unwrap()[..], b"\x00\xff"[..]);
        assert!(site.info("deleted").is_err());
        assert_eq!(site.texts("deleted").0, [""; 0]);
    }
    let next = site.make(create("deleted")).created;
    assert!(Some(next) > site.info("f").unwrap().end, "no position is used twice");
}

#[test]
fn a_producer_continues_after_a_restart() {
    let mut site = Site::new(None);
    site.make(create("s"));
    site.add(Append { seq: Some("b".into()), ..by(append("s", &["1"]), 3, 0) });
    site.restart();
    let ask = |append: Append| StreamOp::Append(append.into());
    assert_eq!(site.ask(ask(by(append("s", &["1"]), 3, 0))).unwrap().outcome, Outcome::Repeated(Some(0)));
    assert_eq!(site.refused(ask(by(append("s", &["x"]), 2, 0))), StreamError::StaleEpoch { current: 3 });
    let gap = StreamError::SequenceGap { expected: 1, received: 2 };
    assert_eq!(site.refused(ask(by(append("s", &["x"]), 3, 2))), gap);
    let seq = Append { seq: Some("a".into()), ..append("s", &["x"]) };
    assert_eq!(site.refused(ask(seq)), StreamError::Seq { last: "b".into() });
    site.add(by(append("s", &["2"]), 3, 1));
    site.restart();
    assert_eq!(site.texts("s").0, ["1", "2"]);
}

/// The memory has no message of the channel any more, and the disk has.
#[test]
fn a_channel_with_messages_on_disk_cannot_become_a_stream() {
    let mut site = Site::new(None);
    site.at.publish(publication("c", "old")).unwrap();
    for n in 0..40 {
        site.at.publish(publication(&format!("other{}", n % 7), &"x".repeat(300))).unwrap();
    }
    assert_eq!(site.at.bus.log().channel_stats(&name("c")).messages, 0);
    let create_c = || StreamOp::Create(create("c").into());
    assert_eq!(site.refused(create_c()), StreamError::ChannelInUse(name("c")));
    site.restart();
    assert_eq!(site.refused(create_c()), StreamError::ChannelInUse(name("c")));
    // Any channel may have lost some, as far as is known.
    let head = site.at.bus.log().head();
    let change = |segments: &mut catalog::Segments| {
        let oldest = segments.removed.oldest;
        Arc::make_mut(&mut segments.removed).lose(oldest, head);
    };
    change(&mut site.at.bus.catalog.segments.lock());
    assert_eq!(site.refused(create_c()), StreamError::ChannelInUse(name("c")));
    let (_, states) = site.at.bus.plan_purge(name("c"));
    site.at.publish(Publication::of_states(states)).unwrap();
    site.ask(create_c()).unwrap();
    site.make(create("unknown"));
}

/// A purge of a stream, and of a fork that has copies alone.
#[test]
fn a_purged_stream_stays_empty() {
    let mut site = Site::new(None);
    site.make(create("s"));
    site.add(append("s", &["secret 1", "secret 2"]));
    site.make(fork("f", "s", None));
    for channel in ["s", "f"] {
        let (_, states) = site.at.bus.plan_purge(name(channel));
        site.at.publish(Publication::of_states(states)).unwrap();
    }
    site.add(append("s", &["3"]));
    for _ in 0..2 {
        assert_eq!((site.texts("s").0, site.texts("f").0), (vec!["3".to_owned()], vec![]));
        site.restart();
    }
    // The bytes leave the disk.
    TIME.set(TIME.get() + 20_000);
    purges::erase(&mut site.at).unwrap();
    assert_eq!(purges::occurrences(&site.disk, "secret"), 0, "no file has it");
    site.restart();
    assert_eq!((site.texts("s").0, site.texts("f").0), (vec!["3".to_owned()], vec![]));
}

/// The position of the next message went back to that of the newest one that was not purged.
#[test]
fn the_tail_of_a_stream_remains_when_its_last_messages_are_erased() {
    let mut site = Site::new(None);
    site.make(create("s"));
    let tail = site.add(append("s", &["secret"])).tail;
    let (purge, states) = site.at.bus.plan_purge(name("s"));
    site.at.publish(Publication::of_states(states)).unwrap();
    let before = site.all();
    // The process ends before anything is written to the new segment.
    site.at.writer.roll().unwrap();
    purge::erase(&site.at.bus.catalog, &[purge], &purge::Left::default(), &AtomicBool::new(false)).unwrap();
    assert_eq!(purges::occurrences(&site.disk, "secret"), 0);
    site.restart();
    assert_eq!((site.all(), site.info("s").unwrap().tail), (before, tail));
}

/// A start refused the whole log, and a repair would have cut everything after it.
#[test]
fn damage_in_an_old_segment_costs_the_streams_that_it_concerns() {
    let mut site = Site::new(None);
    site.make(create("damaged"));
    site.make(create("whole"));
    let mut first = None;
    for n in 0..4 {
        let tail = site.add(append("damaged", &[&format!("{n} {}", "y".repeat(700))])).tail;
        first.get_or_insert(tail);
    }
    site.at.writer.roll().unwrap();
    for n in 0..60 {
        site.add(append("damaged", &[&format!("later {n}")]));
        site.add(append("whole", &[&format!("{n} {}", "x".repeat(200))]));
    }
    let (later, whole) = (site.texts("damaged").0.split_off(4), site.texts("whole"));
    let at = purges::place(&site.disk, &segment::file_name(1), "\"2 y").unwrap();
    // The start does not look for idempotency keys there.
    TIME.set(TIME.get() + 100_000_000);
    site.disk.kill().damage(&segment::file_name(1), |bytes| bytes[at] ^= 1);
    for _ in 0..2 {
        site.restart();
        assert_eq!(site.texts("whole"), whole);
        let after = Since::After(first.unwrap());
        let read = site.read(Reader::open(site.at.bus.log(), &[name("damaged")], after));
        assert_eq!(read, (later.clone(), true), "a gap says that something is missing");
    }
}

/// Messages that were written again are older than all others beside them.
#[test]
fn damage_in_what_was_written_again_is_a_gap() {
    let mut site = Site::new(Some(120_000));
    site.make(create("s"));
    let texts: Vec<String> = (0..12).map(|n| format!("<{n}> {}", "s".repeat(60))).collect();
    let first = site.add(append("s", &[&texts[0]])).tail;
    texts[1..].iter().for_each(|text| drop(site.add(append("s", &[text]))));
    let fill = |site: &mut Site| {
        for n in 0..300 {
            site.at.publish(publication(&format!("other{}", n % 7), &"x".repeat(400))).unwrap();
            site.at.check();
        }
    };
    fill(&mut site);
    assert_eq!(site.texts("s").0, texts);
    site.at.writer.roll().unwrap();
    site.add(append("s", &["later"]));
    let places = |name: &String| Some((name.clone(), purges::place(&site.disk, name, &texts[5])?));
    let places: Vec<(String, usize)> = site.disk.list().unwrap().iter().filter_map(places).collect();
    assert!(places.iter().all(|(name, _)| *name != segment::file_name(1)), "they were written again: {places:?}");
    TIME.set(TIME.get() + 100_000_000);
    for (name, at) in &places {
        site.disk.kill().damage(name, |bytes| bytes[*at] ^= 1);
    }
    site.restart();
    let read = site.read(Reader::open(site.at.bus.log(), &[name("s")], Since::After(first)));
    assert_eq!(read, (vec!["later".to_owned()], true));
}
