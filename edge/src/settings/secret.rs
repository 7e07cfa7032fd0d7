//! The secrets that HS256 tokens are signed with.

use std::fmt;

use super::{Fault, Sources, table, values};

/// Bytes of the shortest secret: a key as long as the hash (RFC 7518 §3.2).
const SHORTEST: usize = 32;

/// A secret of at least 32 bytes, and the name that tokens call it by, if it has one. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    kid: Option<String>,
    text: String,
}

impl Secret {
    /// A secret, when it is long enough.
    ///
    /// # Errors
    /// What is wrong with it; the message does not hold the secret.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() < SHORTEST {
            return Err(format!(
                "the secret has {} bytes; HS256 takes {SHORTEST} at least (RFC 7518 §3.2), as `openssl rand -hex 32` makes them; \
                 between several stands a comma",
                text.len()
            ));
        }
        Ok(Self { kid: None, text: text.to_owned() })
    }

    /// `kid=secret`, or a secret alone. What stands before a `=` is a name only if enough for a secret is left behind it:
    /// base64 ends in `=` too.
    fn named(text: &str) -> Result<Self, String> {
        let is_name = |name: &str| {
            (1..=64).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        match text.split_once('=') {
            Some((kid, secret)) if is_name(kid) && secret.len() >= SHORTEST => {
                Ok(Self { kid: Some(kid.to_owned()), text: secret.to_owned() })
            }
            _ => Self::new(text),
        }
    }

    /// The name that tokens call it by.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The secret itself, to sign and verify with.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secrets from `TRIDENT_SECRET`, with commas between them, or from the file that `TRIDENT_SECRET_FILE` names, where
/// orchestrators mount it, one a line. The first one signs; all of them verify.
pub(super) fn read(from: &mut Sources<'_>) -> Option<Vec<Secret>> {
    let direct = from.read(&table::SECRET, |text| secrets(text.split(',')))?;
    let file = from.read(&table::SECRET_FILE, |path| {
        if path.is_empty() {
            return Ok(Vec::new());
        }
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", values::shown(path)))?;
        match secrets(text.lines())? {
            secrets if secrets.is_empty() => Err(format!("{} holds no secret", values::shown(path))),
            secrets => Ok(secrets),
        }
    })?;
    if !direct.is_empty() && !file.is_empty() {
        let message = format!("both this and {} are set; one of them is accepted", table::SECRET.variable());
        from.fault(Fault::new(&table::SECRET_FILE, message));
        return None;
    }
    Some(if direct.is_empty() { file } else { direct })
}

fn secrets<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Secret>, String> {
    let mut secrets: Vec<Secret> = Vec::new();
    for text in texts.map(str::trim).filter(|text| !text.is_empty()) {
        let secret = Secret::named(text)?;
        if secret.kid.is_some() && secrets.iter().any(|other| other.kid == secret.kid) {
            return Err("two secrets have the same name; each `name=secret` needs its own".to_owned());
        }
        secrets.push(secret);
    }
    Ok(secrets)
}
