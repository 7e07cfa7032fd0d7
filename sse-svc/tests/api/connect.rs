//! Streams of clients that the application identifies.

use edge::testing::{Site, backend::Backend};
use serde_json::json;

use crate::site;

async fn asked(settings: &[(&str, &str)]) -> (Site, Backend) {
    let backend = Backend::start().await;
    let url = backend.url();
    let all = [("TRIDENT_CALL_URL", &*url), ("TRIDENT_CALLS", "connect")].into_iter().chain(settings.iter().copied());
    (site(&all.collect::<Vec<_>>()), backend)
}

#[actix_web::test]
async fn the_application_decides_what_a_stream_may_read() {
    let (site, mut backend) = asked(&[("TRIDENT_CALL_HEADERS", "X-Tenant")]).await;
    site.publish("orders.ann", "1").await;
    let ask = site.get("/events?channel=orders.ann&since=earliest");
    let ask = ask.header("Cookie", "session=7").header("X-Tenant", "tea").header("X-Other", "no");
    let open = actix_web::rt::spawn(ask.events());
    let call = backend.called().await;
    assert_eq!(
        call.body,
        json!({
            "id": call.body["id"], "kind": "connect", "transport": "sse", "address": "127.0.0.1", "user": null,
            "headers": { "cookie": "session=7", "x-tenant": "tea" },
        })
    );
    call.answer(&json!({ "user": "ann", "subscribe": ["orders.ann"] }));
    let mut events = open.await.unwrap();
    assert_eq!(events.message().await.unwrap().data, "1");
    let mut users = Vec::new();
    let registry = site.service.edge.limits.registry();
    registry.visit(|connection| users.extend(connection.user().map(ToString::to_string))).await;
    assert_eq!(users, ["ann"], "it is known by its user");
}

#[actix_web::test]
async fn the_answer_takes_precedence_and_patterns_are_never_those_of_both() {
    let (site, mut backend) = asked(&[]).await;
    let token = site.token_for(Some("bob"), "", "news,orders.bob", std::time::Duration::from_secs(60));
    for (answer, channel, status) in [
        (json!({ "subscribe": ["orders.ann"] }), "orders.ann", 200),
        (json!({ "subscribe": ["orders.ann"] }), "news", 403),
        (json!({ "subscribe": [] }), "news", 403),
        (json!({ "user": "ann" }), "news", 200),
        (json!({ "user": "ann" }), "user.ann", 200),
        (json!({ "user": "ann" }), "user.bob", 403),
        (json!({}), "user.bob", 200),
    ] {
        let ask = site.get(&format!("/events?channel={channel}")).token(&token);
        let open = actix_web::rt::spawn(ask.open());
        let call = backend.called().await;
        assert_eq!(call.body["user"], "bob");
        call.answer(&answer);
        assert_eq!(open.await.unwrap().status, status, "{answer} {channel}");
    }
}

#[actix_web::test]
async fn a_refusal_is_final_and_a_failure_is_not() {
    let (site, mut backend) = asked(&[]).await;
    let open = actix_web::rt::spawn(site.get("/events?channel=public.a").send());
    backend.called().await.answer(&json!({ "refuse": "log in first" }));
    let refused = open.await.unwrap();
    assert_eq!((refused.error(), refused.message()), ((403, "refused".to_owned()), "log in first".to_owned()));
    // A browser reconnects after the end of a stream, and never after an error.
    for (status, body) in [("500 Internal Server Error", "{}"), ("200 OK", r#"{"users":"ann"}"#), ("200 OK", "")] {
        let open = actix_web::rt::spawn(site.get("/events?channel=public.a").send());
        backend.called().await.status(status, body);
        let closed = open.await.unwrap();
        assert_eq!((closed.status, &*closed.header("Content-Type")), (200, "text/event-stream;charset=utf-8"));
        assert!(closed.text().starts_with("retry: ") && closed.text().lines().count() == 2, "{closed:?}");
    }
    let metrics = site.service.edge.metrics.encode().unwrap();
    for reason in ["backend_refused", "backend_unavailable"] {
        assert!(!metrics.contains(&format!("trident_refusals_total{{reason=\"{reason}\"}} 0")), "{reason}: {metrics}");
    }
}

/// An `EventSource` does not reconnect after no content.
#[actix_web::test]
async fn a_disconnected_user_that_the_application_names_gets_no_content() {
    let (site, mut backend) = asked(&[]).await;
    let (edge, now) = (&site.service.edge, std::time::SystemTime::now());
    edge.restrict(&edge.refuse_user("ann", now, std::time::Duration::from_secs(60)), now).await;
    let open = actix_web::rt::spawn(site.get("/events?channel=public.a").send());
    backend.called().await.answer(&json!({ "user": "ann" }));
    assert_eq!(open.await.unwrap().status, 204);
}

/// A page of another origin can make the browser send cookies: they are not what the user says.
#[actix_web::test]
async fn cookies_of_another_origin_are_not_passed_on() {
    let (site, mut backend) = asked(&[]).await;
    for (origin, passed) in [("https://evil.example", false), ("http://localhost:3000", false)] {
        let ask = site.get("/events?channel=public.a").header("Cookie", "session=7").header("Origin", origin);
        let open = actix_web::rt::spawn(ask.open());
        let call = backend.called().await;
        assert_eq!(call.body["headers"].get("cookie").is_some(), passed, "{origin}");
        call.answer(&json!({}));
        assert_eq!(open.await.unwrap().status, 200);
    }
}

#[actix_web::test]
async fn a_server_with_the_right_of_a_backend_is_not_asked_about() {
    let (site, mut backend) = asked(&[]).await;
    let token = site.backend_token(shared::pure::access::ApiRight::Read);
    assert_eq!(site.get("/events?channel=orders.ann").token(&token).open().await.status, 200);
    assert!(!backend.is_called());
}

/// Neither is the application asked in vain, nor do requests that wait for it escape the limits.
#[actix_web::test]
async fn the_query_and_the_limits_are_checked_first() {
    let (site, mut backend) = asked(&[("TRIDENT_MAX_CONNECTIONS", "1")]).await;
    for (query, code) in [
        ("channel=a%20b", "bad_channel"),
        ("channel=secret&since=x", "bad_cursor"),
        ("channel=secret&format=x", "bad_format"),
        ("chanel=a", "unknown_parameter"),
    ] {
        assert_eq!(site.get(&format!("/events?{query}")).send().await.error(), (400, code.to_owned()));
    }
    let first = actix_web::rt::spawn(site.get("/events?channel=orders").events());
    let call = backend.called().await;
    assert_eq!(site.service.edge.limits.connections(), 1, "while the application is asked");
    let full = site.get("/events?channel=orders").send().await;
    assert!(full.status == 200 && full.text().starts_with("retry: "), "{full:?}");
    call.answer(&json!({ "subscribe": ["orders"] }));
    drop(first.await.unwrap());
    edge::testing::until("the slot is free", || site.service.edge.limits.connections() == 0).await;
    assert!(!backend.is_called(), "one call alone has arrived, and all requests have been answered");
}
