//! Panics in the application's code: waiting clients get an answer, and no other is affected.

use serde::Deserialize;
use socketio::{
    Config, DisconnectReason, EngineIo, Origins, SocketIo,
    engine::{Connection, Data, Peer},
};

use crate::{
    WEBSOCKET, join, start,
    support::{Answer, Running},
};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// The answers to a handshake by polling and by WebSocket.
fn handshakes(server: &Running, headers: &str) -> [Answer; 2] {
    let ask = |path, more| server.http(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}{more}\r\n"));
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    [ask(POLLING, "Connection: close\r\n"), ask(WEBSOCKET, upgrade)]
}

#[test]
fn a_panic_in_allow_request_is_answered() {
    let (server, io) = start(SocketIo::builder().allow_request(async |handshake| {
        assert!(handshake.headers.get("x-bad").is_none(), "on purpose");
        Ok(())
    }));
    let [polling, websocket] = handshakes(&server, "X-Bad: 1\r\n");
    assert_eq!((polling.status, websocket.status), (500, 500));
    assert_eq!((websocket.body.as_str(), io.stats().refused_request), ("Internal error", 2));
    // The next one is served.
    join(&server, "40");
}

#[test]
fn a_panic_in_the_choice_of_an_id_is_answered() {
    let (server, io) = start(SocketIo::builder().sid_prefix(|_| panic!("on purpose")));
    assert_eq!(handshakes(&server, "").map(|answer| answer.status), [500, 500]);
    assert_eq!(io.stats().connections, 0);
}

#[test]
fn a_panic_over_an_origin_refuses_it() {
    let (server, _io) = start(SocketIo::builder().origins(Origins::decide(|_| panic!("on purpose"))));
    let [polling, websocket] = handshakes(&server, "Origin: http://a.example\r\n");
    assert_eq!((polling.status, websocket.status), (403, 400));
    assert_eq!(polling.header("access-control-allow-origin"), None);
    let preflight = server.http(&format!(
        "OPTIONS {POLLING} HTTP/1.1\r\nHost: x\r\nOrigin: http://a.example\r\nConnection: close\r\n\r\n"
    ));
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, None));
}

#[test]
fn a_panic_over_the_name_of_a_namespace_refuses_it() {
    let (server, io) = start(SocketIo::builder());
    io.of_matching(|name| {
        assert!(name != "/bad", "on purpose");
        true
    });
    let mut client = server.websocket(WEBSOCKET);
    client.text();
    client.send("40/bad,");
    assert_eq!(client.text(), r#"44/bad,{"message":"Internal error"}"#);
    client.send("40/good,");
    assert!(client.text().starts_with("40/good,"));
}

/// A type whose reading panics.
struct Bad;

impl<'de> Deserialize<'de> for Bad {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("on purpose")
    }
}

#[test]
fn a_panic_while_arguments_are_read_ends_that_event_alone() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on("bad", async |_, _: Bad, _| {}).on("good", async |_, (), ack| ack.send(&()).unwrap());
    let (mut client, _) = join(&server, "40");
    client.send(r#"420["bad",1]"#);
    client.send(r#"421["good"]"#);
    assert_eq!(client.text(), "431[]");
}

/// An application on Engine.IO alone that panics wherever it is called.
struct Panics;

impl Peer for Panics {
    fn on_message(&self, connection: &Connection, message: Data) {
        connection.send(message).unwrap();
        panic!("on purpose");
    }

    fn on_close(&self, _: &Connection, _: DisconnectReason) {
        panic!("on purpose");
    }
}

#[test]
fn a_peer_that_panics_ends_nothing_else() {
    let engine = EngineIo::new(Config::default(), |connection: &Connection| {
        assert!(connection.handshake().query_value("bad").is_none(), "on purpose");
        Panics
    });
    let mounted = engine.clone();
    let server = Running::start(move || mounted.routes());
    assert_eq!(server.get(&format!("{POLLING}&bad=1")).status, 500);
    assert_eq!(engine.stats().connections, 0);
    for _ in 0..2 {
        let mut client = server.websocket(WEBSOCKET);
        client.text();
        for message in ["4one", "4two"] {
            client.send(message);
            assert_eq!(client.text(), message);
        }
    }
}
