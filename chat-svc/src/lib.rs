//! The Socket.IO transport: `/socket.io/`, with a chat whose rooms are channels of the log.
//!
//! What a client says goes into the log; what it reads is a cursor on the log, which its connection pulls from when the
//! client can take more. So the chat is readable over the other transports too, what is published to a room's channel
//! appears in the chat, and a client that was cut off goes on after the last message that it saw.

mod adapter;
mod args;
mod arrival;
mod bridge;
mod census;
mod chat;
mod client;
mod events;
mod feed;
mod history;
mod member;
mod page;
mod presence;
mod reply;
mod sessions;
mod subscriptions;
mod wire;

pub use chat::{Chat, OpenError};
use edge::settings::ServiceDefaults;
pub use page::home;

/// What this service is called and where it listens unless told.
pub const DEFAULTS: ServiceDefaults = ServiceDefaults {
    name: "chat-svc",
    about: "Socket.IO on Trident's log, and the chat: /socket.io/",
    version: env!("CARGO_PKG_VERSION"),
    listen: "0.0.0.0:8082",
};
