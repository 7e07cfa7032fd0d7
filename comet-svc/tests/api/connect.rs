//! Polls of clients that the application identifies.

use std::time::{Duration, SystemTime};

use edge::{
    auth::{Revocation, Revoked},
    testing::{Ask, Site, backend::Backend, until},
};
use serde_json::json;

use crate::site;

/// A service that asks an application who connects.
pub(crate) async fn asked() -> (Site, Backend) {
    let backend = Backend::start().await;
    let url = backend.url();
    (site(&[("TRIDENT_CALL_URL", &url), ("TRIDENT_CALLS", "connect")]), backend)
}

fn poll(site: &Site, cookie: &str) -> Ask {
    site.get("/data?channel=orders.ann&mode=poll").header("Cookie", cookie)
}

#[actix_web::test]
async fn a_client_that_polls_is_asked_about_once_a_minute() {
    let (site, mut backend) = asked().await;
    // Two polls at once, and one call.
    let both = [poll(&site, "s=1"), poll(&site, "s=1")].map(|ask| actix_web::rt::spawn(ask.send()));
    let call = backend.called().await;
    assert_eq!((&call.body["transport"], &call.body["headers"]), (&json!("poll"), &json!({ "cookie": "s=1" })));
    call.answer(&json!({ "subscribe": ["orders.ann"] }));
    for answer in both {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert_eq!(poll(&site, "s=1").send().await.status, 200);
    assert!(!backend.is_called());
    // Another credential is another client, and a refusal applies as long.
    let other = actix_web::rt::spawn(poll(&site, "s=2").send());
    backend.called().await.answer(&json!({ "refuse": "who are you?" }));
    assert_eq!(other.await.unwrap().error(), (403, "refused".to_owned()));
    assert_eq!(poll(&site, "s=2").send().await.error(), (403, "refused".to_owned()));
    assert!(!backend.is_called());
    // A failure is not an answer.
    for _ in 0..2 {
        let failed = actix_web::rt::spawn(poll(&site, "s=3").send());
        backend.called().await.status("500 Internal Server Error", "");
        let failed = failed.await.unwrap();
        assert_eq!(failed.error(), (503, "backend_unavailable".to_owned()));
        assert!(!failed.header("Retry-After").is_empty());
    }
    // The opening of a stream is asked about each time.
    for _ in 0..2 {
        let ask = site.get("/data?channel=orders.ann&mode=stream").header("Cookie", "s=1");
        let open = actix_web::rt::spawn(ask.open());
        let call = backend.called().await;
        assert_eq!(call.body["transport"], "stream");
        call.answer(&json!({ "subscribe": ["orders.ann"] }));
        assert_eq!(open.await.unwrap().status, 200);
    }
}

/// What the application said about a user is not what it says without the user's token, nor after a revocation or its own end.
#[actix_web::test]
async fn an_answer_ends_with_the_token_a_revocation_and_its_expiry() {
    let (site, mut backend) = asked().await;
    let (edge, now) = (&site.service.edge, SystemTime::now());
    let revoke = |user: &str| {
        let (tokens, expires) = (Revoked::User(user.to_owned()), now + Duration::from_secs(60));
        edge.revocations.add(Revocation { tokens, issued_before: None, expires }, SystemTime::now()).unwrap();
    };
    let token = site.token_for(Some("bob"), "", "", Duration::from_secs(60));
    let of_bob = || actix_web::rt::spawn(poll(&site, "s=1").token(&token).send());
    let sent = of_bob();
    let call = backend.called().await;
    assert_eq!(call.body["user"], "bob");
    call.answer(&json!({ "subscribe": ["orders.ann"] }));
    assert_eq!(sent.await.unwrap().status, 200);
    revoke("bob");
    assert_eq!(of_bob().await.unwrap().error(), (401, "bad_token".to_owned()), "it is not asked about");
    // Without the token it is another client, whatever its cookies are.
    let sent = actix_web::rt::spawn(poll(&site, "s=1").send());
    let call = backend.called().await;
    assert_eq!(call.body["user"], json!(null));
    call.answer(&json!({ "user": "ann", "subscribe": ["orders.ann"] }));
    assert_eq!(sent.await.unwrap().status, 200);
    revoke("ann");
    let sent = actix_web::rt::spawn(poll(&site, "s=1").send());
    backend.called().await.answer(&json!({ "refuse": "logged out" }));
    assert_eq!(sent.await.unwrap().error(), (403, "refused".to_owned()));
    // An answer that has expired already.
    let sent = actix_web::rt::spawn(poll(&site, "s=4").send());
    for _ in 0..2 {
        backend.called().await.answer(&json!({ "subscribe": ["orders.ann"], "expires": 1 }));
    }
    assert_eq!(sent.await.unwrap().error(), (403, "refused".to_owned()));
}

/// A user whose connections are refused is recognized by the answer, too.
#[actix_web::test]
async fn a_disconnected_user_that_the_application_names_is_refused() {
    let (site, mut backend) = asked().await;
    let (edge, now) = (&site.service.edge, SystemTime::now());
    edge.restrict(&edge.refuse_user("ann", now, Duration::from_secs(60)), now).await;
    let sent = actix_web::rt::spawn(poll(&site, "s=1").send());
    backend.called().await.answer(&json!({ "user": "ann", "subscribe": ["orders.ann"] }));
    assert_eq!(sent.await.unwrap().error(), (403, "disconnected".to_owned()));
}

#[actix_web::test]
async fn a_client_that_polls_is_permitted_for_a_minute() {
    let mut backend = Backend::start().await;
    let url = backend.url();
    let site = site(&[("TRIDENT_CALL_URL", &url), ("TRIDENT_CALLS", "subscribe")]);
    for (channel, answer, status) in [
        ("orders.1", json!({ "allow": false }), 403),
        ("orders.1", json!({ "allow": true }), 200),
        ("orders.2", json!({}), 503),
    ] {
        let ask = site.get(&format!("/data?channel={channel}&mode=poll"));
        let sent = actix_web::rt::spawn(ask.send());
        backend.called().await.answer(&answer);
        assert_eq!(sent.await.unwrap().status, status, "{channel} {answer}");
    }
    assert_eq!(site.get("/data?channel=orders.1&mode=poll").send().await.status, 200);
    assert!(!backend.is_called());
}

/// A stream was opened with the answer of a poll.
#[actix_web::test]
async fn an_encoded_mode_is_the_mode_that_the_application_gets() {
    let (site, mut backend) = asked().await;
    assert_eq!(site.get("/data?channel=secret&mode=push").send().await.error(), (400, "bad_mode".to_owned()));
    assert_eq!(site.get("/data?channel=secret&wait=0").send().await.error(), (400, "bad_wait".to_owned()));
    let open = actix_web::rt::spawn(site.get("/data?channel=orders.ann&mode=%73tream").open());
    let call = backend.called().await;
    assert_eq!((&call.body["transport"], site.service.edge.limits.connections()), (&json!("stream"), 1));
    call.answer(&json!({ "subscribe": ["orders.ann"] }));
    assert_eq!(open.await.unwrap().status, 200);
}

/// Where the application decides who publishes, anyone may send half a publication: from many sockets, they took all of the memory.
#[actix_web::test]
async fn publications_without_a_token_leave_room_for_those_with_one() {
    let backend = Backend::start().await;
    let url = backend.url();
    let settings = [("TRIDENT_CALL_URL", &*url), ("TRIDENT_CALLS", "publish"), ("TRIDENT_RECEIVE_TOTAL", "256KiB")];
    let site = site(&settings);
    backend.answer_all(|_| json!({ "allow": true }));
    let (receiving, refusals) = (&site.service.edge.receiving, &site.service.edge.metrics.refusals);
    let mut clients = Vec::new();
    for n in 0..6 {
        let mut client = site.connect().await;
        client.request("POST", "/data?channel=a", &[("Content-Type", "text/plain"), ("Content-Length", "60000")]).await;
        client.write(vec![b'x'; 50_000]).await;
        until("it is counted or refused", || refusals.receive_total.get() + u64::from(receiving.bytes() > 40_000) > n)
            .await;
        clients.push(client);
    }
    assert_eq!(refusals.receive_total.get(), 5);
    let ask = site.ask(actix_web::http::Method::POST, "/data?channel=a").token(&site.token("a", "a"));
    assert_eq!(ask.body("text/plain", vec![b'x'; 60_000]).await.status, 201);
}
