//! Clients that the application has identified.

use std::{sync::Arc, time::SystemTime};

use serde_json::value::RawValue;
use shared::pure::access::Grants;

use super::Access;
use crate::{
    ApiError, address,
    auth::{TokenFault, revocations, token_owner::TokenOwner},
    calls::Identified,
};

impl Access {
    /// The client as the application identifies it: what it says takes precedence over the client's token, and patterns are never those of
    /// both.
    #[must_use]
    pub(crate) fn identified(self, by: &Identified) -> Self {
        if by.is_empty() {
            return self;
        }
        let known = self.bearer.as_deref();
        let grants = known.map(|known| known.claims.trident.clone()).unwrap_or_default();
        let grants = Grants {
            publish: by.publish.clone().unwrap_or(grants.publish),
            subscribe: by.subscribe.clone().unwrap_or(grants.subscribe),
            api: Vec::new(),
        };
        let user = by.user.clone().or_else(|| known.and_then(|known| known.subject.clone()));
        let at = revocations::seconds(by.at.unwrap_or_else(SystemTime::now));
        let owner = match known {
            Some(known) => known.with(user, grants, by.expires),
            None => TokenOwner::without_token(user, grants, by.expires, at, address::counted(self.address)),
        };
        Self { bearer: Some(Arc::new(owner.carrying(by.data.clone()))), fault: None, ..self }
    }

    /// Whether what the application said about the client still applies at `now`: it has not expired, and was not revoked.
    ///
    /// # Errors
    /// 403 `refused` after its end, 401 after a revocation.
    pub(crate) fn require_current(&self, now: SystemTime) -> Result<(), ApiError> {
        let Some(owner) = self.bearer.as_deref() else { return Ok(()) };
        if owner.expires_at <= now {
            return Err(ApiError::forbidden("refused", "the answer of the backend about this client has expired"));
        }
        if self.edge.revocations.cover(owner, now) {
            return Err(ApiError::BadToken(TokenFault::Revoked.to_string()));
        }
        Ok(())
    }

    /// Data of the application, if it has identified the client and gave any.
    #[must_use]
    pub fn data(&self) -> Option<&RawValue> {
        self.bearer.as_ref()?.data.as_deref()
    }
}
