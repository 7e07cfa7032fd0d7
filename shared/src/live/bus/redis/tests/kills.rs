//! Redis is killed in the middle of operations on streams, and started again with its file.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::{
    live::bus::{
        BusError,
        contract::{append, create},
    },
    pure::stream::{Append, Create, Fork, Producer, StreamError, StreamOp},
};

const WRITERS: usize = 4;
/// Redis is killed each time that so many operations more were acknowledged.
const ACKNOWLEDGED: usize = 30;
/// The operations on a stream, one after the other: it is created with two messages, gets two more twice and two with its closing, and is deleted.
const STEPS: usize = 5;

/// A stream as far as its writer knows.
struct Written {
    name: String,
    /// How many operations were acknowledged.
    done: usize,
    /// Whether the next one may have been made.
    is_unknown: bool,
}

/// Makes an operation on a stream: `step` counts from 0.
async fn make(bus: &RedisBus, name: &str, step: usize) -> Result<(), BusError> {
    let op = match step {
        0 if name.ends_with("fork") => {
            let fork = Some(Fork { source: channel("source"), at: None, sub: 0 });
            StreamOp::Create(Create { fork, ..create(name) }.into())
        }
        0 => {
            let payloads = vec![Payload::from_value(&0), Payload::from_value(&1)];
            StreamOp::Create(Create { payloads, ..create(name) }.into())
        }
        4 => StreamOp::Delete(channel(name)),
        _ => {
            let producer = Some(Producer { id: "p".into(), epoch: 0, seq: step as u64 - 1 });
            let append = append(name, &[2 * step, 2 * step + 1]);
            StreamOp::Append(Append { producer, is_closing: step == 3, ..append }.into())
        }
    };
    bus.stream(op).await.map(drop)
}

/// Writes streams until enough were acknowledged.
async fn write(
    bus: Arc<RedisBus>,
    writer: usize,
    acknowledged: Arc<AtomicUsize>,
    most: usize,
    may_lose: bool,
) -> Vec<Written> {
    let mut all = Vec::new();
    while acknowledged.load(Ordering::Relaxed) < most {
        ready(&bus).await;
        let kind = if all.len() % 3 == 0 { "fork" } else { "new" };
        let mut written = Written { name: format!("{writer}.{}.{kind}", all.len()), done: 0, is_unknown: false };
        // Each second one is kept.
        let steps = STEPS - all.len() % 2;
        while written.done < steps {
            match make(&bus, &written.name, written.done).await {
                Ok(()) => written.done += 1,
                Err(BusError::Unavailable(_)) => break,
                Err(BusError::Unknown(_)) => {
                    written.is_unknown = true;
                    break;
                }
                Err(BusError::Stream(_)) if may_lose => break,
                Err(error) => panic!("{}: {error}", written.name),
            }
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        all.push(written);
    }
    all
}

/// How many operations on a stream are in the log; no operation is there in part. None, and all, leave nothing.
async fn made(bus: &RedisBus, name: &str) -> usize {
    let info = match bus.stream_info(&channel(name), false) {
        Err(BusError::Stream(StreamError::NotFound(_))) => return 0,
        info => info.unwrap(),
    };
    let mut reader = Reader::open(bus.log(), &[channel(name)], Since::Earliest).with_copies();
    let mut messages = Vec::new();
    while let Some(batch) = reader.stored(Limit::default()).await {
        assert!(batch.gap.is_none(), "{name}");
        messages.extend(batch.messages.iter().map(|message| message.draft.payload.plain_json().into_owned()));
    }
    let expected: Vec<_> = (0..messages.len()).map(|n| n.to_string()).collect();
    assert_eq!((messages.len() % 2, &messages), (0, &expected), "{name}");
    assert_eq!(info.end.is_some(), messages.len() == 8, "{name}");
    messages.len() / 2
}

/// With `always` nothing that was acknowledged is lost. With `everysec`, a killed Redis may lose what it had not written yet because of a busy disk.
async fn trial(fsync: &str, kills: usize) {
    let may_lose = fsync != "always";
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", fsync], "redis://").await;
    let buses = [Arc::new(connect(&server.url()).await), Arc::new(connect(&server.url()).await)];
    make(&buses[0], "source", 0).await.unwrap();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let most = ACKNOWLEDGED * (kills + 1);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(buses[writer % 2].clone(), writer, acknowledged.clone(), most, may_lose)))
        .collect();
    for kill in 1..=kills {
        until("so many are acknowledged", || acknowledged.load(Ordering::Relaxed) >= ACKNOWLEDGED * kill).await;
        server.kill();
        server.run().await;
    }
    let mut all = Vec::new();
    for writer in writers {
        all.extend(writer.await.unwrap());
    }
    let [one, other] = &buses;
    let late = connect(&server.url()).await;
    ready(one).await;
    ready(other).await;
    one.publish(publication("last", 0)).await.unwrap();
    let head = || one.log().head();
    until("all have read it", || other.log().head() >= head() && late.log().head() >= head()).await;
    for Written { name, done, is_unknown } in &all {
        let found = made(one, name).await;
        if !may_lose {
            let is_as_acknowledged = found == done % STEPS || *is_unknown && found == (done + 1) % STEPS;
            assert!(is_as_acknowledged, "{name}: {found}, and {done} were acknowledged (unknown: {is_unknown})");
        }
        for bus in [other, &late] {
            assert_eq!(made(bus, name).await, found, "{name}");
            assert_eq!(bus.stream_info(&channel(name), false), one.stream_info(&channel(name), false), "{name}");
        }
    }
    // The writers continue, on the other process: what was made already is a repetition.
    for Written { name, done, .. } in &all {
        let found = made(&late, name).await;
        if found > 0 || *done < STEPS {
            for step in found.saturating_sub(1)..STEPS {
                make(&late, name, step).await.unwrap_or_else(|error| panic!("{name}, {step}: {error}"));
            }
        }
    }
    make(&late, "source", 4).await.unwrap();
    for key in [scripts::STREAMS, scripts::STREAM_RECORDS, scripts::STREAM_USES] {
        assert_eq!(server.count(&["EXISTS", key]).await, 0, "{key}");
    }
    let journals: Vec<String> =
        redis::from_redis_value(server.command(&["KEYS", "{trident:log}:stream:*"]).await).unwrap();
    for journal in journals {
        // Of a fork that was not created: it expires.
        let ttl: i64 = redis::from_redis_value(server.command(&["PTTL", &journal]).await).unwrap();
        assert!(ttl > 0, "{journal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_has_all_that_it_acknowledged_of_streams() {
    trial("always", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_has_no_operation_in_part() {
    trial("everysec", 1).await;
}
