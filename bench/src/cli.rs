//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    peer::{Peer, Programs},
    publisher::Via,
    reader::Transport,
    scenario::{disk, fanout, suite},
    server::Options,
};

/// Measures a push server: the cost of idle connections, the cost and latency of deliveries, and the rate of publishing. Prints a line of
/// JSON for each run on stdout, and tables on stderr.
#[derive(Debug, Parser)]
#[command(name = "trident-bench", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

/// The measurement.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    #[command(flatten)]
    pub(crate) programs: Programs,
    /// The server to measure.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) peer: Peer,
    /// Number of threads of a started server.
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: u16,
    /// Number of messages that each channel of a started server keeps; default: the server's own.
    #[arg(long, global = true)]
    pub(crate) history: Option<usize>,
    /// Let the kernel choose the cores. Otherwise a started server gets the last one, and the load the first.
    #[arg(long, global = true)]
    pub(crate) no_pin: bool,
    /// Measure the server at this address instead of starting one.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(crate) at: Option<SocketAddr>,
    /// The process id of that server, to measure its memory and CPU time.
    #[arg(long, global = true, requires = "at")]
    pub(crate) pid: Option<u32>,
    /// A token with which messages can be published to it.
    #[arg(long, global = true, requires = "at", env = "TRIDENT_BENCH_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Allow a server on another machine. This is a load test; ask its owner.
    #[arg(long, global = true, requires = "at")]
    pub(crate) allow_remote: bool,
}

impl Target {
    /// The settings of a started server.
    pub(crate) fn options(&self) -> Options {
        Options { workers: self.workers, history: self.history }
    }
}

/// The scenario.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Keep connections open that receive nothing.
    Idle {
        #[arg(long, value_enum)]
        transport: Transport,
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        connections: u32,
    },
    /// Publish to many readers.
    Fanout(Fanout),
    /// Publish to many readers, one message after the other: each waits for the answer to the one before.
    Sequential {
        #[arg(long, value_enum, default_value = "sse")]
        transport: Transport,
        /// Numbers of readers, one server for each.
        #[arg(long, value_delimiter = ',', default_value = "100,1000,10000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        readers: Vec<u32>,
        /// Numbers of messages of a burst.
        #[arg(long, value_delimiter = ',', default_value = "1,8,32", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        burst: Vec<u32>,
        /// Number of bursts.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        rounds: u32,
        /// Bytes of each message, which is a text.
        #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(34..=65_536))]
        payload: u32,
    },
    /// Publish to nobody.
    Publish {
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        connections: u32,
        /// Number of channels, to which messages are published in turn.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        channels: u32,
        /// Additional readers of another channel, which receive nothing.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
        idle_readers: u32,
        /// Number of messages in each request.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        batch: u32,
        /// Requests per second, instead of as many as are answered.
        #[arg(long)]
        rate: Option<f64>,
        #[command(flatten)]
        stretch: Stretch,
    },
    /// All of these in turn, and the lower bound.
    Suite(Size),
    /// The same for other servers, including messages at a fixed rate.
    Peers {
        /// The servers.
        #[arg(
            long,
            value_enum,
            value_delimiter = ',',
            default_value = "bare,trident,nchan,bun,durable-streams,socketioxide,bun-socketio,node"
        )]
        of: Vec<Peer>,
        /// Numbers of channels to which messages are published that nobody reads.
        #[arg(long, value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        channels: Vec<u32>,
        #[command(flatten)]
        size: Size,
    },
    /// How costs grow with readers, channels, rate, payload, history and workers.
    Growth {
        /// Maximum number of readers. Each takes a descriptor of both processes.
        #[arg(long, default_value_t = 19_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        readers: u32,
        /// Duration of each step.
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// A log on disk: its start, readers that catch up from its beginning beside live ones, and publishing with each `TRIDENT_FSYNC`.
    Disk(Disk),
    /// Write results into a document, between `<!-- measured: NAME -->` and `<!-- end of NAME -->`.
    Write {
        /// The document.
        #[arg(long, value_name = "FILE", default_value = "docs/PERFORMANCE.md")]
        into: PathBuf,
        /// The name between the marks.
        #[arg(long)]
        section: Section,
        /// An introduction: the machine, and its other load.
        #[arg(long)]
        note: Option<String>,
        /// The runs, one line of JSON each.
        runs: PathBuf,
    },
    /// Draw curves as SVG, in panels with a common horizontal axis. Each line of the input is a point: `{"panel": "memory", "unit": "MiB",
    /// "series": "sse-svc 0", "x": 12, "y": 19.5}`. A `y` of null is a break in the curve; `"log": true` makes the panel's axis
    /// logarithmic.
    #[command(verbatim_doc_comment)]
    Plot {
        /// The title.
        #[arg(long, default_value = "")]
        title: String,
        /// The label of the horizontal axis.
        #[arg(long, default_value = "s")]
        x: String,
        /// The output file.
        #[arg(long, value_name = "FILE.svg")]
        into: PathBuf,
        /// The points; default: stdin.
        points: Option<PathBuf>,
    },
    /// Run the server of the lower bound.
    #[command(hide = true)]
    BareServer { listen: SocketAddr },
}

