//! Polls of clients that the application identifies.

use edge::testing::{Ask, Site, backend::Backend};
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
