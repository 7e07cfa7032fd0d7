//! What a stream looks like, and who gets one.

use actix_web::http::Method;
use edge::{
    metrics::Transport,
    testing::{PATIENCE, sse::Event, until},
};

use crate::site;

#[actix_web::test]
async fn the_bytes_are_as_browsers_and_proxies_need_them() {
    let site = site(&[]);
    let id = site.publish("public.a", "{ \"code\": 1.50 }").await;
    let mut connection = site.connect().await;
    connection.request("GET", "/events?channel=public.a&since=earliest", &[]).await;
    let head = connection.head().await;
    let has = |line: &str| head.contains(&format!("\r\n{line}\r\n"));
    assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
    assert!(has("content-type: text/event-stream;charset=utf-8"), "{head}");
    assert!(has("cache-control: no-store, no-transform") && has("x-accel-buffering: no"), "{head}");
    assert!(has("vary: origin") && has("transfer-encoding: chunked"), "{head}");
    assert!(!head.contains("content-length") && !head.contains("content-encoding"), "{head}");

    let opening = String::from_utf8(connection.chunk().await).unwrap();
    let retry = opening.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix("\n: connected\n\n"));
    assert!((2_000..=4_000).contains(&retry.unwrap().parse::<u32>().unwrap()), "{opening:?}");
    let expected = format!("id: {id}\ndata: {{\"code\":1.50}}\n\n");
    assert_eq!(String::from_utf8(connection.chunk().await).unwrap(), expected);
    let id = site.publish_as("public.a", "chat message", "\"x\\r\\ny\\rz\\n\"").await;
    let expected = format!("id: {id}\nevent: chat message\ndata: x\ndata: y\ndata: z\ndata: \n\n");
    assert_eq!(String::from_utf8(connection.chunk().await).unwrap(), expected);
}

