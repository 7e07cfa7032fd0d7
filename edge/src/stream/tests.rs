//! Streams polled by hand, under a clock that moves only when told.

use std::{future::poll_fn, sync::Arc};

use shared::{
    live::log::{Limits as LogLimits, Log},
    pure::{ChannelName, Cursor, Draft, Payload, Retention, Since, Wire, stream::StreamEnd},
};

use super::*;
use crate::{
    limits::Limits,
    metrics::{Metrics, Transport},
    settings::ServiceDefaults,
};

const START: u64 = 1_763_800_000_000;

/// One letter for each thing that a stream says.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Letters {
    opening: &'static str,
}

impl Form for Letters {
    fn opening(&self, _: Option<Cursor>) -> Bytes {
        Bytes::from_static(self.opening.as_bytes())
    }

    fn with_message<R>(&self, message: &Message, with: impl FnOnce(&Bytes) -> R) -> R {
        message.with_wire(Wire::Line, |message| message.draft.payload.plain_json().into_owned().into(), with)
    }

    fn pieces(&self, message: &Arc<Message>) -> Pieces {
        message.data_pieces(Vec::new(), Vec::new())
    }

    fn gap(&self, _: &Gap) -> Bytes {
        Bytes::from_static(b"G")
    }

    fn end(&self, _: &StreamEnd, _: Cursor) -> Bytes {
        Bytes::from_static(b"E")
    }

    fn keep_alive(&self) -> Bytes {
        Bytes::from_static(b"K")
    }

    fn closing(&self) -> Bytes {
        Bytes::from_static(b"C")
    }
}

struct Bench {
    log: Arc<Log>,
    metrics: Arc<Metrics>,
    limits: Limits,
}

impl Bench {
    fn new(count: Option<usize>) -> Self {
        let service = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
        let settings = Settings::from_sources(&service, [], []).unwrap();
        let metrics = Arc::new(Metrics::new("test", "0"));
        let channel = Retention { count, ..Retention::default() };
        let log = Log::new(LogLimits { channel, ..LogLimits::default() }, Cursor::new(START, 0));
        Self { log: Arc::new(log), limits: Limits::new(&settings, metrics.clone()), metrics }
    }

    fn channel() -> ChannelName {
        "c".parse().unwrap()
    }

    fn publish(&self, count: u64) {
        let draft = |n| Draft::new(Self::channel(), Payload::from_value(&n));
        self.log.append((0..count).map(draft).collect(), START + 1);
    }

    fn stream(&self, opening: &'static str, times: StreamSchedule) -> Pin<Box<Stream<Letters>>> {
        let reader = Reader::open(&self.log, &[Self::channel()], Since::After(Cursor::ZERO));
        let slot = self.limits.connect([127, 0, 0, 1].into(), Transport::Sse).unwrap();
        Box::pin(Stream::new(reader, Letters { opening }, slot, times))
    }
}

async fn next(stream: &mut Pin<Box<Stream<Letters>>>) -> Option<String> {
    let chunk = poll_fn(|cx| stream.as_mut().poll_next(cx)).await;
    chunk.map(|chunk| match chunk {
        Ok(chunk) => String::from_utf8(chunk.to_vec()).unwrap(),
    })
}

const EVERY_15_S: StreamSchedule = StreamSchedule { keep_alive: Duration::from_secs(15), end: None };

