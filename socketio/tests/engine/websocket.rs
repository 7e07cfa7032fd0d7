//! WebSockets: heartbeat, frames, violations, and the upgrade from long-polling.

use std::{io::Write as _, time::Duration};

use crate::{
    session, start,
    support::{self, Answer, Frame},
};

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
fn a_polling_session_upgrades_to_websocket() {
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
