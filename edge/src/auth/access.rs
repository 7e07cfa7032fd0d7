//! What the one who asks may do.

use std::{
    fmt,
    future::{Ready, ready},
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap},
    web,
};
use shared::pure::{
    ChannelName,
    access::{Claims, Grants, Patterns},
};

use super::{TokenFault, remembered::Remembered};
use crate::{ApiError, Edge, address, routes::RequestParts};

/// The cookie that may hold the token, for browsers: an `EventSource` cannot send headers.
pub const TOKEN_COOKIE: &str = "trident_token";

/// The prefix of the channels that hold chat rooms.
const CHAT: &str = "chat.";

/// Whom limits and repeated requests are counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The `sub` of a token.
    Subject(Arc<str>),
    /// A token without a `sub`, by a fingerprint of it.
    Token(u128),
    /// Nobody that we know, by address.
    Address(IpAddr),
}

/// A text that differs for every identity and holds no credential.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(subject) => write!(f, "sub:{subject}"),
            Self::Token(fingerprint) => write!(f, "token:{fingerprint:032x}"),
            Self::Address(address) => write!(f, "addr:{address}"),
        }
    }
}

/// The one who asks: what is public, and what their token adds to it.
///
/// As a handler's argument it is read from the request. A token that does not hold adds nothing and ends nothing: what is
/// public stays open to its bearer, and what would take a token is refused with what is wrong with theirs. So a cookie that
/// has expired does not keep a page from the channels that everybody may read.
#[derive(Clone, Debug)]
pub struct Access {
    edge: Edge,
    address: IpAddr,
    /// Apart, since most are nobody's and there are many.
    bearer: Option<Arc<Bearer>>,
    /// What is wrong with the token that was shown.
    fault: Option<Arc<str>>,
    /// Why a cookie that was there does not let its bearer publish, or does not count at all.
    cookie: Cookie,
}

/// Who a token says that its bearer is.
#[derive(Debug)]
struct Bearer {
    claims: Claims,
    subject: Option<Arc<str>>,
    fingerprint: u128,
    expires_at: SystemTime,
}

/// The bearers of tokens that held before.
#[derive(Debug, Default)]
pub(crate) struct Bearers(Remembered<Bearer>);

/// How far a cookie's token is trusted: browsers send cookies along with requests that other sites' pages make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cookie {
    /// The token came from elsewhere, or the page that asks is one of ours.
    Sound,
    /// No `Origin` came: good enough to read, since nobody else's page can read the answer; not to publish.
    WithoutOrigin,
    /// The page is a stranger's: the cookie does not count.
    Foreign,
}

