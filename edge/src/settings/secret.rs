//! The secrets of HS256 tokens.

use std::fmt;

use super::{Fault, Sources, table, values};

/// Minimum length of a secret in bytes: that of the hash (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// A secret of at least 32 bytes, and its name in tokens, if it has one. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    kid: Option<String>,
    text: String,
}

impl Secret {
    /// A secret, if it is long enough.
    ///
    /// # Errors
    /// The problem; the message does not contain the secret.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() < MIN_SECRET_BYTES {
            return Err(format!(
                "a secret needs at least {MIN_SECRET_BYTES} bytes (RFC 7518 §3.2), and this one has {}; `openssl rand -hex 32` creates one. \
                 Separate several secrets with commas, or with line ends in a file",
                text.len()
            ));
        }
        Ok(Self { kid: None, text: text.to_owned() })
    }

    /// `kid=secret`, or a secret alone. The text before a `=` is a name only if the rest is long enough for a secret: base64 ends in `=`,
    /// too.
    fn named(text: &str) -> Result<Self, String> {
        let is_name = |name: &str| {
            (1..=64).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        match text.split_once('=') {
            Some((kid, secret)) if is_name(kid) && secret.len() >= MIN_SECRET_BYTES => {
                Ok(Self { kid: Some(kid.to_owned()), text: secret.to_owned() })
            }
            _ => Self::new(text),
        }
    }

    /// Its name in tokens.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The secret itself, for signing and verifying.
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

/// The secrets from `TRIDENT_SECRET`, separated by commas, or from the file `TRIDENT_SECRET_FILE`, one per line, which orchestrators mount.
/// The first one signs; all of them verify.
pub(super) fn read(from: &mut Sources<'_>) -> Option<Vec<Secret>> {
    let direct = from.read(&table::SECRET, |text| secrets(text.split(',')))?;
    let file = from.read(&table::SECRET_FILE, |path| {
        if path.is_empty() {
            return Ok(Vec::new());
        }
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", values::shown(path)))?;
        match secrets(text.lines())? {
            secrets if secrets.is_empty() => Err(format!("{} contains no secret", values::shown(path))),
            secrets => Ok(secrets),
        }
    })?;
    if !direct.is_empty() && !file.is_empty() {
        let message = format!("both this and {} are set; only one is accepted", table::SECRET.variable());
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
