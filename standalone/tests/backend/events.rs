//! What a backend hears: the channel `$events`.

use edge::testing::{Events, Site};
use serde_json::{Value, json};
use shared::pure::access::ApiRight;

use crate::{
    client::{Client, Plain},
    publish, site, token,
};

/// The feed from its beginning, for a backend.
async fn feed(site: &Site) -> Events {
    let backend = site.backend_token(ApiRight::Read);
    site.get("/events?channel=$events&since=earliest").token(&backend).events().await
}

/// The next event of one of these kinds.
async fn next(feed: &mut Events, kinds: &[&str]) -> Value {
    loop {
        let message = feed.message().await.expect("the feed goes on");
        let event: Value = serde_json::from_str(&message.data).unwrap();
        let kind = event["kind"].as_str().unwrap();
        assert_eq!(message.event.as_deref(), Some(kind).map(|kind| if kind == "gap" { "feed_gap" } else { kind }));
        assert!(message.id.is_some());
        if kinds.contains(&kind) {
            return event;
        }
    }
}

/// Every transport is in the feed, and what its client does.
#[actix_web::test]
async fn a_backend_reads_what_happens_to_clients() {
    let site = site(&[("TRIDENT_EVENTS", "all")]);
    let mut feed = feed(&site).await;
    let ann = token(&site, "ann", "", "");
    let mut ids = Vec::new();
    let kinds = ["connected", "disconnected"];
    macro_rules! connects {
        ($transport:literal, $user:expr, $open:expr) => {{
            let opened = $open;
            let event = next(&mut feed, &kinds).await;
            assert_eq!((&event["kind"], &event["transport"]), (&json!("connected"), &json!($transport)), "{event}");
            assert_eq!((event.get("user"), &event["address"]), ($user.as_ref(), &json!("127.0.0.1")), "{event}");
            ids.push(event["connection"].as_str().unwrap().to_owned());
            opened
        }};
    }
    let (user, nobody) = (Some(json!("ann")), None::<Value>);
    let events = connects!("sse", user, site.get("/events?channel=public.a").token(&ann).events().await);
    let lines = connects!("stream", nobody, site.get("/data?channel=public.a&mode=stream").open().await);
    let plain = connects!("ws", user, Plain::open(&site, "/ws?channel=public.a", &ann).await);
    let mut poll = site.connect().await;
    connects!("longpoll", nobody, poll.request("GET", "/data?channel=public.a&wait=60", &[]).await);
    let mut socket = connects!("websocket", user, Client::connect(&site, Some(&ann)).await.unwrap());
    assert_eq!(ids[4], socket.sid);
    assert_eq!(next(&mut feed, &["subscribed"]).await["channel"], "chat.lobby");
    socket.ask(r#""subscribe",{"channels":["public.b"]}"#).await;
    let event = next(&mut feed, &["client_event"]).await;
    assert_eq!((&event["event"], &event["args"]), (&json!("subscribe"), &json!([{ "channels": ["public.b"] }])));
    assert_eq!(next(&mut feed, &["subscribed"]).await["channel"], "public.b");
    assert_eq!(next(&mut feed, &["channel_occupied"]).await["channel"], "public.b");
    assert_eq!(next(&mut feed, &["member_added"]).await["user"], "ann");
    socket.ask(r#""order.create",{"n":1}"#).await;
    assert_eq!(next(&mut feed, &["client_event"]).await["event"], "order.create");
    for (at, opened) in [(0, Box::new(events) as Box<dyn std::any::Any>), (1, Box::new(lines)), (2, Box::new(plain))] {
        drop(opened);
        let event = next(&mut feed, &kinds).await;
        assert_eq!((&event["kind"], &event["connection"]), (&json!("disconnected"), &json!(ids[at])));
    }
    let path = format!("/v1/connections/{}", socket.sid);
    let backend = site.backend_token(ApiRight::Write);
    site.ask("DELETE".parse().unwrap(), &path).token(&backend).send().await;
    let event = next(&mut feed, &["disconnected"]).await;
    assert_eq!((&event["connection"], &event["reason"]), (&json!(socket.sid), &json!("disconnected")));
}

/// Each write through `/v1` names the backend; what is refused is not there.
#[actix_web::test]
async fn writes_of_backends_are_in_the_feed() {
    let site = site(&[("TRIDENT_EVENTS", "api_write")]);
    let mut feed = feed(&site).await;
    let backend = site.backend_token(ApiRight::Write);
    let ask = |method: &str, path: &str| site.ask(method.parse().unwrap(), path).token(&backend);
    ask("DELETE", "/v1/channels/public.a/messages?nobody=1").send().await;
    ask("DELETE", "/v1/connections/AAAAAAAAAAAAAAAAAAAA").send().await;
    site.get("/v1/stats").token(&backend).send().await;
    ask("DELETE", "/v1/channels/public.a/messages").send().await;
    ask("DELETE", "/v1/users/ann/connections?for=1s").send().await;
    ask("POST", "/v1/users/ann/messages").body("application/json", "{\"secret\":1}").await;
    ask("POST", "/v1/revocations").body("application/json", "{\"user\":\"ann\"}").await;
    for expected in [
        json!({ "action": "purged", "channel": "public.a" }),
        json!({ "action": "user_disconnected", "user": "ann", "ended": 0 }),
        json!({ "action": "published", "channel": "user.ann" }),
        json!({ "action": "user_revoked", "user": "ann", "ended": 0 }),
    ] {
        let mut event = next(&mut feed, &["api_write"]).await;
        let event = event.as_object_mut().unwrap();
        assert!(event["by"].as_str().unwrap().starts_with("token:") && event["address"] == "127.0.0.1", "{event:?}");
        for known in ["kind", "time", "process", "by", "address"] {
            event.remove(known);
        }
        assert_eq!(Value::Object(event.clone()), expected);
    }
}

/// On every transport: a token that may read every other channel may not read it, and a public pattern does not match it.
#[actix_web::test]
async fn only_backends_read_the_feed() {
    let site = site(&[("TRIDENT_EVENTS", "client_event"), ("TRIDENT_PUBLIC", "*")]);
    let everything = site.token("*", "*");
    let paths = ["/events?channel=$events", "/data?channel=$events&mode=poll", "/data?channel=$events&mode=stream"];
    for path in paths {
        assert_eq!(site.get(path).send().await.error(), (401, "token_needed".into()), "{path}");
        assert_eq!(site.get(path).token(&everything).send().await.error(), (403, "insufficient_scope".into()));
    }
    assert_eq!(Plain::open(&site, "/ws?channel=$events", &everything).await.closed().await, 4403);
    let subscribe = r#""subscribe",{"channels":["$events"]}"#;
    let mut refused = Client::connect(&site, Some(&everything)).await.unwrap();
    assert_eq!(refused.ask(subscribe).await["error"]["code"], "insufficient_scope");
    let backend = site.backend_token(ApiRight::Read);
    let mut reader = Client::connect(&site, Some(&backend)).await.unwrap();
    assert_eq!(reader.ask(subscribe).await["ok"], true);
    let mut plain = Plain::open(&site, "/ws?channel=$events", &backend).await;
    let mut feed = feed(&site).await;
    for _ in 0..2 {
        next(&mut feed, &["client_event"]).await;
    }
    let polled = site.get("/data?channel=$events&since=earliest&mode=poll").token(&backend).send().await.json();
    let events: Vec<_> = polled["messages"].as_array().unwrap().iter().map(|one| one["data"].clone()).collect();
    // That of the reader was recorded before it was one.
    assert_eq!(events.iter().map(|event| &event["event"]).collect::<Vec<_>>(), ["subscribe", "subscribe"]);
    refused.ask(r#""order",1"#).await;
    while reader.hear("client_event").await[0]["event"] != "order" {}
    while !plain.text().await.contains("\"event\":\"order\"") {}
    for (method, path) in [("POST", "/events?channel=$events"), ("POST", "/data?channel=$events")] {
        let write = site.backend_token(ApiRight::Write);
        let answer = site.ask(method.parse().unwrap(), path).token(&write).body("application/json", "1").await;
        assert_eq!(answer.error(), (403, "server_channel".into()));
    }
    assert_eq!(publish(&site, &everything, "$events", "1").await.status, 403);
}

/// A flood of events is one gap a second, and evicts no message of another channel.
#[actix_web::test]
async fn a_flood_of_events_is_a_gap() {
    let bounds = [("TRIDENT_EVENTS_RATE", "5"), ("TRIDENT_EVENTS_BYTES", "4KiB"), ("TRIDENT_HISTORY_TOTAL", "64KiB")];
    let site = site(&[&[("TRIDENT_EVENTS", "client_event")], &bounds[..]].concat());
    let kept = site.publish("public.a", "1").await;
    let mut feed = feed(&site).await;
    let mut socket = Client::connect(&site, None).await.unwrap();
    for n in 0..200 {
        socket.ask(&format!("\"flood\",{n}")).await;
    }
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < 200 {
        let event = next(&mut feed, &["client_event", "gap"]).await;
        match event["count"].as_u64() {
            Some(count) => missed += count,
            None => seen += 1,
        }
    }
    assert!(seen >= 5 && missed > 0 && seen + missed == 200, "{seen} and {missed}");
    assert_eq!(site.held("public.a").len(), 1, "{kept}");
    let figures = site.get("/metrics").send().await;
    assert!(figures.text().contains(&format!("trident_events_missed_total {missed}")), "{}", figures.text());
    let stats = site.service.log().counts();
    assert!(stats.server_footprint <= 4096, "{stats:?}");
}
