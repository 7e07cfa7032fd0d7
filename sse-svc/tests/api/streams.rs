//! The ends of Durable Streams.

use edge::testing::{Events, Site, sse::Event, until};
use serde_json::{Value, json};

use crate::site;

/// The next event, which has to be this end; its id.
async fn end(events: &mut Events, channel: &str, reason: &str) -> String {
    let event = events.message().await.unwrap();
    assert_eq!(event.event.as_deref(), Some("end"));
    let data: Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!((&data["channel"], &data["reason"]), (&json!(channel), &json!(reason)));
    let id = event.id.unwrap().to_string();
    assert_eq!(data["id"], json!(id));
    id
}

/// Nothing follows, and the client does not reconnect with `id`.
async fn stops(site: &Site, events: &mut Events, path: &str, id: &str) {
    assert!(matches!(events.next().await, Some(Event::Retry(_))));
    assert_eq!(events.next().await, None);
    assert_eq!(site.get(path).header("Last-Event-ID", id).send().await.status, 204);
}

#[actix_web::test]
async fn a_stream_that_is_closed_ends_its_readers() {
    let site = site(&[]);
    site.create_stream("public.s").await;
    let path = "/events?channel=public.s";
    let first = site.publish("public.s", "1").await.to_string();
    let mut live = site.get(path).header("Last-Event-ID", &first).events().await;
    // It is parked, in a cohort, and leaves that for the end.
    until("it waits", || site.service.log().stats(0).subscriptions == 1).await;
    let (last, id) = site.close_stream("public.s", Some("2")).await;
    assert_eq!(live.take(1).await, [(last.to_string(), "2".into())]);
    for format in ["raw", "message"] {
        let path = format!("{path}&format={format}");
        let mut late = site.get(&format!("{path}&since=earliest")).events().await;
        assert_eq!(late.take(2).await.len(), 2);
        assert_eq!(end(&mut late, "public.s", "closed").await, id.to_string());
        stops(&site, &mut late, &path, &id.to_string()).await;
    }
    assert_eq!(end(&mut live, "public.s", "closed").await, id.to_string());
    stops(&site, &mut live, path, &id.to_string()).await;
    // A browser without a cursor gets one, with which it stops.
    let mut fresh = site.get(path).events().await;
    end(&mut fresh, "public.s", "closed").await;
    stops(&site, &mut fresh, path, &id.to_string()).await;
}

#[actix_web::test]
async fn a_subscription_ends_when_all_of_its_streams_have() {
    let site = site(&[]);
    for stream in ["public.a", "public.b"] {
        site.create_stream(stream).await;
    }
    let path = "/events?channel=public.a&channel=public.b";
    let mut events = site.get(&format!("{path}&since=earliest")).events().await;
    site.delete_stream("public.a").await;
    let first = end(&mut events, "public.a", "deleted").await;
    let id = site.publish("public.b", "1").await.to_string();
    assert_eq!(events.take(1).await, [(id, "1".into())]);
    let mut resumed = site.get(path).header("Last-Event-ID", &first).events().await;
    assert_eq!(resumed.take(1).await[0].1, "1");
    site.close_stream("public.b", None).await;
    let last = end(&mut events, "public.b", "closed").await;
    stops(&site, &mut events, path, &last).await;
    assert_eq!(site.get("/events?channel=public.a").header("Last-Event-ID", &first).send().await.status, 204);
    // The name is used again.
    site.publish("public.a", "2").await;
    let mut again = site.get("/events?channel=public.a").header("Last-Event-ID", &first).events().await;
    assert_eq!(again.take(1).await[0].1, "2");
}
