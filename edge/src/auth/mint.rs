//! Makes tokens, for operators at the command line and for the demo; a site's own backend makes its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use shared::pure::access::{Audience, Claims, Grants, Patterns};

use crate::settings::Secret;

/// What a token is to say.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The channels its bearer may publish to.
    pub publish: Patterns,
    /// The channels its bearer may subscribe to.
    pub subscribe: Patterns,
    /// How long it holds.
    pub ttl: Duration,
    /// Whom it speaks for.
    pub subject: Option<String>,
    /// Whom it is meant for.
    pub audience: Option<String>,
}

/// A token signed with `secret` (HS256) that holds from `now` on.
///
/// # Errors
/// When the signature fails, which for HS256 it does not.
pub fn mint(secret: &Secret, request: &TokenRequest, now: SystemTime) -> Result<String, jsonwebtoken::errors::Error> {
    let exp = (now + request.ttl).duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = Claims {
        // Up, so that a token never holds for less than was asked.
        exp: exp.as_secs_f64().ceil(),
        nbf: None,
        sub: request.subject.clone(),
        aud: request.audience.clone().map(Audience::One),
        trident: Grants { publish: request.publish.clone(), subscribe: request.subscribe.clone() },
    };
    let header = Header { kid: secret.kid().map(ToOwned::to_owned), ..Header::new(Algorithm::HS256) };
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret.as_bytes()))
}
