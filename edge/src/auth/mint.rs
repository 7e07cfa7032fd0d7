//! Creates tokens, for operators at the command line and for the demo; a site's own backend creates its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use shared::pure::access::{ApiRight, Audience, Claims, Grants, Patterns};

use super::revocations;
use crate::settings::Secret;

/// The content of a token.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The channels that the token may publish to.
    pub publish: Patterns,
    /// The channels that the token may subscribe to.
    pub subscribe: Patterns,
    /// What it allows as a backend.
    pub api: Vec<ApiRight>,
    /// How long it is valid.
    pub ttl: Duration,
    /// The user that it identifies.
    pub subject: Option<String>,
    /// Its intended recipient.
    pub audience: Option<String>,
}

/// A token signed with `secret` (HS256) that is valid from `now` on.
///
/// # Errors
/// When signing fails, which does not happen with HS256.
pub fn mint(secret: &Secret, request: &TokenRequest, now: SystemTime) -> Result<String, jsonwebtoken::errors::Error> {
    let exp = (now + request.ttl).duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = Claims {
        // Rounded up, so that a token is never valid for less than requested.
        exp: exp.as_secs_f64().ceil(),
        nbf: None,
        // In milliseconds, so that a token that is issued right after a revocation is not covered by it.
        iat: Some((revocations::seconds(now) * 1_000.0).floor() / 1_000.0),
        jti: Some(format!("{:032x}", rand::random::<u128>())),
        sub: request.subject.clone(),
        aud: request.audience.clone().map(Audience::One),
        trident: Grants {
            publish: request.publish.clone(),
            subscribe: request.subscribe.clone(),
            api: request.api.clone(),
        },
    };
    let header = Header { kid: secret.kid().map(ToOwned::to_owned), ..Header::new(Algorithm::HS256) };
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret.as_bytes()))
}
