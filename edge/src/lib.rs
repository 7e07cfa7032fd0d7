//! The HTTP side that every service shares.
//!
//! A request comes in through [`server`], whose layer counts it, answers CORS ([`cors`]) and brings errors into one form
//! ([`error`]); its handler reads the query ([`query`]), asks [`auth`] who it is from and [`limits`] whether there is
//! room, and reads a body with [`body`]. [`settings`] say how, [`metrics`] and [`health`] tell how it goes, [`logging`]
//! writes it down.

pub mod address;
pub mod auth;
pub mod body;
pub mod cors;
pub mod demo;
pub mod drain;
pub mod error;
pub mod guarded;
pub mod health;
pub mod http1;
pub mod lane;
pub mod layer;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod open_files;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod page;
pub mod publish;
pub mod query;
pub mod receiving;
pub mod server;
pub mod service;
pub mod settings;
pub mod stream;
pub mod subscribe;
#[cfg(feature = "testing")]
pub mod testing;
pub mod unread;

pub use auth::Access;
pub use error::ApiError;
pub use server::Edge;
pub use settings::Settings;
