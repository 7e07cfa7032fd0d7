//! Session ids: 15 random bytes as 20 URL-safe base64 characters, from the operating system's generator.

use std::{cell::RefCell, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRng as _, rngs::SysRng};

/// A random id of 20 characters, `A-Z a-z 0-9 _ -`. The id of an Engine.IO session is a secret between its client and the server;
/// the id of a Socket.IO socket is another one, and public.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid([u8; 20]);

impl Sid {
    /// A new id. Fails if the operating system provides no random bytes.
    pub fn random() -> Result<Self, IdError> {
        let raw = random_bytes()?;
        let mut text = [0; 20];
        URL_SAFE_NO_PAD.encode_slice(raw, &mut text).map_err(|_| IdError)?;
        Ok(Self(text))
    }

    /// A new id that begins with `prefix`: up to four characters of those that ids are made of, so that at least 96 bits are random. Any
    /// other prefix is passed over.
    ///
    /// # Errors
    /// As [`random`](Self::random).
    pub(crate) fn beginning_with(prefix: &str) -> Result<Self, IdError> {
        let mut sid = Self::random()?;
        if prefix.len() <= MAX_PREFIX_CHARS && prefix.bytes().all(is_of_ids) {
            sid.0[..prefix.len()].copy_from_slice(prefix.as_bytes());
        }
        Ok(sid)
    }

    /// The id, if `text` has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 20] = text.as_bytes().try_into().ok()?;
        bytes.iter().copied().all(is_of_ids).then_some(Self(bytes))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        // Both constructors let ASCII pass only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Random bytes of an id.
const RANDOM: usize = 15;
/// Ids for which random bytes are drawn at once: the system call costs more than the bytes.
const DRAWN: usize = 32;

thread_local! {
    /// Random bytes that are not used yet.
    static POOL: RefCell<Vec<[u8; RANDOM]>> = const { RefCell::new(Vec::new()) };
}

fn random_bytes() -> Result<[u8; RANDOM], IdError> {
    POOL.with_borrow_mut(|pool| {
        if pool.is_empty() {
            let mut drawn = [0; RANDOM * DRAWN];
            SysRng.try_fill_bytes(&mut drawn).map_err(|_| IdError)?;
            pool.extend_from_slice(drawn.as_chunks().0);
        }
        pool.pop().ok_or(IdError)
    })
}

/// Characters of an id that need not be random. Each of the other sixteen is six random bits.
const MAX_PREFIX_CHARS: usize = 4;

fn is_of_ids(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system provides no random bytes")]
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

    #[test]
    fn no_two_ids_are_alike() {
        let ids = || (0..5 * DRAWN).map(|_| Sid::random().unwrap()).collect::<Vec<_>>();
        let mut all = [ids(), std::thread::spawn(ids).join().unwrap()].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10 * DRAWN);
    }

    #[test]
    fn prefixes_of_ids() {
        for prefix in ["", "a", "0af3", "-_Z9"] {
            let (a, b) = (Sid::beginning_with(prefix).unwrap(), Sid::beginning_with(prefix).unwrap());
            assert!(a.as_str().starts_with(prefix) && a != b);
            assert_eq!(Sid::parse(a.as_str()), Some(a));
        }
        for bad in ["a b", "a+", "é", "12345", "a\n", "\0"] {
            let sid = Sid::beginning_with(bad).unwrap();
            assert!(!sid.as_str().starts_with(bad));
            assert_eq!(Sid::parse(sid.as_str()), Some(sid));
        }
    }
}
