//! Connections: who is connected, and ending them.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::HttpResponse;
use edge::{
    ApiError,
    auth::{MAX_USER_BYTES, TooManyUsers},
    connections::{self, ConnectionId, End},
    query::Parameter,
    service::Service,
    settings,
};
use serde::Serialize;
use shared::pure::ChannelName;

use crate::request::{ApiRequest, LIMIT, json, limit};

const USER: Parameter = Parameter::once("user");
const CHANNEL: Parameter = Parameter::once("channel");
const AFTER: Parameter = Parameter::once("after");
const FOR: Parameter = Parameter::once("for");
/// How long connections of a user are refused, unless the request says so.
const DEFAULT_REFUSED: Duration = Duration::from_secs(60);
const MIN_REFUSED: Duration = Duration::from_secs(1);
const MAX_REFUSED: Duration = Duration::from_secs(30 * 86_400);

/// A page of connections, in the order of their ids.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Connections {
    connections: Vec<Connection>,
    /// The `after` of the next page, unless this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A connection.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Connection {
    /// Its id; that of a Socket.IO socket is `socket.id`.
    id: String,
    /// The `sub` of its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    user: Option<Arc<str>>,
    /// How it reads: `sse`, `stream`, `longpoll`, `ws`, `websocket`, `polling`.
    transport: &'static str,
    /// The channels that it reads.
    channels: Vec<ChannelName>,
    /// The address of its client.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    address: IpAddr,
    /// When it began, in milliseconds since the Unix epoch.
    since: u64,
}

impl Connection {
    fn of(connection: &connections::Connection) -> Self {
        Self {
            id: connection.id().to_string(),
            user: connection.user().cloned(),
            transport: connection.transport().name(),
            channels: connection.channels().to_vec(),
            address: connection.address(),
            since: connection.since(),
        }
    }
}

/// `GET /v1/connections`.
pub(crate) fn list(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    let query = request.query(&[USER, CHANNEL, AFTER, LIMIT])?;
    let limit = limit(&query)?;
    let after = query.get(AFTER.name).map(str::parse).transpose().map_err(bad_id)?;
    let channel: Option<ChannelName> =
        query.get(CHANNEL.name).map(str::parse).transpose().map_err(|error| ApiError::invalid("bad_channel", error))?;
    let user = query.get(USER.name);
    let is_wanted = |connection: &connections::Connection| {
        user.is_none_or(|user| connection.user().is_some_and(|known| **known == *user))
            && channel.as_ref().is_none_or(|channel| connection.channels().has(channel))
    };
    let page = service.edge.limits.registry().page(after, limit, is_wanted);
    let connections = page.connections.iter().map(|connection| Connection::of(connection)).collect();
    Ok(json(&Connections { connections, next: page.next.map(|id| id.to_string()) }))
}

fn bad_id(error: connections::InvalidConnectionId) -> ApiError {
    ApiError::invalid("bad_connection", error)
}

/// The number of connections that were ended.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Ended {
    ended: usize,
}

/// `DELETE /v1/connections/{id}`: its client does not connect again automatically, if it has a user, whose connections are refused for a
/// while.
pub(crate) fn end(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    let refused = refused_for(request)?;
    let id: ConnectionId = request.segment(2)?.parse().map_err(bad_id)?;
    let connection =
        service.edge.limits.registry().get(id).ok_or_else(|| {
            ApiError::missing("unknown_connection", format!("there is no connection with the id `{id}`"))
        })?;
    let is_refused = connection.user().map_or(Ok(()), |user| refuse(service, user, refused));
    let ended = usize::from(connection.end_for(End::Disconnected));
    let of_user = connection.user().map(|user| format!(" of the user {user:?}")).unwrap_or_default();
    log::info!("connection {id}{of_user} was ended by {}", request.access.identity());
    answer(ended, is_refused)
}

/// `DELETE /v1/users/{user}/connections`.
pub(crate) fn end_user(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    let refused = refused_for(request)?;
    let user = request.segment(2)?;
    if user.len() > MAX_USER_BYTES {
        let message = format!("a user has at most {MAX_USER_BYTES} bytes, as its token has to contain it");
        return Err(ApiError::invalid("bad_user", message));
    }
    // First: a connection is either registered already, or finds the user refused when it is.
    let is_refused = refuse(service, &user, refused);
    let is_meant = |connection: &connections::Connection| connection.user().is_some_and(|known| **known == *user);
    let ended = service.edge.limits.registry().end_all(End::Disconnected, is_meant);
    log::info!("{ended} connections of the user {user:?} were ended by {}", request.access.identity());
    answer(ended, is_refused)
}

fn refuse(service: &Service, user: &str, time: Duration) -> Result<(), TooManyUsers> {
    service.edge.disconnected.refuse(user, time, Instant::now())
}

/// The answer after connections were ended, which happens also if new ones cannot be refused.
fn answer(ended: usize, is_refused: Result<(), TooManyUsers>) -> Result<HttpResponse, ApiError> {
    match is_refused {
        Ok(()) => Ok(json(&Ended { ended })),
        Err(error) => {
            let message =
                format!("connections were ended ({ended}), but new ones of the user are not refused: {error}");
            Err(ApiError::unavailable("too_many_users", message))
        }
    }
}

/// The parameter `for`: a duration, or a number of seconds.
fn refused_for(request: &ApiRequest) -> Result<Duration, ApiError> {
    let query = request.query(&[FOR])?;
    let Some(text) = query.get(FOR.name) else { return Ok(DEFAULT_REFUSED) };
    let time = text.parse().map(Duration::from_secs).ok().or_else(|| settings::duration(text).ok());
    time.filter(|time| (MIN_REFUSED..=MAX_REFUSED).contains(time)).ok_or_else(|| {
        ApiError::invalid(
            "bad_duration",
            "`for` is a duration from 1s to 30d, such as 60s, 10m or 1h, or a number of seconds",
        )
    })
}
