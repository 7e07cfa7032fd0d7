//! Namespaces, acknowledgements and disconnections, as they are on the wire.

use std::time::Duration;

use serde_json::{Value, json};

use crate::raw::{Message, eventually};
use crate::server::{start, start_with};

#[test]
fn namespaces_are_joined_with_and_without_a_comma() {
    let server = start();
    let mut socket = server.websocket();
    // With and without the comma.
    socket.text("40/admin");
    let joined = socket.next_text();
    let connected: Value = serde_json::from_str(joined.strip_prefix("40/admin,").unwrap()).unwrap();
    let id = connected["sid"].as_str().unwrap().to_owned();
    assert_eq!(connected, json!({ "sid": id }));
    socket.text("40,");
    // A comma behind no namespace is no data.
    socket.expect_end();

    let mut socket = server.websocket();
    socket.text("40/admin,{\"token\":\"x\"}");
    assert!(socket.next_text().starts_with("40/admin,{\"sid\""));
    socket.text("40");
    let root = socket.next_text();
    assert!(root.starts_with("40{\"sid\""));
    socket.text("42/admin,[\"echo\",1]");
    socket.expect("42/admin,[\"echo\",1]");
    socket.text("42/admin,3[\"echo\",1]");
    socket.expect("43/admin,3[1]");
    socket.text("423[\"echo\",2]");
    socket.expect("433[2]");
}

