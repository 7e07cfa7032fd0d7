//! What counts for each setting, to be shown to whoever runs the process: never a key, never a password.

use std::fmt;

use super::{
    BusAddress,
    sources::Sources,
    table::{self, Setting},
};

/// Where the text of a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the command line.
    Flag,
    /// From a variable of the environment.
    Environment,
    /// From nobody.
    Default,
}

/// `flag`, `environment` or `default`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::Default => "default",
        })
    }
}

/// The text that counts for a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The heading that it stands under in `--help`.
    pub group: &'static str,
    /// The variable that sets it, as in `TRIDENT_BUS`.
    pub variable: String,
    /// The text, on one line; empty when there is none, and `(not shown)` for what is secret.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

pub(super) fn all(sources: &Sources<'_>) -> Vec<InForce> {
    table::ALL.iter().map(|setting| one(sources, setting)).collect()
}

fn one(sources: &Sources<'_>, setting: &Setting) -> InForce {
    let (origin, text) = sources.found(setting);
    let text = text.to_string_lossy();
    let value = match setting.key {
        _ if text.is_empty() => String::new(),
        key if key == table::SECRET.key => "(not shown)".to_owned(),
        // A text that is no bus may be one with a slip in it, and then holds the password all the same.
        key if key == table::BUS.key => {
            text.trim().parse::<BusAddress>().map_or_else(|_| "(not shown)".to_owned(), |bus| bus.to_string())
        }
        _ => text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect(),
    };
    InForce { group: setting.group, variable: setting.variable(), value, origin }
}
