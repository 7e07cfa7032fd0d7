//! The settings of a process: flag, else environment, else default; every fault told at once.
//!
//! [`table`] names each setting with its default; [`sources`] finds the text that counts for it; [`values`] reads that
//! text; and [`Settings`] is what comes out when nothing was wrong. A binary calls [`Settings::parse`], which prints the
//! faults and exits with 2; one with subcommands of its own uses [`Settings::augment`] and [`Settings::from_matches`].

mod bus;
mod fault;
mod in_force;
mod memory;
mod secret;
mod sources;
mod table;
mod values;

#[cfg(test)]
mod tests;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

pub use bus::{BusAddress, RedisAddress};
pub use fault::Fault;
pub use in_force::{InForce, Origin};
pub use memory::Memory;
pub use secret::Secret;
use sources::Sources;
pub use values::duration;

use shared::pure::{Retention, access::Patterns};

use super::{address::Network, auth::PublicKey, cors::Origins};

/// What differs from one binary to the next.
#[derive(Clone, Copy, Debug)]
pub struct ServiceDefaults {
    /// The name of the binary, as in `sse-svc`.
    pub name: &'static str,
    /// One line on what it does, for `--help`.
    pub about: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Where it listens unless told otherwise, as in `0.0.0.0:8083`.
    pub listen: &'static str,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings of a process, each one right by itself. `None` of a limit means no limit.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The memory that defaults were reckoned from; `None` where the system does not tell.
    pub memory: Option<Memory>,
    /// Where the order of messages comes from.
    pub bus: BusAddress,
    /// The authorities that the Redis' certificate may be signed by, as PEM; none: those of the system.
    pub redis_ca: Option<Vec<u8>>,
    /// What the names of the Socket.IO cluster's channels in Redis begin with.
    pub socket_io_key: String,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Threads that serve requests.
    pub workers: usize,
    /// How much each channel holds.
    pub retention: Retention,
    /// Bytes of memory that all channels hold together.
    pub history_total: Option<usize>,
    /// Bytes of memory for the encoded forms of messages, which readers share.
    pub encoded_total: Option<usize>,
    /// Bytes of memory for idempotency keys.
    pub idempotency_total: Option<usize>,
    /// Channels that hold nothing and are kept all the same, mostly because they are read.
    pub max_channels: Option<usize>,
    /// Of these, those that one token or address may open.
    pub max_channels_per_client: Option<usize>,
    /// Bytes of a request's body.
    pub max_body: Option<usize>,
    /// Bytes of memory for the recovery sessions of disconnected Socket.IO clients.
    pub sessions_total: Option<usize>,
    /// Bytes of memory for messages that wait for Socket.IO clients.
    pub outbox_total: Option<usize>,
    /// Bytes of memory for requests that are incomplete or not answered yet; for incomplete Socket.IO messages; and for
    /// Socket.IO events whose handlers have not ended: so much for each of the three.
    pub receive_total: Option<usize>,
    /// Connections held open for a client at a time: streams, long polls, Socket.IO sessions.
    pub max_connections: Option<usize>,
    /// Whether the operator asked for so many, and it is not merely the default.
    pub max_connections_asked_for: bool,
    /// The same from one address (IPv6: from one /64).
    pub max_connections_per_address: Option<usize>,
    /// Streams, polls and sockets a second from one address (IPv6: from one /64).
    pub connect_rate: Option<u32>,
    /// Messages a second from one token, or from one address without a token.
    pub publish_rate: Option<u32>,
    /// Socket.IO packets a second from one socket.
    pub socket_rate: Option<u32>,
    /// Silence on a stream after which a sign of life is written.
    pub keepalive: Duration,
    /// Time between the pings that a Socket.IO session is sent.
    pub ping_interval: Duration,
    /// How long a Socket.IO session may take to answer a ping.
    pub ping_timeout: Duration,
    /// How long a stream lives before its client has to come again; ± 20 % in use.
    pub max_age: Option<Duration>,
    /// How long the head of a request may take to arrive.
    pub header_timeout: Duration,
    /// How long the body of a request may take to arrive.
    pub body_timeout: Duration,
    /// The keys of HS256 tokens: the first signs, all verify.
    pub secrets: Vec<Secret>,
    /// The keys of RS256, ES256 and EdDSA tokens.
    pub public_keys: Vec<PublicKey>,
    /// What `aud` of a token must hold.
    pub audience: Option<String>,
    /// Channels that anybody may subscribe to.
    pub public: Patterns,
    /// Pages of which origins may read our answers.
    pub origins: Origins,
    /// Whether the demo channels tick.
    pub demo: bool,
    /// How log lines are written.
    pub log: LogFormat,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// A directory with the files of a Socket.IO client that are served instead of the built-in ones.
    pub client_dir: Option<PathBuf>,
    /// What is odd but no fault, to be logged once logging stands.
    pub warnings: Vec<String>,
}

