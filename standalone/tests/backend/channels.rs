//! What a backend asks about channels, and who may ask.

use edge::testing::{Answer, Site};
use serde_json::{Value, json};
use shared::pure::access::ApiRight;

use crate::{publish, site, token};

async fn ask(site: &Site, method: &str, path: &str) -> Answer {
    site.ask(method.parse().unwrap(), path).token(&site.backend_token(ApiRight::Write)).send().await
}

async fn get(site: &Site, path: &str) -> Value {
    let answer = ask(site, "GET", path).await;
    assert_eq!((answer.status, &*answer.header("Cache-Control")), (200, "no-store"), "{path}: {answer:?}");
    answer.json()
}

const READS: [&str; 6] = [
    "/v1/channels",
    "/v1/channels/a",
    "/v1/channels/a/messages",
    "/v1/channels/a/presence",
    "/v1/connections",
    "/v1/stats",
];
const WRITES: [(&str, &str); 5] = [
    ("DELETE", "/v1/channels/a/messages"),
    ("DELETE", "/v1/connections/AAAAAAAAAAAAAAAAAAAA"),
    ("DELETE", "/v1/users/ann/connections"),
    ("POST", "/v1/users/ann/messages"),
    ("POST", "/v1/revocations"),
];

/// Each route takes a token with the right for it in `Authorization`, and none in a cookie.
#[actix_web::test]
async fn only_backends_may_ask() {
    let site = site(&[]);
    let (read, everything) = (site.backend_token(ApiRight::Read), site.token("*", "*"));
    let routes = READS.map(|path| ("GET", path)).into_iter().chain(WRITES);
    for (method, path) in routes {
        let ask = || site.ask(method.parse().unwrap(), path);
        assert_eq!(ask().send().await.error(), (401, "token_needed".into()), "{method} {path}");
        let cookie = format!("trident_token={}", site.backend_token(ApiRight::Write));
        let origin = "http://localhost";
        let by_cookie = ask().header("Cookie", &cookie).header("Origin", origin).send().await;
        assert_eq!(by_cookie.error(), (401, "token_needed".into()), "{method} {path}");
        assert_eq!(
            ask().token(&everything).send().await.error(),
            (403, "insufficient_scope".into()),
            "{method} {path}"
        );
        assert_eq!(ask().token("x").send().await.error(), (401, "bad_token".into()), "{method} {path}");
        let status = if method == "GET" { 200 } else { 403 };
        assert_eq!(ask().token(&read).send().await.status, status, "{method} {path}");
        let unknown = ask_with_query(&site, method, path).await;
        assert!(unknown.error().0 == 400 || method == "POST", "{method} {path}: {unknown:?}");
    }
    assert_eq!(ask(&site, "GET", "/v1/nothing").await.status, 404);
    assert_eq!(ask(&site, "POST", "/v1/channels").await.error(), (405, "method_not_allowed".into()));
}

async fn ask_with_query(site: &Site, method: &str, path: &str) -> Answer {
    ask(site, method, &format!("{path}?nobody.knows=1")).await
}

#[actix_web::test]
async fn a_backend_has_a_rate() {
    let site = site(&[("TRIDENT_API_RATE", "3")]);
    let token = site.backend_token(ApiRight::Read);
    loop {
        let answer = site.get("/v1/stats").token(&token).send().await;
        if answer.status != 200 {
            assert_eq!(answer.error(), (429, "too_many_requests".into()));
            assert!(!answer.header("Retry-After").is_empty());
            break;
        }
    }
    assert_eq!(site.service.edge.metrics.refusals.api_rate.get(), 1);
}

#[actix_web::test]
async fn channels_are_listed_in_pages() {
    let site = site(&[]);
    let mut ids = Vec::new();
    for channel in ["a.1", "a.2", "b", "a.3"] {
        ids.push(site.publish(channel, "\"x\"").await.to_string());
    }
    let last = site.publish("a.1", "12345").await.to_string();
    let page = get(&site, "/v1/channels?prefix=a.&limit=2").await;
    let expected = json!({
        "channels": [
            { "name": "a.1", "readers": {}, "messages": 2, "bytes": 8, "oldest": ids[0], "newest": last },
            { "name": "a.2", "readers": {}, "messages": 1, "bytes": 3, "oldest": ids[1], "newest": ids[1] },
        ],
        "next": "a.2",
    });
    assert_eq!(page, expected);
    let rest = get(&site, "/v1/channels?prefix=a.&limit=2&after=a.2").await;
    assert_eq!((&rest["channels"][0]["name"], rest.get("next")), (&json!("a.3"), None));
    assert_eq!(get(&site, "/v1/channels").await["channels"].as_array().unwrap().len(), 4);
    assert_eq!(get(&site, "/v1/channels/b").await["newest"], ids[2]);
    assert_eq!(
        get(&site, "/v1/channels/none").await,
        json!({ "name": "none", "readers": {}, "messages": 0, "bytes": 0 })
    );
    for (path, code) in [
        ("/v1/channels?limit=0", "bad_limit"),
        ("/v1/channels?limit=1001", "bad_limit"),
        ("/v1/channels?after=*", "bad_channel"),
        ("/v1/channels/a%20b", "bad_channel"),
        ("/v1/channels/%ff", "bad_encoding"),
    ] {
        assert_eq!(ask(&site, "GET", path).await.error(), (400, code.into()), "{path}");
    }
}

