//! Long-polling: payloads, overlapping requests, bodies that are too large, the end of a session.

use std::io::Write as _;

use crate::{
    OPEN, session, start,
    support::{self, Answer, post, sid},
};

#[test]
fn a_polling_session_from_handshake_to_close() {
    let (server, engine) = start(|_| {});
    let answer = server.get(OPEN);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    // Case 4.3: whoever compresses on the way would hold polls back.
    assert_eq!(answer.header("cache-control"), Some("no-store, no-transform"));
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
fn a_repeated_request_counts_once() {
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
fn an_invalid_post_closes_the_session() {
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
