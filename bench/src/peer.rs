//! The servers that Trident is compared with, each started with the configuration that its own documentation recommends for speed.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::transport::Transport;

/// A server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Peer {
    /// `standalone` of this repository.
    #[default]
    Trident,
    /// The same with its log on a Redis, on this machine and without a file.
    Redis,
    /// The same with its log on disk.
    #[value(skip)]
    File,
    /// Its Durable Streams, in memory.
    Streams,
    /// The same in files, each append synced before it is answered.
    #[value(name = "streams-file")]
    StreamsFile,
    /// `write(2)` to each socket and nothing else, by a server of this program's: the limit.
    Bare,
    /// nginx with the module nchan: bench/peers/nchan.
    Nchan,
    /// Socket.IO's own server on Node: bench/peers/node.
    Node,
    /// A server on the crate socketioxide: bench/peers/socketioxide.
    Socketioxide,
    /// Bun's own WebSockets and event streams: bench/peers/bun/server.js.
    Bun,
    /// Socket.IO's server with its engine for Bun: bench/peers/bun/socketio.js.
    #[value(name = "bun-socketio")]
    BunSocketio,
    /// The server of the crate durable-streams, which keeps streams in files and does not sync them.
    #[value(name = "durable-streams")]
    DurableStreams,
    /// The same, with a log that is synced before an append is answered.
    #[value(name = "durable-streams-wal")]
    DurableStreamsWal,
    /// The server of the npm package @durable-streams/server on Node: bench/peers/node/streams.js.
    #[value(name = "durable-streams-node")]
    DurableStreamsNode,
}

impl Peer {
    /// As people write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trident => "Trident",
            Self::Redis => "Trident on Redis",
            Self::File => "Trident on disk",
            Self::Streams => "Trident streams",
            Self::StreamsFile => "Trident streams, synced",
            Self::Bare => "bare `write(2)`",
            Self::Nchan => "nchan",
            Self::Node => "Node socket.io",
            Self::Socketioxide => "socketioxide",
            Self::Bun => "Bun",
            Self::BunSocketio => "Bun socket.io",
            Self::DurableStreams => "durable-streams",
            Self::DurableStreamsWal => "durable-streams, synced",
            Self::DurableStreamsNode => "@durable-streams/server",
        }
    }

    /// The transports that it has.
    pub(crate) fn transports(self) -> &'static [Transport] {
        use Transport::{Bare, Longpoll, Polling, Sse, Stream, Websocket, Ws};
        match self {
            Self::Trident | Self::Redis | Self::File => &[Sse, Stream, Longpoll, Ws, Websocket, Polling],
            Self::Bare => &[Bare],
            Self::Nchan => &[Sse, Stream, Longpoll],
            Self::Node | Self::Socketioxide | Self::BunSocketio => &[Websocket, Polling],
            Self::Bun => &[Sse, Ws],
            Self::Streams
            | Self::StreamsFile
            | Self::DurableStreams
            | Self::DurableStreamsWal
            | Self::DurableStreamsNode => &[Sse],
        }
    }

    /// Whether it is a Trident.
    pub(crate) fn is_trident(self) -> bool {
        matches!(self, Self::Trident | Self::Redis | Self::File | Self::Streams | Self::StreamsFile)
    }

    /// The path before the names of its Durable Streams, if those are used.
    pub(crate) fn streams(self) -> Option<&'static str> {
        match self {
            Self::Streams | Self::StreamsFile => Some("/streams"),
            Self::DurableStreams | Self::DurableStreamsWal | Self::DurableStreamsNode => Some(""),
            _ => None,
        }
    }

    /// The target of requests that publish to `channel`.
    pub(crate) fn publishing(self, channel: &str) -> String {
        match self.streams() {
            Some(path) => format!("{path}/{channel}"),
            None => format!("/events?channel={channel}"),
        }
    }

    /// The target of an event stream of what is published to `channel` from now on.
    pub(crate) fn events(self, channel: &str) -> String {
        match self.streams() {
            Some(path) => format!("{path}/{channel}?offset=now&live=sse"),
            None => format!("/events?channel={channel}"),
        }
    }

    /// Whether `GET /readyz` says when it is ready; another server is ready when it accepts connections.
    pub(crate) fn has_readiness(self) -> bool {
        let is_another = matches!(self, Self::DurableStreams | Self::DurableStreamsWal | Self::DurableStreamsNode);
        !is_another && !matches!(self, Self::Bare | Self::Redis)
    }
}

