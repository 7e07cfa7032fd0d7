//! Where the order of messages comes from.

use std::{fmt, str::FromStr};

/// The bus to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusAddress {
    /// This process alone, in memory.
    Memory,
    /// A Redis that several processes share.
    Redis(RedisAddress),
}

impl BusAddress {
    /// Whether it is a Redis that is spoken to over TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Redis(address) if address.url().starts_with("rediss:"))
    }
}

/// The URL of a Redis: `redis://` or `rediss://` (TLS), `[user][:password]@`, host, `:port`, `/database`.
///
/// Printing it leaves the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress(String);

impl RedisAddress {
    /// The whole URL, password included, to connect with.
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
            Self::Redis(address) => address.fmt(f),
        }
    }
}

/// The error is a sentence for people; it never repeats the text, which may hold a password.
impl FromStr for BusAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const ACCEPTED: &str =
            "accepted are `memory` and `redis://[user:password@]host[:port][/database]` (`rediss://` for TLS)";
        if text == "memory" {
            return Ok(Self::Memory);
        }
        let bad = |what: &str| Err(format!("{what}; {ACCEPTED}"));
        let Some(rest) = text.strip_prefix("redis://").or_else(|| text.strip_prefix("rediss://")) else {
            return bad("not the address of a bus");
        };
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return bad("the URL holds a space or a control character");
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => match bracketed.split_once(']') {
                Some((host, port)) => (host, port),
                None => return bad("the URL's IPv6 host lacks its `]`"),
            },
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        if host.is_empty() {
            return bad("the URL names no host");
        }
        if !port.is_empty()
            && port.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).is_none_or(|port| port == 0)
        {
            return bad("the URL's port is no number from 1 to 65535");
        }
        let database = tail.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        if !database.is_empty() && database.parse::<u32>().is_err() {
            return bad("the URL's database is no number");
        }
        Ok(Self::Redis(RedisAddress(text.to_owned())))
    }
}
