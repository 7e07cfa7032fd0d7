//! The settings of a process: flag, else environment, else configuration file, else default; all errors are reported together.
//!
//! [`table`] names each setting with its default; [`sources`] finds its text; [`values`] parses it; and [`Settings`] is the result if there
//! were no errors. A binary calls [`Settings::parse`], which prints the errors and exits with 2; one with subcommands uses
//! [`Settings::augment`] and [`Settings::from_matches`].

mod backend;
mod bus;
mod calls;
mod disk;
mod effective;
mod fault;
mod file;
mod hooks;
mod limits;
mod memory;
mod secret;
mod sources;
mod streams;
mod table;
mod traces;
mod values;

#[cfg(test)]
mod tests;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

pub use backend::{BackendSettings, EventSettings, ShowUser};
pub use bus::{BusAddress, RedisAddress};
pub use calls::{CallKind, CallSettings};
pub use disk::DiskSettings;
pub use effective::EffectiveSetting;
pub use fault::Fault;
pub use hooks::HookSettings;
pub use memory::Memory;
pub use secret::Secret;
pub use sources::Origin;
use sources::Sources;
pub use streams::StreamSettings;
pub use traces::TraceSettings;
pub use values::duration;

use shared::pure::{Retention, access::Patterns};

use super::{address::Network, auth::PublicKey, cors::Origins};

/// The differences between the binaries.
#[derive(Clone, Copy, Debug)]
pub struct ServiceDefaults {
    /// The name of the binary, such as `sse-svc`.
    pub name: &'static str,
    /// One line about it, for `--help`.
    pub about: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its default address, such as `0.0.0.0:8083`.
    pub listen: &'static str,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For humans.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether messages are sent to many clients through io_uring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoUring {
    /// Where the kernel allows it.
    Auto,
    /// Always: the server does not start without it.
    On,
    /// Never: through `write(2)`.
    Off,
}

/// The settings of a process, each of them valid. `None` for a limit means no limit.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The memory from which defaults were computed; `None` if the system does not report it.
    pub memory: Option<Memory>,
    /// The message bus.
    pub bus: BusAddress,
    /// How a bus on disk stores messages.
    pub disk: DiskSettings,
    /// The certificate authorities of Redis (PEM); `None` means those of the system.
    pub redis_ca: Option<Vec<u8>>,
    /// The prefix of the names of the Socket.IO cluster's channels in Redis.
    pub socket_io_key: String,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Threads that serve requests.
    pub workers: usize,
    /// Whether messages are sent to many clients through io_uring.
    pub io_uring: IoUring,
    /// The retention of each channel.
    pub retention: Retention,
    /// Bytes of memory for the messages of all channels together.
    pub history_total: Option<usize>,
    /// Bytes of memory for the encoded forms of messages, which readers share.
    pub encoded_total: Option<usize>,
    /// Bytes of memory for idempotency keys.
    pub idempotency_total: Option<usize>,
    /// Channels without messages that exist nevertheless, mostly because they are read.
    pub max_channels: Option<usize>,
    /// The same for one token or address.
    pub max_channels_per_client: Option<usize>,
    /// Maximum size of a request body in bytes.
    pub max_body: Option<usize>,
    /// Bytes of memory for the recovery sessions of disconnected Socket.IO clients.
    pub sessions_total: Option<usize>,
    /// Bytes of memory for messages queued for Socket.IO clients.
    pub outbox_total: Option<usize>,
    /// Bytes of memory for requests that are incomplete or not answered yet, for incomplete Socket.IO messages, and for running handlers of
    /// Socket.IO events: each of the three has this limit.
    pub receive_total: Option<usize>,
    /// Maximum number of open connections of clients: streams, long polls, Socket.IO sessions.
    pub max_connections: Option<usize>,
    /// Whether the operator set this number, or it is the default.
    pub max_connections_asked_for: bool,
    /// The same from one address (IPv6: from one /64).
    pub max_connections_per_address: Option<usize>,
    /// Streams, polls and sockets per second from one address (IPv6: from one /64).
    pub connect_rate: Option<u32>,
    /// Messages per second from one token, or from one address without a token.
    pub publish_rate: Option<u32>,
    /// Socket.IO packets per second of one socket.
    pub socket_rate: Option<u32>,
    /// Idle time on a stream after which a keep-alive is sent.
    pub keepalive: Duration,
    /// Interval of pings to a Socket.IO session.
    pub ping_interval: Duration,
    /// Timeout for the answer to a ping.
    pub ping_timeout: Duration,
    /// The maximum age of a stream, ± 20 %; then its client has to reconnect.
    pub max_age: Option<Duration>,
    /// Timeout for the head of a request to arrive.
    pub header_timeout: Duration,
    /// Timeout for the body of a request to arrive.
    pub body_timeout: Duration,
    /// The keys of HS256 tokens: the first signs, all verify.
    pub secrets: Vec<Secret>,
    /// The keys of RS256, ES256 and EdDSA tokens.
    pub public_keys: Vec<PublicKey>,
    /// The required value of `aud` in tokens.
    pub audience: Option<String>,
    /// Channels that anyone can read without a token.
    pub public: Patterns,
    /// Origins whose pages may read responses.
    pub origins: Origins,
    /// Whether the demo channels are published.
    pub demo: bool,
    /// The format of log lines.
    pub log: LogFormat,
    /// Whether each request is logged.
    pub access_log: bool,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<Network>,
    /// What backends and clients may learn about each other.
    pub backend: BackendSettings,
    /// Durable Streams.
    pub streams: StreamSettings,
    /// A directory with the files of a Socket.IO client that are served instead of the built-in ones.
    pub client_dir: Option<PathBuf>,
    /// Warnings, to be logged once logging works.
    pub warnings: Vec<String>,
    /// A message for each variable `TRIDENT_…` that is not a setting.
    pub unknown: Vec<String>,
}

