//! What `/v1` says of itself, for docs/openapi.json; see [`edge::openapi`].

#![allow(dead_code, reason = "these functions are never called")]

mod hooks;

use edge::openapi::{ErrorBody, Refused, publishing};
use shared::pure::{ChannelName, Cursor, Gap, message::Whole};
use utoipa::{
    IntoParams, OpenApi, PartialSchema as _, ToSchema,
    openapi::{
        Required,
        path::{ParameterBuilder, ParameterIn},
    },
};

pub use self::hooks::webhooks;
use crate::{
    channels::{Channel, Channels, OneChannel},
    connections::{Connection, Connections, Ended},
    messages::Purged,
    presence::{Presence, Present, PresentConnection},
    revocations::{Added, RevocationRequest},
    stats::{Bus, Log, Process, Rates, Stats, WebhookError, Webhooks},
};

/// The paths for backends.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut openapi = Backend::openapi();
    // As publishing, to the channel of the user in the path.
    let mut publish = publishing("publishToUser");
    publish.tags = Some(vec!["backend".to_owned()]);
    let parameters = publish.parameters.get_or_insert_default();
    parameters.retain(|parameter| parameter.name != "channel");
    let user = ParameterBuilder::new().name("user").parameter_in(ParameterIn::Path).required(Required::True);
    parameters.insert(0, user.schema(Some(String::schema())).build());
    let path = openapi.paths.paths.entry("/v1/users/{user}/messages".to_owned()).or_default();
    path.post = Some(publish);
    openapi
}

#[derive(OpenApi)]
#[openapi(
    paths(channels, channel, messages, purge, presence, connections, end_connection, end_user, revoke, stats),
    components(schemas(
        Channel, Channels, OneChannel, Connection, Connections, Ended, Purged, Presence, Present, PresentConnection, Added, RevocationRequest, Bus,
        Log, Process, Rates, Stats, Webhooks, WebhookError, Messages
    )),
    tags(
        (name = "backend", description = "For servers, with a token that has `trident.api`: `[\"read\"]` or `[\"write\"]`."),
        (name = "application", description = "Requests that Trident sends to the backend.")
    )
)]
struct Backend;

/// A page of the history of a channel.
#[derive(ToSchema)]
struct Messages {
    /// In the order of their ids.
    messages: Vec<Whole<'static>>,
    /// The `since` or `before` of the next page.
    cursor: Cursor,
    /// Whether there are more messages in this direction.
    more: bool,
    /// Set if messages after `since` are no longer stored.
    gap: Option<Gap>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct ChannelsQuery {
    /// The beginning of the names.
    prefix: Option<String>,
    /// The `next` of the previous page.
    after: Option<ChannelName>,
    /// The length of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct MessagesQuery {
    /// A cursor, or `earliest`: the messages after it.
    #[param(pattern = r"^(earliest|(0|[1-9]\d*)-(0|[1-9]\d*))$")]
    since: Option<String>,
    /// A cursor: the newest messages before it. Default: the newest of all.
    before: Option<Cursor>,
    /// The length of the page, which also has at most 1 MiB of data.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct PresenceQuery {
    /// The `next` of the previous page.
    after: Option<String>,
    /// The length of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct ConnectionsQuery {
    /// Only connections of this user.
    user: Option<String>,
    /// Only connections that read this channel.
    channel: Option<ChannelName>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// The length of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct EndQuery {
    /// For how long connections of the user are refused: 1s to 30d, or a number of seconds.
    #[param(default = "60s")]
    r#for: Option<String>,
}

/// Channels
///
/// With the number of connections that read them, and what they store, in the order of their names.
#[utoipa::path(get, path = "/v1/channels", tag = "backend", params(ChannelsQuery),
    responses((status = 200, description = "A page", body = Channels), Refused), security(("bearer" = [])))]
fn channels() {}

/// One channel
#[utoipa::path(get, path = "/v1/channels/{channel}", tag = "backend",
    params(("channel" = ChannelName, Path, description = "`/` as `%2F`")),
    responses((status = 200, description = "The channel", body = OneChannel), Refused), security(("bearer" = [])))]
fn channel() {}

/// The history of a channel
#[utoipa::path(get, path = "/v1/channels/{channel}/messages", tag = "backend",
    params(("channel" = ChannelName, Path, description = "`/` as `%2F`"), MessagesQuery),
    responses((status = 200, description = "A page", body = Messages), Refused), security(("bearer" = [])))]
fn messages() {}

/// Remove the messages of a channel
///
/// Those that are stored now. Connected readers get no event; a reader that resumes from before gets a gap.
#[utoipa::path(delete, path = "/v1/channels/{channel}/messages", tag = "backend",
    params(("channel" = ChannelName, Path, description = "`/` as `%2F`")),
    responses((status = 200, description = "They are removed", body = Purged), Refused), security(("bearer" = [])))]
fn purge() {}

/// The users that read a channel
#[utoipa::path(get, path = "/v1/channels/{channel}/presence", tag = "backend",
    params(("channel" = ChannelName, Path, description = "`/` as `%2F`"), PresenceQuery),
    responses((status = 200, description = "A page", body = Presence), Refused), security(("bearer" = [])))]
fn presence() {}

/// Connections
///
/// A client of long polls is one connection until it has not polled for its `wait` and 10 s.
#[utoipa::path(get, path = "/v1/connections", tag = "backend", params(ConnectionsQuery),
    responses((status = 200, description = "A page", body = Connections), Refused), security(("bearer" = [])))]
fn connections() {}

/// End a connection
///
/// Connections of its user are refused for a while; a connection without a user is only ended.
#[utoipa::path(delete, path = "/v1/connections/{id}", tag = "backend",
    params(("id" = String, Path, description = "The id of the connection"), EndQuery),
    responses((status = 200, description = "It is ended", body = Ended), (status = 404, description = "There is no such connection", body = ErrorBody), Refused),
    security(("bearer" = [])))]
fn end_connection() {}

/// End all connections of a user
///
/// And refuse new ones for a while.
#[utoipa::path(delete, path = "/v1/users/{user}/connections", tag = "backend",
    params(("user" = String, Path, description = "The `sub` of the user's tokens"), EndQuery),
    responses((status = 200, description = "They are ended", body = Ended), Refused), security(("bearer" = [])))]
fn end_user() {}

/// Revoke tokens
///
/// They are refused from then on, and connections that were opened with them end.
#[utoipa::path(post, path = "/v1/revocations", tag = "backend", request_body = RevocationRequest,
    responses((status = 201, description = "They are revoked", body = Added), Refused), security(("bearer" = [])))]
fn revoke() {}

/// How the processes are
#[utoipa::path(get, path = "/v1/stats", tag = "backend",
    responses((status = 200, description = "Connections, rates, memory, log and bus", body = Stats), Refused), security(("bearer" = [])))]
fn stats() {}
