//! Connection state recovery: what a disconnected client gets when it reconnects, in which order, and who gets nothing.

use std::time::Duration;

use serde_json::Value;
use socketio::{Binary, Recovery};

use crate::raw::{Message, WebSocket};
use crate::server::{Server, start_with};

struct Visitor {
    socket: WebSocket,
    sid: String,
    pid: String,
}

fn server() -> Server {
    start_with(|config| config.recovery = Some(Recovery::default()))
}

#[track_caller]
fn visit(server: &Server) -> Visitor {
    let mut socket = server.websocket();
    socket.text("40");
    let (sid, pid) = ids(&socket.next_text());
    Visitor { socket, sid, pid }
}

#[track_caller]
fn ids(connected: &str) -> (String, String) {
    let connected: Value = serde_json::from_str(connected.strip_prefix("40").unwrap()).unwrap();
    let text = |key: &str| connected[key].as_str().unwrap().to_owned();
    (text("sid"), text("pid"))
}

/// The name, the arguments but the last, and the last, which is the offset.
#[track_caller]
fn stored(event: &str) -> (Value, String) {
    let mut items: Vec<Value> = serde_json::from_str(event.strip_prefix("42").unwrap()).unwrap();
    let offset = items.pop().unwrap().as_str().expect("an offset").to_owned();
    (items.into(), offset)
}

#[track_caller]
fn return_with(server: &Server, pid: &str, offset: &str) -> WebSocket {
    let mut socket = server.websocket();
    socket.text(&format!("40{}", serde_json::json!({ "pid": pid, "offset": offset })));
    socket
}

#[test]
fn missed_events_come_behind_the_consent() {
    let server = server();
    let namespace = server.io.of("/");
    let mut visitor = visit(&server);
    drop(namespace.emit("news", &0));
    let (event, offset) = stored(&visitor.socket.next_text());
    assert_eq!(event, serde_json::json!(["news", 0]));

    drop(visitor.socket);
    assert_eq!(server.end(), "/ transport close");
    drop(namespace.emit("news", &1));
    drop(namespace.emit("news", &(2, "text")));
    drop(namespace.emit("news", &Binary::from("three")));

    let mut socket = return_with(&server, &visitor.pid, &offset);
    assert_eq!(ids(&socket.next_text()), (visitor.sid, visitor.pid));
    assert_eq!(stored(&socket.next_text()).0, serde_json::json!(["news", 1]));
    assert_eq!(stored(&socket.next_text()).0, serde_json::json!(["news", 2, "text"]));
    let binary = socket.next_text();
    assert!(binary.starts_with("451-[\"news\",{\"_placeholder\":true,\"num\":0},\""), "{binary}");
    assert_eq!(socket.next(), Message::Binary(b"three".to_vec()));
    // And on it goes.
    drop(namespace.emit("news", &4));
    assert_eq!(stored(&socket.next_text()).0, serde_json::json!(["news", 4]));
}

#[test]
fn rooms_are_restored() {
    let server = server();
    let namespace = server.io.of("/");
    let mut visitor = visit(&server);
    let handle = namespace.socket(&visitor.sid).unwrap();
    handle.join("den").unwrap();
    drop(namespace.to("den").emit("in", &()));
    let (_, offset) = stored(&visitor.socket.next_text());
    drop(visitor.socket);
    server.end();
    drop(namespace.to("den").emit("in", &1));
    drop(namespace.to("elsewhere").emit("in", &2));
    drop(namespace.to(visitor.sid.as_str()).emit("in", &3));
    let mut socket = return_with(&server, &visitor.pid, &offset);
    assert_eq!(ids(&socket.next_text()).0, visitor.sid);
    assert_eq!(stored(&socket.next_text()).0, serde_json::json!(["in", 1]));
    assert_eq!(stored(&socket.next_text()).0, serde_json::json!(["in", 3]));
    drop(namespace.to("den").emit("in", &4));
    assert_eq!(stored(&socket.next_text()).0, serde_json::json!(["in", 4]));
    assert!(namespace.socket(&visitor.sid).unwrap().recovered());
}

