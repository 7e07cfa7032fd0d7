//! What is wrong with a setting, and the exit that tells all of it.

use std::fmt;

use super::table::Setting;

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `TRIDENT_X (--x)`, or nothing when the fault is of the arguments as a whole.
    setting: Option<String>,
    message: String,
}

impl Fault {
    pub(super) fn new(setting: &Setting, message: impl fmt::Display) -> Self {
        Self { setting: Some(format!("{} (--{})", setting.variable(), setting.flag())), message: message.to_string() }
    }

    pub(super) fn arguments(error: &clap::Error) -> Self {
        Self { setting: None, message: error.to_string().trim_end().to_owned() }
    }
}

/// `TRIDENT_X (--x): what is wrong; what is accepted`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.setting {
            Some(setting) => write!(f, "{setting}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Fault {}

/// Tells the faults on stderr and ends the process with 2, as a shell's own usage errors do.
///
/// Not through the log: how to log is among the settings, and `RUST_LOG` must not be able to hide why nothing runs.
pub(super) fn exit(faults: &[Fault]) -> ! {
    let noun = if faults.len() == 1 { "setting is" } else { "settings are" };
    eprintln!("{} {noun} not right:", faults.len());
    for fault in faults {
        eprintln!("  {fault}");
    }
    eprintln!("`--help` lists every setting with its default.");
    std::process::exit(2)
}