impl Access {
    /// Who makes this request. `Authorization: Bearer` counts more than the cookie.
    ///
    /// An `Authorization` of another scheme is none of ours (a proxy in front may use it) and is passed over. Without a
    /// key no token can hold, so then none is looked at, and nobody has more than what is public.
    #[must_use]
    pub fn of(edge: &Edge, parts: &RequestParts<'_>) -> Self {
        let headers = parts.headers;
        let address = address::client(parts.peer, headers, &edge.settings.trusted_proxies);
        match bearer(headers) {
            Ok(None) => {}
            Ok(token) => return Self::with_any_token(edge, token, address),
            Err(fault) => return Self { fault: Some(fault.into()), ..Self::with_any_token(edge, None, address) },
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

    /// Who shows this token, from this address: for transports that carry it elsewhere than in a header, as Socket.IO's
    /// `auth.token` does.
    ///
    /// # Errors
    /// [`ApiError::BadToken`] when the token does not hold.
    pub fn with_token(edge: &Edge, token: Option<&str>, address: IpAddr) -> Result<Self, ApiError> {
        let access = Self::with_any_token(edge, token, address);
        match &access.fault {
            None => Ok(access),
            Some(fault) => Err(ApiError::BadToken(fault.to_string())),
        }
    }

    /// As [`Access::with_token`] by the first of these tokens that is valid; an invalid one is none.
    fn with_any_token<'a>(edge: &Edge, tokens: impl IntoIterator<Item = &'a str>, address: IpAddr) -> Self {
        let (mut bearer, mut fault) = (None, None);
        for token in tokens.into_iter().filter(|_| edge.verifier.has_key()) {
            match Bearer::of(edge, token, SystemTime::now()) {
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

    /// Who opened a connection that asks for many things later, as Socket.IO's do: by the token that is `shown` in its
    /// first message, or else by the headers of its first request.
    ///
    /// A cookie counts here whether or not an `Origin` came with it: a stranger's page cannot read the answer that it needs
    /// to go on with the connection, and a WebSocket always names its page.
    ///
    /// # Errors
    /// [`ApiError::BadToken`] when a token that was not merely a cookie does not hold: who shows one means to be somebody.
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

    /// Whether they may subscribe to `channel`.
    #[must_use]
    pub fn may_subscribe(&self, channel: &ChannelName) -> bool {
        self.edge.settings.public.allow(channel) || self.grants().is_some_and(|grants| grants.subscribe.allow(channel))
    }

    /// Whether they may publish to `channel`.
    #[must_use]
    pub fn may_publish(&self, channel: &ChannelName) -> bool {
        self.cookie == Cookie::Sound && self.grants().is_some_and(|grants| grants.publish.allow(channel))
    }

    /// Whether they may send chat messages to the room of `channel`: whoever may publish there, and in a public room
    /// everybody.
    #[must_use]
    pub fn may_chat(&self, channel: &ChannelName) -> bool {
        (channel.as_str().starts_with(CHAT) && self.edge.settings.public.allow(channel)) || self.may_publish(channel)
    }

    /// As [`Access::may_subscribe`], for handlers.
    ///
    /// # Errors
    /// 401 when a token might help, 403 when theirs does not, or when none can.
    pub fn require_subscribe(&self, channel: &ChannelName) -> Result<(), ApiError> {
        if self.may_subscribe(channel) { Ok(()) } else { Err(self.refused("subscribe to", channel)) }
    }

    /// As [`Access::may_publish`], for handlers.
    ///
    /// # Errors
    /// 401 when a token might help, 403 when theirs does not, or when none can.
    pub fn require_publish(&self, channel: &ChannelName) -> Result<(), ApiError> {
        if self.may_publish(channel) { Ok(()) } else { Err(self.refused("publish to", channel)) }
    }

    fn refused(&self, act: &str, channel: &ChannelName) -> ApiError {
        let refusals = &self.edge.metrics.refusals;
        // A token that does not hold was counted when it was read.
        if self.fault.is_none() {
            if self.cookie == Cookie::Sound { &refusals.not_allowed } else { &refusals.bad_origin }.inc();
        }
        if !self.edge.verifier.has_key() {
            let public =
                if act == "subscribe to" { "; TRIDENT_PUBLIC (--public) opens channels to everybody" } else { "" };
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
                    "with its token in a cookie, only a page of this host or of an origin in TRIDENT_ORIGINS may {act} \
                     `{channel}`; anything else sends `Authorization: Bearer`"
                ),
            );
        }
        match self.bearer {
            None => ApiError::TokenNeeded(format!(
                "a token is needed to {act} `{channel}`; send it as `Authorization: Bearer <token>`"
            )),
            Some(ref bearer) => {
                let Grants { publish, subscribe } = &bearer.claims.trident;
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

    /// Whether a valid token was shown, so that what its bearer may read is not what everybody may.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.bearer.is_some()
    }

    /// When the token ends, and with it the connection that was opened with it. Nothing without a token.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.bearer.as_ref().map(|bearer| bearer.expires_at)
    }

    /// How long until [`Access::expires_at`]; zero when it has passed.
    #[must_use]
    pub fn expires_in(&self, now: SystemTime) -> Option<Duration> {
        self.expires_at().map(|at| at.duration_since(now).unwrap_or_default())
    }

    /// The `sub` of the token.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.bearer.as_ref()?.subject.as_deref()
    }

    /// Whom limits and repeated requests are counted for.
    #[must_use]
    pub fn identity(&self) -> Identity {
        match self.bearer.as_deref() {
            Some(Bearer { subject: Some(subject), .. }) => Identity::Subject(subject.clone()),
            Some(bearer) => Identity::Token(bearer.fingerprint),
            None => Identity::Address(address::counted(self.address)),
        }
    }

    /// The client's address, seen through trusted proxies.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl FromRequest for Access {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let edge = request.app_data::<web::Data<Edge>>();
        let edge = edge.ok_or_else(|| ApiError::internal("the application was built without its Edge"));
        ready(edge.map(|edge| Self::of(edge, &RequestParts::from(request))))
    }
}

impl Bearer {
    /// The bearer of `token`, when that holds at `now`.
    fn of(edge: &Edge, token: &str, now: SystemTime) -> Result<Arc<Self>, TokenFault> {
        if let Some(known) = edge.tokens.0.get(token) {
            edge.verifier.check(&known.claims, now)?;
            return Ok(known);
        }
        let bearer = Arc::new(Self::new(token, edge.verifier.verify(token, now)?));
        edge.tokens.0.insert(token, bearer.clone());
        Ok(bearer)
    }

    fn new(token: &str, mut claims: Claims) -> Self {
        // Two hashes of the same token under different prefixes: who cannot sign tokens cannot look for two that agree.
        let half = |prefix: u8| {
            let mut hasher = DefaultHasher::new();
            (prefix, token).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        // A date that no clock can hold is never.
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

/// The token of `Authorization: Bearer` (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let mut tokens = headers.get_all(header::AUTHORIZATION).filter_map(|value| {
        let value = value.to_str().ok()?;
        let (scheme, token) = value.trim_start().split_once(' ').unwrap_or((value, ""));
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match (tokens.next(), tokens.next()) {
        (Some(_), Some(_)) => Err("`Authorization` came with two tokens; one is accepted"),
        (token, _) => Ok(token),
    }
}

/// The patterns of a token as they stand in a message, which goes into a header too: the first of them, where they are many.
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

/// The tokens of the cookie, that of the most specific path first (RFC 6265 §5.4). A browser sends one for each path and domain
/// that set it, and an expired one may hide the valid one. Each costs a signature to verify, so only the first few count.
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
    // One that cannot be read is a stranger's.
    headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default())
}
