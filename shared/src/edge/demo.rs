//! The demo channels: something that ticks, so that there is something to see before anything is published.

use std::time::Duration;

use actix_web::rt;
use tokio::time::{Instant, MissedTickBehavior};

use super::service::Service;
use crate::{
    live::bus::Publication,
    pure::{ChannelName, Draft, Payload},
};

const PERIOD: Duration = Duration::from_secs(1);
/// Who ticks, ticks alone for so long; when it dies, another one takes over within this and [`WATCH`], long before three
/// seconds are over.
const LEASE: Duration = Duration::from_millis(1_900);
/// How often the others look whether they are to tick.
const WATCH: Duration = Duration::from_millis(250);

/// Publishes what `data` gives to `channel`, once a second, for as long as the process lives and the settings let it.
///
/// Of several processes on one bus one ticks.
pub fn tick(service: &Service, channel: &'static str, data: fn() -> Payload) {
    if !service.edge.settings.demo {
        return;
    }
    let Ok(name) = channel.parse::<ChannelName>() else { return };
    let service = service.clone();
    rt::spawn(async move {
        let mut clock = tokio::time::interval_at(Instant::now() + PERIOD, PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !service.edge.drain.is_draining() {
            if !service.bus.lease(channel, LEASE).await {
                tokio::time::sleep(WATCH).await;
                clock.reset();
                continue;
            }
            let publication = Publication::new(vec![Draft::new(name.clone(), data())]);
            if let Err(error) = service.bus.publish(publication).await {
                log::debug!("the demo channel {channel} skips a tick: {error}");
            }
            clock.tick().await;
        }
    });
}
