//! Whom limits are counted for.

use std::{fmt, net::IpAddr, sync::Arc};

/// The identity for limits and idempotency keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The `sub` of a token.
    Subject(Arc<str>),
    /// A token without a `sub`, identified by a fingerprint.
    Token(u128),
    /// A client without a token, identified by its address.
    Address(IpAddr),
}

/// A text that differs for every identity and contains no credentials.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(subject) => write!(f, "sub:{subject}"),
            Self::Token(fingerprint) => write!(f, "token:{fingerprint:032x}"),
            Self::Address(address) => write!(f, "addr:{address}"),
        }
    }
}
