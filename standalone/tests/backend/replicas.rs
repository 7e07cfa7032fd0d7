//! `/v1` over several processes on one Redis: each answers for all.

use edge::testing::{Ask, Events, Site, redis::Server, soon};
use serde_json::{Value, json};
use shared::pure::access::ApiRight;

use crate::{
    client::{Client, Plain},
    site, token,
};

async fn on(server: &Server) -> Site {
    site(&[("TRIDENT_BUS", &server.url())])
}

async fn get(site: &Site, path: &str) -> Value {
    let answer = site.get(path).token(&site.backend_token(ApiRight::Read)).send().await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

fn ask(site: &Site, method: &str, path: &str) -> Ask {
    site.ask(method.parse().unwrap(), path).token(&site.backend_token(ApiRight::Write))
}

/// Waits until the answer to `path` is as wanted.
async fn until_answer(site: &Site, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    soon(path, async {
        loop {
            let answer = site.get(path).token(&site.backend_token(ApiRight::Read)).send().await;
            if answer.status == 200 && is_so(&answer.json()) {
                break answer.json();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Waits until each process knows the others.
async fn all_known(sites: &[&Site]) {
    for site in sites {
        until_answer(site, "/v1/stats", |stats| {
            stats["processes"].as_array().unwrap().len() == sites.len() && stats.get("incomplete").is_none()
        })
        .await;
    }
}

async fn ready(site: &Site) {
    edge::testing::until("the site is ready", || site.service.bus.ready().is_ok()).await;
}

async fn events(site: &Site, token: &str) -> Events {
    site.get("/events?channel=public.a").token(token).events().await
}

/// The number of connections on all processes.
async fn count(site: &Site, count: usize) {
    until_answer(site, "/v1/connections", |list| list["connections"].as_array().unwrap().len() == count).await;
}

#[actix_web::test]
async fn any_process_answers_for_all() {
    let server = Server::start().await;
    let (one, other) = (on(&server).await, on(&server).await);
    ready(&one).await;
    ready(&other).await;
    all_known(&[&one, &other]).await;
    let ann = token(&one, "ann", "", "");
    let _events = events(&one, &ann).await;
    let socket = Client::connect(&other, Some(&ann)).await.unwrap();
    let _plain = Plain::open(&other, "/ws?channel=public.a", &token(&one, "bob", "", "")).await;
    count(&one, 3).await;
    // Without a message, it exists where it is read.
    let listed = get(&one, "/v1/channels?prefix=chat.").await;
    assert_eq!((&listed["channels"][0]["name"], &listed["channels"][0]["messages"]), (&json!("chat.lobby"), &json!(0)));
    one.publish("public.a", "1").await;
    for site in [&one, &other] {
        let channel = until_answer(site, "/v1/channels/public.a", |channel| channel["messages"] == 1).await;
        assert_eq!(channel["readers"], json!({ "sse": 1, "ws": 1 }));
        let channels = get(site, "/v1/channels?prefix=public.").await;
        assert_eq!(channels["channels"][0]["readers"], json!({ "sse": 1, "ws": 1 }));
        let presence = get(site, "/v1/channels/public.a/presence").await;
        let users: Vec<_> =
            presence["users"].as_array().unwrap().iter().map(|one| one["user"].as_str().unwrap()).collect();
        assert_eq!((users, &presence["count"]), (vec!["ann", "bob"], &json!(2)));
        assert_eq!(get(site, "/v1/connections?user=ann").await["connections"].as_array().unwrap().len(), 2);
        let (mut after, mut ids) = (String::new(), Vec::new());
        loop {
            let page = get(site, &format!("/v1/connections?limit=1{after}")).await;
            ids.extend(
                page["connections"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()),
            );
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert!(ids.len() == 3 && ids.contains(&socket.sid), "{ids:?}");
    }
    one.stop().await;
    other.stop().await;
}

/// A user who is connected to several processes, over several transports, is disconnected everywhere; so is a connection of another process.
#[actix_web::test]
async fn connections_end_on_every_process() {
    let server = Server::start().await;
    let (one, other) = (on(&server).await, on(&server).await);
    ready(&one).await;
    ready(&other).await;
    all_known(&[&one, &other]).await;
    let ann = token(&one, "ann", "", "");
    let mut streams = [events(&one, &ann).await, events(&other, &ann).await];
    let mut socket = Client::connect(&other, Some(&ann)).await.unwrap();
    let mut bob = Client::connect(&other, Some(&token(&one, "bob", "", ""))).await.unwrap();
    count(&one, 4).await;
    assert_eq!(ask(&one, "DELETE", "/v1/users/ann/connections?for=1h").send().await.json(), json!({ "ended": 3 }));
    for stream in &mut streams {
        assert!(stream.message().await.is_none());
    }
    socket.find("41").await;
    for site in [&one, &other] {
        assert_eq!(site.get("/events?channel=public.a").token(&ann).send().await.status, 204);
    }
    let path = format!("/v1/connections/{}", bob.sid);
    assert_eq!(ask(&one, "DELETE", &path).send().await.json(), json!({ "ended": 1 }));
    bob.find("41").await;
    assert!(Client::connect(&one, Some(&token(&one, "bob", "", ""))).await.is_err(), "its user is refused here, too");
    assert_eq!(ask(&one, "DELETE", &path).send().await.error(), (404, "unknown_connection".into()));
    // A process that starts later refuses them as well.
    let late = on(&server).await;
    ready(&late).await;
    assert_eq!(late.get("/events?channel=public.a").token(&ann).send().await.status, 204);
    for site in [one, other, late] {
        site.stop().await;
    }
}

/// Also one that starts later, and one that was disconnected from Redis.
#[actix_web::test]
async fn a_revoked_token_is_refused_by_every_process() {
    let mut server = Server::kept().await;
    let (one, other) = (on(&server).await, on(&server).await);
    ready(&one).await;
    ready(&other).await;
    all_known(&[&one, &other]).await;
    let (ann, bob) = (token(&one, "ann", "public.*", "private"), token(&one, "bob", "public.*", "private"));
    let mut stream = events(&other, &ann).await;
    let revoke = |site: &Site, user: &str| {
        ask(site, "POST", "/v1/revocations").body("application/json", json!({ "user": user }).to_string())
    };
    let revoked = revoke(&one, "ann").await;
    assert_eq!((revoked.status, &revoked.json()["ended"]), (201, &json!(1)), "{revoked:?}");
    assert!(stream.message().await.is_none());
    let is_refused = async |site: &Site, token: &str| {
        site.get("/data?channel=private&mode=poll").token(token).send().await.error() == (401, "bad_token".into())
    };
    assert!(is_refused(&one, &ann).await && is_refused(&other, &ann).await);
    let late = on(&server).await;
    ready(&late).await;
    assert!(is_refused(&late, &ann).await);
    server.kill();
    edge::testing::until("Redis is gone", || one.service.bus.ready().is_err()).await;
    assert_eq!(revoke(&one, "bob").await.error(), (503, "bus_unavailable".into()));
    assert!(is_refused(&one, &bob).await, "by the process that was asked, nevertheless");
    server.run().await;
    ready(&one).await;
    assert!(is_refused(&late, &ann).await);
    for site in [one, other, late] {
        site.stop().await;
    }
}

/// A Redis that has lost everything gets back what the processes know, before another one starts.
#[actix_web::test]
async fn an_empty_redis_gets_revocations_back() {
    let mut server = Server::start().await;
    let one = on(&server).await;
    ready(&one).await;
    let ann = token(&one, "ann", "public.*", "private");
    let revoked = ask(&one, "POST", "/v1/revocations").body("application/json", r#"{"user":"ann"}"#.to_owned()).await;
    assert_eq!(revoked.status, 201, "{revoked:?}");
    assert_eq!(ask(&one, "DELETE", "/v1/users/bob/connections?for=1h").send().await.status, 200);
    server.kill();
    edge::testing::until("Redis is gone", || one.service.bus.ready().is_err()).await;
    server.run().await;
    soon("both records", async {
        while server.count(&["HLEN", "{trident:log}:records"]).await < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    let late = on(&server).await;
    ready(&late).await;
    let answer = late.get("/data?channel=private&mode=poll").token(&ann).send().await;
    assert_eq!(answer.error(), (401, "bad_token".into()));
    let bob = token(&late, "bob", "public.*", "private");
    assert_eq!(late.get("/data?channel=private&mode=poll").token(&bob).send().await.error().0, 403);
    one.stop().await;
    late.stop().await;
}

/// A process that does not answer is named; what the others have is answered.
#[actix_web::test]
async fn a_process_that_does_not_answer_is_named() {
    let server = Server::start().await;
    let one = on(&server).await;
    // It is on the bus, and answers nobody.
    let settings = [("TRIDENT_BUS", &*server.url()), ("TRIDENT_SECRET", edge::testing::SECRET)];
    let settings = edge::Settings::from_sources(&standalone::DEFAULTS, [], settings).unwrap();
    let mute = edge::service::Service::open(settings, &standalone::DEFAULTS).unwrap();
    let _unanswered = mute.bus.questions();
    ready(&one).await;
    let name = mute.bus.process().unwrap().to_owned();
    // At first its connection has no name.
    let stats = until_answer(&one, "/v1/stats", |stats| stats["incomplete"] == json!([name])).await;
    assert_eq!(stats["processes"].as_array().unwrap().len(), 1);
    for path in ["/v1/channels", "/v1/channels/a", "/v1/channels/a/presence", "/v1/connections"] {
        assert_eq!(get(&one, path).await["incomplete"], json!([name]), "{path}");
    }
    let ended = ask(&one, "DELETE", "/v1/users/ann/connections").send().await.json();
    assert_eq!(ended, json!({ "ended": 0, "incomplete": [name] }));
    one.stop().await;
}
