//! The ends of Durable Streams.

use serde_json::{Value, json};

use super::{Client, subscribe};
use crate::site;

fn ended(channel: &str, reason: &str, id: &str) -> Value {
    json!({"channel": channel, "reason": reason, "id": id})
}

#[actix_web::test]
async fn a_websocket_closes_normally_after_the_last_end() {
    let site = site(&[]);
    for stream in ["public.a", "public.b"] {
        site.create_stream(stream).await;
    }
    let mut client = Client::open(&site, "?channel=public.a&channel=public.b").await;
    let (last, id) = site.close_stream("public.a", Some("1")).await;
    assert_eq!(client.json().await["id"], json!(last.to_string()));
    assert_eq!(client.json().await, json!({"end": ended("public.a", "closed", &id.to_string())}));
    // A catch-up finds it, too, and a stream that has ended can be subscribed to.
    assert_eq!(client.ask(subscribe(&["public.a"], Some("earliest"))).await["ok"], json!(true));
    assert_eq!(client.json().await["data"], json!(1));
    assert_eq!(client.json().await["end"]["channel"], json!("public.a"));
    let (last, id) = site.close_stream("public.b", Some(&format!("\"{}\"", "x".repeat(5_000)))).await;
    assert_eq!(client.json().await["id"], json!(last.to_string()));
    assert_eq!(client.json().await, json!({"end": ended("public.b", "closed", &id.to_string())}));
    assert_eq!(client.closed().await, Some(1000));
    let late = Client::open(&site, &format!("?channel=public.b&since={id}")).await;
    assert_eq!(late.closed().await, Some(1000), "it knows the end");
    // A client that names no position may still ask for earlier messages.
    let mut late = Client::open(&site, "?channel=public.b").await;
    assert_eq!(late.json().await["end"]["id"], json!(id.to_string()));
    // A repeated subscription changes nothing.
    assert_eq!(late.ask(subscribe(&["public.b"], None)).await["ok"], json!(true));
    assert_eq!(late.ask(subscribe(&["public.b"], Some("earliest"))).await["ok"], json!(true));
    assert_eq!(late.json().await["id"], json!(last.to_string()));
    assert_eq!(late.json().await["end"]["id"], json!(id.to_string()));
}
