//! Connections: who is connected, and ending them.

use std::{net::IpAddr, time::Duration};

use actix_web::HttpResponse;
use edge::{
    ApiError,
    auth::{MAX_USER_BYTES, TooManyUsers},
    connections::{self, ConnectionId},
    query::Parameter,
    service::Service,
    settings,
};
use serde::{Deserialize, Serialize};
use shared::live::bus::BusError;

use crate::{
    lag,
    replicas::{self, Obeyed, Question, WantedConnections},
    request::{ApiRequest, LIMIT, json, limit, page},
    written::{Write, written},
};

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
    /// Processes that did not answer within 2 s; the rest is without their connections.
    #[serde(skip_serializing_if = "replicas::is_complete")]
    incomplete: Vec<String>,
}

/// A connection.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Connection {
    /// Its id; that of a Socket.IO socket is `socket.id`.
    id: String,
    /// The `sub` of its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// How it reads: `sse`, `stream`, `longpoll`, `ws`, `websocket`, `polling`.
    transport: String,
    /// The channels that it reads, and patterns of them.
    channels: Vec<String>,
    /// The address of its client.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    address: IpAddr,
    /// When it began, in milliseconds since the Unix epoch.
    since: u64,
    /// The number of messages of its channels that it has not been sent yet, as far as the memory has them. Absent for long polls and readers of
    /// patterns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lag: Option<usize>,
}

impl Connection {
    /// The approximate size in bytes.
    fn size(&self) -> usize {
        const BESIDE: usize = 100;
        let channels: usize = self.channels.iter().map(|channel| channel.len() + 3).sum();
        BESIDE + channels + self.user.as_ref().map_or(0, String::len)
    }

    fn of(connection: &connections::Connection, lag: Option<usize>) -> Self {
        Self {
            id: connection.id().to_string(),
            user: connection.user().map(|user| (**user).to_owned()),
            transport: connection.transport().name().to_owned(),
            channels: connection.channels().iter().map(ToString::to_string).collect(),
            address: connection.address(),
            since: connection.since(),
            lag,
        }
    }
}

/// Those of one process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Here {
    connections: Vec<Connection>,
    /// Whether there are more after these.
    more: bool,
}

/// `GET /v1/connections`.
pub(crate) async fn list(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    let query = request.query(&[USER, CHANNEL, AFTER, LIMIT])?;
    let limit = limit(&query)?;
    let after: Option<ConnectionId> = query.get(AFTER.name).map(str::parse).transpose().map_err(bad_id)?;
    let channel =
        query.get(CHANNEL.name).map(str::parse).transpose().map_err(|error| ApiError::invalid("bad_channel", error))?;
    let user = query.get(USER.name).map(str::to_owned);
    let wanted = WantedConnections { user, channel, after: after.map(|after| after.to_string()), limit };
    // The others first, so that nothing is kept while they are waited for.
    let others = replicas::ask(service, &Question::Connections(wanted.clone())).await;
    let own = here(service, &wanted).await;
    Ok(json(&joined(limit, request.page_bytes(), own, others.answers, others.incomplete)))
}

/// The connections of this process.
pub(crate) async fn here(service: &Service, wanted: &WantedConnections) -> Here {
    let is_wanted = |connection: &connections::Connection| {
        wanted.user.as_ref().is_none_or(|user| connection.user().is_some_and(|known| **known == **user))
            && wanted.channel.as_ref().is_none_or(|channel| connection.channels().has(channel))
    };
    let after = wanted.after.as_deref().and_then(|after| after.parse().ok());
    let page = service.edge.limits.registry().page(after, wanted.limit, is_wanted).await;
    let lags = lag::of(service.log(), &page.connections).await;
    let connections =
        page.connections.iter().zip(lags).map(|(connection, lag)| Connection::of(connection, lag)).collect();
    Here { connections, more: page.next.is_some() }
}

/// The connections of all processes, in at most about `most` bytes. A page ends where the shortest of their pages does: what follows there is not known.
fn joined(limit: usize, most: usize, own: Here, others: Vec<Here>, incomplete: Vec<String>) -> Connections {
    let all: Vec<Here> = std::iter::once(own).chain(others).collect();
    // As bytes, and not as text: base64 is not in alphabetical order.
    let place = |connection: &Connection| connection.id.parse::<ConnectionId>().ok();
    let end = all.iter().filter(|here| here.more).filter_map(|here| here.connections.last().and_then(place)).min();
    let mut connections: Vec<_> = all.into_iter().flat_map(|here| here.connections).collect();
    connections.sort_unstable_by_key(place);
    let in_order = connections.iter().take_while(|one| end.is_none_or(|end| place(one) <= Some(end))).count();
    let has_others = in_order < connections.len();
    connections.truncate(in_order);
    let (connections, is_cut) = page(connections.into_iter(), limit, most, Connection::size);
    let has_more = end.is_some() || has_others || is_cut;
    let next = connections.last().filter(|_| has_more).map(|last| last.id.clone());
    Connections { connections, next, incomplete }
}

fn bad_id(error: connections::InvalidConnectionId) -> ApiError {
    ApiError::invalid("bad_connection", error)
}

/// The number of connections that were ended.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Ended {
    ended: usize,
    /// Processes that did not answer within 2 s: connections there may not have ended.
    #[serde(skip_serializing_if = "replicas::is_complete")]
    incomplete: Vec<String>,
}

