//! The secret that HS256 tokens are signed with.

use std::fmt;

use super::{Fault, Sources, table, values};

/// Bytes of the shortest secret: a key as long as the hash (RFC 7518 §3.2).
const SHORTEST: usize = 32;

/// A secret of at least 32 bytes. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret, when it is long enough.
    ///
    /// # Errors
    /// What is wrong with it; the message does not hold the secret.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() < SHORTEST {
            return Err(format!(
                "the secret has {} bytes; HS256 takes {SHORTEST} at least (RFC 7518 §3.2), as `openssl rand -hex 32` makes them",
                text.len()
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The secret itself, to sign and verify with.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secret from `TRIDENT_SECRET`, or from the file that `TRIDENT_SECRET_FILE` names, where orchestrators mount it.
pub(super) fn read(from: &mut Sources<'_>) -> Option<Option<Secret>> {
    let optional = |text: &str| if text.is_empty() { Ok(None) } else { Secret::new(text).map(Some) };
    let direct = from.read(&table::SECRET, optional)?;
    let file = from.read(&table::SECRET_FILE, |path| {
        if path.is_empty() {
            return Ok(None);
        }
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", values::shown(path)))?;
        // Editors and `echo` end a file with a line break that is no part of the secret.
        Secret::new(text.trim_end_matches(['\r', '\n'])).map(Some)
    })?;
    if direct.is_some() && file.is_some() {
        let message = format!("both this and {} are set; one of them is accepted", table::SECRET.variable());
        from.fault(Fault::new(&table::SECRET_FILE, message));
        return None;
    }
    Some(direct.or(file))
}
