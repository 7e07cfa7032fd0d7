//! Streams on several processes, and what is left of them when processes, Redis or the log begin again.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::{
    live::bus::{
        BusError,
        contract::{append, create},
        redis::streams::{Site, settle},
    },
    pure::stream::{
        Append, Create, Fork, Lifetime, Outcome, Producer, StreamError, StreamInfo, StreamOp, StreamRecord, StreamReply,
    },
};

fn by(append: Append, seq: u64) -> Append {
    Append { producer: Some(Producer { id: "p".into(), epoch: 0, seq }), ..append }
}

fn fork(name: &str, source: &str) -> Create {
    Create { fork: Some(Fork { source: channel(source), at: None, sub: 0 }), ..create(name) }
}

async fn make(bus: &RedisBus, create: Create) -> StreamInfo {
    bus.stream(StreamOp::Create(create.into())).await.unwrap().info
}

/// Makes many streams at the same time.
async fn make_all(bus: &RedisBus, all: Vec<Create>) {
    let all = all.into_iter().map(|create| make(bus, create));
    futures_util::future::join_all(all).await;
}

async fn try_add(bus: &RedisBus, append: Append) -> Result<StreamReply, BusError> {
    bus.stream(StreamOp::Append(append.into())).await
}

async fn add(bus: &RedisBus, append: Append) -> StreamInfo {
    try_add(bus, append).await.unwrap().info
}

async fn delete(bus: &RedisBus, name: &str) {
    bus.stream(StreamOp::Delete(channel(name))).await.unwrap();
}

/// What a stream has, and whether there is a gap from its start on.
async fn data(bus: &RedisBus, name: &str) -> (Vec<String>, bool) {
    let info = bus.stream_info(&channel(name), false).unwrap();
    let mut reader = Reader::open(bus.log(), &[channel(name)], Since::After(info.start)).with_copies();
    let (mut data, mut is_gap) = (Vec::new(), false);
    while let Some(batch) = reader.stored(Limit::default()).await {
        is_gap |= batch.gap.is_some();
        data.extend(batch.messages.iter().map(|message| message.draft.payload.plain_json().into_owned()));
    }
    (data, is_gap)
}

fn numbers(range: std::ops::Range<usize>) -> (Vec<String>, bool) {
    (range.map(|n| n.to_string()).collect(), false)
}

