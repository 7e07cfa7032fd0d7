//! The command `standalone`.

use std::process::ExitCode;

use allocator as _;
use clap::ArgMatches;
use edge::Settings;
use standalone::{DEFAULTS, check, cli, listen, publish, serve, token};

#[actix_web::main]
async fn main() -> ExitCode {
    let matches = cli::command().get_matches();
    let done = match matches.subcommand() {
        Some((cli::CHECK, _)) => return check::run(&matches).await,
        Some((cli::LISTEN, matches)) => listen::run(matches).await,
        Some((cli::PUBLISH, matches)) => publish::run(matches).await,
        Some((cli::TOKEN, flags)) => token::print(&settings(&matches), flags),
        _ => serve(settings(&matches)).await.map_err(|error| error.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("standalone: {error}");
            ExitCode::FAILURE
        }
    }
}

fn settings(matches: &ArgMatches) -> Settings {
    Settings::from_matches_or_exit(matches, &DEFAULTS)
}
