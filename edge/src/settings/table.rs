//! All settings: name, default, and meaning.

use clap::{Arg, Command};

use super::ServiceDefaults;

/// The prefix of our variables.
pub(super) const PREFIX: &str = "TRIDENT_";

/// A setting: the flag `--history-count` and the variable `TRIDENT_HISTORY_COUNT` have one key, `HISTORY_COUNT`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) group: &'static str,
    /// The form of the value, for `--help`.
    value: &'static str,
    /// Empty if there is none, or if it depends on the binary.
    default: &'static str,
    about: &'static str,
}

impl Setting {
    /// The variable that sets it.
    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key)
    }

    /// The flag that sets it, without the dashes.
    pub(super) fn flag(&self) -> String {
        self.key.to_ascii_lowercase().replace('_', "-")
    }

    /// Its name in a configuration file.
    pub(super) fn name_in_file(&self) -> String {
        self.key.to_ascii_lowercase()
    }

    /// The default text.
    pub(super) fn default_for<'a>(&'a self, service: &'a ServiceDefaults) -> &'a str {
        if self.key == LISTEN.key { service.listen } else { self.default }
    }
}

/// What the address of a bus on disk begins with.
pub(super) const FILE_BUS: &str = "file:";

/// The default texts of a `file:` bus, where they differ: the disk has space for more history than the memory.
const ON_DISK: [(&str, &str); 3] =
    [(HISTORY_COUNT.key, "100000"), (HISTORY_BYTES.key, "256MiB"), (HISTORY_AGE.key, "7d")];

impl Setting {
    /// The default text with a `file:` bus, if it differs.
    pub(super) fn default_on_disk(&self) -> Option<&'static str> {
        ON_DISK.iter().find(|(key, _)| *key == self.key).map(|(_, text)| *text)
    }
}

macro_rules! settings {
    ($($group:literal { $($key:ident $value:literal $default:literal $about:literal)* })*) => {
        $($(
            #[doc = $about]
            pub(super) const $key: Setting =
                Setting { key: stringify!($key), group: $group, value: $value, default: $default, about: $about };
        )*)*

        /// All of them, in the order of `--help`.
        pub(super) const ALL: &[Setting] = &[$($($key),*),*];
    };
}

