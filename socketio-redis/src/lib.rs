//! Joins a Socket.IO server to a cluster of others over Redis, Node's servers and emitters among them.

mod adapter;
mod channels;
mod cluster;
mod config;
mod link;
mod publisher;
mod questions;
mod receive;
mod stats;
mod wire;

pub use self::{
    adapter::{ConnectError, RedisAdapter},
    config::Config,
    stats::Stats,
};
