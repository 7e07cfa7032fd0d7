//! Who shows a token, as far as its claims say.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use shared::pure::access::Claims;

use super::{TokenFault, Verifier, token_cache::TokenCache};

/// The owner of a token.
#[derive(Debug)]
pub(crate) struct TokenOwner {
    pub(super) claims: Claims,
    pub(crate) subject: Option<Arc<str>>,
    pub(crate) fingerprint: u128,
    pub(super) expires_at: SystemTime,
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
        let far = Duration::from_secs(100 * 366 * 86_400);
        Self {
            subject: claims.sub.take().map(Arc::from),
            fingerprint: half(0) << 64 | half(1),
            expires_at: exp.unwrap_or_else(|| SystemTime::now() + far),
            claims,
        }
    }
}
