//! socketio

pub mod bundle;
mod config;
pub mod engine;
mod reason;
pub mod socket;
mod stats;
mod transport;
pub mod value;

pub use self::{
    config::{Config, Cookie, Recovery},
    engine::{Handshake, Headers, Outgoing, Source, SourceId, Transport},
    reason::DisconnectReason,
    stats::Stats,
    transport::cors::Origins,
};
