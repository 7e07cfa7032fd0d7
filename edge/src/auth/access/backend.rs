//! What backends may do, and what they have done to a client: their rights, and users that they have disconnected.

use std::time::{Duration, Instant, SystemTime};

use shared::pure::{
    ChannelName, NameError,
    access::{ApiRight, Patterns},
};

use super::{Access, bearer};
use crate::{
    ApiError, Edge, address,
    connections::{Client, Connection, ConnectionId, End, Polling, Registration},
    limits::Slot,
    metrics::Transport,
    routes::RequestParts,
};

impl Access {
    /// The client of a request that takes a token from its header alone: a browser sends cookies with requests of other pages, too.
    #[must_use]
    pub fn by_header(edge: &Edge, parts: &RequestParts<'_>) -> Self {
        let address = address::client(parts.peer, parts.headers, &edge.settings.trusted_proxies);
        match bearer(parts.headers) {
            Ok(token) => Self::with_any_token(edge, token, address),
            Err(fault) => Self { fault: Some(fault.to_owned().into()), ..Self::with_any_token(edge, None, address) },
        }
    }

    /// Whether the client has a token of a server, with `trident.api`.
    #[must_use]
    pub fn is_backend(&self) -> bool {
        self.grants().is_some_and(|grants| !grants.api.is_empty())
    }

    /// Whether the client may read all channels that `pattern` selects: a backend may.
    ///
    /// # Errors
    /// 400 `bad_channel` for everybody else, to whom it is no name of a channel; 401 for an invalid token.
    pub(super) fn require_pattern(&self, pattern: &ChannelName) -> Result<(), ApiError> {
        match &self.fault {
            _ if self.is_backend() => Ok(()),
            Some(fault) => Err(ApiError::BadToken(fault.to_string())),
            None => {
                let (name, message) = (NameError::Channel, "a pattern takes a token with the claim trident.api");
                Err(ApiError::invalid("bad_channel", format!("`{pattern}`: {message}; {name}")))
            }
        }
    }

    /// Registers the connection of `slot`, with the channels that it reads, until the slot is dropped.
    ///
    /// A handler may have waited since it admitted the client. If the token was revoked or the user disconnected in the meantime, the
    /// connection is registered and has to [end](Slot::end).
    pub fn register(&self, slot: &mut Slot, channels: &[ChannelName]) {
        let connection = slot.register(self.client(), channels);
        self.end_if_refused(connection);
    }

    /// As [`Access::register`], for a client with an id that shares its connection with others: until the registration is dropped. The
    /// connection has its slot already.
    #[must_use]
    pub fn register_as(&self, id: ConnectionId, transport: Transport, channels: &[ChannelName]) -> Registration {
        let registration = Registration::new(self.edge.limits.registry(), id, self.client(), transport, channels);
        self.end_if_refused(registration.connection());
        registration
    }

    /// Registers a poll of the client; see [`Connections::poll`](crate::connections::Connections::poll). As with [`Access::register`], it may
    /// have to end already.
    #[must_use]
    pub fn register_poll(&self, channels: &[ChannelName], wait: Duration) -> Polling {
        let polling = self.edge.limits.registry().poll(self.client(), channels, wait);
        self.end_if_refused(polling.connection());
        polling
    }

    /// Ends a connection that is in the registry if a backend revoked its token or disconnected its user before it was.
    fn end_if_refused(&self, connection: &Connection) {
        if connection.is_revoked(&self.edge.revocations, SystemTime::now()) {
            connection.end_for(End::Revoked);
        } else if self.refused_for().is_some() {
            connection.end_for(End::Disconnected);
        }
    }

    fn client(&self) -> Client {
        Client { owner: self.bearer.clone(), address: self.address }
    }

    /// How long connections of the client's user are refused, if they are.
    fn refused_for(&self) -> Option<Duration> {
        let user = self.bearer.as_ref()?.subject.as_deref()?;
        self.edge.disconnected.refused_for(user, Instant::now())
    }

    /// Whether the client may open a connection: a backend may have [disconnected](super::DisconnectedUsers) its user.
    ///
    /// # Errors
    /// 403 `disconnected`; counted.
    pub fn require_connection(&self) -> Result<(), ApiError> {
        let Some(left) = self.refused_for() else { return Ok(()) };
        self.edge.metrics.refusals.disconnected.inc();
        let message = format!(
            "this user was disconnected by a backend, and its connections are refused for {} s more",
            left.as_secs() + 1
        );
        Err(ApiError::forbidden("disconnected", message))
    }

    /// Whether the client has a valid token, which is required to `act`.
    ///
    /// # Errors
    /// 401 without one, 403 if no key for tokens is configured; counted.
    pub fn require_token(&self, act: &str) -> Result<(), ApiError> {
        if let Some(fault) = &self.fault {
            return Err(ApiError::BadToken(fault.to_string()));
        }
        if self.has_token() {
            return Ok(());
        }
        self.edge.metrics.refusals.not_allowed.inc();
        if !self.edge.verifier.has_key() {
            let message = format!(
                "nobody may {act} while no key for tokens is configured: set TRIDENT_SECRET (--secret) or \
                 TRIDENT_JWT_PUBLIC_KEY_FILE (--jwt-public-key-file)"
            );
            return Err(ApiError::forbidden("no_key", message));
        }
        Err(ApiError::TokenNeeded(format!("a token is required to {act}; send it as `Authorization: Bearer <token>`")))
    }

    /// The channels that the claim `trident.subscribe` of the token has.
    #[must_use]
    pub fn subscribe_patterns(&self) -> Patterns {
        self.grants().map(|grants| grants.subscribe.clone()).unwrap_or_default()
    }

    /// Whether the token grants `right`. Cookies are ignored.
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
