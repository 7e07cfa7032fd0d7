//! The command `standalone`.

use std::{path::PathBuf, process::ExitCode};

use allocator as _;
use clap::ArgMatches;
use edge::Settings;
use standalone::{DEFAULTS, check, cli, listen, log, program, publish, serve, shell, token};

#[actix_web::main]
async fn main() -> ExitCode {
    let matches = cli::command().get_matches();
    let done = match matches.subcommand() {
        Some((cli::CHECK, _)) => return check::run(&matches).await,
        Some((cli::LISTEN, matches)) => listen::run(matches).await,
        Some((cli::PUBLISH, matches)) => publish::run(matches).await,
        Some((cli::LOG, matches)) => log::run(matches).await,
        Some((cli::COMPLETIONS, matches)) => {
            let shell = *matches.get_one("shell").expect("the argument is required");
            shell::print_completions(cli::command(), shell);
            Ok(())
        }
        Some((cli::MAN, matches)) => {
            let directory: &PathBuf = matches.get_one("directory").expect("the argument is required");
            shell::write_man_pages(cli::command(), directory)
        }
        Some((cli::TOKEN, flags)) => token::print(&settings(&matches), flags),
        _ => serve(settings(&matches)).await.map_err(|error| error.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", program::name());
            ExitCode::FAILURE
        }
    }
}

fn settings(matches: &ArgMatches) -> Settings {
    Settings::from_matches_or_exit(matches, &DEFAULTS)
}
