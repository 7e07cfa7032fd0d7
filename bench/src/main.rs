//! `trident-bench`: a load generator for servers that push.
//!
//! The path of a delivery: [`publisher`] writes a [`stamp`] into a message, the server does what it does, [`crowd`] reads
//! for all readers at once, the [`reader`] of the transport takes its framing off ([`wire`]) and finds the stamp, and
//! [`tally`] and [`flight`] say whether it came once, in order, and to everybody. A [`scenario`] puts these together around
//! a [`server`] and what [`usage`] says of it; [`report`] and [`table`] tell.

mod bare;
mod cli;
mod crowd;
mod flight;
mod progress;
mod publisher;
mod reader;
mod report;
mod scenario;
mod server;
mod stamp;
mod table;
mod tally;
mod usage;
mod wire;

use std::{net::TcpListener, process::ExitCode};

use clap::Parser as _;
use cli::{Cli, Scenario, Target};
use reader::{Fault, Transport};
use report::Run;
use scenario::{fanout, idle, publish, suite};
use server::{Pinning, Server};

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

fn run(cli: Cli) -> Result<Vec<Run>, Fault> {
    let target = cli.target;
    let run = match cli.scenario {
        Scenario::BareServer { listen } => {
            bare::serve(&TcpListener::bind(listen)?)?;
            return Ok(Vec::new());
        }
        Scenario::Suite { connections, readers, rounds, stretch } => {
            let size = suite::Size {
                connections: connections as usize,
                readers: readers as usize,
                payload: stretch.payload(),
                rounds: rounds as usize,
                seconds: stretch.seconds(),
            };
            return suite::run(size, |transport| serve(&target, transport));
        }
        Scenario::Idle { transport, connections } => {
            Run::Idle(idle::run(&serve(&target, transport)?, transport, connections as usize)?)
        }
        Scenario::Fanout(asked) => {
            let plan = fanout::Plan {
                transport: asked.transport,
                readers: asked.readers as usize,
                channels: asked.channels as usize,
                via: asked.via,
                payload: asked.stretch.payload(),
                window: asked.window as usize,
                rate: asked.rate.filter(|rate| *rate > 0.0),
                warm_up: asked.stretch.warm_up(),
                duration: asked.stretch.duration(),
            };
            Run::Fanout(fanout::run(&serve(&target, asked.transport)?, plan)?)
        }
        Scenario::Publish { connections, batch, stretch } => {
            let plan = publish::Plan {
                connections: connections as usize,
                payload: stretch.payload(),
                batch: batch as usize,
                warm_up: stretch.warm_up(),
                duration: stretch.duration(),
            };
            Run::Publish(publish::run(&serve(&target, Transport::Sse)?, plan)?)
        }
    };
    report::line(&run)?;
    Ok(vec![run])
}

/// The server that a run with `transport` is against.
fn serve(target: &Target, transport: Transport) -> Result<Server, Fault> {
    let pinning = if target.no_pin { None } else { Pinning::of_this_machine() };
    match target.at {
        _ if transport == Transport::Bare => Ok(Server::bare(pinning)?),
        Some(address) if address.ip().is_loopback() || target.allow_remote => {
            Ok(Server::given(address, target.pid, target.token.clone()))
        }
        Some(_) => Err(Fault::Refused("load on another machine without --allow-remote")),
        None => Ok(Server::start(&target.server, usize::from(target.workers), pinning)?),
    }
}
