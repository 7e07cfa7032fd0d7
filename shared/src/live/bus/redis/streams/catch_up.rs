//! Whether this process has read all of a stream that Redis has. One short command: no stream is read for it.

use tokio::time::Instant;

use super::{Site, TIMEOUT, Tried, index, known::Condition, making, read_up_to};
use crate::{live::bus::BusError, pure::ChannelName};

/// Waits until the log of this process has all of the stream of `channel` that Redis has now.
///
/// # Errors
/// As [`Bus::catch_up`](crate::live::bus::Bus::catch_up).
pub(in crate::live::bus::redis) async fn catch_up(site: Site<'_>, channel: &ChannelName) -> Result<(), BusError> {
    let deadline = Instant::now() + TIMEOUT;
    if let Some(version) = index::stored(site, channel).await? {
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
