//! All of it in turn, as docs/PERFORMANCE.md has it: every server fresh for its run, kinds of fan-out interleaved round by
//! round with the bare limit, so that what else the machine does falls on all alike.

use std::time::Duration;

use super::{fanout, idle, publish};
use crate::{
    peer::Peer,
    publisher::Via,
    reader::{Fault, Transport},
    report::{self, Record, Run},
    server::Server,
};

/// How large.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) connections: usize,
    pub(crate) readers: usize,
    pub(crate) payload: usize,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
}

impl Size {
    pub(super) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    pub(super) fn warm_up(&self) -> Duration {
        self.duration().div_f64(5.0)
    }

    /// One channel, published to over HTTP.
    pub(super) fn fanout(
        &self,
        transport: Transport,
        readers: usize,
        window: usize,
        rate: Option<f64>,
    ) -> fanout::Plan {
        fanout::Plan {
            transport,
            readers,
            channels: 1,
            via: Via::Http,
            payload: self.payload,
            window,
            rate,
            warm_up: self.warm_up(),
            duration: self.duration(),
        }
    }

    /// Sixty-four connections, one channel, nobody who reads.
    pub(super) fn publish(&self, batch: usize) -> publish::Plan {
        publish::Plan {
            connections: 64,
            channels: 1,
            idle_readers: 0,
            payload: self.payload,
            batch,
            rate: None,
            warm_up: self.warm_up(),
            duration: self.duration(),
        }
    }
}

const IDLE: [Transport; 5] =
    [Transport::Sse, Transport::Stream, Transport::Longpoll, Transport::Ws, Transport::Websocket];
const FANOUT: [Transport; 7] = [
    Transport::Bare,
    Transport::Sse,
    Transport::Stream,
    Transport::Longpoll,
    Transport::Ws,
    Transport::Websocket,
    Transport::Polling,
];
const WINDOWS: [usize; 2] = [1, 32];
/// Readers, and messages a second, with which the time through Redis is measured.
const ROUND_TRIP: (usize, f64) = (10, 100.0);
/// Requests with this many messages each.
const BATCHES: [usize; 2] = [1, 1000];

/// Runs everything against servers that `start` starts.
///
/// # Errors
/// When a server cannot be started, or a run fails.
pub(crate) fn run(size: Size, start: impl Fn(Peer) -> Result<Server, Fault>) -> Result<Vec<Record>, Fault> {
    let mut runs = Vec::new();
    let mut keep = |server: &Server, run: Run| {
        let record = Record { peer: server.peer, series: None, run };
        report::line(&record)?;
        runs.push(record);
        Ok::<(), Fault>(())
    };
    for transport in IDLE {
        let server = start(Peer::Trident)?;
        keep(&server, Run::Idle(idle::run(&server, transport, size.connections)?))?;
    }
    for _ in 0..size.rounds {
        for window in WINDOWS {
            for transport in FANOUT {
                let server = start(if transport == Transport::Bare { Peer::Bare } else { Peer::Trident })?;
                keep(&server, Run::Fanout(fanout::run(&server, size.fanout(transport, size.readers, window, None))?))?;
            }
        }
        // The cost of Redis is visible where a delivery costs little else.
        for peer in [Peer::Trident, Peer::Redis] {
            let server = start(peer)?;
            let plan = size.fanout(Transport::Sse, ROUND_TRIP.0, WINDOWS[1], Some(ROUND_TRIP.1));
            keep(&server, Run::Fanout(fanout::run(&server, plan)?))?;
            for batch in BATCHES {
                let server = start(peer)?;
                keep(&server, Run::Publish(publish::run(&server, size.publish(batch))?))?;
            }
        }
    }
    Ok(runs)
}
