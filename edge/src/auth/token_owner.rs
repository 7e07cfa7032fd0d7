//! The owner of a token, from its claims.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::value::RawValue;
use shared::pure::access::{Claims, Grants};

use super::{TokenFault, Verifier, token_cache::TokenCache};

/// The owner of a token.
#[derive(Debug)]
pub(crate) struct TokenOwner {
    pub(super) claims: Claims,
    pub(crate) subject: Option<Arc<str>>,
    pub(crate) fingerprint: u128,
    pub(crate) expires_at: SystemTime,
    /// Data of the application that identified the client.
    pub(super) data: Option<Box<RawValue>>,
}

/// The owners of tokens that were verified before.
#[derive(Debug, Default)]
pub(crate) struct TokenOwners(TokenCache<TokenOwner>);

impl TokenOwners {
    /// The bearer of `token`, if that is valid at `now`.
    ///
    /// # Errors
    /// Why it is not valid.
    pub(super) fn verify(
        &self,
        verifier: &Verifier,
        token: &str,
        now: SystemTime,
    ) -> Result<Arc<TokenOwner>, TokenFault> {
        if let Some(known) = self.0.get(token) {
            verifier.check(&known.claims, now)?;
            return Ok(known);
        }
        let owner = Arc::new(TokenOwner::new(token, verifier.verify(token, now)?));
        self.0.insert(token, owner.clone());
        Ok(owner)
    }
}

/// When that expires which does not.
fn never() -> SystemTime {
    SystemTime::now() + Duration::from_secs(100 * 366 * 86_400)
}

impl TokenOwner {
    pub(super) fn new(token: &str, mut claims: Claims) -> Self {
        // Two hashes of the same token with different prefixes: without a key for tokens, nobody can search for collisions.
        let half = |prefix: u8| {
            let mut hasher = DefaultHasher::new();
            (prefix, token).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        // A date that clocks cannot represent means "never".
        let exp = Duration::try_from_secs_f64(claims.exp).ok().and_then(|exp| UNIX_EPOCH.checked_add(exp));
        Self {
            subject: claims.sub.take().map(Arc::from),
            fingerprint: half(0) << 64 | half(1),
            expires_at: exp.unwrap_or_else(never),
            claims,
            data: None,
        }
    }

    /// The owner of the same token as the application knows it.
    pub(super) fn with(&self, subject: Option<Arc<str>>, trident: Grants, expires: Option<SystemTime>) -> Self {
        let claims = Claims { trident, ..self.claims.clone() };
        Self {
            claims,
            subject,
            fingerprint: self.fingerprint,
            expires_at: expires.unwrap_or(self.expires_at),
            data: None,
        }
    }

    /// A client without a token that the application identified at `at`, in seconds since the Unix epoch. Limits count one without a user
    /// by its address.
    pub(super) fn without_token(
        subject: Option<Arc<str>>,
        trident: Grants,
        expires: Option<SystemTime>,
        at: f64,
        address: IpAddr,
    ) -> Self {
        let claims = Claims { exp: f64::MAX, nbf: None, iat: Some(at), sub: None, jti: None, aud: None, trident };
        Self { expires_at: expires.unwrap_or_else(never), subject, ..Self::new(&address.to_string(), claims) }
    }

    /// The same with data of the application.
    pub(super) fn carrying(self, data: Option<Box<RawValue>>) -> Self {
        Self { data, ..self }
    }
}
