//! The stream that a request names, and whether its client may use it.

use edge::{
    Access, ApiError,
    calls::{ConnectCall, Opening},
    metrics::Transport,
    routes::{RequestParts, below},
    service::Service,
    settings::{CallKind, StreamSettings},
    subscribe::Subscription,
};
use shared::pure::{ChannelName, NameError, Since};

/// The first segment of paths that belong to the protocol.
pub(crate) const RESERVED: &str = "__ds";

/// The channel of a path below `root`, which is `TRIDENT_STREAMS_PATH`: its percent-decoded rest.
///
/// # Errors
/// 400 when it is not a channel name, 501 for a path of the protocol's own.
pub fn channel(root: &str, path: &str) -> Result<ChannelName, ApiError> {
    let name = below(path, root)?;
    if name.split('/').next() == Some(RESERVED) {
        return Err(reserved());
    }
    name.parse().map_err(|error: NameError| ApiError::invalid("bad_channel", error))
}

/// The answer to a path of the protocol's own that means nothing.
pub(crate) fn reserved() -> ApiError {
    ApiError::NotSupported(format!("paths below {RESERVED} are for the protocol, and this one has no meaning in it"))
}

/// The client of a request and the stream.
pub(crate) struct Target {
    pub(crate) access: Access,
    pub(crate) channel: ChannelName,
}

impl Target {
    /// For a request that changes the stream: the client has permission to publish to its channel, which can be a stream.
    pub(crate) fn of_write(service: &Service, parts: &RequestParts<'_>) -> Result<Self, ApiError> {
        let (access, channel) =
            (Access::of(&service.edge, parts), channel(&service.edge.settings.streams.path, parts.path)?);
        access.require_connection()?;
        require_write(service, &access, &channel)?;
        Ok(Self { access, channel })
    }
}

/// Whether the client may change the stream, and the channel can be one.
pub(crate) fn require_write(service: &Service, access: &Access, channel: &ChannelName) -> Result<(), ApiError> {
    let names = &service.edge.settings.streams.names;
    let refused = |message: String| {
        service.edge.metrics.refusals.not_allowed.inc();
        Err(ApiError::forbidden("not_a_stream", message))
    };
    if names.is_empty() {
        return refused("this server has no streams (TRIDENT_STREAMS=off)".to_owned());
    }
    if !names.allow(channel) && !channel.is_server() {
        return refused(format!("`{channel}` cannot be a stream; names of streams match `{names}` (TRIDENT_STREAMS)"));
    }
    if service.edge.calls.asks(CallKind::Publish) && !access.is_backend() && !channel.is_server() {
        let message = "streams can be changed only with a token that has trident.api, because the backend decides who may publish \
                       (TRIDENT_CALLS) and is not asked about streams";
        service.edge.metrics.refusals.not_allowed.inc();
        return Err(ApiError::forbidden("not_supported", message));
    }
    if is_open(service, channel) {
        return Ok(());
    }
    access.require_write(channel)?;
    if StreamSettings::is_reserved(channel) && !access.is_backend() {
        return refused(format!(
            "`{channel}` is a channel of the server, which only a token with trident.api can make a stream"
        ));
    }
    Ok(())
}

/// The access of a client that reads: the application may decide it.
pub(crate) async fn reader(
    service: &Service,
    parts: &RequestParts<'_>,
    transport: Transport,
    access: Access,
) -> Result<Access, ApiError> {
    let opening = || Opening { transport, namespace: None, headers: parts.headers, auth: None };
    let access = match ConnectCall::new(&service.edge, &access, opening) {
        Some(call) => call.access().await?,
        None => access,
    };
    access.require_connection()?;
    Ok(access)
}

/// The subscription of a client that may read the stream, unless the application says no.
pub(crate) fn subscription(
    service: &Service,
    access: &Access,
    channel: &ChannelName,
    since: Since,
) -> Result<Subscription, ApiError> {
    if is_open(service, channel) && !service.edge.calls.asks(CallKind::Subscribe) {
        return Ok(Subscription::open_to_all(channel.clone(), since, access));
    }
    Subscription::to(channel.clone(), since, access)
}

/// Whether anybody may use the stream: never those that the server uses itself.
pub(crate) fn is_open(service: &Service, channel: &ChannelName) -> bool {
    let settings = &service.edge.settings.streams;
    settings.anonymous && settings.names.allow(channel) && !StreamSettings::is_reserved(channel)
}
