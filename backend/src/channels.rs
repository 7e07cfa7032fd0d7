//! The channels of the log, with their readers.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::HttpResponse;
use edge::{ApiError, query::Parameter, service::Service};
use serde::{Deserialize, Serialize};
use shared::{
    live::log::{ChannelStats, Listing},
    pure::{ChannelName, Cursor},
};

use crate::{
    replicas::{self, Question, WantedChannels},
    request::{ApiRequest, LIMIT, json, limit, page},
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

impl Channel {
    fn new(stats: ChannelStats, readers: Readers) -> Self {
        let ChannelStats { name, messages, bytes, oldest, newest } = stats;
        Self { name, readers, messages, bytes, oldest, newest }
    }
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
    let limit = limit(&query)?;
    let wanted = WantedChannels { prefix: query.get(PREFIX.name).unwrap_or_default().to_owned(), after, limit };
    // The others first, so that nothing is kept while they are waited for.
    let others = replicas::ask(service, &Question::Channels(wanted.clone())).await;
    let own = here(service, &wanted).await;
    let (names, is_last, mut readers) = joined(limit, request.page_bytes(), own, others.answers);
    let next = names.last().filter(|_| !is_last).cloned();
    let describe = |name: &ChannelName| {
        let readers = readers.remove(name).unwrap_or_default();
        Channel::new(service.log().channel_stats(name), readers)
    };
    let channels = names.iter().map(describe).collect();
    Ok(json(&Channels { channels, next, incomplete: others.incomplete }))
}

/// Those of one process: those with messages, and those that are read there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Here {
    names: Vec<ChannelName>,
    readers: BTreeMap<ChannelName, Readers>,
    /// Whether there are more after these.
    more: bool,
}

/// The channels of this process.
pub(crate) async fn here(service: &Service, wanted: &WantedChannels) -> Here {
    let mut listing = Listing::new(&wanted.prefix, wanted.after.clone(), wanted.limit);
    // In slices: in between, publishers get the lock, and other requests this thread.
    while service.log().list(&mut listing) {
        tokio::task::yield_now().await;
    }
    let (found, is_last) = listing.into_page();
    let names: Vec<_> = found.into_iter().map(|stats| stats.name).collect();
    let readers = readers(service, &names).await;
    Here { names, readers, more: !is_last }
}

/// The approximate size of a channel in a page in addition to its name.
const BESIDE_NAME: usize = 200;

/// The channels of all processes, in at most about `most` bytes, whether there are none after them, and their readers. A page ends where the shortest of their pages does.
fn joined(
    limit: usize,
    most: usize,
    own: Here,
    others: Vec<Here>,
) -> (Vec<ChannelName>, bool, BTreeMap<ChannelName, Readers>) {
    let all: Vec<Here> = std::iter::once(own).chain(others).collect();
    let end = all.iter().filter(|here| here.more).filter_map(|here| here.names.last()).min().cloned();
    let (mut names, mut readers) = (BTreeSet::new(), BTreeMap::<ChannelName, Readers>::new());
    for here in all {
        names.extend(here.names);
        for (name, more) in here.readers {
            replicas::sum(readers.entry(name).or_default(), more);
        }
    }
    let left = names.into_iter().filter(|name| end.as_ref().is_none_or(|end| name <= end));
    let (names, is_cut) = page(left, limit, most, |name| name.len() + BESIDE_NAME);
    (names, !is_cut && end.is_none(), readers)
}

/// `GET /v1/channels/{channel}`. A channel without messages and readers is the same as one that never existed.
pub(crate) async fn get(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    request.query(&[])?;
    let name = request.channel()?;
    let channels = vec![name.clone()];
    let mut all = readers(service, &channels).await.remove(&name).unwrap_or_default();
    let others = replicas::ask::<BTreeMap<ChannelName, Readers>>(service, &Question::Readers { channels }).await;
    for (_, readers) in others.answers.into_iter().flatten() {
        replicas::sum(&mut all, readers);
    }
    let channel = Channel::new(service.log().channel_stats(&name), all);
    Ok(json(&OneChannel { channel, incomplete: others.incomplete }))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn here(names: &[&str], more: bool) -> Here {
        let names: Vec<ChannelName> = names.iter().map(|name| name.parse().unwrap()).collect();
        let one = || Readers::from([("sse".to_owned(), 1)]);
        Here { readers: names.iter().map(|name| (name.clone(), one())).collect(), names, more }
    }

    fn page_of(limit: usize, own: Here, other: Here) -> (Vec<String>, bool, usize) {
        let (names, is_last, readers) = joined(limit, usize::MAX, own, vec![other]);
        (names.iter().map(ToString::to_string).collect(), is_last, readers.values().map(|of| of["sse"]).sum())
    }

    /// A channel that is read on another process has no messages here, and is listed.
    #[test]
    fn pages_of_several_processes_are_joined_without_skipping_a_channel() {
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(page_of(9, here(&["a"], false), here(&["a", "b"], false)), (strings(&["a", "b"]), true, 3));
        assert!(!page_of(1, here(&["a"], false), here(&["a", "b"], false)).1);
        // The other may have channels between `b` and `z`.
        assert_eq!(page_of(2, here(&["a", "z"], false), here(&["a", "b"], true)).0, strings(&["a", "b"]));
        let short = page_of(9, here(&["a", "z"], false), here(&["b"], true));
        assert_eq!((short.0, short.1), (strings(&["a", "b"]), false));
    }
}
