//! From polling to a WebSocket: probes, noops, and those who do it wrong.

use std::time::Duration;

use crate::raw::{Message, WebSocket, eventually};
use crate::server::{start, start_with};

#[test]
fn step_by_step() {
    let server = start();
    let session = server.open();
    session.join();
    let mut socket = WebSocket::connect(server.address, &session.websocket_path());
    socket.text("2probe");
    socket.expect("3probe");
    // The poll is answered, and so is each later one until the client has announced the upgrade.
    for _ in 0..3 {
        assert_eq!(session.poll().text(), "6");
    }
    socket.text("5");
    socket.text("42[\"echo\",1]");
    socket.expect("42[\"echo\",1]");
    // Polling has ended.
    session.poll().assert_error(400, 3, "Bad request");
    assert_eq!(session.post("42[\"echo\",2]").status, 400);
    socket.text("42[\"echo\",3]");
    socket.expect("42[\"echo\",3]");
    server.assert_no_end();
}

/// On several threads a poll can come in before the `5` behind which it was sent.
#[test]
fn a_poll_that_overtakes_the_change_is_refused_too() {
    let server = start();
    for _ in 0..50 {
        let session = server.open();
        session.join();
        let mut socket = WebSocket::connect(server.address, &session.websocket_path());
        socket.text("2probe");
        socket.expect("3probe");
        let mut poll = session.begin_poll();
        eventually(|| (server.io.stats().polls_waiting == 1).then_some(()));
        socket.text("5");
        let answer = poll.response();
        if answer.status == 400 {
            answer.assert_error(400, 3, "Bad request");
            return;
        }
        // Slower than the next noop.
        assert_eq!(answer.text(), "6");
    }
    panic!("each of them got a noop");
}

#[test]
fn queued_messages_are_sent_over_the_websocket() {
    let server = start();
    let session = server.open();
    session.join();
    let mut socket = WebSocket::connect(server.address, &session.websocket_path());
    socket.text("2probe");
    socket.expect("3probe");
    // Sent while the session is still one of polls.
    session.post("42[\"echo\",1]\x1e451-[\"echo\",{\"_placeholder\":true,\"num\":0}]\x1ebAQI=");
    socket.text("5");
    socket.expect("42[\"echo\",1]");
    socket.expect("451-[\"echo\",{\"_placeholder\":true,\"num\":0}]");
    assert_eq!(socket.next(), Message::Binary(vec![1, 2]));
}

#[test]
fn a_second_websocket_is_one_too_many() {
    let server = start();
    let session = server.open();
    session.join();
    let mut first = WebSocket::connect(server.address, &session.websocket_path());
    first.text("2probe");
    first.expect("3probe");
    let mut second = WebSocket::connect(server.address, &session.websocket_path());
    assert!(matches!(second.next(), Message::Close(_) | Message::End));
    first.text("5");
    first.text("42[\"echo\",1]");
    first.expect("42[\"echo\",1]");
    // Also once it is upgraded.
    let mut third = WebSocket::connect(server.address, &session.websocket_path());
    assert!(matches!(third.next(), Message::Close(_) | Message::End));
    first.text("42[\"echo\",2]");
    first.expect("42[\"echo\",2]");
}

#[test]
fn a_websocket_for_a_websocket_session() {
    let server = start();
    let mut socket = WebSocket::connect(server.address, "/socket.io/?EIO=4&transport=websocket");
    let open = socket.next_text();
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    let path = format!("/socket.io/?EIO=4&transport=websocket&sid={}", open["sid"].as_str().unwrap());
    let mut second = WebSocket::connect(server.address, &path);
    assert!(matches!(second.next(), Message::Close(_) | Message::End));
    socket.text("40");
    assert!(socket.next_text().starts_with("40{"));
}