/// Where the servers are.
#[derive(Args, Clone, Debug)]
pub(crate) struct Programs {
    /// Start this `standalone` for each run, without limits, and stop it after it.
    #[arg(long, global = true, value_name = "PROGRAM", default_value = "target/release/standalone")]
    pub(crate) server: PathBuf,
    /// Redis, for Trident on it.
    #[arg(long, global = true, value_name = "PROGRAM", default_value = "redis-server")]
    redis: PathBuf,
    /// nginx, for nchan.
    #[arg(long, global = true, value_name = "PROGRAM", default_value = "nginx")]
    nginx: PathBuf,
    /// Its module nchan, of the same version.
    #[arg(long, global = true, value_name = "FILE", default_value = "target/peers/nchan/ngx_nchan_module.so")]
    nchan_module: PathBuf,
    /// The server that Node runs.
    #[arg(long, global = true, value_name = "FILE", default_value = "bench/peers/node/server.js")]
    node_server: PathBuf,
    /// The server on socketioxide.
    #[arg(long, global = true, value_name = "PROGRAM", default_value = "target/peers/release/peer-socketioxide")]
    socketioxide: PathBuf,
    /// Bun.
    #[arg(long, global = true, value_name = "PROGRAM", default_value = "bench/peers/bun/node_modules/.bin/bun")]
    bun: PathBuf,
    /// The folder of the servers that Bun runs.
    #[arg(long, global = true, value_name = "DIRECTORY", default_value = "bench/peers/bun")]
    bun_servers: PathBuf,
    /// The server of durable-streams.
    #[arg(long, global = true, value_name = "PROGRAM", default_value = "target/peers/bin/durable-streams-server")]
    durable_streams: PathBuf,
}

impl Programs {
    /// The command that starts `peer`, or of Trident on Redis the Redis, at `address`; `directory` is for what it writes.
    ///
    /// # Errors
    /// When its configuration cannot be written.
    pub(crate) fn command(&self, peer: Peer, address: SocketAddr, directory: &Path) -> io::Result<Command> {
        let mut command = match peer {
            Peer::Trident | Peer::File | Peer::Streams | Peer::StreamsFile => Command::new(&self.server),
            Peer::Redis => {
                let mut command = Command::new(&self.redis);
                command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
                // A single instance without persistence: the figures measure the path through it.
                command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(directory);
                return Ok(command);
            }
            Peer::Bare => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("bare-server");
                command
            }
            Peer::Nchan => {
                let file = directory.join("nginx.conf");
                fs::write(&file, nginx_conf(address, &fs::canonicalize(&self.nchan_module)?))?;
                let mut command = Command::new(&self.nginx);
                command.arg("-p").arg(directory).arg("-c").arg(file);
                return Ok(command);
            }
            Peer::Node => {
                let mut command = Command::new("node");
                command.arg(&self.node_server).env("NODE_ENV", "production");
                command
            }
            Peer::Socketioxide => Command::new(&self.socketioxide),
            Peer::Bun | Peer::BunSocketio => {
                let mut command = Command::new(&self.bun);
                let server = if peer == Peer::Bun { "server.js" } else { "socketio.js" };
                command.arg(self.bun_servers.join(server)).env("NODE_ENV", "production");
                command
            }
            Peer::DurableStreams | Peer::DurableStreamsWal => {
                let durability = if peer == Peer::DurableStreams { "memory" } else { "wal" };
                let mut command = Command::new(&self.durable_streams);
                command.args(["--host", &address.ip().to_string(), "--port", &address.port().to_string()]);
                command.args(["--durability", durability, "--worker-threads", "1", "--data-dir"]).arg(directory);
                return Ok(command);
            }
            Peer::DurableStreamsNode => {
                let mut command = Command::new("node");
                command.arg(self.node_server.with_file_name("streams.js")).env("NODE_ENV", "production");
                command
            }
        };
        command.arg(address.to_string());
        Ok(command)
    }
}

fn nginx_conf(address: SocketAddr, module: &Path) -> String {
    include_str!("../peers/nchan/nginx.conf")
        .replace("@address@", &address.to_string())
        .replace("@module@", &module.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_configuration_of_nginx_is_left_to_fill_in() {
        let conf = nginx_conf(([127, 0, 0, 1], 8080).into(), Path::new("/a/b.so"));
        assert!(conf.contains("listen 127.0.0.1:8080 ") && conf.contains("load_module /a/b.so;"), "{conf}");
        let text: String = conf.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        assert!(!text.contains('@'), "{text}");
    }
}
