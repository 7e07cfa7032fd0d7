use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Wake, Waker},
};

mod ends;
mod forks;

use super::*;
use crate::{
    live::{
        log::Limits,
        reader::{Limit, Reader},
    },
    pure::{
        Epoch, Payload, Retention, Since,
        stream::{Append, Create, Fork, Lifetime, Outcome, Producer, StreamRecord},
    },
};

const ALL: Limit = Limit { messages: 10_000, bytes: usize::MAX };
const START: u64 = 1_763_800_000_000;

fn log(streams: usize) -> Arc<Log> {
    let channel = Retention { count: Some(2), bytes: None, age_ms: Some(1_000) };
    let limits = Limits { channel, total: Some(10_000), streams: Some(streams), ..Limits::default() };
    Arc::new(Log::of_epoch(limits, Epoch::numbered(1), START))
}

fn name(text: &str) -> ChannelName {
    text.parse().unwrap()
}

fn create(channel: &str) -> Create {
    Create {
        channel: name(channel),
        content_type: Some("application/json".parse().unwrap()),
        lifetime: Lifetime::Unlimited,
        is_closed: false,
        payloads: Vec::new(),
        fork: None,
        user: None,
        owner: None,
    }
}

fn fork(channel: &str, source: &str, at: Option<Cursor>, sub: u64) -> Create {
    Create { content_type: None, fork: Some(Fork { source: name(source), at, sub }), ..create(channel) }
}

fn append(channel: &str, payloads: &[&str]) -> Append {
    Append {
        channel: name(channel),
        content_type: Some("application/json".parse().unwrap()),
        payloads: payloads.iter().map(|json| Payload::from_json(json.as_bytes()).unwrap()).collect(),
        seq: None,
        producer: None,
        is_closing: false,
        user: None,
    }
}

/// Does it at `ms` after the start.
fn at(log: &Log, ms: u64, op: StreamOp) -> Result<StreamReply, StreamError> {
    log.stream(op, START + ms)
}

fn make(log: &Log, create: Create) -> StreamInfo {
    at(log, 0, StreamOp::Create(create.into())).unwrap().info
}

fn add(log: &Log, channel: &str, payloads: &[&str]) -> StreamInfo {
    at(log, 0, StreamOp::Append(append(channel, payloads).into())).unwrap().info
}

fn delete(log: &Log, channel: &str) -> Result<StreamReply, StreamError> {
    at(log, 0, StreamOp::Delete(name(channel)))
}

fn publish(log: &Log, channel: &str, json: &str) -> Result<Cursor, StreamError> {
    let draft = Draft::new(name(channel), Payload::from_json(json.as_bytes()).unwrap());
    log.publish(vec![draft], START).map(|ids| ids[0])
}

/// The data after `since`, and whether there is a gap.
fn read(log: &Arc<Log>, channel: &str, since: Since) -> (String, bool) {
    let batch = Reader::open(log, &[name(channel)], since).with_copies().read(ALL);
    let is_gap = batch.as_ref().is_some_and(|batch| batch.gap.is_some());
    let messages = batch.into_iter().flat_map(|batch| batch.messages);
    (messages.map(|message| message.draft.payload.plain_json().into_owned()).collect(), is_gap)
}

fn all(log: &Arc<Log>, channel: &str) -> String {
    read(log, channel, Since::Earliest).0
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}
#[test]
fn a_stream_is_created_once_and_keeps_everything() {
    let log = log(100_000);
    let created = make(&log, create("s"));
    assert_eq!((created.tail, created.start), (created.created, created.created));
    for n in 0..10 {
        add(&log, "s", &[&n.to_string()]);
    }
    let tail = add(&log, "s", &["10", "11"]).tail;
    publish(&log, "other", "1").unwrap();
    let again = at(&log, 5_000, StreamOp::Create(create("s").into())).unwrap();
    assert_eq!((again.outcome, again.info.tail), (Outcome::Repeated(None), tail));
    while log.sweep(START + 100_000) || log.sweep_streams(START + 100_000) {}
    assert_eq!(all(&log, "s"), "01234567891011", "neither number nor age drops a message");
    assert_eq!(all(&log, "other"), "");
    assert_eq!(read(&log, "s", Since::After(tail)), (String::new(), false));
    assert_eq!(at(&log, 0, StreamOp::Append(append("t", &["1"]).into())), Err(StreamError::NotFound(name("t"))));
}

