//! What a client asks for: the configuration of a subscription, and the path of a request.

use std::collections::BTreeSet;

use outgoing::{Endpoint, Guard};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use shared::pure::ChannelName;

use super::{limits::MAX_LINKS, pattern::PathPattern};

/// The lease of a worker, in milliseconds, if nothing is said, and the range of what may be said.
const DEFAULT_LEASE_MS: u64 = 30_000;
const LEASE_MS: std::ops::RangeInclusive<u64> = 1_000..=600_000;
/// Maximum size of texts in bytes.
const MAX_URL: usize = 2_048;
const MAX_DESCRIPTION: usize = 1_024;
const MAX_ID: usize = 128;

/// The configuration of a subscription, normalized: equal ones are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// How its worker is woken.
    pub(super) delivery: Delivery,
    /// The streams that it has, those of later included.
    pub(super) pattern: Option<PathPattern>,
    /// Streams that it has besides.
    pub(super) streams: BTreeSet<ChannelName>,
    /// How long a worker may take without a sign of life.
    pub(super) lease_ms: u64,
    pub(super) description: Option<String>,
}

/// How a worker is woken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Delivery {
    /// By a request to this URL.
    Webhook(String),
    /// By a message in this stream, which several workers read.
    PullWake(ChannelName),
}

/// Why a configuration is rejected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// What is wrong.
    #[error("{0}")]
    Invalid(String),
    /// Requests may not be sent to the URL.
    #[error("{0}")]
    Url(String),
}

/// The body of a `PUT`.
#[derive(Deserialize)]
struct ConfigBody {
    #[serde(rename = "type")]
    kind: String,
    pattern: Option<String>,
    #[serde(default)]
    streams: Option<Vec<String>>,
    webhook: Option<WebhookBody>,
    wake_stream: Option<String>,
    lease_ttl_ms: Option<serde_json::Value>,
    description: Option<String>,
}

#[derive(Deserialize)]
struct WebhookBody {
    url: String,
}

/// The body of a request that adds streams.
#[derive(Deserialize)]
struct StreamsBody {
    streams: Vec<String>,
}

impl Config {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// What is wrong.
    pub fn read(body: &[u8], guard: &Guard) -> Result<Self, ConfigError> {
        let body: ConfigBody =
            serde_json::from_slice(body).map_err(|error| ConfigError::Invalid(invalid_body(&error)))?;
        let invalid = |message: &str| Err(ConfigError::Invalid(message.to_owned()));
        let ConfigBody { kind, pattern, streams, webhook, wake_stream, lease_ttl_ms, description } = body;
        let pattern = pattern.filter(|pattern| !pattern.is_empty()).map(|pattern| pattern.parse::<PathPattern>());
        let pattern = pattern.transpose().map_err(|error| ConfigError::Invalid(error.to_string()))?;
        let streams = names(streams.unwrap_or_default()).map_err(ConfigError::Invalid)?;
        if pattern.is_none() && streams.is_empty() {
            return invalid("a subscription has a `pattern`, `streams`, or both");
        }
        let delivery = match (&*kind, webhook, wake_stream) {
            ("webhook", Some(WebhookBody { url }), _) => {
                check_url(&url, guard).map_err(ConfigError::Url)?;
                Delivery::Webhook(url)
            }
            ("pull-wake", _, Some(stream)) => Delivery::PullWake(name(&stream).map_err(ConfigError::Invalid)?),
            ("webhook", None, _) => return invalid("a subscription of the type `webhook` has a `webhook.url`"),
            ("pull-wake", _, None) => return invalid("a subscription of the type `pull-wake` has a `wake_stream`"),
            _ => return invalid("`type` is `webhook` or `pull-wake`"),
        };
        if matches!(&delivery, Delivery::PullWake(stream) if streams.contains(stream)) {
            return invalid("a subscription cannot have its own `wake_stream` in `streams`");
        }
        let lease_ms = lease_ttl_ms.map_or(Some(DEFAULT_LEASE_MS), |lease| lease.as_u64());
        let Some(lease_ms) = lease_ms.filter(|lease| LEASE_MS.contains(lease)) else {
            return invalid("`lease_ttl_ms` is an integer from 1000 to 600000");
        };
        if description.as_ref().is_some_and(|text| text.len() > MAX_DESCRIPTION) {
            return Err(ConfigError::Invalid(format!("`description` has at most {MAX_DESCRIPTION} bytes")));
        }
        Ok(Self { delivery, pattern, streams, lease_ms, description })
    }

