//! The permissions of a client.

mod backend;
mod identified;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_web::http::header::{self, HeaderMap};
use shared::pure::{
    ChannelName, NameError, Publisher,
    access::{ApiRight, Grants, Patterns},
};

use super::{Identity, TokenFault, token_owner::TokenOwner};
use crate::{ApiError, Edge, address, parts::RequestParts, receiving::Share, settings::CallKind};

/// The cookie with the token, for browsers: an `EventSource` cannot send headers.
pub const TOKEN_COOKIE: &str = "trident_token";

/// The prefix of the channels of chat rooms.
const CHAT: &str = "chat.";

/// The permissions of a client: public channels, and those of its token.
///
/// An invalid token adds no permissions and is not an error by itself: public
/// channels stay accessible, and a request that needs a token is rejected with the problem of the invalid one. An expired cookie therefore
/// does not keep a page from public channels.
#[derive(Clone, Debug)]
pub struct Access {
    edge: Edge,
    address: IpAddr,
    /// Boxed, since most clients have no token, and there are many.
    bearer: Option<Arc<TokenOwner>>,
    /// Why the client's token is invalid.
    fault: Option<Arc<String>>,
    /// Why the client's cookie does not allow publishing, or is ignored.
    cookie: Cookie,
}

/// How far a cookie's token is trusted: browsers send cookies with requests of pages of other origins, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cookie {
    /// The token was not in a cookie, or the page has an allowed origin.
    Sound,
    /// There was no `Origin`: sufficient for reading, since no other page can read the response, but not for publishing.
    WithoutOrigin,
    /// The page has another origin: the cookie is ignored.
    Foreign,
}

impl Access {
    /// The client of this request. `Authorization: Bearer` takes precedence over the cookie.
    ///
    /// An `Authorization` of another scheme is ignored (a proxy may use it). Without a key no token can be valid, so tokens are not
    /// checked, and every client has access to public channels only.
    #[must_use]
    pub fn of(edge: &Edge, parts: &RequestParts<'_>) -> Self {
        let headers = parts.headers;
        let address = address::client(parts.peer, headers, &edge.settings.trusted_proxies);
        match bearer(headers) {
            Ok(None) => {}
            Ok(token) => return Self::with_any_token(edge, token, address),
            Err(fault) => {
                return Self { fault: Some(fault.to_owned().into()), ..Self::with_any_token(edge, None, address) };
            }
        }
        if cookies(headers).next().is_none() {
            return Self::with_any_token(edge, None, address);
        }
        let sound = match origin(headers) {
            None => Cookie::WithoutOrigin,
            Some(origin) if edge.settings.origins.allow_credentials(origin, headers) => Cookie::Sound,
            Some(_) => Cookie::Foreign,
        };
        let tokens = cookies(headers).filter(|_| sound != Cookie::Foreign);
        Self { cookie: sound, ..Self::with_any_token(edge, tokens, address) }
    }

    /// The client with this token and this address: for transports with a token outside of the headers, such as Socket.IO's `auth.token`.
    ///
    /// # Errors
    /// [`ApiError::BadToken`] if the token is invalid.
    pub fn with_token(edge: &Edge, token: Option<&str>, address: IpAddr) -> Result<Self, ApiError> {
        let access = Self::with_any_token(edge, token, address);
        match &access.fault {
            None => Ok(access),
            Some(fault) => Err(ApiError::BadToken(fault.to_string())),
        }
    }

