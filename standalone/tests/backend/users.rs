//! The users of messages: who published, and the channel of one user.

use edge::testing::Site;
use serde_json::{Value, json};
use shared::pure::access::ApiRight;

use crate::{client::Client, publish, site, token};

/// The user in the messages of `public.a` (one is published) that a client with this token gets, in all forms that have whole messages.
async fn users(site: &Site, token: Option<&str>) -> Vec<Value> {
    let get = |path: &str| {
        token.iter().fold(site.get(path), |ask, token| ask.header("Authorization", &format!("Bearer {token}")))
    };
    let event = get("/events?channel=public.a&since=earliest&format=message").events().await.message().await.unwrap();
    let event: Value = serde_json::from_str(&event.data).unwrap();
    let mut stream = get("/data?channel=public.a&since=earliest&mode=stream").open().await;
    assert_eq!(stream.line().await.as_deref(), Some(""));
    let line: Value = serde_json::from_str(&stream.line().await.unwrap()).unwrap();
    let batch = get("/data?channel=public.a&since=earliest&mode=poll").send().await.json();
    let mut client = Client::connect(site, token).await.unwrap();
    let subscribed = client.ask(r#""subscribe",{"channels":["public.a"],"since":"earliest"}"#).await;
    assert_eq!(subscribed["ok"], true, "{subscribed}");
    let meta = &client.hear("message").await[1];
    for raw in ["/data?channel=public.a&since=earliest&format=raw", "/data?channel=public.a&mode=poll&format=raw"] {
        assert_eq!(get(raw).send().await.text(), "7", "{raw}");
    }
    [&event, &line, &batch["messages"][0], meta].map(|message| message.get("user").cloned().unwrap_or_default()).into()
}

/// Readers with and without a token share a message, and each gets its own form of it.
#[actix_web::test]
async fn a_message_names_its_user_to_readers_with_a_token() {
    for (setting, anonymous, with_token) in
        [("", false, true), ("tokens", false, true), ("all", true, true), ("none", false, false)]
    {
        let site = site(&[("TRIDENT_SHOW_USER", setting)]);
        assert_eq!(publish(&site, &token(&site, "ann@example.com", "public.*", ""), "public.a", "7").await.status, 201);
        let reader = token(&site, "bob", "", "");
        for (token, is_shown) in [(None, anonymous), (Some(&*reader), with_token), (None, anonymous)] {
            let user = if is_shown { json!("ann@example.com") } else { Value::Null };
            assert_eq!(users(&site, token).await, vec![user; 4], "{setting}, {token:?}");
        }
    }
}

/// A token without a `sub` identifies nobody.
#[actix_web::test]
async fn without_a_subject_there_is_no_user() {
    let site = site(&[("TRIDENT_SHOW_USER", "all")]);
    publish(&site, &site.token("*", ""), "public.a", "7").await;
    assert_eq!(users(&site, None).await, vec![Value::Null; 4]);
}

#[actix_web::test]
async fn a_chat_message_has_the_name_and_the_user() {
    let site = site(&[]);
    let user = token(&site, "u7", "", "");
    let mut mei = Client::connect(&site, Some(&user)).await.unwrap();
    mei.ask(r#""name","Mei""#).await;
    assert_eq!(mei.ask(r#""chat message","hi""#).await["ok"], true);
    assert_eq!(mei.hear("chat message").await[1]["user"], "u7");
    let mut guest = Client::connect(&site, None).await.unwrap();
    assert_eq!(guest.ask(r#""chat message","hello""#).await["ok"], true);
    let batch = |token: &str| site.get("/data?channel=chat.lobby&since=earliest&mode=poll").token(token).send();
    let messages = batch(&user).await.json()["messages"].take();
    assert_eq!((&messages[0]["from"], &messages[0]["user"]), (&json!("Mei"), &json!("u7")));
    assert!(messages[1]["from"].is_string() && messages[1].get("user").is_none(), "{messages}");
    let hidden = site.get("/data?channel=chat.lobby&since=earliest&mode=poll").send().await.json()["messages"].take();
    assert_eq!((&hidden[0]["from"], hidden[0].get("user")), (&json!("Mei"), None));
    let history = mei.ask(r#""history",{}"#).await;
    assert_eq!(history["messages"][0]["user"], "u7");
    assert_eq!(guest.ask(r#""history",{}"#).await["messages"][0].get("user"), None);
}

/// A user reads its own channel, whatever the patterns of its token are; nobody else does without a pattern.
#[actix_web::test]
async fn each_user_has_a_channel() {
    let site = site(&[("TRIDENT_PUBLIC", "*")]);
    let hashed = "user.~cdT1X3L6Eo37RooaOQFQfIBLdDFkiHRNdp1_SxZpZHY";
    let backend = site.token("user.*", "user.*");
    for (user, channel) in [("ann", "user.ann"), ("ann@example.com", hashed)] {
        assert_eq!(publish(&site, &backend, channel, "7").await.status, 201);
        let path = format!("/data?channel={channel}&since=earliest&mode=poll");
        let status = async |token: Option<&str>| {
            let ask = token
                .iter()
                .fold(site.get(&path), |ask, token| ask.header("Authorization", &format!("Bearer {token}")));
            ask.send().await.status
        };
        assert_eq!(status(Some(&token(&site, user, "", ""))).await, 200);
        assert_eq!(status(Some(&backend)).await, 200);
        assert_eq!(status(Some(&token(&site, "eve", "", "public.*"))).await, 403);
        assert_eq!(status(None).await, 401, "`TRIDENT_PUBLIC` matches no channel of a user");
        let mut own = Client::connect(&site, Some(&token(&site, user, "", ""))).await.unwrap();
        let subscribe = format!(r#""subscribe",{{"channels":["{channel}"]}}"#);
        assert_eq!(own.ask(&subscribe).await["ok"], true);
        let mut guest = Client::connect(&site, None).await.unwrap();
        assert_eq!(guest.ask(&subscribe).await["error"]["code"], "token_needed");
    }
}

/// Names with `$` are the server's own: only a backend reads them, and no client publishes to them.
#[actix_web::test]
async fn channels_of_the_server_are_for_backends_alone() {
    let site = site(&[("TRIDENT_PUBLIC", "*")]);
    let path = "/data?channel=$events&since=earliest&mode=poll";
    assert_eq!(site.get(path).send().await.error(), (401, "token_needed".into()));
    assert_eq!(site.get(path).token(&site.token("*", "*")).send().await.error(), (403, "insufficient_scope".into()));
    for right in [ApiRight::Read, ApiRight::Write] {
        let backend = site.backend_token(right);
        assert_eq!(site.get(path).token(&backend).send().await.status, 200, "{right:?}");
        assert_eq!(publish(&site, &backend, "$events", "7").await.error(), (403, "server_channel".into()), "{right:?}");
        let status = if right == ApiRight::Write { 201 } else { 403 };
        assert_eq!(publish(&site, &backend, "jobs", "7").await.status, status, "{right:?} reaches every channel");
        assert_eq!(site.get("/data?channel=jobs&since=earliest&mode=poll").token(&backend).send().await.status, 200);
    }
    let lines = site.ask("POST".parse().unwrap(), "/data").token(&site.backend_token(ApiRight::Write));
    let lines = lines.body("application/x-ndjson", r#"{"channel":"$events","data":1}"#).await;
    assert_eq!(lines.error(), (403, "server_channel".into()));
}
