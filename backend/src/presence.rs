//! Who reads a channel.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use actix_web::HttpResponse;
use edge::{ApiError, connections::Connection, query::Parameter, service::Service};
use serde::{Deserialize, Serialize};
use shared::pure::ChannelName;

use crate::{
    replicas::{self, Question, WantedUsers},
    request::{ApiRequest, LIMIT, json, limit, page},
};

const AFTER: Parameter = Parameter::once("after");
/// The approximate maximum size of the users and connections of a page.
const MAX_PAGE_BYTES: usize = 1024 * 1024;
/// The approximate size of a connection.
const CONNECTION_BYTES: usize = 80;

/// A page of the users that read a channel, in alphabetical order.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Presence {
    channel: ChannelName,
    users: Vec<Present>,
    /// The number of all users, on this and other pages. If there are several pages and several processes, a user who is connected to
    /// several processes is counted for each.
    count: usize,
    /// The number of connections without a user.
    anonymous: usize,
    /// The `after` of the next page, unless this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Processes that did not answer within 2 s; the rest is without their connections.
    #[serde(skip_serializing_if = "replicas::is_complete")]
    incomplete: Vec<String>,
}

/// A user that reads the channel.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Present {
    user: String,
    connections: Vec<PresentConnection>,
}

/// A connection over which it does.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PresentConnection {
    id: String,
    transport: String,
    /// When it began, in milliseconds since the Unix epoch.
    since: u64,
}

/// Those of one process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Here {
    users: BTreeMap<String, Vec<PresentConnection>>,
    count: usize,
    anonymous: usize,
    /// Whether there are more users after these.
    more: bool,
}

/// `GET /v1/channels/{channel}/presence`.
pub(crate) async fn get(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    let channel = request.channel()?;
    let query = request.query(&[AFTER, LIMIT])?;
    let limit = limit(&query)?;
    let wanted = WantedUsers { channel, after: query.get(AFTER.name).map(str::to_owned), limit };
    // The others first, so that nothing is kept while they are waited for.
    let others = replicas::ask(service, &Question::Presence(wanted.clone())).await;
    let own = here(service, &wanted).await;
    Ok(json(&joined(wanted, request.page_bytes(), own, others.answers, others.incomplete)))
}

/// The users of this process.
pub(crate) async fn here(service: &Service, wanted: &WantedUsers) -> Here {
    let (mut users, mut anonymous) = (BTreeMap::<Arc<str>, Vec<_>>::new(), 0);
    let visit = |connection: &Arc<Connection>| {
        if connection.channels().has(&wanted.channel) {
            match connection.user() {
                Some(user) => users.entry(user.clone()).or_default().push(connection.clone()),
                None => anonymous += 1,
            }
        }
    };
    service.edge.limits.registry().visit(visit).await;
    let after = wanted.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let (mut page, mut bytes, mut more) = (BTreeMap::new(), 0, false);
    for (user, connections) in users.range::<str, _>((after, Bound::Unbounded)) {
        more = page.len() == wanted.limit || bytes >= MAX_PAGE_BYTES;
        if more {
            break;
        }
        bytes += user.len() + connections.len() * CONNECTION_BYTES;
        let describe = |connection: &Arc<Connection>| PresentConnection {
            id: connection.id().to_string(),
            transport: connection.transport().name().to_owned(),
            since: connection.since(),
        };
        page.insert((**user).to_owned(), connections.iter().map(describe).collect());
    }
    Here { users: page, count: users.len(), anonymous, more }
}

/// The users of all processes, in at most about `most` bytes. A page ends where the shortest of their pages does: what follows there is not known.
fn joined(wanted: WantedUsers, most: usize, own: Here, others: Vec<Here>, incomplete: Vec<String>) -> Presence {
    let all: Vec<Here> = std::iter::once(own).chain(others).collect();
    let end = all.iter().filter(|here| here.more).filter_map(|here| here.users.keys().next_back()).min().cloned();
    let (sum, anonymous) =
        all.iter().fold((0, 0), |(count, anonymous), here| (count + here.count, anonymous + here.anonymous));
    let is_whole = wanted.after.is_none() && end.is_none();
    let mut users = BTreeMap::<String, Vec<PresentConnection>>::new();
    for (user, connections) in all.into_iter().flat_map(|here| here.users) {
        users.entry(user).or_default().extend(connections);
    }
    let count = if is_whole { users.len() } else { sum };
    let left = users.into_iter().filter(|(user, _)| end.as_ref().is_none_or(|end| user <= end));
    let left = left.map(|(user, connections)| Present { user, connections });
    let (users, is_cut) =
        page(left, wanted.limit, most, |one| one.user.len() + one.connections.len() * CONNECTION_BYTES);
    let has_more = is_cut || end.is_some();
    let next = users.last().filter(|_| has_more).map(|last| last.user.clone());
    Presence { channel: wanted.channel, users, count, anonymous, next, incomplete }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(users: &[&str], more: bool) -> Here {
        let connection = || PresentConnection { id: String::new(), transport: "sse".into(), since: 0 };
        let users = users.iter().map(|user| ((*user).to_owned(), vec![connection()])).collect::<BTreeMap<_, _>>();
        Here { count: users.len() + usize::from(more), users, anonymous: 1, more }
    }

    fn page_of(
        limit: usize,
        after: Option<&str>,
        own: Here,
        other: Here,
    ) -> (Vec<(String, usize)>, usize, Option<String>) {
        let wanted = WantedUsers { channel: "a".parse().unwrap(), after: after.map(str::to_owned), limit };
        let presence = joined(wanted, usize::MAX, own, vec![other], Vec::new());
        assert_eq!(presence.anonymous, 2);
        let users = presence.users.into_iter().map(|present| (present.user, present.connections.len())).collect();
        (users, presence.count, presence.next)
    }

    fn named(users: &[(&str, usize)]) -> Vec<(String, usize)> {
        users.iter().map(|(user, count)| ((*user).to_owned(), *count)).collect()
    }

    #[test]
    fn pages_of_several_processes_are_joined_without_skipping_a_user() {
        let all = page_of(9, None, here(&["a", "c"], false), here(&["b", "c"], false));
        assert_eq!(all, (named(&[("a", 1), ("b", 1), ("c", 2)]), 3, None));
        let first = page_of(2, None, here(&["a", "c"], false), here(&["b", "c"], false));
        assert_eq!(first, (named(&[("a", 1), ("b", 1)]), 3, Some("b".into())));
        // The other may have users between `c` and `z`.
        let short = page_of(9, None, here(&["a", "z"], false), here(&["b", "c"], true));
        assert_eq!(short, (named(&[("a", 1), ("b", 1), ("c", 1)]), 5, Some("c".into())));
        let last = page_of(9, Some("c"), here(&["z"], false), here(&["d"], false));
        assert_eq!(last, (named(&[("d", 1), ("z", 1)]), 2, None));
    }
}
