use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::{
    live::bus::contract,
    pure::{Draft, Payload},
};

fn bus(clock: Clock) -> Arc<MemoryBus> {
    Arc::new(MemoryBus::new(Limits::default(), clock))
}

fn publication(key: &str) -> Publication {
    let key = IdempotencyKey { scope: String::new(), key: key.into() };
    Publication { drafts: vec![Draft::new("c".parse().unwrap(), Payload::from_text("x"))], key: Some(key) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let bus = bus(wall_clock);
    contract::suite(|| std::future::ready(bus.clone() as Arc<dyn Bus>)).await;
}

#[tokio::test]
async fn keeps_the_contract_when_the_clock_stands_still() {
    let bus = bus(|| 1_763_800_000_000);
    contract::suite(|| std::future::ready(bus.clone() as Arc<dyn Bus>)).await;
}

#[test]
fn a_key_is_free_again_after_five_minutes() {
    static NOW: AtomicU64 = AtomicU64::new(1_763_800_000_000);
    let bus = bus(|| NOW.load(Ordering::Relaxed));
    let first = bus.publish_now(publication("k")).unwrap();
    NOW.fetch_add(299_999, Ordering::Relaxed);
    assert_eq!(bus.publish_now(publication("k")).unwrap(), Published { is_repeat: true, ..first.clone() });
    NOW.fetch_add(1, Ordering::Relaxed);
    let later = bus.publish_now(publication("k")).unwrap();
    assert!(later.ids != first.ids && !later.is_repeat);
    assert_eq!(bus.answers.lock().given.len(), 1);
}

#[test]
fn keys_are_refused_rather_than_forgotten_early() {
    let bus = bus(wall_clock);
    bus.publish_now(publication("first")).unwrap();
    bus.answers.lock().bytes = Answers::MOST_BYTES;
    assert_eq!(bus.publish_now(publication("second")), Err(BusError::Keys));
    assert!(bus.publish_now(publication("first")).is_ok(), "what is known is still answered");
    assert!(bus.publish_now(Publication { key: None, ..publication("") }).is_ok());
}
