//! `standalone check`: whether a server with these settings would start, and what would be in force.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use chat_svc::{Chat, OpenError};
use clap::ArgMatches;
use edge::{Settings, health::Degradation, service::Service, settings::InForce};
use shared::live::bus::BusError;

use crate::{DEFAULTS, cli::CHECK};

/// How long a bus may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints what is in force, as variables with their values; exits with 2, after all that is wrong, when something is.
pub async fn run(matches: &ArgMatches) -> ExitCode {
    let settings = Settings::from_matches_or_exit(matches, &DEFAULTS);
    let in_force = Settings::in_force(matches, std::env::vars_os(), &DEFAULTS);
    say(&table(&in_force));
    for warning in &settings.warnings {
        eprintln!("warning: {warning}");
    }
    let is_asked = matches.subcommand_matches(CHECK).is_some_and(|flags| flags.get_flag("reach-bus"));
    if is_asked {
        let bus = settings.bus.clone();
        match reach(settings).await {
            Ok(took) => say(&format!("\nThe bus answers: {bus}, within {} ms.\n", took.as_millis())),
            Err(Unreached::Bus(error)) => {
                eprintln!("\nThe bus {bus} cannot be used (TRIDENT_BUS): {error}");
                return ExitCode::FAILURE;
            }
            Err(Unreached::Chat(error)) => {
                eprintln!("\nThe bus {bus} cannot be used for Socket.IO (TRIDENT_BUS): {error}");
                return ExitCode::FAILURE;
            }
            Err(Unreached::Degraded(all)) => {
                eprintln!("\nThe bus {bus} answers, but a server on it would be degraded (TRIDENT_BUS):");
                for Degradation { reason, message } in all {
                    eprintln!("  {reason}: {message}");
                }
                return ExitCode::FAILURE;
            }
        }
    }
    say("\nAll settings are right.\n");
    ExitCode::SUCCESS
}

/// Who closed the pipe, as `head` does, has seen enough; the exit code tells the rest.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// A heading for each group, a line for each setting, and a word on where it comes from unless it is the default.
fn table(in_force: &[InForce]) -> String {
    let width = in_force.iter().map(|setting| setting.variable.len()).max().unwrap_or_default();
    let mut text = String::new();
    let mut group = "";
    for setting in in_force {
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

/// Why a server on the bus would not do all that it should.
#[derive(Debug)]
enum Unreached {
    Bus(BusError),
    Chat(OpenError),
    Degraded(Vec<Degradation>),
}

/// Opens the bus as a server does, and waits until all that uses it is ready; how long that took.
async fn reach(settings: Settings) -> Result<Duration, Unreached> {
    let begun = Instant::now();
    let service = Service::open(settings, &DEFAULTS).map_err(Unreached::Bus)?;
    // Held until the end: it keeps its connections.
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
    fn settings_stand_under_their_headings() {
        let setting = |group, variable: &str, value: &str, origin| InForce {
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
