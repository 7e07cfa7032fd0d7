//! Joins a [`socketio`] server to a cluster of other servers over Redis, including Node's Socket.IO servers.
//!
//! It uses the wire format of Node's [`@socket.io/redis-adapter`] (version 8, `createAdapter`) and understands
//! [`@socket.io/redis-emitter`]: a client on either kind of server receives what is emitted on the other, and either kind can query and
//! control the other's sockets. An application can therefore [move from Node one server at a time](moving_from_node).
//!
//! [`@socket.io/redis-adapter`]: https://socket.io/docs/v4/redis-adapter/
//! [`@socket.io/redis-emitter`]: https://github.com/socketio/socket.io-redis-emitter
//!
//! # Quick start
//!
//! ```no_run
//! use actix_web::{App, HttpServer};
//! use socketio::SocketIo;
//! use socketio_redis::{Config, RedisAdapter};
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let adapter = RedisAdapter::connect(Config::new("redis://127.0.0.1:6379/"))?;
//!     let io = SocketIo::builder().adapter(adapter.clone()).build();
//!     io.of("/").on("chat message", async |socket, text: String, _ack| {
//! // To all clients, on every server.
//!         socket.namespace().emit("chat message", &text);
//!     });
//!     HttpServer::new(move || App::new().configure(io.routes()))
//!         .tcp_nodelay(true)
//!         .h1_allow_half_closed(false)
//!         .bind(("0.0.0.0", 3000))?
//!         .run()
//!         .await?;
//!     Ok(())
//! }
//! ```
//!
//! Nothing else changes: [`BroadcastOperator`](socketio::BroadcastOperator) reaches the sockets of all servers, except with
//! [`local`](socketio::BroadcastOperator::local). All requests of a long-polling client have to reach the same server, as in any cluster of
//! Socket.IO servers.
//!
//! A process without a Socket.IO server can send to the clients of the cluster with an [`Emitter`].
//!
//! # Guarantees
//!
//! | | |
//! | --- | --- |
//! | events | at most once on each other server. Events sent while a server's connection to Redis is broken are lost to its sockets |
//! | a server that is slower than the others publish | loses its connection, and the messages until it has reconnected, once [`Config::max_incoming_bytes`] are queued for it |
//! | order | events and commands of one server arrive everywhere in the order in which it sent them; between servers there is no order |
//! | this server's own sockets | get an event before anything is sent to Redis, independently of the result |
//! | commands (`sockets_join`, `sockets_leave`, `disconnect_sockets`) | all servers carry them out in one order, which is that of Redis. When the future completes without error, this server has |
//! | queries (`fetch_sockets`, [`RedisAdapter::all_rooms`]) | an error if a server does not answer within [`Config::request_timeout`], as in Node. A server that leaves in the meantime is not waited for |
//! | `emit_with_ack` | the answers that arrive in time. Only the first argument of the answer of a remote socket arrives, since Node forwards no more |
//! | `server_side_emit_with_ack` | one answer of each server; missing ones are counted |
//! | binary data | unchanged in events and in answers to them; between servers' applications, JSON only: bytes arrive as Node's `{"type":"Buffer","data":[…]}` |
//! | recovery | none: see below |
//!
//! # While Redis is unavailable
//!
//! The adapter connects in the background, with pauses of up to 2 s, and subscribes again when Redis is back. A heartbeat, a message to
//! itself ([`Config::heartbeat`]), also detects a Redis that accepts connections but does not answer. Meanwhile events reach the sockets of
//! this server only, and the futures end with an [`AdapterError`](socketio::adapter::AdapterError) that says that the other servers were
//! not reached. [`RedisAdapter::is_connected`] is for readiness checks; consider whether a server should be taken out of service for this,
//! since its clients may be better served by half a cluster than by none.
//!
//! # Recovery
//!
//! As in Node, there is no connection state recovery with this adapter: it stores no events, so leave
//! [`Config::recovery`](socketio::Config::recovery) off. To have both, put your own adapter on top, which stores sessions, finds missed
//! events, and forwards everything else to this one: see [`socketio::adapter`]. Events of other servers do not pass through it but go
//! directly to the sockets. Clients take any string at the end of an event for their offset; if the sockets have a
//! [`Source`](socketio::Source) with an [`offset`](socketio::Source::offset), it is appended to such events of other servers, so that the
//! client's position does not change.
//!
//! # Trust
//!
//! Anyone who can publish on this Redis can send anything to all clients, and anyone who can subscribe reads everything; answers to
//! `fetch_sockets` contain handshakes with their headers. Invalid messages are counted ([`Stats::ignored`]) and ignored. No message makes a
//! server fail, but senders are not verified. The memory for a message is bounded by its bytes ([`Config::max_message_bytes`]) and, since a
//! byte can be a value of 72 bytes in memory, by its number of values ([`Config::max_message_values`]). The URL may begin with `rediss://`,
//! and Redis' access control can limit a user to `&socket.io*`.
//!
//! # What is supported
//!
//! A single Redis (tested with 7.0), with or without TLS. No Redis Cluster with sharded channels (`createShardedAdapter` in Node), no
//! Sentinel, no streams adapter. Rooms whose names are numbers in Node are their digits here: `io.to(7)` in Node reaches the room `"7"`
//! here, but `io.to("7")` here does not reach the room `7` there.

mod adapter;
mod ask;
mod channels;
mod cluster;
mod config;
mod emitter;
mod inbox;
mod link;
mod node;
mod publisher;
mod questions;
mod queue;
mod receive;
mod stats;
mod wire;

#[doc = include_str!("../MOVING.md")]
pub mod moving_from_node {}

pub use self::{
    adapter::{ConnectError, RedisAdapter},
    config::Config,
    emitter::{Emitter, EmitterError},
    stats::Stats,
    wire::rewrite,
};
