//! Who may do what.

use actix_web::http::Method;

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

/// `TRIDENT_STREAMS_ANONYMOUS` opens no channel of one user.
#[actix_web::test]
async fn channels_of_users_are_open_to_nobody_else() {
    let site = site(&[]);
    assert_eq!(put(&site, "user.ann").body(JSON, "[1]").await.error(), (401, "token_needed".into()));
    assert_eq!(site.get("/streams/user.ann").send().await.error(), (401, "token_needed".into()));
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
    for path in ["__ds", "__ds/subscriptions/a", "%5F_ds/x"] {
        assert_eq!(put(&site, path).body(JSON, "[1]").await.error(), (501, "not_supported".into()), "{path}");
    }
    for path in ["a//b", "..", "a%20b", "%ff", &"x".repeat(129)] {
        assert_eq!(put(&site, path).body(JSON, "[1]").await.status, 400, "{path}");
    }
}
