//! What backends have changed: every write through `/v1` that succeeded passes here, once, on the process that got the request.

use edge::{Access, service::Service};
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
pub(crate) fn written(_service: &Service, access: &Access, what: &Write<'_>) {
    let by = access.identity();
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
