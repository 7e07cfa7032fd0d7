//! A Socket.IO server for actix-web.

mod ack;
pub mod adapter;
mod broadcast;
pub mod bundle;
mod config;
mod encoded;
pub mod engine;
mod event;
mod handler;
mod namespace;
mod peer;
mod rate;
mod reason;
mod rooms;
mod server;
pub mod socket;
mod stats;
mod time;
mod transport;
pub mod value;

pub use self::{
    ack::{Ack, AckError, AckFuture, AckSink, Responses},
    adapter::{Adapter, LocalAdapter, SocketInfo},
    broadcast::{BroadcastOperator, Sending},
    config::{Config, Cookie, Recovery},
    encoded::EncodedPacket,
    engine::{Handshake, Headers, Outgoing, Source, SourceId, Transport},
    event::{Args, Event},
    handler::ConnectError,
    namespace::{Namespace, NamespaceFamily},
    reason::DisconnectReason,
    rooms::{IntoRooms, Room, Selector, TooManyRooms},
    server::{Builder, SocketIo},
    socket::handle::{EmitError, Socket},
    stats::Stats,
    time::iso as iso_date,
    transport::cors::Origins,
    value::{Binary, Value},
};
