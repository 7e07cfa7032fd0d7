//! Accepted requests, and permissions.

use actix_web::http::Method;
use edge::{metrics::Transport, testing::until};

use crate::{publish, site};

#[actix_web::test]
async fn invalid_parameters_are_reported() {
    let site = site(&[]);
    for (query, code) in [
        ("mode=push", "bad_mode"),
        ("mode=", "bad_mode"),
        ("mode=Poll", "bad_mode"),
        ("format=json", "bad_format"),
        ("format=", "bad_format"),
        ("wait=0", "bad_wait"),
        ("wait=61", "bad_wait"),
        ("wait=1.5", "bad_wait"),
        ("wait=%2B1", "bad_wait"),
        ("wait=-1", "bad_wait"),
        ("wait=", "bad_wait"),
        ("wait=99999999999999999999999", "bad_wait"),
        ("limit=0", "bad_limit"),
        ("limit=1001", "bad_limit"),
        ("limit=x", "bad_limit"),
        ("limit=1e2", "bad_limit"),
        ("since=x", "bad_cursor"),
        ("since=", "bad_cursor"),
        ("since=1-", "bad_cursor"),
        ("channel=", "bad_channel"),
        ("channel=%E6%97%B6", "bad_channel"),
        ("mode=poll&mode=poll", "repeated_parameter"),
        ("wait=1&wait=1", "repeated_parameter"),
        ("limit=1&limit=1", "repeated_parameter"),
        ("format=raw&format=raw", "repeated_parameter"),
        ("since=1-0&since=1-0", "repeated_parameter"),
        ("chanel=a", "unknown_parameter"),
        ("event=a", "unknown_parameter"),
        ("since=%", "bad_encoding"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let ask = site.ask(method.clone(), &format!("/data?{query}"));
            let answer = ask.header("Origin", "http://127.0.0.1:1").send().await;
            assert_eq!(answer.header("Access-Control-Allow-Origin"), "http://127.0.0.1:1", "{query}");
            if method == Method::HEAD {
                assert_eq!(answer.status, 400, "{query}");
            } else {
                assert_eq!(answer.error(), (400, code.into()), "{query}");
                assert_eq!(answer.header("Cache-Control"), "no-store", "{query}");
            }
        }
    }
    let answer = site.get("/data?chanel=a&x=1").send().await;
    assert!(answer.message().contains("`chanel`, `x`"), "{}", answer.message());
    let many: Vec<_> = (0..129).map(|n| format!("channel=public.{n}")).collect();
    let answer = site.get(&format!("/data?mode=poll&{}", many.join("&"))).send().await;
    assert_eq!(answer.error(), (400, "repeated_parameter".into()));
    assert_eq!(site.get("/data/").send().await.error(), (404, "not_found".into()));
}

/// A cache, a proxy or a library may store foreign validators; a client that sends one has no cursor of this server.
#[actix_web::test]
async fn a_validator_that_is_not_ours_matches_nothing() {
    let site = site(&[]);
    let first = site.publish("random", "1").await;
    let second = site.publish("random", "2").await;
    for foreign in
        ["\"33a64df551425fcc55e4d42a148795d9f25f89d4\"", "*", "\"1\"", "\"\"", "W/\"x-gzip\"", "\"a\", \"b\""]
    {
        let answer = site.get("/data?mode=poll").header("If-None-Match", foreign).send().await;
        assert_eq!((answer.status, answer.text()), (200, "2"), "{foreign}");
    }
    for ours in [format!("\"{first}-gzip\""), format!("\"x\", W/\"{first}\", *"), first.to_string()] {
        let answer = site.get("/data").header("If-None-Match", &ours).send().await;
        assert_eq!((answer.status, answer.text()), (200, "2"), "{ours}");
        assert_eq!(answer.header("ETag"), format!("\"{second}\""));
    }
    let nothing_new = format!("\"{second}-gzip\"");
    assert_eq!(site.get("/data?mode=poll").header("If-None-Match", &nothing_new).send().await.status, 304);
}

#[actix_web::test]
async fn a_channel_is_read_only_with_permission() {
    let site = site(&[]);
    let token = site.token("", "inner.*");
    for mode in ["poll", "longpoll&since=0-0", "stream"] {
        site.publish("inner.a", "1").await;
        let get = |channel: &str| site.get(&format!("/data?mode={mode}&channel={channel}"));
        assert_eq!(get("inner.a").send().await.error(), (401, "token_needed".into()), "{mode}");
        assert_eq!(get("inner.a").token("x.y.z").send().await.error(), (401, "bad_token".into()), "{mode}");
        assert_eq!(get("other").token(&token).send().await.error(), (403, "insufficient_scope".into()), "{mode}");
        assert_eq!(get("inner.a&channel=other").token(&token).send().await.error().0, 403, "{mode}");
        assert_eq!(get("inner.a").token(&token).open().await.status, 200, "{mode}");
        let cookie = format!("trident_token={token}");
        assert_eq!(get("inner.a").header("Cookie", &cookie).open().await.status, 200, "{mode}");
        let foreign = get("inner.a").header("Cookie", &cookie).header("Origin", "https://evil.example").send().await;
        assert_eq!(foreign.error().0 / 100, 4, "{mode}");
        let head = site.ask(Method::HEAD, &format!("/data?mode={mode}&channel=inner.a")).send().await;
        assert_eq!(head.status, 401, "{mode}");
    }
}

