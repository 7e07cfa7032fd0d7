//! The handshake: what is answered with 101, what with an error, and what is closed at once.

use actix_web::http::Method;
use serde_json::json;

use super::{Client, KEY, request};
use crate::{publish, site};

/// The status line of the answer to a request for an upgrade, and the value of a field.
async fn answered(site: &edge::testing::Site, query: &str, fields: &[(&str, &str)]) -> String {
    request(site, query, fields).await.1.lines().next().unwrap().to_owned()
}

#[actix_web::test]
async fn an_upgrade_is_answered_as_rfc_6455_says() {
    let site = site(&[]);
    let (_connection, head) = request(&site, "?channel=public.a", &[]).await;
    assert!(head.starts_with("http/1.1 101 switching protocols\r\n"), "{head}");
    for field in ["upgrade: websocket", "connection: upgrade", "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="] {
        assert!(head.lines().any(|line| line == field), "{field}: {head}");
    }
    assert!(!head.contains("sec-websocket-protocol"), "none was offered");
    assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
}

#[actix_web::test]
async fn another_request_is_asked_to_upgrade() {
    let site = site(&[]);
    let mut connection = site.connect().await;
    connection.request("GET", "/ws", &[]).await;
    let head = connection.head().await;
    assert!(head.starts_with("http/1.1 426 upgrade required\r\n"), "{head}");
    for field in ["upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13", "vary: origin"] {
        assert!(head.lines().any(|line| line == field), "{field}: {head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let body: serde_json::Value = serde_json::from_slice(&connection.read(length.unwrap()).await).unwrap();
    assert_eq!(body["error"]["code"], json!("upgrade_required"));
    assert_eq!(site.ask(Method::HEAD, "/ws").send().await.status, 426);
    assert_eq!(site.get("/ws?chanel=a").send().await.error(), (400, "unknown_parameter".into()));
    assert_eq!(site.get("/ws?channel=a%20b").send().await.error(), (400, "bad_channel".into()));
    assert_eq!(site.ask(Method::POST, "/ws").body("text/plain", "x").await.error().0, 405);
    assert_eq!(site.ask(Method::OPTIONS, "/ws").send().await.header("Allow"), "GET, HEAD, OPTIONS");
    for (field, value, status) in [
        ("Sec-WebSocket-Version", "8", "http/1.1 426 upgrade required"),
        ("Sec-WebSocket-Key", "short", "http/1.1 400 bad request"),
    ] {
        let mut connection = site.connect().await;
        let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];
        let fields = fields.into_iter().chain([("Sec-WebSocket-Key", KEY)]);
        let fields: Vec<_> = fields.filter(|(name, _)| *name != field).chain([(field, value)]).collect();
        connection.request("GET", "/ws", &fields).await;
        let head = connection.head().await;
        assert_eq!(head.lines().next(), Some(status), "{head}");
    }
}

#[actix_web::test]
async fn the_query_is_that_of_an_event_stream() {
    let site = site(&[]);
    let sent = publish(&site, "public.a", 3).await;
    let other = site.publish("public.b", "\"b\"").await.to_string();
    let mut client = Client::open(&site, &format!("?channel=public.b&channel=public.a&since={}", sent[1])).await;
    for id in [&sent[2], &other] {
        assert_eq!(client.json().await["id"], json!(id));
    }
    for (query, status) in [
        ("?chanel=public.a", "400"),
        ("?channel=a%20b", "400"),
        ("?channel=public.a&since=x", "400"),
        ("?format=message", "400"),
    ] {
        assert!(answered(&site, query, &[]).await.starts_with(&format!("http/1.1 {status} ")), "{query}");
    }
}

/// As at `/events`: the clock of the demo. A client that may not read it reads nothing yet.
#[actix_web::test]
async fn without_a_channel_it_is_the_clock() {
    let open = site(&[]);
    let mut client = Client::open(&open, "").await;
    assert_eq!(client.ask(json!({"unsubscribe": {"channels": ["x"]}, "id": 1})).await["ok"], json!(true));
    open.publish("time", "7").await;
    assert_eq!(client.json().await["channel"], json!("time"));
    let closed = site(&[("TRIDENT_PUBLIC", "public.*")]);
    let mut client = Client::open(&closed, "").await;
    closed.publish("time", "7").await;
    let answer = client.ask(super::subscribe(&["public.a"], None)).await;
    assert_eq!(answer["ok"], json!(true), "no message came before: {answer}");
}

#[actix_web::test]
async fn a_token_is_a_header_a_cookie_or_a_subprotocol() {
    let site = site(&[("TRIDENT_ORIGINS", "http://page.example")]);
    let token = site.token("", "inner");
    site.publish("inner", "1").await;
    let (bearer, cookie) = (format!("Bearer {token}"), format!("a=b; trident_token={token}"));
    let offered = format!("trident.v1, trident.bearer.{token}");
    for fields in [
        &[("Authorization", &*bearer)][..],
        &[("Cookie", &cookie)],
        &[("Cookie", &cookie), ("Origin", "http://page.example")],
        &[("Sec-WebSocket-Protocol", &offered)],
    ] {
        let mut client = Client::open_with(&site, "?channel=inner&since=earliest", fields).await;
        assert_eq!(client.json().await["data"], json!(1), "{fields:?}");
    }
    let (_connection, head) = request(&site, "?channel=inner", &[("Sec-WebSocket-Protocol", &offered)]).await;
    let selected: Vec<_> = head.lines().filter(|line| line.starts_with("sec-websocket-protocol")).collect();
    assert_eq!(selected, ["sec-websocket-protocol: trident.v1"], "the token is not repeated");
}

/// Browsers do not show a page the status of a handshake, but they show the code of a close frame.
#[actix_web::test]
async fn a_client_without_permission_is_closed_with_a_code() {
    let keyed = site(&[]);
    let other = format!("Bearer {}", keyed.token("", "other"));
    for (fields, code, error) in [
        (&[][..], 4401, "token_needed: "),
        (&[("Authorization", "Bearer x")], 4401, "bad_token: "),
        (&[("Sec-WebSocket-Protocol", "trident.v1, trident.bearer.x")], 4401, "bad_token: "),
        (&[("Authorization", &*other)], 4403, "insufficient_scope: "),
    ] {
        let mut client = Client::open_with(&keyed, "?channel=inner", fields).await;
        let (first, data) = client.frame().await;
        assert_eq!((first, u16::from_be_bytes([data[0], data[1]])), (super::CLOSE, code), "{fields:?}");
        assert!(data[2..].starts_with(error.as_bytes()), "{}", String::from_utf8_lossy(&data[2..]));
    }
    assert_eq!(keyed.service.edge.limits.connections(), 0);
}

/// Without this check any page could read with the cookies of its visitors.
#[actix_web::test]
async fn pages_of_other_origins_are_rejected() {
    let site = site(&[("TRIDENT_ORIGINS", "http://page.example")]);
    for (origin, status) in [
        ("http://page.example", "101"),
        ("http://localhost", "101"),
        ("https://page.example", "403"),
        ("http://stranger.example", "403"),
        ("null", "403"),
    ] {
        let line = answered(&site, "?channel=public.a", &[("Origin", origin)]).await;
        assert!(line.starts_with(&format!("http/1.1 {status} ")), "{origin}: {line}");
    }
    assert_eq!(site.service.edge.metrics.refusals.bad_origin.get(), 3);
}

#[actix_web::test]
async fn connections_are_limited_and_counted() {
    for (setting, status) in [
        ("TRIDENT_MAX_CONNECTIONS", "http/1.1 503 service unavailable"),
        ("TRIDENT_MAX_CONNECTIONS_PER_ADDRESS", "http/1.1 429 too many requests"),
    ] {
        let site = site(&[(setting, "1")]);
        let figures = site.service.edge.metrics.transport(edge::metrics::Transport::PlainWebSocket).clone();
        let client = Client::open(&site, "?channel=public.a").await;
        let (_connection, head) = request(&site, "?channel=public.a", &[]).await;
        assert_eq!(head.lines().next(), Some(status));
        assert!(head.contains("\r\nretry-after: "), "{head}");
        assert_eq!((figures.connections.get(), figures.opened.get()), (1, 1));
        drop(client);
        edge::testing::until("there is room again", || site.service.edge.limits.connections() == 0).await;
        assert_eq!(site.service.log().stats(0).subscriptions, 0);
        Client::open(&site, "?channel=public.a").await;
    }
}
