//! The command line.

use clap::{Arg, ArgAction, Command, builder::ValueParser};
use edge::{Settings, settings::duration};
use shared::pure::{ChannelName, EventName, Since, access::Patterns};

use crate::{DEFAULTS, client::BaseUrl, listen::Transport};

/// The subcommand that prints a token.
pub const TOKEN: &str = "token";
/// The subcommand that says whether the settings are right.
pub const CHECK: &str = "check";
/// The subcommand that shows what is published.
pub const LISTEN: &str = "listen";
/// The subcommand that publishes.
pub const PUBLISH: &str = "publish";

/// The command with its subcommands and a flag for each setting.
#[must_use]
pub fn command() -> Command {
    let command = Command::new(DEFAULTS.name).about(DEFAULTS.about).version(DEFAULTS.version).subcommands([
        check(),
        token(),
        listen(),
        publish(),
    ]);
    Settings::augment(command, &DEFAULTS)
}

fn check() -> Command {
    let command = Command::new(CHECK).about("Say whether the settings are right, and which would be in force").arg(
        Arg::new("reach-bus")
            .long("reach-bus")
            .action(ArgAction::SetTrue)
            .help("Also connect to the bus, as a server would, and say whether it answers"),
    );
    Settings::augment(command, &DEFAULTS)
        .after_help("Ends with 0 when all is right, 2 when a setting is not, 1 when the bus does not answer.")
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
                .help("Channels its bearer may publish to: names, prefixes ending in *, or * for all"),
        )
        .arg(
            Arg::new("subscribe")
                .long("subscribe")
                .value_name("PATTERN,…")
                .value_parser(patterns())
                .help("Channels its bearer may subscribe to, beside those that are public"),
        )
        .arg(
            Arg::new("ttl")
                .long("ttl")
                .value_name("DURATION")
                .default_value("1h")
                .value_parser(ValueParser::new(duration))
                .help("How long it holds, as in 30s, 10m, 1h, 7d"),
        )
        .arg(Arg::new("sub").long("sub").value_name("TEXT").help("Whom it speaks for (claim `sub`)"))
        .arg(Arg::new("aud").long("aud").value_name("TEXT").help("Whom it is meant for (claim `aud`)"));
    Settings::augment(command, &DEFAULTS)
        .after_help("Example: standalone token --publish 'news*' --subscribe 'news*' --ttl 1h --sub backend")
}

fn listen() -> Command {
    Command::new(LISTEN)
        .about("Show in the terminal what is published, as it comes; go on by itself when the connection breaks")
        .after_help(
            "Examples:\n  \
             standalone listen http://localhost:8080 --channel time\n  \
             standalone listen https://push.example.org --channel news --channel jobs --since earliest\n  \
             TRIDENT_TOKEN=… standalone listen http://localhost:8080 --channel orders --json | jq .data\n\n\
             Messages go to stdout and all else to stderr. Ctrl-C prints the cursor to go on from. Ends with 1 when the \
             server refuses. Times are UTC. SSL_CERT_FILE names authorities for https:// other than the system's.",
        )
        .args([url(), channels(), token_flag()])
        .arg(
            Arg::new("since")
                .long("since")
                .value_name("CURSOR")
                .value_parser(ValueParser::new(|text: &str| text.parse::<Since>().map_err(|error| error.to_string())))
                .help("Begin after this cursor, the id of a message; or `earliest`, with all that is held [default: now]"),
        )
        .arg(
            Arg::new("transport")
                .long("transport")
                .value_name("NAME")
                .default_value("sse")
                .value_parser(ValueParser::new(|text: &str| text.parse::<Transport>()))
                .help("`sse`, `stream` or `longpoll`; all show the same"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("A line of JSON for each message, and {\"gap\":…} for a gap"),
        )
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_parser(clap::value_parser!(u64).range(1..))
                .help("End after so many messages"),
        )
        .arg(
            Arg::new("color")
                .long("color")
                .value_name("WHEN")
                .default_value("auto")
                .value_parser(["auto", "always", "never"])
                .help("`auto` is in a terminal, unless NO_COLOR is set"),
        )
}

fn publish() -> Command {
    Command::new(PUBLISH)
        .about("Publish a message and print its id, or several, one to each channel")
        .after_help(
            "Example: standalone publish http://localhost:8080 --channel news --data '{\"headline\":\"…\"}' --token …\n\n\
             Tries again for half a minute when the server is away or asks to wait, with one idempotency key all the time, \
             so that nothing is published twice.",
        )
        .args([url(), channels(), token_flag()])
        .arg(Arg::new("data").long("data").value_name("JSON").help("The data, as JSON; - reads it from stdin"))
        .arg(
            Arg::new("text")
                .long("text")
                .value_name("TEXT")
                .conflicts_with("data")
                .required_unless_present("data")
                .help("The data, as a text; - reads it from stdin"),
        )
        .arg(
            Arg::new("event")
                .long("event")
                .value_name("NAME")
                .value_parser(ValueParser::new(|text: &str| text.parse::<EventName>().map_err(|error| error.to_string())))
                .help("What kind of thing happened [default: message]"),
        )
        .arg(
            Arg::new("key")
                .long("key")
                .value_name("KEY")
                .help("Idempotency key: within five minutes the same one publishes once [default: a new one]"),
        )
}

fn url() -> Arg {
    Arg::new("url")
        .value_name("URL")
        .required(true)
        .value_parser(ValueParser::new(|text: &str| text.parse::<BaseUrl>()))
        .help("Where the server or its gateway is, as in http://localhost:8080")
}

fn channels() -> Arg {
    Arg::new("channel")
        .long("channel")
        .value_name("NAME")
        .required(true)
        .action(ArgAction::Append)
        .value_parser(ValueParser::new(|text: &str| text.parse::<ChannelName>().map_err(|error| error.to_string())))
        .help("The channel; may be given several times")
}

fn token_flag() -> Arg {
    Arg::new("token")
        .long("token")
        .value_name("TOKEN")
        .env("TRIDENT_TOKEN")
        .hide_env_values(true)
        .help("Token to show; better given by the variable: flags show in process lists")
}
