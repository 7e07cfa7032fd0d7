//! Webhooks against an application that fails in every way.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

mod receiver;
mod replicas;

use std::{collections::HashMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use edge::{
    routes::Routes,
    service::Service,
    settings::ServiceDefaults,
    testing::{Site, backend::Backend, soon, until},
};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::{
    live::bus::Publication,
    pure::{Cursor, Draft, Payload},
};

use crate::receiver::{Behaviour, Received, Receiver};

const DEFAULTS: ServiceDefaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT_SECRET: &str = "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
const OK: Behaviour = Behaviour::Answer(200, "");

/// A process that posts messages of `a` and `b.*` to the receiver.
fn site(receiver: &Receiver, settings: &[(&str, &str)]) -> Site {
    let usual = [
        ("TRIDENT_HOOK_URL", receiver.url.as_str()),
        ("TRIDENT_HOOK_CHANNELS", "a,b.*"),
        ("TRIDENT_HOOK_SECRET", SECRET),
    ];
    let site = Site::start(&DEFAULTS, &[&usual[..], settings].concat(), |_: &Service| Routes::default(), |_| ());
    webhooks::start(&site.service);
    site
}

/// A position that cannot be read is a gap, after which everything since the start is delivered.
#[actix_web::test]
async fn a_damaged_position_is_a_gap() {
    let receiver = Receiver::start(|_| OK).await;
    let settings =
        [("TRIDENT_HOOK_URL", receiver.url.as_str()), ("TRIDENT_HOOK_CHANNELS", "a"), ("TRIDENT_HOOK_SECRET", SECRET)];
    let site = Site::start(&DEFAULTS, &settings, |_: &Service| Routes::default(), |_| ());
    let bus = &site.service.bus;
    assert!(bus.lease("webhooks", Duration::from_secs(1)).await.is_some());
    bus.write_state("webhooks", "{}".into()).await.unwrap();
    bus.release("webhooks", site.service.log().head()).await;
    let begin = site.service.log().head();
    webhooks::start(&site.service);
    let sent = publish(&site.service, &["a"], 0).await;
    until("the gap and the event", || receiver.accepted().len() == 2).await;
    let accepted = receiver.accepted();
    assert_eq!(
        (&accepted[0]["data"]["reason"], &accepted[0]["data"]["resumed"]),
        (&json!("dropped"), &json!(begin.to_string()))
    );
    assert_eq!(ids(&accepted[1..]), texts(&sent));
}

/// Publishes a number to each of these channels.
async fn publish(service: &Service, channels: &[&str], n: u64) -> Vec<Cursor> {
    let draft = |channel: &&str| Draft::new(channel.parse().unwrap(), Payload::from_value(&n));
    service.bus.publish(Publication::new(channels.iter().map(draft).collect())).await.unwrap().ids
}

/// The ids of events.
fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

fn texts(ids: &[Cursor]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// Whether a request is signed with `secret` (Standard Webhooks 1.0).
fn is_signed(request: &Received, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.{}", request.id, request.timestamp, request.body).as_bytes());
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    request.signature.split(' ').any(|signature| signature == expected)
}

/// Every request with the same id has the same bytes.
fn assert_repetitions_are_equal(received: &[Received]) {
    let mut bodies = HashMap::new();
    for request in received {
        let known = bodies.entry(&request.id).or_insert(&request.body);
        assert_eq!(*known, &request.body, "{}", request.id);
    }
}

/// Every event is received in order whatever the application does, and an event under another id only if its batch changed, which it did not.
#[actix_web::test]
async fn every_event_is_delivered_in_order_by_an_application_that_fails() {
    let receiver = Receiver::start(|n| match n % 12 {
        0 => Behaviour::Answer(500, ""),
        2 => Behaviour::Reset,
        4 => Behaviour::Answer(429, "Retry-After: 0\r\n"),
        6 => Behaviour::Cut,
        8 => Behaviour::Endless,
        10 => Behaviour::Answer(302, "Location: http://127.0.0.1:1/\r\n"),
        _ => OK,
    })
    .await;
    let site = site(&receiver, &[]);
    let mut expected = Vec::new();
    for n in 0..210 {
        let sent = publish(&site.service, &["a", "c", "b.1", "b.2"], n).await;
        expected.extend([sent[0], sent[2], sent[3]]);
    }
    until_long("all events", || receiver.accepted().len() >= expected.len()).await;
    assert_eq!(ids(&receiver.accepted()), texts(&expected));
    let received = receiver.received();
    assert_repetitions_are_equal(&received);
    assert!(received.iter().all(|request| is_signed(request, SECRET) && !is_signed(request, NEXT_SECRET)));
    assert!(received.iter().all(|request| request.id.starts_with("msg_") && request.events().len() <= 100));
    let first = &received[0].events()[0];
    let whole = json!({
        "id": expected[0].to_string(), "channel": "a", "event": "message", "data": 0, "time": expected[0].ms
    });
    assert_eq!(*first, whole);
}

/// A slow test waits longer than others: after each failure the sender pauses.
async fn until_long(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6 {
        if holds() {
            return;
        }
        let waited = tokio::time::timeout(Duration::from_secs(9), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        if waited.await.is_ok() {
            return;
        }
    }
    panic!("{what}: not in time");
}

/// The feed is a channel among others, and only the wanted kinds are posted.
#[actix_web::test]
async fn events_of_the_wanted_kinds_are_posted() {
    let receiver = Receiver::start(|_| OK).await;
    let settings =
        [("TRIDENT_EVENTS", "connected,subscribed,disconnected"), ("TRIDENT_HOOK_EVENTS", "connected,disconnected")];
    let site = site(&receiver, &settings);
    let access = edge::Access::with_token(&site.service.edge, None, std::net::Ipv4Addr::LOCALHOST.into()).unwrap();
    let mut slot = site.service.edge.limits.connect(access.address(), edge::metrics::Transport::Sse).unwrap();
    access.register(&mut slot, &["x".parse().unwrap()]);
    drop(slot);
    until("both events", || receiver.accepted().len() == 2).await;
    let kinds: Vec<_> = receiver.accepted().iter().map(|event| event["data"]["kind"].clone()).collect();
    assert_eq!(kinds, ["connected", "disconnected"]);
    let stored = site.held("$events");
    assert_eq!(stored.len(), 3);
    assert_eq!(ids(&receiver.accepted()), [stored[0].0.to_string(), stored[2].0.to_string()]);
}

/// While one secret replaces another, requests have a signature of each.
#[actix_web::test]
async fn requests_are_signed_with_both_secrets() {
    let receiver = Receiver::start(|_| OK).await;
    let site = site(&receiver, &[("TRIDENT_HOOK_SECRET", &format!("{NEXT_SECRET},{SECRET}"))]);
    publish(&site.service, &["a"], 1).await;
    until("the request", || !receiver.received().is_empty()).await;
    let request = &receiver.received()[0];
    assert!(is_signed(request, SECRET) && is_signed(request, NEXT_SECRET), "{request:?}");
}

/// Each attempt is a span of its own, which the application gets.
#[actix_web::test]
async fn attempts_are_traced() {
    let receiver = Receiver::start(|n| if n == 0 { Behaviour::Answer(500, "") } else { OK }).await;
    let mut collector = Backend::start().await;
    let site = site(&receiver, &[("TRIDENT_TRACES_URL", &collector.url()), ("TRIDENT_TRACES_SAMPLE", "1")]);
    publish(&site.service, &["a"], 1).await;
    until("two attempts", || receiver.received().len() == 2).await;
    until("the second answer", || !site.service.edge.hooks.state().unwrap().is_failing).await;
    let stopping = actix_web::rt::spawn(site.stop());
    let mut spans = Vec::new();
    while spans.len() < 2 {
        let called = collector.called().await;
        spans.extend(called.body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone());
        called.answer(&json!({}));
    }
    stopping.await.unwrap();
    let text = |span: &Value, key: &str| span[key].as_str().unwrap().to_owned();
    for (request, span) in receiver.received().iter().zip(&spans) {
        assert_eq!(request.traceparent, format!("00-{}-{}-01", text(span, "traceId"), text(span, "spanId")));
    }
    assert_eq!(spans[0]["status"]["code"], 2);
    assert!(spans[1].get("status").is_none());
}

/// The process is degraded as long as attempts fail, and the metrics count them.
#[actix_web::test]
async fn a_failing_application_is_reported() {
    let is_up = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = is_up.clone();
    let is_up = move || is_up.load(std::sync::atomic::Ordering::SeqCst);
    let receiver = Receiver::start(move |_| if is_up() { OK } else { Behaviour::Answer(503, "") }).await;
    let site = site(&receiver, &[]);
    publish(&site.service, &["a"], 1).await;
    let degraded = || site.service.edge.readiness.degraded();
    until("the report", || !degraded().is_empty()).await;
    until("the end of the subscription", || site.service.log().patterns() == 0).await;
    let problem = degraded();
    assert_eq!(problem[0].reason, "webhooks");
    assert!(problem[0].message.contains("the backend answered 503"), "{problem:?}");
    let state = || site.service.edge.hooks.state().unwrap();
    let error = state().last_error.unwrap();
    assert!(state().is_sender && state().is_failing && error.time > 1_600_000_000_000);
    assert!(error.message.contains("the backend answered 503"), "{error:?}");
    switch.store(true, std::sync::atomic::Ordering::SeqCst);
    until_long("the end of it", || degraded().is_empty()).await;
    let figures = site.service.edge.metrics.encode().unwrap();
    for line in ["trident_hook_sender 1", "trident_hook_batches_total 1", "trident_hook_events_total 1"] {
        assert!(figures.lines().any(|one| one == line), "{line}: {figures}");
    }
    let failures = figures.lines().find_map(|line| line.strip_prefix("trident_hook_failures_total ")).unwrap();
    assert!(failures.parse::<u32>().unwrap() >= 1);
    assert!(!state().is_failing && state().last_error.is_some() && state().batches == 1, "the last error is kept");
}

/// Events that were dropped before the application was there are a gap, and so is a batch that is given up.
#[actix_web::test]
async fn what_cannot_be_delivered_is_a_gap() {
    let receiver = Receiver::start(|n| if n < 1 { Behaviour::Answer(500, "Retry-After: 1\r\n") } else { OK }).await;
    let site = site(&receiver, &[("TRIDENT_HISTORY_COUNT", "3")]);
    publish(&site.service, &["a"], 0).await;
    until("the first attempt", || receiver.received().len() == 1).await;
    let mut last = Vec::new();
    for n in 1..10 {
        last.extend(publish(&site.service, &["a"], n).await);
    }
    until("what is left", || receiver.accepted().len() == 4).await;
    let accepted = receiver.accepted();
    assert_eq!((&accepted[0]["event"], &accepted[0]["data"]["kind"]), (&json!("feed_gap"), &json!("gap")));
    assert_eq!(accepted[0]["data"]["reason"], "dropped");
    assert_eq!(ids(&accepted[1..]), texts(&last[6..]));
    let received = receiver.received();
    assert_ne!(received[0].id, received[1].id, "it is another batch");
}

/// What is left of a batch is delivered although its channel is quiet, and another one goes on.
#[actix_web::test]
async fn the_rest_of_an_abandoned_batch_is_delivered() {
    let receiver = Receiver::start(|n| if n < 1 { Behaviour::Answer(500, "Retry-After: 1\r\n") } else { OK }).await;
    let site = site(&receiver, &[("TRIDENT_HISTORY_COUNT", "1")]);
    let quiet = publish(&site.service, &["b.1", "a"], 0).await[1];
    until("the first attempt", || receiver.received().len() == 1).await;
    assert_eq!(receiver.received()[0].events().len(), 2);
    let replacing = publish(&site.service, &["b.1"], 1).await[0];
    let other = publish(&site.service, &["b.2"], 2).await[0];
    until("what is left", || receiver.accepted().len() == 4).await;
    let accepted = receiver.accepted();
    assert_eq!(accepted[0]["data"]["reason"], "dropped");
    assert_eq!(ids(&accepted[1..]), texts(&[quiet, replacing, other]));
}

#[actix_web::test]
async fn a_batch_is_given_up_after_a_time() {
    let receiver = Receiver::start(|n| if n < 4 { Behaviour::Answer(500, "") } else { OK }).await;
    let site = site(&receiver, &[("TRIDENT_HOOK_GIVE_UP", "300ms")]);
    let begin = site.service.log().head();
    publish(&site.service, &["a"], 0).await;
    until("two attempts", || receiver.received().len() == 2).await;
    let first = publish(&site.service, &["a"], 1).await;
    until("two more", || receiver.received().len() == 4).await;
    let second = publish(&site.service, &["a"], 2).await;
    until("the next batch", || receiver.accepted().len() == 2).await;
    let accepted = receiver.accepted();
    let gap = &accepted[0]["data"];
    // Both batches are one gap, which does not count itself.
    assert_eq!(gap["requested"], begin.to_string());
    assert_eq!(
        (&gap["reason"], &gap["count"], &gap["resumed"]),
        (&json!("given_up"), &json!(2), &json!(first[0].to_string()))
    );
    assert_eq!(ids(&accepted[1..]), texts(&second));
    assert!(site.service.edge.metrics.encode().unwrap().contains("trident_hook_losses_total 2"));
}

/// With a log on disk the position survives a restart, and so does a batch that was being sent, although other channels are wanted now.
#[actix_web::test]
async fn a_restart_continues_with_the_same_batch() {
    let directory = std::env::temp_dir().join(format!("trident-hooks-{:016x}", rand::random::<u64>()));
    let bus = format!("file:{}", directory.display());
    let receiver = Receiver::start(|n| if n == 1 { Behaviour::Answer(500, "Retry-After: 60\r\n") } else { OK }).await;
    let settings = [("TRIDENT_BUS", bus.as_str()), ("TRIDENT_FSYNC", "never")];
    let one = site(&receiver, &settings);
    let mut expected = publish(&one.service, &["a"], 0).await;
    until("the first event", || receiver.accepted().len() == 1).await;
    expected.push(publish(&one.service, &["c", "a"], 1).await[1]);
    until("the attempt that fails", || receiver.received().len() == 2).await;
    expected.extend(publish(&one.service, &["a"], 2).await);
    let service = one.service.clone();
    one.stop().await;
    service.bus.close().await;
    drop(service);
    let other = site(&receiver, &[&settings[..], &[("TRIDENT_HOOK_CHANNELS", "a,c")]].concat());
    until("all events", || receiver.accepted().len() == 3).await;
    assert_eq!(ids(&receiver.accepted()), texts(&expected));
    let received = receiver.received();
    assert_eq!((&received[1].id, &received[1].body), (&received[2].id, &received[2].body));
    assert_repetitions_are_equal(&received);
    soon("the stop", other.stop()).await;
    std::fs::remove_dir_all(directory).unwrap();
}