settings! {
    "Server" {
        CONFIG "FILE" "" "Configuration file (TOML): each setting is a key, for example history_count = 1000. Flags and the environment take precedence over it"
        LISTEN "IP:PORT" "" "Address to listen on"
        WORKERS "N" "cores" "Number of threads that serve requests"
        IO_URING "MODE" "auto" "Whether messages are sent to many clients through io_uring: auto, on or off"
        BUS "URL" "memory" "Message bus: `memory` (this process only), `file:<directory>` (this process only, and its history survives a restart) or redis://… (shared by several processes)"
        FSYNC "always|1s|never" "always" "When a file: bus makes messages durable: before they are delivered, within a second, or when the system does"
        REDIS_CA_FILE "FILE" "" "PEM file with the certificate authorities for rediss://, instead of the system's"
        REDIS_PASSWORD_FILE "FILE" "" "File with the password of the Redis user in TRIDENT_BUS, not percent-encoded"
        SOCKET_IO_KEY "TEXT" "socket.io" "Prefix of the Socket.IO cluster's channels in Redis; the same on all servers of a cluster, different for each cluster"
        DEMO "on|off" "on" "Demo channels `random` and `time`"
        CHAT "on|off" "on" "The chat on Socket.IO; off: the events of the namespace `/` are calls to the backend"
        CLIENT_DIR "DIR" "" "Directory with the files of a Socket.IO client (its dist/) to serve instead of the built-in one"
        ACCESS_LOG "on|off" "off" "Log each request when its response has ended, with the target `access`"
        LOG "text|json" "text" "Format of log lines; RUST_LOG selects which are written"
    }
    "History of each channel; the first limit reached applies (0 = no limit)" {
        HISTORY_COUNT "N" "1000" "Messages per channel; with a file: bus 100000 by default"
        HISTORY_BYTES "SIZE" "8MiB" "Bytes per channel; with a file: bus 256MiB by default"
        HISTORY_AGE "DURATION" "1h" "Maximum age of a message; with a file: bus 7d by default"
        HISTORY_TOTAL "SIZE" "auto" "Memory for all channels together; auto: 3/16 of the memory, at most 512MiB"
        DISK_TOTAL "SIZE" "4GiB" "Disk space of a file: bus for all channels together"
        PURGE_WITHIN "DURATION" "24h" "Time within which the bytes of messages that /v1 purged are erased from the disk of a file: bus"
    }
    "Access" {
        SECRET "[KID=]TEXT,…" "" "Keys of HS256 tokens, at least 32 bytes each; the first signs, all verify. Prefer the variable or a file, since flags are visible in process lists"
        SECRET_FILE "FILE" "" "File with the keys of HS256 tokens, one per line"
        JWT_PUBLIC_KEY_FILE "[KID=]FILE,…" "" "PEM files with public keys of RS256, ES256 or EdDSA tokens"
        JWT_AUDIENCE "TEXT" "" "Accept only tokens with this value in their claim `aud`"
        PUBLIC "PATTERN,…" "random,time,chat.*,public.*" "Channels that anyone can read without a token; `none` for none"
        SHOW_USER "tokens|all|none" "tokens" "Readers that get the user (`sub`) who published a message: those with a token, all, or none"
        ORIGINS "ORIGIN,…" "http://127.0.0.1,http://localhost" "Origins of pages that may connect: a loopback host without a port means any port; `https://x:*` any port; `*` all origins, without credentials"
        TRUSTED_PROXIES "NETWORK,…" "127.0.0.0/8,::1" "Proxies whose X-Forwarded-For is trusted; `none` for none"
    }
    "Calls to the backend" {
        CALL_URL "URL" "" "URL of the backend that answers calls"
        CALL_URL_CONNECT "URL" "" "The same for calls of the kind `connect`, instead of TRIDENT_CALL_URL"
        CALL_URL_SUBSCRIBE "URL" "" "The same for calls of the kind `subscribe`"
        CALL_URL_PUBLISH "URL" "" "The same for calls of the kind `publish`"
        CALL_URL_EVENT "URL" "" "The same for calls of the kind `event`"
        CALLS "KIND,…" "event" "Calls that are sent to the backend: `connect`, `subscribe`, `publish`, `event`, separated by commas, or `none`"
        CALL_TIMEOUT "DURATION" "5s" "Timeout for the answer to a call; waiting for other calls is included"
        CALL_CONCURRENCY "N" "64" "Maximum number of calls of a kind at a time"
        CALL_HEADERS "NAME,…" "" "Headers of clients that calls contain in addition to cookies"
        CALL_NAMESPACES "NAMESPACE,…" "" "Socket.IO namespaces whose events are all calls, such as `/orders`"
        HOOK_SECRET "whsec_…,…" "" "Secret that signs requests to the backend (Standard Webhooks); two, separated by a comma, during a rotation"
    }
    "Limits (0 = no limit)" {
        ENCODED_TOTAL "SIZE" "auto" "Memory for cached encoded messages; auto: 1/32 of the memory, at most 64MiB"
        IDEMPOTENCY_TOTAL "SIZE" "auto" "Memory for the Idempotency-Keys of the last five minutes; auto: 1/32 of the memory, at most 64MiB"
        MAX_CHANNELS "N" "auto" "Maximum number of channels that have readers but no messages; auto: 0.6KiB each in 1/16 of the memory, at most 250000"
        MAX_CHANNELS_PER_CLIENT "N" "auto" "The same for one token or address; auto: a quarter of them"
        MAX_BODY "SIZE" "64KiB" "Maximum size of a request body"
        SESSIONS_TOTAL "SIZE" "auto" "Memory for recovery sessions of disconnected Socket.IO clients; above it, the oldest are evicted; auto: 1/32 of the memory, at most 64MiB"
        OUTBOX_TOTAL "SIZE" "auto" "Memory for messages queued for Socket.IO clients, at most a quarter of it for one client; the same quarter again for long answers to polls; auto: 3/32 of the memory, at most 256MiB"
        RECEIVE_TOTAL "SIZE" "auto" "Memory for requests that are incomplete or not answered yet; the same again for incomplete Socket.IO messages, and for Socket.IO events in progress; auto: 1/32 of the memory, at most 64MiB"
        MAX_CONNECTIONS "N" "auto" "Maximum number of streams, long polls and sockets at a time; auto: 16KiB each in 3/16 of the memory, at most 100000"
        MAX_CONNECTIONS_PER_ADDRESS "N" "0" "The same for one client address (IPv6: one /64)"
        CONNECT_RATE "N" "0" "Streams, polls and sockets per second that one client address may open"
        PUBLISH_RATE "N" "10000" "Published messages per second of one token or address"
        API_RATE "N" "100" "Requests for /v1 per second of one token"
        SOCKET_RATE "N" "1000" "Socket.IO packets, or frames of a WebSocket, per second of one client"
    }
    "Events for backends" {
        EVENTS "KIND,…" "none" "Kinds of events that are written to the channel $events: all, none, or some of connected, disconnected, subscribed, unsubscribed, channel_occupied, channel_vacated, member_added, member_removed, client_event, api_write, process_gone"
        EVENTS_BYTES "SIZE" "auto" "Memory for the events of $events, apart from that for other channels; auto: 1/64 of the memory, at most 32MiB (0 = no limit)"
        EVENTS_RATE "N" "1000" "Events per second of one process; events above the rate are counted in a gap (0 = no limit)"
    }
    "Webhooks" {
        HOOK_URL "URL" "" "URL of the backend that events are posted to"
        HOOK_EVENTS "KIND,…" "" "Kinds of events that are posted; each must be in TRIDENT_EVENTS; default: all of TRIDENT_EVENTS"
        HOOK_CHANNELS "PATTERN,…" "" "Channels whose messages are also posted"
        HOOK_GIVE_UP "DURATION" "0" "How long a batch that the backend rejects is retried before it is skipped (0: as long as its events are retained)"
        HOOK_ALLOW "NETWORK,…" "" "Networks that URLs of clients may lead to, also without TLS; other URLs of clients have to be https and lead to public addresses"
    }
    "Traces" {
        TRACES_URL "URL" "" "URL of an OpenTelemetry collector that receives OTLP as JSON, such as http://localhost:4318/v1/traces; no traces without it"
        TRACES_SAMPLE "FRACTION" "0.01" "Part of publications, calls and webhooks that is traced, 0 to 1; publications with a header `traceparent` are traced if it says so"
    }
    "Durable Streams" {
        STREAMS "PATTERN,…|off" "*" "Names of channels that can be streams; chat.*, user.*, random and time only for tokens with trident.api; `off`: none"
        STREAMS_PATH "PATH" "/streams" "Path under which streams are served"
        STREAMS_ANONYMOUS "on|off" "off" "Streams need no token: anyone can create, read, append to and delete those of TRIDENT_STREAMS; for testing only"
        STREAM_MAX_BODY "SIZE" "1MiB" "Maximum size of the body of an append (0 = no limit)"
        STREAM_BYTES "SIZE" "auto" "Memory for all streams together; above it, appends are rejected; auto: 3/32 of the memory, at most 256MiB (0 = no limit)"
        STREAM_SUBSCRIPTIONS "N" "1000" "Maximum number of subscriptions to streams (0 = no limit)"
        STREAM_SUBSCRIPTIONS_PER_CLIENT "N" "100" "The same for one token or address (0 = no limit)"
    }
    "Times" {
        KEEPALIVE "DURATION" "15s" "Idle time on a stream after which a keep-alive is sent"
        PING_INTERVAL "DURATION" "25s" "Interval of pings to a Socket.IO session"
        PING_TIMEOUT "DURATION" "20s" "Timeout for the answer to a ping"
        MAX_AGE "DURATION" "10m" "Maximum age of a stream, ± 20 %; then the client reconnects (0 = no limit)"
        HEADER_TIMEOUT "DURATION" "10s" "Timeout for the head of a request (1s or more)"
        BODY_TIMEOUT "DURATION" "10s" "Timeout for the body of a request"
    }
}

