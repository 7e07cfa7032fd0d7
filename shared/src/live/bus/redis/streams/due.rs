//! Operations that nobody asks for: the end of a stream's lifetime, and its use, which is stored at most once in a tenth of its lifetime.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    Site, TIMEOUT, Tried,
    making::{self, Making},
    read_up_to,
};
use crate::{
    live::{
        bus::{
            BusError,
            redis::{Phase, Shared},
        },
        log::{Change, Log, Staged},
    },
    pure::{ChannelName, stream::StreamRecord},
};

/// How often streams are looked at.
const PERIOD: Duration = Duration::from_millis(100);
/// Operations at a time.
const AT_ONCE: usize = 16;

type Settling<'a> = Pin<Box<dyn Future<Output = (ChannelName, Result<(), BusError>)> + Send + 'a>>;

/// Ends streams, and stores their use, until the connection breaks. Every process does so; that of the first is made.
pub(in crate::live::bus::redis) async fn run(log: &Arc<Log>, shared: &Arc<Shared>) -> Infallible {
    let mut clock = interval(PERIOD);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        if !matches!(*shared.phase.lock(), Phase::Ready(..)) {
            continue;
        }
        let site = Site { log, shared };
        let due = log.due_streams(shared.now());
        let settled = due.into_iter().map(|name| -> Settling<'_> {
            Box::pin(async move {
                let result = settle(site, &name).await;
                (name, result)
            })
        });
        let mut settled = stream::iter(settled).buffer_unordered(AT_ONCE);
        while let Some((name, result)) = settled.next().await {
            // It is due again in a second.
            if let Err(error) = result {
                shared.warn("the end, or the use, of a stream is not stored yet", format_args!("{name}: {error}"));
            }
        }
    }
}

/// Makes what is due of a stream, and waits until it is in the log.
///
/// # Errors
/// As for any operation.
pub(in crate::live::bus::redis) async fn settle(site: Site<'_>, channel: &ChannelName) -> Result<(), BusError> {
    let Site { log, shared } = site;
    let now = shared.now();
    let (record, conditions) = {
        let known = shared.streams.known.lock();
        let Some(Change::Stream(record, _)) = log.decide_due(channel, &Staged::at(log.head()), now) else {
            return Ok(());
        };
        // Any later use keeps a stream that would end, and makes it unnecessary to store an earlier one.
        let condition = known.exactly(channel);
        let conditions = match *record {
            StreamRecord::End { .. } => making::of_end(&known, condition),
            _ => vec![condition],
        };
        (record, conditions)
    };
    let making = match &*record {
        StreamRecord::Renew { time_ms, .. } => Making::Renew { channel, record: &record, time_ms: *time_ms },
        _ => Making::End { channel, record: &record, now },
    };
    let last = match making::make(site, &conditions, making).await? {
        Tried::Done(ids) => ids.last().copied().unwrap_or_default(),
        Tried::Changed(last) => last,
    };
    read_up_to(shared, last, Instant::now() + TIMEOUT).await?;
    log.watch_stream(channel, shared.now());
    Ok(())
}
