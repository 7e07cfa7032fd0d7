//! The Socket.IO server as its users write it, against raw clients: each test is a small application.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod acks;
mod admission;
mod cuts;
mod ends;
mod events;
mod handshake;
mod hooks;
mod listeners;
mod logged;
mod node;
mod panics;
mod pending;
mod recovery;
mod remote;
mod rooms;
mod sources;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};

use socketio::{Builder, SocketIo};
use support::{Running, WebSocket};

pub fn start(builder: Builder) -> (Running, SocketIo) {
    let io = builder.build();
    let mounted = io.clone();
    (Running::start(move || mounted.routes()), io)
}

pub const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A client in a namespace; its socket's id and session.
pub fn join(server: &Running, connect: &str) -> (WebSocket, String) {
    let mut socket = server.websocket(WEBSOCKET);
    socket.text();
    socket.send(connect);
    let consent = socket.text();
    let json = consent.split_once('{').unwrap_or_else(|| panic!("no consent: {consent}")).1;
    let json: serde_json::Value = serde_json::from_str(&format!("{{{json}")).unwrap();
    (socket, json["sid"].as_str().unwrap().to_owned())
}

pub fn list<T>() -> Arc<Mutex<Vec<T>>> {
    Arc::default()
}
