//! `standalone log`: checks a log on disk, and cuts a damaged one.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
};

use clap::ArgMatches;
use shared::live::{
    bus::file::{Cut, Examined, examine, repair},
    clock::wall_clock,
};

use crate::cli;

/// Runs the subcommand in `matches`.
///
/// # Errors
/// When the log cannot be read or changed, or is damaged and not repaired.
pub fn run(matches: &ArgMatches) -> Result<(), String> {
    let (name, matches) = matches.subcommand().ok_or("a subcommand is required")?;
    let directory: &PathBuf = matches.get_one("directory").ok_or("a directory is required")?;
    let is_repair = name == cli::REPAIR;
    let examined = if is_repair { repair(directory, wall_clock()) } else { examine(directory) };
    let examined = examined.map_err(|error| error.to_string())?;
    // A closed pipe, as after `head`, is not an error; the exit code has the result.
    let _ = io::stdout().write_all(text(&examined, is_repair).as_bytes());
    let is_damaged = examined.cut.is_some() || examined.missing > 0;
    if is_damaged && !is_repair { Err("the log is damaged".to_owned()) } else { Ok(()) }
}

fn text(examined: &Examined, is_repair: bool) -> String {
    let Examined { segments, messages, bytes, ids, missing, cut } = examined;
    let mut text = format!("{messages} messages in {segments} segments, {bytes} bytes\n");
    // Writing to a string never fails.
    if let Some((first, last)) = ids {
        let _ = writeln!(text, "from {first} to {last}");
    }
    if *missing > 0 {
        let _ = writeln!(text, "{missing} segments at the beginning of the log are missing: their messages are lost");
    }
    let _ = match cut {
        None if *missing > 0 => Ok(()),
        None => writeln!(text, "no damage"),
        Some(Cut { file, offset, bytes, messages, .. }) => {
            let verb = if is_repair { "were cut" } else { "would be lost" };
            writeln!(
                text,
                "{file} is damaged after byte {offset}: {bytes} bytes from there to the end of the log {verb}, with {messages} messages in \
                 later segments"
            )
        }
    };
    text
}
