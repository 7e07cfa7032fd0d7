//! Who may do what.

use actix_web::http::Method;
use edge::testing::backend::Backend;
use serde_json::json;
use shared::pure::access::ApiRight;

use super::{JSON, closed_site, post, put, site};

#[actix_web::test]
async fn writing_takes_permission_to_publish_and_reading_to_subscribe() {
    let site = closed_site(&[]);
    let (writer, reader) = (site.token("runs/*", ""), site.token("", "runs/*"));
    for (token, code) in [("", "token_needed"), (&*reader, "insufficient_scope")] {
        let status = if token.is_empty() { 401 } else { 403 };
        let as_client = |ask: edge::testing::Ask| if token.is_empty() { ask } else { ask.token(token) };
        let refused = (status, code.to_owned());
        assert_eq!(as_client(put(&site, "runs/1")).body(JSON, "[1]").await.error(), refused);
        assert_eq!(as_client(post(&site, "runs/1")).body(JSON, "[1]").await.error(), refused);
        assert_eq!(as_client(site.ask(Method::DELETE, "/streams/runs/1")).send().await.error(), refused);
    }
    assert_eq!(put(&site, "runs/1").token(&writer).body(JSON, "[1]").await.status, 201);
    assert_eq!(put(&site, "others/1").token(&writer).body(JSON, "[1]").await.error().0, 403);
    // A client that may not read a stream does not learn whether it exists.
    for path in ["/streams/runs/1", "/streams/runs/none", "/streams/runs/1?offset=-1&live=sse"] {
        assert_eq!(site.get(path).send().await.error(), (401, "token_needed".into()), "{path}");
        assert_eq!(site.get(path).token(&writer).send().await.error().0, 403, "{path}");
        assert_eq!(site.ask(Method::HEAD, path).token(&writer).send().await.status, 403, "{path}");
    }
    let read = site.get("/streams/runs/1").token(&reader).send().await;
    assert_eq!(read.text(), "[1]");
    assert!(read.header("Cache-Control").starts_with("private"), "{read:?}");
}

/// `TRIDENT_STREAMS_ANONYMOUS` opens no channel of one user, and none of the chat.
#[actix_web::test]
async fn channels_of_the_server_are_open_to_nobody_else() {
    let site = site(&[]);
    for channel in ["user.ann", "chat.lobby", "time"] {
        assert_eq!(put(&site, channel).body(JSON, "[1]").await.error(), (401, "token_needed".into()), "{channel}");
    }
    assert_eq!(site.get("/streams/user.ann").send().await.error(), (401, "token_needed".into()));
}

/// A token that may only publish made a chat room a stream, and closed it: nobody could write there any more.
#[actix_web::test]
async fn permission_to_publish_makes_no_channel_of_the_server_a_stream() {
    let site = closed_site(&[]);
    let (client, backend) = (site.token("*", "*"), site.backend_token(ApiRight::Write));
    let refused = (403, "not_a_stream".to_owned());
    for channel in ["chat.lobby", "user.ann", "random", "time"] {
        let put = |token: &str| put(&site, channel).token(token).body(JSON, "");
        assert_eq!(put(&client).await.error(), refused, "{channel}");
        assert_eq!(put(&backend).await.status, 201, "{channel}");
        let closing = post(&site, channel).token(&client).header("Stream-Closed", "true");
        assert_eq!(closing.send().await.error(), refused, "{channel}");
        let deleting = site.ask(Method::DELETE, &format!("/streams/{channel}")).token(&client);
        assert_eq!(deleting.send().await.error(), refused, "{channel}");
    }
    assert_eq!(site.service.edge.metrics.refusals.not_allowed.get(), 12);
}

#[actix_web::test]
async fn only_channels_of_the_setting_can_be_streams() {
    let site = site(&[("TRIDENT_STREAMS", "runs/*,jobs")]);
    let backend = site.backend_token(ApiRight::Write);
    for (channel, status) in [("runs/1", 201), ("jobs", 201), ("jobs2", 403), ("orders", 403)] {
        for ask in [put(&site, channel), put(&site, channel).token(&backend)] {
            let answer = ask.body(JSON, "").await;
            assert!(answer.status == status || (status == 201 && answer.status == 200), "{channel}: {answer:?}");
            assert!(status == 201 || answer.message().contains("runs/*,jobs"), "{answer:?}");
        }
    }
    assert_eq!(site.get("/streams/orders").send().await.error(), (401, "token_needed".into()), "not open to all");
    let off = super::site(&[("TRIDENT_STREAMS", "off")]);
    let answer = put(&off, "runs/1").body(JSON, "").await;
    assert_eq!(answer.error(), (403, "not_a_stream".into()));
    assert!(answer.message().contains("TRIDENT_STREAMS=off"), "{answer:?}");
}

/// Who may not read a stream cannot read it by a fork.
#[actix_web::test]
async fn a_fork_takes_permission_to_read_its_source() {
    let site = closed_site(&[]);
    let owner = site.token("secret", "secret");
    assert_eq!(put(&site, "secret").token(&owner).body(JSON, "[1]").await.status, 201);
    let fork = |token: &str| put(&site, "mine").token(token).header("Stream-Forked-From", "/streams/secret").send();
    assert_eq!(fork(&site.token("mine", "mine")).await.error(), (403, "insufficient_scope".into()));
    assert_eq!(fork(&site.token("mine", "secret")).await.status, 201);
}

