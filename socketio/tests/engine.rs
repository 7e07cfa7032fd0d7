//! The Engine.IO server as clients see it: statuses, headers and bodies, request by request.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

mod support;

use std::{
    io::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use socketio::{
    Config, DisconnectReason, Origins, Outgoing, Source,
    engine::{Connection, Data, EngineIo, Peer},
};
use support::{Answer, Frame, Running, post, sid};

struct Echo;

impl Peer for Echo {
    fn on_message(&self, connection: &Connection, message: Data) {
        if message == Data::from("close me") {
            connection.close();
        } else {
            let _ = connection.send_or_end(message);
        }
    }

    fn on_close(&self, _: &Connection, _: DisconnectReason) {}
}

fn start(change: impl FnOnce(&mut Config)) -> (Running, EngineIo) {
    let mut config = Config::default();
    config.path = "/engine.io/".into();
    change(&mut config);
    let engine = EngineIo::new(config, |_: &Connection| Echo);
    let mounted = engine.clone();
    (Running::start(move || mounted.routes()), engine)
}

const OPEN: &str = "/engine.io/?EIO=4&transport=polling";

fn session(sid: &str) -> String {
    format!("{OPEN}&sid={sid}")
}

#[test]
fn polling_from_handshake_to_goodbye() {
    let (server, engine) = start(|_| {});
    let answer = server.get(OPEN);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("set-cookie"), None);
    let sid = sid(&answer.body);
    assert_eq!(sid.len(), 20);
    assert_eq!(
        answer.body,
        format!(
            r#"0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
        )
    );

    let answer = server.post(&session(&sid), "4hello\u{1e}bAQIDBA==\u{1e}4wörld");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert_eq!(answer.header("content-type"), Some("text/html"));
    let answer = server.get(&session(&sid));
    assert_eq!(answer.body, "4hello\u{1e}bAQIDBA==\u{1e}4wörld");

    let mut poll = server.connect();
    write!(poll, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n", session(&sid)).unwrap();
    // On another connection, and so perhaps sooner than the poll above.
    assert_eq!(server.post(&session(&sid), "1").status, 200);
    let answer = Answer::read(&mut poll);
    assert_eq!((answer.status, answer.body.as_str()), (200, "6"));
    assert_eq!(server.get(&session(&sid)).body, r#"{"code":1,"message":"Session ID unknown"}"#);
    assert_eq!(engine.stats().connections, 0);
}

/// A browser repeats a request when the connection that it reused breaks before the answer.
#[test]
fn repeated_requests() {
    let (server, _engine) = start(|_| {});
    let session = session(&server.open("/engine.io/"));
    let stamped = |t: &str| format!("{session}&t={t}");
    assert_eq!(server.post(&stamped("a"), "4one").body, "ok");
    assert_eq!(server.get(&stamped("b")).body, "4one");
    assert_eq!(server.post(&stamped("c"), "4two").body, "ok");
    assert_eq!(server.post(&stamped("c"), "4two").body, "ok");
    assert_eq!(server.post(&stamped("d"), "4three").body, "ok");
    assert_eq!(server.get(&stamped("e")).body, "4two\u{1e}4three", "a repeated POST counts once");
    // The answer was lost with its packets, so the session must not continue as if nothing had happened.
    let answer = server.get(&stamped("e"));
    assert_eq!((answer.status, answer.body.as_str()), (400, r#"{"code":3,"message":"Bad request"}"#));
    assert_eq!(server.get(&stamped("f")).body, r#"{"code":1,"message":"Session ID unknown"}"#);
}

#[test]
fn refusals() {
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
fn overlapping_polls_end_the_session() {
    let (server, engine) = start(|_| {});
    let path = session(&server.open("/engine.io/"));
    let mut first = server.connect();
    write!(first, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    support::eventually("the poll waits", || engine.stats().polls_waiting == 1);
    assert_eq!(server.get(&path).status, 400);
    let answer = Answer::read(&mut first);
    assert_eq!((answer.status, answer.body.as_str()), (200, "1"));
    assert_eq!(server.get(&path).status, 400);
    assert_eq!(engine.stats().connections, 0);
}

#[test]
fn overlapping_posts_end_the_session() {
    let (server, engine) = start(|_| {});
    let path = session(&server.open("/engine.io/"));
    let mut first = server.connect();
    write!(first, "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n4half of").unwrap();
    support::eventually("the second finds the first", || {
        server.post(&path, "4a").status == 400 || engine.stats().connections == 0
    });
    assert_eq!(engine.stats().connections, 0);
}

#[test]
fn a_poll_given_up_ends_the_session() {
    let (server, engine) = start(|_| {});
    let path = session(&server.open("/engine.io/"));
    let mut poll = server.connect();
    write!(poll, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    support::eventually("the poll waits", || engine.stats().polls_waiting == 1);
    drop(poll);
    support::eventually("the session ends", || engine.stats().connections == 0);
}

#[test]
fn bad_posts() {
    let (server, engine) = start(|config| config.max_http_buffer_size = 100);
    let open = || session(&server.open("/engine.io/"));

    let path = open();
    assert_eq!(server.http(&post(&path, "application/octet-stream", "4a")).status, 400);
    assert_eq!(server.get(&path).status, 400);

    let path = open();
    assert_eq!(server.post(&path, "abc").status, 400);
    assert_eq!(server.get(&path).status, 400);

    // Too large, declared or not, is refused and costs no session.
    let path = open();
    assert_eq!(server.post(&path, &format!("4{}", "a".repeat(100))).status, 413);
    let chunked = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n{}\r\n0\r\n\r\n",
        "4".repeat(101)
    );
    assert_eq!(server.http(&chunked).status, 413);
    assert_eq!(server.post(&path, "4fits").status, 200);
    assert_eq!(server.get(&path).body, "4fits");
    assert_eq!(engine.stats().refused_size, 2);
}

#[test]
fn closing_waits_for_the_next_poll() {
    let (server, engine) = start(|_| {});
    let path = session(&server.open("/engine.io/"));
    server.post(&path, "4a\u{1e}4close me");
    let answer = server.get(&path);
    assert_eq!(answer.body, "4a\u{1e}1");
    assert_eq!(server.get(&path).status, 400);
    assert_eq!(engine.stats().connections, 0);
}

#[test]
fn heartbeat_over_both_transports() {
    let (server, engine) = start(|config| {
        config.ping_interval = Duration::from_millis(60);
        config.ping_timeout = Duration::from_millis(60);
    });
    let path = session(&server.open("/engine.io/"));
    for _ in 0..3 {
        assert_eq!(server.get(&path).body, "2");
        assert_eq!(server.post(&path, "3").status, 200);
    }
    let mut socket = server.websocket("/engine.io/?EIO=4&transport=websocket");
    assert!(matches!(socket.next(), Some(Frame::Text(open)) if open.contains(r#""upgrades":[]"#)));
    for _ in 0..3 {
        assert_eq!(socket.next(), Some(Frame::Text("2".into())));
        socket.send("3");
    }
    assert_eq!(socket.closed(), None);
    support::eventually("both time out", || engine.stats().ping_timeouts == 2);
    assert_eq!(server.get(&path).status, 400);
}

#[test]
fn websocket_echo_fragments_and_control_frames() {
    let (server, _engine) = start(|_| {});
    let mut socket = server.websocket("/engine.io/?EIO=4&transport=websocket");
    socket.text();
    socket.send("4hello");
    assert_eq!(socket.next(), Some(Frame::Text("4hello".into())));
    socket.send_binary(&[1, 2, 3]);
    assert_eq!(socket.next(), Some(Frame::Binary(vec![1, 2, 3])));
    let long = format!("4{}", "x".repeat(70_000));
    socket.send(&long);
    assert_eq!(socket.next(), Some(Frame::Text(long)));
    // A message in three fragments, with a ping between them.
    socket.frame(0x01, b"4a");
    socket.frame(0x89, b"?");
    socket.frame(0x00, b"b");
    socket.frame(0x80, b"c");
    assert_eq!(socket.next(), Some(Frame::Pong(b"?".to_vec())));
    assert_eq!(socket.next(), Some(Frame::Text("4abc".into())));
    socket.frame(0x88, &1000_u16.to_be_bytes());
    assert_eq!(socket.closed(), Some(1000));
}

/// Three sources: one that has nothing, one that ends, and one that has a message then.
#[derive(Default)]
struct Three {
    is_time: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

struct OneOfThree(Arc<Three>, u8);

impl Source for OneOfThree {
    fn poll_next(&mut self, cx: &mut Context<'_>, _: usize) -> Poll<Vec<Outgoing>> {
        *self.0.waker.lock().unwrap() = Some(cx.waker().clone());
        match self.1 {
            b'e' if self.0.is_time.load(Ordering::SeqCst) => Poll::Ready(Vec::new()),
            b'm' if self.0.is_time.swap(false, Ordering::SeqCst) => {
                Poll::Ready(vec![Outgoing::from(Data::from("there"))])
            }
            _ => Poll::Pending,
        }
    }
}

#[derive(Default)]
struct Attaches(Arc<Three>);

impl Peer for Attaches {
    /// Attaches the sources in the order of the letters; without letters, it is time.
    fn on_message(&self, connection: &Connection, message: Data) {
        let Data::Text(letters) = message else { return };
        if letters.is_empty() {
            // From elsewhere and later, so that nothing else has the connection looked at.
            let three = self.0.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                three.is_time.store(true, Ordering::SeqCst);
                // All have the same: that of the connection.
                three.waker.lock().unwrap().take().unwrap().wake();
            });
        }
        for letter in letters.bytes() {
            connection.attach(OneOfThree(self.0.clone(), letter));
        }
    }

    fn on_close(&self, _: &Connection, _: DisconnectReason) {}
}

#[test]
fn a_source_that_ends_does_not_skip_another() {
    let mut config = Config::default();
    config.path = "/engine.io/".into();
    let engine = EngineIo::new(config, |_: &Connection| Attaches::default());
    let server = Running::start(move || engine.routes());
    for letters in ["qem", "qme", "eqm", "emq", "mqe", "meq"] {
        let mut socket = server.websocket("/engine.io/?EIO=4&transport=websocket");
        socket.text();
        socket.send(&format!("4{letters}"));
        socket.send("4");
        assert_eq!(socket.next(), Some(Frame::Text("4there".into())), "{letters}");
    }
}

#[test]
fn websockets_that_break_the_rules() {
    let (server, engine) = start(|config| config.max_http_buffer_size = 1000);
    type Attack = fn(&mut support::WebSocket);
    let attacks: [(&str, Attack, Option<u16>); 7] = [
        ("too large", |socket| socket.send(&"4".repeat(1001)), Some(1009)),
        (
            "declares a gigabyte",
            |socket| socket.stream.write_all(&[0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0]).unwrap(),
            Some(1009),
        ),
        (
            "too large in fragments",
            |socket| {
                socket.frame(0x01, &[b'4'; 600]);
                socket.frame(0x80, &[b'4'; 600]);
            },
            Some(1009),
        ),
        ("not masked", |socket| socket.stream.write_all(b"\x81\x014").unwrap(), Some(1002)),
        ("not UTF-8", |socket| socket.frame(0x81, b"4\xff"), Some(1007)),
        ("not a packet", |socket| socket.send("abc"), None),
        ("a client's ping", |socket| socket.send("2"), None),
    ];
    for (name, attack, code) in attacks {
        let mut socket = server.websocket("/engine.io/?EIO=4&transport=websocket");
        socket.text();
        attack(&mut socket);
        assert_eq!(socket.closed(), code, "{name}");
    }
    support::eventually("all are gone", || engine.stats().connections == 0);
}

#[test]
fn upgrade() {
    let (server, engine) = start(|_| {});
    let sid = server.open("/engine.io/");
    let path = session(&sid);
    let mut poll = server.connect();
    write!(poll, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    support::eventually("the poll waits", || engine.stats().polls_waiting == 1);

    let mut socket = server.websocket(&format!("/engine.io/?EIO=4&transport=websocket&sid={sid}"));
    // A second candidate is rejected.
    let mut second = server.websocket(&format!("/engine.io/?EIO=4&transport=websocket&sid={sid}"));
    assert_eq!(second.closed(), None);
    socket.send("2probe");
    assert_eq!(socket.text(), "3probe");
    assert_eq!(Answer::read(&mut poll).body, "6");
    // Still polling: the next poll is released as well.
    assert_eq!(server.get(&path).body, "6");
    server.post(&path, "4over polling");
    socket.send("5");
    assert_eq!(socket.text(), "4over polling");
    socket.send("4over websocket");
    assert_eq!(socket.text(), "4over websocket");
    assert_eq!(server.get(&path).body, r#"{"code":3,"message":"Bad request"}"#);
    let mut third = server.websocket(&format!("/engine.io/?EIO=4&transport=websocket&sid={sid}"));
    assert_eq!(third.closed(), None);
    let stats = engine.stats();
    assert_eq!((stats.upgrades, stats.connections_polling, stats.connections_websocket), (1, 0, 1));
    drop(socket);
    support::eventually("it is noticed", || engine.stats().connections == 0);
    assert_eq!(engine.stats().connections_websocket, 0);
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
fn cors() {
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
