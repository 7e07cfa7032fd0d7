//! The HTTP side that every service shares.
//!
//! [`server`] opens the port and stops in order. [`http1`] reads requests and writes responses. [`routes`] finds the handler of a
//! request, and [`layer`] completes its response: CORS ([`cors`]), errors in one form ([`error`]), counts. A handler reads the query
//! ([`query`]), asks [`auth`] for the client's rights and [`limits`] for room, and reads a body with [`body`]. [`settings`] configures
//! all of it; [`metrics`], [`health`] and [`logging`] report.

mod access_log;
pub mod address;
pub mod aged;
mod asset;
pub mod auth;
pub mod body;
pub mod calls;
pub mod connections;
pub mod cors;
pub mod delegate;
pub mod demo;
pub mod drain;
pub mod error;
pub mod events;
pub mod guarded;
pub mod health;
pub mod hooks;
pub mod http1;
pub mod layer;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod open_files;
#[cfg(feature = "openapi")]
pub mod openapi;
mod operations;
pub mod page;
mod parts;
pub mod pieces;
pub mod publish;
pub mod query;
pub mod receiving;
pub mod resource;
pub mod response;
pub mod routes;
pub mod server;
pub mod service;
pub mod settings;
pub mod state;
pub mod stream;
pub mod subscribe;
#[cfg(feature = "testing")]
pub mod testing;
pub mod traces;
pub mod unread;

pub use auth::Access;
pub use error::ApiError;
pub use settings::Settings;
pub use state::Edge;
