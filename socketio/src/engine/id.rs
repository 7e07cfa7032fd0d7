//! Session ids: 15 random bytes as 20 URL-safe base64 characters, from the operating system's generator.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRng as _, rngs::SysRng};

/// A random id of 20 characters, `A-Z a-z 0-9 _ -`. The id of an Engine.IO session is a secret between its client and the server;
/// the id of a Socket.IO socket is another one, and public.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid([u8; 20]);

impl Sid {
    /// A new id. Without randomness there is no session, so the failure of the operating system's generator is passed on.
    pub fn random() -> Result<Self, IdError> {
        let mut raw = [0; 15];
        SysRng.try_fill_bytes(&mut raw).map_err(|_| IdError)?;
        let mut text = [0; 20];
        URL_SAFE_NO_PAD.encode_slice(raw, &mut text).map_err(|_| IdError)?;
        Ok(Self(text))
    }

    /// The id, if `text` has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 20] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')).then_some(Self(bytes))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        // Both constructors let ASCII pass only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes from the operating system")]
pub struct IdError;

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_and_round_trip() {
        let a = Sid::random().unwrap();
        let b = Sid::random().unwrap();
        assert_ne!(a, b);
        assert_eq!(Sid::parse(a.as_str()), Some(a));
        for bad in ["", "short", "0123456789012345678é", "0123456789 123456789"] {
            assert_eq!(Sid::parse(bad), None, "{bad}");
        }
    }
}
