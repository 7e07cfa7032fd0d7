//! What backends have changed: every write through `/v1` that succeeded passes here, once, on the process that got the request.

use std::net::IpAddr;

use edge::{Access, auth::Identity, events::ApiWrite, service::Service};
use shared::pure::{ChannelName, Cursor};

/// A write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write<'a> {
    /// A message was published to a user.
    Published { channel: &'a ChannelName },
    /// The messages of a channel were removed.
    Purged { channel: &'a ChannelName, up_to: Cursor },
    /// A connection was ended.
    Ended { id: &'a str, user: Option<&'a str> },
    /// All connections of a user were ended.
    Disconnected { user: &'a str, ended: usize },
    /// Tokens of a user were revoked.
    RevokedUser { user: &'a str, ended: usize },
    /// The token with this id was revoked.
    RevokedToken { jti: &'a str, ended: usize },
}

/// `access` has written `what`.
pub(crate) fn written(service: &Service, access: &Access, what: &Write<'_>) {
    let by = access.identity();
    service.edge.events.api_write(&event(what, &by, access.address()));
    match what {
        Write::Published { channel } => log::debug!("a message was published to {channel} by {by}"),
        Write::Purged { channel, up_to } => log::info!("{channel} was purged up to {up_to} by {by}"),
        Write::Ended { id, user: None } => log::info!("connection {id} was ended by {by}"),
        Write::Ended { id, user: Some(user) } => log::info!("connection {id} of the user {user:?} was ended by {by}"),
        Write::Disconnected { user, ended } => {
            log::info!("{ended} connections of the user {user:?} were ended by {by}")
        }
        Write::RevokedUser { user, ended } => {
            log::info!("the tokens of the user {user:?} were revoked by {by}, which ended {ended} connections");
        }
        Write::RevokedToken { jti, ended } => {
            log::info!("the token with the id {jti:?} was revoked by {by}, which ended {ended} connections");
        }
    }
}

/// The event of a write.
fn event<'a>(what: &Write<'a>, by: &'a Identity, address: IpAddr) -> ApiWrite<'a> {
    let none =
        ApiWrite { action: "", by, address, channel: None, connection: None, user: None, jti: None, ended: None };
    match *what {
        Write::Published { channel } => ApiWrite { action: "published", channel: Some(channel), ..none },
        Write::Purged { channel, .. } => ApiWrite { action: "purged", channel: Some(channel), ..none },
        Write::Ended { id, user } => ApiWrite { action: "connection_ended", connection: Some(id), user, ..none },
        Write::Disconnected { user, ended } => {
            ApiWrite { action: "user_disconnected", user: Some(user), ended: Some(ended), ..none }
        }
        Write::RevokedUser { user, ended } => {
            ApiWrite { action: "user_revoked", user: Some(user), ended: Some(ended), ..none }
        }
        Write::RevokedToken { jti, ended } => {
            ApiWrite { action: "token_revoked", jti: Some(jti), ended: Some(ended), ..none }
        }
    }
}
