//! A session of polls and posts: forms, overlaps, sizes, ends.

use std::io::Read as _;
use std::time::Duration;

use crate::raw::{PATIENCE, Tcp, eventually};
use crate::server::{start, start_with};

#[test]
fn packets_round_trip_over_polling() {
    let server = start();
    let session = server.open();
    let answer = session.post("40");
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert_eq!(answer.header("content-type"), Some("text/html"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let joined = session.poll();
    assert!(joined.text().starts_with(r#"40{"sid":""#));

    // Several packets, binary ones included, in one body in each direction.
    session.post("42[\"echo\",1]\x1e451-[\"echo\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==\x1e42[\"echo\",\"é\u{1f680}\"]");
    let expected = "42[\"echo\",1]\x1e451-[\"echo\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==\x1e42[\"echo\",\"é\u{1f680}\"]";
    let mut got = String::new();
    while got.len() < expected.len() {
        if !got.is_empty() {
            got.push('\x1e');
        }
        let answer = session.poll();
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
        assert_eq!(answer.header("cache-control"), Some("no-store, no-transform"));
        got += answer.text();
    }
    assert_eq!(got, expected);
}

#[test]
fn a_poll_waits() {
    let server = start();
    let session = server.open();
    session.join();
    let mut poll = session.begin_poll();
    session.post("42[\"echo\",\"late\"]");
    assert_eq!(poll.response().text(), "42[\"echo\",\"late\"]");
}

/// Between two polls nobody is there to take them.
#[test]
fn volatile_events_need_a_poll_that_waits() {
    let server = start();
    let session = server.open();
    session.join();
    let namespace = server.io.of("/");
    drop(namespace.volatile().emit("now", &1));
    drop(namespace.emit("kept", &2));
    drop(namespace.volatile().emit("now", &3));
    assert_eq!(session.poll().text(), "42[\"kept\",2]");
    assert_eq!(server.io.stats().volatile_dropped, 2);
    let mut poll = session.begin_poll();
    eventually(|| (server.io.stats().polls_waiting == 1).then_some(()));
    drop(namespace.volatile().emit("now", &4));
    assert_eq!(poll.response().text(), "42[\"now\",4]");
    assert_eq!(server.io.stats().volatile_dropped, 2);
}

#[test]
fn overlapping_polls_close_the_session() {
    let server = start();
    let session = server.open();
    session.join();
    let mut first = session.begin_poll();
    // On the same thread of the server, so that the first is waiting when the second comes.
    eventually(|| {
        let second = session.poll();
        (second.status == 400).then_some(())
    });
    let first = first.response();
    assert_eq!((first.status, first.text()), (200, "1"));
    session.assert_gone();
    assert_eq!(server.end(), "/ transport error");
}

#[test]
fn overlapping_posts_close_the_session() {
    let server = start();
    let session = server.open();
    session.join();
    let mut first = Tcp::connect(server.address);
    let head = format!("POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n42[\"ec", session.path());
    first.write(head.as_bytes());
    eventually(|| (session.post("42[\"echo\"]").status == 400).then_some(()));
    session.assert_gone();
    assert_eq!(server.end(), "/ transport error");
}

#[test]
fn an_aborted_poll_ends_the_session() {
    let server = start();
    let session = server.open();
    session.join();
    let poll = session.begin_poll();
    // The poll is there when the next request is answered, since the one thread of the server takes them in order.
    session.post("42[\"nobody listens\"]");
    drop(poll);
    assert_eq!(server.end(), "/ transport error");
    session.assert_gone();
}

#[test]
fn an_aborted_post_ends_the_session() {
    for body in ["Content-Length: 100\r\n\r\n42[\"ec", "Transfer-Encoding: chunked\r\n\r\n9\r\n42[\"ec"] {
        let server = start();
        let session = server.open();
        session.join();
        let mut poll = session.begin_poll();
        let mut post = Tcp::connect(server.address);
        post.write(format!("POST {} HTTP/1.1\r\nHost: a\r\n{body}", session.path()).as_bytes());
        drop(post);
        assert_eq!(poll.response().text(), "1");
        assert_eq!(server.end(), "/ transport error");
        session.assert_gone();
    }
}

#[test]
fn the_client_closes() {
    let server = start();
    let session = server.open();
    session.join();
    let mut poll = session.begin_poll();
    session.post("42[\"nobody listens\"]");
    assert_eq!(session.post("1").text(), "ok");
    let answer = poll.response();
    assert_eq!((answer.status, answer.text()), (200, "6"));
    session.assert_gone();
    assert_eq!(server.end(), "/ transport close");
}

#[test]
fn the_server_closes_under_a_poll() {
    let server = start();
    let session = server.open();
    session.join();
    let mut poll = session.begin_poll();
    session.post("42[\"close\"]");
    let mut text = poll.response().text().to_owned();
    if !text.ends_with('1') {
        text = session.poll().text().to_owned();
    }
    assert!(text.ends_with('1'), "{text}");
    session.assert_gone();
}

#[test]
fn the_server_closes_between_polls() {
    let server = start();
    let session = server.open();
    session.join();
    session.post("42[\"close\"]");
    assert_eq!(server.end(), "/ server namespace disconnect");
    // Kept for the poll to come.
    let answer = session.poll();
    assert_eq!(answer.status, 200);
    assert!(answer.text().ends_with('1'), "{answer:?}");
    session.assert_gone();
}

#[test]
fn a_close_that_nobody_fetches_is_forced() {
    let server = start_with(|config| config.close_timeout = Duration::from_millis(100));
    let session = server.open();
    session.join();
    session.post("42[\"close\"]");
    server.end();
    eventually(|| {
        // Posts do not fetch anything.
        (session.post("").text().contains("Session ID unknown")).then_some(())
    });
}

#[test]
fn bodies_that_are_no_payload() {
    for (body, why) in [
        ("", "empty"),
        ("7", "unknown type"),
        ("abc", "unknown type"),
        ("é", "unknown type"),
        ("42[\"echo\"]\x1e", "a separator too many"),
        ("b!!!", "no base64"),
    ] {
        let server = start();
        let session = server.open();
        session.join();
        session.post(body);
        assert_eq!(server.end(), "/ parse error", "{why}");
        session.assert_gone();
    }
}

#[test]
fn bodies_that_are_not_utf8() {
    let server = start();
    let session = server.open();
    session.join();
    session.post_as("text/plain", b"42[\"echo\",\"\xff\"]");
    assert_eq!(server.end(), "/ parse error");
    session.assert_gone();
}

#[test]
fn binary_bodies_are_of_the_past() {
    let server = start();
    let session = server.open();
    session.join();
    let answer = session.post_as("application/octet-stream", b"42[\"echo\"]");
    assert_eq!(answer.status, 400);
    session.assert_gone();
    assert_eq!(server.end(), "/ transport error");
}

#[test]
fn bodies_above_the_limit_are_rejected() {
    let server = start_with(|config| config.max_http_buffer_size = 1000);
    let event = |len: usize| format!("42[\"echo\",\"{}\"]", "a".repeat(len - 13));
    // As large as allowed, with a length and in chunks.
    let session = server.open();
    session.join();
    assert_eq!(session.post(&event(1000)).status, 200);
    assert_eq!(session.poll().text(), event(1000));
    let chunked = |len: usize| {
        let session = server.open();
        session.join();
        let mut tcp = Tcp::connect(server.address);
        let body = event(len);
        tcp.write(
            format!(
                "POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                session.path(),
                body.len()
            )
            .as_bytes(),
        );
        tcp.response().status
    };
    assert_eq!(chunked(1000), 200);
    assert_eq!(chunked(1001), 413);
    let session = server.open();
    session.join();
    assert_eq!(session.post(&event(1001)).status, 413);
    // A body that is only announced is not waited for.
    let session = server.open();
    session.join();
    let mut tcp = Tcp::connect(server.address);
    let head = format!("POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n", session.path());
    tcp.write(head.as_bytes());
    assert_eq!(tcp.response().status, 413);
}

#[test]
fn a_body_that_never_ends_coming() {
    let server = start_with(|config| config.body_timeout = Duration::from_millis(100));
    let session = server.open();
    session.join();
    let mut tcp = Tcp::connect(server.address);
    let head = format!("POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n42[\"", session.path());
    tcp.write(head.as_bytes());
    // An answer or the end, but not silence.
    if let Some(response) = tcp.try_response() {
        assert_eq!(response.status / 100, 4, "{response:?}");
    }
}

#[test]
fn large_answers_are_compressed() {
    let server = start();
    let event = format!("42[\"echo\",\"{}\"]", "a".repeat(2000));
    for (accept, encoding) in [("gzip, deflate, br", true), ("gzip", true), ("identity", false), ("gzip;q=0", false)] {
        let session = server.open();
        session.join();
        session.post(&event);
        let answer = server.request("GET", &session.path(), &[("Accept-Encoding", accept)], b"");
        assert_eq!(answer.header("content-encoding").is_some_and(|value| value != "identity"), encoding, "{accept}");
        let mut text = String::new();
        let body = &answer.body[..];
        match answer.header("content-encoding") {
            Some("gzip") => flate2::read::GzDecoder::new(body).read_to_string(&mut text),
            Some("br") => brotli::Decompressor::new(body, 4096).read_to_string(&mut text),
            Some("deflate") => flate2::read::ZlibDecoder::new(body).read_to_string(&mut text),
            _ => std::io::Cursor::new(body).read_to_string(&mut text),
        }
        .unwrap();
        assert_eq!(text, event);
    }
    // Small ones are not worth it.
    let session = server.open();
    session.join();
    session.post("42[\"echo\",\"a\"]");
    let answer = server.request("GET", &session.path(), &[("Accept-Encoding", "gzip")], b"");
    assert_eq!(answer.header("content-encoding").unwrap_or("identity"), "identity");
}

#[test]
fn half_requests_hurt_nobody() {
    let server = start();
    let mut half: Vec<_> = (0..50)
        .map(|n| {
            let mut tcp = Tcp::connect(server.address);
            tcp.write(["GET /socket.io/?EIO=4", "POST /socket.io/?E", "\r\n", "GET / HTTP/9.9\r\n"][n % 4].as_bytes());
            tcp
        })
        .collect();
    let start = std::time::Instant::now();
    server.open().join();
    assert!(start.elapsed() < PATIENCE);
    half.clear();
}
