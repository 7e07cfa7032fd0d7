//! The address of the message bus.

use std::{fmt, path::PathBuf, str::FromStr};

use super::{Fault, sources::Sources, table, values};

/// The configured bus, with the password of the configured file.
pub(super) fn read(from: &mut Sources<'_>) -> Option<BusAddress> {
    let bus = from.read(&table::BUS, str::parse::<BusAddress>);
    let password = from.read(&table::REDIS_PASSWORD_FILE, values::password)?;
    match (bus?, password) {
        (BusAddress::Redis(address), Some(password)) => match address.with_password(&password) {
            Ok(address) => Some(BusAddress::Redis(address)),
            Err(message) => {
                from.fault(Fault::new(&table::REDIS_PASSWORD_FILE, message));
                None
            }
        },
        (bus, _) => Some(bus),
    }
}

/// The bus to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusAddress {
    /// The memory of this process only.
    Memory,
    /// A directory of this process only.
    File(PathBuf),
    /// A Redis shared by several processes.
    Redis(RedisAddress),
}

impl BusAddress {
    /// Whether it is a Redis with TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Redis(address) if address.url().starts_with("rediss:"))
    }
}

/// The URL of a Redis: `redis://` or `rediss://` (TLS), `[user][:password]@`, host, `:port`, `/database`.
///
/// Displaying it omits the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress(String);

impl RedisAddress {
    /// The same with this password, percent-encoded.
    ///
    /// # Errors
    /// When the URL already has one.
    pub(super) fn with_password(&self, password: &str) -> Result<Self, String> {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("redis", &self.0));
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        if user.contains(':') {
            return Err("the URL of TRIDENT_BUS also has a password; only one is accepted".to_owned());
        }
        let encoded: String = password.bytes().fold(String::new(), |mut text, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
            text
        });
        Ok(Self(format!("{scheme}://{user}:{encoded}@{place}")))
    }

    /// The whole URL, including the password, for connecting.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("redis", &self.0));
        match rest.rsplit_once('@') {
            Some((_, rest)) => write!(f, "{scheme}://…@{rest}"),
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for BusAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::File(directory) => write!(f, "{}{}", table::FILE_BUS, directory.display()),
            Self::Redis(address) => address.fmt(f),
        }
    }
}

/// The error is a sentence for humans; it never repeats the text, which may contain a password.
impl FromStr for BusAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const ACCEPTED: &str = "expected `memory`, `file:<directory>` or `redis://[user:password@]host[:port][/database]` (`rediss://` for TLS)";
        if text == "memory" {
            return Ok(Self::Memory);
        }
        let bad = |what: &str| Err(format!("{what}: {ACCEPTED}"));
        if let Some(directory) = text.strip_prefix(table::FILE_BUS) {
            // As a URL, `file:///var/lib/trident` has an empty host.
            let directory = directory.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(directory);
            if directory.is_empty() || directory.starts_with("//") || directory.contains('\0') {
                return bad("the address of a directory has no path");
            }
            return Ok(Self::File(directory.into()));
        }
        let Some(rest) = text.strip_prefix("redis://").or_else(|| text.strip_prefix("rediss://")) else {
            return bad("invalid bus address");
        };
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return bad("the URL contains a space or a control character");
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        // Neither a database nor what may follow it has one.
        if tail.contains('@') {
            return bad(
                "a user or password with `#`, `/` or `?` has to be percent-encoded in the URL: `#` is %23, `/` %2F, `?` %3F \
                 (and `@` %40, `%` %25)",
            );
        }
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => match bracketed.split_once(']') {
                Some((host, port)) => (host, port),
                None => return bad("the URL's IPv6 host has no `]`"),
            },
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        if host.is_empty() {
            return bad("the URL has no host");
        }
        if !port.is_empty()
            && port.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).is_none_or(|port| port == 0)
        {
            return bad("the URL's port must be a number from 1 to 65535");
        }
        let database = tail.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        if !database.is_empty() && database.parse::<u32>().is_err() {
            return bad("the URL's database must be a number");
        }
        Ok(Self::Redis(RedisAddress(text.to_owned())))
    }
}
