//! The first request: its answer, rejections, and which of several errors is reported.

use serde_json::{Value, json};
use socketio::{Cookie, Origins};

use crate::raw::{Tcp, UPGRADE, WebSocket};
use crate::server::{start, start_as, start_with};

#[test]
fn the_handshake_has_the_fields_of_engine_io() {
    let server = start();
    let response = server.get("EIO=4&transport=polling");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(response.header("cache-control"), Some("no-store, no-transform"));
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    assert_eq!(response.header("set-cookie"), None);
    let open: Value = serde_json::from_str(response.text().strip_prefix('0').unwrap()).unwrap();
    let sid = open["sid"].as_str().unwrap();
    assert_eq!(
        open,
        json!({"sid": sid, "upgrades": ["websocket"], "pingInterval": 25_000, "pingTimeout": 20_000, "maxPayload": 1_000_000})
    );
    assert_eq!(sid.len(), 20);
    assert!(sid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{sid}");

    // A WebSocket has nothing to upgrade to.
    let mut socket = WebSocket::connect(server.address, "/socket.io/?EIO=4&transport=websocket");
    let open: Value = serde_json::from_str(socket.next_text().strip_prefix('0').unwrap()).unwrap();
    assert_eq!(open["upgrades"], json!([]));
    assert_ne!(open["sid"].as_str(), Some(sid));
}

#[test]
fn the_socket_id_is_not_the_session_id() {
    let server = start();
    let session = server.open();
    session.post("40");
    let answer = session.poll();
    let connected: Value = serde_json::from_str(answer.text().strip_prefix("40").unwrap()).unwrap();
    let id = connected["sid"].as_str().unwrap();
    assert_eq!(connected, json!({ "sid": id }));
    assert_eq!(id.len(), 20);
    assert_ne!(id, session.sid);
}

#[test]
fn the_path_is_a_prefix() {
    let server = start_as("/chat/", |_| {});
    for (path, status) in [
        ("/chat/?EIO=4&transport=polling", 200),
        ("/chat/anything/below?EIO=4&transport=polling", 200),
        ("/socket.io/?EIO=4&transport=polling", 404),
        ("/", 404),
    ] {
        assert_eq!(server.request("GET", path, &[], b"").status, status, "{path}");
    }
}

#[test]
fn invalid_requests_have_the_errors_of_engine_io() {
    let server = start();
    for (method, query, code, message) in [
        ("GET", "", 0, "Transport unknown"),
        ("GET", "EIO=4", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=tobi", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=constructor", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=polling&sid=none", 1, "Session ID unknown"),
        ("GET", "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", 1, "Session ID unknown"),
        ("GET", "EIO=4&transport=polling&sid=%ff%00", 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling&sid=none", 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("PUT", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("DELETE", "EIO=4&transport=polling", 2, "Bad handshake method"),
        // No upgrade was asked for.
        ("GET", "EIO=4&transport=websocket", 3, "Bad request"),
        ("GET", "transport=polling", 5, "Unsupported protocol version"),
        ("GET", "EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "EIO=5&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "EIO=abc&transport=polling", 5, "Unsupported protocol version"),
        // The first error in the order of the checks is reported.
        ("POST", "EIO=9&transport=tobi&sid=none", 0, "Transport unknown"),
        ("POST", "EIO=9&transport=polling&sid=none", 1, "Session ID unknown"),
        ("POST", "EIO=9&transport=polling", 2, "Bad handshake method"),
    ] {
        let response = server.request(method, &format!("/socket.io/?{query}"), &[("Origin", "http://a.example")], b"");
        response.assert_error(400, code, message);
        assert_eq!(response.header("access-control-allow-origin"), Some("*"), "{query}");
    }
}

#[test]
fn invalid_origins_are_rejected() {
    let server = start();
    for (query, code, message) in [
        ("EIO=4&transport=tobi", 0, "Transport unknown"),
        ("EIO=4&transport=polling&sid=none", 3, "Bad request"),
        ("EIO=4&transport=polling", 3, "Bad request"),
        ("EIO=9&transport=polling", 3, "Bad request"),
    ] {
        let response = server.request("GET", &format!("/socket.io/?{query}"), &[("Origin", "http://\u{1f680}")], b"");
        response.assert_error(400, code, message);
    }
}

#[test]
fn refused_methods_of_a_session() {
    let server = start();
    for method in ["PUT", "DELETE", "PATCH"] {
        let session = server.open();
        let response = server.request(method, &session.path(), &[], b"");
        assert_eq!(response.status, 400, "{method}: {response:?}");
    }
}

#[test]
fn invalid_upgrades_are_rejected() {
    let server = start();
    for (query, message) in [
        ("EIO=4&transport=tobi", "Transport unknown"),
        ("EIO=4&transport=websocket&sid=none", "Session ID unknown"),
        ("EIO=4&transport=polling", "Bad request"),
        ("EIO=3&transport=websocket", "Unsupported protocol version"),
    ] {
        let mut tcp = Tcp::connect(server.address);
        tcp.request("GET", &format!("/socket.io/?{query}"), &UPGRADE, b"");
        let response = tcp.response();
        assert_eq!(response.status, 400);
        assert_eq!(response.text(), message);
        assert!(response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")));
        assert!(response.header("content-type").unwrap().starts_with("text/html"));
    }
}

#[test]
fn broken_upgrades_are_rejected() {
    let server = start();
    for without in ["Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key"] {
        let headers: Vec<_> = UPGRADE.iter().copied().filter(|(name, _)| *name != without).collect();
        let response = server.request("GET", "/socket.io/?EIO=4&transport=websocket", &headers, b"");
        assert_eq!(response.status / 100, 4, "{without}: {response:?}");
    }
    server.joined();
}

#[test]
fn listed_origins_connect_and_others_do_not() {
    let server = start_with(|config| config.origins = Origins::list(["https://good.example", "http://localhost:*"]));
    let query = "/socket.io/?EIO=4&transport=polling";
    for (origin, allowed) in [
        ("https://good.example", true),
        ("http://localhost:5173", true),
        ("http://good.example", false),
        ("https://good.example.evil.example", false),
        ("http://localhost.evil.example", false),
        ("null", false),
    ] {
        let response = server.request("GET", query, &[("Origin", origin)], b"");
        assert!(response.header("vary").is_some_and(|vary| vary.contains("Origin")), "{response:?}");
        let upgrade =
            WebSocket::try_connect(server.address, "/socket.io/?EIO=4&transport=websocket", &[("Origin", origin)]);
        assert_eq!(upgrade.is_ok(), allowed, "{origin}");
        if allowed {
            assert_eq!(response.status, 200);
            assert_eq!(response.header("access-control-allow-origin"), Some(origin));
            assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
        } else {
            assert_eq!(response.status, 403, "{origin}");
            assert!(response.text().starts_with(r#"{"code":4,"#), "{response:?}");
            assert_eq!(response.header("access-control-allow-origin"), None);
        }
    }
    // A client without an Origin is not a browser.
    assert_eq!(server.request("GET", query, &[], b"").status, 200);
}

#[test]
fn preflight_requests_are_answered() {
    let server = start();
    let response = server.request(
        "OPTIONS",
        "/socket.io/?EIO=4&transport=polling",
        &[
            ("Origin", "http://a.example"),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type"),
        ],
        b"",
    );
    assert_eq!(response.status, 204);
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    assert!(response.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    assert!(
        response
            .header("access-control-allow-headers")
            .is_some_and(|headers| headers.to_ascii_lowercase().contains("content-type"))
    );
}

#[test]
fn the_cookie_is_set_in_the_polling_handshake_only() {
    let server = start_with(|config| config.cookie = Some(Cookie::default()));
    let response = server.get("EIO=4&transport=polling");
    let open: Value = serde_json::from_str(&response.text()[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap();
    let cookie = response.header("set-cookie").unwrap();
    assert!(cookie.starts_with(&format!("io={sid};")), "{cookie}");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");

    let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    assert_eq!(server.request("POST", &path, &[], b"40").header("set-cookie"), None);
    assert_eq!(server.request("GET", &path, &[], b"").header("set-cookie"), None);

    let mut tcp = Tcp::connect(server.address);
    tcp.request("GET", "/socket.io/?EIO=4&transport=websocket", &UPGRADE, b"");
    let response = tcp.response();
    assert_eq!(response.status, 101);
    assert_eq!(response.header("set-cookie"), None);
}

#[test]
fn connections_are_bounded() {
    let server = start_with(|config| config.max_connections = 2);
    let first = server.open();
    let _second = server.websocket();
    assert_eq!(server.get("EIO=4&transport=polling").status, 403);
    first.post("1");
    crate::raw::eventually(|| (server.get("EIO=4&transport=polling").status == 200).then_some(()));
}