#[test]
fn a_message_that_is_published_to_the_channel_appears_in_the_stream() {
    let log = log(100_000);
    make(&log, create("s"));
    let id = publish(&log, "s", "1").unwrap();
    assert_eq!(log.stream_info(&name("s"), false, START).unwrap().tail, id);
    assert_eq!(all(&log, "s"), "1");
    let bytes = Create { content_type: None, ..create("bytes") };
    make(&log, bytes);
    assert!(matches!(publish(&log, "bytes", "1"), Err(StreamError::ContentType(_))));
    let closing = Append { is_closing: true, ..append("s", &["2"]) };
    let closed = at(&log, 0, StreamOp::Append(closing.into())).unwrap().info;
    assert!(closed.end > Some(closed.tail));
    assert_eq!(publish(&log, "s", "3"), Err(StreamError::Closed { tail: closed.tail }));
    assert_eq!(all(&log, "s"), "12");
}

/// Closing and deleting are seen by readers that wait.
#[test]
fn waiting_readers_are_woken_by_the_end() {
    let log = log(100_000);
    make(&log, create("s"));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let cx = Context::from_waker(&waker);
    let mut reader = Reader::open(&log, &[name("s")], Since::Now).with_copies();
    assert!(reader.poll_read(&cx, ALL).is_pending());
    at(&log, 0, StreamOp::Append(Append { is_closing: true, ..append("s", &[]) }.into())).unwrap();
    assert_eq!(wakes.0.load(Relaxed), 1);
    assert_eq!(reader.lifecycle().and_then(|it| it.end).map(|end| end.reason), Some(EndReason::Closed));
    assert!(reader.poll_read(&cx, ALL).is_pending() && reader.is_caught_up());
    delete(&log, "s").unwrap();
    assert_eq!(wakes.0.load(Relaxed), 2);
    assert_eq!(reader.lifecycle().and_then(|it| it.end).map(|end| end.reason), Some(EndReason::Deleted));
}

#[test]
fn a_deleted_stream_leaves_nothing_and_its_cursors_are_a_gap() {
    let log = log(100_000);
    make(&log, create("s"));
    let before = add(&log, "s", &["1", "2"]).tail;
    assert!(log.counts().stream_footprint > 0 && log.counts().streams == 1);
    delete(&log, "s").unwrap();
    assert_eq!((log.counts().stream_footprint, log.counts().streams, log.counts().messages), (0, 0, 0));
    assert_eq!(delete(&log, "s"), Err(StreamError::NotFound(name("s"))));
    let again = make(&log, create("s"));
    add(&log, "s", &["3"]);
    assert!(again.created > before);
    assert_eq!(read(&log, "s", Since::After(before)), ("3".into(), true));
    assert_eq!(read(&log, "s", Since::After(again.start)), ("3".into(), false));
}

#[test]
fn what_exceeds_the_budget_is_rejected_and_nothing_is_evicted() {
    let log = log(5_000);
    make(&log, create("s"));
    let full = StreamError::Full { limit: 5_000 };
    let appends = (0..100).take_while(|_| at(&log, 0, StreamOp::Append(append("s", &["1"]).into())).is_ok()).count();
    assert!((5..20).contains(&appends), "{appends}");
    assert_eq!(publish(&log, "s", "1"), Err(full.clone()));
    let streams = (0..100).take_while(|n| at(&log, 0, StreamOp::Create(create(&format!("s{n}")).into())).is_ok());
    assert_eq!(streams.count(), 0);
    assert_eq!(at(&log, 0, StreamOp::Create(fork("f", "s", None, 0).into())), Err(full));
    assert_eq!(all(&log, "s").len(), appends);
    for n in 0..100 {
        publish(&log, &format!("c{n}"), "1").unwrap();
    }
    assert_eq!(all(&log, "s").len(), appends, "other channels evict no message of a stream");
    delete(&log, "s").unwrap();
    make(&log, create("s0"));
}

