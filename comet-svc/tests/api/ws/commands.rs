//! Messages, commands and their answers.

use edge::testing::{Site, until};
use serde_json::{Value, json};

use super::{Client, code, subscribe};
use crate::{publish, site};

/// A token with a subject, since each token without one is a publisher of its own.
fn token(site: &Site) -> String {
    site.token_for(Some("ann"), "news*,public.a", "news*,public.*", std::time::Duration::from_secs(60))
}

async fn authorized(site: &Site, query: &str) -> Client {
    let token = format!("Bearer {}", token(site));
    Client::open_with(site, query, &[("Authorization", &token)]).await
}

/// One text frame for each message: the JSON of a line of `/data?mode=stream&format=batch`.
#[actix_web::test]
async fn a_message_is_the_line_of_a_stream() {
    let site = site(&[]);
    let mut client = Client::open(&site, "?channel=public.a").await;
    for (event, data) in [("message", "{\"a\":1.50}"), ("chat message", "\"a\\r\\nb\""), ("message", "null")] {
        let id = site.publish_as("public.a", event, data).await;
        let line = format!(
            "{{\"id\":\"{id}\",\"channel\":\"public.a\",\"event\":\"{event}\",\"data\":{data},\"time\":{}}}",
            id.ms
        );
        assert_eq!(client.text().await, line);
    }
    let long = format!("\"{}\"", "x".repeat(60_000));
    site.publish("public.a", &long).await;
    assert_eq!(client.json().await["data"].as_str().map(str::len), Some(60_000));
    let figures = site.service.edge.metrics.transport(edge::metrics::Transport::PlainWebSocket);
    // Another thread counts, after it has written.
    until("all are counted", || figures.deliveries.get() == 4).await;
    assert_eq!(figures.gaps.get(), 0);
}

#[actix_web::test]
async fn a_gap_is_a_frame_before_the_messages() {
    let site = site(&[("TRIDENT_HISTORY_COUNT", "3")]);
    let sent = publish(&site, "public.a", 6).await;
    let gap = json!({"gap": {"requested": sent[0], "resumed": sent[2]}});
    let mut client = Client::open(&site, &format!("?channel=public.a&since={}", sent[0])).await;
    assert_eq!(client.json().await, gap);
    let mut later = Client::open(&site, "?channel=public.b").await;
    assert_eq!(later.ask(subscribe(&["public.a"], Some(&sent[0]))).await["ok"], json!(true));
    assert_eq!(later.json().await, gap);
    for n in 3..6 {
        assert_eq!((client.json().await["data"].clone(), later.json().await["data"].clone()), (json!(n), json!(n)));
    }
}

/// The answer comes before the messages that the subscription starts.
#[actix_web::test]
async fn subscribing_is_answered_before_its_messages() {
    let site = site(&[]);
    let sent = publish(&site, "public.a", 3).await;
    let mut client = Client::open(&site, "?channel=public.b").await;
    let head = client.ask(subscribe(&["public.c"], None)).await;
    assert_eq!(head, json!({"id": 1, "ok": true, "cursor": sent[2]}));
    let answer = client.ask(subscribe(&["public.a"], Some(&sent[0]))).await;
    assert_eq!(answer, json!({"id": 1, "ok": true, "cursor": sent[0]}));
    for n in 1..3 {
        assert_eq!(client.json().await["data"], json!(n));
    }
    let live = site.publish("public.c", "\"c\"").await.to_string();
    assert_eq!(client.json().await["id"], json!(live));
    let answer = client.ask(json!({"unsubscribe": {"channels": ["public.c", "public.x"]}, "id": "u"})).await;
    assert_eq!(answer, json!({"id": "u", "ok": true}));
    site.publish("public.c", "1").await;
    site.publish("public.b", "2").await;
    assert_eq!(client.json().await["data"], json!(2));
    assert_eq!(client.ask(subscribe(&["public.a"], Some("earliest"))).await["cursor"], json!("0-0"));
    assert_eq!(client.json().await["id"], json!(sent[0]));
}

#[actix_web::test]
async fn publishing_is_answered_with_the_id_and_delivered_everywhere() {
    let site = site(&[]);
    let mut client = authorized(&site, "?channel=news").await;
    let mut lines = site.get("/data?mode=stream&channel=news").token(&site.token("", "news")).open().await;
    lines.line().await;
    client.command(json!({"publish": {"channel": "news", "event": "e", "data": {"n": 1}, "key": "k"}, "id": 7})).await;
    // Its own message may be the first of the two.
    let (first, second) = (client.json().await, client.json().await);
    let (answer, message) = if first.get("ok").is_some() { (first, second) } else { (second, first) };
    assert_eq!(answer, json!({"id": 7, "ok": true, "cursor": message["id"]}));
    assert_eq!((&message["event"], &message["data"]), (&json!("e"), &json!({"n": 1})));
    let line: Value = serde_json::from_str(&lines.line().await.unwrap()).unwrap();
    assert_eq!((&line, &message["user"]), (&message, &json!("ann")));
    let mut anonymous = Client::open(&site, "?channel=public.a").await;
    client.command(json!({"publish": {"channel": "public.a", "data": 1}})).await;
    assert_eq!(anonymous.json().await.get("user"), None, "without a token it is not shown");
    client.json().await;
    let again = json!({"publish": {"channel": "news", "event": "e", "data": {"n": 1}, "key": "k"}, "id": 8});
    assert_eq!(client.ask(again).await, json!({"id": 8, "ok": true, "cursor": message["id"]}));
    let other = json!({"publish": {"channel": "news", "data": 2, "key": "k"}, "id": 9});
    assert_eq!(code(&client.ask(other).await), "idempotency_key_reused");
    // The key is the same over HTTP.
    let post = site.ask("POST".parse().unwrap(), "/data?channel=news&event=e").token(&token(&site));
    let posted = post.header("Idempotency-Key", "k").body("application/json", "{\"n\":1}").await;
    assert_eq!(posted.json()["id"], message["id"], "{posted:?}");
    let metrics = &site.service.edge.metrics;
    assert_eq!((metrics.publishes.get(), metrics.repeats.get()), (2, 2));
}

