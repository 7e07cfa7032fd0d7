//! The Engine.IO server as clients see it: statuses, headers and bodies, request by request.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

#[path = "../support/mod.rs"]
mod support;

mod http;
mod polling;
mod sources;
mod websocket;

use socketio::{
    Config, DisconnectReason, EngineIo,
    engine::{Connection, Data, Peer},
};
use support::Running;

struct Echo;

impl Peer for Echo {
    fn on_message(&self, connection: &Connection, message: Data) {
        if message == Data::from("close me") {
            connection.close();
        } else {
            let _ = connection.send_or_end(message);
        }
    }

    fn on_close(&self, _: &Connection, _: DisconnectReason) {}
}

fn start(change: impl FnOnce(&mut Config)) -> (Running, EngineIo) {
    let mut config = Config::default();
    config.path = "/engine.io/".into();
    change(&mut config);
    let engine = EngineIo::new(config, |_: &Connection| Echo);
    let mounted = engine.clone();
    (Running::start(move || mounted.routes()), engine)
}

const OPEN: &str = "/engine.io/?EIO=4&transport=polling";

fn session(sid: &str) -> String {
    format!("{OPEN}&sid={sid}")
}