/// `DELETE /v1/connections/{id}`: its client does not connect again automatically, if it has a user, whose connections are refused for a
/// while.
pub(crate) async fn end(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    let refused = refused_for(request)?;
    let id: ConnectionId = request.segment(2)?.parse().map_err(bad_id)?;
    let id = id.to_string();
    let mut incomplete = Vec::new();
    let found = match replicas::find(service, &id) {
        Some(found) => Some(found),
        None => {
            let others = replicas::find_elsewhere(service, &id).await;
            incomplete = others.incomplete;
            others.answers.into_iter().flatten().next()
        }
    };
    let unknown = |incomplete: &[String]| {
        if incomplete.is_empty() {
            return ApiError::missing("unknown_connection", format!("there is no connection with the id `{id}`"));
        }
        let missing = incomplete.join(", ");
        ApiError::unavailable("incomplete", format!("processes that may have the connection did not answer: {missing}"))
    };
    let user = found.ok_or_else(|| unknown(&incomplete))?.user;
    // First: the client may connect again at once, to any process.
    let now = service.bus.time();
    let records: Vec<_> = user.iter().map(|user| service.edge.refuse_at_least(user, now, refused)).collect();
    let own = replicas::end(service, &id, replicas::records(&records)).await;
    let is_stored = service.bus.store(records.clone()).await;
    let question = Question::End { id: id.clone(), records: replicas::records(&records) };
    let others = replicas::ask::<Obeyed>(service, &question).await;
    // Of two decisions the bus keeps the newer one, which may end earlier. Whoever comes here last knows both, and stores them as one.
    let known = service.edge.decided_meanwhile(&records, service.bus.time());
    let is_stored = if known.is_empty() { is_stored } else { is_stored.and(service.bus.store(known).await) };
    let Obeyed { ended, rejected } = own.and(&others.answers);
    if ended == 0 {
        return Err(unknown(&others.incomplete));
    }
    written(service, &request.access, &Write::Ended { id: &id, user: user.as_deref() });
    answer(service, Ended { ended, incomplete: others.incomplete }, rejected, is_stored)
}

/// `DELETE /v1/users/{user}/connections`.
pub(crate) async fn end_user(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    let refused = refused_for(request)?;
    let user = request.segment(2)?;
    if user.len() > MAX_USER_BYTES {
        let message = format!("the user must not exceed {MAX_USER_BYTES} bytes, the limit of a token");
        return Err(ApiError::invalid("bad_user", message));
    }
    let records = service.edge.refuse_user(&user, service.bus.time(), refused).to_vec();
    let own = replicas::restrict(service, replicas::records(&records)).await;
    let is_stored = service.bus.store(records.clone()).await;
    let question = Question::Restrict { records: replicas::records(&records) };
    let others = replicas::ask::<Obeyed>(service, &question).await;
    let Obeyed { ended, rejected } = own.and(&others.answers);
    written(service, &request.access, &Write::Disconnected { user: &user, ended });
    answer(service, Ended { ended, incomplete: others.incomplete }, rejected, is_stored)
}

/// The answer after connections were ended, which happens also if new ones cannot be refused.
fn answer(
    service: &Service,
    ended: Ended,
    rejected: usize,
    is_stored: Result<(), BusError>,
) -> Result<HttpResponse, ApiError> {
    let count = ended.ended;
    if rejected > 0 {
        let message =
            format!("connections were ended ({count}), but new ones of the user are not refused: {TooManyUsers}");
        return Err(ApiError::unavailable("too_many_users", message));
    }
    if let Err(error) = is_stored {
        service.edge.metrics.refusals.bus_unavailable.inc();
        let message = format!(
            "connections were ended ({count}), but a process that starts now does not refuse new ones: {error}"
        );
        return Err(ApiError::unavailable("bus_unavailable", message));
    }
    Ok(json(&ended))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn here(ids: &[ConnectionId], more: bool) -> Here {
        let connection = |id: &ConnectionId| Connection {
            id: id.to_string(),
            user: None,
            transport: "sse".into(),
            channels: Vec::new(),
            address: IpAddr::from([127, 0, 0, 1]),
            since: 0,
            lag: None,
        };
        Here { connections: ids.iter().map(connection).collect(), more }
    }

    /// Other processes read it: a pattern is no name of a channel.
    #[test]
    fn a_connection_with_a_pattern_can_be_read() {
        let of = |id: ConnectionId| Here {
            connections: vec![Connection {
                channels: vec!["chat.*".into()],
                ..here(&[id], false).connections.remove(0)
            }],
            more: false,
        };
        let text = serde_json::to_string(&of(ConnectionId::random())).unwrap();
        let read: Here = serde_json::from_str(&text).unwrap();
        assert_eq!(read.connections[0].channels, ["chat.*"]);
    }

    #[test]
    fn pages_of_several_processes_are_joined_without_skipping_a_connection() {
        let mut ids: Vec<_> = (0..60).map(|_| ConnectionId::random()).collect();
        ids.sort_unstable();
        let (own, other): (Vec<_>, Vec<_>) = ids.iter().copied().enumerate().partition(|(n, _)| n % 3 == 0);
        let of = |all: &[(usize, ConnectionId)], after: Option<ConnectionId>, limit: usize| {
            let all: Vec<_> = all.iter().map(|(_, id)| *id).filter(|id| Some(*id) > after).collect();
            here(&all[..limit.min(all.len())], limit < all.len())
        };
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            // The pages of the other are shorter, as when its channels are long.
            let page = joined(7, usize::MAX, of(&own, after, 7), vec![of(&other, after, 3)], Vec::new());
            seen.extend(page.connections.iter().map(|one| one.id.parse::<ConnectionId>().unwrap()));
            let Some(next) = page.next else { break };
            after = Some(next.parse().unwrap());
        }
        assert_eq!(seen, ids);
    }
}
