//! The server's side of a WebSocket (RFC 6455), without I/O and without a clock.
//!
//! ```text
//! request for an upgrade ─▶ handshake::accept ─▶ 101
//! bytes of the client    ─▶ Frames ─▶ messages, pings, pongs, a close
//! messages of the server ─▶ encode ─▶ bytes
//! ```
//!
//! Frames are decoded by actix-http. [`Frames`] adds what a server needs beside it: messages in fragments, and limits that apply before the
//! bytes have arrived. Between frames it has no memory of its own. [`Bucket`] limits how fast one client may send.

pub mod encode;
mod frames;
pub mod handshake;
mod rate;

pub use actix_http::ws::{CloseCode, CloseReason};
pub use frames::{FrameError, Frames, Received, is_pong};
pub use rate::Bucket;
