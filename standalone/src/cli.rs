//! The command line.

use clap::{Arg, ArgAction, Command, builder::ValueParser};
use edge::{Settings, settings::duration};
use shared::pure::{ChannelName, EventName, Since, access::Patterns};

use crate::{DEFAULTS, client::BaseUrl, listen::Transport, program::name};

/// The subcommand that prints a token.
pub const TOKEN: &str = "token";
/// The subcommand that checks the settings.
pub const CHECK: &str = "check";
/// The subcommand that prints published messages.
pub const LISTEN: &str = "listen";
/// The subcommand that publishes.
pub const PUBLISH: &str = "publish";

/// The subcommand for the log on disk.
pub const LOG: &str = "log";
/// Its subcommand that describes a log.
pub const INFO: &str = "info";
/// Its subcommand that checks a log.
pub const VERIFY: &str = "verify";
/// Its subcommand that cuts a damaged log.
pub const REPAIR: &str = "repair";
/// Its subcommand that copies a log.
pub const BACKUP: &str = "backup";
/// Its subcommand that makes a log of another one.
pub const IMPORT: &str = "import";

/// The subcommand that prints a script for shell completion.
pub const COMPLETIONS: &str = "completions";
/// The subcommand that writes man pages.
pub const MAN: &str = "man";

/// An example with the name of the program.
fn example(text: &str) -> String {
    text.replace("standalone ", &format!("{} ", name()))
}

/// The command with its subcommands and a flag for each setting.
#[must_use]
pub fn command() -> Command {
    let command = Command::new(name()).about(DEFAULTS.about).version(DEFAULTS.version).subcommands([
        check(),
        token(),
        listen(),
        publish(),
        log(),
        completions(),
        man(),
    ]);
    Settings::augment(command, &DEFAULTS)
}

fn check() -> Command {
    let command = Command::new(CHECK).about("Check the settings and print the effective ones").arg(
        Arg::new("reach-bus")
            .long("reach-bus")
            .action(ArgAction::SetTrue)
            .help("Also connect to the bus, as a server would, and check that it is available"),
    );
    Settings::augment(command, &DEFAULTS).after_help(
        "Exit code: 0 if the configuration is OK, 2 if a setting is invalid or unknown, 1 if the bus is unavailable.",
    )
}

fn token() -> Command {
    let patterns = || ValueParser::new(|text: &str| text.parse::<Patterns>().map_err(|error| error.to_string()));
    let command = Command::new(TOKEN)
        .about("Print a token signed with TRIDENT_SECRET")
        .arg(
            Arg::new("publish")
                .long("publish")
                .value_name("PATTERN,…")
                .value_parser(patterns())
                .help("Channels that the token may publish to: names, prefixes ending in *, or * for all"),
        )
        .arg(
            Arg::new("subscribe")
                .long("subscribe")
                .value_name("PATTERN,…")
                .value_parser(patterns())
                .help("Channels that the token may subscribe to, in addition to public ones"),
        )
        .arg(Arg::new("api").long("api").value_name("read|write").value_parser(["read", "write"]).help(
            "What the token may do as a backend: read every channel and who is connected, or also change something",
        ))
        .arg(
            Arg::new("ttl")
                .long("ttl")
                .value_name("DURATION")
                .default_value("1h")
                .value_parser(ValueParser::new(lifetime))
                .help("How long it is valid, for example 30s, 10m, 1h, 7d"),
        )
        .arg(Arg::new("sub").long("sub").value_name("TEXT").help("The user that it identifies (claim `sub`)"))
        .arg(Arg::new("aud").long("aud").value_name("TEXT").help("The server that it is meant for (claim `aud`)"));
    Settings::augment(command, &DEFAULTS)
        .after_help(example("Example: standalone token --publish 'news*' --subscribe 'news*' --ttl 1h --sub backend"))
}

fn listen() -> Command {
    Command::new(LISTEN)
        .about("Print messages as they are published; reconnect automatically")
        .after_help(example(
            "Examples:\n  \
             standalone listen http://localhost:8080 --channel time\n  \
             standalone listen https://push.example.org --channel news --channel jobs --since earliest\n  \
             TRIDENT_TOKEN=… standalone listen http://localhost:8080 --channel orders --json | jq .data\n\n\
             Messages are written to stdout, everything else to stderr. Ctrl-C prints the cursor to resume from. Exit code 1 if the \
             server rejects the request. Times are UTC. For https://, SSL_CERT_FILE replaces the system's certificate authorities.",
        ))
        .args([url(), channels(), token_flag()])
        .arg(
            Arg::new("since")
                .long("since")
                .value_name("CURSOR")
                .value_parser(ValueParser::new(|text: &str| text.parse::<Since>().map_err(|error| error.to_string())))
                .help("Begin after this cursor, the id of a message, or `earliest` for all stored messages [default: now]"),
        )
        .arg(
            Arg::new("transport")
                .long("transport")
                .value_name("NAME")
                .default_value("sse")
                .value_parser(ValueParser::new(|text: &str| text.parse::<Transport>()))
                .help("`sse`, `stream` or `longpoll`; the output is the same"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print a line of JSON for each message, and {\"gap\":…} for a gap"),
        )
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_parser(clap::value_parser!(u64).range(1..))
                .help("Exit after this many messages"),
        )
        .arg(
            Arg::new("color")
                .long("color")
                .value_name("WHEN")
                .default_value("auto")
                .value_parser(["auto", "always", "never"])
                .help("`auto`: if stdout is a terminal and NO_COLOR is not set"),
        )
}