impl Settings {
    /// The settings of this process, from its arguments and environment.
    ///
    /// Prints all errors and exits with 2 if there are any; prints and exits for `--help` and `--version`, too.
    #[must_use]
    pub fn parse(service: &ServiceDefaults) -> Self {
        let command = clap::Command::new(service.name).about(service.about).version(service.version);
        let matches = Self::augment(command, service).get_matches();
        Self::from_matches(&matches, std::env::vars_os(), service).unwrap_or_else(|faults| fault::exit(&faults))
    }

    /// Adds a flag for each setting to `command`. A subcommand that supports them, too, has to be augmented itself; its flags take
    /// precedence.
    #[must_use]
    pub fn augment(command: clap::Command, service: &ServiceDefaults) -> clap::Command {
        table::augment(command, service)
    }

    /// The settings from what `command` (after [`Settings::augment`]) matched and from the environment.
    ///
    /// # Errors
    /// All errors that were found.
    pub fn from_matches(
        matches: &clap::ArgMatches,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        service: &ServiceDefaults,
    ) -> Result<Self, Vec<Fault>> {
        Self::read(Sources::new(matches, env, service))
    }

    /// As [`Settings::from_matches`], but prints all errors and exits with 2 if there are any.
    #[must_use]
    pub fn from_matches_or_exit(matches: &clap::ArgMatches, service: &ServiceDefaults) -> Self {
        Self::from_matches(matches, std::env::vars_os(), service).unwrap_or_else(|faults| fault::exit(&faults))
    }

    /// The effective settings: the text of each setting, in the order of `--help`, and its source. Without keys and passwords. Does not
    /// validate them.
    #[must_use]
    pub fn effective(
        matches: &clap::ArgMatches,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        service: &ServiceDefaults,
    ) -> Vec<EffectiveSetting> {
        effective::all(&Sources::new(matches, env, service))
    }

    /// The settings from given arguments (without the program's name) and a given environment.
    ///
    /// # Errors
    /// All errors that were found, including unknown flags.
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
        let mut of_disk = Vec::new();
        let disk = disk::read(&mut from, bus.as_ref(), &mut of_disk);
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
        let max_channels = from.read(&table::MAX_CHANNELS, values::limit_or_auto);
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
        let io_uring = from.read(&table::IO_URING, values::io_uring);
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
        let access_log = from.read(&table::ACCESS_LOG, values::on_off);
        let trusted_proxies = from.read(&table::TRUSTED_PROXIES, values::networks);
        let client_dir = from.read(&table::CLIENT_DIR, values::directory);
        let memory = Memory::available();
        let max_channels = max_channels.map(|given| given.unwrap_or_else(|| Some(memory::channels(memory))));
        let backend = backend::read(&mut from, memory);
        let streams = streams::read(&mut from, memory);
        let is_secret_empty = from.is_empty_variable(&table::SECRET) && !from.is_given(&table::SECRET);
        let (mut faults, unknown) = from.finish();
        if !faults.is_empty() {
            // A misspelt name may be the reason why another setting is wrong.
            faults.extend(unknown.iter().cloned().map(Fault::unknown));
        }

        let settings = || {
            Some(Self {
                memory,
                bus: bus?,
                disk: disk?,
                redis_ca: redis_ca?,
                socket_io_key: socket_io_key?,
                listen: listen?,
                workers: workers?,
                io_uring: io_uring?,
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
                access_log: access_log?,
                trusted_proxies: trusted_proxies?,
                backend: backend?,
                streams: streams?,
                client_dir: client_dir?,
                warnings: Vec::new(),
                unknown,
            })
        };
        match settings() {
            Some(mut settings) if faults.is_empty() => {
                let mut warnings = std::mem::take(&mut settings.backend.warnings);
                if is_secret_empty && settings.secrets.is_empty() {
                    warnings.push("TRIDENT_SECRET is set, but empty: there is no key of HS256 tokens".to_owned());
                }
                if let (Some(channel), Some(total)) = (settings.retention.bytes, settings.history_total)
                    && channel > total
                    && !matches!(settings.bus, BusAddress::File(_))
                {
                    warnings.push(format!(
                        "TRIDENT_HISTORY_BYTES ({channel} bytes per channel) exceeds TRIDENT_HISTORY_TOTAL ({total} \
                         bytes in all), so the total applies first"
                    ));
                }
                if let (Some(body), Some(total)) = (settings.max_body, settings.receive_total)
                    && body > total
                {
                    warnings.push(format!(
                        "TRIDENT_MAX_BODY ({body} bytes) exceeds TRIDENT_RECEIVE_TOTAL ({total} bytes for all requests \
                         in progress), so only one of the largest bodies is accepted at a time"
                    ));
                }
                if settings.redis_ca.is_some() && !settings.bus.is_encrypted() {
                    warnings.push("TRIDENT_REDIS_CA_FILE has no effect: TRIDENT_BUS is not a rediss:// URL".to_owned());
                }
                warnings.extend(backend::without_effect(&settings.public));
                warnings.extend(of_disk);
                warnings.extend(streams::warning(&settings.streams));
                if has_redis_password && !matches!(settings.bus, BusAddress::Redis(_)) {
                    warnings.push("TRIDENT_REDIS_PASSWORD_FILE has no effect: TRIDENT_BUS is not a Redis".to_owned());
                }
                settings.warnings = warnings;
                Ok(settings)
            }
            // A value is missing only if its error was reported.
            _ => Err(faults),
        }
    }
}
