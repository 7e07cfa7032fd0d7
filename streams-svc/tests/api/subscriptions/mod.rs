//! Subscriptions to streams: who may have them, receivers that misbehave, URLs into the server's own network, restarts, and replicas.

mod degraded;
mod receiver;
mod replicas;

use std::time::Duration;

use actix_web::http::Method;
use edge::testing::{Answer, Site, backend::Backend, until};
use serde_json::{Value, json};
use shared::pure::access::ApiRight;

use self::receiver::{Behaviour, Receiver, done};
use crate::{JSON, post, put};

/// A service with subscriptions, whose webhooks may be on loopback.
fn site(settings: &[(&str, &str)]) -> Site {
    let allowed = [("TRIDENT_HOOK_ALLOW", "127.0.0.1")];
    let site = crate::closed_site(&[&allowed[..], settings].concat());
    streams_svc::subscriptions::start(&site.service);
    site
}

/// A client that may read and write `channels`.
fn token(site: &Site, user: &str, channels: &str) -> String {
    site.token_for(Some(user), channels, channels, Duration::from_secs(60))
}

async fn ask(site: &Site, method: Method, path: &str, token: &str, body: &Value) -> Answer {
    let ask = site.ask(method, &format!("/streams/__ds/subscriptions/{path}")).token(token);
    if body.is_null() { ask.send().await } else { ask.body(JSON, body.to_string()).await }
}

async fn subscribe(site: &Site, id: &str, token: &str, body: &Value) -> Answer {
    ask(site, Method::PUT, id, token, body).await
}

fn webhook(pattern: &str, url: &str) -> Value {
    json!({ "type": "webhook", "pattern": pattern, "webhook": { "url": url } })
}

/// Appends to a stream, which is created if it is not there.
async fn write(site: &Site, stream: &str, token: &str) {
    let answer = put(site, stream).token(token).header("Content-Type", JSON).send().await;
    assert!([200, 201].contains(&answer.status), "{answer:?}");
    assert_eq!(post(site, stream).token(token).body(JSON, "2").await.status, 204);
}

/// Waits until the last wake of the subscription `s` is acknowledged, and stored as such: a process that ends before is followed by one that sends
/// it again.
async fn settle(site: &Site, token: &str, receiver: &Receiver) {
    let settled = async {
        loop {
            let described = ask(site, Method::GET, "s", token, &Value::Null).await.json();
            let sent = receiver.wakes().last().map(|wake| wake["streams"][0]["tail_offset"].clone());
            if sent == Some(described["streams"][0]["acked_offset"].clone()) {
                return;
            }
            actix_web::rt::time::sleep(Duration::from_millis(5)).await;
        }
    };
    actix_web::rt::time::timeout(Duration::from_secs(10), settled).await.unwrap();
}

fn figure(site: &Site, name: &str) -> u64 {
    let metrics = site.service.edge.metrics.encode().unwrap();
    let line = metrics.lines().find(|line| line.starts_with(&format!("trident_stream_{name} ")));
    line.and_then(|line| line.rsplit(' ').next()).unwrap().parse().unwrap()
}

