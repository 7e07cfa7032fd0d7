//! `standalone completions` and `standalone man`: the command line, described for shells and for `man`.

use std::{io, path::Path};

use clap::Command;
use clap_complete::Shell;

/// Prints a script that completes the command line in `shell`.
pub fn print_completions(mut command: Command, shell: Shell) {
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut io::stdout());
}

/// Writes the man pages of the command and its subcommands into `directory`.
///
/// # Errors
/// When they cannot be written there.
pub fn write_man_pages(command: Command, directory: &Path) -> Result<(), String> {
    clap_mangen::generate_to(command, directory).map_err(|error| format!("{}: {error}", directory.display()))
}
