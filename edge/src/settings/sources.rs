//! Finds the text of a setting: the flag, else the environment, else the configuration file, else the default.

use std::{collections::BTreeMap, ffi::OsString, fmt};

use super::{
    Fault, ServiceDefaults,
    file::ConfigFile,
    table::{self, PREFIX, Setting},
    values,
};

/// The source of a setting's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// A variable of the environment.
    Environment,
    /// The configuration file.
    File,
    /// The default.
    Default,
}

/// `flag`, `environment`, `configuration file` or `default`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "configuration file",
            Self::Default => "default",
        })
    }
}

/// Variables that are not read by servers, and that an operator may have exported where one starts: those of the client commands of
/// `standalone`, of `docker-compose.yml` and of `ops/gateway/Caddyfile`.
const OF_OTHERS: [&str; 15] = [
    "TRIDENT_TOKEN",
    "TRIDENT_URL",
    "TRIDENT_FILES",
    "TRIDENT_GATEWAY_MEMORY",
    "TRIDENT_MEMORY",
    "TRIDENT_PORT",
    "TRIDENT_REDIS_MAXMEMORY",
    "TRIDENT_REDIS_MEMORY",
    "TRIDENT_SECRETS_DIR",
    "TRIDENT_SUBNET",
    "TRIDENT_TAG",
    "TRIDENT_TLS_DIR",
    "TRIDENT_TLS_PORT",
    "TRIDENT_SITE",
    "TRIDENT_UPSTREAM",
];

/// The texts of all settings, and the errors found while parsing them.
pub(super) struct Sources<'a> {
    matches: &'a clap::ArgMatches,
    env: BTreeMap<String, OsString>,
    file: ConfigFile,
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
        let env = env.into_iter().filter_map(ours).collect();
        let mut sources = Self { matches, env, file: ConfigFile::default(), service, faults: Vec::new() };
        if let Some(path) = sources.read(&table::CONFIG, values::text).flatten() {
            sources.file = ConfigFile::read(&path);
            sources.faults.append(&mut sources.file.faults);
        }
        sources
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
                self.faults.push(match self.found(setting).0 {
                    Origin::File => Fault::in_file(setting, message),
                    _ => Fault::new(setting, message),
                });
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
            _ => match self.file.text(setting) {
                Some(text) => (Origin::File, text.into()),
                None => (Origin::Default, self.default(setting).into()),
            },
        }
    }

    /// The default depends on the bus.
    fn default<'s>(&'s self, setting: &'s Setting) -> &'s str {
        let on_disk = setting.default_on_disk();
        let is_on_disk = |_: &&str| self.found(&table::BUS).1.to_string_lossy().trim().starts_with(table::FILE_BUS);
        on_disk.filter(is_on_disk).unwrap_or_else(|| setting.default_for(self.service))
    }

    /// The value of a flag: after the name of a subcommand, else before it.
    fn flag(&self, setting: &Setting) -> Option<&String> {
        let after = self.matches.subcommand().and_then(|(_, matches)| matches.try_get_one(setting.key).ok().flatten());
        after.or_else(|| self.matches.get_one(setting.key))
    }

    /// Whether a setting was given: as a flag, by the environment, or in the configuration file.
    pub(super) fn is_given(&self, setting: &Setting) -> bool {
        self.found(setting).0 != Origin::Default
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Whether the variable of a setting is set, but empty.
    pub(super) fn is_empty_variable(&self, setting: &Setting) -> bool {
        self.env.get(&setting.variable()).is_some_and(|text| text.is_empty())
    }

    /// The errors, and a message for each variable with the prefix that is not a setting.
    ///
    /// These do not prevent the start, since other programs set variables, too. Kubernetes sets `TRIDENT_PORT=tcp://…` and
    /// similar ones for a service called `trident`; those are ignored silently.
    pub(super) fn finish(self) -> (Vec<Fault>, Vec<String>) {
        let known =
            |name: &str| OF_OTHERS.contains(&name) || table::ALL.iter().any(|setting| setting.variable() == name);
        let unknown = self
            .env
            .iter()
            .filter(|(name, value)| !known(name) && !is_service_link(name, &value.to_string_lossy()))
            .map(|(name, _)| {
                let near = table::near(name, Setting::variable);
                let name: String = name.chars().take(80).flat_map(char::escape_default).collect();
                match near {
                    Some(near) => format!("unknown setting {name} has no effect; did you mean {near}?"),
                    None => format!("unknown setting {name} has no effect; --help lists all settings"),
                }
            })
            .collect();
        (self.faults, unknown)
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