#[actix_web::test]
async fn rejected_commands_are_answered_and_the_connection_stays_open() {
    let site = site(&[("TRIDENT_MAX_CHANNELS_PER_CLIENT", "5")]);
    let mut client = authorized(&site, "?channel=public.a").await;
    let many: Vec<String> = (0..6).map(|n| format!("public.m{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (command, expected) in [
        (json!({"subscribe": {"channels": ["inner"]}, "id": 1}), "insufficient_scope"),
        (json!({"publish": {"channel": "public.b", "data": 1}, "id": 1}), "insufficient_scope"),
        (subscribe(&many, None), "too_many_requests"),
        (subscribe(&["public.a"], Some("x")), "bad_cursor"),
        (json!({"publish": {"channel": "news", "data": 1, "key": ""}, "id": 1}), "bad_idempotency_key"),
        (json!({"subscribe": {}, "id": 1}), "bad_arguments"),
        (json!({"shout": {}, "id": 1}), "bad_command"),
    ] {
        let answer = client.ask(command.clone()).await;
        assert_eq!((code(&answer), &answer["id"]), (expected, &json!(1)), "{command}");
    }
    let mut anonymous = Client::open(&site, "?channel=public.a").await;
    let publish = json!({"publish": {"channel": "public.a", "data": 1}});
    let answer = anonymous.ask(publish).await;
    assert_eq!((code(&answer), answer.get("id")), ("token_needed", None), "no id was sent");
    site.publish("public.a", "5").await;
    assert_eq!(client.json().await["data"], json!(5));
}

#[actix_web::test]
async fn publishing_has_the_rate_of_http() {
    let site = site(&[("TRIDENT_PUBLISH_RATE", "2")]);
    let mut client = authorized(&site, "?channel=public.a").await;
    let publish = || json!({"publish": {"channel": "news", "data": 1}, "id": 1});
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(client.ask(publish()).await);
    }
    assert_eq!(code(&answers[2]), "too_many_requests");
    assert_eq!(site.service.edge.metrics.refusals.publish_rate.get(), 1);
}

/// Commands that arrive at once are answered in their order.
#[actix_web::test]
async fn commands_are_answered_in_order() {
    let site = site(&[]);
    let mut client = authorized(&site, "?channel=public.a").await;
    let mut bytes = Vec::new();
    for id in 0..50 {
        let command = match id % 3 {
            0 => json!({"publish": {"channel": "news", "data": id}, "id": id}),
            1 => json!({"subscribe": {"channels": [format!("public.{id}")]}, "id": id}),
            _ => json!({"unsubscribe": {"channels": ["public.b"]}, "id": id}),
        };
        bytes.extend(super::masked(super::TEXT, command.to_string().as_bytes()));
    }
    client.0.write(bytes).await;
    for id in 0..50 {
        let answer = client.json().await;
        assert_eq!((&answer["id"], &answer["ok"]), (&json!(id), &json!(true)));
    }
}

#[actix_web::test]
async fn a_backend_subscribes_to_patterns() {
    let site = site(&[]);
    let bearer = format!("Bearer {}", site.backend_token(shared::pure::access::ApiRight::Read));
    let first = site.publish("orders.1", "1").await.to_string();
    let mut client = Client::open_with(&site, "?channel=news", &[("Authorization", &bearer)]).await;
    let command = subscribe(&["orders.*"], Some("earliest"));
    assert_eq!(client.ask(command).await["ok"], json!(true));
    assert_eq!(client.json().await["id"], json!(first));
    let second = site.publish("orders.2", "2").await.to_string();
    assert_eq!(client.json().await["id"], json!(second));
    assert_eq!(client.ask(json!({"unsubscribe": {"channels": ["orders.*"]}, "id": 2})).await["ok"], json!(true));
    site.publish("orders.2", "3").await;
    let news = site.publish("news", "4").await.to_string();
    assert_eq!(client.json().await["id"], json!(news));
    let mut other = Client::open(&site, "?channel=public.a").await;
    assert_eq!(other.ask(subscribe(&["public.*"], None)).await["error"]["code"], "bad_channel");
}
