//! Servers of one cluster, on a redis-server that the tests start, as applications and clients see them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod asking;
mod emitter;
mod events;
mod namespaces;
mod outages;
mod redis_server;
#[path = "../../../socketio/tests/support/mod.rs"]
mod support;
mod tls;

use std::{future::Future, sync::Arc, time::Duration};

use redis_server::RedisServer;
use socketio::{Builder, SocketIo, adapter::Adapter};
use socketio_redis::{Config, RedisAdapter};
use support::{Running, WebSocket};
use tokio::runtime::Runtime;

/// A Redis, and the runtime that the adapters run on.
struct Cluster {
    runtime: Runtime,
    redis: RedisServer,
}

/// A server of the cluster.
struct Node {
    server: Running,
    io: SocketIo,
    adapter: Arc<RedisAdapter>,
}

impl Cluster {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { runtime, redis: RedisServer::start() }
    }

    /// A cluster of this many servers, which know of each other.
    fn of<const N: usize>() -> (Self, [Node; N]) {
        let cluster = Self::new();
        let nodes = std::array::from_fn(|_| cluster.add());
        (cluster, nodes)
    }

    fn config(&self) -> Config {
        Config {
            request_timeout: Duration::from_secs(2),
            heartbeat: Duration::from_secs(1),
            ..Config::new(self.redis.url())
        }
    }

    fn adapter(&self, config: Config) -> Arc<RedisAdapter> {
        let _within = self.runtime.enter();
        RedisAdapter::connect(config).unwrap()
    }

    /// One more server, once it is connected.
    fn add(&self) -> Node {
        let node = self.add_with(self.config(), SocketIo::builder(), |adapter| adapter);
        self.wait(node.adapter.connected());
        node
    }

    /// One more server, with an adapter that `stack` may put others on.
    fn add_with(
        &self,
        config: Config,
        builder: Builder,
        stack: impl FnOnce(Arc<dyn Adapter>) -> Arc<dyn Adapter>,
    ) -> Node {
        let adapter = self.adapter(config);
        let io = builder.adapter(stack(adapter.clone())).build();
        io.of("/").on("join", async |socket, rooms: Vec<String>, ack| {
            socket.join(rooms).unwrap();
            ack.send(&()).unwrap();
        });
        let routes = io.clone();
        Node { server: Running::start(move || routes.routes()), io, adapter }
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), future).await }).expect("in time")
    }

    /// Publishes past all adapters.
    fn publish(&self, channel: &str, message: &[u8]) {
        let mut connection = self.redis.connect();
        redis::cmd("PUBLISH").arg(channel).arg(message).exec(&mut connection).unwrap();
    }

    /// How many listen on a channel.
    fn listeners(&self, channel: &str) -> usize {
        let mut connection = self.redis.connect();
        let (_, count): (String, usize) =
            redis::cmd("PUBSUB").arg("NUMSUB").arg(channel).query(&mut connection).unwrap();
        count
    }
}

impl Node {
    /// A client in a namespace and rooms, and its id.
    fn client(&self, nsp: &str, rooms: &[&str]) -> (WebSocket, String) {
        let mut socket = self.server.websocket("/socket.io/?EIO=4&transport=websocket");
        assert!(socket.text().starts_with('0'));
        socket.send(&format!("40{nsp},"));
        let welcome = socket.text();
        let json = welcome.trim_start_matches(|c| c != '{');
        let json: serde_json::Value = serde_json::from_str(json).unwrap_or_else(|_| panic!("refused: {welcome}"));
        if !rooms.is_empty() {
            socket.send(&format!("42{nsp},0{}", serde_json::json!(["join", rooms])));
            assert!(socket.text().starts_with("43"));
        }
        (socket, json["sid"].as_str().unwrap().to_owned())
    }

    /// A client in the namespace `/`.
    fn join(&self, rooms: &[&str]) -> WebSocket {
        self.client("/", rooms).0
    }
}