    /// As [`Access::with_token`] for the first valid one of these tokens; invalid ones are ignored.
    fn with_any_token<'a>(edge: &Edge, tokens: impl IntoIterator<Item = &'a str>, address: IpAddr) -> Self {
        let (mut bearer, mut fault) = (None, None);
        for token in tokens.into_iter().filter(|_| edge.verifier.has_key()) {
            match edge.tokens.verify(&edge.verifier, token, SystemTime::now()) {
                Ok(known) if edge.revocations.cover(&known, SystemTime::now()) => {
                    fault = fault.or_else(|| Some(TokenFault::Revoked.to_string().into()));
                }
                Ok(known) => {
                    bearer = Some(known);
                    break;
                }
                Err(error) => fault = fault.or_else(|| Some(error.to_string().into())),
            }
        }
        let fault = fault.filter(|_| bearer.is_none());
        if fault.is_some() {
            edge.metrics.refusals.bad_token.inc();
        }
        Self { edge: edge.clone(), address, bearer, fault, cookie: Cookie::Sound }
    }

    /// The client of a connection that sends many requests later, as Socket.IO's do: by the token in its first message (`shown`), or else
    /// by the headers of its first request.
    ///
    /// A cookie is accepted here even without an `Origin`: a page of another origin cannot read the answer that it needs in order to
    /// continue the connection, and a WebSocket always sends its origin.
    ///
    /// # Errors
    /// [`ApiError::BadToken`] if an invalid token was sent in another way than as a cookie, and therefore intentionally.
    pub fn of_handshake(
        edge: &Edge,
        shown: Option<&str>,
        headers: &HeaderMap,
        address: IpAddr,
    ) -> Result<Self, ApiError> {
        let explicit = shown.map_or_else(|| bearer(headers), |token| Ok(Some(token)));
        if let Some(token) = explicit.map_err(|fault| ApiError::BadToken(fault.to_owned()))? {
            return Self::with_token(edge, Some(token), address);
        }
        let is_ours = origin(headers).is_none_or(|origin| edge.settings.origins.allow_credentials(origin, headers));
        Ok(Self::with_any_token(edge, cookies(headers).filter(|_| is_ours), address))
    }

    /// Rejects an invalid token in `Authorization`, which was sent intentionally. One in a cookie adds no permissions.
    ///
    /// # Errors
    /// [`ApiError::BadToken`].
    pub(crate) fn require_no_bad_bearer(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        match &self.fault {
            Some(fault) if bearer(headers) != Ok(None) => Err(ApiError::BadToken(fault.to_string())),
            _ => Ok(()),
        }
    }

    /// Whether the client may subscribe to `channel`. A user may always read its own; a backend may read all.
    #[must_use]
    pub fn may_subscribe(&self, channel: &ChannelName) -> bool {
        let may = |grants: &Grants| grants.subscribe.allow(channel) || grants.may_api(ApiRight::Read);
        self.is_public(channel) || self.grants().is_some_and(may) || self.is_own(channel)
    }

    /// Whether `channel` is that of the client's user.
    fn is_own(&self, channel: &ChannelName) -> bool {
        channel.is_user() && self.user().is_some_and(|user| ChannelName::of_user(&user) == *channel)
    }

    /// Whether the client may publish to `channel`. Only the server publishes to its own channels.
    #[must_use]
    pub fn may_publish(&self, channel: &ChannelName) -> bool {
        let may = |grants: &Grants| grants.publish.allow(channel) || grants.may_api(ApiRight::Write);
        self.cookie == Cookie::Sound && !channel.is_server() && self.grants().is_some_and(may)
    }

    /// Whether the client may send chat messages to the room of `channel`: with permission to publish there, and in a public room always.
    #[must_use]
    pub fn may_chat(&self, channel: &ChannelName) -> bool {
        (channel.as_str().starts_with(CHAT) && self.is_public(channel)) || self.may_publish(channel)
    }

    /// Whether everybody may read `channel`. The channel of a user is never public.
    fn is_public(&self, channel: &ChannelName) -> bool {
        !channel.is_user() && self.edge.settings.public.allow(channel)
    }

    /// As [`Access::may_subscribe`], for handlers.
    ///
    /// # Errors
    /// 401 if a token might help, 403 if the client's token does not suffice, or none can.
    pub fn require_subscribe(&self, channel: &ChannelName) -> Result<(), ApiError> {
        if self.may_subscribe(channel) { Ok(()) } else { Err(self.refused("subscribe to", channel)) }
    }

    /// Checks that the client may subscribe to all of `channels`, but for those about which the application is asked: they are returned, and
    /// the application decides in place of the token.
    ///
    /// # Errors
    /// As [`Access::require_subscribe`].
    pub fn require_subscribe_all(&self, channels: &[ChannelName]) -> Result<Vec<ChannelName>, ApiError> {
        let is_asked = self.edge.calls.asks(CallKind::Subscribe) && !self.is_backend();
        let mut asked = Vec::new();
        for channel in channels {
            if channel.is_pattern() {
                self.require_pattern(channel)?;
            } else if is_asked && !channel.is_server() && !self.is_own(channel) {
                asked.push(channel.clone());
            } else {
                self.require_subscribe(channel)?;
            }
        }
        Ok(asked)
    }

    /// Whether the application decides about a publication of the client to `channel`, in place of its token. If a cookie must not be used
    /// for publishing, the backend is not asked either.
    #[must_use]
    pub fn is_asked_to_publish(&self, channel: &ChannelName) -> bool {
        let is_asked = self.edge.calls.asks(CallKind::Publish) && !self.is_backend();
        is_asked && self.cookie == Cookie::Sound && !channel.is_server()
    }

    /// As [`Access::may_publish`], for handlers; [`publish`](crate::publish::publish) asks the application.
    ///
    /// # Errors
    /// 401 if a token might help, 403 if the client's token does not suffice, or none can.
    pub fn require_publish(&self, channel: &ChannelName) -> Result<(), ApiError> {
        if self.is_asked_to_publish(channel) || self.may_publish(channel) {
            Ok(())
        } else {
            Err(self.refused("publish to", channel))
        }
    }

    /// As [`Access::require_publish`], where the application is not asked: the client's token decides.
    ///
    /// # Errors
    /// As [`Access::require_publish`].
    pub fn require_write(&self, channel: &ChannelName) -> Result<(), ApiError> {
        if self.may_publish(channel) { Ok(()) } else { Err(self.refused("publish to", channel)) }
    }

    fn refused(&self, act: &str, channel: &ChannelName) -> ApiError {
        let refusals = &self.edge.metrics.refusals;
        if channel.is_server() && act == "publish to" {
            refusals.not_allowed.inc();
            return ApiError::forbidden("server_channel", NameError::Server.to_string());
        }
        // An invalid token was counted when it was read.
        if self.fault.is_none() {
            if self.cookie == Cookie::Sound { &refusals.not_allowed } else { &refusals.bad_origin }.inc();
        }
        if !self.edge.verifier.has_key() {
            let public = if act == "subscribe to" { "; TRIDENT_PUBLIC (--public) makes channels public" } else { "" };
            return ApiError::forbidden(
                "no_key",
                format!(
                    "nobody may {act} `{channel}` while no key for tokens is configured: set TRIDENT_SECRET (--secret) or \
                     TRIDENT_JWT_PUBLIC_KEY_FILE (--jwt-public-key-file){public}"
                ),
            );
        }
        if let Some(fault) = &self.fault {
            return ApiError::BadToken(fault.to_string());
        }
        if self.cookie != Cookie::Sound {
            return ApiError::forbidden(
                "bad_origin",
                format!(
                    "to {act} `{channel}`, a token in a cookie is accepted only from pages of this host or of an origin in \
                     TRIDENT_ORIGINS; other clients must send `Authorization: Bearer`"
                ),
            );
        }
        match self.bearer {
            None => ApiError::TokenNeeded(format!(
                "a token is required to {act} `{channel}`; send it as `Authorization: Bearer <token>`, with Socket.IO as \
                 `auth: {{token}}`, or with /ws as a second subprotocol beside `trident.v1`"
            )),
            Some(ref bearer) => {
                let Grants { publish, subscribe, api: _ } = &bearer.claims.trident;
                if channel.is_server() {
                    return ApiError::forbidden(
                        "insufficient_scope",
                        format!(
                            "this token may not {act} `{channel}`, a channel of the server: the claim trident.api is required"
                        ),
                    );
                }
                let (claim, patterns) =
                    if act == "publish to" { ("publish", publish) } else { ("subscribe", subscribe) };
                let patterns = shown(patterns);
                ApiError::forbidden(
                    "insufficient_scope",
                    format!("this token may not {act} `{channel}`: its claim trident.{claim} has {patterns}"),
                )
            }
        }
    }

    fn grants(&self) -> Option<&Grants> {
        self.bearer.as_ref().map(|bearer| &bearer.claims.trident)
    }

    /// Whether the client has a valid token, so that its permissions may differ from public ones.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.bearer.is_some()
    }

    /// When the token expires, and with it the connections that were opened with it. `None` without a token.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.bearer.as_ref().map(|bearer| bearer.expires_at)
    }

    /// How long until [`Access::expires_at`]; zero when it has passed.
    #[must_use]
    pub fn expires_in(&self, now: SystemTime) -> Option<Duration> {
        self.expires_at().map(|at| at.duration_since(now).unwrap_or_default())
    }

    /// The user that the client is: the `sub` of its token.
    #[must_use]
    pub fn user(&self) -> Option<Arc<str>> {
        self.bearer.as_ref()?.subject.clone()
    }

    /// Whether the client gets the users who published messages (`TRIDENT_SHOW_USER`).
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.edge.settings.backend.show_user.to_reader(self.has_token())
    }

    /// The identity for limits and idempotency keys.
    #[must_use]
    pub fn identity(&self) -> Identity {
        match self.bearer.as_deref() {
            Some(TokenOwner { subject: Some(subject), .. }) => Identity::Subject(subject.clone()),
            Some(bearer) => Identity::Token(bearer.fingerprint),
            None => Identity::Address(address::counted(self.address)),
        }
    }

    /// The memory of a request of this client, initially 0 bytes.
    #[must_use]
    pub fn receiving(&self) -> Share {
        let all = &self.edge.receiving;
        if self.has_token() { all.share() } else { all.anonymous_share(self.address) }
    }

    /// The client's address, as reported by trusted proxies.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

