//! The bus on a Redis of its own, which is killed, emptied, rolled back, and disconnected in every way.

use std::collections::HashMap;

use super::*;
use crate::{
    live::{
        bus::{IdempotencyKey, contract},
        reader::{Batch, Limit, Reader},
    },
    pure::{ChannelName, Draft, Payload, Since},
};

mod faults;
mod guarded;
mod import;
mod kills;
mod losses;
mod peers;
mod proxy;
mod purges;
mod rights;
mod sizes;
mod streams;

use crate::testing::redis::Server;

const PATIENCE: Duration = Duration::from_secs(15);

fn channel(name: &str) -> ChannelName {
    name.parse().unwrap()
}

fn publication(name: &str, data: impl serde::Serialize) -> Publication {
    Publication::new(vec![Draft::new(channel(name), Payload::from_value(&data))])
}

fn open(url: &str) -> RedisBus {
    RedisBus::open(url, None, Limits::default()).unwrap()
}

/// Waits until `is_so`, and says what it waited for when it is not.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

async fn ready(bus: &RedisBus) {
    until("the bus is ready", || bus.ready().is_ok()).await;
}

async fn connect(url: &str) -> RedisBus {
    let bus = open(url);
    ready(&bus).await;
    bus
}

/// Publishes, retrying while Redis is unavailable.
async fn publish(bus: &RedisBus, publication: Publication) -> Published {
    assert!(publication.key.is_some() || bus.ready().is_ok(), "without a key only what is sent once is added once");
    let mut tries = 0;
    loop {
        match bus.publish(publication.clone()).await {
            Ok(published) => return published,
            Err(error) => assert!(tries < 600, "{error}"),
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn next(reader: &mut Reader) -> Batch {
    timeout(PATIENCE, reader.next(Limit::default())).await.expect("something comes").expect("the log is open")
}

/// Reads `count` messages: returns their ids, and whether there was a gap.
async fn take(reader: &mut Reader, count: usize) -> (Vec<Cursor>, bool) {
    let (mut ids, mut is_gap) = (Vec::new(), false);
    while ids.len() < count {
        let batch = next(reader).await;
        is_gap |= batch.gap.is_some();
        ids.extend(batch.messages.iter().map(|message| message.id));
    }
    (ids, is_gap)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let server = Server::start().await;
    contract::suite(|| async { Arc::new(connect(&server.url()).await) as Arc<dyn Bus> }).await;
    contract::streams(Arc::new(connect(&server.url()).await)).await;
}

#[tokio::test]
async fn everything_about_a_message_arrives_on_every_process() {
    let server = Server::start().await;
    let (one, other) = (connect(&server.url()).await, connect(&server.url()).await);
    let binary = bytes::Bytes::from_static(b"\0\xff\r\n$5\r\n");
    let binary = Payload::with_attachments(br#"{"a":{"_placeholder":true,"num":0}}"#, vec![binary]).unwrap();
    let plain =
        Draft::new(channel("chat.lobby"), Payload::from_text("时间\r\n")).event("chat message".parse().unwrap());
    let named = |draft: &Draft| Draft { from: Some("Zoë".into()), ..draft.clone() };
    let binary = Draft { payload: binary, ..plain.clone() };
    let drafts = [named(&plain), named(&binary), plain, binary];
    // With and without a user.
    let drafts: Vec<_> =
        drafts.iter().flat_map(|draft| [draft.clone(), draft.clone().by(Some("ann".into()))]).collect();
    let mut reader = Reader::open(other.log(), &[channel("chat.lobby")], Since::Now);
    let key = Some(IdempotencyKey { scope: "a:b".into(), key: "c d".into() });
    let publication = Publication::new(drafts.clone()).with_key(key);
    let published = one.publish(publication.clone()).await.unwrap();
    // The repeated one is passed over, to the one behind it.
    let (again, behind) =
        tokio::join!(other.publish(publication), other.publish(Publication::new(vec![drafts[0].clone()])));
    assert_eq!(again, Ok(Published { is_repeat: true, ..published.clone() }));
    let mut read = Vec::new();
    while read.len() < 9 {
        read.extend(next(&mut reader).await.messages.iter().map(|message| (message.id, message.draft.clone())));
    }
    let ids = published.ids.into_iter().chain(behind.unwrap().ids);
    let expected: Vec<_> = ids.zip(drafts.iter().chain(&drafts[..1]).cloned()).collect();
    assert_eq!(read, expected);
}

#[tokio::test]
async fn a_lease_has_one_holder_and_passes_on_when_it_expires() {
    let server = Server::start().await;
    let (one, other) = (connect(&server.url()).await, connect(&server.url()).await);
    let ttl = Duration::from_millis(400);
    assert_eq!(one.lease("tick", ttl).await, Some(Lease::Got { from: one.log().head() }));
    assert_eq!(other.lease("tick", ttl).await, None);
    assert_eq!(one.lease("tick", ttl).await, Some(Lease::Kept), "renewed");
    assert!(other.lease("another", ttl).await.is_some());
    drop(one);
    let started = Instant::now();
    while other.lease("tick", ttl).await.is_none() {
        assert!(started.elapsed() < 5 * ttl, "a lease ends with its time");
        tokio::time::sleep(ttl / 20).await;
    }
    assert!(started.elapsed() >= ttl / 2);
}

/// The next holder continues where the previous one stopped, or after everything that the previous one can have read, even if its own log
/// is not there yet: then no work is repeated.
#[tokio::test]
async fn a_lease_gives_the_cursor_to_continue_from() {
    let server = Server::start().await;
    let (one, other) = (connect(&server.url()).await, connect(&server.url()).await);
    let ttl = Duration::from_millis(200);
    let first = one.publish(publication("a", 1)).await.unwrap().ids[0];
    assert!(one.lease("tick", Duration::from_secs(60)).await.is_some());
    one.publish(publication("a", 2)).await.unwrap();
    other.release("tick", first).await;
    assert_eq!(other.lease("tick", ttl).await, None, "only who has it gives it back");
    one.release("tick", first).await;
    assert_eq!(other.lease("tick", ttl).await, Some(Lease::Got { from: first }));
    assert_eq!(one.lease("tick", ttl).await, None);
    let started = Instant::now();
    let newest = one.publish(publication("a", 3)).await.unwrap().ids[0];
    loop {
        match one.lease("tick", ttl).await {
            None => assert!(started.elapsed() < PATIENCE, "a lease ends with its time"),
            got => break assert_eq!(got, Some(Lease::Got { from: newest })),
        }
        tokio::time::sleep(ttl / 20).await;
    }
    // What was given back is forgotten after a while.
    one.release("tick", first).await;
    let left = server.count(&["PTTL", &scripts::lease_key("tick")]).await;
    assert!(left > 0 && left <= usize::try_from(LEASE_HANDOFF_TTL.as_millis()).unwrap(), "{left}");
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_given_to_it_again() {
    let server = Server::start().await;
    let bus = connect(&server.url()).await;
    let first = bus.publish(publication("a", 1)).await.unwrap();
    server.command(&["SCRIPT", "FLUSH"]).await;
    let second = bus.publish(publication("a", 2)).await.unwrap();
    assert!(first.ids < second.ids);
}

#[tokio::test]
async fn entries_of_others_hands_are_taken_or_passed_over() {
    let server = Server::start().await;
    let bus = connect(&server.url()).await;
    let mut reader = Reader::open(bus.log(), &[channel("news")], Since::Now);
    server.command(&["XADD", scripts::STREAM, "*", "colour", "red"]).await;
    server.command(&["XADD", scripts::STREAM, "*", "channel", "news", "data", "{\"by\": \"hand\"}"]).await;
    assert_eq!(next(&mut reader).await.messages[0].draft.payload.placeholder_json(), r#"{"by":"hand"}"#);
}

#[tokio::test]
async fn an_unknown_cursor_is_reported_within_a_moment() {
    let server = Server::start().await;
    let bus = connect(&server.url()).await;
    let ids = bus.publish(publication("a", 1)).await.unwrap().ids;
    bus.wait_for(ids[0]).await;
    let future = Cursor::new(ids[0].ms + 1_000_000, 0);
    let started = Instant::now();
    bus.wait_for(future).await;
    let mut reader = Reader::open(bus.log(), &[channel("a")], Since::After(future));
    let batch = next(&mut reader).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(batch.gap.map(|gap| gap.requested), Some(future));
    assert_eq!(batch.messages[0].id, ids[0]);
}

#[tokio::test]
async fn an_invalid_address_is_rejected_without_showing_its_password() {
    let error = RedisBus::open("redis://:secret@[::1/", None, Limits::default()).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}
