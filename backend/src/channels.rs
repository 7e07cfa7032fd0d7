//! The channels of the log, with their readers.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use edge::{ApiError, query::Parameter, service::Service};
use serde::Serialize;
use shared::{
    live::log::{ChannelStats, Listing},
    pure::{ChannelName, Cursor},
};

use crate::{
    replicas::{self, Question},
    request::{ApiRequest, LIMIT, json, limit},
};

const PREFIX: Parameter = Parameter::once("prefix");
const AFTER: Parameter = Parameter::once("after");

/// The number of connections that read a channel, by transport.
type Readers = BTreeMap<String, usize>;

/// A page of channels, in the order of their names.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Channels {
    channels: Vec<Channel>,
    /// The `after` of the next page, unless this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<ChannelName>,
    /// Processes that did not answer within 2 s; the rest is without their connections.
    #[serde(skip_serializing_if = "replicas::is_complete")]
    incomplete: Vec<String>,
}

/// A channel.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Channel {
    name: ChannelName,
    /// The number of connections that read it, by transport.
    readers: BTreeMap<String, usize>,
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

/// One channel.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct OneChannel {
    #[serde(flatten)]
    channel: Channel,
    /// Processes that did not answer within 2 s; the rest is without their connections.
    #[serde(skip_serializing_if = "replicas::is_complete")]
    incomplete: Vec<String>,
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
    let (channels, incomplete) = described(service, found).await;
    Ok(json(&Channels { channels, next, incomplete }))
}

/// `GET /v1/channels/{channel}`. A channel without messages and readers is the same as one that never existed.
pub(crate) async fn get(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    request.query(&[])?;
    let found = service.log().channel_stats(&request.channel()?);
    let (mut channels, incomplete) = described(service, vec![found]).await;
    Ok(json(&channels.pop().map(|channel| OneChannel { channel, incomplete })))
}

/// How many connections of this process read each of `channels`; those without any are left out.
pub(crate) async fn readers(service: &Service, channels: &[ChannelName]) -> BTreeMap<ChannelName, Readers> {
    let mut readers: BTreeMap<ChannelName, BTreeMap<&'static str, usize>> =
        channels.iter().map(|name| (name.clone(), BTreeMap::new())).collect();
    let count = |connection: &std::sync::Arc<edge::connections::Connection>| {
        for channel in &**connection.channels() {
            if let Some(readers) = readers.get_mut(channel) {
                *readers.entry(connection.transport().name()).or_default() += 1;
            }
        }
    };
    service.edge.limits.registry().visit(count).await;
    let named =
        |counts: BTreeMap<&str, usize>| counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    readers.into_iter().filter(|(_, counts)| !counts.is_empty()).map(|(name, counts)| (name, named(counts))).collect()
}

/// The channels with their readers on all processes, and the processes that did not answer.
async fn described(service: &Service, found: Vec<ChannelStats>) -> (Vec<Channel>, Vec<String>) {
    let channels: Vec<_> = found.iter().map(|stats| stats.name.clone()).collect();
    let mut all = readers(service, &channels).await;
    let others = replicas::ask::<BTreeMap<ChannelName, Readers>>(service, &Question::Readers { channels }).await;
    for (name, readers) in others.answers.into_iter().flatten() {
        replicas::sum(all.entry(name).or_default(), readers);
    }
    let describe = |stats: ChannelStats| {
        let ChannelStats { name, messages, bytes, oldest, newest } = stats;
        let readers = all.remove(&name).unwrap_or_default();
        Channel { name, readers, messages, bytes, oldest, newest }
    };
    (found.into_iter().map(describe).collect(), others.incomplete)
}
