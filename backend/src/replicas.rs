//! The other processes on the bus: each [answers](crate::answering) questions about itself, and obeys.
//!
//! ```text
//! handler ─▶ own answer, and ask ─▶ bus ─▶ serve, on every other process ─▶ answer ─▶ handler, which joins them
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use edge::{auth::Restricted, connections::End, service::Service};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::{live::bus, pure::ChannelName};

/// What a process asks all others.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Question {
    /// Which channels are there, and who reads them?
    Channels(WantedChannels),
    /// How many connections read each of these channels, by transport?
    Readers { channels: Vec<ChannelName> },
    /// Who reads this channel?
    Presence(WantedUsers),
    /// Which connections are there?
    Connections(WantedConnections),
    /// Whose connection is this?
    Find { id: String },
    /// Apply these records, and end this connection.
    End { id: String, records: Vec<Record> },
    /// Apply these records, and end connections to which they apply.
    Restrict { records: Vec<Record> },
    /// What does the process that has the subscriptions to streams answer to this?
    Subscriptions { request: String },
    /// How are you?
    Stats,
}

/// Which channels are wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WantedChannels {
    pub(crate) prefix: String,
    pub(crate) after: Option<ChannelName>,
    pub(crate) limit: usize,
}

/// Which users are wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WantedUsers {
    pub(crate) channel: ChannelName,
    pub(crate) after: Option<String>,
    pub(crate) limit: usize,
}

/// Which connections are wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WantedConnections {
    pub(crate) user: Option<String>,
    pub(crate) channel: Option<ChannelName>,
    pub(crate) after: Option<String>,
    pub(crate) limit: usize,
}

/// A [`bus::Record`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    name: String,
    value: u64,
    expires_ms: u64,
    is_monotone: bool,
}

impl From<bus::Record> for Record {
    fn from(record: bus::Record) -> Self {
        let bus::Record { name, value, expires_ms, is_monotone } = record;
        Self { name, value, expires_ms, is_monotone }
    }
}

impl From<Record> for bus::Record {
    fn from(record: Record) -> Self {
        let Record { name, value, expires_ms, is_monotone } = record;
        Self { name, value, expires_ms, is_monotone }
    }
}

/// Whose connection it is; `None` if the process does not have it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) user: Option<String>,
}

/// What followed from records.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Obeyed {
    /// The number of connections that were ended.
    pub(crate) ended: usize,
    /// The number of records for which the process has no room.
    pub(crate) rejected: usize,
}

impl From<Restricted> for Obeyed {
    fn from(Restricted { ended, rejected }: Restricted) -> Self {
        Self { ended, rejected }
    }
}

impl Obeyed {
    /// With what followed on other processes.
    pub(crate) fn and(self, others: &[Self]) -> Self {
        others
            .iter()
            .fold(self, |all, other| Self { ended: all.ended + other.ended, rejected: all.rejected + other.rejected })
    }
}

/// The answers of the other processes.
#[derive(Debug)]
pub(crate) struct Others<T> {
    pub(crate) answers: Vec<T>,
    /// The names of processes that did not answer.
    pub(crate) incomplete: Vec<String>,
}

/// Asks all other processes. `T` is what [`answer`] returns to such a question.
pub(crate) async fn ask<T: DeserializeOwned>(service: &Service, question: &Question) -> Others<T> {
    let text = serde_json::to_vec(question).unwrap_or_default();
    others(service.bus.ask(text.into()).await)
}

/// Asks all other processes whose connection `id` is; waits for no other once one has it.
pub(crate) async fn find_elsewhere(service: &Service, id: &str) -> Others<Option<Found>> {
    let text = serde_json::to_vec(&Question::Find { id: id.to_owned() }).unwrap_or_default();
    let is_found = |answer: &[u8]| matches!(serde_json::from_slice(answer), Ok(Some(Found { .. })));
    others(service.bus.ask_until(text.into(), is_found).await)
}

/// The answer of the process that has the subscriptions to streams, whichever it is; `None` if no process answers.
pub async fn ask_subscriptions(service: &Service, request: String) -> Option<Bytes> {
    if let Some(answer) = service.edge.subscriptions.ask(request.clone().into()).await {
        return Some(answer);
    }
    let text = serde_json::to_vec(&Question::Subscriptions { request }).unwrap_or_default();
    let replies = service.bus.ask_until(text.into(), |answer| !answer.is_empty()).await;
    replies.answers.into_iter().map(|(_, answer)| answer).find(|answer| !answer.is_empty())
}

fn others<T: DeserializeOwned>(replies: bus::Replies) -> Others<T> {
    let bus::Replies { answers, missing } = replies;
    let mut others = Others { answers: Vec::with_capacity(answers.len()), incomplete: missing };
    for (name, answer) in answers {
        match serde_json::from_slice(&answer) {
            Ok(answer) => others.answers.push(answer),
            // Of another version, which does not know the question.
            Err(_) => others.incomplete.push(name),
        }
    }
    others.incomplete.sort_unstable();
    others
}

/// Whose connection this is, if this process has it.
pub(crate) fn find(service: &Service, id: &str) -> Option<Found> {
    let connection = service.edge.limits.registry().get(id.parse().ok()?)?;
    Some(Found { user: connection.user().map(|user| (**user).to_owned()) })
}

/// Applies records, and ends a connection of this process.
pub(crate) async fn end(service: &Service, id: &str, records: Vec<Record>) -> Obeyed {
    let mut obeyed = restrict(service, records).await;
    let connection = id.parse().ok().and_then(|id| service.edge.limits.registry().get(id));
    obeyed.ended += usize::from(connection.is_some_and(|connection| connection.end_for(End::Disconnected)));
    obeyed
}

/// Applies records to this process.
pub(crate) async fn restrict(service: &Service, records: Vec<Record>) -> Obeyed {
    let records: Vec<_> = records.into_iter().map(bus::Record::from).collect();
    service.edge.restrict(&records, service.bus.time()).await.into()
}

/// Records as they are sent.
pub(crate) fn records(records: &[bus::Record]) -> Vec<Record> {
    records.iter().cloned().map(Record::from).collect()
}

/// The numbers of all processes together.
pub(crate) fn sum(into: &mut BTreeMap<String, usize>, more: BTreeMap<String, usize>) {
    for (name, count) in more {
        *into.entry(name).or_default() += count;
    }
}

/// Whether all have answered, for serde.
pub(crate) fn is_complete(incomplete: &[String]) -> bool {
    incomplete.is_empty()
}
