//! Once a second: does the stream still exist, what is its newest id, what can be trimmed, what is Redis' time, and which commands does
//! Redis reject?

use std::{convert::Infallible, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{
    Connection, Shared, clock,
    error::LinkError,
    scripts::{self, EDGE, SCRATCH, STREAM},
};
use crate::{live::log::Log, pure::Cursor};

const PERIOD: Duration = Duration::from_secs(1);
/// Clients with unknown cursors can request a probe, but not more often than this.
const MIN_PROBE_INTERVAL: Duration = Duration::from_millis(20);

/// How often all commands are checked.
const TRY_EVERY: Duration = Duration::from_secs(3);

/// Probes until the connection breaks or the stream is no longer the one that was read.
pub(super) async fn run(
    connection: &Connection,
    age_ms: Option<u64>,
    log: &Log,
    shared: &Shared,
) -> Result<Infallible, LinkError> {
    let Connection { mut connection, scripts } = connection.clone();
    let age = age_ms.map(|age| age.to_string()).unwrap_or_default();
    let mut progress = shared.progress.subscribe();
    let mut clock = interval(PERIOD);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tried: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = shared.wanted.notified() => {}
        }
        let probe = log.begin_probe();
        let before = log.head();
        let tries = tried.is_none_or(|tried| tried.elapsed() >= TRY_EVERY);
        let mut call = scripts::call(&scripts.pulse, &[STREAM, EDGE, SCRATCH[0], SCRATCH[1], SCRATCH[2]]);
        call.arg(shared.needed.lock().to_string()).arg(&age).arg(u8::from(tries));
        let asked = Instant::now();
        let (last, seconds, micros, refused): (String, String, String, Vec<String>) =
            scripts::run(&mut connection, &call).await?;
        let last: Cursor = last.parse().map_err(|_| LinkError::Answer("the pulse"))?;
        if let (Ok(seconds), Ok(micros)) = (seconds.parse(), micros.parse()) {
            shared.clock.lock().read(clock::milliseconds((seconds, micros)), asked);
        }
        if tries {
            tried = Some(asked);
            let mut health = shared.health.lock();
            (health.refused, health.is_tried) = (refused, true);
        }
        // Emptied and restarted without notice: new entries may be before the current position.
        if last < before {
            return Err(LinkError::Shortened);
        }
        if log.is_filled() {
            let has_caught_up = timeout(PERIOD, progress.wait_for(|head| *head >= last)).await.is_ok();
            shared.health.lock().has_caught_up(has_caught_up, last, log.head());
            if has_caught_up {
                log.end_probe(probe);
                shared.progress.send_replace(log.head());
            }
        }
        sleep(MIN_PROBE_INTERVAL).await;
    }
}