/// One client cannot take all the memory of streams: at most as much as it leaves free. It took all of it, until somebody deleted its streams.
#[test]
fn the_streams_of_a_client_leave_as_much_as_they_take() {
    let log = log(100_000);
    let by = |owner: &str, channel: String| Create { owner: Some(owner.into()), ..create(&channel) };
    let fill = |owner: &str| {
        let make = |n: &i32| at(&log, 0, StreamOp::Create(by(owner, format!("{owner}{n}")).into()));
        let refused = (0..1_000).map(|n| make(&n)).find_map(Result::err).unwrap();
        assert_eq!(refused, StreamError::Share { limit: 100_000 });
        log.counts().stream_footprint
    };
    let first = fill("a");
    assert!((48_000..=51_000).contains(&first), "{first}");
    let second = fill("b") - first;
    assert!((23_000..=26_000).contains(&second), "{second}");
    // Whoever appends or publishes to a stream, its owner pays.
    assert_eq!(
        at(&log, 0, StreamOp::Append(append("a0", &["1"]).into())),
        Err(StreamError::Share { limit: 100_000 }),
        "less is free than it has"
    );
    assert_eq!(publish(&log, "a0", "1"), Err(StreamError::Share { limit: 100_000 }));
    at(&log, 0, StreamOp::Append(Append { is_closing: true, ..append("a0", &[]) }.into())).expect("it can be closed");
    make(&log, by("c", "c0".to_owned()));
    add(&log, "c0", &["1"]);
    make(&log, create("backend"));
    for owner in ["a", "b", "c"] {
        for n in 0..1_000 {
            if delete(&log, &format!("{owner}{n}")).is_err() {
                break;
            }
        }
    }
    delete(&log, "backend").unwrap();
    assert_eq!(log.counts().stream_footprint, 0);
    assert_eq!(fill("a"), first, "what was deleted does not count");
}

/// A million empty streams take memory, too.
#[test]
fn empty_streams_and_producers_count() {
    let log = log(100_000);
    let streams =
        (0..1_000).take_while(|n| at(&log, 0, StreamOp::Create(create(&format!("s{n}")).into())).is_ok()).count();
    assert!((50..120).contains(&streams), "{streams}");
    for n in 1..streams {
        delete(&log, &format!("s{n}")).unwrap();
    }
    let by = |n: u64| {
        let producer = Producer { id: format!("{n:0200}").into(), epoch: 0, seq: 0 };
        let append = Append { producer: Some(producer), is_closing: false, ..append("s0", &["1"]) };
        at(&log, 0, StreamOp::Append(append.into())).is_ok()
    };
    let producers = (0..1_000).take_while(|n| by(*n)).count();
    assert!((50..200).contains(&producers), "{producers}");
    assert!(log.counts().stream_footprint <= 100_000);
    delete(&log, "s0").unwrap();
    assert_eq!(log.counts().stream_footprint, 0);
}

#[test]
fn a_stream_with_a_lifetime_ends_when_nobody_uses_it() {
    let log = log(100_000);
    for channel in ["idle", "used", "until"] {
        let lifetime = if channel == "until" { Lifetime::Until(START + 3_000) } else { Lifetime::Idle(2) };
        make(&log, Create { lifetime, ..create(channel) });
    }
    let is_there = |channel: &str, ms, renews| log.stream_info(&name(channel), renews, START + ms).is_ok();
    assert!(is_there("idle", 1_999, false) && is_there("used", 1_999, true) && is_there("until", 2_999, true));
    while log.sweep_streams(START + 2_000) {}
    assert_eq!(log.counts().streams, 2, "without any request");
    assert!(is_there("used", 3_998, false) && !is_there("used", 3_999, false) && !is_there("until", 3_000, false));
    assert_eq!(log.counts().streams, 0);
    make(&log, Create { lifetime: Lifetime::Idle(3_600), ..create("long") });
    delete(&log, "long").unwrap();
    assert!(log.writer.lock().streams.due.is_empty(), "nothing is left of a deleted one");
    make(&log, Create { lifetime: Lifetime::Idle(0), ..create("zero") });
    assert!(!is_there("zero", 0, false));
    let mut reader = Reader::open(&log, &[name("read")], Since::Now);
    make(&log, Create { lifetime: Lifetime::Until(START + 3_000), ..create("read") });
    while log.sweep_streams(START + 3_000) {}
    assert_eq!(reader.lifecycle().and_then(|it| it.end).map(|end| end.reason), Some(EndReason::Expired));
    assert!(reader.read(ALL).is_some_and(|batch| batch.gap.is_none() && batch.end.is_some()), "nothing was lost");
}

