//! The command `standalone`.

use std::process::ExitCode;

use shared::edge::Settings;
use standalone::{DEFAULTS, cli, serve, token};

#[actix_web::main]
async fn main() -> ExitCode {
    let matches = cli::command().get_matches();
    let settings = Settings::from_matches_or_exit(&matches, &DEFAULTS);
    let done = match matches.subcommand() {
        Some((cli::TOKEN, matches)) => token::print(&settings, matches),
        _ => serve(settings).await.map_err(|error| error.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("standalone: {error}");
            ExitCode::FAILURE
        }
    }
}
