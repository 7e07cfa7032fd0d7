//! Once a second: is the stream still there, how far is it, and what of it is not needed any more?

use std::{convert::Infallible, time::Duration};

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{
    Line, Shared,
    link::LinkError,
    scripts::{self, EDGE, STREAM},
};
use crate::{live::log::Log, pure::Cursor};

const PERIOD: Duration = Duration::from_secs(1);
/// Clients with cursors that are none can have it asked at once, but not more often than this.
const SHORTEST: Duration = Duration::from_millis(20);

/// Asks until the connection breaks or the stream is no longer the one that was read.
pub(super) async fn run(line: &Line, age_ms: Option<u64>, log: &Log, shared: &Shared) -> Result<Infallible, LinkError> {
    let Line { mut connection, scripts } = line.clone();
    let age = age_ms.map(|age| age.to_string()).unwrap_or_default();
    let mut progress = shared.progress.subscribe();
    let mut clock = interval(PERIOD);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = shared.wanted.notified() => {}
        }
        let probe = log.begin_probe();
        let before = log.head();
        let mut call = scripts::call(&scripts.pulse, &[STREAM, EDGE]);
        call.arg(shared.needed.lock().to_string()).arg(&age);
        let last: String = scripts::run(&mut connection, &call).await?;
        let last: Cursor = last.parse().map_err(|_| LinkError::Answer("the pulse"))?;
        // Emptied and begun anew behind our back: what is added now may be before our place.
        if last < before {
            return Err(LinkError::Shortened);
        }
        if log.is_filled() && timeout(PERIOD, progress.wait_for(|head| *head >= last)).await.is_ok() {
            log.end_probe(probe);
            shared.progress.send_replace(log.head());
        }
        sleep(SHORTEST).await;
    }
}