/// How long a token is valid.
fn lifetime(text: &str) -> Result<std::time::Duration, String> {
    match duration(text)? {
        std::time::Duration::ZERO => {
            Err("a token that has expired already is of no use: give a time above 0".to_owned())
        }
        lifetime => Ok(lifetime),
    }
}

fn publish() -> Command {
    Command::new(PUBLISH)
        .about("Publish a message to one or more channels, and print the ids")
        .after_help(example(
            "Example: standalone publish http://localhost:8080 --channel news --data '{\"headline\":\"…\"}' --token …\n\n\
             Retries for half a minute if the server is unavailable or asks to wait, always with the same idempotency key, \
             so that nothing is published twice.",
        ))
        .args([url(), channels(), token_flag()])
        .arg(Arg::new("data").long("data").value_name("JSON").help("The data, as JSON; - reads it from stdin"))
        .arg(
            Arg::new("text")
                .long("text")
                .value_name("TEXT")
                .conflicts_with("data")
                .help("The data, as text; - reads it from stdin"),
        )
        .group(clap::ArgGroup::new("payload").args(["data", "text"]).required(true))
        .arg(
            Arg::new("event")
                .long("event")
                .value_name("NAME")
                .value_parser(ValueParser::new(|text: &str| text.parse::<EventName>().map_err(|error| error.to_string())))
                .help("The event name [default: message]"),
        )
        .arg(
            Arg::new("key")
                .long("key")
                .value_name("KEY")
                .help("Idempotency key: the same key publishes only once within five minutes [default: random]"),
        )
}

fn log() -> Command {
    let path = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).value_name(value).required(true).value_parser(clap::value_parser!(std::path::PathBuf)).help(help)
    };
    let directory = |help| path("directory", "DIRECTORY", help);
    let unused = "The directory of TRIDENT_BUS=file:DIRECTORY, which must not be in use by a server";
    let used = "The directory of TRIDENT_BUS=file:DIRECTORY; a server may use it at the same time";
    Command::new(LOG)
        .about("Describe, check, repair, copy or import a log on disk")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([
            Command::new(INFO).about("Print what the log contains and which process uses it").arg(directory(used)),
            Command::new(VERIFY)
                .about("Read the whole log and print what it contains; change nothing")
                .arg(directory(unused))
                .after_help("Needs no permission to write. Exit code: 0 if the log is OK, 1 if it is damaged."),
            Command::new(REPAIR)
                .about("Cut a damaged log at the first damage, and print what is lost")
                .arg(directory(unused))
                .after_help(
                    "Clients whose cursor is in the lost part get a gap. An undamaged log is not changed. If it is interrupted, the next \
                     start of a server completes it, or another repair.",
                ),
            Command::new(BACKUP)
                .about("Copy the log while a server uses it")
                .arg(directory(used))
                .arg(path("destination", "DESTINATION", "An empty directory, or one that is created"))
                .after_help(
                    "The copy contains everything that was acknowledged when the command began. To restore it, start a server on it, or on a \
                     copy of it: clients with a cursor from after the backup get a gap.",
                ),
            Command::new(IMPORT)
                .about("Create a log with the messages of another one, under their ids")
                .arg(directory("The directory of the new log: empty, or it is created"))
                .arg(
                    Arg::new("from")
                        .long("from")
                        .value_name("DIRECTORY|URL")
                        .required(true)
                        .help("The directory of the other log, which must not be in use by a server, or the redis:// URL of a bus"),
                )
                .after_help(
                    "Cursors of the other log remain valid. From Redis, messages are imported that are in the stream at that time: stop its \
                     services first.",
                ),
        ])
}

fn completions() -> Command {
    Command::new(COMPLETIONS).about("Print a script that completes this command line in a shell").arg(
        Arg::new("shell")
            .value_name("SHELL")
            .required(true)
            .value_parser(clap::value_parser!(clap_complete::Shell))
            .help("The shell"),
    )
}

fn man() -> Command {
    Command::new(MAN).about("Write the man pages of this command line").arg(
        Arg::new("directory")
            .value_name("DIRECTORY")
            .required(true)
            .value_parser(clap::value_parser!(std::path::PathBuf))
            .help("An existing directory, for example /usr/local/share/man/man1"),
    )
}

fn url() -> Arg {
    Arg::new("url")
        .value_name("URL")
        .required(true)
        .value_parser(ValueParser::new(|text: &str| text.parse::<BaseUrl>()))
        .help("URL of the server or its gateway, for example http://localhost:8080")
}

fn channels() -> Arg {
    Arg::new("channel")
        .long("channel")
        .value_name("NAME")
        .required(true)
        .action(ArgAction::Append)
        .value_parser(ValueParser::new(|text: &str| text.parse::<ChannelName>().map_err(|error| error.to_string())))
        .help("The channel; can be repeated")
}

fn token_flag() -> Arg {
    Arg::new("token")
        .long("token")
        .value_name("TOKEN")
        .env("TRIDENT_TOKEN")
        .hide_env_values(true)
        .help("Token to send; prefer the variable, since flags are visible in process lists")
}
