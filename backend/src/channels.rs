//! The channels of the log, with their readers.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use edge::{ApiError, query::Parameter, service::Service};
use serde::Serialize;
use shared::{
    live::log::{ChannelStats, Listing},
    pure::{ChannelName, Cursor},
};

use crate::request::{ApiRequest, LIMIT, json, limit};

const PREFIX: Parameter = Parameter::once("prefix");
const AFTER: Parameter = Parameter::once("after");

/// A page of channels, in the order of their names.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Channels {
    channels: Vec<Channel>,
    /// The `after` of the next page, unless this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<ChannelName>,
}

/// A channel.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Channel {
    name: ChannelName,
    /// The number of connections that read it, by transport.
    readers: BTreeMap<&'static str, usize>,
    /// The number of stored messages.
    messages: usize,
    /// The bytes of their data.
    bytes: usize,
    /// The id of the oldest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<Cursor>,
    /// The id of the newest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<Cursor>,
}

/// `GET /v1/channels`.
pub(crate) async fn list(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    let query = request.query(&[PREFIX, AFTER, LIMIT])?;
    let after: Option<ChannelName> = query.get(AFTER.name).map(str::parse).transpose().map_err(|error| {
        ApiError::invalid("bad_channel", format!("`after` is the `next` of the previous page: {error}"))
    })?;
    let prefix = query.get(PREFIX.name).unwrap_or_default();
    let mut listing = Listing::new(prefix, after, limit(&query)?);
    // In slices: in between, publishers get the lock, and other requests this thread.
    while service.log().list(&mut listing) {
        tokio::task::yield_now().await;
    }
    let (found, is_last) = listing.into_page();
    let next = found.last().filter(|_| !is_last).map(|last| last.name.clone());
    Ok(json(&Channels { channels: described(service, found), next }))
}

/// `GET /v1/channels/{channel}`. A channel without messages and readers is the same as one that never existed.
pub(crate) fn get(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    request.query(&[])?;
    let found = service.log().channel_stats(&request.channel()?);
    Ok(json(&described(service, vec![found]).pop()))
}

/// The channels with their readers.
fn described(service: &Service, found: Vec<ChannelStats>) -> Vec<Channel> {
    let mut readers: BTreeMap<ChannelName, BTreeMap<&'static str, usize>> =
        found.iter().map(|stats| (stats.name.clone(), BTreeMap::new())).collect();
    service.edge.limits.registry().each(|connection| {
        for channel in &**connection.channels() {
            if let Some(readers) = readers.get_mut(channel) {
                *readers.entry(connection.transport().name()).or_default() += 1;
            }
        }
    });
    let describe = |stats: ChannelStats| {
        let ChannelStats { name, messages, bytes, oldest, newest } = stats;
        let readers = readers.remove(&name).unwrap_or_default();
        Channel { name, readers, messages, bytes, oldest, newest }
    };
    found.into_iter().map(describe).collect()
}
