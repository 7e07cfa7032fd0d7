//! A server of Engine.IO alone.

use std::sync::Arc;

use actix_web::web::ServiceConfig;

use crate::{
    Config, DisconnectReason, Stats,
    engine::{Admission, Connection, Core, Service, worker::Workers},
    hooks::Hooks,
    transport,
};

/// An Engine.IO server, without Socket.IO above it. Cloning it shares the sessions.
///
/// ```no_run
/// use actix_web::{App, HttpServer};
/// use socketio::{Config, DisconnectReason, EngineIo, engine::{Connection, Data, Peer}};
///
/// struct Echo;
///
/// impl Peer for Echo {
///     fn on_message(&self, connection: &Connection, message: Data) {
///         // A client that sends and does not read is disconnected when too much waits for it.
///         let _ = connection.send_or_end(message);
///     }
///     fn on_close(&self, _: &Connection, reason: DisconnectReason) {
///         println!("gone: {reason}");
///     }
/// }
///
/// #[actix_web::main]
/// async fn main() -> std::io::Result<()> {
///     let engine = EngineIo::new(Config::default(), |_: &Connection| Echo);
///     HttpServer::new(move || App::new().configure(engine.routes()))
///         .tcp_nodelay(true)
///         .bind(("127.0.0.1", 3000))?
///         .run()
///         .await
/// }
/// ```
#[derive(Clone)]
pub struct EngineIo(Arc<Core>);

impl EngineIo {
    /// A server with these settings; `service` makes the peer of each connection.
    pub fn new(config: Config, service: impl Service) -> Self {
        Self(Core::new(
            Arc::new(config.normalized()),
            Arc::default(),
            Workers::new(),
            Admission::default(),
            Hooks::default(),
            Box::new(service),
        ))
    }

    /// Mounts the server at [`Config::path`], for [`App::configure`](actix_web::App::configure).
    pub fn routes(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        transport::routes(self.0.clone())
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        self.0.counters.snapshot()
    }

    /// The open connections.
    pub fn connections(&self) -> Vec<Connection> {
        self.0.connections()
    }

    /// Refuses new connections and closes the open ones.
    pub fn close(&self) {
        for connection in self.0.begin_close() {
            connection.shut_down(DisconnectReason::ServerShuttingDown);
        }
    }
}
