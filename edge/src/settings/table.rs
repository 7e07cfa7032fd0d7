//! Every setting there is: its name, its default, and what it means.

use clap::{Arg, Command};

use super::{ServiceDefaults, sources::PREFIX};

/// A setting: the flag `--history-count` and the variable `TRIDENT_HISTORY_COUNT` are one key, `HISTORY_COUNT`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) group: &'static str,
    /// What the value is, for `--help`.
    value: &'static str,
    /// Empty when there is none, or when it differs by binary.
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

    /// The text that counts when nothing was given.
    pub(super) fn default_for<'a>(&'a self, service: &'a ServiceDefaults) -> &'a str {
        if self.key == LISTEN.key { service.listen } else { self.default }
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
        LISTEN "IP:PORT" "" "Address to listen on"
        WORKERS "N" "cores" "Threads that serve requests"
        BUS "URL" "memory" "Where the order of messages comes from: `memory` (this process alone) or redis://… (shared)"
        REDIS_CA_FILE "FILE" "" "PEM file with the authorities that a rediss:// server's certificate may be signed by, instead of the system's"
        REDIS_PASSWORD_FILE "FILE" "" "File with the password of the Redis user in TRIDENT_BUS, as it is, not percent-encoded"
        SOCKET_IO_KEY "TEXT" "socket.io" "Before the names of the Socket.IO cluster's channels in Redis; another for each cluster, the same on all its servers"
        DEMO "on|off" "on" "Demo channels `random` and `time`"
        CLIENT_DIR "DIR" "" "Directory with the files of a Socket.IO client (its dist/) to serve instead of the built-in one"
        LOG "text|json" "text" "Form of log lines; RUST_LOG says which are written"
    }
    "History: what each channel holds, whichever ends first (0 = no limit)" {
        HISTORY_COUNT "N" "1000" "Messages a channel"
        HISTORY_BYTES "SIZE" "8MiB" "Bytes a channel"
        HISTORY_AGE "DURATION" "1h" "Age of a message"
        HISTORY_TOTAL "SIZE" "auto" "Bytes of memory for all channels together; auto: a quarter of the memory, 512MiB at most"
    }
    "Access" {
        SECRET "[KID=]TEXT,…" "" "Keys of HS256 tokens, 32 bytes or more each; the first signs, all verify. Better given by variable or file: flags show in process lists"
        SECRET_FILE "FILE" "" "File that holds the keys of HS256 tokens, one a line"
        JWT_PUBLIC_KEY_FILE "[KID=]FILE,…" "" "PEM files with public keys of RS256, ES256 or EdDSA tokens"
        JWT_AUDIENCE "TEXT" "" "Accept only tokens with this in their claim `aud`"
        PUBLIC "PATTERN,…" "random,time,chat.*,public.*" "Channels that anybody may subscribe to; `none` for none"
        ORIGINS "ORIGIN,…" "http://127.0.0.1,http://localhost" "Origins whose pages may read answers and connect: loopback without a port is any port; `https://x:*` any port; `*` everybody, without credentials"
        TRUSTED_PROXIES "NETWORK,…" "127.0.0.0/8,::1" "Proxies whose X-Forwarded-For is believed; `none` for none"
    }
    "Limits (0 = no limit)" {
        ENCODED_TOTAL "SIZE" "auto" "Bytes of memory for the encoded forms of messages that readers share; auto: 1/32 of the memory, 64MiB at most"
        IDEMPOTENCY_TOTAL "SIZE" "auto" "Bytes of memory for the Idempotency-Keys of the last five minutes; auto: 1/32 of the memory, 64MiB at most"
        MAX_CHANNELS "N" "250000" "Channels that are read while they hold nothing; beyond them nobody may read another new one"
        MAX_CHANNELS_PER_CLIENT "N" "auto" "Of these, those that one token or address may open; a quarter of them by default"
        MAX_BODY "SIZE" "64KiB" "Bytes of a request's body"
        SESSIONS_TOTAL "SIZE" "auto" "Bytes of memory for recovery sessions of disconnected Socket.IO clients; beyond them the oldest end first; auto: 1/32 of the memory, 64MiB at most"
        OUTBOX_TOTAL "SIZE" "auto" "Bytes of memory for messages that wait for Socket.IO clients, a quarter of it for one client; as much as that quarter for long answers to polls; auto: 1/8 of the memory, 256MiB at most"
        RECEIVE_TOTAL "SIZE" "auto" "Bytes of memory for requests that are incomplete or not answered yet; the same again for incomplete Socket.IO messages, and for Socket.IO events in progress; auto: 1/32 of the memory, 64MiB at most"
        MAX_CONNECTIONS "N" "auto" "Streams, long polls and sockets at a time; auto: 16KiB each in a quarter of the memory, 100000 at most"
        MAX_CONNECTIONS_PER_ADDRESS "N" "0" "The same from one client address (IPv6: one /64)"
        CONNECT_RATE "N" "0" "Streams, polls and sockets a second that one client address may open"
        PUBLISH_RATE "N" "10000" "Messages a second from one token or address"
        SOCKET_RATE "N" "1000" "Socket.IO packets a second from one socket"
    }
    "Times" {
        KEEPALIVE "DURATION" "15s" "Silence on a stream after which a sign of life is written"
        PING_INTERVAL "DURATION" "25s" "Time between the pings that a Socket.IO session is sent"
        PING_TIMEOUT "DURATION" "20s" "How long a Socket.IO session may take to answer a ping"
        MAX_AGE "DURATION" "10m" "Life of a stream, ± 20 %, before the client comes again (0 = no end)"
        HEADER_TIMEOUT "DURATION" "10s" "How long the head of a request may take (1s and more)"
        BODY_TIMEOUT "DURATION" "10s" "How long the body of a request may take"
    }
}

/// Adds a flag for each setting. Values stay texts here: they are read by us, so that all faults are told at once.
pub(super) fn augment(command: Command, service: &ServiceDefaults) -> Command {
    let footer = "Every setting can be given as a flag or as the variable named with it; the flag counts more.\n\
                  Durations: 500ms, 15s, 10m, 1h. Sizes: 64KiB, 8MiB, 1000000.\n\
                  RUST_LOG (default `info`) says what is logged, as in RUST_LOG=debug or RUST_LOG=warn,edge=debug.";
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