/// Tables of a document.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Section {
    Suite,
    Peers,
    Streams,
    Growth,
    Disk,
}

/// A log on disk.
#[derive(Args, Clone, Debug)]
pub(crate) struct Disk {
    /// Where its directory is created, and removed afterwards; default: where temporary files are.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) directory: Option<PathBuf>,
    /// Size of the log with which the server is started, in MiB; readers catch up in one of twice this size.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) megabytes: u32,
    /// Number of readers that catch up.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) readers: u32,
    /// How long they are measured, in seconds.
    #[arg(long, default_value_t = 30.0)]
    pub(crate) catch_up_seconds: f64,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    #[command(flatten)]
    pub(crate) stretch: Stretch,
}

impl Disk {
    pub(crate) fn plan(&self) -> disk::Plan {
        disk::Plan {
            directory: self.directory.clone(),
            megabytes: u64::from(self.megabytes),
            readers: self.readers as usize,
            catch_up: Duration::from_secs_f64(self.catch_up_seconds.clamp(0.1, 3600.0)),
            rounds: self.rounds as usize,
            payload: self.stretch.payload(),
            seconds: self.stretch.seconds(),
        }
    }
}

/// The size of a complete run.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Idle connections. Each takes a descriptor of both processes.
    #[arg(long, default_value_t = 19_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) readers: u32,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    #[command(flatten)]
    pub(crate) stretch: Stretch,
}

/// Broadcasts.
#[derive(Args, Clone, Debug)]
pub(crate) struct Fanout {
    #[arg(long, value_enum)]
    pub(crate) transport: Transport,
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) readers: u32,
    /// Number of channels, to which readers and messages are assigned in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) channels: u32,
    #[arg(long, value_enum, default_value = "http")]
    pub(crate) via: Via,
    /// Maximum number of messages in flight: sent, and not received by all of their readers yet.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) window: u32,
    /// Messages per second, instead of as many as the window allows.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    #[command(flatten)]
    pub(crate) stretch: Stretch,
}

impl From<Size> for suite::Size {
    fn from(size: Size) -> Self {
        Self {
            connections: size.connections as usize,
            readers: size.readers as usize,
            payload: size.stretch.payload(),
            rounds: size.rounds as usize,
            seconds: size.stretch.seconds(),
        }
    }
}

impl Fanout {
    pub(crate) fn plan(&self) -> fanout::Plan {
        fanout::Plan {
            transport: self.transport,
            readers: self.readers as usize,
            channels: self.channels as usize,
            via: self.via,
            payload: self.stretch.payload(),
            window: self.window as usize,
            rate: self.rate.filter(|rate| *rate > 0.0),
            warm_up: self.stretch.warm_up(),
            duration: self.stretch.duration(),
        }
    }
}

/// Duration, and size of messages.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Stretch {
    /// Bytes of each message, which is a text.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(34..=65_536))]
    payload: u32,
    /// Duration of the measurement, after a warm-up of a fifth of it.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

impl Stretch {
    pub(crate) fn payload(self) -> usize {
        self.payload as usize
    }

    pub(crate) fn seconds(self) -> f64 {
        self.seconds.clamp(0.1, 3600.0)
    }

    pub(crate) fn duration(self) -> Duration {
        Duration::from_secs_f64(self.seconds())
    }

    pub(crate) fn warm_up(self) -> Duration {
        self.duration().div_f64(5.0)
    }
}