/// The token of `Authorization: Bearer` (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let mut tokens = headers.get_all(header::AUTHORIZATION).filter_map(|value| {
        let value = value.to_str().ok()?;
        let (scheme, token) = value.trim_start().split_once(' ').unwrap_or((value, ""));
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match (tokens.next(), tokens.next()) {
        (Some(_), Some(_)) => Err("`Authorization` was sent twice; only one token is accepted"),
        (token, _) => Ok(token),
    }
}

/// The patterns of a token for a message, which is also put into a header: only the first ones, if there are many.
fn shown(patterns: &Patterns) -> String {
    const MAX_CHARS: usize = 300;
    if patterns.is_empty() {
        return "no pattern".to_owned();
    }
    let all = patterns.to_string();
    match all.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &all[..end]),
        None => all,
    }
}

/// The tokens of the cookie, that of the most specific path first (RFC 6265 §5.4). A browser sends one for each path and domain that set
/// it, and an expired one may precede the valid one. Each costs a verification, so only the first few are tried.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    const MAX_TOKENS: usize = 4;
    headers
        .get_all(header::COOKIE)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == TOKEN_COOKIE)
        .map(|(_, value)| value.trim_matches('"'))
        .filter(|value| !value.is_empty())
        .take(MAX_TOKENS)
}

fn origin(headers: &HeaderMap) -> Option<&str> {
    // An unreadable origin is treated as a foreign one.
    headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default())
}