impl Settings {
    /// The settings of this process, from its arguments and environment.
    ///
    /// Prints every fault and exits with 2 when there is one; prints and exits for `--help` and `--version` too.
    #[must_use]
    pub fn parse(service: &ServiceDefaults) -> Self {
        let command = clap::Command::new(service.name).about(service.about).version(service.version);
        let matches = Self::augment(command, service).get_matches();
        Self::from_matches(&matches, std::env::vars_os(), service).unwrap_or_else(|faults| fault::exit(&faults))
    }

    /// Adds a flag for each setting to `command`. A subcommand that takes them too is augmented by itself, and what is given
    /// after its name counts more.
    #[must_use]
    pub fn augment(command: clap::Command, service: &ServiceDefaults) -> clap::Command {
        table::augment(command, service)
    }

    /// The settings from what `command` (after [`Settings::augment`]) matched and from the environment.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn from_matches(
        matches: &clap::ArgMatches,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        service: &ServiceDefaults,
    ) -> Result<Self, Vec<Fault>> {
        Self::read(Sources::new(matches, env, service))
    }

    /// As [`Settings::from_matches`], and prints every fault and exits with 2 when there is one.
    #[must_use]
    pub fn from_matches_or_exit(matches: &clap::ArgMatches, service: &ServiceDefaults) -> Self {
        Self::from_matches(matches, std::env::vars_os(), service).unwrap_or_else(|faults| fault::exit(&faults))
    }

    /// The limits of connections and memory, and what those that nobody set were reckoned from, in one line for the log.
    #[must_use]
    pub fn limits(&self) -> String {
        let number = |limit: Option<usize>| limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
        let size = |limit: Option<usize>| {
            limit.map_or_else(
                || "no limit".to_owned(),
                |limit| match limit >> 20 {
                    0 => format!("{} KiB", limit >> 10),
                    mib => format!("{mib} MiB"),
                },
            )
        };
        let memory = self.memory.map_or_else(|| "memory unknown".to_owned(), |memory| memory.to_string());
        format!(
            "limits: {} connections, {} of history, {} of encoded forms, {} of idempotency keys, {} of sessions, {} of \
             messages that wait for Socket.IO clients, {} of unread answers to polls, {} of requests in progress; {memory}",
            number(self.max_connections),
            size(self.history_total),
            size(self.encoded_total),
            size(self.idempotency_total),
            size(self.sessions_total),
            size(self.outbox_total),
            size(self.unread_total()),
            size(self.receive_total),
        )
    }

    /// Bytes of memory for long answers to polls that their clients have not read.
    #[must_use]
    pub fn unread_total(&self) -> Option<usize> {
        self.outbox_total.map(|total| total / 4)
    }

    /// What is in force: the text that counts for each setting, in the order of `--help`, and where it comes from. Keys and
    /// passwords are left out. Says nothing of whether they are right.
    #[must_use]
    pub fn in_force(
        matches: &clap::ArgMatches,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        service: &ServiceDefaults,
    ) -> Vec<InForce> {
        in_force::all(&Sources::new(matches, env, service))
    }

    /// The settings from given arguments (without the program's name) and a given environment.
    ///
    /// # Errors
    /// Every fault that was found; a flag that does not exist is one too.
    pub fn from_sources<'a>(
        service: &ServiceDefaults,
        args: impl IntoIterator<Item = &'a str>,
        env: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Vec<Fault>> {
        let command = Self::augment(clap::Command::new(service.name).no_binary_name(true), service);
        let matches = command.try_get_matches_from(args).map_err(|error| vec![Fault::arguments(&error)])?;
        Self::from_matches(&matches, env.into_iter().map(|(name, value)| (name.into(), value.into())), service)
    }

    fn read(mut from: Sources<'_>) -> Result<Self, Vec<Fault>> {
        let bus = bus::read(&mut from);
        let has_redis_password = from.is_given(&table::REDIS_PASSWORD_FILE);
        let redis_ca = from.read(&table::REDIS_CA_FILE, values::authorities);
        let socket_io_key = from.read(&table::SOCKET_IO_KEY, values::channel_key);
        let listen = from.read(&table::LISTEN, values::listen);
        let workers = from.read(&table::WORKERS, values::workers);
        let count = from.read(&table::HISTORY_COUNT, values::limit);
        let bytes = from.read(&table::HISTORY_BYTES, values::size_limit);
        let age = from.read(&table::HISTORY_AGE, values::duration_limit);
        let history_total = from.read(&table::HISTORY_TOTAL, values::size_limit_or_auto);
        let encoded_total = from.read(&table::ENCODED_TOTAL, values::size_limit_or_auto);
        let idempotency_total = from.read(&table::IDEMPOTENCY_TOTAL, values::size_limit_or_auto);
        let max_channels = from.read(&table::MAX_CHANNELS, values::limit);
        let max_channels_per_client = from.read(&table::MAX_CHANNELS_PER_CLIENT, values::limit_or_auto);
        let max_body = from.read(&table::MAX_BODY, values::size_limit);
        let sessions_total = from.read(&table::SESSIONS_TOTAL, values::size_limit_or_auto);
        let outbox_total = from.read(&table::OUTBOX_TOTAL, values::size_limit_or_auto);
        let receive_total = from.read(&table::RECEIVE_TOTAL, values::size_limit_or_auto);
        let max_connections = from.read(&table::MAX_CONNECTIONS, values::limit_or_auto);
        let max_connections_asked_for = from.is_given(&table::MAX_CONNECTIONS);
        let max_connections_per_address = from.read(&table::MAX_CONNECTIONS_PER_ADDRESS, values::limit);
        let connect_rate = from.read(&table::CONNECT_RATE, values::rate);
        let publish_rate = from.read(&table::PUBLISH_RATE, values::rate);
        let socket_rate = from.read(&table::SOCKET_RATE, values::rate);
        let keepalive = from.read(&table::KEEPALIVE, values::duration_above_zero);
        let ping_interval = from.read(&table::PING_INTERVAL, values::duration_above_zero);
        let ping_timeout = from.read(&table::PING_TIMEOUT, values::duration_above_zero);
        let max_age = from.read(&table::MAX_AGE, values::duration_limit);
        let header_timeout = from.read(&table::HEADER_TIMEOUT, values::header_timeout);
        let body_timeout = from.read(&table::BODY_TIMEOUT, values::duration_above_zero);
        let secrets = secret::read(&mut from);
        let public_keys = from.read(&table::JWT_PUBLIC_KEY_FILE, values::public_keys);
        let audience = from.read(&table::JWT_AUDIENCE, values::text);
        let public = from.read(&table::PUBLIC, |text| text.parse::<Patterns>().map_err(|error| error.to_string()));
        let origins = from.read(&table::ORIGINS, |text| text.parse::<Origins>().map_err(|error| error.to_string()));
        let are_origins_given = from.is_given(&table::ORIGINS);
        let origins = origins.map(|origins| if are_origins_given { origins } else { origins.without_credentials() });
        let demo = from.read(&table::DEMO, values::on_off);
        let log = from.read(&table::LOG, values::log_format);
        let trusted_proxies = from.read(&table::TRUSTED_PROXIES, values::networks);
        let client_dir = from.read(&table::CLIENT_DIR, values::directory);
        let (faults, mut warnings) = from.finish();

        let memory = Memory::available();
        let settings = || {
            Some(Self {
                memory,
                bus: bus?,
                redis_ca: redis_ca?,
                socket_io_key: socket_io_key?,
                listen: listen?,
                workers: workers?,
                retention: Retention {
                    count: count?,
                    bytes: bytes?,
                    age_ms: age?.map(|age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
                },
                history_total: history_total?.unwrap_or_else(|| Some(memory::history_total(memory))),
                encoded_total: encoded_total?.unwrap_or_else(|| Some(memory::small_total(memory))),
                idempotency_total: idempotency_total?.unwrap_or_else(|| Some(memory::small_total(memory))),
                max_channels: max_channels?,
                max_channels_per_client: max_channels_per_client?
                    .unwrap_or_else(|| max_channels.flatten().map(|most| (most / 4).max(1))),
                max_body: max_body?,
                sessions_total: sessions_total?.unwrap_or_else(|| Some(memory::small_total(memory))),
                outbox_total: outbox_total?.unwrap_or_else(|| Some(memory::outbox_total(memory))),
                receive_total: receive_total?.unwrap_or_else(|| Some(memory::small_total(memory))),
                max_connections: max_connections?.unwrap_or_else(|| Some(memory::connections(memory))),
                max_connections_asked_for,
                max_connections_per_address: max_connections_per_address?,
                connect_rate: connect_rate?,
                publish_rate: publish_rate?,
                socket_rate: socket_rate?,
                keepalive: keepalive?,
                ping_interval: ping_interval?,
                ping_timeout: ping_timeout?,
                max_age: max_age?,
                header_timeout: header_timeout?,
                body_timeout: body_timeout?,
                secrets: secrets?,
                public_keys: public_keys?,
                audience: audience?,
                public: public?,
                origins: origins?,
                demo: demo?,
                log: log?,
                trusted_proxies: trusted_proxies?,
                client_dir: client_dir?,
                warnings: Vec::new(),
            })
        };
        match settings() {
            Some(mut settings) if faults.is_empty() => {
                if let (Some(channel), Some(total)) = (settings.retention.bytes, settings.history_total)
                    && channel > total
                {
                    warnings.push(format!(
                        "TRIDENT_HISTORY_BYTES ({channel} bytes a channel) is more than TRIDENT_HISTORY_TOTAL ({total} \
                         bytes in all), which will end first"
                    ));
                }
                if let (Some(body), Some(total)) = (settings.max_body, settings.receive_total)
                    && body > total
                {
                    warnings.push(format!(
                        "TRIDENT_MAX_BODY ({body} bytes) is more than TRIDENT_RECEIVE_TOTAL ({total} bytes for all requests \
                         in progress), so only one of the largest bodies is accepted at a time"
                    ));
                }
                if settings.redis_ca.is_some() && !settings.bus.is_encrypted() {
                    warnings.push("TRIDENT_REDIS_CA_FILE has no effect: TRIDENT_BUS is no rediss:// URL".to_owned());
                }
                if has_redis_password && settings.bus == BusAddress::Memory {
                    warnings.push("TRIDENT_REDIS_PASSWORD_FILE has no effect: TRIDENT_BUS is no Redis".to_owned());
                }
                settings.warnings = warnings;
                Ok(settings)
            }
            // A value is missing only when its fault was told.
            _ => Err(faults),
        }
    }
}
