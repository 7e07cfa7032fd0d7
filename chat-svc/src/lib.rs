//! The Socket.IO transport: `/socket.io/`, with a chat whose rooms are channels of the log.
//!
//! A client's messages are written to the log, and its position is a cursor in the log: its connection pulls messages when the client can
//! take more. The chat is therefore readable over the other transports, messages published to a room's channel appear in the chat, and a
//! client that was disconnected resumes after the last message that it received.

mod adapter;
mod application;
mod args;
mod bridge;
mod chat;
mod client;
mod connect;
mod connection_metrics;
mod events;
mod feed;
mod history;
mod member;
mod page;
mod parking;
mod presence;
mod refusal;
mod registration;
mod reply;
mod selectors;
mod sessions;
mod subscriptions;
mod wire;

pub use chat::{Chat, OpenError};
use edge::settings::ServiceDefaults;
pub use page::home;

/// The name of this service and its default address.
pub const DEFAULTS: ServiceDefaults = ServiceDefaults {
    name: "chat-svc",
    about: "Socket.IO on Trident's log, and the chat: /socket.io/",
    version: env!("CARGO_PKG_VERSION"),
    listen: "0.0.0.0:8082",
};
