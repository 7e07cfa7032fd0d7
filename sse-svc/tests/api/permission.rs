//! Subscriptions and publications about which the application decides.

use edge::testing::{Site, backend::Backend};
use serde_json::json;

use crate::site;

async fn asked(calls: &str) -> (Site, Backend) {
    let backend = Backend::start().await;
    let url = backend.url();
    (site(&[("TRIDENT_CALL_URL", &url), ("TRIDENT_CALLS", calls)]), backend)
}

#[actix_web::test]
async fn the_application_decides_who_may_subscribe() {
    let (site, mut backend) = asked("subscribe").await;
    let token = site.token_for(Some("ann"), "", "news", std::time::Duration::from_secs(60));
    let get = |path: &str| site.get(path).token(&token);
    // In place of the token, all channels at once, without that of the user.
    let open = actix_web::rt::spawn(get("/events?channel=orders.1&channel=orders.2&channel=user.ann").open());
    let call = backend.called().await;
    let (id, channels) = (&call.body["id"], ["orders.1", "orders.2"]);
    let expected = json!({ "id": id, "kind": "subscribe", "channels": channels, "user": "ann", "address": "127.0.0.1", "data": null });
    assert_eq!(call.body, expected);
    call.answer(&json!({ "allow": true }));
    assert_eq!(open.await.unwrap().status, 200);
    let denied = actix_web::rt::spawn(get("/events?channel=news").send());
    backend.called().await.answer(&json!({ "allow": false, "code": "not_today", "message": "come on Monday" }));
    let denied = denied.await.unwrap();
    assert_eq!((denied.error(), denied.message()), ((403, "not_today".to_owned()), "come on Monday".to_owned()));
    // What is not an answer is not a permission.
    for (status, body) in [("500 Internal Server Error", ""), ("200 OK", "{}"), ("200 OK", r#"{"allow":"yes"}"#)] {
        let failed = actix_web::rt::spawn(get("/events?channel=news").send());
        backend.called().await.status(status, body);
        let failed = failed.await.unwrap();
        assert_eq!((failed.status, failed.text().starts_with("retry: ")), (200, true), "{status} {body}");
    }
    let server = site.backend_token(shared::pure::access::ApiRight::Read);
    assert_eq!(site.get("/events?channel=orders.1").token(&server).open().await.status, 200);
    assert_eq!(get("/events?channel=user.ann").open().await.status, 200);
    assert_eq!(get("/events?channel=$events").send().await.error(), (403, "insufficient_scope".to_owned()));
    assert!(!backend.is_called());
}

#[actix_web::test]
async fn the_application_decides_who_may_publish() {
    let (site, mut backend) = asked("publish").await;
    let token = site.token_for(Some("ann"), "", "", std::time::Duration::from_secs(60));
    let post = |path: &str| site.ask(actix_web::http::Method::POST, path).token(&token);
    let sent =
        actix_web::rt::spawn(post("/events?channel=orders.1&event=created").body("application/json", r#"{"tea":2}"#));
    let call = backend.called().await;
    let messages = [json!({ "channel": "orders.1", "event": "created", "data": { "tea": 2 } })];
    assert_eq!(
        (&call.body["kind"], &call.body["user"], &call.body["messages"]),
        (&json!("publish"), &json!("ann"), &json!(messages))
    );
    call.answer(&json!({ "allow": true }));
    assert_eq!(sent.await.unwrap().status, 201);
    // A batch is one call, and its messages may get other data.
    let lines = "{\"channel\":\"a\",\"data\":1}\n{\"channel\":\"b\",\"data\":2}";
    let sent = actix_web::rt::spawn(post("/events").body("application/x-ndjson", lines));
    let call = backend.called().await;
    assert_eq!(call.body["messages"].as_array().unwrap().len(), 2);
    call.answer(&json!({ "allow": true, "messages": [{}, { "data": [3] }] }));
    assert_eq!(sent.await.unwrap().status, 201);
    let data = |channel: &str| site.held(channel).into_iter().map(|(_, _, data)| data).collect::<Vec<_>>();
    assert_eq!(
        (data("a"), data("b"), data("orders.1")),
        (vec!["1".into()], vec!["[3]".into()], vec![r#"{"tea":2}"#.into()])
    );
    for (answer, status, code) in [
        (json!({ "allow": false, "code": "closed" }), 403, "closed"),
        (json!({ "allow": false }), 403, "refused"),
        (json!({ "allowed": true }), 503, "backend_unavailable"),
    ] {
        let sent = actix_web::rt::spawn(post("/events?channel=c").body("application/json", "1"));
        backend.called().await.answer(&answer);
        assert_eq!(sent.await.unwrap().error(), (status, code.to_owned()), "{answer}");
    }
    assert_eq!(data("c"), [] as [String; 0]);
    let server = site.backend_token(shared::pure::access::ApiRight::Write);
    let path = site.ask(actix_web::http::Method::POST, "/events?channel=c").token(&server);
    assert_eq!(path.body("application/json", "1").await.status, 201);
    assert!(!backend.is_called());
}

/// A repetition gets the first answer, although the application had changed the data, and it is not asked again.
#[actix_web::test]
async fn a_repeated_key_answers_first_and_calls_nobody() {
    let (site, mut backend) = asked("publish").await;
    let post = |key: &str, body: &'static str| {
        let ask = site.ask(actix_web::http::Method::POST, "/events?channel=c").header("Idempotency-Key", key);
        ask.body("application/json", body)
    };
    let first = actix_web::rt::spawn(post("k", "1"));
    backend.called().await.answer(&json!({ "allow": true, "data": "other" }));
    let first = first.await.unwrap();
    assert_eq!(first.status, 201);
    let again = post("k", "1").await;
    assert_eq!((again.status, again.text()), (201, first.text()));
    assert_eq!(post("k", "2").await.error(), (422, "idempotency_key_reused".to_owned()));
    assert!(!backend.is_called());
    assert_eq!(site.held("c").len(), 1);
}
