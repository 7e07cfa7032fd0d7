//! What is the same for each request: refusals, CORS, cookies, compression, older protocols, limits of the server.

use std::time::Duration;

use socketio::{Config, EngineIo, Origins, engine::Connection};

use crate::{
    Echo, OPEN, session, start,
    support::{post, sid},
};

#[test]
fn invalid_requests_have_the_errors_of_engine_io() {
    let (server, engine) = start(|_| {});
    let known = session(&server.open("/engine.io/"));
    let websocket = known.replace("polling", "websocket");
    for (method, path, status, body) in [
        ("GET", "/engine.io/", 400, r#"{"code":0,"message":"Transport unknown"}"#),
        ("GET", "/engine.io/?EIO=4&transport=webtransport", 400, r#"{"code":0,"message":"Transport unknown"}"#),
        ("GET", "/engine.io/?EIO=4&transport=polling&sid=nobody", 400, r#"{"code":1,"message":"Session ID unknown"}"#),
        ("POST", OPEN, 400, r#"{"code":2,"message":"Bad handshake method"}"#),
        ("PUT", OPEN, 400, r#"{"code":2,"message":"Bad handshake method"}"#),
        ("GET", "/engine.io/?EIO=4&transport=websocket", 400, r#"{"code":3,"message":"Bad request"}"#),
        ("GET", websocket.as_str(), 400, r#"{"code":3,"message":"Bad request"}"#),
        ("DELETE", known.as_str(), 400, r#"{"code":3,"message":"Bad request"}"#),
        ("GET", "/engine.io/?EIO=3&transport=polling", 400, r#"{"code":5,"message":"Unsupported protocol version"}"#),
        ("GET", "/engine.io/?transport=polling", 400, r#"{"code":5,"message":"Unsupported protocol version"}"#),
    ] {
        let answer = server
            .http(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    assert_eq!(engine.stats().refused_method, 2);
    // What is below the path is the path, what is beside it is not.
    assert_eq!(server.get("/engine.io/anything?EIO=4&transport=polling").status, 200);
    assert_eq!(server.get("/engine.ioo/?EIO=4&transport=polling").status, 404);
}

#[test]
fn refused_upgrades_are_bare() {
    let (server, _engine) = start(|_| {});
    for (query, message) in [
        ("EIO=4&transport=abc", "Transport unknown"),
        ("EIO=3&transport=websocket", "Unsupported protocol version"),
        ("EIO=4&transport=websocket&sid=nobody", "Session ID unknown"),
    ] {
        let answer = server.http(&format!(
            "GET /engine.io/?{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        assert_eq!((answer.status, answer.body.as_str()), (400, message));
        assert_eq!(answer.header("content-type"), Some("text/html"));
        assert_eq!(answer.header("connection"), Some("close"));
    }
}

#[test]
fn large_answers_are_compressed() {
    let (server, _engine) = start(|_| {});
    let path = session(&server.open("/engine.io/"));
    let ask = |encoding: &str| {
        server.http(&format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: {encoding}\r\n\r\n"
        ))
    };
    let message = format!("4{}", "a".repeat(1023));
    for (encoding, expected) in [("gzip, deflate, br", Some("gzip")), ("deflate", Some("deflate")), ("br", None)] {
        server.post(&path, &message);
        let answer = ask(encoding);
        assert_eq!(answer.header("content-encoding"), expected);
        assert_eq!(answer.raw_body.len() < 200, expected.is_some());
    }
    server.post(&path, &message[..1023]);
    assert_eq!(ask("gzip").header("content-encoding"), None);
}

#[test]
fn cors_headers_depend_on_the_origin() {
    let (server, _engine) = start(|config| config.origins = Origins::list(["https://good.example"]));
    let ask = |method: &str, origin: &str, more: &str| {
        server.http(&format!(
            "{method} {OPEN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: {origin}\r\n{more}\r\n"
        ))
    };
    let answer = ask("GET", "https://good.example", "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://good.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("vary"), Some("Origin"));

    // Errors too.
    let answer = ask("PUT", "https://good.example", "");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (400, Some("https://good.example")));

    let answer = ask("GET", "https://evil.example", "");
    assert_eq!((answer.status, answer.body.as_str()), (403, r#"{"code":4,"message":"Forbidden"}"#));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(ask("GET", "http://x", "").status, 200);

    let answer = ask("OPTIONS", "https://good.example", "Access-Control-Request-Headers: x-custom\r\n");
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://good.example"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-custom"));

    let (server, _engine) = start(|config| config.origins = Origins::any());
    let answer = server.get(OPEN);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[test]
fn the_cookie_is_set_once() {
    let (server, _engine) = start(|config| config.cookie = Some(socketio::Cookie::default()));
    let answer = server.get(OPEN);
    let sid = sid(&answer.body);
    assert_eq!(answer.header("set-cookie"), Some(format!("io={sid}; Path=/; HttpOnly; SameSite=Lax").as_str()));
    server.post(&session(&sid), "4a");
    assert_eq!(server.get(&session(&sid)).header("set-cookie"), None);
}

#[test]
fn protocol_3_and_jsonp() {
    let (server, _engine) = start(|config| {
        config.allow_eio3 = true;
        config.jsonp = true;
        config.ping_interval = Duration::from_secs(100);
    });
    let open = "/engine.io/?EIO=3&transport=polling";
    let answer = server.get(&format!("{open}&b64=1"));
    let (length, packet) = answer.body.split_once(':').unwrap();
    assert_eq!(length.parse(), Ok(packet.len()));
    let path = format!("{open}&sid={}", sid(packet));
    server.post(&path, "6:4hello10:b4AQIDBA==1:2");
    // The handshake's setting for binary applies, whether it is repeated or not.
    let answer = server.get(&path);
    assert_eq!(answer.body, "6:4hello10:b4AQIDBA==1:3");
    let answer = server.get(open);
    let path = format!("{open}&sid={}", sid(answer.body.split_once(':').unwrap().1));
    server.post(&path, "2:4a10:b4AQIDBA==");
    let answer = server.get(&path);
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    assert_eq!(answer.raw_body, b"\x00\x02\xff4a\x01\x05\xff\x04\x01\x02\x03\x04");

    let answer = server.get(&format!("{OPEN}&j=7"));
    assert_eq!(answer.header("content-type"), Some("text/javascript; charset=UTF-8"));
    assert!(answer.body.starts_with(r#"___eio[7]("0{\"sid\":"#), "{}", answer.body);
    let sid = answer.body.split(r#"sid\":\""#).nth(1).unwrap()[..20].to_owned();
    let path = format!("{}&j=8", session(&sid));
    let form = post(&path, "application/x-www-form-urlencoded", "d=4%E2%80%A8%22hi%22");
    assert_eq!(server.http(&form).body, "ok");
    assert_eq!(server.get(&path).body, r#"___eio[8]("4\u2028\"hi\"");"#);
}

#[test]
fn a_full_server_and_a_closing_one() {
    let (server, engine) = start(|config| config.max_connections = 2);
    server.open("/engine.io/");
    let mut socket = server.websocket("/engine.io/?EIO=4&transport=websocket");
    socket.text();
    assert_eq!(server.get(OPEN).status, 403);
    engine.close();
    assert_eq!(socket.closed(), None);
    assert_eq!(server.get(OPEN).status, 403);
}

/// Case 12.7: a request that comes at the deadline of the pong finds no session, also when the timer has not fired yet.
#[actix_web::test]
async fn the_session_is_gone_at_the_deadline() {
    const TIME: Duration = Duration::from_millis(100);
    let mut config = Config::default();
    config.path = "/engine.io/".into();
    (config.ping_interval, config.ping_timeout) = (TIME, TIME);
    let engine = EngineIo::new(config, |_: &Connection| Echo);
    let app = actix_web::test::init_service(actix_web::App::new().configure(engine.routes())).await;
    let open = actix_web::test::TestRequest::with_uri(OPEN).to_request();
    let body = actix_web::test::call_and_read_body(&app, open).await;
    let path = session(&sid(std::str::from_utf8(&body).unwrap()));
    let poll = || actix_web::test::TestRequest::with_uri(&path).to_request();
    let ping = actix_web::test::call_and_read_body(&app, poll()).await;
    assert_eq!(ping, "2");
    // The thread sleeps, and so do its timers.
    std::thread::sleep(TIME);
    let answer = actix_web::test::call_service(&app, poll()).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(engine.stats().ping_timeouts, 1);
}
