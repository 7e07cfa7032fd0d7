//! Traces: spans of publications, of their deliveries and of calls are sent to a collector.

use std::collections::HashMap;

use edge::testing::{Answer, Site, backend::Backend};
use serde_json::{Value, json};

use crate::{
    client::{Client, Plain},
    site, token,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

async fn publish(site: &Site, token: &str, traceparent: Option<&str>) -> Answer {
    let mut ask = site.ask("POST".parse().unwrap(), "/events?channel=news").token(token);
    if let Some(traceparent) = traceparent {
        ask = ask.header("traceparent", traceparent);
    }
    ask.body("application/json", "1").await
}

/// The value of an attribute.
fn attribute<'a>(span: &'a Value, key: &str) -> &'a str {
    let all = span["attributes"].as_array().unwrap();
    let value = &all.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("{key}: {span}"))["value"];
    value["stringValue"].as_str().or(value["intValue"].as_str()).unwrap()
}

/// The header of a request.
fn traceparent(head: &str) -> Option<&str> {
    head.lines().find_map(|line| line.strip_prefix("traceparent: "))
}

/// The next `count` spans that the collector receives, each by its name, and deliveries by their transport.
async fn spans(collector: &mut Backend, count: usize) -> HashMap<String, Value> {
    let mut spans = HashMap::new();
    while spans.len() < count {
        let called = collector.called().await;
        let of_process = &called.body["resourceSpans"][0];
        assert_eq!(attribute(&of_process["resource"], "service.name"), "standalone");
        for span in of_process["scopeSpans"][0]["spans"].as_array().unwrap() {
            let name = span["name"].as_str().unwrap();
            let name = if name == "deliver" { attribute(span, "trident.transport") } else { name };
            assert!(spans.insert(name.to_owned(), span.clone()).is_none(), "{span}");
        }
        called.answer(&json!({}));
    }
    spans
}

