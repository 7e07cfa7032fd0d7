//! Invalid behaviour of clients, byte by byte: raw HTTP and raw WebSocket frames against a server in this process, each compared with the
//! answer of the Node server. Valid requests occur where they are needed to get there.
//!
//! Nothing here sleeps for a fixed time: reads have a deadline, and disconnect reasons arrive through a channel.

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
