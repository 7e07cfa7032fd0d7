//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    peer::{Peer, Programs},
    publisher::Via,
    reader::Transport,
    scenario::{fanout, suite},
    server::{Bus, Options},
};

/// Measures a server that pushes: what idle connections cost, what deliveries cost and how long they take, how much can be
/// published. A line of JSON for each run on stdout, tables on stderr.
#[derive(Debug, Parser)]
#[command(name = "trident-bench", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

/// What is measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    #[command(flatten)]
    pub(crate) programs: Programs,
    /// Whose server is measured.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) peer: Peer,
    /// Threads of a server that is started.
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: u16,
    /// Messages that each channel of a server that is started keeps, if not what it keeps of itself.
    #[arg(long, global = true)]
    pub(crate) history: Option<usize>,
    /// Let the kernel choose the cores. Otherwise a server that is started has the last one, the load the first.
    #[arg(long, global = true)]
    pub(crate) no_pin: bool,
    /// Measure the server that listens here instead.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(crate) at: Option<SocketAddr>,
    /// The process id of that server, whose memory and time are then told.
    #[arg(long, global = true, requires = "at")]
    pub(crate) pid: Option<u32>,
    /// A token with which messages may be published to it.
    #[arg(long, global = true, requires = "at", env = "TRIDENT_BENCH_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Let that server be on another machine. It will not thank you.
    #[arg(long, global = true, requires = "at")]
    pub(crate) allow_remote: bool,
}

impl Target {
    /// How a server that is started is set.
    pub(crate) fn options(&self) -> Options {
        Options { bus: Bus::default(), workers: self.workers, history: self.history }
    }
}

/// What is done to it.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Hold connections open that get nothing.
    Idle {
        #[arg(long, value_enum)]
        transport: Transport,
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        connections: u32,
    },
    /// Publish to many readers.
    Fanout(Fanout),
    /// Publish to nobody.
    Publish {
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        connections: u32,
        /// Which messages are dealt out to in turn.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        channels: u32,
        /// Readers of another channel meanwhile, who get nothing.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
        idle_readers: u32,
        /// Messages in each request.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        batch: u32,
        #[command(flatten)]
        stretch: Stretch,
    },
    /// All of these in turn, with the bare limit beside them.
    Suite(Size),
    /// The same beside other servers, with messages at a fixed rate too.
    Peers {
        /// Which.
        #[arg(long, value_enum, value_delimiter = ',', default_value = "bare,trident,nchan,socketioxide,node")]
        of: Vec<Peer>,
        #[command(flatten)]
        size: Size,
    },
    /// How costs grow with readers, channels, rate, payload, history and workers.
    Growth {
        /// Readers at most. Each takes a descriptor of both processes.
        #[arg(long, default_value_t = 19_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        readers: u32,
        /// How long each step is measured.
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// Write what was measured into a document, between `<!-- measured: NAME -->` and `<!-- end of NAME -->`.
    Write {
        /// The document.
        #[arg(long, value_name = "FILE", default_value = "docs/PERFORMANCE.md")]
        into: PathBuf,
        /// Where: the name between the marks.
        #[arg(long)]
        section: Section,
        /// Said first: on what machine this was, and what else it did.
        #[arg(long)]
        note: Option<String>,
        /// The runs, a line of JSON each.
        runs: PathBuf,
    },
    /// Draw curves as SVG, panel under panel over one axis. Each line of the input is a point:
    /// `{"panel": "memory", "unit": "MiB", "series": "sse-svc 0", "x": 12, "y": 19.5}`. A `y` of null is a break in the curve;
    /// `"log": true` makes the panel's axis logarithmic.
    #[command(verbatim_doc_comment)]
    Plot {
        /// What is written above it.
        #[arg(long, default_value = "")]
        title: String,
        /// What is counted along it.
        #[arg(long, default_value = "s")]
        x: String,
        /// The plot.
        #[arg(long, value_name = "FILE.svg")]
        into: PathBuf,
        /// The points; of stdin, if not said.
        points: Option<PathBuf>,
    },
    /// The server of the bare limit.
    #[command(hide = true)]
    BareServer { listen: SocketAddr },
}

/// Tables of a document.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Section {
    Suite,
    Peers,
    Growth,
}

/// How large a run of everything is.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Idle ones. Each takes a descriptor of both processes.
    #[arg(long, default_value_t = 19_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) readers: u32,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    #[command(flatten)]
    pub(crate) stretch: Stretch,
}

/// Messages to many.
#[derive(Args, Clone, Debug)]
pub(crate) struct Fanout {
    #[arg(long, value_enum)]
    pub(crate) transport: Transport,
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) readers: u32,
    /// Over which readers and messages are dealt out in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) channels: u32,
    #[arg(long, value_enum, default_value = "http")]
    pub(crate) via: Via,
    /// Messages in flight at most: sent, and not yet with all who are to get them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) window: u32,
    /// Messages a second, instead of as many as the window lets through.
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

/// How long, and with messages of what size.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Stretch {
    /// Bytes of each message, which is a text.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(34..=65_536))]
    payload: u32,
    /// How long is measured, after a fifth of it to warm up.
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
