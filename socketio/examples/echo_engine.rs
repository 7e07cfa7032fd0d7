//! An Engine.IO server that sends every message back, with the timings that the protocol's test suite expects.
//!
//! `PORT=3000 cargo run -p socketio --example echo_engine`

use std::time::Duration;

use actix_web::{App, HttpServer};
use socketio::{
    Config, DisconnectReason, EngineIo, Origins,
    engine::{Connection, Data, Peer},
};

struct Echo;

impl Peer for Echo {
    fn on_message(&self, connection: &Connection, message: Data) {
        // A client that sends and does not read is disconnected when too much waits for it.
        let _ = connection.send_or_end(message);
    }

    fn on_close(&self, connection: &Connection, reason: DisconnectReason) {
        log::debug!("{connection:?}: {reason}");
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    env_logger::init();
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);

    let mut config = Config::default();
    config.path = "/engine.io/".into();
    config.ping_interval = Duration::from_millis(300);
    config.ping_timeout = Duration::from_millis(200);
    config.max_http_buffer_size = 1_000_000;
    config.origins = Origins::any();
    config.allow_eio3 = std::env::var_os("EIO3").is_some();
    config.jsonp = config.allow_eio3;

    let engine = EngineIo::new(config, |_: &Connection| Echo);
    HttpServer::new(move || App::new().configure(engine.routes()))
        .tcp_nodelay(true)
        // A client that has gone away must be noticed while its poll waits.
        .h1_allow_half_closed(false)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}
