use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Wake, Waker},
};

use super::*;
use crate::{
    live::{
        log::Limits,
        reader::{Limit, Reader},
    },
    pure::{
        Epoch, Payload, Retention, Since,
        stream::{Create, Fork, Lifetime},
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
    let mut reader = Reader::open(&log, &[name("s")], Since::Now);
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
    assert!(reader.read(ALL).is_some_and(|batch| batch.gap.is_some()), "what it had is gone");
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
fn a_fork_has_the_beginning_of_its_source_under_the_same_ids() {
    let log = log(100_000);
    let start = make(&log, create("s")).start;
    let first = add(&log, "s", &["1"]).tail;
    let last = add(&log, "s", &["2", "3"]).tail;
    let whole = make(&log, fork("whole", "s", None, 0));
    assert_eq!((whole.start, whole.tail), (start, last));
    assert_eq!(make(&log, fork("part", "s", Some(first), 1)).tail.ms, last.ms);
    assert_eq!(make(&log, fork("none", "s", Some(Cursor::ZERO), 0)).tail, start);
    add(&log, "s", &["4"]);
    add(&log, "part", &["5"]);
    assert_eq!(["s", "whole", "part", "none"].map(|channel| all(&log, channel)), ["1234", "123", "125", ""]);
    assert_eq!(read(&log, "whole", Since::After(first)), ("23".into(), false));
    let refused = |create: Create| at(&log, 0, StreamOp::Create(create.into())).unwrap_err();
    assert_eq!(refused(fork("f", "s", Some(first), 4)), StreamError::ForkSubOffset);
    assert_eq!(refused(fork("f", "s", Some(Cursor::MAX), 0)), StreamError::ForkOffset);
    assert_eq!(refused(fork("f", "nobody", None, 0)), StreamError::NoSource(name("nobody")));
    let again = at(&log, 0, StreamOp::Create(fork("whole", "s", None, 0).into())).unwrap();
    assert_eq!(again.outcome, Outcome::Repeated(None), "although the source has gone on");
}

#[test]
fn a_fork_of_bytes_may_end_within_an_append() {
    let log = log(100_000);
    let bytes = |text: &'static str| vec![Payload::from_bytes(text.into())];
    make(&log, Create { content_type: None, payloads: bytes("hello"), ..create("s") });
    let text = |channel: &str| {
        let batch = Reader::open(&log, &[name(channel)], Since::Earliest).with_copies().read(ALL).unwrap();
        let bytes = batch.messages.iter().flat_map(|message| message.draft.payload.bytes().unwrap().to_vec());
        String::from_utf8(bytes.collect()).unwrap()
    };
    make(&log, Create { payloads: bytes("XY"), ..fork("f", "s", Some(Cursor::ZERO), 3) });
    make(&log, fork("g", "f", Some(Cursor::ZERO), 2));
    make(&log, fork("h", "s", Some(Cursor::ZERO), 5));
    assert_eq!(["f", "g", "h"].map(text), ["helXY", "he", "hello"]);
    let beyond = at(&log, 0, StreamOp::Create(fork("i", "s", Some(Cursor::ZERO), 6).into()));
    assert_eq!(beyond, Err(StreamError::ForkSubOffset));
    // A part is counted by its length, so it does not keep the memory of the rest.
    let address = |channel: &str| {
        let batch = Reader::open(&log, &[name(channel)], Since::Earliest).with_copies().read(ALL).unwrap();
        batch.messages[0].draft.payload.bytes().unwrap().as_ptr().addr()
    };
    let whole = address("s");
    assert!(!(whole..whole + 5).contains(&address("f")));
}

#[test]
fn the_name_of_a_deleted_source_is_free_after_its_last_fork() {
    let log = log(100_000);
    make(&log, create("a"));
    add(&log, "a", &["1"]);
    make(&log, fork("b", "a", None, 0));
    make(&log, fork("c", "b", None, 0));
    delete(&log, "a").unwrap();
    delete(&log, "b").unwrap();
    let gone = Err(StreamError::Gone(name("a")));
    assert_eq!(delete(&log, "a"), gone);
    assert_eq!(log.stream_info(&name("a"), false, START), Err(StreamError::Gone(name("a"))));
    // Whoever could read a stream could block its channel by a fork, after its end.
    publish(&log, "a", "1").unwrap();
    let taken = Err(StreamError::NameTaken(name("a")));
    assert_eq!(at(&log, 0, StreamOp::Create(create("a").into())), taken);
    let refork = at(&log, 0, StreamOp::Create(fork("d", "a", None, 0).into()));
    assert_eq!(refork, Err(StreamError::SourceGone(name("a"))));
    assert_eq!(all(&log, "c"), "1");
    delete(&log, "c").unwrap();
    assert_eq!(log.stream_info(&name("a"), false, START), Err(StreamError::NotFound(name("a"))));
    assert_eq!((log.counts().stream_footprint, log.counts().messages), (0, 1));
    assert_eq!(at(&log, 0, StreamOp::Create(create("a").into())), Err(StreamError::ChannelInUse(name("a"))));
}

/// Every fork copied its source before it was rejected: as many at once as there are workers.
#[test]
fn the_memory_of_a_fork_is_reserved_before_it_copies() {
    let log = log(100_000);
    make(&log, create("s"));
    while log.counts().stream_footprint < 40_000 {
        add(&log, "s", &["1"]);
    }
    let before = log.counts();
    let (first, second) = (fork("f", "s", None, 0), fork("g", "s", None, 0));
    let inherited = log.inherited(&first, START.into()).unwrap();
    assert!(log.counts().stream_footprint > 75_000, "it counts before it exists");
    let full = StreamError::Full { limit: 100_000 };
    assert_eq!(log.inherited(&second, START.into()).err(), Some(full.clone()), "no second one is copied meanwhile");
    let info = log.try_fork(&first, inherited, START.into()).unwrap().unwrap().info;
    assert_eq!(info.tail, log.stream_info(&name("s"), false, START).unwrap().tail);
    assert_eq!(log.counts().messages, 2 * before.messages);
    delete(&log, "f").unwrap();
    let after = log.counts();
    assert_eq!(
        (after.messages, after.bytes, after.stream_footprint),
        (before.messages, before.bytes, before.stream_footprint),
        "all of it was released"
    );
    // One that is rejected in the end releases its memory, too.
    let inherited = log.inherited(&first, START.into()).unwrap();
    delete(&log, "s").unwrap();
    let gone = StreamError::SourceGone(name("s"));
    assert_eq!(log.try_fork(&first, inherited, START.into()), Some(Err(gone)));
    assert_eq!((log.counts().stream_footprint, log.counts().messages), (0, 0));
}

/// A fork that exists is found. When it was deleted in between, it was created without its source: empty, and its deletion counted a fork too much.
#[test]
fn a_fork_that_is_deleted_while_it_is_created_again_looks_at_its_source() {
    let log = log(100_000);
    make(&log, create("s"));
    add(&log, "s", &["1"]);
    let again = fork("f", "s", None, 0);
    make(&log, again.clone());
    let inherited = log.inherited(&again, START.into()).unwrap();
    assert!(inherited.is_none(), "it exists");
    delete(&log, "f").unwrap();
    assert_eq!(log.try_fork(&again, inherited, START.into()), None);
    make(&log, again);
    assert_eq!(all(&log, "f"), "1");
    delete(&log, "f").unwrap();
    delete(&log, "s").unwrap();
    assert_eq!((log.counts().streams, log.counts().stream_footprint), (0, 0));
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

/// Two channels had messages under the same ids: a reader of both that was cut between them never got the second, nor did one that reconnected there.
#[test]
fn only_readers_of_one_stream_get_copies() {
    let log = log(100_000);
    make(&log, create("s"));
    let first = add(&log, "s", &["1"]).tail;
    add(&log, "s", &["2"]);
    let mut waiting = Reader::open(&log, &[name("f")], Since::After(first));
    make(&log, fork("f", "s", None, 0));
    let own = add(&log, "f", &["3"]).tail;
    add(&log, "s", &["4"]);
    let mut reader = Reader::open(&log, &[name("s"), name("f")], Since::Earliest);
    let (mut ids, mut texts) = (Vec::new(), String::new());
    while let Some(batch) = reader.read(Limit { messages: 1, ..ALL }) {
        ids.extend(batch.messages.iter().map(|message| message.id));
        texts.extend(batch.messages.iter().map(|message| message.draft.payload.plain_json().into_owned()));
    }
    assert!(texts == "1234" && ids.is_sorted_by(|a, b| a < b), "{texts} {ids:?}");
    let ids = |messages: &[Arc<Message>]| messages.iter().map(|message| message.id).collect::<Vec<_>>();
    assert_eq!(ids(&waiting.read(ALL).unwrap().messages), [own]);
    assert_eq!(ids(&log.latest(&name("f"), 10, Cursor::MAX)), [own]);
    assert_eq!(log.newest(&[name("f")]).map(|message| message.id), Some(own));
    let stats = log.channel_stats(&name("f"));
    assert_eq!((stats.messages, stats.oldest, stats.newest), (1, Some(own), Some(own)));
    assert_eq!(all(&log, "f"), "123");
}

/// A fork forgot what its channel, and its source, had lost.
#[test]
fn a_fork_remembers_what_was_lost() {
    let log = log(100_000);
    make(&log, create("f"));
    let lost = add(&log, "f", &["0"]).tail;
    add(&log, "f", &["1"]);
    delete(&log, "f").unwrap();
    make(&log, create("s"));
    let purged = add(&log, "s", &["2"]).tail;
    add(&log, "s", &["3"]);
    log.purge(&name("s"));
    let at_purge = log.stream_info(&name("s"), false, START).unwrap().tail;
    add(&log, "s", &["4"]);
    make(&log, fork("f", "s", None, 0));
    add(&log, "f", &["5"]);
    let of_channel = Reader::open(&log, &[name("f")], Since::After(lost)).read(ALL).unwrap();
    assert!(of_channel.gap.is_some(), "of the stream before");
    assert_eq!(read(&log, "f", Since::After(purged)), ("45".into(), true), "of the source");
    assert_eq!(read(&log, "f", Since::After(at_purge)), ("45".into(), false));
    make(&log, fork("g", "s", Some(purged), 0));
    assert_eq!(read(&log, "g", Since::After(purged)), (String::new(), false), "nothing after it is lost");
}

/// With the last fork of a long chain, all the deleted ones before it were forgotten at once, under the lock of every publication.
#[test]
fn a_long_chain_of_deleted_forks_is_forgotten_in_slices() {
    let log = log(1_000_000);
    make(&log, create("s0"));
    let last = 2 * SLICE + 1;
    for n in 0..last {
        make(&log, fork(&format!("s{}", n + 1), &format!("s{n}"), None, 0));
        delete(&log, &format!("s{n}")).unwrap();
    }
    delete(&log, &format!("s{last}")).unwrap();
    let left = || log.writer.lock().streams.entries.len();
    assert_eq!(left(), last + 1 - SLICE);
    assert!(log.sweep_streams(START));
    assert!(!log.sweep_streams(START));
    assert_eq!((left(), log.counts().stream_footprint), (0, 0));
}
