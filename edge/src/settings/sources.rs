//! Finds the text of a setting: the flag, else the environment, else the default.

use std::{collections::BTreeMap, ffi::OsString, fmt};

use super::{
    Fault, ServiceDefaults,
    table::{self, PREFIX, Setting},
};

/// The source of a setting's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// A variable of the environment.
    Environment,
    /// The default.
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

/// Variables of the client commands of `standalone`, which an operator may have exported where a server starts.
const OF_CLIENTS: [&str; 2] = ["TRIDENT_TOKEN", "TRIDENT_URL"];
/// The texts of all settings, and the errors found while parsing them.
pub(super) struct Sources<'a> {
    matches: &'a clap::ArgMatches,
    env: BTreeMap<String, OsString>,
    service: &'a ServiceDefaults,
    faults: Vec<Fault>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(
        matches: &'a clap::ArgMatches,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        service: &'a ServiceDefaults,
    ) -> Self {
        let ours = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            Some((name, value))
        };
        Self { matches, env: env.into_iter().filter_map(ours).collect(), service, faults: Vec::new() }
    }

    /// Parses a setting; records an error and returns `None` if its text is invalid.
    pub(super) fn read<T, E: fmt::Display>(
        &mut self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = match self.text(setting) {
            Ok(text) => text,
            Err(fault) => {
                self.faults.push(fault);
                return None;
            }
        };
        match parse(text.trim()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.faults.push(Fault::new(setting, message));
                None
            }
        }
    }

    fn text(&self, setting: &Setting) -> Result<String, Fault> {
        let (_, text) = self.found(setting);
        text.into_string().map_err(|_| Fault::new(setting, "the value is not UTF-8"))
    }

    /// The effective text, and its source.
    ///
    /// A variable that is set but empty counts as not set: compose files and unit files write those.
    pub(super) fn found(&self, setting: &Setting) -> (Origin, OsString) {
        if let Some(text) = self.flag(setting) {
            return (Origin::Flag, text.into());
        }
        match self.env.get(&setting.variable()) {
            Some(text) if !text.is_empty() => (Origin::Environment, text.clone()),
            _ => (Origin::Default, setting.default_for(self.service).into()),
        }
    }

    /// The value of a flag: after the name of a subcommand, else before it.
    fn flag(&self, setting: &Setting) -> Option<&String> {
        let after = self.matches.subcommand().and_then(|(_, matches)| matches.try_get_one(setting.key).ok().flatten());
        after.or_else(|| self.matches.get_one(setting.key))
    }

    /// Whether a setting was given, as a flag or by the environment.
    pub(super) fn is_given(&self, setting: &Setting) -> bool {
        self.found(setting).0 != Origin::Default
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// The errors, and a warning for each variable with the prefix that is not a setting.
    ///
    /// Only a warning, since other programs set variables, too: Kubernetes sets `TRIDENT_PORT=tcp://…` and
    /// similar ones for a service called `trident`; those are ignored silently.
    pub(super) fn finish(self) -> (Vec<Fault>, Vec<String>) {
        let known =
            |name: &str| OF_CLIENTS.contains(&name) || table::ALL.iter().any(|setting| setting.variable() == name);
        let warnings = self
            .env
            .iter()
            .filter(|(name, value)| !known(name) && !is_service_link(name, &value.to_string_lossy()))
            .map(|(name, _)| {
                let name: String = name.chars().take(80).flat_map(char::escape_default).collect();
                let near = table::ALL.iter().map(Setting::variable).min_by_key(|known| distance(known, &name));
                // In a short name, at most three letters may differ.
                let close = (name.len().saturating_sub("TRIDENT_".len()) / 3).min(3);
                match near.filter(|known| distance(known, &name) <= close) {
                    Some(near) => format!("unknown setting {name} has no effect; did you mean {near}?"),
                    None => format!("unknown setting {name} has no effect; --help lists all settings"),
                }
            })
            .collect();
        (self.faults, warnings)
    }
}

/// Whether Kubernetes sets this variable for a service with the name.
fn is_service_link(name: &str, value: &str) -> bool {
    let part = |part: &str| name.contains(part);
    value.starts_with("tcp://")
        || value.starts_with("udp://")
        || name.ends_with("_SERVICE_HOST")
        || part("_SERVICE_PORT")
        || (part("_PORT_") && (part("_TCP") || part("_UDP")))
}

/// The edit distance: how many letters have to be inserted, removed or replaced to turn one name into the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
