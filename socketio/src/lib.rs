//! A Socket.IO server for actix-web.
//!
//! It speaks to the official clients as they are, from JavaScript, Python, Swift, Java and the rest, over long-polling and WebSockets, with
//! acknowledgements, rooms, binary data and connection state recovery. It mounts into an actix-web application like any
//! other routes, needs no actor and no task for each client, and keeps an idle client under 15 kB.
//!
//! # Quick start
//!
//! ```no_run
//! use actix_web::{App, HttpServer};
//! use serde::{Deserialize, Serialize};
//! use socketio::SocketIo;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Message {
//!     text: String,
//! }
//!
//! #[actix_web::main]
//! async fn main() -> std::io::Result<()> {
//!     let io = SocketIo::builder().build();
//!
//!     io.of("/").on_connect(async |socket| {
//!         socket.join("lobby").ok();
//!         socket.on("chat message", async |socket, message: Message, ack| {
//!             socket.to("lobby").emit("chat message", &message);
//!             ack.send("delivered").ok();
//!         });
//!         socket.on_disconnect(async |socket, reason| println!("{} left: {reason}", socket.id()));
//!     });
//!
//!     HttpServer::new(move || App::new().configure(io.routes()))
//!         .tcp_nodelay(true) // send small events immediately
//!         .h1_allow_half_closed(false) // notice immediately when a client with an open poll disconnects
//!         .bind(("127.0.0.1", 3000))?
//!         .run()
//!         .await
//! }
//! ```
//!
//! In a page, with the official client:
//!
//! ```js
//! const socket = io("http://localhost:3000");
//! socket.emit("chat message", { text: "hello" }, (answer) => console.log(answer));
//! socket.on("chat message", (message) => console.log(message.text));
//! ```
//!
//! The page must be of the same origin, `http://localhost:3000` here: pages of others are refused, also their WebSockets, unless
//! [`Builder::origins`] names them. [`Builder::client_bundle`] serves the client itself, at `/socket.io/socket.io.js`.
//!
//! See the crate's examples for more: `chat`, `rooms`, `ack`, `session` (authentication by the HTTP session of the application), `notify`
//! (emits from an HTTP handler), `testing` (tests of handlers), `echo_engine` for Engine.IO alone, and `e2e`, which uses nearly all of what
//! is here.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `client-bundle` | yes | [`bundle`], which serves the official JavaScript client |
//! | `eio3` | yes | Engine.IO 3, for clients of Socket.IO 2, once [`Config::allow_eio3`] is set |
//! | `msgpack` | yes | packets in msgpack, once [`Config::msgpack`] is set |
//! | `jsonp` | no | long-polling by scripts, for browsers without CORS, once [`Config::jsonp`] is set |
//! | `actors` | no | the handshake of WebSockets by `actix-web-actors`, for applications that have it anyway |
//!
//! # Handlers
//!
//! A handler is an async closure or function of the socket, the event's arguments and the ack. The type of the arguments gives their
//! number: a tuple for several, `()` for none, [`Args`] for any number of any type, anything else for one. The same applies to sending.
//! Binary data is [`Binary`] anywhere in a type, or [`Value`] if the type is open.
//!
//! | JavaScript | handler | `emit`, `ack.send` |
//! | --- | --- | --- |
//! | `("a")` | `async \|socket, (), ack\|` | `emit("a", &())` |
//! | `("a", 1)` | `async \|socket, n: u32, ack\|` | `emit("a", &1)` |
//! | `("a", 1, "x")` | `async \|socket, (n, s): (u32, String), ack\|` | `emit("a", &(1, "x"))` |
//! | `("a", [1, 2])` | `async \|socket, list: Vec<u32>, ack\|` | `emit("a", &vec![1, 2])` |
//! | `("a", buffer)` | `async \|socket, bytes: Binary, ack\|` | `emit("a", &Binary(bytes))` |
//! | `("a", ...args)` | `async \|socket, args: Args, ack\|` | `emit("a", &args)` |
//!
//! Handlers run on the server thread that receives the packet, so their futures need not be `Send`. Events of one socket start in the order in which they came: each handler runs
//! to where it first waits, then the next one starts, as in Node. A panic ends its handler and nothing else. A handler that waits ends with its
//! socket: spawn what has to outlive it. Only the handlers of disconnections run to their end. Handlers that are the
//! same for all sockets can be registered once, with [`Namespace::on`], which costs idle sockets nothing.
//!
//! # Coming from Node
//!
//! | Node | here |
//! | --- | --- |
//! | `new Server(httpServer, options)` | [`SocketIo::builder`], [`Config`], [`SocketIo::routes`] |
//! | `io.on("connection", fn)`, `io.of("/x").on(…)` | [`SocketIo::of`], [`Namespace::on_connect`] |
//! | `io.of(/regex/)`, `io.of(fn)` | [`SocketIo::of_matching`] |
//! | `io.use(fn)`, `socket.use(fn)` | [`Namespace::middleware`], [`Socket::middleware`] |
//! | `allowRequest` | [`Builder::allow_request`], which may also keep a value for the lifetime of the connection |
//! | `io.engine.generateId` | [`Builder::sid_prefix`]; the rest of an id is random |
//! | `socket.id`, `socket.connected`, `socket.conn` | [`Socket::id`], [`Socket::is_connected`], [`Socket::connection`] |
//! | `socket.on(event, fn)`, `socket.once`, `socket.onAny(fn)`, `prependAny` | [`Socket::on`], [`Socket::once`], [`Socket::on_any`], [`Socket::prepend_any`] |
//! | `socket.off(event, fn)`, `socket.offAny(fn)`, `socket.off(event)`, `offAny()` | [`Socket::add_listener`] with [`Socket::remove_listener`], [`Socket::off`], [`Socket::off_any`] |
//! | `socket.onAnyOutgoing(fn)`, `prependAnyOutgoing`, `offAnyOutgoing` | [`Socket::on_any_outgoing`], [`Socket::prepend_any_outgoing`], [`Socket::off_any_outgoing`] |
//! | `socket.listeners(event)`, `listenersAny()`, `listenersAnyOutgoing()`, `eventNames()` | [`Socket::listeners`], [`Socket::listeners_any`], [`Socket::listeners_any_outgoing`], [`Socket::event_names`] |
//! | `socket.on("disconnecting" \| "disconnect", fn)` | [`Socket::on_disconnecting`], [`Socket::on_disconnect`], [`DisconnectReason`] |
//! | `socket.emit(event, ...args)`, `socket.volatile.emit` | [`Socket::emit`], [`Socket::emit_volatile`] |
//! | `socket.emit(event, ...args, fn)`, `socket.emitWithAck`, `socket.timeout(ms).emitWithAck` | [`Socket::emit_with_ack`], [`Socket::emit_with_ack_timeout`] |
//! | `io.timeout(ms).emitWithAck` | [`BroadcastOperator::emit_with_ack`]; one by one, with their senders: [`BroadcastOperator::emit_with_acks`] |
//! | `io.to(room).except(room).local.volatile.emit` | [`BroadcastOperator`] |
//! | `socket.to(room).emit`, `socket.broadcast.emit` | [`Socket::to`], [`Socket::broadcast`] |
//! | `socket.join`, `socket.leave`, `socket.rooms` | [`Socket::join`], [`Socket::leave`], [`Socket::rooms`] |
//! | `io.in(room).fetchSockets()`, `socketsJoin`, `socketsLeave`, `disconnectSockets` | the same on [`BroadcastOperator`]; what is found is a [`RemoteSocket`] |
//! | `io.serverSideEmit` | [`Namespace::server_side_emit`], [`Namespace::server_side_emit_with_ack`], [`Namespace::on_server_event`] |
//! | `socket.handshake`, `socket.handshake.auth` | [`Socket::handshake`], [`Socket::auth`], [`Socket::handshake_json`] |
//! | `socket.data` | [`Socket::set_data`] (JSON, seen by other servers), [`Socket::insert`] (any type, here) |
//! | `socket.disconnect()`, `socket.disconnect(true)` | [`Socket::disconnect`], [`Socket::close_connection`] |
//! | `socket.recovered`, `connectionStateRecovery` | [`Socket::recovered`], [`Config::recovery`] |
//! | `io.adapter(…)` | [`Adapter`], [`Builder::adapter`] |
//! | `io.close()`, `await io.close()` | [`SocketIo::close`], whose result can be awaited |
//! | `io.on("new_namespace", fn)` | [`SocketIo::on_new_namespace`] |
//! | `io.of("/").adapter.on("create-room" \| "join-room" \| "leave-room" \| "delete-room", fn)` | [`Namespace::on_room_event`]; the rooms of sockets' own ids are not reported |
//! | `socket.conn.on("upgrade", fn)` | [`Socket::on_upgrade`] |
//! | `io.engine.on("connection_error", fn)` | [`Builder::on_refused_request`] |
//! | `io.engine.on("initial_headers" \| "headers", fn)` | [`Builder::on_headers`] |
//! | `socket.request`, `socket.request.session` | [`Builder::request_data`], [`Handshake::request_data`] |
//! | `cors` | [`Config::origins`], [`Config::cors`] |
//! | `addTrailingSlash` | [`Config::add_trailing_slash`] |
//! | `io.engine.clientsCount` and the like | [`SocketIo::stats`] |
//! | `@socket.io/redis-emitter` | `Emitter` in crate `socketio-redis` |
//!
//! Differences: [`Socket::rooms`] omits the socket's own id, although that is one of its rooms; a socket's middlewares run before `on_any`,
//! too, and a rejected event is logged, without an `error` event; messages and memory of clients are [bounded](#limits); of several
//! volatile events emitted in one step all are sent, not only the first; no two placeholders of a packet may name one attachment; a client
//! that asks for a session that is still connected [takes it over](#connection-state-recovery).
//!
//! Missing, and why:
//!
//! | Node | why not here |
//! | --- | --- |
//! | `perMessageDeflate`, the `compress` flag | the WebSocket codec of actix-http has no extensions; not built beside it, as compression keeps a window for each connection |
//! | a parser of one's own | packets are encoded once for all clients of a form; the forms are JSON and msgpack |
//! | middlewares of the engine (`io.engine.use`) | a middleware of the actix-web application around the routes does the same |
//! | `socket.conn.on("drain")` | it serves to send more when the client has received what it was sent: a [`Source`] is asked for more at that moment |
//! | `socket.conn.on("packet")`, `"packetCreate"` | [`Socket::on_any`] and [`Socket::on_any_outgoing`] report events; pings and acks are not shown, so that they cost nothing |
//! | the details of a disconnect | the underlying error says nothing that a program can act on; [`DisconnectReason`] is the same enumeration |
//! | the streams adapter | it exists so that a server that lost Redis for a moment misses nothing. `socketio-redis` is compatible with the Pub/Sub adapter, and Trident's services read their own log for that purpose |
//!
//! # What is supported
//!
//! | | |
//! | --- | --- |
//! | protocols | Engine.IO 4 with Socket.IO 5; Engine.IO 3 with Socket.IO 2 clients ([`Config::allow_eio3`]) |
//! | transports | long-polling, JSONP ([`Config::jsonp`]), WebSocket, upgrade from the one to the other; no WebTransport |
//! | encodings | JSON with binary attachments; msgpack, recognised by its first packet ([`Config::msgpack`]) |
//! | compression | polling answers with gzip and deflate; no `permessage-deflate` |
//! | origins | [`Origins`]: the server's own, a list, any, or a function; a cookie for load balancers ([`Config::cookie`]) |
//! | recovery | id, rooms, data and missed events after a cut ([`Config::recovery`]); in memory, or by an [`Adapter`] |
//! | many servers | by an [`Adapter`]; the one in here serves one server alone, crate `socketio-redis` a cluster, of Node's servers too |
//! | client files | [`bundle::Bundle`], from the official package |
//!
//! The repository's `docs/CONFORMANCE.md` has all of it line by line, each with the tests that prove it.
//!
//! # Connection state recovery
//!
//! With [`Builder::recovery`], a client whose connection broke gets the same socket id, rooms and [`data`](Socket::data) when it
//! reconnects. The server sends it the messages that it missed, in order and once, after its CONNECT packet and before anything new.
//! Clients support this without further code; on the server, [`Socket::recovered`] shows it. A client that reconnects before the server
//! notices that the old connection is dead takes its session over, and the old connection ends. [`LocalAdapter`] stores sessions and events
//! in memory, within the limits of [`Recovery`].
//!
//! An application that stores its events in a log can store only the sessions, with an [`Adapter`] of its own whose
//! [`restore_session`](Adapter::restore_session) reads the offset as a position in the log. The events come from a [`Source`], each with
//! its offset as the last argument. [`Source::offset`] ensures that no other string is taken for an offset.
//!
//! # Behind a load balancer
//!
//! A WebSocket is one TCP connection, so it stays with its server. A polling session is many requests; all but the first name it as `sid`
//! in the query, and all of them must reach the server that has the session. There are two solutions:
//!
//! - [`Config::cookie`], for balancers that follow a cookie and clients that keep one;
//! - [`Builder::sid_prefix`], for balancers that can hash a part of the query, which every client sends: the balancer makes up four
//!   characters for a request without `sid`, sends it where it hashes them to, and names them in a header; the server begins the session's
//!   id with them; and every later request is hashed by the first four characters of its `sid`.
//!
//! [`Config::trust_proxy`] says whether `X-Forwarded-For` is believed. What reaches the sockets of other servers, such as an event to a
//! room, is for an [`Adapter`].
//!
//! # Slow clients
//!
//! Messages to a client wait in its outbox, which is bounded in bytes for each client and for all; [`Config::max_pending_bytes`] describes
//! what happens beyond. A long reply does not have to be queued whole: [`Connection::queue_source`](engine::Connection::queue_source) takes
//! a [`Source`], which is pulled in its turn. An application that stores the messages anyway, in a log or a ring, need not queue them for
//! anyone: it attaches a [`Source`] to each socket, which is polled when the client has taken the previous messages. An [`EncodedPacket`]
//! is encoded once for all receivers, and they share its WebSocket frames.
//!
//! # Many clients
//!
//! An idle client costs about 1.5 kB here, beside the 11 kB that actix-web and tokio keep of any connection. It stays so when handlers are
//! registered with the [`Namespace`] instead of each socket, [`Config::kept_headers`] names what is wanted of the first request, and
//! what the application [`insert`](Socket::insert)s is small. Queues and tables are made when there is something in them.
//!
//! # Limits
//!
//! All limits are settings with defaults, listed in [`Config`], and all rejections are counted in [`Stats`]. Two limits belong to the HTTP
//! server: how long a request's headers may take ([`client_request_timeout`](actix_web::HttpServer::client_request_timeout)), and how long
//! a peer may keep its TCP connection open without reading. While such a client keeps a write buffer full, actix-web does not poll the
//! connection: its session ends in time, but its TCP connection stays open until the kernel gives up. Set `TCP_USER_TIMEOUT` on the
//! listener.
//!
//! # Under the hood
//!
//! The protocol is in state machines and codecs without I/O and without a clock: `engine::session`, [`engine::packet`], [`engine::payload`],
//! `socket::client` and the codecs beside it. Around them, [`engine::Connection`] is one small allocation behind one lock; the
//! HTTP answer itself is the connection's task; and one heap of deadlines a thread is the clock of all its sessions. [`EngineIo`]
//! serves Engine.IO alone.

