//! Pings and pongs.

use std::time::Duration;

use crate::raw::{Message, eventually};
use crate::server::{start, start_with};

const INTERVAL: Duration = Duration::from_millis(100);

#[test]
fn the_server_asks_again_and_again() {
    let server = start_with(|config| {
        config.ping_interval = INTERVAL;
        config.ping_timeout = Duration::from_secs(5);
    });
    let mut socket = server.joined();
    for _ in 0..3 {
        socket.expect("2");
        socket.text("3");
    }
    server.assert_no_end();

    let session = server.open();
    session.join();
    for _ in 0..2 {
        assert_eq!(session.poll().text(), "2");
        session.post("3");
    }
}

#[test]
fn a_silent_replica_is_removed() {
    let server = start_with(|config| {
        config.ping_interval = INTERVAL;
        config.ping_timeout = INTERVAL;
    });
    let mut socket = server.joined();
    socket.expect("2");
    // Anything but a pong is no answer.
    socket.text("42[\"echo\",1]");
    socket.expect("42[\"echo\",1]");
    socket.expect_end();
    assert_eq!(server.end(), "/ ping timeout");

    let session = server.open();
    session.join();
    assert_eq!(session.poll().text(), "2");
    assert_eq!(server.end(), "/ ping timeout");
    eventually(|| session.poll().text().contains("Session ID unknown").then_some(()));
}

#[test]
fn a_client_of_protocol_4_does_not_ask() {
    let server = start();
    let mut socket = server.joined();
    socket.text("2");
    // Not even a pong.
    assert_eq!(socket.expect_end(), Vec::<String>::new());
    assert_eq!(server.end(), "/ transport error");

    let session = server.open();
    session.join();
    session.post("2");
    assert_eq!(server.end(), "/ transport error");
    session.assert_gone();
}

#[test]
fn a_connection_without_namespace_is_closed() {
    let server = start_with(|config| config.connect_timeout = INTERVAL);
    let mut socket = server.websocket();
    assert_eq!(socket.expect_end(), Vec::<String>::new());
    let session = server.open();
    eventually(|| {
        let answer = session.poll();
        (answer.text() == "1" || answer.text().contains("Session ID unknown")).then_some(())
    });
    session.assert_gone();
    // Refused is not joined.
    let mut socket = server.websocket();
    socket.text("40/nowhere,");
    socket.expect(r#"44/nowhere,{"message":"Invalid namespace"}"#);
    assert!(matches!(socket.next(), Message::Close(_) | Message::End));
}

#[test]
fn a_connected_socket_outlives_the_connect_timeout() {
    let server = start_with(|config| {
        config.connect_timeout = INTERVAL;
        config.ping_interval = 3 * INTERVAL;
    });
    let mut socket = server.joined();
    socket.expect("2");
    socket.text("42[\"echo\",1]");
    socket.expect("42[\"echo\",1]");
}