#[actix_web::test]
async fn lines_are_asked_for_by_accept_too() {
    let site = site(&[]);
    let lines = site.get("/data").header("Accept", "text/html, application/x-ndjson;q=0.9").open().await;
    assert_eq!((lines.status, &*lines.header("Content-Type")), (200, "application/x-ndjson"));
    // An explicit mode takes precedence; `*/*` names none.
    let poll = site.get("/data?mode=poll").header("Accept", "application/x-ndjson").send().await;
    assert_eq!(poll.status, 204);
    publish(&site, "random", 1).await;
    let any = site.get("/data?since=earliest").header("Accept", "*/*").send().await;
    assert_eq!(any.header("Content-Type"), "application/json");
}

#[actix_web::test]
async fn without_a_channel_it_is_random_numbers() {
    let site = site(&[("TRIDENT_DEMO", "on")]);
    let silent = crate::site(&[]);
    comet_svc::start_demo(&site.service);
    comet_svc::start_demo(&silent.service);
    let mut codes = Vec::new();
    let mut tag = "\"0-0\"".to_owned();
    for _ in 0..2 {
        let answer = site.get("/data").header("If-None-Match", &tag).send().await;
        let json = answer.json();
        assert_eq!((answer.status, json.as_object().unwrap().len()), (200, 1), "{json}");
        let code = json["code"].as_f64().unwrap();
        assert!((0.0..100.0).contains(&code), "{code}");
        codes.push(code);
        tag = answer.header("ETag");
    }
    assert_ne!(codes[0], codes[1], "a new one each second");
    assert!(silent.held("random").is_empty(), "TRIDENT_DEMO=off");
}

/// Cases 9.5 and 9.13: a HEAD has the status of a GET, and its length or none.
#[actix_web::test]
async fn head_has_the_headers_of_get_and_does_not_wait() {
    let site = site(&[]);
    let ids = publish(&site, "random", 2).await;
    let head = async |query: &str| site.ask(Method::HEAD, &format!("/data{query}")).send().await;

    let answer = head("?since=earliest").await;
    assert_eq!((answer.status, &*answer.header("Content-Type")), (200, "application/json"));
    assert_eq!(answer.header("Cache-Control") + &answer.header("ETag"), "no-store, no-transform");
    let answer = head("?format=raw&since=earliest").await;
    assert_eq!((answer.status, answer.header("ETag")), (200, format!("\"{}\"", ids[0])));
    assert_eq!(answer.header("Cache-Control"), "max-age=0, no-transform");
    let answer = head("?mode=poll").await;
    assert_eq!((answer.status, answer.header("ETag")), (200, format!("\"{}\"", ids[1])));
    assert_eq!(answer.header("Content-Length"), "1");
    let answer = head("?mode=poll&channel=random").await;
    assert_eq!(
        (answer.status, answer.header("Content-Length")),
        (200, site.get("/data?mode=poll&channel=random").send().await.header("Content-Length"))
    );
    // A GET would wait: what it would get is unknown, and so is its length.
    for (query, caching) in [("", "max-age=0"), ("?channel=random", "no-store")] {
        let answer = head(query).await;
        assert_eq!((answer.status, answer.header("Content-Length")), (200, String::new()), "{query}");
        assert!(answer.header("Cache-Control").contains(caching), "{query}");
    }
    let answer = head("?mode=stream").await;
    assert_eq!((answer.status, &*answer.header("Content-Type")), (200, "application/x-ndjson"));
    assert_eq!(
        (&*answer.header("Cache-Control"), &*answer.header("X-Accel-Buffering")),
        ("no-store, no-transform", "no")
    );

    // Nothing of a body lies between two answers.
    let mut connection = site.connect().await;
    for _ in 0..2 {
        connection.request("HEAD", "/data?since=earliest", &[]).await;
        assert!(connection.head().await.starts_with("http/1.1 200 "));
    }
    connection.request("HEAD", "/data?mode=push", &[]).await;
    assert!(connection.head().await.starts_with("http/1.1 400 "));
    let transports = [Transport::LongPoll, Transport::Stream, Transport::Poll];
    let figures = transports.map(|transport| site.service.edge.metrics.transport(transport).connections.get());
    assert_eq!(figures, [0; 3], "it holds no place once it is answered");
}

