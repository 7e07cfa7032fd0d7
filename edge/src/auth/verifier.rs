//! Verifies tokens: JSON Web Tokens (RFC 7519) signed with a configured key.
//!
//! Each key is bound to one algorithm: secrets to HS256, and public keys to RS256, ES256 or EdDSA, depending on their kind. The header of a
//! token only selects among the keys of its algorithm, so it can neither turn a public key into an HMAC secret nor use `none` (RFC 8725
//! §3.1, §3.2).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde::Deserialize;
use shared::pure::access::{Claims, ClaimsFault};

use super::public_key::{Key, PublicKey};
use crate::settings::{Secret, Settings};

/// Seconds before its `nbf` at which a token is accepted, for issuers whose clock is ahead.
pub const LEEWAY: f64 = 5.0;

/// Maximum length in bytes of a token that is checked. The server limits headers, but not Socket.IO's handshake.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Why a token is invalid. The messages contain no part of the token or the keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not a JSON Web Token, or in an unsupported form.
    #[error("malformed token: {0}")]
    Malformed(String),
    /// Signed with an algorithm that no key uses.
    #[error("unsupported token algorithm (alg); accepted: {0}")]
    Algorithm(String),
    /// Signed with another key, or modified.
    #[error("invalid token signature: unknown key, or the token was modified")]
    Signature,
    /// Correctly signed, but revoked.
    #[error("the token has been revoked")]
    Revoked,
    /// Correctly signed, but not valid now or here.
    #[error(transparent)]
    Claims(#[from] ClaimsFault),
}

/// The keys of this server, and the required audience.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    keys: Vec<Key>,
    audience: Option<String>,
}

/// The relevant part of a token's header (RFC 7515 §4.1).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

impl Verifier {
    /// The configured keys.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self::with_keys(&settings.secrets, settings.public_keys.clone(), settings.audience.clone())
    }

    /// These keys; `audience`, if given, has to be in every token's `aud`.
    #[must_use]
    pub fn with_keys<'a>(
        secrets: impl IntoIterator<Item = &'a Secret>,
        public: Vec<PublicKey>,
        audience: Option<String>,
    ) -> Self {
        let secrets = secrets.into_iter().map(|secret| Key {
            kid: secret.kid().map(ToOwned::to_owned),
            algorithm: Algorithm::HS256,
            key: DecodingKey::from_secret(secret.as_bytes()),
        });
        Self { keys: secrets.chain(public.into_iter().map(|public| public.0)).collect(), audience }
    }

    /// Whether a token with these claims, whose signature was verified, is valid at `now` on this server.
    ///
    /// # Errors
    /// Why it is invalid.
    pub fn check(&self, claims: &Claims, now: SystemTime) -> Result<(), TokenFault> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Ok(claims.check(now, LEEWAY, self.audience.as_deref())?)
    }

    /// Whether there are any keys; without one no token is valid.
    #[must_use]
    pub fn has_key(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The claims of `token`, if it is valid at `now`.
    ///
    /// # Errors
    /// The first reason why it is invalid.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Claims, TokenFault> {
        let header = header(token)?;
        let candidates = self.candidates(&header);
        if candidates.is_empty() {
            return Err(TokenFault::Algorithm(self.algorithms()));
        }
        let claims = candidates.into_iter().find_map(|(algorithm, key)| signed(token, algorithm, key).transpose());
        let claims = claims.unwrap_or(Err(TokenFault::Signature))?;
        self.check(&claims, now)?;
        Ok(claims)
    }

    /// The keys that may have signed a token with this header: those of its algorithm, and of these the ones with its `kid`. If no key has
    /// this `kid`, the operator did not name the keys, and all of them are tried.
    fn candidates(&self, header: &Header) -> Vec<(Algorithm, &DecodingKey)> {
        let fits = |key: &&Key| name(key.algorithm) == header.alg;
        let named = |key: &&Key| key.kid.is_some() && key.kid == header.kid;
        let any_named = self.keys.iter().filter(fits).any(|key| named(&key));
        self.keys
            .iter()
            .filter(fits)
            .filter(|key| !any_named || named(key))
            .map(|key| (key.algorithm, &key.key))
            .collect()
    }

    fn algorithms(&self) -> String {
        let mut names: Vec<&str> = self.keys.iter().map(|key| name(key.algorithm)).collect();
        names.dedup();
        names.join(", ")
    }
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "HS256",
        Algorithm::RS256 => "RS256",
        Algorithm::ES256 => "ES256",
        Algorithm::EdDSA => "EdDSA",
        _ => "none of ours",
    }
}

fn header(token: &str) -> Result<Header, TokenFault> {
    let malformed = |what: &str| TokenFault::Malformed(what.to_owned());
    if token.len() > MAX_TOKEN_BYTES {
        return Err(malformed("longer than 8 KiB"));
    }
    let mut parts = token.split('.');
    let (Some(first), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(malformed("a JSON Web Token has three parts, separated by dots"));
    };
    let bytes = URL_SAFE_NO_PAD.decode(first).map_err(|_| malformed("the header is not base64url"))?;
    let header: Header =
        serde_json::from_slice(&bytes).map_err(|_| malformed("the header is not JSON with an `alg`"))?;
    if header.crit.is_some() {
        // RFC 7515 §4.1.11: unsupported critical extensions make a token invalid, and none are supported.
        return Err(malformed("the header has `crit` extensions, which are not supported"));
    }
    Ok(header)
}

/// The claims if `key` signed the token, `None` if another key did.
fn signed(token: &str, algorithm: Algorithm, key: &DecodingKey) -> Result<Option<Claims>, TokenFault> {
    let mut validation = Validation::new(algorithm);
    // Dates and audience are checked separately, with the caller's clock.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    match jsonwebtoken::decode::<Claims>(token, key, &validation) {
        Ok(data) => Ok(Some(data.claims)),
        Err(error) => match error.kind() {
            ErrorKind::Json(error) => {
                // The position within the claims is useless to somebody who sees them encoded.
                let error = error.to_string();
                let what = error.split(" at line ").next().unwrap_or_default();
                let what = match what.strip_prefix("missing field ") {
                    Some(claim) => format!("the required claim {claim} is missing"),
                    None => format!("invalid claims: {what}"),
                };
                Err(TokenFault::Malformed(what))
            }
            ErrorKind::Base64(_) | ErrorKind::Utf8(_) | ErrorKind::InvalidToken => {
                Err(TokenFault::Malformed("one of the parts is not base64url".to_owned()))
            }
            _ => Ok(None),
        },
    }
}