#[test]
fn rejected_namespaces_get_a_connect_error() {
    let server = start();
    let mut socket = server.websocket();
    for (connect, refusal) in [
        ("40/random", r#"44/random,{"message":"Invalid namespace"}"#),
        ("40/random,", r#"44/random,{"message":"Invalid namespace"}"#),
        ("40/admin/,", r#"44/admin/,{"message":"Invalid namespace"}"#),
        ("40/__proto__,", r#"44/__proto__,{"message":"Invalid namespace"}"#),
        ("40/é\u{1f680},", "44/é\u{1f680},{\"message\":\"Invalid namespace\"}"),
        ("40/picky,", r#"44/picky,{"message":"not you","data":{"code":7}}"#),
    ] {
        socket.text(connect);
        let answer = socket.next_text();
        let (head, body) = refusal.split_at(refusal.find('{').unwrap());
        assert!(answer.starts_with(head), "{answer}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&answer[head.len()..]).unwrap(), body);
    }
    // The connection is as good as new.
    socket.text("40");
    assert!(socket.next_text().starts_with("40{"));
}

#[test]
fn leaving_a_namespace() {
    let server = start();
    let mut socket = server.joined();
    socket.text("40/admin,");
    socket.next_text();
    socket.text("41/admin,");
    assert_eq!(server.end(), "/admin client namespace disconnect");
    socket.text("42[\"echo\",1]");
    socket.expect("42[\"echo\",1]");
    // And back again.
    socket.text("40/admin,");
    assert!(socket.next_text().starts_with("40/admin,{"));
    socket.text("41/admin");
    assert_eq!(server.end(), "/admin client namespace disconnect");
    // Without any, the connection stays, but has nothing to say.
    socket.text("41");
    assert_eq!(server.end(), "/ client namespace disconnect");
    socket.text("42[\"echo\",1]");
    assert_eq!(socket.expect_end(), Vec::<String>::new());
}

#[test]
fn the_server_disconnects_a_socket() {
    let server = start();
    let mut socket = server.joined();
    socket.text("40/admin,");
    socket.next_text();
    socket.text("42/admin,[\"leave\"]");
    socket.expect("41/admin,");
    assert_eq!(server.end(), "/admin server namespace disconnect");
    socket.text("42[\"echo\",1]");
    socket.expect("42[\"echo\",1]");
    socket.text("42[\"close\"]");
    socket.expect_end();
    assert!(server.end().starts_with("/ "));
}

#[test]
fn answers_to_the_server() {
    let server = start();
    let mut socket = server.joined();
    socket.text("42[\"ask\"]");
    let question = socket.next_text();
    let id = question.strip_prefix("42").unwrap().strip_suffix("[\"question\"]").unwrap().to_owned();
    id.parse::<u64>().unwrap();
    // The number belongs to the namespace that asked.
    socket.text("40/admin,");
    socket.next_text();
    socket.text(&format!("43/admin,{id}[\"no\"]"));
    socket.text(&format!("43{id}[\"yes\"]"));
    socket.expect("42[\"answer\",true]");
    // Once.
    socket.text(&format!("43{id}[\"yes\"]"));
    socket.text("42[\"echo\"]");
    socket.expect("42[\"echo\"]");
    // With bytes.
    socket.text("42[\"ask\"]");
    let question = socket.next_text();
    let id = question.strip_prefix("42").unwrap().strip_suffix("[\"question\"]").unwrap();
    socket.text(&format!("461-{id}[{{\"_placeholder\":true,\"num\":0}}]"));
    socket.binary(b"yes");
    socket.expect("42[\"answer\",true]");
}

#[test]
fn one_number_for_all() {
    let server = start();
    let mut sockets = [server.joined(), server.joined(), server.joined()];
    let io = server.io.clone();
    let asked = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            io.of("/").timeout(Duration::from_secs(5)).emit_with_ack::<Value>("question", &()).await
        })
    });
    let mut questions: Vec<_> = sockets.iter_mut().map(|socket| socket.next_text()).collect();
    questions.dedup();
    assert_eq!(questions.len(), 1, "{questions:?}");
    let id = questions[0].strip_prefix("42").unwrap().strip_suffix("[\"question\"]").unwrap();
    for (n, socket) in sockets.iter_mut().enumerate() {
        socket.text(&format!("43{id}[{n}]"));
    }
    assert!(asked.join().unwrap().is_ok());
}

#[test]
fn too_many_namespaces() {
    let server = start_with(|config| config.max_namespaces = 1);
    let mut socket = server.joined();
    socket.text("40/admin,");
    let answer = socket.next();
    match &answer {
        Message::Text(text) => assert!(text.starts_with("44/admin,{\"message\":"), "{text}"),
        Message::Close(_) | Message::End => {}
        Message::Binary(_) => panic!("{answer:?}"),
    }
}

#[test]
fn packets_beyond_the_rate_close_the_connection() {
    let server = start_with(|config| config.packet_rate = 10);
    let mut socket = server.joined();
    for _ in 0..100 {
        socket.text("42[\"nobody listens\"]");
    }
    socket.expect_end();
    assert_eq!(server.end(), "/ rate limit");
}

/// What is no packet and costs as much: pings, pongs, and a message that is never complete.
#[test]
fn a_flood_of_frames() {
    const PING: u8 = 0x89;
    const PONG: u8 = 0x8a;
    const GOES_ON: u8 = 0x00;
    for head in [PING, PONG, GOES_ON] {
        let server = start_with(|config| config.packet_rate = 10);
        let mut socket = server.joined();
        socket.raw_frame(0x01, b"4");
        for _ in 0..100 {
            socket.raw_frame(head, b"");
        }
        assert_eq!(server.end(), "/ rate limit");
    }
}

/// Engine.IO's own packets, which are not used except for pings and upgrades.
#[test]
fn a_flood_of_pongs() {
    let server = start_with(|config| config.packet_rate = 10);
    let mut socket = server.joined();
    for _ in 0..100 {
        socket.text("3");
    }
    socket.expect_end();
    assert_eq!(server.end(), "/ rate limit");

    let session = server.open();
    session.join();
    session.post(&vec!["3"; 100].join("\x1e"));
    assert_eq!(server.end(), "/ rate limit");
    session.assert_gone();
}

#[test]
fn a_client_that_does_not_read() {
    let server = start_with(|config| config.max_pending_bytes = 100_000);
    let socket = server.joined();
    let text = "x".repeat(10_000);
    let namespace = server.io.of("/");
    eventually(|| {
        for _ in 0..100 {
            drop(namespace.emit("flood", text.as_str()));
        }
        namespace.local().is_empty().then_some(())
    });
    assert_eq!(server.end(), "/ outbox overflow");
    drop(socket);
}

#[test]
fn the_server_shuts_down() {
    let server = start();
    let mut socket = server.joined();
    let session = server.open();
    session.join();
    let mut poll = session.begin_poll();
    session.post("42[\"nobody listens\"]");
    server.io.close();
    socket.expect_end();
    assert!(poll.response().text().contains('1'));
    assert_eq!(server.end(), "/ server shutting down");
    assert_eq!(server.end(), "/ server shutting down");
    assert_ne!(server.get("EIO=4&transport=polling").status, 200);
}

/// A client that registers for the second message when the first has arrived must not find both in one segment. A busy machine may join
/// them nevertheless; a server that writes them together always joins them.
#[test]
fn the_connect_packet_is_sent_alone() {
    let server = start();
    for namespace in [server.io.of("/"), server.io.of("/admin")] {
        namespace.on_connect(async |socket| drop(socket.emit("welcome", &())));
    }
    eventually(|| {
        let mut socket = server.websocket();
        socket.text("40/admin,");
        let first = socket.tcp.chunk();
        assert!(first.windows(8).any(|window| window == b"40/admin"), "{first:?}");
        (!first.windows(7).any(|window| window == b"welcome")).then(|| {
            socket.expect("42/admin,[\"welcome\"]");
        })
    });
}
