//! Whether this process has read all of a stream that Redis has. One short command: no stream is read for it.

use tokio::time::Instant;

use super::{
    Site, TIMEOUT, Tried,
    known::{Condition, Version},
    load, making, read_up_to,
};
use crate::{
    live::bus::{
        BusError,
        redis::{Connection, scripts::STREAMS},
    },
    pure::ChannelName,
};

/// Waits until the log of this process has all of the stream of `channel` that Redis has now.
///
/// # Errors
/// As [`Bus::catch_up`](crate::live::bus::Bus::catch_up).
pub(in crate::live::bus::redis) async fn catch_up(site: Site<'_>, channel: &ChannelName) -> Result<(), BusError> {
    let deadline = Instant::now() + TIMEOUT;
    if let Some(version) = stored(site, channel).await? {
        return read_up_to(site.shared, version.newest(), deadline).await;
    }
    // If this process knows one, it has not read of the end yet.
    let known = site.shared.streams.known.lock().exactly(channel);
    if matches!(known, Condition::Absent(_)) {
        return Ok(());
    }
    match making::check(site, channel, &[known]).await? {
        Tried::Done(()) => Ok(()),
        Tried::Changed(last) => read_up_to(site.shared, last, deadline).await,
    }
}

/// Corrects what this process knows of the stream of `channel`, which was not what Redis compared it with. It can be that it has read everything, and does
/// not know what a fork changed that ended while it read the streams.
///
/// # Errors
/// When Redis does not answer.
pub(in crate::live::bus::redis) async fn correct(site: Site<'_>, channel: &ChannelName) -> Result<(), BusError> {
    if let Some(version) = stored(site, channel).await? {
        let read = *site.shared.progress.borrow();
        site.shared.streams.known.lock().correct(channel, &version, read);
    }
    Ok(())
}

/// What the index has of the stream of `channel`.
async fn stored(site: Site<'_>, channel: &ChannelName) -> Result<Option<Version>, BusError> {
    let Connection { mut connection, .. } = site.shared.connection()?;
    let mut get = redis::cmd("HGET");
    get.arg(STREAMS).arg(channel.as_str());
    let index: Option<String> =
        get.query_async(&mut connection).await.map_err(|error| BusError::Unavailable(error.to_string()))?;
    Ok(index.as_deref().and_then(load::version))
}
