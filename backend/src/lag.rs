//! How far connections are behind the log.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use edge::{connections::Connection, metrics::Transport};
use shared::{
    live::log::Log,
    pure::{ChannelName, Cursor},
};
use tokio::task::yield_now;

/// The number of messages of its channels that each of these connections has not been sent yet; `None` for polls, which have no position
/// between two of them, and for readers of patterns, whose channels are not known.
///
/// A reader has one position for all of its channels, so it is looked for among the readers of one. A connection that is not found there
/// has joined those that have read everything.
pub(crate) async fn of(log: &Log, connections: &[Arc<Connection>]) -> Vec<Option<usize>> {
    let mut by_channel: BTreeMap<ChannelName, HashMap<u64, Option<Cursor>>> = BTreeMap::new();
    for connection in connections.iter().filter(|connection| has_position(connection)) {
        if let Some(first) = connection.channels().first() {
            by_channel.entry(first.clone()).or_default().insert(connection.id().tag(), None);
        }
    }
    for (channel, positions) in &mut by_channel {
        let mut at = 0;
        while log.positions(channel, positions, &mut at) {
            yield_now().await;
        }
        yield_now().await;
    }
    let mut lags = Vec::with_capacity(connections.len());
    for connection in connections {
        let channels = connection.channels();
        let known = channels.first().and_then(|first| *by_channel.get(first)?.get(&connection.id().tag())?);
        let behind = |cursor| channels.iter().map(|channel| log.count_after(channel, cursor)).sum();
        lags.push(has_position(connection).then(|| known.map_or(0, behind)));
        yield_now().await;
    }
    lags
}

fn has_position(connection: &Connection) -> bool {
    let is_poll = matches!(connection.transport(), Transport::LongPoll | Transport::Poll);
    !is_poll && !connection.channels().iter().any(ChannelName::is_pattern)
}