/// Only the beginning of a request counted as a use, so a quiet stream ended while it was read.
#[test]
fn a_stream_that_is_read_is_in_use() {
    let log = log(100_000);
    make(&log, Create { lifetime: Lifetime::Idle(2), ..create("s") });
    let reader = Reader::open(&log, &[name("s")], Since::Now);
    for ms in [2_000, 4_000, 60_000] {
        assert!(!log.sweep_streams(START + ms), "it is checked once");
        assert_eq!(log.counts().streams, 1, "{ms}");
    }
    drop(reader);
    while log.sweep_streams(START + 61_999) {}
    assert!(log.stream_info(&name("s"), false, START + 61_999).is_ok(), "from then on");
    while log.sweep_streams(START + 62_000) {}
    assert_eq!(log.counts().streams, 0);
}

/// A loaded log has messages of a stream that was deleted before its checkpoint. When another one got the name after that, they stayed in memory, and
/// the process looked for them for ever when it needed space.
#[test]
fn a_stream_of_a_loaded_log_begins_without_what_its_channel_had() {
    let (before, log) = (log(100_000), log(100_000));
    at(&before, 100, StreamOp::Create(create("s").into())).unwrap();
    let Some(StreamRecord::Saved(created)) = before.saved_streams(START.into()).pop() else { panic!("no stream") };
    let draft = Draft::new(name("s"), Payload::from_text("old"));
    let old = Message::new(Cursor::new(START + 50, 0), draft);
    log.apply(vec![Change::Message(old), Change::stream(StreamRecord::Create(created))], START + 100).unwrap();
    assert_eq!((log.counts().messages, log.counts().streams), (0, 1));
    assert!(Reader::open(&log, &[name("s")], Since::Earliest).read(ALL).is_none());
}

#[test]
fn a_stream_that_is_created_again_is_in_use() {
    let log = log(100_000);
    let idle = Create { lifetime: Lifetime::Idle(2), ..create("s") };
    make(&log, idle.clone());
    at(&log, 1_500, StreamOp::Create(idle.into())).unwrap();
    assert!(log.stream_info(&name("s"), false, START + 3_499).is_ok());
    assert!(log.stream_info(&name("s"), false, START + 3_500).is_err());
}

#[test]
fn a_stream_that_is_closed_without_a_message_is_in_use() {
    let log = log(100_000);
    make(&log, Create { lifetime: Lifetime::Idle(2), ..create("s") });
    at(&log, 1_500, StreamOp::Append(Append { is_closing: true, ..append("s", &[]) }.into())).unwrap();
    assert!(log.stream_info(&name("s"), false, START + 3_499).is_ok());
    assert!(log.stream_info(&name("s"), false, START + 3_500).is_err());
}

/// A slice of the sweep ended 256 streams, whatever they stored.
#[test]
fn a_sweep_ends_few_streams_of_many_messages_at_once() {
    let log = log(10_000_000);
    let many = vec!["1"; MAX_ENDED];
    for channel in ["a", "b", "c"] {
        make(&log, Create { lifetime: Lifetime::Idle(2), ..create(channel) });
        add(&log, channel, &many);
    }
    let mut left = Vec::new();
    while log.sweep_streams(START + 2_000) {
        left.push(log.counts().streams);
    }
    assert_eq!((left, log.counts().streams), (vec![2, 1], 0));
}