#[actix_web::test]
async fn the_channels_of_the_server_and_the_paths_of_the_protocol_are_no_streams() {
    let site = site(&[]);
    assert_eq!(put(&site, "$events").body(JSON, "[1]").await.error(), (403, "server_channel".into()));
    for path in ["__ds", "__ds/subscription/a", "__ds/subscriptions/a/b", "%5F_ds/x"] {
        assert_eq!(put(&site, path).body(JSON, "[1]").await.error(), (501, "not_supported".into()), "{path}");
    }
    for path in ["a//b", "..", "a%20b", "%ff", &"x".repeat(129)] {
        assert_eq!(put(&site, path).body(JSON, "[1]").await.status, 400, "{path}");
    }
}

/// Streams were a way around the application: it was not asked about what was appended to them, nor about forks and `HEAD`.
#[actix_web::test]
async fn the_application_decides_about_streams_as_about_other_channels() {
    let mut backend = Backend::start().await;
    let site = closed_site(&[("TRIDENT_CALL_URL", &backend.url()), ("TRIDENT_CALLS", "subscribe,publish")]);
    let (client, server) = (site.token("*", "*"), site.backend_token(ApiRight::Write));
    assert_eq!(put(&site, "s").token(&server).body(JSON, "[1]").await.status, 201);
    let delete = site.ask(Method::DELETE, "/streams/s").token(&client).send();
    let append = post(&site, "s").token(&client).body(JSON, "[2]");
    for answer in [put(&site, "t").token(&client).body(JSON, "").await, append.await, delete.await] {
        assert_eq!(answer.error(), (403, "not_supported".into()));
    }
    assert!(!backend.is_called());
    let get = |path: &str| site.get(path).token(&client).send();
    let (read, head) = (get("/streams/s"), site.ask(Method::HEAD, "/streams/s").token(&client).send());
    for (ask, denied) in [(read, 403), (head, 403)] {
        let ask = actix_web::rt::spawn(ask);
        let call = backend.called().await;
        assert_eq!((&call.body["kind"], &call.body["channels"]), (&json!("subscribe"), &json!(["s"])));
        call.answer(&json!({ "allow": false, "code": "not_yours" }));
        assert_eq!(ask.await.unwrap().status, denied);
    }
    // Whether a stream exists is a secret of those who may read it.
    let missing = actix_web::rt::spawn(get("/streams/none"));
    backend.called().await.answer(&json!({ "allow": false, "code": "not_yours" }));
    assert_eq!(missing.await.unwrap().error(), (403, "not_yours".into()));
    let allowed = actix_web::rt::spawn(get("/streams/s?offset=-1&live=long-poll"));
    backend.called().await.answer(&json!({ "allow": true }));
    assert_eq!(allowed.await.unwrap().text(), "[1]");
    assert_eq!(site.get("/streams/s").token(&server).send().await.text(), "[1]");
    assert!(!backend.is_called());
}

#[actix_web::test]
async fn the_application_decides_who_may_fork() {
    let mut backend = Backend::start().await;
    let site = closed_site(&[("TRIDENT_CALL_URL", &backend.url()), ("TRIDENT_CALLS", "subscribe")]);
    let client = site.token("*", "*");
    assert_eq!(put(&site, "s").token(&client).body(JSON, "[1]").await.status, 201);
    let fork = || put(&site, "f").token(&client).header("Stream-Forked-From", "/streams/s").send();
    for (answer, status) in [(json!({ "allow": false }), 403), (json!({ "allow": true }), 201)] {
        let fork = actix_web::rt::spawn(fork());
        let call = backend.called().await;
        assert_eq!((&call.body["kind"], &call.body["channels"]), (&json!("subscribe"), &json!(["s"])));
        call.answer(&answer);
        assert_eq!(fork.await.unwrap().status, status);
    }
}

/// What a client may read is what `connect` says, not what its token says: also when it forks.
#[actix_web::test]
async fn the_application_decides_what_a_client_may_fork() {
    let backend = Backend::start().await;
    let site = closed_site(&[("TRIDENT_CALL_URL", &backend.url()), ("TRIDENT_CALLS", "connect")]);
    let client = site.token("*", "*");
    backend.answer_all(|_| json!({ "subscribe": ["open", "mine"] }));
    for source in ["open", "secret"] {
        assert_eq!(put(&site, source).token(&client).body(JSON, "[1]").await.status, 201);
    }
    let fork = async |name: &str, source: &str| {
        put(&site, name).token(&client).header("Stream-Forked-From", &format!("/streams/{source}")).send().await.status
    };
    assert_eq!((fork("mine", "secret").await, fork("mine", "open").await), (403, 201));
}

/// A shared cache gave everybody what the application had allowed to one client without a token.
#[actix_web::test]
async fn what_the_application_has_allowed_is_not_cached_for_others() {
    for calls in ["subscribe", "connect"] {
        let backend = Backend::start().await;
        let site = closed_site(&[("TRIDENT_CALL_URL", &backend.url()), ("TRIDENT_CALLS", calls)]);
        let server = site.backend_token(ApiRight::Write);
        backend.answer_all(|call| match call["kind"].as_str() {
            Some("subscribe") => json!({ "allow": true }),
            _ => json!({ "subscribe": ["s"] }),
        });
        assert_eq!(put(&site, "s").token(&server).body(JSON, "[1]").await.status, 201);
        let read = site.get("/streams/s").send().await;
        assert_eq!(read.text(), "[1]", "{calls}: {read:?}");
        assert!(read.header("Cache-Control").starts_with("private"), "{calls}: {read:?}");
    }
}
