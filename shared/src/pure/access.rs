//! Who may do what: patterns of channels, the grants of a token, and the rules by which its claims hold.
//!
//! A token's claims arrive here decoded and with a good signature; [`Claims::check`] says whether they hold now, and
//! [`Grants`] whether they reach a channel. What is public is a list of [`Patterns`] too.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::name::ChannelName;

/// A channel name, or a prefix of channel names that ends in `*`; `*` alone is every channel.
///
/// `*` stands only at the end, so that what a pattern reaches can be read off it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    /// The name or the prefix, without the `*`.
    stem: String,
    prefix: bool,
}

/// A pattern that is not right, with what would be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no pattern: a channel name, or a prefix of one that ends in `*`")]
pub struct PatternError(String);

impl Pattern {
    /// Whether the pattern reaches `channel`.
    #[must_use]
    pub fn matches(&self, channel: &ChannelName) -> bool {
        let name = channel.as_str();
        if self.prefix { name.starts_with(&self.stem) } else { name == self.stem }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (stem, prefix) = match text.strip_suffix('*') {
            Some(stem) => (stem, true),
            None => (text, false),
        };
        // An empty stem is right for `*` alone; any other must be a name, since a prefix of a name is a name.
        if (prefix && stem.is_empty()) || stem.parse::<ChannelName>().is_ok() {
            Ok(Self { stem: stem.to_owned(), prefix })
        } else {
            // Patterns come from strangers' tokens and go into messages and logs: neither long nor with controls.
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

/// Several patterns; a channel is reached when one of them reaches it. None reach nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Whether one of the patterns reaches `channel`.
    #[must_use]
    pub fn allow(&self, channel: &ChannelName) -> bool {
        self.0.iter().any(|pattern| pattern.matches(channel))
    }

    /// Whether there is no pattern at all.
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

/// Patterns with commas between them; the empty text and `none` are no pattern at all.
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

/// What a token allows beyond what is public: the claim `trident`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// The channels its bearer may publish to.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub publish: Patterns,
    /// The channels its bearer may subscribe to.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub subscribe: Patterns,
}

/// The claims that are read from a token (RFC 7519 §4.1, and our own `trident`); others are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// When the token ends, in seconds since 1970 (may have a fraction). Required.
    #[serde(serialize_with = "numeric_date", deserialize_with = "exp")]
    pub exp: f64,
    /// Before when the token does not hold yet, in the same measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<f64>,
    /// Whom the token speaks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Whom the token is meant for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Audience>,
    /// What the token allows.
    #[serde(default)]
    pub trident: Grants,
}

/// An error of the type has to name the claim, which serde does not.
fn exp<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    f64::deserialize(deserializer).map_err(|error| serde::de::Error::custom(format!("claim `exp`: {error}")))
}

/// Whole seconds go out as whole numbers, since not every reader of tokens takes others.
fn numeric_date<S: serde::Serializer>(date: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if date.fract() == 0.0 && (0.0..1e15).contains(date) {
        serializer.serialize_u64(*date as u64)
    } else {
        serializer.serialize_f64(*date)
    }
}

/// The claim `aud`: one audience or several (RFC 7519 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One audience.
    One(String),
    /// Several; being one of them is enough.
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

/// Why a well-signed token does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsFault {
    /// `exp` has passed.
    #[error("the token expired {0} s ago")]
    Expired(u64),
    /// `nbf` is yet to come.
    #[error("the token is not valid yet, but will be in {0} s (claim nbf)")]
    Early(u64),
    /// `aud` is missing or names somebody else.
    #[error("the token is meant for somebody else: its claim aud does not name this server (TRIDENT_JWT_AUDIENCE)")]
    Audience,
    /// `exp` or `nbf` is no date.
    #[error("the token's claims exp and nbf must be numbers of seconds since 1970")]
    Date,
}

impl Claims {
    /// Whether the claims hold at `now`, in seconds since 1970.
    ///
    /// `leeway` seconds are allowed before `nbf`, for an issuer whose clock is ahead of ours and whose token is used at
    /// once. None are allowed after `exp`: a clock that is behind costs a token a little of its life, nothing more.
    /// `audience`, when given, must be in `aud`; when none is given `aud` is not looked at, since then the key alone says
    /// whom the token is meant for.
    ///
    /// # Errors
    /// The first rule that the claims break.
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
