//! The examples do what they say.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

mod support;

#[allow(dead_code)]
#[path = "../examples/ack.rs"]
mod ack;
#[allow(dead_code)]
#[path = "../examples/chat.rs"]
mod chat;
#[allow(dead_code)]
#[path = "../examples/notify.rs"]
mod notify;
#[allow(dead_code)]
#[path = "../examples/rooms.rs"]
mod rooms;
#[allow(dead_code)]
#[path = "../examples/session.rs"]
mod session;
// With tests of its own.
#[allow(dead_code)]
#[path = "../examples/testing.rs"]
mod testing;

use actix_web::web;
use socketio::SocketIo;
use support::{Running, WebSocket, post};

fn start(io: &SocketIo) -> Running {
    let io = io.clone();
    Running::start(move || io.routes())
}

/// A client of the namespace `/`, with this `auth`; and the answer to its CONNECT packet.
fn connect(server: &Running, query: &str, auth: &str) -> (WebSocket, String) {
    let mut socket = server.websocket(&format!("/socket.io/?EIO=4&transport=websocket{query}"));
    socket.text();
    socket.send(&format!("40{auth}"));
    let answer = socket.text();
    (socket, answer)
}

#[test]
fn the_example_chat_works() {
    let server = start(&chat::server());
    let (mut mei, _) = connect(&server, "", r#"{"name":"Mei"}"#);
    let (mut bob, _) = connect(&server, "", r#"{"name":"Bob"}"#);
    bob.send(r#"42["say","hello"]"#);
    for client in [&mut mei, &mut bob] {
        assert_eq!(client.text(), r#"42["said",{"name":"Bob","text":"hello"}]"#);
    }
    let (_, refused) = connect(&server, "", "");
    assert_eq!(refused, r#"44{"message":"`auth.name` must be a string"}"#);
}

#[test]
fn the_example_rooms_works() {
    let server = start(&rooms::server());
    let (mut one, _) = connect(&server, "", "");
    let (mut two, answer) = connect(&server, "", "");
    let id = answer.split('"').nth(3).unwrap();
    for client in [&mut one, &mut two] {
        client.send(r#"421["join","news"]"#);
        assert_eq!(client.text(), "431[true]");
    }
    one.send(r#"422["who","news"]"#);
    assert!(one.text().contains(id));
    one.send(r#"42["say","news","hello"]"#);
    assert_eq!(two.text(), r#"42["said","news","hello"]"#);
    two.send(r#"42["leave","news"]"#);
    // It is no member any more, so nobody gets this.
    two.send(r#"42["say","news","lost"]"#);
    two.send(r#"423["who","news"]"#);
    assert!(!two.text().contains(id));
    one.send(r#"423["join","more"]"#);
    assert_eq!(one.text(), "433[true]");
}

#[test]
fn the_example_ack_works() {
    let server = start(&ack::server());
    let (mut client, _) = connect(&server, "", "");
    client.send(r#"421["add",1,2]"#);
    assert_eq!(client.text(), "431[3]");
    for (guess, result) in [("7", "7 is right"), ("3", "3 is wrong")] {
        client.send(r#"422["play"]"#);
        let question = client.text();
        let id = question.strip_prefix("42").unwrap().strip_suffix(r#"["guess",1,10]"#).unwrap();
        client.send(&format!("43{id}[{guess}]"));
        assert_eq!(client.text(), format!(r#"432["{result}"]"#));
    }
}

#[test]
fn the_example_session_works() {
    let io = session::server();
    let sessions = web::Data::<session::Sessions>::default();
    let server = Running::start(move || session::routes(&io, sessions.clone()));
    let (_, refused) = connect(&server, "", "");
    assert_eq!(refused, r#"44{"message":"log in first"}"#);
    let answer = server.http(&post("/login", "text/plain", "mei"));
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap();
    let mut client = server.websocket_with("/socket.io/?EIO=4&transport=websocket", &format!("Cookie: {cookie}\r\n"));
    client.text();
    client.send("40");
    assert!(client.text().starts_with("40{"));
    assert_eq!(client.text(), r#"42["welcome","mei"]"#);
}

#[test]
fn the_example_notify_works() {
    let io = notify::server();
    let server = Running::start(move || notify::routes(&io));
    let (mut client, _) = connect(&server, "&room=orders", "");
    assert_eq!(server.http(&post("/notify/others", "text/plain", "not here")).status, 204);
    assert_eq!(server.http(&post("/notify/orders", "text/plain", "a new order")).status, 204);
    assert_eq!(client.text(), r#"42["notice","a new order"]"#);
}
