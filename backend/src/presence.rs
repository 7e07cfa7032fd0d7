//! Who reads a channel.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use actix_web::HttpResponse;
use edge::{ApiError, query::Parameter, service::Service};
use serde::Serialize;
use shared::pure::ChannelName;

use crate::request::{ApiRequest, LIMIT, json, limit};

const AFTER: Parameter = Parameter::once("after");

/// A page of the users that read a channel, in alphabetical order.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Presence {
    channel: ChannelName,
    users: Vec<Present>,
    /// The number of all users, on this and other pages.
    count: usize,
    /// The number of connections without a user.
    anonymous: usize,
    /// The `after` of the next page, unless this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    next: Option<Arc<str>>,
}

/// A user that reads the channel.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Present {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    user: Arc<str>,
    connections: Vec<PresentConnection>,
}

/// A connection over which it does.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct PresentConnection {
    id: String,
    transport: &'static str,
    /// When it began, in milliseconds since the Unix epoch.
    since: u64,
}

/// `GET /v1/channels/{channel}/presence`.
pub(crate) fn get(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    let channel = request.channel()?;
    let query = request.query(&[AFTER, LIMIT])?;
    let limit = limit(&query)?;
    let (mut users, mut anonymous) = (BTreeMap::<Arc<str>, Vec<_>>::new(), 0);
    service.edge.limits.registry().each(|connection| {
        if connection.channels().has(&channel) {
            match connection.user() {
                Some(user) => users.entry(user.clone()).or_default().push(connection.clone()),
                None => anonymous += 1,
            }
        }
    });
    let after = query.get(AFTER.name).map_or(Bound::Unbounded, Bound::Excluded);
    let count = users.len();
    let mut page = users.range::<str, _>((after, Bound::Unbounded));
    let present: Vec<_> = page
        .by_ref()
        .take(limit)
        .map(|(user, connections)| {
            let describe = |connection: &Arc<edge::connections::Connection>| PresentConnection {
                id: connection.id().to_string(),
                transport: connection.transport().name(),
                since: connection.since(),
            };
            Present { user: user.clone(), connections: connections.iter().map(describe).collect() }
        })
        .collect();
    let next = present.last().filter(|_| page.next().is_some()).map(|last| last.user.clone());
    Ok(json(&Presence { channel, users: present, count, anonymous, next }))
}