#[actix_web::test]
async fn subscriptions_take_a_token_and_cover_what_it_may_read() {
    let site = site(&[]);
    let receiver = Receiver::start(|_| done()).await;
    let body = webhook("**", &receiver.url());
    let none = site.ask(Method::PUT, "/streams/__ds/subscriptions/s").body(JSON, body.to_string()).await;
    assert_eq!(none.error(), (401, "token_needed".into()));
    let (ann, bob, all) = (token(&site, "ann", "a/*"), token(&site, "bob", "b/*"), token(&site, "eve", "*"));
    let explicit = json!({ "type": "webhook", "streams": ["b/1"], "webhook": { "url": receiver.url() } });
    assert_eq!(subscribe(&site, "s", &ann, &explicit).await.error(), (403, "insufficient_scope".into()));
    let pull = json!({ "type": "pull-wake", "pattern": "a/*", "wake_stream": "b/wake" });
    assert_eq!(subscribe(&site, "s", &ann, &pull).await.error(), (403, "insufficient_scope".into()));
    assert_eq!(subscribe(&site, "s", &ann, &body).await.status, 201);
    for (method, path, body) in [
        (Method::GET, "s", Value::Null),
        (Method::POST, "s/streams", json!({ "streams": ["b/1"] })),
        (Method::DELETE, "s/streams/a", Value::Null),
        (Method::POST, "s/claim", json!({ "worker": "w" })),
    ] {
        let answer = ask(&site, method, path, &bob, &body).await;
        assert_eq!(answer.error(), (404, "SUBSCRIPTION_NOT_FOUND".into()), "{path}");
    }
    assert_eq!(ask(&site, Method::POST, "s/streams", &ann, &json!({ "streams": ["b/1"] })).await.status, 403);
    assert_eq!(ask(&site, Method::DELETE, "s", &bob, &Value::Null).await.status, 204);
    write(&site, "b/1", &all).await;
    write(&site, "a/1", &all).await;
    until("a wake", || !receiver.wakes().is_empty()).await;
    let described = ask(&site, Method::GET, "s", &ann, &Value::Null).await.json();
    let paths: Vec<_> = described["streams"].as_array().unwrap().iter().map(|link| &link["path"]).collect();
    assert_eq!(paths, ["a/1"]);
    assert_eq!(receiver.wakes()[0]["streams"][0]["path"], "a/1");
    // A worker has the token of its wake, and no other helps it.
    for bearer in [Some(&ann), None] {
        let ask = site.ask(Method::POST, "/streams/__ds/subscriptions/s/callback");
        let ask = if let Some(bearer) = bearer { ask.token(bearer) } else { ask };
        let answer = ask.body(JSON, r#"{"wake_id":"w","generation":1}"#).await;
        assert_eq!(answer.error(), (401, "TOKEN_INVALID".into()));
    }
    let methods = ask(&site, Method::POST, "s", &ann, &json!({})).await;
    assert_eq!((methods.status, methods.header("Allow")), (405, "GET, HEAD, PUT, DELETE, OPTIONS".into()));
}

/// Streams are a way around the backend otherwise: it is not asked about subscriptions to them.
#[actix_web::test]
async fn where_the_backend_decides_only_its_own_tokens_have_subscriptions() {
    let backend = Backend::start().await;
    for calls in ["subscribe", "connect"] {
        let site = site(&[("TRIDENT_CALL_URL", &backend.url()), ("TRIDENT_CALLS", calls)]);
        let body = webhook("a/*", "https://app.example/");
        let client = token(&site, "ann", "*");
        assert_eq!(subscribe(&site, "s", &client, &body).await.error(), (403, "not_supported".into()), "{calls}");
        assert_eq!(subscribe(&site, "s", &site.backend_token(ApiRight::Write), &body).await.status, 201, "{calls}");
    }
}

/// Whatever a receiver does, others get their wakes, and it is sent its own again.
#[actix_web::test]
async fn receivers_that_misbehave_delay_nobody() {
    let site = site(&[]);
    let elsewhere = Receiver::start(|_| done()).await;
    let location = format!("Location: {}\r\n", elsewhere.url());
    let redirects = Receiver::start(move |_| Behaviour::Answer(307, location.clone(), "")).await;
    let endless = Receiver::start(|n| if n == 0 { Behaviour::Endless } else { done() }).await;
    let silent = Receiver::start(|_| Behaviour::Silent).await;
    let good = Receiver::start(|_| done()).await;
    let client = token(&site, "ann", "*");
    for (id, receiver) in [("redirects", &redirects), ("endless", &endless), ("silent", &silent), ("good", &good)] {
        assert_eq!(subscribe(&site, id, &client, &webhook("a/*", &receiver.url())).await.status, 201);
    }
    for n in 1..4 {
        write(&site, &format!("a/{n}"), &client).await;
        until("a wake", || good.wakes().iter().any(|wake| wake["streams"].to_string().contains(&format!("\"a/{n}\""))))
            .await;
    }
    until("failures", || figure(&site, "wake_failures_total") >= 2).await;
    until("another attempt", || endless.wakes().len() == 2).await;
    assert_eq!(endless.wakes()[0]["wake_id"], endless.wakes()[1]["wake_id"]);
    assert_eq!((elsewhere.connections(), silent.wakes().len()), (0, 1));
    assert_eq!(ask(&site, Method::GET, "redirects", &client, &Value::Null).await.json()["status"], "failed");
}

/// A name that resolves into the network of the server: it is looked up for each connection, and its address is checked then.
#[actix_web::test]
async fn no_request_goes_into_the_network_of_the_server() {
    let site = crate::closed_site(&[]);
    streams_svc::subscriptions::start(&site.service);
    let receiver = Receiver::start(|_| done()).await;
    let client = token(&site, "ann", "*");
    for url in [
        receiver.url(),
        format!("http://localhost:{}/wake", receiver.port),
        format!("https://127.0.0.1:{}/wake", receiver.port),
        format!("https://[::ffff:127.0.0.1]:{}/wake", receiver.port),
        "https://[::ffff:169.254.169.254]/latest/meta-data".to_owned(),
        "http://10.0.0.1/hook".to_owned(),
    ] {
        let answer = subscribe(&site, "s", &client, &webhook("a/*", &url)).await;
        assert_eq!(answer.error(), (400, "WEBHOOK_URL_REJECTED".into()), "{url}");
    }
    for (id, host) in [("1", "localhost"), ("2", "127.1"), ("3", "0x7f000001")] {
        let url = format!("https://{host}:{}/wake", receiver.port);
        assert_eq!(subscribe(&site, id, &client, &webhook("a/*", &url)).await.status, 201);
    }
    write(&site, "a/1", &client).await;
    until("three failures", || figure(&site, "wake_failures_total") >= 3).await;
    assert_eq!((receiver.connections(), figure(&site, "wakes_total")), (0, 0));
}

#[actix_web::test]
async fn subscriptions_survive_a_restart_on_the_file_bus() {
    let folder = std::env::temp_dir().join(format!("trident-subscriptions-{:016x}", rand::random::<u64>()));
    let bus = format!("file:{}", folder.display());
    let receiver = Receiver::start(|_| done()).await;
    let open = || site(&[("TRIDENT_BUS", &bus)]);
    let first = open();
    let client = token(&first, "ann", "*");
    write(&first, "a/old", &client).await;
    let created = subscribe(&first, "s", &client, &webhook("a/*", &receiver.url())).await.json();
    write(&first, "a/1", &client).await;
    until("a wake", || receiver.wakes().len() == 1).await;
    settle(&first, &client, &receiver).await;
    first.service.bus.close().await;
    first.stop().await;
    let again = open();
    let path = "/streams/__ds/jwks.json";
    let keys = || async { again.get(path).send().await };
    let mut answer = keys().await;
    while answer.status == 503 {
        answer = keys().await;
    }
    assert_eq!(answer.header("Content-Type"), "application/jwk-set+json");
    assert_eq!(answer.json()["keys"][0]["kid"], created["webhook"]["signing"]["kid"]);
    assert_eq!(answer.json()["keys"][0].as_object().unwrap().len(), 6, "no private part");
    let described = ask(&again, Method::GET, "s", &client, &Value::Null).await.json();
    assert_eq!(described["streams"].as_array().unwrap().len(), 2);
    write(&again, "a/1", &client).await;
    until("a wake", || receiver.wakes().len() == 2).await;
    let (before, after) = (&receiver.wakes()[0], &receiver.wakes()[1]);
    assert_eq!((&before["generation"], &after["generation"]), (&json!(1), &json!(2)));
    assert_eq!(after["streams"][0]["acked_offset"], before["streams"][0]["tail_offset"]);
    again.service.bus.close().await;
    again.stop().await;
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A log that had no space for another change stored nothing any more, and sent no wake.
#[actix_web::test]
async fn subscriptions_take_what_the_log_has_space_for() {
    let folder = std::env::temp_dir().join(format!("trident-subscriptions-{:016x}", rand::random::<u64>()));
    let bus = format!("file:{}", folder.display());
    let receiver = Receiver::start(|_| done()).await;
    // Segments of 512 KiB.
    let site = site(&[("TRIDENT_BUS", &bus), ("TRIDENT_DISK_TOTAL", "16MiB")]);
    let client = site.backend_token(ApiRight::Write);
    let body = json!({ "type": "webhook", "pattern": "a/*", "streams": ["a/0"], "webhook": { "url": receiver.url() } });
    assert_eq!(subscribe(&site, "s", &client, &body).await.status, 201);
    let (mut created, text) = (0, "x".repeat(1_000));
    let full = json!({ "type": "pull-wake", "pattern": "none/*", "wake_stream": "wake", "description": text });
    let refused = loop {
        let answer = subscribe(&site, &format!("full-{created}"), &client, &full).await;
        if answer.status != 201 {
            break answer;
        }
        created += 1;
    };
    assert_eq!(refused.error(), (429, "TOO_MANY_SUBSCRIPTIONS".into()));
    assert!((10..100).contains(&created), "{created}");
    for stream in 0..300 {
        write(&site, &format!("a/{stream}"), &client).await;
    }
    until("a wake", || receiver.wakes().iter().any(|wake| wake["streams"].to_string().contains("a/0\""))).await;
    until("streams without space", || figure(&site, "subscription_overflows_total") > 0).await;
    assert_eq!(ask(&site, Method::DELETE, "full-0", &client, &Value::Null).await.status, 204);
    assert_eq!(subscribe(&site, "last", &client, &webhook("b/*", &receiver.url())).await.status, 201);
    write(&site, "b/1", &client).await;
    until("a wake", || receiver.wakes().iter().any(|wake| wake["streams"].to_string().contains("b/1\""))).await;
    site.service.bus.close().await;
    site.stop().await;
    std::fs::remove_dir_all(&folder).unwrap();
}