#[actix_web::test]
async fn history_is_read_in_both_directions() {
    let site = site(&[]);
    let ids: Vec<String> = {
        let mut ids = Vec::new();
        for n in 0..10 {
            ids.push(site.publish("jobs", n.to_string()).await.to_string());
        }
        ids
    };
    let data = |page: &Value| -> Vec<i64> {
        page["messages"].as_array().unwrap().iter().map(|message| message["data"].as_i64().unwrap()).collect()
    };
    let path = "/v1/channels/jobs/messages";
    let newest = get(&site, &format!("{path}?limit=4")).await;
    assert_eq!((data(&newest), &newest["more"], &newest["cursor"]), (vec![6, 7, 8, 9], &json!(true), &json!(ids[6])));
    let older = get(&site, &format!("{path}?limit=6&before={}", ids[6])).await;
    assert_eq!((data(&older), &older["more"]), ((0..6).collect(), &json!(false)));
    let first = get(&site, &format!("{path}?limit=4&since=earliest")).await;
    assert_eq!((data(&first), &first["more"], &first["cursor"]), (vec![0, 1, 2, 3], &json!(true), &json!(ids[3])));
    let rest = get(&site, &format!("{path}?since={}", ids[3])).await;
    assert_eq!((data(&rest), &rest["more"]), ((4..10).collect(), &json!(false)));
    assert_eq!(rest["messages"][0]["id"], ids[4]);
    let none = get(&site, &format!("{path}?since={}", ids[9])).await;
    assert_eq!((data(&none), &none["more"], none.get("gap")), (Vec::new(), &json!(false), None));
    for bad in ["since=x", "before=earliest", "since=1-0&before=2-0", "limit=x"] {
        assert_eq!(ask(&site, "GET", &format!("{path}?{bad}")).await.status, 400, "{bad}");
    }
}