#[test]
fn a_candidate_that_does_not_probe() {
    for nonsense in ["2", "2prob", "3", "42[\"echo\"]", "x", ""] {
        let server = start();
        let session = server.open();
        session.join();
        let mut socket = WebSocket::connect(server.address, &session.websocket_path());
        socket.text(nonsense);
        assert!(matches!(socket.next(), Message::Close(_) | Message::End), "{nonsense:?}");
        // The session is not affected.
        session.post("42[\"echo\",1]");
        assert_eq!(session.poll().text(), "42[\"echo\",1]");
    }
}

/// As in Node: the probe is the client's assurance, not the server's.
#[test]
fn a_candidate_that_moves_without_a_probe() {
    let server = start();
    let session = server.open();
    session.join();
    let mut socket = WebSocket::connect(server.address, &session.websocket_path());
    socket.text("5");
    socket.text("42[\"echo\",1]");
    socket.expect("42[\"echo\",1]");
}

#[test]
fn a_candidate_that_takes_too_long() {
    let server = start_with(|config| config.upgrade_timeout = Duration::from_millis(100));
    let session = server.open();
    session.join();
    let mut socket = WebSocket::connect(server.address, &session.websocket_path());
    socket.text("2probe");
    socket.expect("3probe");
    assert!(matches!(socket.next(), Message::Close(_) | Message::End));
    session.post("42[\"echo\",1]");
    eventually(|| match session.poll().text() {
        "6" => None,
        other => {
            assert_eq!(other, "42[\"echo\",1]");
            Some(())
        }
    });
    server.assert_no_end();
}

#[test]
fn a_candidate_that_disconnects() {
    let server = start();
    let session = server.open();
    session.join();
    let mut socket = WebSocket::connect(server.address, &session.websocket_path());
    socket.text("2probe");
    socket.expect("3probe");
    drop(socket);
    session.post("42[\"echo\",1]");
    eventually(|| (session.poll().text() == "42[\"echo\",1]").then_some(()));
    server.assert_no_end();
    // And another may come.
    let mut socket = eventually(|| {
        let mut socket = WebSocket::connect(server.address, &session.websocket_path());
        socket.text("2probe");
        (socket.next() == Message::from("3probe")).then_some(socket)
    });
    socket.text("5");
    socket.text("42[\"echo\",2]");
    socket.expect("42[\"echo\",2]");
}

#[test]
fn frames_that_are_too_large() {
    let server = start_with(|config| config.max_http_buffer_size = 1000);
    let event = |len: usize| format!("42[\"echo\",\"{}\"]", "a".repeat(len - 13));
    let mut socket = server.joined();
    socket.text(&event(1000));
    socket.expect(&event(1000));
    socket.text(&event(1001));
    socket.expect_end();
    assert_eq!(server.end(), "/ transport error");

    // Also in fragments, none of which is valid.
    let mut socket = server.joined();
    let text = event(1500);
    socket.fragments(&text);
    socket.expect_end();
    server.end();
}

#[test]
fn invalid_frames_close_the_connection() {
    for bytes in [
        &b"\x81\x05hello"[..],       // not masked
        b"\x83\x80\x01\x02\x03\x04", // a reserved opcode
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x81\x81\x00\x00\x00\x00\xff", // text that is not UTF-8
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let server = start();
        let mut socket = server.joined();
        socket.tcp.write(bytes);
        socket.expect_end();
        let end = server.end();
        assert!(
            ["/ transport error", "/ transport close", "/ parse error"].contains(&end.as_str()),
            "{bytes:?}: {end}"
        );
        server.joined();
    }
}

#[test]
fn the_client_disconnects() {
    let server = start();
    let socket = server.joined();
    drop(socket);
    assert_eq!(server.end(), "/ transport close");
    let mut socket = server.joined();
    socket.frame(8, &1000_u16.to_be_bytes());
    assert_eq!(server.end(), "/ transport close");
    let mut socket = server.joined();
    socket.text("1");
    assert_eq!(server.end(), "/ transport close");
    socket.expect_end();
}