#[tokio::test(start_paused = true)]
async fn says_something_at_once_and_then_all_there_is_in_one_chunk() {
    let bench = Bench::new(None);
    bench.publish(3);
    let mut stream = bench.stream("O", EVERY_15_S);
    assert_eq!(next(&mut stream).await.as_deref(), Some("O"));
    assert_eq!(next(&mut stream).await.as_deref(), Some("012"));
    assert_eq!(bench.metrics.transport(Transport::Sse).deliveries.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_gap_comes_before_what_is_after_it() {
    let bench = Bench::new(Some(2));
    bench.publish(4);
    let mut stream = bench.stream("", EVERY_15_S);
    assert_eq!(next(&mut stream).await.as_deref(), Some("G23"), "and an opening of nothing is no chunk");
    assert_eq!(bench.metrics.transport(Transport::Sse).gaps.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_keep_alive_is_sent_after_silence_since_the_last_write() {
    let bench = Bench::new(None);
    let mut stream = bench.stream("O", EVERY_15_S);
    next(&mut stream).await;
    let begun = Instant::now();
    assert_eq!(next(&mut stream).await.as_deref(), Some("K"));
    assert_eq!(begun.elapsed().as_secs(), 15);
    tokio::time::sleep(Duration::from_secs(10)).await;
    bench.publish(1);
    assert_eq!(next(&mut stream).await.as_deref(), Some("0"));
    let spoken = Instant::now();
    assert_eq!(next(&mut stream).await.as_deref(), Some("K"));
    assert_eq!(spoken.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn ends_in_its_time_even_when_there_is_always_something_to_say() {
    let bench = Bench::new(None);
    let end = Some(Instant::now() + Duration::from_secs(20));
    let mut stream = bench.stream("O", StreamSchedule { end, ..EVERY_15_S });
    let mut said = String::new();
    while let Some(chunk) = next(&mut stream).await {
        said += &chunk;
        bench.publish(1);
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(said, "O000C");
}

#[tokio::test(start_paused = true)]
async fn ends_with_its_log_after_the_last_message() {
    let bench = Bench::new(None);
    let mut stream = bench.stream("O", EVERY_15_S);
    next(&mut stream).await;
    bench.publish(1);
    bench.log.close();
    assert_eq!(next(&mut stream).await.as_deref(), Some("0"));
    assert_eq!(next(&mut stream).await.as_deref(), Some("C"));
    assert_eq!(next(&mut stream).await, None);
    assert_eq!(bench.limits.connections(), 1);
    drop(stream);
    assert_eq!(bench.limits.connections(), 0, "the place is given back with the stream");
}

#[test]
fn many_that_began_together_do_not_end_together() {
    let ends: Vec<_> = (0..1_000).map(|_| jittered(Duration::from_secs(600)).as_secs()).collect();
    assert!(ends.iter().all(|end| (480..=720).contains(end)));
    assert!(ends.iter().max().unwrap() - ends.iter().min().unwrap() > 200);
    assert!((0..1_000).all(|_| (2_000..=4_000).contains(&Retry::draw().millis())));
}

/// Case 5.2: what a stalled stream keeps is a few KiB, since it takes no more from the log at a time, and one message.
#[tokio::test(start_paused = true)]
async fn a_stream_takes_little_at_a_time() {
    let bench = Bench::new(None);
    let payload = Payload::from_text(&"x".repeat(500));
    bench.log.append((0..200).map(|_| Draft::new(Bench::channel(), payload.clone())).collect(), START + 1);
    let mut stream = bench.stream("", StreamSchedule { keep_alive: Duration::from_secs(15), end: None });
    let (mut left, mut longest) = (200 * payload.plain_json().len(), 0);
    while left > 0 {
        let chunk = next(&mut stream).await.unwrap();
        left -= chunk.len();
        longest = longest.max(chunk.len());
    }
    assert!(longest <= BATCH.bytes + payload.plain_json().len(), "{longest} bytes");
}

/// A stalled stream kept the whole form of a message of any size, which nothing counted.
#[tokio::test(start_paused = true)]
async fn a_long_message_is_sent_in_pieces_and_then_what_follows() {
    let bench = Bench::new(Some(3));
    let draft = |json: String| Draft::new(Bench::channel(), Payload::from_json(json.as_bytes()).unwrap());
    let long = format!("\"{}\"", "x".repeat(1 << 20));
    bench.log.append(["0", "1", &long, "2"].map(|json| draft(json.to_owned())).into(), START + 1);
    let mut stream =
        bench.stream("O", StreamSchedule { end: Some(Instant::now() + Duration::from_secs(20)), ..EVERY_15_S });
    bench.log.close();
    let (mut said, mut longest) = (String::new(), 0);
    while let Some(chunk) = next(&mut stream).await {
        longest = longest.max(chunk.len());
        said += &chunk;
    }
    assert!(said == format!("OG1{long}2C"), "{} bytes", said.len());
    assert!(longest <= 32 * 1024, "{longest} bytes");
}
