//! What there is to know of a stream. On Redis, another process may have changed it a moment ago, and this one not read of that yet.

use edge::service::Service;
use shared::{
    live::bus::BusError,
    pure::{ChannelName, stream::StreamInfo},
};

/// What readers know of the stream of `channel`, with everything that was acknowledged before the request: for answers that say what there is. With
/// `renews`, it counts as used.
///
/// While Redis does not answer, what is known is good enough, but a stream that is not known may exist.
///
/// # Errors
/// As [`Bus::stream_info`](shared::live::bus::Bus::stream_info), and [`BusError::Unavailable`].
pub(crate) async fn current(service: &Service, channel: &ChannelName, renews: bool) -> Result<StreamInfo, BusError> {
    let caught_up = service.bus.catch_up(channel).await;
    match service.bus.stream_info(channel, renews) {
        Err(refused) => Err(caught_up.err().unwrap_or(refused)),
        known => known,
    }
}

/// The same, as far as this process knows it, for readers that wait: they are given what it does not know yet as soon as it does. Nothing is refused that
/// it only does not know.
///
/// # Errors
/// As [`current`].
pub(crate) async fn known(service: &Service, channel: &ChannelName, renews: bool) -> Result<StreamInfo, BusError> {
    match service.bus.stream_info(channel, renews) {
        Err(_) => current(service, channel, renews).await,
        known => known,
    }
}