/// What raw events cannot distinguish: channels, a text and a number, a gap and a message of that name.
#[actix_web::test]
async fn whole_messages_distinguish_what_raw_events_do_not() {
    let site = site(&[("TRIDENT_HISTORY_COUNT", "2")]);
    let dropped = site.publish("public.a", "1").await;
    site.publish("public.a", "2").await;
    let sent = [
        site.publish("public.b", "5").await,
        site.publish_as("public.a", "gaps", "{\"requested\":\"1-1\",\"resumed\":\"2-2\"}").await,
        site.publish_as("public.a", "a b", "\"5\"").await,
    ];
    let path = format!("/events?channel=public.a&channel=public.b&format=message&since={}-0", dropped.ms - 1);
    let mut events = site.get(&path).events().await;
    let mut told = Vec::new();
    while told.len() < 4 {
        let message = events.message().await.unwrap();
        told.push((message.event, message.data));
    }
    let names: Vec<_> = told.iter().map(|(event, _)| event.as_deref()).collect();
    assert_eq!(names, [Some("gap"), None, None, None]);
    let whole: Vec<serde_json::Value> = told[1..].iter().map(|(_, data)| serde_json::from_str(data).unwrap()).collect();
    for (message, id) in whole.iter().zip(sent) {
        assert_eq!((&message["id"], &message["time"]), (&id.to_string().into(), &id.ms.into()));
    }
    let of = |name: &str| whole.iter().map(|message| message[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("channel"), ["public.b", "public.a", "public.a"]);
    assert_eq!(of("event"), ["message", "gaps", "a b"]);
    assert_eq!((&whole[0]["data"], &whole[2]["data"]), (&5.into(), &"5".into()));
}

/// Case 4.3: proxies and middlewares that compress do not buffer events.
#[actix_web::test]
async fn a_stream_is_not_to_be_transformed() {
    let site = site(&[]);
    for method in [Method::GET, Method::HEAD] {
        let answer = site.ask(method.clone(), "/events").open().await;
        assert_eq!(answer.header("Cache-Control"), "no-store, no-transform", "{method}");
    }
}

/// Case 13.1: `/` is the event stream of the clock for clients that request one by name, and the page for all others.
#[actix_web::test]
async fn the_root_is_an_event_stream_for_an_event_source() {
    let pages = |config: &mut actix_web::web::ServiceConfig| {
        sse_svc::pages(config);
        sse_svc::home(config);
    };
    let site = edge::testing::Site::start(&sse_svc::DEFAULTS, &[], sse_svc::routes, pages);
    for accept in ["text/event-stream", "text/html, Text/Event-Stream;q=0.5"] {
        let mut events = site.get("/").header("Accept", accept).events().await;
        let id = site.publish("time", "\"时间:7\"").await;
        assert_eq!(events.take(1).await, [(id.to_string(), "时间:7".to_owned())], "{accept}");
    }
    for accept in ["text/html", "*/*", "text/*", "text/event-streams"] {
        let page = site.get("/").header("Accept", accept).send().await;
        assert_eq!((page.status, &*page.header("Content-Type")), (200, "text/html; charset=utf-8"), "{accept}");
    }
    let head = site.ask(Method::HEAD, "/").header("Accept", "text/event-stream").send().await;
    assert_eq!(head.header("Content-Type"), "text/html; charset=utf-8", "a HEAD opens nothing");
    assert_eq!(site.ask(Method::POST, "/").header("Accept", "text/event-stream").send().await.status, 405);
}

#[actix_web::test]
async fn the_reconnection_time_varies() {
    let site = site(&[]);
    let mut drawn = std::collections::HashSet::new();
    for _ in 0..12 {
        let mut events = site.get("/events").events().await;
        assert_eq!(events.next().await, Some(Event::Comment("connected".into())));
        let Some(Event::Message(opening)) = events.next().await else { panic!("the opening has an id") };
        let retry = opening.retry.expect("a `retry` is in the opening");
        assert!((2_000..=4_000).contains(&retry.as_millis()));
        drawn.insert(retry);
    }
    assert!(drawn.len() > 6, "{drawn:?}");
}

#[actix_web::test]
async fn a_text_is_its_lines_and_anything_else_is_json() {
    let site = site(&[]);
    let mut events = site.get("/events?channel=public.a").events().await;
    for (json, data) in [
        ("\"\\u65f6间:7\"", "时间:7"),
        ("\"\"", ""),
        ("\" a\\n\\n b\"", " a\n\n b"),
        ("\"a\\r\\nb\\rc\\nd\"", "a\nb\nc\nd"),
        ("\"\\rid: 9-9\\revent: forged\\r\\r\"", "\nid: 9-9\nevent: forged\n\n"),
        ("\"a\\u0000b\\u2028c\"", "a\0b\u{2028}c"),
        ("{ \"a\\n\" : [1.0, 12345678901234567890] }", "{\"a\\n\":[1.0,12345678901234567890]}"),
        ("null", "null"),
        ("5e30", "5e30"),
    ] {
        let id = site.publish("public.a", json).await;
        let message = events.message().await.unwrap();
        assert_eq!((message.id.unwrap(), message.event), (id.to_string().into(), None), "{json}");
        assert_eq!(message.data, *data, "{json}");
    }
}

#[actix_web::test]
async fn several_channels_come_in_the_order_of_their_ids() {
    let site = site(&[]);
    let names: Vec<_> = (0..128).map(|n| format!("public.{n}")).collect();
    let query = names.iter().map(|name| format!("channel={name}")).collect::<Vec<_>>().join("&");
    let mut events = site.get(&format!("/events?{query}&since=earliest")).events().await;
    let mut expected = Vec::new();
    for n in 0..200 {
        // A stride that visits the channels out of their order.
        let id = site.publish(&names[n * 37 % 128], n.to_string()).await;
        expected.push((id.to_string(), n.to_string()));
        site.publish("public.other", "0").await;
    }
    assert_eq!(events.take(200).await, expected);
    let again = site.get(&format!("/events?{query}&since=earliest")).events().await.take(200).await;
    assert_eq!(again, expected);

    let answer = site.get(&format!("/events?{query}&channel=public.128")).send().await;
    assert_eq!(answer.error(), (400, "repeated_parameter".into()));
    assert!(answer.message().contains("128"), "{}", answer.message());
}

#[actix_web::test]
async fn a_channel_named_twice_counts_once() {
    let site = site(&[]);
    let mut events = site.get("/events?channel=public.a&channel=public.a").events().await;
    let ids = [site.publish("public.a", "1").await, site.publish("public.a", "2").await];
    assert_eq!(events.take(2).await, [(ids[0].to_string(), "1".into()), (ids[1].to_string(), "2".into())]);
}

#[actix_web::test]
async fn without_a_channel_it_is_the_clock() {
    let site = site(&[("TRIDENT_DEMO", "on")]);
    let silent = crate::site(&[]);
    sse_svc::start_demo(&site.service);
    sse_svc::start_demo(&silent.service);
    let mut events = site.get("/events?since=earliest").events().await;
    let ticks = events.take(2).await;
    for (_, data) in &ticks {
        let second = data.strip_prefix("时间:").unwrap();
        assert!(second.parse::<u8>().unwrap() < 60 && (second == "0" || !second.starts_with('0')), "{data}");
    }
    assert_ne!(ticks[0].1, ticks[1].1, "a second lies between two ticks");
    assert!(silent.held("time").is_empty(), "TRIDENT_DEMO=off");
}

#[actix_web::test]
async fn head_answers_the_headers_and_no_body() {
    let site = site(&[]);
    let mut connection = site.connect().await;
    connection.request("HEAD", "/events", &[]).await;
    let head = connection.head().await;
    assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
    for line in [
        "content-type: text/event-stream;charset=utf-8",
        "cache-control: no-store, no-transform",
        "x-accel-buffering: no",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    assert_eq!(connection.to_end().await, b"", "a stream's connection is not used again");
    let mut connection = site.connect().await;
    connection.request("HEAD", "/events?since=x", &[]).await;
    assert!(connection.head().await.starts_with("http/1.1 400 "));
    // The next answer follows immediately, without a body in between.
    connection.request("GET", "/events?since=x", &[]).await;
    assert!(connection.head().await.starts_with("http/1.1 400 "));
    assert_eq!(site.service.edge.metrics.transport(Transport::Sse).connections.get(), 0);
}

/// Case 5.10: a HEAD is limited as a GET is.
#[actix_web::test]
async fn head_is_limited() {
    let site = site(&[("TRIDENT_MAX_CONNECTIONS_PER_ADDRESS", "1")]);
    let held = site.get("/events?channel=public.a").open().await;
    assert_eq!(
        site.ask(Method::HEAD, "/events?channel=public.a").send().await.status,
        200,
        "an EventSource would not come again"
    );
    assert_eq!(site.service.edge.metrics.refusals.connections_per_address.get(), 1);
    drop(held);
}

/// A client of HTTP/1.0 knows no chunks (RFC 9112 §7.1): it reads to the end of the connection.
#[actix_web::test]
async fn an_old_client_gets_no_chunks() {
    let site = site(&[("TRIDENT_MAX_AGE", "200ms")]);
    let id = site.publish("public.a", "1").await;
    let mut connection = site.connect().await;
    connection.write("GET /events?channel=public.a&since=earliest HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    let head = connection.head().await;
    assert!(!head.contains("transfer-encoding"), "{head}");
    let body = String::from_utf8(connection.to_end().await).unwrap();
    assert!(body.starts_with("retry: ") && body.contains(&format!("\n\nid: {id}\ndata: 1\n\nretry: ")), "{body}");
}

#[actix_web::test]
async fn invalid_parameters_are_reported() {
    let site = site(&[]);
    let long = "c".repeat(129);
    for (query, code) in [
        ("since=x".to_owned(), "bad_cursor"),
        ("since=".to_owned(), "bad_cursor"),
        ("since=1".to_owned(), "bad_cursor"),
        ("since=01-0".to_owned(), "bad_cursor"),
        ("since=1-0%0A".to_owned(), "bad_cursor"),
        ("since=-1-0".to_owned(), "bad_cursor"),
        ("since=18446744073709551616-0".to_owned(), "bad_cursor"),
        ("since=Earliest".to_owned(), "bad_cursor"),
        ("channel=".to_owned(), "bad_channel"),
        ("channel=a//b".to_owned(), "bad_channel"),
        ("channel=a/%2E%2E".to_owned(), "bad_channel"),
        ("channel=time&channel=a%00".to_owned(), "bad_channel"),
        (format!("channel={long}"), "bad_channel"),
        ("since=1-0&since=1-0".to_owned(), "repeated_parameter"),
        ("chanel=time".to_owned(), "unknown_parameter"),
        ("mode=stream".to_owned(), "unknown_parameter"),
        ("format=batch".to_owned(), "bad_format"),
        ("event=x".to_owned(), "unknown_parameter"),
        ("channel=%F".to_owned(), "bad_encoding"),
        ("channel=%FF".to_owned(), "bad_encoding"),
    ] {
        let answer = site.get(&format!("/events?{query}")).header("Origin", "http://localhost:1").send().await;
        assert_eq!(answer.error(), (400, code.into()), "{query}");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), "http://localhost:1", "{query}");
    }
    assert_eq!(site.get("/event").send().await.error(), (404, "not_found".into()));
    assert_eq!(site.ask(Method::PUT, "/events").send().await.error(), (405, "method_not_allowed".into()));
}

#[actix_web::test]
async fn a_channel_is_read_only_with_permission() {
    let site = site(&[]);
    let token = site.token("", "inner.*,one");
    let get = |channel: &str| site.get(&format!("/events?channel={channel}"));
    for open in ["random", "time", "chat.lobby", "public.a"] {
        assert_eq!(get(open).open().await.status, 200, "{open}");
    }
    for (channel, status) in [("inner.a", 200), ("one", 200), ("public.a", 200), ("two", 403), ("inner", 403)] {
        let answer = get(channel).token(&token).open().await;
        assert_eq!(answer.status, status, "{channel}");
    }
    let answer = get("public.a&channel=inner.a").send().await;
    assert_eq!(answer.error(), (401, "token_needed".into()));
    assert_eq!(answer.header("WWW-Authenticate"), "Bearer realm=\"trident\"");
    assert_eq!(get("inner.a").token("a.b.c").send().await.error(), (401, "bad_token".into()));
    let closed = crate::site(&[("TRIDENT_SECRET", "")]);
    assert_eq!(closed.get("/events?channel=inner.a").send().await.error(), (403, "no_key".into()));

    // An EventSource sends no header of its own; its cookie is accepted, unless the page is of another origin.
    let cookie = format!("trident_token={token}");
    let with_cookie = || get("inner.a").header("Cookie", &cookie);
    assert_eq!(with_cookie().open().await.status, 200);
    let own = format!("http://{}", site.address());
    assert_eq!(with_cookie().header("Origin", &own).open().await.status, 200);
    // Case 4.10: nobody configured this one.
    let default = with_cookie().header("Origin", "http://localhost:1234").send().await;
    assert_eq!(default.error(), (403, "bad_origin".into()));
    let foreign = with_cookie().header("Origin", "https://evil.example").send().await;
    assert_eq!(foreign.error().0 / 100, 4);
}

#[actix_web::test]
async fn only_pages_of_allowed_origins_may_read() {
    let site = site(&[]);
    let ours = site.get("/events").header("Origin", "http://localhost:5173").open().await;
    assert_eq!(ours.header("Access-Control-Allow-Origin"), "http://localhost:5173");
    assert_eq!(ours.header("Access-Control-Allow-Credentials"), "", "nobody configured this origin");
    assert_eq!(ours.header("Vary"), "Origin");
    let foreign = site.get("/events").header("Origin", "https://evil.example").open().await;
    assert_eq!((foreign.status, &*foreign.header("Access-Control-Allow-Origin")), (200, ""));
    assert_eq!(foreign.header("Vary"), "Origin");
}

#[actix_web::test]
async fn what_passes_is_counted() {
    let site = site(&[("TRIDENT_HISTORY_COUNT", "2")]);
    let figures = site.service.edge.metrics.transport(Transport::Sse).clone();
    let first = site.publish("public.a", "1").await;
    for n in 0..3 {
        site.publish("public.a", n.to_string()).await;
    }
    let mut events = site.get(&format!("/events?channel=public.a&since={first}")).events().await;
    events.take(3).await;
    assert_eq!((figures.connections.get(), figures.opened.get()), (1, 1));
    // Another thread counts, after it has written.
    until("all are counted", || (figures.deliveries.get(), figures.gaps.get()) == (2, 1)).await;
    drop(events);
    // Nothing is written to it, yet the disconnected client has to be noticed, and long before the keep-alive.
    assert!(PATIENCE < site.service.edge.settings.keepalive);
    until("the connection is given back", || figures.connections.get() == 0).await;
    assert_eq!(site.service.edge.limits.connections(), 0);
}