#![cfg_attr(docsrs, feature(doc_cfg))]

/// The example in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "client-bundle")]
pub mod bundle;
mod compress;
mod config;
mod encoded;
pub mod engine;
mod engine_io;
mod event;
mod hooks;
mod namespace;
mod origins;
mod panics;
mod peer;
mod rate;
mod reason;
mod registry;
mod rooms;
mod server;
pub mod socket;
mod stats;
mod time;
mod transport;
pub mod value;
pub mod websocket;

#[doc(no_inline)]
pub use self::adapter::{Adapter, LocalAdapter, SocketInfo};
// For adapters of this project.
#[doc(hidden)]
pub use self::rate::{OncePerSecond, Suppressed};
pub use self::{
    config::{Config, Cookie, Cors, Recovery},
    encoded::EncodedPacket,
    engine::{Handshake, Headers, Outgoing, SendError, Source, SourceId, Transport},
    engine_io::EngineIo,
    event::{Args, ArgsError, Event, TryArgs},
    hooks::{AnswerHeaders, RefusedRequest},
    namespace::{
        Ack, AckError, AckFuture, AckSink, AckStream, Answer, BroadcastOperator, ConnectError, EmitError, ListenerId,
        Namespace, NamespaceFamily, RemoteSocket, Responses, ResponsesFuture, RoomEvent, Sending, ServerEvent,
        ServerResponses, Socket, WeakNamespace, adapter,
    },
    origins::Origins,
    reason::DisconnectReason,
    rooms::{IntoRooms, Room, Selector, TooManyRooms},
    server::{Builder, Closing, SocketIo},
    socket::data::SocketData,
    stats::Stats,
    time::{iso as iso_date, iso_of_millis as iso_date_of_millis},
    transport::{IdleStep, IdleWebSocket, MessageFrames, PollRequest, WebSocket, WebSocketRequest},
    value::{Binary, Value},
};
