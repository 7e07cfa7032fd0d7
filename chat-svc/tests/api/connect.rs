//! Clients that the application identifies at a CONNECT.

use edge::testing::{Site, backend::Backend};
use serde_json::{Value, json};

use crate::{client::Client, site};

/// A service that asks an application who connects, and what its events mean.
async fn asked(settings: &[(&str, &str)]) -> (std::rc::Rc<Site>, Backend) {
    let backend = Backend::start().await;
    let url = backend.url();
    let all =
        [("TRIDENT_CALL_URL", &*url), ("TRIDENT_CALLS", "connect,event")].into_iter().chain(settings.iter().copied());
    (std::rc::Rc::new(site(&all.collect::<Vec<_>>())), backend)
}

fn connecting(site: &std::rc::Rc<Site>, auth: Value) -> actix_web::rt::task::JoinHandle<Result<Client, Value>> {
    let site = site.clone();
    actix_web::rt::spawn(async move { Client::with_auth(&site, &auth).await })
}

#[actix_web::test]
async fn the_application_identifies_a_client_at_its_connect() {
    let (site, mut backend) = asked(&[]).await;
    let client = connecting(&site, json!({ "session": "abc" }));
    let call = backend.called().await;
    assert_eq!(
        call.body,
        json!({
            "id": call.body["id"], "kind": "connect", "transport": "websocket", "namespace": "/", "address": "127.0.0.1",
            "user": null, "headers": {}, "auth": { "session": "abc" },
        })
    );
    call.answer(&json!({ "user": "ann", "subscribe": ["orders.*"], "data": { "cart": [1, 2] } }));
    let mut client = client.await.unwrap().unwrap();
    assert_eq!(client.asks(r#""subscribe",{"channels":["orders.7","user.ann"]}"#).await["ok"], true);
    assert_eq!(client.refused(r#""subscribe",{"channels":["other"]}"#).await, "insufficient_scope");
    // Its events say who it is, with the application's data.
    let asked = client.ask_and_leave(r#""order.create""#).await;
    let call = backend.called().await;
    assert_eq!(
        (&call.body["socket"]["user"], &call.body["socket"]["data"]),
        (&json!("ann"), &json!({ "cart": [1, 2] }))
    );
    call.answer(&json!({ "ack": [1] }));
    assert_eq!(client.answer(asked).await, "1");
}

#[actix_web::test]
async fn a_refusal_and_a_failure_are_connect_errors() {
    let (site, mut backend) = asked(&[]).await;
    let client = connecting(&site, json!({}));
    backend.called().await.answer(&json!({ "refuse": "log in first" }));
    let refused = client.await.unwrap().err().unwrap();
    assert_eq!(refused, json!({ "message": "log in first", "data": { "code": "refused" } }));
    for (status, body) in [("500 Internal Server Error", "{}"), ("200 OK", "[1]"), ("200 OK", r#"{"expires":"soon"}"#)]
    {
        let client = connecting(&site, json!({}));
        backend.called().await.status(status, body);
        let failed = client.await.unwrap().err().unwrap();
        assert_eq!(failed["data"]["code"], "backend_unavailable", "{status} {body}");
    }
    // An invalid token is refused as ever, and asks nobody.
    let refused = connecting(&site, json!({ "token": "no token" })).await.unwrap().err().unwrap();
    assert_eq!(refused["data"]["code"], "bad_token");
    assert!(!backend.is_called());
}

#[actix_web::test]
async fn a_connection_ends_when_the_application_says() {
    let (site, mut backend) = asked(&[]).await;
    let client = connecting(&site, json!({}));
    let soon = std::time::SystemTime::now() + std::time::Duration::from_millis(300);
    let soon = soon.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    backend.called().await.answer(&json!({ "user": "ann", "expires": soon }));
    let _client = client.await.unwrap().unwrap();
    edge::testing::until("its time is over", || site.service.edge.limits.connections() == 0).await;
}

#[actix_web::test]
async fn a_connection_that_ends_at_a_time_needs_no_task_for_that() {
    let (site, mut backend) = asked(&[]).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut clients = Vec::new();
    let mut added = Vec::new();
    for answer in [json!({ "user": "ann" }), json!({ "user": "ann", "expires": 7_000_000_000_u64 })] {
        // The first one of all starts what the others share.
        for _ in 0..2 {
            let before = tasks();
            let client = connecting(&site, json!({}));
            backend.called().await.answer(&answer);
            clients.push(client.await.unwrap().unwrap());
            added.push(tasks() - before);
        }
    }
    assert_eq!(added[1], added[3], "{added:?}");
}
