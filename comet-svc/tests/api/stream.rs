//! `mode=stream`: a line of JSON for each message.

use actix_web::http::Method;
use edge::testing::{Open, Site};
use serde_json::json;

use crate::{publish, site};

async fn open(site: &Site, query: &str) -> Open {
    let mut open = site.get(&format!("/data?mode=stream{query}")).open().await;
    assert_eq!((open.status, &*open.header("Content-Type")), (200, "application/x-ndjson"));
    assert_eq!((&*open.header("Cache-Control"), &*open.header("X-Accel-Buffering")), ("no-store, no-transform", "no"));
    assert_eq!(open.header("Vary"), "Origin");
    assert_eq!(open.line().await.as_deref(), Some(""), "the opening, at once");
    open
}

#[actix_web::test]
async fn the_bytes_are_as_they_are_written() {
    let site = site(&[]);
    let mut whole = open(&site, "&channel=public.a").await;
    let mut data = open(&site, "&channel=public.a&format=raw").await;
    for (event, json) in [("message", "{\"a\":1.50}"), ("chat message", "\"a\\r\\nb\\rc\""), ("message", "null")] {
        let id = site.publish_as("public.a", event, json).await;
        let line = format!(
            "{{\"id\":\"{id}\",\"channel\":\"public.a\",\"event\":\"{event}\",\"data\":{json},\"time\":{}}}",
            id.ms
        );
        assert_eq!(whole.line().await.unwrap(), line);
        assert_eq!(data.line().await.unwrap(), json);
    }
}

/// The head and an empty line are sent immediately, before there is a message.
#[actix_web::test]
async fn a_bare_stream_is_data_from_now_on() {
    let site = site(&[]);
    publish(&site, "random", 3).await;
    let mut lines = open(&site, "").await;
    site.publish("random", "{\"code\":5}").await;
    assert_eq!(lines.line().await.unwrap(), "{\"code\":5}");
}

/// The head contains the cursor that the stream begins after: a client that is disconnected before the first line resumes from there.
#[actix_web::test]
async fn messages_between_two_first_connections_are_not_skipped() {
    let site = site(&[]);
    publish(&site, "public.a", 3).await;
    let tag = open(&site, "&channel=public.a").await.header("ETag");
    assert_eq!(site.ask(Method::HEAD, "/data?mode=stream&channel=public.a").send().await.header("ETag"), tag);
    let between = site.publish("public.a", "4").await;
    let back = site.get("/data?mode=stream&channel=public.a").header("If-None-Match", &tag);
    let mut back = back.open().await;
    assert_eq!(back.line().await.unwrap(), "");
    assert!(back.line().await.unwrap().contains(&format!("{between}")));
    assert_eq!(open(&site, "&channel=public.a&since=earliest").await.header("ETag"), "", "no cursor was asked for");
}

#[actix_web::test]
async fn a_stream_begins_after_its_cursor() {
    let site = site(&[]);
    let mut sent = Vec::new();
    for n in 0..20 {
        sent.push(site.publish(["public.a", "public.b"][n * 3 % 2], n.to_string()).await.to_string());
    }
    let mut lines = open(&site, &format!("&channel=public.b&channel=public.a&since={}", sent[4])).await;
    for id in &sent[5..] {
        let line: serde_json::Value = serde_json::from_str(&lines.line().await.unwrap()).unwrap();
        assert_eq!(line["id"], json!(id));
    }
    let with_tag = site.get("/data?mode=stream&channel=public.a&channel=public.b");
    let mut lines = with_tag.header("If-None-Match", &format!("\"{}\"", sent[18])).open().await;
    assert_eq!(lines.line().await.unwrap(), "");
    assert!(lines.line().await.unwrap().contains(&sent[19]));
    let mut lines = open(&site, "&format=raw&channel=public.a&since=earliest").await;
    assert_eq!(lines.line().await.unwrap(), "0");
}

#[actix_web::test]
async fn a_gap_is_a_line_in_both_forms() {
    let site = site(&[("TRIDENT_HISTORY_COUNT", "3")]);
    let sent = publish(&site, "public.a", 6).await;
    for format in ["batch", "raw"] {
        let query = |since: &str| format!("&channel=public.a&format={format}&since={since}");
        let mut lines = open(&site, &query(&sent[0])).await;
        let gap = format!("{{\"gap\":{{\"requested\":\"{}\",\"resumed\":\"{}\"}}}}", sent[0], sent[2]);
        assert_eq!(lines.line().await.unwrap(), gap);
        for n in 3..6 {
            let line: serde_json::Value = serde_json::from_str(&lines.line().await.unwrap()).unwrap();
            assert_eq!(if format == "raw" { &line } else { &line["data"] }, &json!(n));
        }
        let first = open(&site, &query(&sent[2])).await.line().await.unwrap();
        assert!(!first.contains("gap"), "{first}");
    }
}

#[actix_web::test]
async fn silence_is_broken_by_empty_lines() {
    let site = site(&[("TRIDENT_KEEPALIVE", "200ms")]);
    let mut lines = open(&site, "").await;
    for _ in 0..2 {
        let begun = std::time::Instant::now();
        assert_eq!(lines.line().await.unwrap(), "");
        assert!(begun.elapsed().as_millis() > 100, "{:?}", begun.elapsed());
    }
    site.publish("random", "7").await;
    let mut line = String::new();
    while line.is_empty() {
        line = lines.line().await.unwrap();
    }
    assert_eq!(line, "7");
}