/// Case 5.10: a HEAD is limited as a GET is.
#[actix_web::test]
async fn head_is_limited() {
    let site = site(&[("TRIDENT_MAX_CONNECTIONS_PER_ADDRESS", "1")]);
    let held = site.get("/data?mode=stream&channel=public.a").open().await;
    for (refused, mode) in (1..).zip(["poll", "longpoll", "stream"]) {
        assert_eq!(site.ask(Method::HEAD, &format!("/data?mode={mode}&channel=public.a")).send().await.status, 429);
        assert_eq!(site.service.edge.metrics.refusals.connections_per_address.get(), refused);
    }
    drop(held);
}

/// Case 7.3: a process that is still loading the stored messages returns no cursor that could be wrong.
#[actix_web::test]
async fn a_poll_without_a_cursor_waits_for_the_log_to_be_filled() {
    // It takes connections and never answers, as a Redis that is out of reach.
    let nobody = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let site = site(&[("TRIDENT_BUS", &format!("redis://{}", nobody.local_addr().unwrap()))]);
    for query in ["channel=public.c&mode=poll", "channel=public.c&wait=1", "channel=public.c&mode=poll&format=raw"] {
        let answer = site.get(&format!("/data?{query}")).send().await;
        assert_eq!(answer.error(), (503, "bus_unavailable".to_owned()), "{query}");
        assert_eq!(answer.header("retry-after"), "2", "{query}");
    }
    // Who brings a cursor keeps it.
    let answer = site.get("/data?channel=public.c&mode=poll&since=1763800000000-0").send().await;
    assert!(answer.text().contains(r#""cursor":"1763800000000-0""#), "{}", answer.text());
    site.stop().await;
}

/// Case 4.2: jQuery's cache buster is ignored.
#[actix_web::test]
async fn what_libraries_add_is_ignored() {
    let site = site(&[]);
    let id = site.publish("public.a", "1").await;
    let answer = site.get("/data?channel=public.a&since=earliest&_=1763800000000").send().await;
    assert_eq!((answer.status, &answer.json()["cursor"]), (200, &id.to_string().into()));
}

/// Cases 4.3 and 4.9: no answer is to be transformed, and what a token decided is not for shared caches.
#[actix_web::test]
async fn responses_tell_caches_what_they_may_store() {
    let site = site(&[]);
    site.publish("public.a", "1").await;
    let token = site.token("", "secret");
    let cookie = format!("trident_token={token}");
    for (query, directives) in [
        ("channel=public.a&mode=poll", "no-store, no-transform"),
        ("channel=public.a&mode=poll&format=raw", "max-age=0, no-transform"),
        ("channel=public.none&mode=poll&format=raw", "max-age=0, no-transform"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let answer = site.ask(method.clone(), &format!("/data?{query}")).send().await;
            assert_eq!(answer.header("Cache-Control"), directives, "{method} {query}");
        }
        if query.ends_with("raw") {
            for answer in [
                site.get(&format!("/data?{query}")).token(&token).send().await,
                site.get(&format!("/data?{query}")).header("Cookie", &cookie).send().await,
            ] {
                assert_eq!(answer.header("Cache-Control"), "max-age=0, no-transform, private", "{query}");
            }
        }
    }
    let stream = site.get("/data?channel=public.a&mode=stream").open().await;
    assert_eq!(stream.header("Cache-Control"), "no-store, no-transform");
    let tag = site.get("/data?channel=public.a&mode=poll&format=raw").send().await.header("ETag");
    let unchanged = site.get("/data?channel=public.a&mode=poll&format=raw").header("If-None-Match", &tag);
    let unchanged = unchanged.header("Cookie", &cookie).send().await;
    assert_eq!((unchanged.status, &*unchanged.header("Cache-Control")), (304, "max-age=0, no-transform, private"));
}

/// Each publication is compared with every pattern, so that they are few.
#[actix_web::test]
async fn patterns_are_limited() {
    let site = site(&[]);
    let bearer = format!("Bearer {}", site.backend_token(shared::pure::access::ApiRight::Read));
    let open = |query: &str| site.get(&format!("/data?{query}")).header("Authorization", &bearer);
    let id = site.publish("orders.1", "1").await.to_string();
    let batch = open("channel=orders.*&mode=poll&since=earliest").send().await.json();
    assert_eq!((&batch["messages"][0]["id"], &batch["cursor"]), (&id.clone().into(), &id.into()));
    let names: Vec<_> = (0..64).map(|n| format!("channel=a.{n}*")).collect();
    let full = open(&format!("mode=stream&{}", names.join("&"))).open().await;
    assert_eq!(full.status, 200);
    assert_eq!(open("channel=orders.*&mode=poll").send().await.error(), (503, "too_many_channels".to_owned()));
    assert_eq!(open("channel=orders.1&mode=poll").send().await.status, 200);
    drop(full);
    until("they are free again", || site.service.log().patterns() == 0).await;
    assert_eq!(open("channel=orders.*&mode=poll").send().await.status, 200);
}