/// Adds a flag for each setting. Clap does not parse the values, so that all errors are reported together.
pub(super) fn augment(command: Command, service: &ServiceDefaults) -> Command {
    let footer = "Every setting can be given as a flag, as an environment variable, or in the file of --config; they take precedence in this order.\n\
                  Durations: 500ms, 15s, 10m, 1h. Sizes: 64KiB, 8MiB, 1000000.\n\
                  RUST_LOG (default `info`) selects what is logged, for example RUST_LOG=debug or RUST_LOG=warn,edge=debug.";
    command
        .args(ALL.iter().map(|setting| {
            let default = match setting.default_for(service) {
                "" => String::new(),
                default => format!(" [default: {default}]"),
            };
            Arg::new(setting.key)
                .long(setting.flag())
                .value_name(setting.value)
                .help(format!("{} [env: {}]{default}", setting.about, setting.variable()))
                .help_heading(setting.group)
                .value_parser(clap::value_parser!(String))
                .allow_hyphen_values(true)
        }))
        .after_help(footer)
}

/// The setting that `name` may be a typing error of; `name_of` gives the form of its name.
pub(super) fn near(name: &str, name_of: impl Fn(&Setting) -> String) -> Option<String> {
    let name: String = name.chars().take(80).collect();
    let names = ALL.iter().map(|setting| (name_of(setting), setting.key.len()));
    let (near, length) = names.min_by_key(|(known, _)| distance(known, &name))?;
    // In a short name, at most three letters may differ.
    let close = (length.min(name.len()) / 3).min(3);
    (distance(&near, &name) <= close).then_some(near)
}

/// The edit distance: how many letters have to be inserted, removed or replaced to turn one name into the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
