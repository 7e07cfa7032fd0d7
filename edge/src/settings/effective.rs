//! The effective settings, for display to the operator: without keys and passwords.

use outgoing::Endpoint;

use super::{
    BusAddress,
    sources::{Origin, Sources},
    table::{self, Setting},
};

/// The effective text of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// Its heading in `--help`.
    pub group: &'static str,
    /// The variable that sets it, such as `TRIDENT_BUS`.
    pub variable: String,
    /// The text, on one line; empty if there is none, and `(not shown)` for secrets.
    pub value: String,
    /// Its source.
    pub origin: Origin,
}

pub(super) fn all(sources: &Sources<'_>) -> Vec<EffectiveSetting> {
    table::ALL.iter().map(|setting| one(sources, setting)).collect()
}

fn one(sources: &Sources<'_>, setting: &Setting) -> EffectiveSetting {
    let (origin, text) = sources.found(setting);
    let text = text.to_string_lossy();
    let value = match setting.key {
        _ if text.is_empty() => String::new(),
        key if [table::SECRET.key, table::HOOK_SECRET.key].contains(&key) => "(not shown)".to_owned(),
        // A text that is not a valid bus address may contain a typing error, and a password nevertheless.
        key if key == table::BUS.key => {
            text.trim().parse::<BusAddress>().map_or_else(|_| "(not shown)".to_owned(), |bus| bus.to_string())
        }
        key if key.starts_with(table::CALL_URL.key) || key == table::HOOK_URL.key => {
            text.trim().parse::<Endpoint>().map_or_else(|_| "(not shown)".to_owned(), |url| url.to_string())
        }
        _ => text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect(),
    };
    EffectiveSetting { group: setting.group, variable: setting.variable(), value, origin }
}
