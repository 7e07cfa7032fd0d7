use std::{thread, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::settings::ServiceDefaults;

const SERVICE: ServiceDefaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };

fn limits(args: &[&str]) -> (Limits, Arc<Metrics>) {
    let settings = Settings::from_sources(&SERVICE, args.iter().copied(), []).unwrap();
    let metrics = Arc::new(Metrics::new("test", "0"));
    (Limits::new(&settings, metrics.clone()), metrics)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn places_are_taken_and_given_back() {
    let (limits, metrics) = limits(&["--max-connections", "3", "--max-connections-per-address", "2"]);
    let (a, b) = (address("1.1.1.1"), address("2.2.2.2"));
    let connect = |address| limits.connect(address, Transport::Sse);
    let first = connect(a).unwrap();
    let second = connect(a).unwrap();
    assert_eq!(connect(a).unwrap_err(), Refused::Address);
    let third = connect(b).unwrap();
    assert_eq!(connect(b).unwrap_err(), Refused::Total);
    assert_eq!(metrics.transport(Transport::Sse).connections.get(), 3);
    drop(first);
    // The place is free again, for this address and in all; the guard of this one is dropped at once.
    assert!(connect(a).is_ok());
    drop((second, third));
    assert_eq!((limits.connections(), metrics.transport(Transport::Sse).connections.get()), (0, 0));
    assert_eq!((metrics.refusals.connections.get(), metrics.refusals.connections_per_address.get()), (1, 1));
    assert!(limits.0.addresses.iter().all(|shard| shard.lock().unwrap().is_empty()), "nobody is remembered");
}

#[test]
fn an_ipv6_site_is_one_address() {
    let (limits, _) = limits(&["--max-connections-per-address", "1"]);
    let _held = limits.connect(address("2001:db8::1"), Transport::Sse).unwrap();
    assert!(limits.connect(address("2001:db8::ffff:2"), Transport::Sse).is_err());
    assert!(limits.connect(address("2001:db8:0:1::1"), Transport::Sse).is_ok());
}

#[test]
fn connections_have_a_rate_for_each_address() {
    let (limits, metrics) = limits(&["--connect-rate", "3"]);
    let connect = |text: &str| limits.connect(address(text), Transport::Sse);
    for _ in 0..3 {
        connect("2001:db8::1").unwrap();
    }
    let refused = connect("2001:db8::2").unwrap_err();
    assert!(matches!(refused, Refused::Rate { limit: 3, retry_after: 1..=2 }), "{refused:?}");
    assert!(
        matches!(ApiError::from(refused), ApiError::TooMany { .. }) && refused.to_string().contains("3 per second")
    );
    assert!(connect("2001:db8:0:1::1").is_ok(), "another address is not held up");
    assert_eq!((metrics.refusals.connect_rate.get(), limits.connections()), (1, 0));
}

#[test]
fn a_change_of_transport_moves_the_count() {
    let (limits, metrics) = limits(&[]);
    let mut slot = limits.connect(address("1.1.1.1"), Transport::Polling).unwrap();
    slot.change_transport(Transport::WebSocket);
    let count = |transport| metrics.transport(transport).connections.get();
    assert_eq!((count(Transport::Polling), count(Transport::WebSocket)), (0, 1));
    drop(slot);
    assert_eq!(count(Transport::WebSocket), 0);
}

#[test]
fn the_last_slot_goes_to_one_of_many() {
    let (limits, metrics) = limits(&["--max-connections", "50"]);
    let held: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let limits = &limits;
                scope.spawn(move || {
                    let address = address(&format!("1.1.1.{n}"));
                    let slots: Vec<_> = (0..100).filter_map(|_| limits.connect(address, Transport::Sse).ok()).collect();
                    let held = slots.len();
                    // Kept until every thread has tried.
                    std::mem::forget(slots);
                    held
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((held, limits.connections()), (50, 50));
    assert_eq!(metrics.refusals.connections.get(), 750);
}

#[test]
fn publishing_has_a_rate_for_each_identity() {
    let (limits, metrics) = limits(&["--publish-rate", "5"]);
    let ann = Identity::Subject("ann".into());
    for _ in 0..5 {
        limits.publish(&ann, 1).unwrap();
    }
    let Err(ApiError::TooMany { retry_after, .. }) = limits.publish(&ann, 1) else { panic!("let through") };
    assert!((1..=2).contains(&retry_after));
    limits.publish(&Identity::Subject("bob".into()), 5).unwrap();
    limits.publish(&Identity::Address(address("1.1.1.1")), 5).unwrap();
    limits.publish(&ann, 0).unwrap();
    // More than a second's worth at once would never pass; that is told instead of a time to wait.
    let told = limits.publish(&Identity::Token(7), 6).unwrap_err().to_string();
    assert!(told.contains("6 messages") && told.contains("the 5 a second") && told.contains("several"), "{told}");
    assert!(limits.publish(&Identity::Token(8), usize::MAX).is_err());
    assert_eq!(metrics.refusals.publish_rate.get(), 3);
}

#[test]
fn no_limit_is_none() {
    let (limits, _) = limits(&["--max-connections", "0", "--publish-rate", "0"]);
    let slots: Vec<_> = (0..1000).map(|_| limits.connect(address("1.1.1.1"), Transport::Sse).unwrap()).collect();
    limits.publish(&Identity::Token(1), usize::MAX).unwrap();
    assert_eq!(limits.connections(), slots.len());
}

/// A stranger who comes as somebody else each time must not be able to fill the memory.
#[test]
fn buckets_are_bounded() {
    let rate = Rate::per_second(1).unwrap();
    for n in 0..100_000 {
        let _ = rate.check(&Identity::Token(n), 1);
    }
    assert!(rate.buckets() <= 65_536 + 1024, "{}", rate.buckets());
}

#[test]
fn a_bucket_fills_again() {
    let rate = Rate::per_second(1000).unwrap();
    let who = Identity::Token(1);
    rate.check(&who, 1000).unwrap();
    assert!(rate.check(&who, 500).is_err());
    let begun = std::time::Instant::now();
    while rate.check(&who, 20).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        thread::yield_now();
    }
    assert!(begun.elapsed() >= Duration::from_millis(10), "{:?}", begun.elapsed());
}

proptest! {
    /// However connections come and go, the counts are those of a plain list.
    #[test]
    fn counts_are_those_of_a_list(steps in proptest::collection::vec((any::<bool>(), 0_u8..4), 0..200)) {
        let (limits, metrics) = limits(&["--max-connections", "6", "--max-connections-per-address", "3"]);
        let mut held: Vec<(u8, Slot)> = Vec::new();
        for (come, n) in steps {
            if come {
                let room = held.len() < 6 && held.iter().filter(|(m, _)| *m == n).count() < 3;
                let slot = limits.connect(IpAddr::from([10, 0, 0, n]), Transport::LongPoll);
                prop_assert_eq!(slot.is_ok(), room);
                held.extend(slot.ok().map(|slot| (n, slot)));
            } else if let Some(at) = held.iter().position(|(m, _)| *m == n) {
                held.swap_remove(at);
            }
            prop_assert_eq!(limits.connections(), held.len());
            prop_assert_eq!(metrics.transport(Transport::LongPoll).connections.get(), held.len() as i64);
        }
    }
}
