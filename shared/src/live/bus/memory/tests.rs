use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;
use crate::{
    live::{
        bus::{IdempotencyKey, contract, digest},
        clock::Moment,
        reader::{Limit, Reader},
    },
    pure::{
        Draft, Payload, Since,
        stream::{Create, Lifetime, StreamOp},
    },
};

const START: u64 = 1_763_800_000_000;

fn bus(clock: Clock) -> Arc<MemoryBus> {
    Arc::new(MemoryBus::new(Limits::default(), clock))
}

fn publication(key: &str) -> Publication {
    let key = IdempotencyKey { scope: String::new(), key: key.into() };
    Publication::new(vec![Draft::new("c".parse().unwrap(), Payload::from_text("x"))]).with_key(Some(key))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let bus = bus(Moment::now);
    contract::suite(|| std::future::ready(bus.clone() as Arc<dyn Bus>)).await;
    contract::streams(bus.clone() as Arc<dyn Bus>).await;
}

#[tokio::test]
async fn keeps_the_contract_when_the_clock_stands_still() {
    let bus = bus(|| START.into());
    contract::suite(|| std::future::ready(bus.clone() as Arc<dyn Bus>)).await;
}

/// Case 7.4: by the clock that never steps; the time of day may be set forward and back meanwhile.
#[test]
fn a_key_expires_after_five_minutes() {
    static TIME: AtomicU64 = AtomicU64::new(START);
    static MONO: AtomicU64 = AtomicU64::new(1_000);
    let bus = bus(|| Moment { time_ms: TIME.load(Relaxed), mono_ms: MONO.load(Relaxed) });
    let first = bus.publish_now(publication("k")).unwrap();
    let again = Published { is_repeat: true, ..first.clone() };
    MONO.fetch_add(200, Relaxed);
    TIME.fetch_add(301_000, Relaxed);
    assert_eq!(bus.publish_now(publication("k")).unwrap(), again, "the clock was set forward");
    TIME.fetch_sub(900_000, Relaxed);
    MONO.fetch_add(299_799, Relaxed);
    assert_eq!(bus.publish_now(publication("k")).unwrap(), again, "and back");
    MONO.fetch_add(1, Relaxed);
    let later = bus.publish_now(publication("k")).unwrap();
    assert!(later.ids != first.ids && !later.is_repeat);
    assert_eq!(bus.keys().keys, 1);
}

#[test]
fn a_rejected_publication_keeps_no_key() {
    let bus = bus(|| START.into());
    let create = Create {
        channel: "c".parse().unwrap(),
        content_type: None,
        lifetime: Lifetime::Unlimited,
        is_closed: true,
        payloads: Vec::new(),
        fork: None,
        user: None,
        owner: None,
    };
    bus.log.stream(StreamOp::Create(create.into()), START).unwrap();
    assert!(bus.publish_now(publication("k")).is_err(), "the stream is closed");
    assert_eq!(bus.keys().keys, 0);
}

/// Case 10.3: what is known is answered, and what has no room is refused with the time after which it has.
#[test]
fn keys_are_refused_rather_than_forgotten_early() {
    let bus = MemoryBus::new(Limits::default(), || START.into()).with_key_bytes(1_000);
    bus.publish_now(publication("first")).unwrap();
    let refused = (0..9).find_map(|n| bus.publish_now(publication(&n.to_string())).err());
    assert_eq!(refused, Some(BusError::Keys { retry_after: Duration::from_secs(300) }));
    assert!(bus.keys().bytes <= 1_000 && bus.keys().keys < 9);
    assert!(bus.publish_now(publication("first")).unwrap().is_repeat, "what is known is still answered");
    assert!(bus.publish_now(Publication { key: None, ..publication("") }).is_ok());
    let other = IdempotencyKey { scope: "other".into(), key: "1".into() };
    assert!(bus.publish_now(Publication { key: Some(other), ..publication("") }).is_ok(), "another has its share");
}

/// Case 10.5: nothing that takes a time which the client chooses happens while the keys are locked.
#[test]
fn a_digest_is_computed_before_the_lock() {
    let bus = bus(|| START.into());
    let held = bus.answers.lock();
    std::thread::scope(|scope| {
        let (started, has_digest) = std::sync::mpsc::channel();
        scope.spawn(|| {
            digest::notify(started);
            bus.publish_now(publication("k")).unwrap();
        });
        has_digest.recv_timeout(Duration::from_secs(20)).expect("the digest is there while the lock is held");
        drop(held);
    });
    assert_eq!(bus.keys().keys, 1);
}

#[test]
fn a_sweep_removes_expired_keys() {
    static MONO: AtomicU64 = AtomicU64::new(START);
    let bus = bus(|| MONO.load(Relaxed).into());
    for n in 0..10_000 {
        bus.publish_now(publication(&n.to_string())).unwrap();
    }
    assert!(!bus.sweep() && bus.keys().keys == 10_000);
    MONO.fetch_add(300_000, Relaxed);
    let mut slices = 1;
    while bus.sweep() {
        slices += 1;
    }
    assert_eq!((bus.keys(), slices), (KeyStats::default(), 10_000_usize.div_ceil(4_096)));
}

/// Case 7.6: a cursor of before 2001 means "from the beginning", so no id is one.
#[test]
fn ids_never_begin_before_2001() {
    let bus = bus(|| 5_000.into());
    let first = bus.publish_now(Publication { key: None, ..publication("") }).unwrap().ids[0];
    assert!(first.is_issued() && bus.log().head().is_issued(), "{first}");
    let mut reader = Reader::open(bus.log(), &["c".parse().unwrap()], Since::After(first));
    assert!(reader.read(Limit::default()).is_none(), "the cursor is after the message");
}

/// Case 7.1: two processes, the second one's clock behind.
#[test]
fn a_cursor_of_the_previous_process_is_a_gap() {
    static TIME: AtomicU64 = AtomicU64::new(START + 4_000);
    let clock = || TIME.load(Relaxed).into();
    let start = |number| MemoryBus::of_epoch(Limits::default(), clock, Epoch::numbered(number));
    let publish = |bus: &MemoryBus| bus.publish_now(Publication { key: None, ..publication("") }).unwrap().ids[0];
    let cursor = publish(&start(1));
    TIME.store(START, Relaxed);
    let bus = start(2);
    let mut sent: Vec<_> = (0..3).map(|_| publish(&bus)).collect();
    TIME.store(START + 10_000, Relaxed);
    sent.push(publish(&bus));
    let mut reader = Reader::open(bus.log(), &["c".parse().unwrap()], Since::After(cursor));
    let batch = reader.read(Limit::default()).unwrap();
    assert_eq!(batch.gap.map(|gap| gap.requested), Some(cursor));
    assert_eq!(batch.messages.iter().map(|message| message.id).collect::<Vec<_>>(), sent);
}