#[test]
fn what_is_not_stored() {
    let server = server();
    let namespace = server.io.of("/");
    let mut visitor = visit(&server);
    drop(namespace.emit("news", &0));
    let (_, offset) = stored(&visitor.socket.next_text());
    // Neither volatile nor asking events carry an offset.
    drop(namespace.volatile().emit("gone", &1));
    visitor.socket.expect("42[\"gone\",1]");
    visitor.socket.text("42[\"ask\"]");
    let question = visitor.socket.next_text();
    assert!(question.ends_with("[\"question\"]"), "{question}");
    drop(visitor.socket);
    server.end();
    drop(namespace.volatile().emit("gone", &2));
    let mut socket = return_with(&server, &visitor.pid, &offset);
    assert_eq!(ids(&socket.next_text()).0, visitor.sid);
}

/// The official client takes any last string for the offset. An event that is not stored but ends in a string must not change the client's
/// position.
#[test]
fn strings_that_look_like_offsets() {
    let server = server();
    let namespace = server.io.of("/");
    let mut visitor = visit(&server);
    drop(namespace.emit("news", &0));
    stored(&visitor.socket.next_text());
    drop(namespace.volatile().emit("hint", &"a string"));
    let hint = visitor.socket.next_text();
    let items: Vec<Value> = serde_json::from_str(hint.strip_prefix("42").unwrap()).unwrap();
    assert_eq!(items[..2], [Value::from("hint"), Value::from("a string")]);
    let taken = items.last().unwrap().as_str().unwrap().to_owned();
    drop(visitor.socket);
    server.end();
    drop(namespace.emit("news", &1));
    let mut socket = return_with(&server, &visitor.pid, &taken);
    assert_eq!(ids(&socket.next_text()).0, visitor.sid);
    assert_eq!(stored(&socket.next_text()).0, serde_json::json!(["news", 1]));
}

#[test]
fn a_session_has_one_holder() {
    let server = server();
    let mut visitor = visit(&server);
    drop(server.io.of("/").emit("news", &0));
    let (_, offset) = stored(&visitor.socket.next_text());
    drop(visitor.socket);
    server.end();
    let mut first = return_with(&server, &visitor.pid, &offset);
    assert_eq!(ids(&first.next_text()).0, visitor.sid);
    let mut second = return_with(&server, &visitor.pid, &offset);
    assert_eq!(ids(&second.next_text()), (visitor.sid.clone(), visitor.pid.clone()));
    // Two who know the secret are one client to us: the earlier connection ends, where Node would let both live with one id.
    first.expect_end();
    assert_eq!(server.end(), "/ transport close");
    assert_eq!(server.io.of("/").local().len(), 1);
    second.text("42[\"id\"]");
    assert_eq!(stored(&second.next_text()).0, serde_json::json!(["id", visitor.sid]));
}

/// A client on another network is faster than the news that its old connection is dead. Never are there two sockets with one id.
#[test]
fn a_connected_session_is_taken_over() {
    let server = server();
    let mut visitor = visit(&server);
    drop(server.io.of("/").emit("news", &0));
    let (_, offset) = stored(&visitor.socket.next_text());
    drop(server.io.of("/").emit("news", &1));
    let mut back = return_with(&server, &visitor.pid, &offset);
    assert_eq!(ids(&back.next_text()).0, visitor.sid);
    assert_eq!(stored(&back.next_text()).0, serde_json::json!(["news", 1]));
    assert_eq!(server.end(), "/ transport close");
    visitor.socket.expect_end();
    assert_eq!(server.io.of("/").local().len(), 1);
    back.text("42[\"id\"]");
    assert_eq!(stored(&back.next_text()).0, serde_json::json!(["id", visitor.sid]));
}

