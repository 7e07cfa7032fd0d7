//! `trident-bench`: a load generator for push servers.
//!
//! The path of a delivery: [`publisher`] writes a [`stamp`] into a message, the server handles it, [`crowd`] reads for all readers at once,
//! the [`reader`] of the transport removes its framing ([`wire`]) and finds the stamp, and [`tally`] and [`flight`] check that it arrived
//! once, in order, and at every reader. A [`scenario`] combines these with a [`server`] and its [`usage`]; [`report`] and [`table`] print
//! the results.

mod bare;
mod chart;
mod cli;
mod crowd;
mod document;
mod flight;
mod peer;
mod plot;
mod progress;
mod publisher;
mod reader;
mod report;
mod scenario;
mod server;
mod stamp;
mod summary;
mod table;
mod tally;
mod transport;
mod usage;
mod wire;

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::TcpListener,
    process::ExitCode,
};

use clap::Parser as _;
use cli::{Cli, Scenario, Target};
use peer::Peer;
use reader::{Fault, Transport};
use report::{Record, Run};
use scenario::{disk, fanout, growth, idle, peers, publish, sequential, suite};
use server::{Cores, Options, Server};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(runs) => {
            eprint!("{}", table::text(&runs));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("trident-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<Vec<Record>, Fault> {
    let target = cli.target;
    let cores = Cores::of_this_machine();
    let measures =
        !matches!(cli.scenario, Scenario::BareServer { .. } | Scenario::Write { .. } | Scenario::Plot { .. });
    if measures && !target.no_pin && cores.is_none_or(|cores| !cores.are_apart()) {
        eprintln!(
            "trident-bench: there is no core for the server that the load does not use too; figures say little then"
        );
    }
    let one = |transport, scenario: &dyn Fn(&Server) -> Result<Run, Fault>| {
        let server = serve(&target, cores, peer_of(&target, transport), target.options())?;
        let record = Record { peer: server.peer, series: None, run: scenario(&server)? };
        report::line(&record)?;
        Ok(vec![record])
    };
    match cli.scenario {
        Scenario::BareServer { listen } => {
            bare::serve(&TcpListener::bind(listen)?)?;
            Ok(Vec::new())
        }
        Scenario::Suite(size) => suite::run(size.into(), |peer| serve(&target, cores, peer, target.options())),
        Scenario::Peers { of, channels, size } => {
            let channels: Vec<usize> = channels.into_iter().map(|channels| channels as usize).collect();
            peers::run(size.into(), &of, &channels, |peer| serve(&target, cores, peer, target.options()))
        }
        Scenario::Growth { readers, seconds } => {
            growth::run(readers as usize, seconds, |options| serve(&target, cores, Peer::Trident, options))
        }
        Scenario::Disk(asked) => disk::run(
            &asked.plan(),
            || serve(&target, cores, Peer::Trident, target.options()),
            |log, fsync| {
                let cores = cores.filter(|_| !target.no_pin);
                Ok(Server::start_on_disk(&target.programs, log, fsync, target.options(), cores)?)
            },
        ),
        Scenario::Write { into, section, note, runs } => {
            let runs = report::read(&std::fs::read_to_string(runs)?)?;
            document::write(&into, section, note.as_deref(), &runs)?;
            Ok(Vec::new())
        }
        Scenario::Plot { title, x, into, points } => {
            let lines: Box<dyn BufRead> = match points {
                Some(file) => Box::new(BufReader::new(File::open(file)?)),
                None => Box::new(io::stdin().lock()),
            };
            std::fs::write(into, plot::plot(&title, &x, lines)?)?;
            Ok(Vec::new())
        }
        Scenario::Idle { transport, connections } => {
            one(transport, &|server| Ok(Run::Idle(idle::run(server, transport, connections as usize)?)))
        }
        Scenario::Fanout(asked) => one(asked.transport, &|server| Ok(Run::Fanout(fanout::run(server, asked.plan())?))),
        Scenario::Sequential { transport, readers, burst, rounds, payload } => {
            let mut records = Vec::new();
            for (readers, burst) in readers.iter().flat_map(|readers| burst.iter().map(move |burst| (*readers, *burst)))
            {
                let plan = sequential::Plan {
                    transport,
                    readers: readers as usize,
                    burst: burst as usize,
                    rounds: rounds as usize,
                    payload: payload as usize,
                };
                records.extend(one(transport, &|server| Ok(Run::Sequential(sequential::run(server, plan)?)))?);
            }
            Ok(records)
        }
        Scenario::Publish { connections, channels, idle_readers, batch, rate, stretch } => {
            let plan = publish::Plan {
                connections: connections as usize,
                channels: channels as usize,
                idle_readers: idle_readers as usize,
                payload: stretch.payload(),
                batch: batch as usize,
                rate: rate.filter(|rate| *rate > 0.0),
                warm_up: stretch.warm_up(),
                duration: stretch.duration(),
            };
            one(Transport::Sse, &|server| Ok(Run::Publish(publish::run(server, plan)?)))
        }
    }
}

/// The server for `transport`: the lower bound has its own.
fn peer_of(target: &Target, transport: Transport) -> Peer {
    if transport == Transport::Bare { Peer::Bare } else { target.peer }
}

/// The server that a run is against.
fn serve(target: &Target, cores: Option<Cores>, peer: Peer, options: Options) -> Result<Server, Fault> {
    // Workers that are to have several cores are not pinned to one.
    let is_free = target.no_pin || options.workers > 1;
    let cores = cores.map(|cores| if is_free { cores.shared() } else { cores });
    match target.at {
        Some(address) if peer != Peer::Bare => {
            if !address.ip().is_loopback() && !target.allow_remote {
                return Err(Fault::Refused("load on another machine without --allow-remote"));
            }
            Ok(Server::given(peer, address, target.pid, target.token.clone()))
        }
        _ if peer.is_trident() => Ok(Server::start(&target.programs, peer, options, cores)?),
        _ => Ok(Server::start_peer(&target.programs, peer, cores)?),
    }
}
