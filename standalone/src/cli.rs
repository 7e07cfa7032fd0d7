//! The command line.

use clap::{Arg, Command, builder::ValueParser};
use shared::{
    edge::{Settings, settings::duration},
    pure::access::Patterns,
};

use crate::DEFAULTS;

/// The subcommand that prints a token.
pub const TOKEN: &str = "token";

/// The command with its subcommands and a flag for each setting.
#[must_use]
pub fn command() -> Command {
    let command = Command::new(DEFAULTS.name).about(DEFAULTS.about).version(DEFAULTS.version).subcommand(token());
    Settings::augment(command, &DEFAULTS)
}

fn token() -> Command {
    let patterns = || ValueParser::new(|text: &str| text.parse::<Patterns>().map_err(|error| error.to_string()));
    Command::new(TOKEN)
        .about("Print a token signed with TRIDENT_SECRET")
        .after_help("Example: standalone token --publish 'news*' --subscribe 'news*' --ttl 1h --sub backend")
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
        .arg(Arg::new("aud").long("aud").value_name("TEXT").help("Whom it is meant for (claim `aud`)"))
}