#[test]
fn a_connected_session_requires_its_secret() {
    let server = server();
    let mut visitor = visit(&server);
    drop(server.io.of("/").emit("news", &0));
    let (_, offset) = stored(&visitor.socket.next_text());
    for (pid, offset) in [("guessed", offset.as_str()), (&visitor.sid, &offset), (&visitor.pid, "guessed.1")] {
        let mut thief = return_with(&server, pid, offset);
        assert_ne!(ids(&thief.next_text()).0, visitor.sid, "{pid} {offset}");
    }
    visitor.socket.text("42[\"id\"]");
    assert_eq!(stored(&visitor.socket.next_text()).0, serde_json::json!(["id", visitor.sid]));
}

/// Whatever became of the connection, unless somebody meant it to end.
#[test]
fn a_disconnected_client_is_recovered() {
    type End = fn(&Server, &mut Visitor);
    let ends: [(End, &str); 5] = [
        (|_, visitor| visitor.socket.frame(8, &1000_u16.to_be_bytes()), "/ transport close"),
        (|_, visitor| visitor.socket.frame(1, b"\xff"), "/ transport error"),
        (|_, _| {}, "/ ping timeout"),
        (|_, visitor| visitor.socket.text("40"), "/ forced server close"),
        (|server, visitor| server.io.of("/").socket(&visitor.sid).unwrap().connection().close(), "/ forced close"),
    ];
    for (end, reason) in ends {
        let server = start_with(|config| {
            config.recovery = Some(Recovery::default());
            if reason == "/ ping timeout" {
                config.ping_interval = Duration::from_millis(100);
                config.ping_timeout = Duration::from_millis(100);
            }
        });
        let mut visitor = visit(&server);
        drop(server.io.of("/").emit("news", &0));
        let (_, offset) = stored(&visitor.socket.next_text());
        end(&server, &mut visitor);
        assert_eq!(server.end(), reason);
        drop(server.io.of("/").emit("news", &1));
        let mut back = return_with(&server, &visitor.pid, &offset);
        assert_eq!(ids(&back.next_text()).0, visitor.sid, "{reason}");
        assert_eq!(stored(&back.next_text()).0, serde_json::json!(["news", 1]), "{reason}");
    }
}

#[test]
fn a_client_that_left_is_not_recovered() {
    for goodbye in ["41", "42[\"leave\"]", "42{}"] {
        let server = server();
        let mut visitor = visit(&server);
        drop(server.io.of("/").emit("news", &0));
        let (_, offset) = stored(&visitor.socket.next_text());
        visitor.socket.text(goodbye);
        server.end();
        let mut socket = return_with(&server, &visitor.pid, &offset);
        assert_ne!(ids(&socket.next_text()).0, visitor.sid, "{goodbye}");
    }
}

#[test]
fn an_invalid_recovery_request_starts_a_new_session() {
    let server = server();
    let visitor = visit(&server);
    drop(visitor.socket);
    server.end();
    for auth in [
        r#"{"pid":"unknown","offset":"x"}"#,
        r#"{"pid":"","offset":""}"#,
        r#"{"pid":1,"offset":2}"#,
        r#"{"pid":null}"#,
        r#"{"pid":["a"],"offset":{}}"#,
        r#"{"offset":"x"}"#,
        &format!(r#"{{"pid":"{}","offset":"never given"}}"#, visitor.pid),
    ] {
        let mut socket = server.websocket();
        socket.text(&format!("40{auth}"));
        let (sid, pid) = ids(&socket.next_text());
        assert_ne!(sid, visitor.sid, "{auth}");
        assert_ne!(pid, visitor.pid, "{auth}");
    }
}

#[test]
fn an_expired_session_is_not_recovered() {
    let server = start_with(|config| {
        config.recovery = Some(Recovery { max_disconnection: Duration::ZERO, ..Recovery::default() });
    });
    let mut visitor = visit(&server);
    drop(server.io.of("/").emit("news", &0));
    let (_, offset) = stored(&visitor.socket.next_text());
    drop(visitor.socket);
    server.end();
    let mut socket = return_with(&server, &visitor.pid, &offset);
    assert_ne!(ids(&socket.next_text()).0, visitor.sid);
}
