//! Joins a [`socketio`] server to a cluster of others over Redis, Node's Socket.IO servers among them.
//!
//! It speaks the wire form of Node's [`@socket.io/redis-adapter`] (version 8, `createAdapter`) and understands
//! [`@socket.io/redis-emitter`]: a client on either kind of server hears what is emitted on the other, and either kind asks and orders the
//! other's sockets. So an application can [move from Node one server at a time](moving_from_node).
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
//!         // To everybody, whichever server they are on.
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
//! Nothing else changes: [`BroadcastOperator`](socketio::BroadcastOperator) reaches the sockets of all servers, unless
//! it is told to stay [`local`](socketio::BroadcastOperator::local). A client that uses long-polling has to be led to
//! the same server with each request, as in any cluster of Socket.IO servers.
//!
//! A process without a Socket.IO server sends to the clients of the cluster with an [`Emitter`].
//!
//! # What a cluster gives, and what it does not
//!
//! | | |
//! | --- | --- |
//! | events | at most once on each other server. Those that pass while a server's connection to Redis is broken, are lost to its sockets |
//! | a server that acts more slowly than the others speak | loses its connection, and what passes until it has another, once [`Config::max_incoming_bytes`] wait for it |
//! | order | events and orders of one server arrive everywhere in the order in which it sent them; between servers there is no order |
//! | this server's own sockets | are given an event before anything is sent to Redis, and whatever becomes of that |
//! | orders (`sockets_join`, `sockets_leave`, `disconnect_sockets`) | all servers carry them out in one order, which is that of Redis. When the future ends well, this server has |
//! | questions (`fetch_sockets`, [`RedisAdapter::all_rooms`]) | an error if a server does not answer within [`Config::request_timeout`], as in Node. One that has gone meanwhile is not waited for |
//! | `emit_with_ack` | as many answers as come in time. Of the answer of a socket elsewhere the first argument arrives, since Node passes no more on |
//! | `server_side_emit_with_ack` | one answer of each server; those that give none are counted |
//! | binary data | as it is in events and in answers to them; between servers' applications, JSON only: bytes arrive as Node's `{"type":"Buffer","data":[…]}` |
//! | recovery | none: see below |
//!
//! # While Redis is away
//!
//! The adapter connects in the background, with pauses that grow to 2 s, and subscribes anew when Redis is back. A
//! Redis that accepts connections and then says nothing is found out, too, by a message to itself that has to come back
//! ([`Config::heartbeat`]). Meanwhile everything reaches the sockets of this server, and the futures end with an
//! [`AdapterError`](socketio::adapter::AdapterError) that says that the others were not reached.
//! [`RedisAdapter::is_connected`] is for readiness checks, though it is not obvious that a server should be taken out
//! of service for it: its clients are better off with half a cluster than with no server.
//!
//! # Recovery
//!
//! As in Node, there is no connection state recovery over this adapter: it keeps no events, so leave
//! [`Config::recovery`](socketio::Config::recovery) off. To have both, put an adapter of your own on top, which keeps
//! sessions and finds what was missed, and passes everything else on to this one: see [`socketio::adapter`]. What other
//! servers send does not pass it but goes straight to the sockets. Clients take any string at the end of an event for
//! their offset; if the sockets have a [`Source`](socketio::Source) with an [`offset`](socketio::Source::offset),
//! events from elsewhere that end in a string carry it, so that they leave the client's place as it is.
//!
//! # Trust
//!
//! Whoever can publish on this Redis can say anything to all clients, and whoever can listen hears everything; answers
//! to `fetch_sockets` hold handshakes with their headers. Messages that make no sense are counted ([`Stats::ignored`])
//! and ignored, and none makes a server fail, but their sender is not checked. What a message may take is bounded in bytes
//! ([`Config::max_message_bytes`]) and, since a byte can be a value of 72 bytes in memory, in values ([`Config::max_message_values`]).
//! The URL may begin with `rediss://`, and Redis' access control can limit a user to `&socket.io*`.
//!
//! # What is supported
//!
//! Redis on its own (tried with 7.0), in plain or over TLS. No Redis Cluster with sharded channels
//! (`createShardedAdapter` in Node), no Sentinel, no streams adapter. Rooms whose names are numbers in Node are their
//! digits here: `io.to(7)` in Node reaches the room `"7"` here, but `io.to("7")` here not the room `7` there.

mod adapter;
mod ask;
mod channels;
mod cluster;
mod config;
mod emitter;
mod inbox;
mod link;
mod publisher;
mod questions;
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
