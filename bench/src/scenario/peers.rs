//! Trident beside others, in one run: what each costs idle, with messages to many, at once and one after the other, and with messages to
//! nobody. Rounds are interleaved, every server fresh for its run, so that what else the machine does falls on all alike.

use super::{fanout, idle, publish, sequential, suite::Size};
use crate::{
    peer::Peer,
    reader::{Fault, Transport},
    report::{self, Record, Run},
    server::Server,
};

/// Messages in flight; and at a fixed rate, in messages a second, with as many in flight as it takes.
const PACES: [(usize, Option<f64>); 3] = [(1, None), (32, None), (1000, Some(10.0))];

/// Messages of the bursts of a publisher that waits for each answer.
const BURSTS: [usize; 3] = [1, 8, 32];
/// How many bursts of them.
const BURSTS_EACH: usize = 10;

/// How often a run is begun anew that failed, for some of the servers now and then cut a client off.
const ATTEMPTS: usize = 5;

/// The result of `scenario`, at the first attempt that succeeds. Failures are printed, so that nobody overlooks them.
fn attempt<R>(peer: Peer, scenario: impl Fn() -> Result<R, Fault>) -> Result<R, Fault> {
    let mut attempts = 1;
    loop {
        match scenario() {
            Err(fault) if !peer.is_trident() && attempts < ATTEMPTS => {
                eprintln!("{}: attempt {attempts} failed: {fault}", peer.name());
                attempts += 1;
            }
            done => return done,
        }
    }
}

/// Whether a connection gets messages without asking for each.
fn pushes(transport: Transport) -> bool {
    !matches!(transport, Transport::Longpoll | Transport::Polling)
}

/// Runs everything against `peers`, which `start` starts; what nobody reads is published to each of these numbers of `channels`.
///
/// # Errors
/// When a server cannot be started, or a run fails.
pub(crate) fn run(
    size: Size,
    peers: &[Peer],
    channels: &[usize],
    start: impl Fn(Peer) -> Result<Server, Fault>,
) -> Result<Vec<Record>, Fault> {
    let mut runs = Vec::new();
    let mut keep = |peer: Peer, run: Run| {
        let record = Record { peer, series: None, run };
        report::line(&record)?;
        runs.push(record);
        Ok::<(), Fault>(())
    };
    let contenders: Vec<_> =
        peers.iter().flat_map(|peer| peer.transports().iter().map(|transport| (*peer, *transport))).collect();
    for (peer, transport) in contenders.iter().filter(|(peer, _)| *peer != Peer::Bare) {
        keep(*peer, Run::Idle(attempt(*peer, || idle::run(&start(*peer)?, *transport, size.connections))?))?;
    }
    for _ in 0..size.rounds {
        for (window, rate) in PACES {
            for (peer, transport) in &contenders {
                let plan = size.fanout(*transport, size.readers, window, rate);
                keep(*peer, Run::Fanout(attempt(*peer, || fanout::run(&start(*peer)?, plan))?))?;
            }
        }
        for burst in BURSTS {
            for (peer, transport) in contenders.iter().filter(|(_, transport)| pushes(*transport)) {
                let (transport, readers, rounds, payload) = (*transport, size.readers, BURSTS_EACH, size.payload);
                let plan = sequential::Plan { transport, readers, burst, rounds, payload };
                keep(*peer, Run::Sequential(attempt(*peer, || sequential::run(&start(*peer)?, plan))?))?;
            }
        }
        for channels in channels.iter().copied() {
            for peer in peers.iter().filter(|peer| **peer != Peer::Bare) {
                let plan = publish::Plan { channels, ..size.publish(1) };
                keep(*peer, Run::Publish(attempt(*peer, || publish::run(&start(*peer)?, plan))?))?;
            }
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn peers_may_be_retried_and_trident_may_not() {
        for (peer, failures, is_ok) in [(Peer::Node, 4, true), (Peer::Node, 5, false), (Peer::Trident, 1, false)] {
            let left = Cell::new(failures);
            let run = || {
                left.set(left.get() - 1);
                if left.get() < 0 { Ok(()) } else { Err(Fault::Closed) }
            };
            assert_eq!(attempt(peer, run).is_ok(), is_ok, "{peer:?} {failures}");
        }
    }
}
