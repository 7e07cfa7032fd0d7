//! The demo channels, so that there is something to read before anything is published.

use std::time::Duration;

use actix_web::rt;
use shared::{
    live::{bus::Publication, clock::wall_clock},
    pure::{ChannelName, Draft, Payload},
};
use tokio::time::sleep;

use super::service::Service;

const PERIOD_MS: u64 = 1_000;
/// The delay after the full second: a timer that fires slightly early still fires within the second.
const AIM_MS: u64 = 3;
/// Duration of the lease for publishing a demo channel. When its holder is killed, another process acquires it within this and [`WATCH`],
/// and publishes from the second tick after the last one.
const LEASE: Duration = Duration::from_millis(1_500);
/// How often the other processes try to acquire the lease.
const WATCH: Duration = Duration::from_millis(250);

/// The time from `now_ms` until the next tick: shortly after the full second by the clock, and only once per second.
///
/// Computed for each tick, so that delays do not add up.
fn until_next(now_ms: u64) -> Duration {
    let left = PERIOD_MS - (now_ms + PERIOD_MS - AIM_MS) % PERIOD_MS;
    // Just before the full second: the tick for it was slightly early.
    Duration::from_millis(if left <= AIM_MS { left + PERIOD_MS } else { left })
}

/// Publishes the result of `data` to `channel` at each full second, for as long as the process runs, if the demo is enabled.
///
/// Of several processes on one bus, one publishes.
pub fn tick(service: &Service, channel: &'static str, data: fn() -> Payload) {
    if !service.edge.settings.demo {
        return;
    }
    let Ok(name) = channel.parse::<ChannelName>() else { return };
    let service = service.clone();
    rt::spawn(async move {
        while !service.edge.drain.is_draining() {
            if service.bus.lease(channel, LEASE).await.is_none() {
                sleep(WATCH).await;
                continue;
            }
            sleep(until_next(wall_clock())).await;
            let publication = Publication::new(vec![Draft::new(name.clone(), data())]);
            if let Err(error) = service.bus.publish(publication).await {
                log::debug!("the demo channel {channel} skipped a tick: {error}");
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_aim_at_the_full_second() {
        for (now, wait) in [(0, 1_003), (2, 1_001), (3, 1_000), (4, 999), (500, 503), (999, 4), (1_000, 1_003)] {
            assert_eq!(until_next(1_763_800_000_000 + now).as_millis(), wait, "{now}");
        }
    }

    /// However late each tick is, there is one for each second, within that second.
    #[test]
    fn lateness_does_not_add_up() {
        let mut now = 1_763_800_000_123;
        for second in 1..1_000 {
            now += u64::try_from(until_next(now).as_millis()).unwrap() + second % 40;
            assert_eq!(now / 1_000, 1_763_800_000 + second);
        }
    }
}
