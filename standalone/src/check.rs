//! `standalone check`: whether a server with these settings would start, and the effective settings.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use chat_svc::{Chat, OpenError};
use clap::ArgMatches;
use edge::{Settings, health::Degradation, service::Service, settings::EffectiveSetting};
use shared::live::bus::BusError;

use crate::{DEFAULTS, cli::CHECK};

/// Timeout of the bus.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints the effective settings, as variables with their values. Exits with 2 if any are invalid, after reporting all of them.
pub async fn run(matches: &ArgMatches) -> ExitCode {
    let settings = Settings::from_matches_or_exit(matches, &DEFAULTS);
    let effective = Settings::effective(matches, std::env::vars_os(), &DEFAULTS);
    say(&table(&effective));
    for warning in &settings.warnings {
        eprintln!("warning: {warning}");
    }
    for unknown in &settings.unknown {
        eprintln!("error: {unknown}");
    }
    if !settings.unknown.is_empty() {
        return ExitCode::from(2);
    }
    let is_asked = matches.subcommand_matches(CHECK).is_some_and(|flags| flags.get_flag("reach-bus"));
    if is_asked {
        let bus = settings.bus.clone();
        match reach(settings).await {
            Ok(took) => say(&format!("\nThe bus {bus} is available; it answered within {} ms.\n", took.as_millis())),
            Err(Unreached::Bus(error)) => {
                eprintln!("\nThe bus {bus} cannot be used (TRIDENT_BUS): {error}");
                return ExitCode::FAILURE;
            }
            Err(Unreached::Chat(error)) => {
                eprintln!("\nThe bus {bus} cannot be used for Socket.IO (TRIDENT_BUS): {error}");
                return ExitCode::FAILURE;
            }
            Err(Unreached::Degraded(all)) => {
                eprintln!("\nThe bus {bus} is available, but a server on it would be degraded (TRIDENT_BUS):");
                for Degradation { reason, message } in all {
                    eprintln!("  {reason}: {message}");
                }
                return ExitCode::FAILURE;
            }
        }
    }
    say("\nconfiguration OK\n");
    ExitCode::SUCCESS
}

/// A closed pipe, as after `head`, is not an error; the exit code has the result.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// A heading for each group, a line for each setting, and its source unless it is the default.
fn table(effective: &[EffectiveSetting]) -> String {
    let width = effective.iter().map(|setting| setting.variable.len()).max().unwrap_or_default();
    let mut text = String::new();
    let mut group = "";
    for setting in effective {
        if setting.group != group {
            let gap = if group.is_empty() { "" } else { "\n" };
            group = setting.group;
            text.push_str(&format!("{gap}# {group}\n"));
        }
        let origin = match setting.origin {
            edge::settings::Origin::Default => String::new(),
            origin => format!("   # {origin}"),
        };
        let line = format!("{:width$} = {}{origin}", setting.variable, setting.value);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Why a server on the bus would not work fully.
#[derive(Debug)]
enum Unreached {
    Bus(BusError),
    Chat(OpenError),
    Degraded(Vec<Degradation>),
}

/// Opens the bus like a server, and waits until everything that uses it is ready; returns how long it took.
async fn reach(settings: Settings) -> Result<Duration, Unreached> {
    let begun = Instant::now();
    let service = Service::open(settings, &DEFAULTS).map_err(Unreached::Bus)?;
    // Kept until the end: it owns the connections.
    let _chat = Chat::new(&service).map_err(Unreached::Chat)?;
    loop {
        let (ready, degraded) = (service.bus.ready(), service.edge.readiness.degraded());
        match ready {
            Ok(()) if degraded.is_empty() => return Ok(begun.elapsed()),
            _ if begun.elapsed() <= PATIENCE => tokio::time::sleep(Duration::from_millis(20)).await,
            Ok(()) => return Err(Unreached::Degraded(degraded)),
            Err(error) => return Err(Unreached::Bus(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use edge::settings::Origin;

    use super::*;

    #[test]
    fn settings_are_listed_under_their_headings() {
        let setting = |group, variable: &str, value: &str, origin| EffectiveSetting {
            group,
            variable: variable.to_owned(),
            value: value.to_owned(),
            origin,
        };
        let text = table(&[
            setting("A", "X", "1", Origin::Flag),
            setting("A", "LONG", "", Origin::Default),
            setting("B", "Y", "2", Origin::Environment),
        ]);
        assert_eq!(text, "# A\nX    = 1   # flag\nLONG =\n\n# B\nY    = 2   # environment\n");
    }
}
