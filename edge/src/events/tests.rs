use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use shared::{
    live::{
        bus::MemoryBus,
        clock::Moment,
        log::Limits,
        reader::{Limit, Reader},
    },
    pure::Since,
};

use super::*;
use crate::{
    Access, Edge, Settings,
    auth::{TokenRequest, mint},
    connections::{ConnectionId, End},
    limits::Slot,
    metrics::Transport,
    settings::{Secret, ServiceDefaults},
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const SERVICE: ServiceDefaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

fn edge(events: &str) -> Edge {
    let settings = Settings::from_sources(&SERVICE, ["--secret", SECRET, "--events", events], []).unwrap();
    Edge::new(settings, &SERVICE)
}

fn channels(names: &[&str]) -> Vec<ChannelName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn access(edge: &Edge, user: Option<&str>) -> Access {
    let token = user.map(|user| {
        let request = TokenRequest {
            publish: "".parse().unwrap(),
            subscribe: "".parse().unwrap(),
            api: Vec::new(),
            ttl: Duration::from_secs(60),
            subject: Some(user.to_owned()),
            audience: None,
        };
        mint(&Secret::new(SECRET).unwrap(), &request, SystemTime::now()).unwrap()
    });
    Access::with_token(edge, token.as_deref(), ADDRESS).unwrap()
}

fn open(edge: &Edge, user: Option<&str>, names: &[&str]) -> Slot {
    let access = access(edge, user);
    let mut slot = edge.limits.connect(ADDRESS, Transport::Sse).unwrap();
    access.register(&mut slot, &channels(names));
    slot
}

/// The events since the last call.
async fn taken(edge: &Edge) -> Vec<Value> {
    let inner = edge.events.0.as_ref().unwrap();
    let entries = tokio::time::timeout(Duration::ZERO, inner.queue.take()).await.unwrap_or_default();
    entries.iter().map(|entry| serde_json::from_str(&entry.json(&inner.process)).unwrap()).collect()
}

/// Kind, and channel, user or reason of each.
fn told(events: &[Value]) -> Vec<String> {
    let tell = |event: &Value| {
        let fields = ["channel", "user", "reason"].map(|name| event[name].as_str().unwrap_or_default());
        [&[event["kind"].as_str().unwrap()], &fields[..]].concat().join(" ").trim_end().to_owned()
    };
    events.iter().map(tell).collect()
}

#[tokio::test]
async fn a_connection_is_recorded_from_its_beginning_to_its_end() {
    let edge = edge("all");
    let slot = open(&edge, Some("ann"), &["b", "a"]);
    let begun = taken(&edge).await;
    assert_eq!(
        told(&begun),
        [
            "connected  ann",
            "subscribed a ann",
            "channel_occupied a",
            "member_added a ann",
            "subscribed b ann",
            "channel_occupied b",
            "member_added b ann"
        ]
    );
    let process = &edge.events.0.as_ref().unwrap().process;
    let time = begun[0]["time"].as_u64().unwrap();
    assert!(time > 1_600_000_000_000);
    let expected = serde_json::json!({
        "kind": "connected", "time": time, "process": process, "connection": slot.connection().unwrap().id().to_string(),
        "user": "ann", "transport": "sse", "address": "10.0.0.7",
    });
    assert_eq!(begun[0], expected);
    slot.set_channels(&channels(&["a", "c"]));
    assert_eq!(
        told(&taken(&edge).await),
        [
            "unsubscribed b ann",
            "member_removed b ann",
            "channel_vacated b",
            "subscribed c ann",
            "channel_occupied c",
            "member_added c ann"
        ]
    );
    drop(slot);
    assert_eq!(
        told(&taken(&edge).await),
        [
            "unsubscribed a ann",
            "member_removed a ann",
            "channel_vacated a",
            "unsubscribed c ann",
            "member_removed c ann",
            "channel_vacated c",
            "disconnected  ann closed"
        ]
    );
    assert_eq!(edge.events.0.as_ref().unwrap().occupancy.as_ref().unwrap().len(), 0);
}

#[tokio::test]
async fn only_the_first_and_the_last_reader_change_a_channel() {
    let edge = edge("channel_occupied,channel_vacated,member_added,member_removed");
    let (first, second) = (open(&edge, Some("ann"), &["a"]), open(&edge, Some("ann"), &["a"]));
    let (third, fourth) = (open(&edge, Some("bob"), &["a"]), open(&edge, None, &["a"]));
    assert_eq!(told(&taken(&edge).await), ["channel_occupied a", "member_added a ann", "member_added a bob"]);
    drop((first, third));
    assert_eq!(told(&taken(&edge).await), ["member_removed a bob"]);
    drop(second);
    assert_eq!(told(&taken(&edge).await), ["member_removed a ann"]);
    drop(fourth);
    assert_eq!(told(&taken(&edge).await), ["channel_vacated a"]);
}

/// Otherwise its own events would wake it for ever.
#[tokio::test]
async fn nothing_is_recorded_about_readers_of_the_feed() {
    let edge = edge("all");
    let slot = open(&edge, Some("ann"), &["$events", "a"]);
    slot.set_channels(&channels(&["$events", "a", "b"]));
    slot.set_channels(&channels(&["a"]));
    edge.limits.registry().emitted(slot.connection().unwrap(), "order", Some(r#"["order"]"#));
    drop(slot);
    let mut poll = Some(access(&edge, None).register_poll(&channels(&["$events"]), Duration::ZERO));
    drop(poll.take());
    edge.limits.registry().sweep(Instant::now() + Duration::from_secs(60));
    assert_eq!(told(&taken(&edge).await), [""; 0]);
    // Who begins to read it later has been recorded so far.
    let slot = open(&edge, None, &["a"]);
    taken(&edge).await;
    slot.set_channels(&channels(&["$events", "a"]));
    let end = ["unsubscribed a", "channel_vacated a", "disconnected   reads_events"];
    assert_eq!(told(&taken(&edge).await), end);
    drop(slot);
    assert_eq!(told(&taken(&edge).await), [""; 0]);
}

#[tokio::test]
async fn polls_are_one_connection_that_ends_when_they_stop() {
    let edge = edge("connected,disconnected,subscribed");
    let access = access(&edge, None);
    for _ in 0..3 {
        drop(access.register_poll(&channels(&["a"]), Duration::from_secs(25)));
    }
    assert_eq!(told(&taken(&edge).await), ["connected", "subscribed a"]);
    edge.limits.registry().sweep(Instant::now() + Duration::from_secs(34));
    assert_eq!(told(&taken(&edge).await), [""; 0]);
    edge.limits.registry().sweep(Instant::now() + Duration::from_secs(36));
    assert_eq!(told(&taken(&edge).await), ["disconnected   timeout"]);
}

#[tokio::test]
async fn a_disconnection_has_its_reason() {
    let edge = edge("disconnected");
    let end = |with: &dyn Fn(&Slot)| {
        let slot = open(&edge, None, &[]);
        with(&slot);
    };
    end(&|slot| assert!(slot.connection().unwrap().end_for(End::Revoked)));
    end(&|slot| {
        slot.ends_for(EndReason::Left);
        slot.ends_for(EndReason::Expired);
        slot.connection().unwrap().end_for(End::Disconnected);
    });
    for reason in [EndReason::Left, EndReason::Expired, EndReason::Refused, EndReason::Timeout, EndReason::Shutdown] {
        end(&|slot| slot.ends_for(reason));
    }
    let access = access(&edge, None);
    let id = ConnectionId::random();
    let before = access.register_as(id, Transport::WebSocket, &[]);
    let after = access.register_as(id, Transport::WebSocket, &[]);
    drop(before);
    edge.events.drain();
    drop(after);
    let reasons: Vec<_> =
        taken(&edge).await.iter().map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).collect();
    let expected =
        ["revoked", "disconnected", "left", "expired", "refused", "timeout", "shutdown", "replaced", "shutdown"];
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn an_event_of_a_client_has_its_arguments() {
    let edge = edge("client_event");
    let slot = open(&edge, Some("ann"), &["a"]);
    let emit = |name: &str, payload: Option<&str>| {
        edge.limits.registry().emitted(slot.connection().unwrap(), name, payload);
    };
    emit("order", Some(r#"["order",{"n":1.50},"x"]"#));
    let large = format!(r#"["order","{}"]"#, "x".repeat(MAX_DATA_BYTES));
    emit("order", Some(&large));
    emit(&"n".repeat(100_000), None);
    let events = taken(&edge).await;
    assert_eq!(
        (&events[0]["event"], events[0]["args"].to_string().as_str(), &events[0]["user"]),
        (&"order".into(), r#"[{"n":1.5},"x"]"#, &"ann".into())
    );
    assert_eq!(events[1].get("args"), None, "it is too large");
    assert!(events[2].to_string().len() < 1_000, "and so is a name");
}

/// The writer is a task of its own, and writes all that was recorded before the process ends.
#[tokio::test]
async fn events_are_messages_in_order() {
    let edge = edge("connected,disconnected");
    let bus = Arc::new(MemoryBus::new(Limits::default(), Moment::now));
    let writing = tokio::spawn(edge.events.clone().write(bus.clone(), false));
    (0..300).for_each(|_| drop(open(&edge, None, &["a"])));
    edge.events.finish(FINISH).await;
    drop(open(&edge, None, &["a"]));
    writing.await.unwrap();
    let mut reader = Reader::open(bus.log(), &channels(&[CHANNEL]), Since::Earliest);
    let read = reader.read(Limit { messages: 1_000, bytes: usize::MAX }).unwrap();
    let names: Vec<_> = read.messages.iter().map(|message| message.draft.event.to_string()).collect();
    assert_eq!(names, ["connected", "disconnected"].repeat(300));
}

/// On a bus that several processes share each batch takes an idempotency key: events that come one by one share them.
#[tokio::test(start_paused = true)]
async fn events_that_come_one_by_one_share_keys() {
    let edge = edge("connected,disconnected");
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new(Limits::default(), Moment::now));
    let writing = tokio::spawn(edge.events.clone().write(bus.clone(), true));
    for _ in 0..100 {
        drop(open(&edge, None, &["a"]));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    edge.events.finish(FINISH).await;
    writing.await.unwrap();
    assert_eq!(bus.log().counts().messages, 200);
    assert!((1..=4).contains(&bus.keys().keys), "{:?}", bus.keys());
}

/// All processes notice it, and one of them writes it.
#[tokio::test]
async fn a_process_that_is_gone_is_one_event() {
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new(Limits::default(), Moment::now));
    let edges = [edge("process_gone"), edge("process_gone")];
    for (edge, name) in [(0, "a-1"), (1, "a-1"), (0, "b-2")].map(|(n, name)| (&edges[n], name)) {
        writer::write_gone(edge.events.0.as_ref().unwrap(), &*bus, name.to_owned()).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut reader = Reader::open(bus.log(), &channels(&[CHANNEL]), Since::Earliest);
    let read = reader.read(Limit { messages: 9, bytes: usize::MAX }).unwrap();
    let text = |message: &Arc<shared::pure::Message>| -> Value {
        serde_json::from_str(&message.draft.payload.plain_json()).unwrap()
    };
    let gone: Vec<_> =
        read.messages.iter().map(text).map(|event| (event["kind"].clone(), event["process"].clone())).collect();
    assert_eq!(gone, ["a-1", "b-2"].map(|name| ("process_gone".into(), name.into())));
    assert!(edges.iter().all(|edge| edge.events.0.as_ref().unwrap().queue.counts() == Default::default()), "no gap");
}

#[test]
fn without_kinds_nothing_is_recorded() {
    let edge = edge("none");
    drop(open(&edge, None, &["a"]));
    assert!(!edge.events.is_on() && edge.events.figures().iter().all(|figure| figure.value == 0));
}
