//! Errors in settings, and the exit that reports all of them.

use std::fmt;

use super::table::Setting;

/// One invalid setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `TRIDENT_X (--x)`, `x in the configuration file`, or `None` if the arguments as a whole are invalid.
    setting: Option<String>,
    message: String,
}

impl Fault {
    pub(super) fn new(setting: &Setting, message: impl fmt::Display) -> Self {
        Self { setting: Some(format!("{} (--{})", setting.variable(), setting.flag())), message: message.to_string() }
    }

    /// An error in the configuration file.
    pub(super) fn in_file(setting: &Setting, message: impl fmt::Display) -> Self {
        let name = format!("{} in the configuration file", setting.name_in_file());
        Self { setting: Some(name), message: message.to_string() }
    }

    /// A variable with the prefix that names no setting.
    pub(super) fn unknown(message: String) -> Self {
        Self { setting: None, message }
    }

    pub(super) fn arguments(error: &clap::Error) -> Self {
        Self { setting: None, message: error.to_string().trim_end().to_owned() }
    }
}

/// `TRIDENT_X (--x): what is wrong: what is expected`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.setting {
            Some(setting) => write!(f, "{setting}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Fault {}

/// Prints the errors on stderr and exits with 2, as shells do for usage errors.
///
/// Not in the log: its format is among the settings, and `RUST_LOG` must not be able to hide why nothing starts.
pub(super) fn exit(faults: &[Fault]) -> ! {
    let noun = if faults.len() == 1 { "setting" } else { "settings" };
    eprintln!("{} invalid {noun}:", faults.len());
    for fault in faults {
        eprintln!("  {fault}");
    }
    eprintln!("`--help` lists every setting with its default.");
    std::process::exit(2)
}
