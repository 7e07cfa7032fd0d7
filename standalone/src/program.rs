//! The program itself.

use std::path::Path;

use crate::DEFAULTS;

/// The name that the program was started by: `trident`, where the package installed it, and else `standalone`.
#[must_use]
pub fn name() -> &'static str {
    let path = std::env::args_os().next().unwrap_or_default();
    if Path::new(&path).file_name().is_some_and(|name| name == "trident") { "trident" } else { DEFAULTS.name }
}
