//! What backends may do, and what they have done to a client: their rights, and users that they have disconnected.

use std::time::Instant;

use shared::pure::access::ApiRight;

use super::{Access, bearer};
use crate::{ApiError, Edge, address, connections::Client, routes::RequestParts};

impl Access {
    /// The client of a request that takes a token from its header alone: a browser sends cookies with requests of other pages, too.
    #[must_use]
    pub fn by_header(edge: &Edge, parts: &RequestParts<'_>) -> Self {
        let address = address::client(parts.peer, parts.headers, &edge.settings.trusted_proxies);
        match bearer(parts.headers) {
            Ok(token) => Self::with_any_token(edge, token, address),
            Err(fault) => Self { fault: Some(fault.into()), ..Self::with_any_token(edge, None, address) },
        }
    }

    /// The client, for the registry of connections.
    #[must_use]
    pub fn client(&self) -> Client {
        Client { owner: self.bearer.clone(), address: self.address }
    }

    /// Whether the client may open a connection: a backend may have [disconnected](super::DisconnectedUsers) its user.
    ///
    /// # Errors
    /// 403 `disconnected`; counted.
    pub fn require_connection(&self) -> Result<(), ApiError> {
        let user = self.bearer.as_ref().and_then(|bearer| bearer.subject.as_deref());
        let left = user.and_then(|user| self.edge.disconnected.refused_for(user, Instant::now()));
        let Some(left) = left else { return Ok(()) };
        self.edge.metrics.refusals.disconnected.inc();
        let message = format!(
            "this user was disconnected by a backend, and its connections are refused for {} s more",
            left.as_secs() + 1
        );
        Err(ApiError::forbidden("disconnected", message))
    }

    /// Whether a backend with this token may do what takes `right`. Cookies do not count.
    ///
    /// # Errors
    /// 401 without a valid token in `Authorization`, 403 if its rights do not suffice; counted.
    pub fn require_api(&self, right: ApiRight) -> Result<(), ApiError> {
        let refusals = &self.edge.metrics.refusals;
        if let Some(fault) = &self.fault {
            return Err(ApiError::BadToken(fault.to_string()));
        }
        let claim = if right == ApiRight::Write { "[\"write\"]" } else { "[\"read\"]" };
        match self.grants() {
            Some(grants) if grants.may_api(right) => Ok(()),
            Some(_) => {
                refusals.not_allowed.inc();
                Err(ApiError::forbidden(
                    "insufficient_scope",
                    format!("this token needs the claim trident.api: {claim}"),
                ))
            }
            None => {
                refusals.not_allowed.inc();
                if !self.edge.verifier.has_key() {
                    return Err(ApiError::forbidden(
                        "no_key",
                        "nobody may use /v1 while no key for tokens is configured: set TRIDENT_SECRET (--secret) or \
                         TRIDENT_JWT_PUBLIC_KEY_FILE (--jwt-public-key-file)",
                    ));
                }
                Err(ApiError::TokenNeeded(format!(
                    "a token with the claim trident.api: {claim} is required; send it as `Authorization: Bearer <token>`"
                )))
            }
        }
    }
}