/// The names of the spans of a request.
fn names(body: &Value) -> Vec<String> {
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    spans.iter().map(|span| span["name"].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn a_publication_is_traced_to_the_backend_and_to_its_readers() {
    let (mut collector, mut backend) = (Backend::start().await, Backend::start().await);
    let site = site(&[
        ("TRIDENT_TRACES_URL", &collector.url()),
        ("TRIDENT_TRACES_SAMPLE", "0"),
        ("TRIDENT_CALL_URL", &backend.url()),
        ("TRIDENT_CALLS", "publish"),
    ]);
    let ann = token(&site, "ann", "*", "*");
    let mut events = site.get("/events?channel=news").token(&ann).events().await;
    let mut lines = site.get("/data?channel=news&mode=stream").token(&ann).open().await;
    let mut plain = Plain::open(&site, "/ws?channel=news", &ann).await;
    let mut socket = Client::connect(&site, Some(&ann)).await.unwrap();
    assert_eq!(socket.ask(r#""subscribe",{"channels":["news"]}"#).await["ok"], true);

    // Of a trace that is not recorded, the backend gets what came; without a trace, and a share of 0, nothing.
    for given in [Some(format!("00-{TRACE}-{SPAN}-00")), None] {
        let answer_one = async {
            let called = backend.called().await;
            assert_eq!(traceparent(&called.head), given.as_deref());
            called.answer(&json!({ "allow": false }));
        };
        let (answer, ()) = tokio::join!(publish(&site, &ann, given.as_deref()), answer_one);
        assert_eq!(answer.status, 403);
    }

    let given = format!("00-{TRACE}-{SPAN}-01");
    let mut of_call = String::new();
    let answer_one = async {
        let called = backend.called().await;
        of_call = traceparent(&called.head).unwrap().to_owned();
        called.answer(&json!({ "allow": true }));
    };
    let (answer, ()) = tokio::join!(publish(&site, &ann, Some(&given)), answer_one);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(events.message().await.unwrap().data, "1");
    while !lines.line().await.unwrap().contains(&id) {}
    while !plain.text().await.contains(&id) {}
    socket.hear("message").await;

    // What is recorded is sent before the process ends.
    let stopping = actix_web::rt::spawn(site.stop());
    let spans = spans(&mut collector, 7).await;
    stopping.await.unwrap();
    let publish = &spans["publish"];
    let parent = publish["spanId"].as_str().unwrap();
    assert_eq!((&publish["parentSpanId"], &publish["kind"]), (&json!(SPAN), &json!(2)));
    assert_eq!(attribute(publish, "messaging.destination.name"), "news");
    for span in spans.values() {
        assert_eq!(span["traceId"], TRACE);
        let nanos = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
        assert!(nanos("startTimeUnixNano") <= nanos("endTimeUnixNano") && span.get("status").is_none(), "{span}");
    }
    for name in ["call publish", "log", "sse", "stream", "ws", "websocket"] {
        assert_eq!(spans[name]["parentSpanId"], parent, "{name}");
    }
    for name in ["log", "sse", "stream", "ws", "websocket"] {
        assert_eq!(attribute(&spans[name], "messaging.message.id"), id, "{name}");
    }
    for transport in ["sse", "stream", "ws", "websocket"] {
        assert_eq!(attribute(&spans[transport], "trident.clients"), "1", "{transport}");
    }
    let call = spans["call publish"]["spanId"].as_str().unwrap();
    assert_eq!(of_call, format!("00-{TRACE}-{call}-01"));
}

/// Spans that were recorded while others were being sent were lost if the process ended then.
#[actix_web::test]
async fn what_is_recorded_until_the_end_is_sent() {
    let mut collector = Backend::start().await;
    let site = site(&[("TRIDENT_TRACES_URL", &collector.url()), ("TRIDENT_TRACES_SAMPLE", "1")]);
    let ann = token(&site, "ann", "*", "*");
    let mut events = site.get("/events?channel=news").token(&ann).events().await;
    assert_eq!(publish(&site, &ann, None).await.status, 201);
    let first = collector.called().await;
    assert_eq!(publish(&site, &ann, None).await.status, 201);
    for _ in 0..2 {
        events.message().await.unwrap();
    }
    let stopping = actix_web::rt::spawn(site.stop());
    // The streams have ended.
    while events.message().await.is_some() {}
    let mut names = names(&first.body);
    first.answer(&json!({}));
    while names.len() < 6 {
        let called = collector.called().await;
        names.extend(self::names(&called.body));
        called.answer(&json!({}));
    }
    names.sort();
    assert_eq!(names, ["deliver", "deliver", "log", "log", "publish", "publish"]);
    stopping.await.unwrap();
}

/// A collector that asks for it gets the same spans again; what it rejects is lost, and counted.
#[actix_web::test]
async fn spans_are_sent_again_or_counted_as_lost() {
    let mut collector = Backend::start().await;
    let site = site(&[("TRIDENT_TRACES_URL", &collector.url()), ("TRIDENT_TRACES_SAMPLE", "1")]);
    let ann = token(&site, "ann", "*", "*");
    assert_eq!(publish(&site, &ann, None).await.status, 201);
    let first = collector.called().await;
    let spans = first.body.clone();
    assert!(traceparent(&first.head).is_none(), "requests to the collector are not traced");
    first.status("503 Busy\r\nRetry-After: 0", "");
    let again = collector.called().await;
    assert_eq!(again.body, spans);
    again.status("400 No", "");
    let figures = async || site.get("/metrics").send().await.text().to_owned();
    let lost = |figures: &str| figures.lines().any(|line| line == "trident_trace_spans_lost_total 2");
    let mut seen = figures().await;
    while !lost(&seen) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        seen = figures().await;
    }
    let stopping = actix_web::rt::spawn(site.stop());
    // There is nobody who reads.
    stopping.await.unwrap();
    assert!(!collector.is_called());
}