/// Waits until `other` has read what `bus` has.
async fn follow(other: &RedisBus, bus: &RedisBus) {
    until("it has read as much", || other.log().head() >= bus.log().head()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_agree_on_one_stream() {
    let server = Server::start().await;
    let (one, other) = (Arc::new(connect(&server.url()).await), Arc::new(connect(&server.url()).await));
    make(&one, create("s")).await;
    // Also a process that has not read of the stream decides about it as it is.
    add(&other, by(append("s", &[0]), 0)).await;
    assert_eq!(try_add(&one, by(append("s", &[0]), 0)).await.unwrap().outcome, Outcome::Repeated(Some(0)));
    let mut readers = [&one, &other].map(|bus| Reader::open(bus.log(), &[channel("s")], Since::Earliest));
    let writers: Vec<_> = [&one, &other, &one, &other]
        .into_iter()
        .enumerate()
        .map(|(writer, bus)| {
            let bus = bus.clone();
            tokio::spawn(async move {
                for n in 0..25 {
                    let data = [100 * writer + n];
                    match n % 3 {
                        0 => drop(bus.publish(publication("s", data[0])).await.unwrap()),
                        1 => drop(add(&bus, append("s", &data)).await),
                        _ => {
                            let producer = Producer { id: writer.to_string().into(), epoch: 0, seq: n as u64 / 3 };
                            let append = Append { producer: Some(producer), ..append("s", &data) };
                            assert_eq!(try_add(&bus, append).await.unwrap().outcome, Outcome::Done);
                        }
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let [here, there] = &mut readers;
    assert_eq!(take(here, 101).await, take(there, 101).await);
    // Of a closing and an append by another process, one is first.
    let closing = Append { is_closing: true, ..append("s", &[]) };
    let (closed, appended) = tokio::join!(try_add(&one, closing), try_add(&other, append("s", &[7])));
    let (closed, last) = (closed.unwrap().info, data(&one, "s").await.0.len());
    match appended {
        Ok(reply) => assert_eq!((reply.info.tail, last), (closed.tail, 102)),
        Err(BusError::Stream(StreamError::Closed { tail })) => assert_eq!((tail, last), (closed.tail, 101)),
        Err(error) => panic!("{error}"),
    }
    follow(&other, &one).await;
    assert_eq!(data(&other, "s").await, data(&one, "s").await);
    assert_eq!(other.stream_info(&channel("s"), false), one.stream_info(&channel("s"), false));
    let refused = other.publish(publication("s", 8)).await;
    assert!(matches!(refused, Err(BusError::Stream(StreamError::Closed { .. }))), "{refused:?}");
}

/// The log is trimmed, so a process that starts has the streams from their journals.
#[tokio::test]
async fn streams_outlive_processes_redis_and_trimming() {
    let mut server = Server::kept().await;
    let before = {
        let (one, other) = (connect(&server.url()).await, connect(&server.url()).await);
        make(&one, Create { payloads: vec![Payload::from_value(&0)], ..create("a") }).await;
        for n in 1..40 {
            add(if n % 2 == 0 { &one } else { &other }, by(append("a", &[n]), n as u64 - 1)).await;
        }
        make(&one, fork("f", "a")).await;
        one.publish(publication("f", 40)).await.unwrap();
        add(&one, Append { seq: Some("s1".into()), is_closing: true, ..append("f", &[41]) }).await;
        delete(&other, "a").await;
        make(&other, create("gone")).await;
        add(&other, append("gone", &[1])).await;
        delete(&one, "gone").await;
        make(&one, create("purged")).await;
        add(&one, by(append("purged", &[1]), 0)).await;
        one.purge(channel("purged")).await.unwrap();
        add(&one, append("purged", &[2])).await;
        one.stream_info(&channel("f"), false).unwrap()
    };
    for is_trimmed in [false, true] {
        if is_trimmed {
            let last = connect(&server.url()).await.publish(publication("last", 1)).await.unwrap().ids[0];
            server.command(&["XTRIM", scripts::STREAM, "MINID", &last.to_string()]).await;
            server.command(&["SET", scripts::EDGE, &last.to_string()]).await;
        }
        server.kill();
        server.run().await;
        let bus = connect(&server.url()).await;
        assert_eq!(bus.stream_info(&channel("f"), false), Ok(before.clone()), "{is_trimmed}");
        assert_eq!(data(&bus, "f").await, numbers(0..42));
        assert_eq!(data(&bus, "purged").await, (vec!["2".to_owned()], true));
        assert_eq!(try_add(&bus, by(append("purged", &[1]), 0)).await.unwrap().outcome, Outcome::Repeated(Some(0)));
        let gone = |error| Err(BusError::Stream(error));
        assert_eq!(bus.stream_info(&channel("gone"), false), gone(StreamError::NotFound(channel("gone"))));
        assert_eq!(bus.log().channel_stats(&channel("gone")).messages, 0);
        assert_eq!(bus.stream_info(&channel("a"), false), gone(StreamError::Gone(channel("a"))));
        assert_eq!(bus.log().counts().streams, 2);
    }
    // With its last fork, the name of the source is free again, and nothing is left of either.
    let bus = connect(&server.url()).await;
    delete(&bus, "f").await;
    delete(&bus, "purged").await;
    make(&bus, create("a")).await;
    delete(&bus, "a").await;
    for key in [scripts::STREAMS, scripts::STREAM_RECORDS, scripts::STREAM_USES] {
        assert_eq!(server.count(&["EXISTS", key]).await, 0, "{key}");
    }
    let journals: Vec<String> =
        redis::from_redis_value(server.command(&["KEYS", "{trident:log}:stream:*"]).await).unwrap();
    assert_eq!(journals, [""; 0]);
}

/// The log has a fork that has ended since, and before one that has not: a process that starts reads it again, and took the source for older than it is. It could neither delete
/// the other fork nor make a new one.
#[tokio::test]
async fn a_process_that_starts_knows_what_forks_have_changed() {
    let server = Server::start().await;
    let bus = connect(&server.url()).await;
    make(&bus, create("source")).await;
    make(&bus, fork("ended", "source")).await;
    delete(&bus, "ended").await;
    make(&bus, fork("kept", "source")).await;
    let late = connect(&server.url()).await;
    make(&late, fork("new", "source")).await;
    for name in ["kept", "new", "source"] {
        delete(&late, name).await;
    }
}

/// A process that was disconnected while the log was trimmed misses nothing of a stream.
#[tokio::test]
async fn what_was_trimmed_while_a_process_was_away_is_loaded() {
    let server = Server::start().await;
    let proxy = proxy::Proxy::start(server.port()).await;
    let (here, away) = (connect(&server.url()).await, connect(&proxy.url()).await);
    make(&here, create("s")).await;
    make(&here, create("deleted")).await;
    add(&here, append("s", &[0])).await;
    follow(&away, &here).await;
    let mut reader = Reader::open(away.log(), &[channel("s")], Since::Earliest);
    take(&mut reader, 1).await;
    proxy.set(proxy::Way::Closed);
    until("it is away", || away.ready().is_err()).await;
    add(&here, by(append("s", &[1, 2]), 0)).await;
    delete(&here, "deleted").await;
    let last = here.publish(publication("last", 1)).await.unwrap().ids[0];
    server.command(&["XTRIM", scripts::STREAM, "MINID", &last.to_string()]).await;
    server.command(&["SET", scripts::EDGE, &last.to_string()]).await;
    proxy.set(proxy::Way::Open);
    ready(&away).await;
    let (ids, is_gap) = take(&mut reader, 2).await;
    assert_eq!((ids.len(), is_gap), (2, false));
    assert_eq!(data(&away, "s").await, numbers(0..3));
    assert!(away.stream_info(&channel("deleted"), false).is_err());
    assert_eq!(try_add(&away, by(append("s", &[1, 2]), 0)).await.unwrap().outcome, Outcome::Repeated(Some(0)));
}

/// After a failover to an earlier copy all processes have what Redis has, and readers of what was lost get a gap.
#[tokio::test]
async fn a_rollback_takes_streams_back() {
    let mut server = Server::kept().await;
    let bus = connect(&server.url()).await;
    make(&bus, create("s")).await;
    make(&bus, create("kept")).await;
    add(&bus, append("kept", &[0])).await;
    let kept = add(&bus, append("s", &[0])).await;
    let backup = server.backup();
    let lost = add(&bus, by(append("s", &[1]), 0)).await.tail;
    make(&bus, create("lost")).await;
    server.kill();
    until("the bus is away", || bus.ready().is_err()).await;
    server.set_back(&backup);
    server.run().await;
    ready(&bus).await;
    until("the stream is as in Redis", || bus.stream_info(&channel("s"), false) == Ok(kept.clone())).await;
    assert!(bus.stream_info(&channel("lost"), false).is_err());
    assert!(Reader::open(bus.log(), &[channel("s")], Since::After(lost)).is_gap());
    assert_eq!(data(&bus, "kept").await, numbers(0..1));
    let again = try_add(&bus, by(append("s", &[2]), 0)).await.unwrap();
    assert_eq!(again.outcome, Outcome::Done, "the producer's first request is lost");
    assert!(again.info.tail > lost);
}

/// A lifetime that depends on use ends on all processes, and a read on one of them renews it for all.
#[tokio::test]
async fn a_lifetime_is_renewed_and_ends_everywhere() {
    let server = Server::start().await;
    let (one, other) = (connect(&server.url()).await, connect(&server.url()).await);
    make(&one, Create { lifetime: Lifetime::Idle(1), ..create("used") }).await;
    make(&one, Create { lifetime: Lifetime::Idle(1), ..create("idle") }).await;
    follow(&other, &one).await;
    let created = Instant::now();
    // Longer than the lifetime, by reads of one process alone: the shortest lifetime is a second.
    while created.elapsed() < Duration::from_millis(1_500) {
        other.stream_info(&channel("used"), true).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for bus in [&one, &other] {
        assert!(bus.stream_info(&channel("idle"), false).is_err());
        assert!(bus.stream_info(&channel("used"), false).is_ok());
    }
    until("the end is in the log", || one.log().counts().streams == 1 && other.log().counts().streams == 1).await;
}

/// The uses of streams that are stored: when each entry was made, and the time that it has.
async fn renewals(server: &Server) -> Vec<(u64, u64)> {
    let redis::Value::Array(entries) = server.command(&["XRANGE", scripts::STREAM, "-", "+"]).await else { panic!() };
    let entries = entries.into_iter().map(|value| entry::read(value).unwrap());
    let renewal = |entry: entry::Entry| match entry.what {
        entry::What::Stream(record, _) => match *record {
            StreamRecord::Renew { time_ms, .. } => Some((entry.id.ms, time_ms)),
            _ => None,
        },
        _ => None,
    };
    entries.filter_map(renewal).collect()
}

/// Each process stored the use that it knew of, although another one had just done so.
#[tokio::test]
async fn use_is_stored_once_in_a_tenth_of_the_lifetime_whatever_number_of_processes_reads() {
    let server = Server::start().await;
    let buses = [connect(&server.url()).await, connect(&server.url()).await, connect(&server.url()).await];
    make(&buses[0], Create { lifetime: Lifetime::Idle(2), ..create("s") }).await;
    for bus in &buses {
        follow(bus, &buses[0]).await;
    }
    let s = channel("s");
    let renewals = loop {
        let used_at_once = buses.iter().map(|bus| {
            bus.stream_info(&s, true).unwrap();
            settle(Site { log: bus.log(), shared: &bus.shared }, &s)
        });
        futures_util::future::join_all(used_at_once).await.into_iter().for_each(|settled| settled.unwrap());
        let renewals = renewals(&server).await;
        if renewals.len() >= 4 {
            break renewals;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    for pair in renewals.windows(2) {
        let &[(_, used_ms), (made_ms, _)] = pair else { unreachable!() };
        // A tenth is 200 ms; the estimates that processes have of the clock of Redis may differ.
        assert!(made_ms >= used_ms + 150, "{renewals:?}");
    }
}

/// A source that was read before a fork of it was created, and a fork that was read after that: no append to the source was possible through that process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forks_that_are_created_while_a_process_starts_leave_their_sources_writable() {
    const SOURCES: usize = 600;
    const FORKING: usize = 8;
    let server = Server::start().await;
    let bus = Arc::new(connect(&server.url()).await);
    make_all(&bus, (0..SOURCES).map(|n| create(&format!("s{n}"))).collect()).await;
    for round in 0..3 {
        let is_started = Arc::new(AtomicBool::new(false));
        let forking: Vec<_> = (0..FORKING)
            .map(|at| {
                let (bus, is_started) = (bus.clone(), is_started.clone());
                tokio::spawn(async move {
                    for n in (at..).step_by(FORKING).take_while(|_| !is_started.load(Ordering::Relaxed)) {
                        make(&bus, fork(&format!("f{round}-{n}"), &format!("s{}", n % SOURCES))).await;
                    }
                })
            })
            .collect();
        let late = connect(&server.url()).await;
        is_started.store(true, Ordering::Relaxed);
        futures_util::future::join_all(forking).await;
        follow(&late, &bus).await;
        for n in 0..SOURCES {
            let appended = try_add(&late, append(&format!("s{n}"), &[round])).await;
            assert!(appended.is_ok(), "s{n} in round {round}: {appended:?}");
        }
    }
}

/// A fork at the end of a stream did not have what another process had acknowledged a moment before.
#[tokio::test]
async fn a_fork_has_what_any_process_has_acknowledged() {
    let server = Server::start().await;
    let (one, other) = (connect(&server.url()).await, connect(&server.url()).await);
    make(&one, create("s")).await;
    for n in 0..50 {
        add(&other, append("s", &[n])).await;
        make(&one, fork(&format!("f{n}"), "s")).await;
        assert_eq!(data(&one, &format!("f{n}")).await, numbers(0..n + 1));
    }
}

/// A fork that ends while a process reads streams, and whose creation is not in the log any more, changes its source without that process knowing.
#[tokio::test]
async fn what_a_process_does_not_know_of_a_stream_is_corrected() {
    let server = Server::start().await;
    let bus = connect(&server.url()).await;
    make(&bus, create("s")).await;
    for round in 0..4 {
        let id = publish(&bus, publication("other", round)).await.ids[0];
        let redis::Value::BulkString(index) = server.command(&["HGET", scripts::STREAMS, "s"]).await else {
            panic!("no text")
        };
        let index = String::from_utf8(index).unwrap();
        let changed = format!("{id} {}", index.split_once(' ').unwrap().1);
        server.command(&["HSET", scripts::STREAMS, "s", &changed]).await;
        match round {
            0 => drop(add(&bus, append("s", &[0])).await),
            1 => drop(publish(&bus, publication("s", 1)).await),
            2 => drop(make(&bus, fork("f", "s")).await),
            _ => drop(bus.purge(channel("s")).await.unwrap()),
        }
    }
}
