//! Removing the messages of a channel: a record in the stream, which every process obeys when it reads it, and then the entries.
//!
//! The record names the newest message that it removes. It is in the stream before anything is deleted, and it is newer than everything that
//! is, so a process that loads the stream later knows from the record alone which cursors have missed something.

use std::sync::Arc;

use redis::RedisResult;
use tokio::time::{Instant, timeout_at};

use super::{
    Connection, PUBLISH_TIMEOUT, Shared, erase,
    scripts::{self, EDGE, PURGED, STREAM},
    streams::{self, Site},
};
use crate::{
    live::{bus::BusError, log::Log},
    pure::{ChannelName, Cursor},
};

/// Removes the messages of `channel` that Redis has by now; returns the newest id that it has. The entries are deleted in the background.
///
/// # Errors
/// When Redis, or the log, does not get that far in time. The record may have been added; the purge can be repeated.
pub(super) async fn purge(log: &Arc<Log>, shared: &Arc<Shared>, channel: ChannelName) -> Result<Cursor, BusError> {
    let deadline = Instant::now() + PUBLISH_TIMEOUT;
    let mut progress = shared.progress.subscribe();
    let late = |_| BusError::Unavailable("this process reads messages more slowly than they are published".to_owned());
    let probe = log.state().next_probe();
    shared.wanted.notify_one();
    // What others have published before the request is removed, too.
    let is_current = |_: &Cursor| log.state().has_ended(probe);
    // This process owns the sender, so it is not dropped before the answer.
    let _ = timeout_at(deadline, progress.wait_for(is_current)).await.map_err(late)?;
    let head = log.head();
    if let Some((id, newest)) = streams::purge_stream(Site { log, shared }, &channel).await? {
        erase::later(shared.clone(), channel, newest);
        let _ = timeout_at(deadline, progress.wait_for(|head| *head >= id)).await.map_err(late)?;
        return Ok(head);
    }
    // Also of messages that are not here any more: Redis may have them, or an earlier purge has not deleted all of them.
    let newest = log.latest(&channel, 1, head).pop().map(|newest| newest.id).or_else(|| log.dropped(&channel));
    let Some(newest) = newest else { return Ok(head) };
    // In a task: it goes on if the client disconnects.
    let recorded = timeout_at(deadline, tokio::spawn(record(shared.clone(), channel, newest))).await.map_err(late)?;
    let id = recorded.map_err(|ended| BusError::Unavailable(ended.to_string()))??;
    let _ = timeout_at(deadline, progress.wait_for(|head| *head >= id)).await.map_err(late)?;
    Ok(head)
}

/// Adds the record, and begins to delete the messages; returns the id of the record.
async fn record(shared: Arc<Shared>, channel: ChannelName, up_to: Cursor) -> Result<Cursor, BusError> {
    let Connection { mut connection, scripts } = shared.connection()?;
    let mut call = scripts::call(&scripts.purge, &[STREAM, PURGED, EDGE]);
    call.arg(channel.as_str()).arg(up_to.to_string());
    let id: RedisResult<String> = scripts::run(&mut connection, &call).await;
    let id = id
        .map_err(|error| BusError::Unavailable(error.to_string()))?
        .parse()
        .map_err(|_| BusError::Unavailable("invalid answer to the purge".to_owned()))?;
    erase::later(shared, channel, up_to);
    Ok(id)
}
