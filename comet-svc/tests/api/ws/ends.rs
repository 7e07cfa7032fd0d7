//! Keep-alive, and how the server ends a connection.

use std::time::Duration;

use edge::{connections::End, testing::until};
use serde_json::json;

use super::{BINARY, Client, PING, PONG, subscribe};
use crate::site;

#[actix_web::test]
async fn silence_is_broken_by_pings_and_a_missed_pong_closes() {
    let site = site(&[("TRIDENT_KEEPALIVE", "200ms")]);
    let mut client = Client::open(&site, "?channel=public.a").await;
    for _ in 0..3 {
        let (first, data) = client.frame().await;
        assert_eq!(first, PING);
        client.send(PONG, data).await;
    }
    // Another frame is no pong.
    assert_eq!(client.frame().await.0, PING);
    assert_eq!(client.ask(subscribe(&["public.b"], None)).await["ok"], json!(true));
    assert_eq!(client.closed().await, Some(1001));
    until("the slot is free", || site.service.edge.limits.connections() == 0).await;
}

#[actix_web::test]
async fn a_connection_ends_at_its_age() {
    let site = site(&[("TRIDENT_MAX_AGE", "300ms")]);
    assert_eq!(Client::open(&site, "?channel=public.a").await.closed().await, Some(1001));
}

#[actix_web::test]
async fn a_connection_ends_with_its_token() {
    let site = site(&[]);
    let token = format!("Bearer {}", site.token_for(None, "", "inner", Duration::from_millis(300)));
    let client = Client::open_with(&site, "?channel=inner", &[("Authorization", &token)]).await;
    assert_eq!(client.closed().await, Some(4401));
}

/// Also one that is never silent.
#[actix_web::test]
async fn a_busy_connection_ends_with_its_token() {
    let site = site(&[]);
    let token = format!("Bearer {}", site.token_for(None, "", "inner", Duration::from_millis(300)));
    let mut client = Client::open_with(&site, "?channel=inner", &[("Authorization", &token)]).await;
    let code = loop {
        site.publish("inner", "1").await;
        let (first, data) = client.frame().await;
        if first == super::CLOSE {
            break u16::from_be_bytes([data[0], data[1]]);
        }
    };
    assert_eq!(code, 4401);
}

/// The channels of the registry are those that the connection reads at that time.
#[actix_web::test]
async fn a_connection_is_registered_and_ended_from_outside() {
    let site = site(&[]);
    let registry = site.service.edge.limits.registry().clone();
    let channels = async || {
        let page = registry.page(None, 10, |_| true).await;
        page.connections
            .iter()
            .map(|one| one.channels().iter().map(ToString::to_string).collect())
            .collect::<Vec<String>>()
    };
    for (end, code) in [(End::Disconnected, 4403), (End::Revoked, 4401)] {
        let mut client = Client::open(&site, "?channel=public.a").await;
        until("it is registered", || registry.count() == 1).await;
        assert_eq!(channels().await, ["public.a"]);
        assert_eq!(client.ask(subscribe(&["public.b"], None)).await["ok"], json!(true));
        assert_eq!(channels().await, ["public.apublic.b"]);
        let unsubscribe = json!({"unsubscribe": {"channels": ["public.a"]}, "id": 2});
        assert_eq!(client.ask(unsubscribe).await["ok"], json!(true));
        assert_eq!(channels().await, ["public.b"]);
        assert_eq!(registry.end_all(end, |_| true).await, 1);
        assert_eq!(client.closed().await, Some(code));
        until("it is gone", || registry.count() == 0).await;
    }
}

/// Everything that was published before is delivered first.
#[actix_web::test]
async fn a_shutdown_asks_clients_to_reconnect() {
    let site = site(&[("TRIDENT_PUBLIC", "public.*")]);
    // First, so that it waits by the time of the shutdown.
    let mut without_channel = Client::open(&site, "").await;
    let unsubscribe = json!({"unsubscribe": {"channels": ["public.a"]}, "id": 2});
    assert_eq!(without_channel.ask(unsubscribe).await["ok"], json!(true));
    let mut client = Client::open(&site, "?channel=public.a").await;
    client.ask(subscribe(&["public.b"], None)).await;
    let last = site.publish("public.b", "1").await.to_string();
    site.service.edge.drain.begin();
    assert_eq!(client.json().await["id"], json!(last));
    assert_eq!(client.closed().await, Some(1012));
    // Nothing but the beginning of the shutdown wakes it.
    assert_eq!(without_channel.closed().await, Some(1012));
    site.stop().await;
}

#[actix_web::test]
async fn a_shutdown_closes_a_connection_without_a_channel() {
    let site = site(&[]);
    let mut client = Client::open(&site, "?channel=public.a").await;
    assert_eq!(client.ask(json!({"unsubscribe": {"channels": ["public.a"]}, "id": 1})).await["ok"], json!(true));
    let stop = actix_web::rt::spawn(site.stop());
    assert_eq!(client.closed().await, Some(1012));
    stop.await.unwrap();
}

/// Whoever vanishes without a word releases its slot and its subscriptions.
#[actix_web::test]
async fn a_disconnected_client_releases_its_slot() {
    let site = site(&[]);
    let mut client = Client::open(&site, "?channel=public.a").await;
    client.ask(subscribe(&["public.b"], None)).await;
    drop(client);
    until("the slot is free", || site.service.edge.limits.connections() == 0).await;
    assert_eq!(site.service.log().stats(0).subscriptions, 0);
}

/// The event feed has not had the reason of an end that a WebSocket itself decides.
#[actix_web::test]
async fn the_event_feed_has_the_reason_of_an_end() {
    for (keep_alive, reason) in [("15s", "expired"), ("100ms", "timeout"), ("15s", "refused"), ("15s", "closed")] {
        let site = site(&[("TRIDENT_EVENTS", "disconnected"), ("TRIDENT_KEEPALIVE", keep_alive)]);
        let ttl = Duration::from_secs(if reason == "expired" { 1 } else { 60 });
        let token = format!("Bearer {}", site.token_for(None, "", "inner", ttl));
        let mut client = Client::open_with(&site, "?channel=inner", &[("Authorization", &token)]).await;
        match reason {
            "refused" => client.send(BINARY, vec![1]).await,
            "closed" => drop(client),
            "timeout" => {
                assert_eq!(client.frame().await.0, PING);
                assert_eq!(client.closed().await, Some(1001));
            }
            _ => assert_eq!(client.closed().await, Some(4401)),
        }
        until("its end is in the feed", || !site.held("$events").is_empty()).await;
        let events = site.held("$events");
        assert!(events[0].2.contains(&format!(r#""reason":"{reason}""#)), "{reason}: {events:?}");
    }
}
