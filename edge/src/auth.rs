//! Who asks, and what they may do.
//!
//! A request shows a token in its header, its cookie, or (Socket.IO) its handshake; [`Verifier`] checks it; [`Access`]
//! is what comes out, and answers for each channel. Nobody has to show a token, but one that is shown must hold: a
//! client whose token ran out is told so even where it could go without.

mod access;
mod mint;
mod remembered;
mod verifier;

#[cfg(test)]
mod tests;

pub(super) use access::Bearers;
pub use access::{Access, Identity, TOKEN_COOKIE};
pub use mint::{TokenRequest, mint};
pub use verifier::{LEEWAY, PublicKey, TokenFault, Verifier};
