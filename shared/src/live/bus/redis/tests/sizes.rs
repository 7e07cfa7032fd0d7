//! How much a Redis is given: keys, batches, and what a process does whose clock is wrong.

use super::{
    proxy::{Proxy, Way},
    *,
};
use crate::live::{bus::keys::Hash, clock::wall_clock, degraded::reason};

fn keyed(key: &str) -> Publication {
    Publication { key: Some(IdempotencyKey { scope: "me".into(), key: key.into() }), ..publication("a", key) }
}

/// Case 8.1: a replica is filled over a line that breaks again and again: it asks for what fits, and not for the same page for ever. With
/// `TRIDENT_EXHAUSTIVE` also over one of 8 MB/s, with the messages of the case.
#[tokio::test]
async fn a_replica_is_filled_over_a_bad_line() {
    let server = Server::start().await;
    let first = connect(&server.url()).await;
    let text = "x".repeat(64_000);
    let is_exhaustive = std::env::var_os("TRIDENT_EXHAUSTIVE").is_some();
    let count = if is_exhaustive { 1_100 } else { 130 };
    let mut ids = Vec::new();
    for _ in 0..count / 10 {
        let drafts = (0..10).map(|_| Draft::new(channel("a"), Payload::from_text(&text))).collect();
        ids.extend(first.publish(Publication::new(drafts)).await.unwrap().ids);
    }
    let mut ways = vec![Way::Cut(3 * 1024 * 1024)];
    ways.extend(is_exhaustive.then_some(Way::Slow(Duration::from_millis(2))));
    for way in ways {
        let proxy = Proxy::start(server.port()).await;
        proxy.set(way);
        let bus = RedisBus::open(&proxy.url(), None, Limits::default()).unwrap();
        let began = Instant::now();
        while !bus.log().is_filled() {
            assert!(began.elapsed() < 4 * PATIENCE, "{way:?}: {} messages", bus.log().counts().messages);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut reader = Reader::open(bus.log(), &[channel("a")], Since::Earliest);
        assert_eq!(take(&mut reader, ids.len()).await, (ids.clone(), false), "{way:?}");
    }
}

/// Case 8.4: keys take a bounded amount of Redis' memory; beyond it they are refused as on the memory bus.
#[tokio::test]
async fn keys_are_bounded_in_bytes() {
    let server = Server::start().await;
    let bus = connect(&server.url()).await;
    let first = bus.publish(keyed("first")).await.unwrap();
    let usage = async || -> String { redis::from_redis_value(server.command(&["GET", scripts::KEYS]).await).unwrap() };
    let (slice, bytes) =
        usage().await.split_once(':').map(|(slice, bytes)| (slice.to_owned(), bytes.to_owned())).unwrap();
    let bytes: usize = bytes.parse().unwrap();
    let stored = server.count(&["MEMORY", "USAGE", &format!("{}2:me:first", scripts::KEY)]).await;
    assert!(bytes >= stored, "{bytes} are counted for a key that takes {stored}");
    // As after hundreds of thousands of them.
    let full = format!("{slice}:{}", 64 * 1024 * 1024);
    server.command(&["SET", scripts::KEYS, &full]).await;
    let refused = bus.publish(keyed("second")).await;
    let Err(BusError::Keys { retry_after }) = refused else { panic!("{refused:?}") };
    assert!(retry_after > Duration::from_secs(280) && retry_after <= Duration::from_secs(310), "{retry_after:?}");
    assert_eq!(bus.publish(keyed("first")).await, Ok(Published { is_repeat: true, ..first }), "those known still are");
    assert!(bus.publish(publication("a", "without")).await.is_ok());
    assert_eq!(server.count(&["XLEN", scripts::STREAM]).await, 3, "a break and two messages");
    // Forgotten with the keys that were taken then.
    let old = slice.parse::<u64>().unwrap() - 31;
    server.command(&["SET", scripts::KEYS, &format!("{old}:{}", 64 * 1024 * 1024)]).await;
    assert!(bus.publish(keyed("second")).await.is_ok());
    assert!(server.count(&["PTTL", scripts::KEYS]).await > 0, "the count goes with the last key");
}

/// Case 10.3: one scope takes half of the room for keys at most, every other one still finds some, and a refusal names the time after
/// which the scope has room again.
#[tokio::test]
async fn a_scope_leaves_as_much_room_for_keys_as_it_takes() {
    const ROOM: usize = 60_000;
    let server = Server::start().await;
    let bus = connect(&server.url()).await.with_key_bytes(ROOM);
    let publish = async |scope: &str, key: usize| {
        let key = IdempotencyKey { scope: scope.into(), key: format!("{key:08}") };
        bus.publish(Publication { key: Some(key), ..publication("a", 1) }).await
    };
    let fill = async |scope: &str| {
        let mut taken = 0;
        loop {
            match publish(scope, taken).await {
                Ok(_) => taken += 1,
                Err(BusError::Keys { retry_after }) => break (taken, retry_after),
                other => panic!("{other:?}"),
            }
        }
    };
    let (first, wait) = fill("a").await;
    let (second, _) = fill("b").await;
    assert!(first > 90 && (first * 4 / 10..=first * 6 / 10).contains(&second), "{first}, {second}");
    assert!(wait > Duration::from_secs(280) && wait <= Duration::from_secs(310), "{wait:?}");
    for other in 0..10 {
        assert!(publish(&format!("other {other}"), 0).await.is_ok(), "{other}");
    }
    assert!(publish("a", 0).await.is_ok_and(|published| published.is_repeat));
    // Keys of a slice that has expired no longer count for their scope.
    let slot = format!("{}{}", scripts::SCOPE, Hash::of(&IdempotencyKey { scope: "a".into(), key: String::new() }).0);
    let usage: String = redis::from_redis_value(server.command(&["GET", &slot]).await).unwrap();
    let (slice, bytes) = usage.split(' ').next().unwrap().split_once(':').unwrap();
    assert!(bytes.parse::<usize>().unwrap() <= ROOM / 2, "{usage}");
    let old = slice.parse::<u64>().unwrap() - 31;
    server.command(&["SET", &slot, &format!("{old}:{bytes}")]).await;
    assert!(publish("a", 1_000_000).await.is_ok());
    assert!(server.count(&["PTTL", &slot]).await > 0, "the count goes with the last key");
}

/// Case 8.5: a batch that exceeds a command of Redis is rejected, and nobody else is affected.
#[tokio::test]
async fn a_batch_that_is_too_large_for_redis_is_refused() {
    let server = Server::start().await;
    let bus = connect(&server.url()).await;
    let draft = publication("a", 1).drafts.remove(0);
    let batch = Publication::new(vec![draft; 300_000]);
    assert_eq!(bus.publish(batch).await, Err(BusError::TooLarge));
    assert!(bus.ready().is_ok());
    bus.publish(publication("a", 2)).await.unwrap();
    assert_eq!(server.count(&["XLEN", scripts::STREAM]).await, 2, "a break and one message");
}

/// Case 7.2: the age of messages goes by the clock of Redis, and a host whose clock differs is reported.
#[tokio::test]
async fn a_host_with_a_wrong_clock_delivers_and_is_reported() {
    let server = Server::start().await;
    let limits =
        Limits { channel: crate::pure::Retention { age_ms: Some(10_000), ..Default::default() }, ..Limits::default() };
    let ahead = RedisBus::with_clock(&server.url(), None, limits, || wall_clock() + 61 * 60 * 1000).unwrap();
    ready(&ahead).await;
    let mut reader = Reader::open(ahead.log(), &[channel("a")], Since::Now);
    let sent = connect(&server.url()).await.publish(publication("a", 1)).await.unwrap().ids;
    ahead.wait_for(sent[0]).await;
    while ahead.sweep() {}
    assert_eq!(take(&mut reader, 1).await, (sent, false));
    until("the skew alone is reported", || ahead.degraded().len() == 1).await;
    let told: Vec<_> = ahead.degraded().into_iter().map(|one| (one.reason, one.message)).collect();
    assert!(told[0].0 == reason::CLOCK_SKEW && told[0].1.contains("ahead of"), "{told:?}");
    let right = connect(&server.url()).await;
    until("a clock that is right is not", || right.degraded().is_empty()).await;
}

/// Case 8.9: a publisher without an answer in time learns that the outcome is unknown, if something was sent.
#[tokio::test]
async fn a_publication_without_an_answer_has_an_unknown_outcome() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let bus = connect(&proxy.url()).await;
    proxy.set(Way::Stalled);
    let refused = bus.publish(keyed("one")).await;
    assert!(matches!(&refused, Err(BusError::Unknown(_))), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("Idempotency-Key"));
    proxy.set(Way::Open);
    ready(&bus).await;
    let again = publish(&bus, keyed("one")).await;
    assert_eq!(server.count(&["XLEN", scripts::STREAM]).await, 2, "it is there once: {again:?}");
}
