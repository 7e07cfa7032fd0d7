//! By tokio's clock, which is paused and goes on by itself when nothing else is to be done.

use std::{future::poll_fn, net::Ipv4Addr, sync::Arc};

use super::*;
use crate::{
    edge::{
        limits::Limits,
        metrics::{Metrics, Transport},
        settings::ServiceDefaults,
    },
    live::log::{self, Log},
    pure::{Cursor, Draft, Payload, Since, message::Wire},
};

/// Nothing to say at the opening and at the end, as lines of JSON have it.
struct Plain;

impl Form for Plain {
    fn opening(&self) -> Bytes {
        Bytes::new()
    }

    fn message<'a>(&self, message: &'a Message) -> &'a Bytes {
        message.wire(Wire::RawLine, |message| message.draft.payload.plain_json().into_owned().into())
    }

    fn gap(&self, gap: &Gap) -> Bytes {
        format!("gap {} ", gap.requested).into()
    }

    fn keep_alive(&self) -> Bytes {
        Bytes::from_static(b".")
    }

    fn closing(&self) -> Bytes {
        Bytes::new()
    }
}

fn publish(log: &Log, json: &str) {
    log.append(vec![Draft::new("c".parse().unwrap(), Payload::from_json(json.as_bytes()).unwrap())], 1);
}

fn stream(log: &Arc<Log>, since: Since, end: Option<Duration>) -> Stream<Plain> {
    const SERVICE: ServiceDefaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
    let limits = Limits::new(&Settings::from_sources(&SERVICE, [], []).unwrap(), Arc::new(Metrics::new("test", "0")));
    let slot = limits.connect(Ipv4Addr::LOCALHOST.into(), Transport::Stream).unwrap();
    let times = Times { keep_alive: Duration::from_secs(15), end: end.map(|end| Instant::now() + end) };
    Stream::new(Reader::open(log, &["c".parse().unwrap()], since), Plain, slot, times)
}

fn new_log(count: Option<usize>) -> Arc<Log> {
    let mut limits = log::Limits::default();
    limits.channel.count = count;
    Arc::new(Log::new(limits, Cursor::ZERO))
}

/// The next chunk, and the seconds since the beginning.
async fn next(stream: &mut Stream<Plain>, begun: Instant) -> (Option<String>, u64) {
    let chunk = poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await;
    let chunk = chunk.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap());
    assert_ne!(chunk.as_deref(), Some(""), "an empty chunk would end the body");
    (chunk, begun.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn silence_is_counted_from_what_was_written_last() {
    let (log, begun) = (new_log(None), Instant::now());
    let mut stream = stream(&log, Since::Now, None);
    assert_eq!(next(&mut stream, begun).await, (Some(".".into()), 15));
    assert_eq!(next(&mut stream, begun).await, (Some(".".into()), 30));
    let publisher = {
        let log = log.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            publish(&log, "1");
            tokio::time::sleep(Duration::from_secs(14)).await;
            publish(&log, "2");
        })
    };
    assert_eq!(next(&mut stream, begun).await, (Some("1".into()), 40));
    assert_eq!(next(&mut stream, begun).await, (Some("2".into()), 54));
    assert_eq!(next(&mut stream, begun).await, (Some(".".into()), 69));
    publisher.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_ends_on_time_between_signs_of_life() {
    let (log, begun) = (new_log(None), Instant::now());
    let mut stream = stream(&log, Since::Now, Some(Duration::from_secs(40)));
    assert_eq!(next(&mut stream, begun).await, (Some(".".into()), 15));
    assert_eq!(next(&mut stream, begun).await, (Some(".".into()), 30));
    assert_eq!(next(&mut stream, begun).await, (None, 40));
    assert_eq!(next(&mut stream, begun).await, (None, 40), "and stays ended");
}

/// A reader that always finds something never waits, and a token would never expire for it.
#[tokio::test(start_paused = true)]
async fn it_ends_on_time_however_busy_it_is() {
    let (log, begun) = (new_log(None), Instant::now());
    let mut stream = stream(&log, Since::Now, Some(Duration::from_secs(5)));
    let mut chunks = 0;
    loop {
        publish(&log, "1");
        match next(&mut stream, begun).await {
            (Some(_), _) => chunks += 1,
            (None, seconds) => break assert_eq!((chunks, seconds), (5, 5)),
        }
        assert!(chunks < 100, "it goes on for ever");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_gathered_goes_out_at_once_and_the_end_after_it() {
    let (log, begun) = (new_log(Some(3)), Instant::now());
    publish(&log, "1");
    let since = Since::After(log.head());
    for json in ["2", "3", "4", "5", "6"] {
        publish(&log, json);
    }
    let mut stream = stream(&log, since, None);
    log.close();
    assert_eq!(next(&mut stream, begun).await, (Some("gap 1-0 456".into()), 0));
    assert_eq!(next(&mut stream, begun).await, (None, 0));
    let figures = stream.slot.figures();
    assert_eq!((figures.deliveries.get(), figures.gaps.get()), (3, 1));
}

#[test]
fn draws_lie_within_their_bounds_and_differ() {
    let ages: Vec<_> = (0..200).map(|_| jittered(Duration::from_secs(600)).as_secs()).collect();
    assert!(ages.iter().all(|age| (480..=720).contains(age)));
    assert!(ages.iter().any(|age| *age < 560) && ages.iter().any(|age| *age > 640));
    let retries: Vec<_> = (0..200).map(|_| Retry::draw().millis()).collect();
    assert!(retries.iter().all(|millis| (2_000..=4_000).contains(millis)));
    assert!(retries.iter().any(|millis| *millis < 2_700) && retries.iter().any(|millis| *millis > 3_300));
}
