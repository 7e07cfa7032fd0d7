//! Authentication and authorization.
//!
//! A request has a token in its header, its cookie, or (Socket.IO) its handshake; [`Verifier`] checks it; the result is [`Access`], which
//! decides for each channel. A token is optional, but a present one must be valid: a client whose token has expired gets an error even for
//! public channels.

mod access;
mod mint;
mod token_cache;
mod verifier;

#[cfg(test)]
mod tests;

pub(super) use access::TokenOwners;
pub use access::{Access, Identity, TOKEN_COOKIE};
pub use mint::{TokenRequest, mint};
pub use verifier::{LEEWAY, PublicKey, TokenFault, Verifier};
