//! Authorization: patterns of channels, the grants of a token, and the validity of its claims.
//!
//! A token's claims arrive here decoded, with a verified signature. [`Claims::check`] checks whether they are valid now, and [`Grants`]
//! whether they allow a channel. Public channels are a list of [`Patterns`], too.

mod claims;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::name::ChannelName;

/// A channel name, or a prefix of channel names that ends in `*`; `*` alone matches every channel.
///
/// `*` is allowed only at the end, so that it is obvious what a pattern matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    /// The name or the prefix, without the `*`.
    stem: String,
    prefix: bool,
}

/// An invalid pattern; the message describes valid ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid pattern `{0}`: expected a channel name, or a prefix of one that ends in `*`")]
pub struct PatternError(String);

impl Pattern {
    /// Whether it ends in `*`.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.prefix
    }

    /// Whether the pattern matches `channel`. No pattern matches the server's own channels.
    #[must_use]
    pub fn matches(&self, channel: &ChannelName) -> bool {
        let name = channel.as_str();
        let is_match = if self.prefix { name.starts_with(&self.stem) } else { name == self.stem };
        is_match && !channel.is_server()
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (stem, prefix) = match text.strip_suffix('*') {
            Some(stem) => (stem, true),
            None => (text, false),
        };
        let is_name = |text: &str| text.parse::<ChannelName>().is_ok_and(|name| !name.is_server());
        // A prefix need not be a name: `orders/` is one of `orders/17`.
        if is_name(stem) || (prefix && is_name(&format!("{stem}x"))) {
            Ok(Self { stem: stem.to_owned(), prefix })
        } else {
            // Patterns come from untrusted tokens and go into messages and logs: limit the length and remove control characters.
            Err(PatternError(text.chars().take(64).flat_map(char::escape_default).collect()))
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stem)?;
        if self.prefix { f.write_str("*") } else { Ok(()) }
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

/// Several patterns; a channel matches if one of them matches. An empty list matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Whether one of the patterns matches `channel`.
    #[must_use]
    pub fn allow(&self, channel: &ChannelName) -> bool {
        self.0.iter().any(|pattern| pattern.matches(channel))
    }

    /// The patterns.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }

    /// Whether there are no patterns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Pattern> for Patterns {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> Self {
        Self(patterns.into_iter().collect())
    }
}

/// Patterns separated by commas; the empty text and `none` mean no patterns.
impl FromStr for Patterns {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.trim().is_empty() || text.trim() == "none" {
            return Ok(Self::default());
        }
        text.split(',').map(|pattern| pattern.trim().parse()).collect()
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pattern) in self.0.iter().enumerate() {
            write!(f, "{}{pattern}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// The permissions of a token in addition to public channels: the claim `trident`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// The channels that the token may publish to.
    #[serde(default, skip_serializing_if = "Patterns::is_empty", deserialize_with = "claims::publish")]
    pub publish: Patterns,
    /// The channels that the token may subscribe to.
    #[serde(default, skip_serializing_if = "Patterns::is_empty", deserialize_with = "claims::subscribe")]
    pub subscribe: Patterns,
    /// What the token may do as a backend.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "claims::api")]
    pub api: Vec<ApiRight>,
}

/// A right of a backend, which applies to all channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiRight {
    /// To read every channel and list connections.
    Read,
    /// To publish to every channel, to end connections and to remove messages; includes [`ApiRight::Read`].
    Write,
}

impl Grants {
    /// Whether the token may do what a backend with `right` may.
    #[must_use]
    pub fn may_api(&self, right: ApiRight) -> bool {
        self.api.contains(&ApiRight::Write) || (right == ApiRight::Read && self.api.contains(&ApiRight::Read))
    }
}

/// The claims that are read from a token (RFC 7519 §4.1, and Trident's own `trident`); others are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// When the token expires, in seconds since 1970 (may have a fraction). Required.
    #[serde(serialize_with = "claims::numeric_date", deserialize_with = "claims::exp")]
    pub exp: f64,
    /// The token is not valid before this time, in the same unit.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "claims::nbf")]
    pub nbf: Option<f64>,
    /// When the token was issued, in the same unit. A value that is not a number counts as missing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "claims::number_or_none")]
    pub iat: Option<f64>,
    /// The user that the token identifies.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "claims::sub")]
    pub sub: Option<String>,
    /// The id of the token. A value that is not a text counts as missing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "claims::text_or_none")]
    pub jti: Option<String>,
    /// The intended recipients of the token.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "claims::aud")]
    pub aud: Option<Audience>,
    /// The permissions of the token.
    #[serde(default)]
    pub trident: Grants,
}

/// The claim `aud`: one audience or several (RFC 7519 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One audience.
    One(String),
    /// Several; one of them has to match.
    Several(Vec<String>),
}

impl Audience {
    fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

/// Why a correctly signed token is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsFault {
    /// `exp` has passed.
    #[error("the token expired {0} s ago")]
    Expired(u64),
    /// `nbf` is in the future.
    #[error("the token is not valid until {0} s from now (claim nbf)")]
    Early(u64),
    /// `aud` is missing or names another recipient.
    #[error("the token is for another server: its claim aud does not match TRIDENT_JWT_AUDIENCE")]
    Audience,
    /// `exp` or `nbf` is not a date.
    #[error("the token's claims exp and nbf must be numbers of seconds since 1970")]
    Date,
}

impl Claims {
    /// Whether the claims are valid at `now`, in seconds since 1970.
    ///
    /// `leeway` seconds are allowed before `nbf`, for an issuer whose clock is ahead and whose token is used immediately. None are allowed
    /// after `exp`: a clock that is slightly wrong shortens a token's life a little, nothing more. `audience`, if given, must be in `aud`;
    /// otherwise `aud` is ignored, since then the key alone decides for whom a token is meant.
    ///
    /// # Errors
    /// The first rule that the claims violate.
    pub fn check(&self, now: f64, leeway: f64, audience: Option<&str>) -> Result<(), ClaimsFault> {
        let date = |date: f64| date.is_finite() && date >= 0.0;
        if !date(self.exp) || !self.nbf.is_none_or(date) {
            return Err(ClaimsFault::Date);
        }
        // RFC 7519 §4.1.4: "on or after which" it must not be accepted.
        if now >= self.exp {
            return Err(ClaimsFault::Expired((now - self.exp) as u64));
        }
        if let Some(nbf) = self.nbf
            && now + leeway < nbf
        {
            return Err(ClaimsFault::Early((nbf - now).ceil() as u64));
        }
        match (audience, &self.aud) {
            (None, _) => Ok(()),
            (Some(wanted), Some(aud)) if aud.contains(wanted) => Ok(()),
            (Some(_), _) => Err(ClaimsFault::Audience),
        }
    }
}

#[cfg(test)]
mod tests;
