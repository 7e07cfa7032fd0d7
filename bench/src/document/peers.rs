//! Trident beside others: tables, each ratio with its spread, and bars.

use super::Part;
use crate::{
    chart,
    peer::Peer,
    reader::Transport,
    report::{Fanout, Idle, Record, Sequential},
    summary::{Figure, Kind, Runs, Sorted, figures, is_same_load, kinds, median, ratios, rounds, spread},
    table::{self, Table},
};

pub(super) fn part(records: &[Record]) -> Part {
    let sorted = Sorted::of(records);
    let mut part = Part::default();
    part.table("Trident over each of the others, round by round", &against(&sorted));
    part.table("Idle connections", &table::idle(&sorted.idle));
    part.plot(
        "peers-memory",
        "Resident memory for each idle connection",
        bars("Resident memory, each idle connection", "kB", &sorted.idle, |_| true, Idle::kilobytes),
    );
    part.table("Messages to many", &table::fanout(&sorted.fanout));
    let cpu = "Server CPU, each delivery";
    let one =
        bars(&format!("{cpu}, one message in flight"), "µs", &sorted.fanout, |run| in_flight(run, 1), Fanout::cpu);
    part.plot("peers-window-1", "Processor time for each delivery, one message in flight", one);
    let many = bars(&format!("{cpu}, 32 in flight"), "µs", &sorted.fanout, |run| in_flight(run, 32), Fanout::cpu);
    part.plot("peers-window-32", "Processor time for each delivery, 32 messages in flight", many);
    let rate = bars(
        "Latency at a fixed rate, 99th percentile",
        "ms",
        &sorted.fanout,
        |run| run.rate.is_some(),
        |run| Some(run.latency_us.p99 / 1000.0),
    );
    part.plot("peers-latency", "Latency at a fixed rate", rate);
    part.table("One publisher that waits for each answer", &table::sequential(&sorted.sequential));
    part.table("Messages to nobody", &table::publish(&sorted.publish));
    part
}

/// Durable Streams beside other servers of them.
pub(super) fn streams(records: &[Record]) -> Part {
    let sorted = Sorted::of(records);
    let mut part = Part::default();
    part.table("Idle readers of Durable Streams", &table::idle(&sorted.idle));
    part.table("Appends to many readers", &table::fanout(&sorted.fanout));
    part.table("One client that waits for each append", &table::sequential(&sorted.sequential));
    part.table("Appends that nobody reads", &table::publish(&sorted.publish));
    part
}

pub(super) fn in_flight(run: &Fanout, window: usize) -> bool {
    run.rate.is_none() && run.window == window
}

/// What a run is called beside others.
pub(super) trait Named {
    fn transport(&self) -> Transport;
}

impl Named for Idle {
    fn transport(&self) -> Transport {
        self.transport
    }
}

impl Named for Fanout {
    fn transport(&self) -> Transport {
        self.transport
    }
}

pub(super) fn bars<R: Kind + Named>(
    title: &str,
    unit: &str,
    runs: &Runs<'_, R>,
    is_meant: fn(&R) -> bool,
    figure: Figure<R>,
) -> String {
    let kinds = kinds(runs).into_iter().filter(|(_, kind)| is_meant(kind));
    let bar = |(peer, kind): (Peer, &R)| {
        let value = median(&figures(&rounds(runs, peer, kind), figure))?;
        let transport = kind.transport();
        let name =
            if peer == Peer::Bare { "write(2)".to_owned() } else { format!("{}: {}", peer.name(), transport.name()) };
        Some((name, value))
    };
    chart::bars(title, unit, &kinds.filter_map(bar).collect::<Vec<_>>())
}

/// Ratios for each transport that Trident and another have.
fn against(sorted: &Sorted<'_>) -> Table {
    let columns = vec![
        "transport",
        "over",
        "µs CPU, 1 in flight",
        "µs CPU, 32 in flight",
        "deliveries/s, 32 in flight",
        "µs CPU, 32 in turn",
        "all have 32 in turn",
        "p99, fixed rate",
        "idle kB",
        "connects/s",
        "µs CPU/connect",
    ];
    let mut rows = Vec::new();
    for peer in [Peer::Nchan, Peer::Bun, Peer::DurableStreams, Peer::Socketioxide, Peer::BunSocketio, Peer::Node] {
        for transport in peer.transports() {
            let fanout = |is_meant: fn(&Fanout) -> bool, figure: Figure<Fanout>| {
                let of = |peer| {
                    let runs = sorted.fanout.iter().filter(|(of, run)| *of == peer && run.transport == *transport);
                    runs.map(|(_, run)| *run).filter(|run| is_meant(run)).collect::<Vec<_>>()
                };
                let (ours, theirs) = (of(Peer::Trident), of(peer));
                let is_paired = ours.iter().zip(&theirs).all(|(a, b)| is_same_load(a, b));
                if is_paired { spread(&ratios(&ours, &theirs, figure), 2) } else { "–".to_owned() }
            };
            let idle = |figure: Figure<Idle>| {
                let of = |peer| {
                    let runs = sorted.idle.iter().filter(|(of, run)| *of == peer && run.transport == *transport);
                    runs.map(|(_, run)| *run).collect::<Vec<_>>()
                };
                spread(&ratios(&of(Peer::Trident), &of(peer), figure), 2)
            };
            let sequential = |figure: Figure<Sequential>| {
                let of = |peer| {
                    let runs = sorted.sequential.iter().filter(|(of, run)| *of == peer && run.transport == *transport);
                    runs.map(|(_, run)| *run).filter(|run| run.burst == 32).collect::<Vec<_>>()
                };
                spread(&ratios(&of(Peer::Trident), &of(peer), figure), 2)
            };
            let row = vec![
                transport.name().to_owned(),
                peer.name().to_owned(),
                fanout(|run| in_flight(run, 1), Fanout::cpu),
                fanout(|run| in_flight(run, 32), Fanout::cpu),
                fanout(|run| in_flight(run, 32), |run| Some(run.deliveries_per_second)),
                sequential(|run| run.server_cpu_us_per_delivery),
                sequential(|run| Some(run.all_us.p50)),
                fanout(|run| run.rate.is_some(), |run| Some(run.latency_us.p99)),
                idle(Idle::kilobytes),
                idle(|run| Some(run.connects_per_second)),
                idle(|run| run.server_cpu_us_per_connect),
            ];
            if row[2..].iter().any(|cell| cell != "–") {
                rows.push(row);
            }
        }
    }
    Table { title: "Trident over others", columns, rows }
}
