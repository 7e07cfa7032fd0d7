//! WebSockets of clients that the application identifies.

use serde_json::json;

use super::{Client, request, subscribe};
use crate::connect::asked;

#[actix_web::test]
async fn a_websocket_is_asked_about_when_it_opens() {
    let (site, mut backend) = asked().await;
    let site = std::rc::Rc::new(site);
    let opening = |query: &'static str| {
        let site = site.clone();
        actix_web::rt::spawn(async move { Client::open_with(&site, query, &[("Cookie", "s=1")]).await })
    };
    let open = opening("?channel=orders.ann");
    let call = backend.called().await;
    assert_eq!((&call.body["transport"], &call.body["headers"]), (&json!("ws"), &json!({ "cookie": "s=1" })));
    call.answer(&json!({ "user": "ann", "subscribe": ["orders.*"], "publish": ["orders.ann"] }));
    let mut client = open.await.unwrap();
    client.command(json!({ "publish": { "channel": "orders.ann", "data": 7 }, "id": 1 })).await;
    let (mut answer, mut message) = (client.json().await, client.json().await);
    if message.get("ok").is_some() {
        std::mem::swap(&mut answer, &mut message);
    }
    assert_eq!((&answer["ok"], &message["data"], &message["user"]), (&json!(true), &json!(7), &json!("ann")));
    let open = opening("");
    backend.called().await.answer(&json!({ "refuse": "log in first" }));
    assert_eq!(open.await.unwrap().closed().await, Some(4403));
    let failing = site.clone();
    let failed = actix_web::rt::spawn(async move { request(&failing, "", &[]).await.1 });
    backend.called().await.status("500 Internal Server Error", "");
    let head = failed.await.unwrap();
    assert!(head.starts_with("http/1.1 503 ") && head.contains("retry-after: "), "{head}");
}

#[actix_web::test]
async fn the_application_decides_about_commands() {
    let backend = edge::testing::backend::Backend::start().await;
    let url = backend.url();
    let site = crate::site(&[("TRIDENT_CALL_URL", &url), ("TRIDENT_CALLS", "subscribe,publish")]);
    backend.answer_all(|call| match call["kind"].as_str() {
        Some("subscribe") => json!({ "allow": call["channels"] != json!(["secret"]), "code": "secret" }),
        _ => json!({ "allow": true, "data": 8 }),
    });
    let mut client = Client::open(&site, "?channel=orders").await;
    let refused = client.ask(json!({ "subscribe": { "channels": ["secret"] }, "id": 1 })).await;
    assert_eq!(refused["error"]["code"], "secret");
    client.command(json!({ "publish": { "channel": "orders", "data": 7 }, "id": 2 })).await;
    let (one, other) = (client.json().await, client.json().await);
    let message = if one.get("ok").is_some() { other } else { one };
    assert_eq!(message["data"], 8);
    assert_eq!(Client::open(&site, "?channel=secret").await.closed().await, Some(4403));
}

#[actix_web::test]
async fn a_repeated_subscription_causes_no_call() {
    let backend = edge::testing::backend::Backend::start().await;
    let url = backend.url();
    let site = crate::site(&[("TRIDENT_CALL_URL", &url), ("TRIDENT_CALLS", "subscribe")]);
    let calls = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let made = calls.clone();
    backend.answer_all(move |call| {
        made.borrow_mut().push(call["channels"].clone());
        json!({ "allow": true })
    });
    let mut client = Client::open(&site, "?channel=orders").await;
    for _ in 0..3 {
        assert_eq!(client.ask(subscribe(&["orders"], None)).await["ok"], true);
    }
    assert_eq!(calls.take(), [json!(["orders"])]);
    // What is new is asked about, and so are older messages.
    assert_eq!(client.ask(subscribe(&["orders", "news"], None)).await["ok"], true);
    assert_eq!(client.ask(subscribe(&["orders"], Some("earliest"))).await["ok"], true);
    assert_eq!(calls.take(), [json!(["news"]), json!(["orders"])]);
    let unsubscribe = json!({ "unsubscribe": { "channels": ["orders"] } });
    assert_eq!(client.ask(unsubscribe).await["ok"], true);
    assert_eq!(client.ask(subscribe(&["news", "orders"], None)).await["ok"], true);
    assert_eq!(calls.take(), [json!(["orders"])]);
}