/// A log on disk is larger than the memory, and its history is as complete in both directions.
#[actix_web::test]
async fn history_is_read_from_disk() {
    let directory = std::env::temp_dir().join(format!("trident-history-{:016x}", rand::random::<u64>()));
    let bus = format!("file:{}", directory.display());
    let site = site(&[("TRIDENT_BUS", &bus), ("TRIDENT_FSYNC", "never"), ("TRIDENT_HISTORY_TOTAL", "1MiB")]);
    let padding = "x".repeat(40_000);
    let mut ids = Vec::new();
    for n in 0..60 {
        ids.push(site.publish("jobs", format!("[{n},\"{padding}\"]")).await.to_string());
    }
    assert!(site.service.log().counts().messages < 40);
    let path = "/v1/channels/jobs/messages?limit=7";
    for (direction, first) in [("since", "since=earliest".to_owned()), ("before", format!("before={}", ids[59]))] {
        let (mut query, mut read) = (first, Vec::new());
        loop {
            let page = get(&site, &format!("{path}&{query}")).await;
            let ids = page["messages"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
            read.push(ids.collect::<Vec<_>>());
            assert_eq!(page.get("gap"), None);
            if page["more"] == false {
                break;
            }
            query = format!("{direction}={}", page["cursor"].as_str().unwrap());
        }
        if direction == "before" {
            read.reverse();
        }
        let expected = if direction == "since" { &ids[..] } else { &ids[..59] };
        assert_eq!(read.concat(), expected, "{direction}");
    }
    site.stop().await;
    std::fs::remove_dir_all(directory).unwrap();
}

/// A process that is still loading the stored messages does not say that there are none.
#[actix_web::test]
async fn history_needs_a_log_that_is_filled() {
    // It takes connections and never answers, as a Redis that is out of reach.
    let nobody = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let site = site(&[("TRIDENT_BUS", &format!("redis://{}", nobody.local_addr().unwrap()))]);
    for query in ["", "?since=earliest", "?since=1763800000000-0"] {
        let answer = ask(&site, "GET", &format!("/v1/channels/a/messages{query}")).await;
        assert_eq!((answer.error(), &*answer.header("Retry-After")), ((503, "bus_unavailable".into()), "2"), "{query}");
    }
    site.stop().await;
}

/// Connected readers get no event; a reader that resumes from before gets a gap.
#[actix_web::test]
async fn a_channel_is_purged() {
    let site = site(&[]);
    let first = site.publish("public.a", "1").await;
    site.publish("public.a", "2").await;
    let mut events = site.get(&format!("/events?channel=public.a&since={first}")).events().await;
    assert_eq!(events.take(1).await[0].1, "2");
    let purged = ask(&site, "DELETE", "/v1/channels/public.a/messages").await;
    assert_eq!((purged.status, purged.json()), (200, json!({ "up_to": site.service.log().head().to_string() })));
    assert_eq!(site.held("public.a"), []);
    let resumed = site.get(&format!("/data?channel=public.a&since={first}&mode=poll")).send().await.json();
    assert_eq!(resumed["gap"], true);
    let page = get(&site, &format!("/v1/channels/public.a/messages?since={first}")).await;
    assert_eq!(page["gap"]["requested"], first.to_string());
    site.publish("public.a", "3").await;
    assert_eq!(events.take(1).await[0].1, "3", "and nothing in between");
}

/// Also of a log on disk, and it stays purged when the process starts again.
#[actix_web::test]
async fn a_channel_on_disk_is_purged() {
    let directory = std::env::temp_dir().join(format!("trident-purge-{}", std::process::id()));
    let settings = [("TRIDENT_BUS", &*format!("file:{}", directory.display()))];
    let first = {
        let site = site(&settings);
        let first = site.publish("public.a", "1").await;
        site.publish("public.a", "2").await;
        let purged = ask(&site, "DELETE", "/v1/channels/public.a/messages").await;
        assert_eq!((purged.status, purged.json()), (200, json!({ "up_to": site.service.log().head().to_string() })));
        assert_eq!(site.held("public.a"), []);
        site.service.bus.close().await;
        site.stop().await;
        first
    };
    let site = site(&settings);
    assert_eq!(site.held("public.a"), []);
    let page = get(&site, &format!("/v1/channels/public.a/messages?since={first}")).await;
    assert_eq!((&page["messages"], &page["gap"]["requested"]), (&json!([]), &json!(first.to_string())));
    site.stop().await;
    std::fs::remove_dir_all(directory).unwrap();
}

#[actix_web::test]
async fn a_message_reaches_one_user() {
    let site = site(&[]);
    let backend = site.backend_token(ApiRight::Write);
    let send = |user: &str, kind: &'static str| {
        let path = format!("/v1/users/{user}/messages?event=order");
        site.ask("POST".parse().unwrap(), &path).token(&backend).header("Idempotency-Key", user).body(kind, "7")
    };
    for (user, encoded, channel) in [
        ("ann", "ann", "user.ann"),
        ("ann@example.com", "ann%40example.com", "user.~cdT1X3L6Eo37RooaOQFQfIBLdDFkiHRNdp1_SxZpZHY"),
    ] {
        let own = token(&site, user, "", "");
        let mut events = site.get(&format!("/events?channel={channel}")).token(&own).events().await;
        let sent = send(encoded, "application/json").await;
        assert_eq!(sent.status, 201, "{sent:?}");
        let message = events.message().await.unwrap();
        assert_eq!((&*message.data, message.id.as_deref()), ("7", sent.json()["id"].as_str()));
        assert_eq!(send(encoded, "application/json").await.json(), sent.json(), "a repetition adds nothing");
    }
    assert_eq!(send("ann", "application/x-ndjson").await.error().0, 415);
}

#[actix_web::test]
async fn a_process_says_how_it_is() {
    let site = site(&[]);
    let _events = site.get("/events?channel=public.a").events().await;
    publish(&site, &site.token("public.*", ""), "public.a", "1").await;
    let stats = get(&site, "/v1/stats").await;
    let process = &stats["processes"][0];
    assert_eq!(
        (&process["service"], &process["ready"], &process["bus"]["kind"]),
        (&json!("standalone"), &json!(true), &json!("memory"))
    );
    assert_eq!((&process["connections"]["sse"], &process["log"]["messages"]), (&json!(1), &json!(1)));
    assert!(process["up_since"].as_u64() > Some(1_600_000_000_000) && process["memory"].as_u64() > Some(0));
    assert!(process["rates"]["publishes"].is_number() && process["version"].is_string());
    assert_eq!(
        (&process["refusals"], process.get("webhooks")),
        (&json!({}), None),
        "nothing is refused, and no webhooks are set"
    );
    assert_eq!(site.get("/events?channel=private").token("x").send().await.status, 401);
    let stats = get(&site, "/v1/stats").await;
    assert_eq!(stats["processes"][0]["refusals"], json!({ "bad_token": 1 }));
}
