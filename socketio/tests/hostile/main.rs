//! What a client can do wrong, byte by byte: raw HTTP and raw WebSocket frames against a server in this process, and for each the
//! answer that the Node server gives. What clients do right comes along as the way to get there.
//!
//! Nothing here sleeps for a fixed time and hopes: reads have a deadline, and disconnect reasons come through a channel.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod bundle;
mod engine;
mod heartbeat;
mod old;
mod packets;
mod polling;
mod raw;
mod recovery;
mod server;
mod socket;
mod upgrade;
