//! Authentication and authorization.
//!
//! A request has a token in its header, its cookie, or (Socket.IO) its handshake; [`Verifier`] checks it; the result is [`Access`], which
//! decides for each channel. A token is optional. Over HTTP, an invalid one gives no rights beyond those that everybody has; the first message
//! of a Socket.IO client with an invalid token is rejected.

mod access;
mod disconnected;
mod identity;
mod mint;
mod public_key;
mod restrictions;
mod revocations;
mod token_cache;
mod token_owner;
mod verifier;

#[cfg(test)]
mod tests;

pub use access::{Access, TOKEN_COOKIE};
pub use disconnected::{DisconnectedUsers, MAX_USER_BYTES, TooManyUsers};
pub(crate) use disconnected::{Kind, Refusal};
pub use identity::Identity;
pub use mint::{TokenRequest, mint};
pub use public_key::PublicKey;
pub use restrictions::Restricted;
pub use revocations::{Revocation, Revocations, Revoked, TooManyRevocations, seconds, to_seconds};
pub(super) use token_owner::{TokenOwner, TokenOwners};
pub use verifier::{LEEWAY, TokenFault, Verifier};
