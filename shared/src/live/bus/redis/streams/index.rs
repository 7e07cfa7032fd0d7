//! What the index in Redis has of one stream.

use super::{Site, known::Version, load};
use crate::{
    live::bus::{
        BusError,
        redis::{Connection, scripts::STREAMS},
    },
    pure::ChannelName,
};

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
pub(super) async fn stored(site: Site<'_>, channel: &ChannelName) -> Result<Option<Version>, BusError> {
    let Connection { mut connection, .. } = site.shared.connection()?;
    let mut get = redis::cmd("HGET");
    get.arg(STREAMS).arg(channel.as_str());
    let index: Option<String> =
        get.query_async(&mut connection).await.map_err(|error| BusError::Unavailable(error.to_string()))?;
    Ok(index.as_deref().and_then(load::version))
}
