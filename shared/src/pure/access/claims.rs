//! How single claims are read and written. An error names the claim and what it must be, which serde does not.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use serde_json::Value;

use super::{ApiRight, Audience, Patterns};

/// A value of the JSON type that `as_type` reads.
fn typed<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    claim: &str,
    accepted: &str,
    as_type: impl FnOnce(&Value) -> Option<T>,
) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    as_type(&value).ok_or_else(|| D::Error::custom(format_args!("claim `{claim}` must be {accepted}")))
}

/// The claim `exp`.
pub(super) fn exp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    typed(deserializer, "exp", "a number of seconds since 1970", Value::as_f64)
}

/// The claim `nbf`, or null.
pub(super) fn nbf<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    typed(deserializer, "nbf", "a number of seconds since 1970", |value| {
        if value.is_null() { Some(None) } else { value.as_f64().map(Some) }
    })
}

/// The claim `sub`, or null.
pub(super) fn sub<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    typed(deserializer, "sub", "a text", |value| match value {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(text.clone())),
        _ => None,
    })
}

/// The claim `aud`, or null.
pub(super) fn aud<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Audience>, D::Error> {
    typed(deserializer, "aud", "a text or a list of texts", |value| Option::<Audience>::deserialize(value).ok())
}

/// The claim `trident.publish`.
pub(super) fn publish<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Patterns, D::Error> {
    patterns(deserializer, "trident.publish")
}

/// The claim `trident.subscribe`.
pub(super) fn subscribe<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Patterns, D::Error> {
    patterns(deserializer, "trident.subscribe")
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D, claim: &str) -> Result<Patterns, D::Error> {
    let texts = typed(deserializer, claim, "a list of texts, such as [\"news\",\"chat.*\"]", |value| {
        value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    })?;
    let parsed = texts.iter().map(|text| text.parse()).collect::<Result<_, _>>();
    parsed.map_err(|error| D::Error::custom(format_args!("claim `{claim}`: {error}")))
}

/// The claim `trident.api`.
pub(super) fn api<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ApiRight>, D::Error> {
    typed(deserializer, "trident.api", "a list of \"read\" and \"write\"", |value| Vec::deserialize(value).ok())
}

/// A number; anything else counts as missing.
pub(super) fn number_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_f64())
}

/// A text; anything else counts as missing.
pub(super) fn text_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

/// Whole seconds are written as integers, since some readers of tokens accept nothing else.
pub(super) fn numeric_date<S: Serializer>(date: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if date.fract() == 0.0 && (0.0..1e15).contains(date) {
        serializer.serialize_u64(*date as u64)
    } else {
        serializer.serialize_f64(*date)
    }
}
