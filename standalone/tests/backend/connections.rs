//! Who is connected, and ending connections.

use std::collections::HashMap;

use edge::testing::{Ask, Site, until};
use serde_json::{Value, json};
use shared::pure::access::ApiRight;

use crate::{
    client::{Client, Plain},
    site, token,
};

pub(super) async fn get(site: &Site, path: &str) -> Value {
    let answer = site.get(path).token(&site.backend_token(ApiRight::Read)).send().await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

pub(super) fn ask(site: &Site, method: &str, path: &str) -> Ask {
    site.ask(method.parse().unwrap(), path).token(&site.backend_token(ApiRight::Write))
}

pub(super) async fn registered(site: &Site, count: usize) {
    until("the connections", || site.service.edge.limits.registry().count() == count).await;
}

/// Transport, user and channels of each connection, in alphabetical order.
fn told(list: &Value) -> Vec<String> {
    let tell = |one: &Value| format!("{} {} {}", one["transport"].as_str().unwrap(), one["user"], one["channels"]);
    let mut told: Vec<_> = list["connections"].as_array().unwrap().iter().map(tell).collect();
    told.sort_unstable();
    told
}

/// A client that does not read is behind, and one that does is not.
#[actix_web::test]
async fn each_connection_has_its_lag() {
    let site = site(&[]);
    let mut stalled = site.connect().await;
    stalled.request("GET", "/events?channel=public.a", &[]).await;
    let mut events = site.get("/data?channel=public.a&mode=stream").open().await;
    let mut socket = Client::connect(&site, None).await.unwrap();
    socket.ask(r#""subscribe",{"channels":["public.a"]}"#).await;
    let mut poll = site.connect().await;
    poll.request("GET", "/data?channel=public.b&wait=60", &[]).await;
    registered(&site, 4).await;
    let lags = || async {
        let list = get(&site, "/v1/connections").await;
        let all = list["connections"].as_array().unwrap().iter();
        all.map(|one| (one["transport"].as_str().unwrap().to_owned(), one["lag"].as_u64())).collect::<HashMap<_, _>>()
    };
    let still = [("sse", Some(0)), ("stream", Some(0)), ("websocket", Some(0)), ("longpoll", None)];
    assert_eq!(lags().await, still.map(|(name, lag)| (name.to_owned(), lag)).into());
    let text = format!("\"{}\"", "x".repeat(60_000));
    for _ in 0..120 {
        site.publish("public.a", &text).await;
        while events.line().await.unwrap().is_empty() {}
        socket.hear("message").await;
    }
    let lags = lags().await;
    assert!(lags["sse"] > Some(0) && lags["sse"] < Some(120), "{lags:?}");
    assert_eq!((lags["stream"], lags["websocket"]), (Some(0), Some(0)));
}

/// Which channels a pattern selects is not known, so neither is how far its reader is behind.
#[actix_web::test]
async fn a_reader_of_patterns_has_no_lag() {
    let site = site(&[]);
    let key = site.backend_token(ApiRight::Read);
    let stream = site.get("/events?channel=public.*&channel=public.a").token(&key).events().await;
    registered(&site, 1).await;
    site.publish("public.b", "1").await;
    let list = get(&site, "/v1/connections").await;
    assert_eq!(
        (list["connections"][0]["channels"].as_array().unwrap().len(), &list["connections"][0]["lag"]),
        (2, &Value::Null)
    );
    drop(stream);
}

/// A connection of each transport is listed with its user and its channels, and no longer when it has ended.
#[actix_web::test]
async fn every_transport_that_holds_a_connection_is_listed() {
    let site = site(&[]);
    let ann = token(&site, "ann", "", "");
    let events = site.get("/events?channel=public.a&channel=public.b").token(&ann).events().await;
    let lines = site.get("/data?channel=public.a&mode=stream").open().await;
    let mut socket = Client::connect(&site, Some(&ann)).await.unwrap();
    socket.ask(r#""subscribe",{"channels":["public.a"]}"#).await;
    let mut poll = site.connect().await;
    poll.request("GET", "/data?channel=public.a&wait=60", &[("Authorization", &format!("Bearer {ann}"))]).await;
    let plain = Plain::open(&site, "/ws?channel=public.a", &ann).await;
    registered(&site, 5).await;
    assert_eq!(
        told(&get(&site, "/v1/connections").await),
        [
            r#"longpoll "ann" ["public.a"]"#,
            r#"sse "ann" ["public.a","public.b"]"#,
            r#"stream null ["public.a"]"#,
            r#"websocket "ann" ["chat.lobby","public.a"]"#,
            r#"ws "ann" ["public.a"]"#,
        ]
    );
    assert_eq!(get(&site, "/v1/connections?user=ann").await["connections"].as_array().unwrap().len(), 4);
    assert_eq!(told(&get(&site, "/v1/connections?channel=public.b").await).len(), 1);
    assert_eq!(told(&get(&site, "/v1/connections?user=bob").await).len(), 0);
    let (mut after, mut pages) = (String::new(), 0);
    loop {
        let page = get(&site, &format!("/v1/connections?limit=3{after}")).await;
        pages += page["connections"].as_array().unwrap().len();
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(pages, 5);
    let id = |list: &Value| list["connections"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(id(&get(&site, "/v1/connections?channel=chat.lobby").await), socket.sid, "as `socket.id`");
    let presence = get(&site, "/v1/channels/public.a/presence").await;
    let transports: Vec<_> =
        presence["users"][0]["connections"].as_array().unwrap().iter().map(|one| one["transport"].clone()).collect();
    assert_eq!(
        (&presence["users"][0]["user"], transports.len(), &presence["anonymous"]),
        (&json!("ann"), 4, &json!(1))
    );
    let channel = get(&site, "/v1/channels/public.a").await;
    assert_eq!(channel["readers"], json!({ "longpoll": 1, "sse": 1, "stream": 1, "websocket": 1, "ws": 1 }));
    socket.ask(r#""leave","lobby""#).await;
    assert_eq!(told(&get(&site, "/v1/connections?channel=chat.lobby").await).len(), 0);
    drop((events, lines, socket, plain));
    // The poll lasts, and so does its connection.
    registered(&site, 1).await;
}

/// A user is disconnected on every transport, and refused in the way after which no client of these connects again by itself.
#[actix_web::test]
async fn a_user_is_disconnected_everywhere_and_refused() {
    let site = site(&[]);
    let ann = token(&site, "ann", "", "");
    let mut events = site.get("/events?channel=public.a").token(&ann).events().await;
    let mut lines = site.get("/data?channel=public.a&mode=stream").token(&ann).open().await;
    assert_eq!(lines.line().await.as_deref(), Some(""));
    let mut socket = Client::connect(&site, Some(&ann)).await.unwrap();
    let mut plain = Plain::open(&site, "/ws?channel=public.a", &ann).await;
    let bob = Client::connect(&site, Some(&token(&site, "bob", "", ""))).await.unwrap();
    let poll = site.get("/data?channel=public.a&wait=60").token(&ann).send();
    let end = async {
        registered(&site, 6).await;
        ask(&site, "DELETE", "/v1/users/ann/connections?for=1h").send().await
    };
    let (polled, ended) = tokio::join!(poll, end);
    assert_eq!(ended.json(), json!({ "ended": 5 }));
    assert_eq!(polled.error(), (403, "disconnected".into()));
    assert!(polled.message().contains("3600 s"), "{polled:?}");
    assert!(events.message().await.is_none() && lines.line().await.is_none());
    socket.find("41").await;
    assert_eq!(plain.closed().await, 4403);
    registered(&site, 1).await;
    assert_eq!(get(&site, "/v1/connections").await["connections"][0]["id"], bob.sid);
    assert_eq!(site.get("/events?channel=public.a").token(&ann).send().await.status, 204);
    for mode in ["longpoll", "poll", "stream"] {
        let path = format!("/data?channel=public.a&mode={mode}");
        assert_eq!(site.get(&path).token(&ann).send().await.error(), (403, "disconnected".into()), "{mode}");
    }
    assert_eq!(Plain::open(&site, "/ws?channel=public.a", &ann).await.closed().await, 4403);
    let refused = Client::connect(&site, Some(&ann)).await.err().unwrap();
    assert_eq!(refused["data"]["code"], "disconnected", "{refused}");
    assert!(Client::connect(&site, None).await.is_ok());
}

#[actix_web::test]
async fn one_connection_is_ended() {
    let site = site(&[]);
    let mut anonymous = site.get("/events?channel=public.a").events().await;
    let mut socket = Client::connect(&site, Some(&token(&site, "ann", "", ""))).await.unwrap();
    registered(&site, 2).await;
    let id = get(&site, "/v1/connections?channel=public.a").await["connections"][0]["id"].as_str().unwrap().to_owned();
    let end = |id: &str| ask(&site, "DELETE", &format!("/v1/connections/{id}")).send();
    assert_eq!(end(&id).await.json(), json!({ "ended": 1 }));
    assert!(anonymous.message().await.is_none());
    assert_eq!(end(&id).await.error(), (404, "unknown_connection".into()));
    assert_eq!(end("short").await.error(), (400, "bad_connection".into()));
    // Without a user it is only ended.
    drop(site.get("/events?channel=public.a").events().await);
    assert_eq!(end(&socket.sid).await.json(), json!({ "ended": 1 }));
    socket.find("41").await;
    assert!(Client::connect(&site, Some(&token(&site, "ann", "", ""))).await.is_err());
    for bad in ["0", "0s", "31d", "soon", "-1"] {
        let answer = ask(&site, "DELETE", &format!("/v1/users/ann/connections?for={bad}")).send().await;
        assert_eq!(answer.error(), (400, "bad_duration".into()), "{bad}");
    }
    let long = "x".repeat(edge::auth::MAX_USER_BYTES + 1);
    let answer = ask(&site, "DELETE", &format!("/v1/users/{long}/connections")).send().await;
    assert_eq!(answer.error(), (400, "bad_user".into()));
}

/// Also if new ones cannot be refused, which the answer says.
#[actix_web::test]
async fn connections_end_when_too_many_users_are_refused() {
    let site = site(&[]);
    let ann = token(&site, "ann", "", "");
    let (edge, time, now) = (&site.service.edge, std::time::Duration::from_secs(60), std::time::SystemTime::now());
    let has_room = async |name: String| edge.restrict(&edge.refuse_user(&name, now, time), now).await.rejected == 0;
    let pad = "x".repeat(edge::auth::MAX_USER_BYTES - 8);
    let mut names = (0..).map(|n| format!("{n}{pad}"));
    while has_room(names.next().unwrap()).await {}
    let mut names = (0..).map(|n| format!("u{n}"));
    while has_room(names.next().unwrap()).await {}
    for path in ["users/ann/connections", "connections/{id}"] {
        let mut events = site.get("/events?channel=public.a").token(&ann).events().await;
        registered(&site, 1).await;
        let list = get(&site, "/v1/connections").await;
        let path = path.replace("{id}", list["connections"][0]["id"].as_str().unwrap());
        let answer = ask(&site, "DELETE", &format!("/v1/{path}")).send().await;
        assert_eq!(answer.error(), (503, "too_many_users".into()));
        assert!(answer.message().contains("(1)"), "{answer:?}");
        assert!(events.message().await.is_none());
        registered(&site, 0).await;
    }
}

/// A revoked token is refused from then on, connections that were opened with it end, and a later token of the user is valid.
#[actix_web::test]
async fn tokens_are_revoked() {
    let site = site(&[]);
    let revoke = |body: Value| ask(&site, "POST", "/v1/revocations").body("application/json", body.to_string());
    let ann = token(&site, "ann", "public.*", "private");
    let mut events = site.get("/events?channel=private").token(&ann).events().await;
    let mut socket = Client::connect(&site, Some(&ann)).await.unwrap();
    registered(&site, 2).await;
    let answer = revoke(json!({ "user": "ann" })).await;
    assert_eq!((answer.status, &answer.json()["ended"]), (201, &json!(2)), "{answer:?}");
    assert!(events.message().await.is_none());
    socket.find("41").await;
    let publish = async |token: &str| crate::publish(&site, token, "public.a", "1").await.status;
    assert_eq!(site.get("/events?channel=private").token(&ann).send().await.error(), (401, "bad_token".into()));
    assert_eq!(publish(&ann).await, 401);
    assert_eq!(Client::connect(&site, Some(&ann)).await.err().unwrap()["data"]["code"], "bad_token");
    // The next whole second, from which on every new token is valid.
    let issued_before = answer.json()["issued_before"].as_f64().unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!(issued_before.fract() == 0.0 && issued_before < now + 1.0, "{issued_before} {now}");
    // Issued at least a millisecond later.
    let later = async || token(&site, "ann", "public.*", "");
    let mut again = later().await;
    while publish(&again).await != 201 {
        again = later().await;
    }
    let claims = again.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(
        &base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).unwrap(),
    )
    .unwrap();
    let answer = revoke(json!({ "jti": claims["jti"] })).await;
    assert_eq!((answer.status, answer.json().get("issued_before")), (201, None), "whenever it was issued");
    assert_eq!(publish(&again).await, 401);
    let past = json!({ "user": "bob", "issued_before": 1_700_000_000_500_u64 });
    assert_eq!(revoke(past).await.json()["issued_before"], json!(1_700_000_000.5));
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for (bad, code) in [
        (json!({}), "bad_body"),
        (json!({ "user": "a", "jti": "b" }), "bad_body"),
        (json!({ "user": 7 }), "bad_body"),
        (json!({ "jti": "x".repeat(edge::auth::MAX_USER_BYTES + 1) }), "bad_body"),
        (json!({ "user": "a", "until": 7 }), "bad_body"),
        (json!({ "user": "a", "issued_before": now + 60 }), "bad_time"),
        (json!({ "user": "a", "expires": now - 60 }), "bad_time"),
        (json!({ "user": "a", "expires": now + 400 * 86_400 }), "bad_time"),
    ] {
        assert_eq!(revoke(bad.clone()).await.error(), (400, code.into()), "{bad}");
    }
}

/// On disk, what backends have decided about clients outlives the process.
#[actix_web::test]
async fn revocations_survive_a_restart() {
    let directory = std::env::temp_dir().join(format!("trident-records-{}", std::process::id()));
    let bus = format!("file:{}", directory.display());
    let start = || site(&[("TRIDENT_BUS", &bus)]);
    let first = start();
    let tokens = ["ann", "bob", "eve"].map(|user| token(&first, user, "", "private"));
    let body = json!({ "user": "ann" }).to_string();
    assert_eq!(ask(&first, "POST", "/v1/revocations").body("application/json", body).await.status, 201);
    assert_eq!(ask(&first, "DELETE", "/v1/users/bob/connections?for=1h").send().await.status, 200);
    let released = first.service.bus.clone();
    first.stop().await;
    released.close().await;
    let again = start();
    let read = |token: &str| again.get("/data?channel=private&mode=poll").token(token).send();
    assert_eq!(read(&tokens[0]).await.error(), (401, "bad_token".into()));
    assert_eq!(read(&tokens[1]).await.error(), (403, "disconnected".into()));
    assert_eq!(read(&tokens[2]).await.status, 200);
    again.stop().await;
    std::fs::remove_dir_all(directory).unwrap();
}
