//! Patterns, which only backends may subscribe to.

use actix_web::http::Method;
use shared::pure::access::ApiRight;

use crate::site;

#[actix_web::test]
async fn a_backend_reads_all_channels_of_a_pattern() {
    let site = site(&[]);
    let bearer = format!("Bearer {}", site.backend_token(ApiRight::Read));
    let first = site.publish("orders.1", "1").await;
    site.publish("other", "0").await;
    let request = site.get("/events?channel=orders.*&channel=news&since=earliest").header("Authorization", &bearer);
    let mut events = request.events().await;
    assert_eq!(events.take(1).await, [(first.to_string(), "1".into())]);
    let mut sent = Vec::new();
    for (channel, data) in [("orders.2", "2"), ("news", "3"), ("orders.1", "4"), ("orders/1", "0"), ("orders.3/x", "5")]
    {
        let id = site.publish(channel, data).await.to_string();
        sent.extend((data != "0").then(|| (id, data.to_owned())));
    }
    assert_eq!(events.take(4).await, sent);
    // `/v1` shows what it reads as it was named.
    let registry = site.service.edge.limits.registry().clone();
    let page = registry.page(None, 10, |_| true).await;
    let channels: Vec<_> = page.connections[0].channels().iter().map(ToString::to_string).collect();
    assert_eq!(channels, ["news", "orders.*"]);
}

#[actix_web::test]
async fn a_pattern_is_no_channel_to_anybody_else() {
    let site = site(&[("TRIDENT_PUBLIC", "*")]);
    let client = format!("Bearer {}", site.token("*", "*"));
    let backend = format!("Bearer {}", site.backend_token(ApiRight::Write));
    for (bearer, channel, status, code) in [
        (None, "orders.*", 400, "bad_channel"),
        (Some(&client), "orders.*", 400, "bad_channel"),
        (Some(&client), "*", 400, "bad_channel"),
        (Some(&backend), "$*", 400, "bad_channel"),
        (Some(&backend), "a*b", 400, "bad_channel"),
        (Some(&"Bearer x".to_owned()), "orders.*", 401, "bad_token"),
    ] {
        let request = site.get(&format!("/events?channel={channel}"));
        let request = match bearer {
            Some(bearer) => request.header("Authorization", bearer),
            None => request,
        };
        assert_eq!(request.send().await.error(), (status, code.to_owned()), "{channel}");
    }
    let publish = site.ask(Method::POST, "/events?channel=orders.*").header("Authorization", &backend);
    assert_eq!(publish.body("application/json", "1").await.error(), (400, "bad_channel".to_owned()));
}
