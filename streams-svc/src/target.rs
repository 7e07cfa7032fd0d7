//! The stream that a request names, and whether its client may use it.

use edge::{
    Access, ApiError, Edge,
    routes::{RequestParts, below},
    service::Service,
    subscribe::Subscription,
};
use shared::pure::{ChannelName, NameError, Since};

/// The first segment of paths that belong to the protocol.
const RESERVED: &str = "__ds";

/// The channel of a path below `TRIDENT_STREAMS_PATH`: its percent-decoded rest.
///
/// # Errors
/// 400 when it is not a channel name, 501 for a path of the protocol's own.
pub(crate) fn channel(edge: &Edge, path: &str) -> Result<ChannelName, ApiError> {
    let name = below(path, &edge.settings.streams.path)?;
    if name.split('/').next() == Some(RESERVED) {
        let message = format!("paths below {RESERVED} are for subscriptions, which this server does not have");
        return Err(ApiError::NotSupported(message));
    }
    name.parse().map_err(|error: NameError| ApiError::invalid("bad_channel", error))
}

/// The client of a request and the stream.
pub(crate) struct Target {
    pub(crate) access: Access,
    pub(crate) channel: ChannelName,
}

impl Target {
    /// For a request that changes the stream: the client has permission to publish to its channel.
    pub(crate) fn of_write(service: &Service, parts: &RequestParts<'_>) -> Result<Self, ApiError> {
        let (access, channel) = (Access::of(&service.edge, parts), channel(&service.edge, parts.path)?);
        access.require_connection()?;
        require_write(service, &access, &channel)?;
        Ok(Self { access, channel })
    }
}

/// Whether the client may change the stream.
pub(crate) fn require_write(service: &Service, access: &Access, channel: &ChannelName) -> Result<(), ApiError> {
    if is_open(service, channel) { Ok(()) } else { access.require_write(channel) }
}

/// Whether the client may read the stream, by its token.
pub(crate) fn require_read(service: &Service, access: &Access, channel: &ChannelName) -> Result<(), ApiError> {
    if is_open(service, channel) { Ok(()) } else { access.require_subscribe(channel) }
}

/// The subscription of a client that may read the stream.
pub(crate) fn subscription(
    service: &Service,
    access: &Access,
    channel: &ChannelName,
    since: Since,
) -> Result<Subscription, ApiError> {
    if is_open(service, channel) {
        return Ok(Subscription::open_to_all(channel.clone(), since, access));
    }
    Subscription::to(channel.clone(), since, access)
}

/// Whether anybody may use the stream: never those of one user, nor those of the server.
fn is_open(service: &Service, channel: &ChannelName) -> bool {
    service.edge.settings.streams.anonymous && !channel.is_server() && !channel.is_user()
}