    /// As [`read`](Self::read), where URLs lead to public addresses only.
    ///
    /// # Errors
    /// What is wrong.
    pub fn read_public(body: &[u8]) -> Result<Self, ConfigError> {
        Self::read(body, &Guard::default())
    }

    /// What the paths of all streams begin with that its pattern selects.
    pub(super) fn prefix(&self) -> Option<&str> {
        self.pattern.as_ref().map(PathPattern::prefix)
    }
}

/// Reads the body of a request that adds streams.
///
/// # Errors
/// What is wrong.
pub(super) fn streams(body: &[u8]) -> Result<BTreeSet<ChannelName>, String> {
    let StreamsBody { streams } = serde_json::from_slice(body).map_err(|error| invalid_body(&error))?;
    if streams.is_empty() { Err("`streams` is empty".to_owned()) } else { names(streams) }
}

fn names(texts: Vec<String>) -> Result<BTreeSet<ChannelName>, String> {
    if texts.len() > MAX_LINKS {
        return Err(format!("a subscription has at most {MAX_LINKS} streams"));
    }
    texts.iter().map(|text| name(text)).collect()
}

fn name(text: &str) -> Result<ChannelName, String> {
    let text = text.trim_matches('/');
    text.parse().map_err(|error: shared::pure::NameError| format!("`{}`: {error}", shown(text)))
}

/// Why a body is not what it has to be, in one line.
pub(super) fn invalid_body(error: &serde_json::Error) -> String {
    format!("invalid body: {}", shown(&error.to_string()))
}

/// A text of a client for a message: short, without control characters.
fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

/// Whether requests may be sent to `url`, as far as that is known before its name is looked up.
fn check_url(url: &str, guard: &Guard) -> Result<(), String> {
    if url.len() > MAX_URL {
        return Err(format!("`webhook.url` has at most {MAX_URL} bytes"));
    }
    let to: Endpoint = url.parse().map_err(|error: outgoing::InvalidUrl| error.to_string())?;
    guard.check(&to).map_err(|error| {
        format!("`webhook.url` must be https and lead to a public address, unless TRIDENT_HOOK_ALLOW names its network: {error}")
    })
}

/// What a path below `__ds` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The keys of signatures.
    Keys,
    /// A subscription, and what of it.
    Subscription(String, Part),
}

/// What of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Itself,
    Streams,
    Stream(ChannelName),
    Callback,
    Claim,
    Ack,
    Release,
}

impl Route {
    /// The route of a path below `__ds/`, percent-encoded; `None` for any other.
    pub(super) fn of(path: &str) -> Option<Self> {
        if path == "jwks.json" {
            return Some(Self::Keys);
        }
        let (id, part) = path.strip_prefix("subscriptions/").map(|rest| rest.split_once('/').unwrap_or((rest, "")))?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte);
        let id = decoded(id).filter(|id| (1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_plain))?;
        let part = match part {
            "" => Part::Itself,
            "streams" => Part::Streams,
            "callback" => Part::Callback,
            "claim" => Part::Claim,
            "ack" => Part::Ack,
            "release" => Part::Release,
            part => Part::Stream(name(&decoded(part.strip_prefix("streams/")?)?).ok()?),
        };
        Some(Self::Subscription(id, part))
    }
}

#[cfg(test)]
mod tests;
