//! Settings of Durable Streams.

use shared::pure::{ChannelName, access::Patterns};

use super::{Memory, memory, sources::Sources, table, values};
use crate::address::Network;

/// The prefix of the channels of chat rooms.
const CHAT: &str = "chat.";
/// The demo channels.
const DEMO: [&str; 2] = ["random", "time"];

/// The settings of Durable Streams. `None` for a limit means no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// The channels that can be streams, besides [those of the server](Self::is_reserved).
    pub names: Patterns,
    /// The path under which streams are served: `/streams`, without a slash at the end.
    pub path: String,
    /// Whether streams need no token.
    pub anonymous: bool,
    /// Maximum size of the body of an append in bytes.
    pub max_body: Option<usize>,
    /// Bytes of memory for all streams together.
    pub bytes: Option<usize>,
    /// Maximum number of subscriptions.
    pub subscriptions: Option<usize>,
    /// The same for one token or address.
    pub subscriptions_per_client: Option<usize>,
    /// The networks that URLs of subscriptions may lead to, besides the public one.
    pub hook_allow: Vec<Network>,
}

impl StreamSettings {
    /// Whether `channel` is used by the server itself: a channel of a chat room, of a user, or of the demo. It can be a stream only for a backend.
    #[must_use]
    pub fn is_reserved(channel: &ChannelName) -> bool {
        channel.is_user() || channel.as_str().starts_with(CHAT) || DEMO.contains(&channel.as_str())
    }
}

/// First segments of paths that are served otherwise.
const TAKEN: [&str; 14] = [
    "",
    "data",
    "events",
    "ws",
    "socket.io",
    "admin",
    "api",
    "docs",
    "comet",
    "chat",
    "sse",
    "healthz",
    "readyz",
    "metrics",
];

/// Reads them.
pub(super) fn read(from: &mut Sources<'_>, machine: Option<Memory>) -> Option<StreamSettings> {
    let names = from.read(&table::STREAMS, names);
    let path = from.read(&table::STREAMS_PATH, path);
    let anonymous = from.read(&table::STREAMS_ANONYMOUS, values::on_off);
    let max_body = from.read(&table::STREAM_MAX_BODY, values::size_limit);
    let bytes = from.read(&table::STREAM_BYTES, values::size_limit_or_auto);
    let subscriptions = from.read(&table::STREAM_SUBSCRIPTIONS, values::limit);
    let subscriptions_per_client = from.read(&table::STREAM_SUBSCRIPTIONS_PER_CLIENT, values::limit);
    let hook_allow = from.read(&table::HOOK_ALLOW, values::networks);
    Some(StreamSettings {
        names: names?,
        path: path?,
        anonymous: anonymous?,
        max_body: max_body?,
        bytes: bytes?.unwrap_or_else(|| Some(memory::outbox_total(machine))),
        subscriptions: subscriptions?,
        subscriptions_per_client: subscriptions_per_client?,
        hook_allow: hook_allow?,
    })
}

/// The warning of a server that lets anybody write.
pub(super) fn warning(settings: &StreamSettings) -> Option<String> {
    let StreamSettings { names, path, .. } = settings;
    (settings.anonymous && !names.is_empty()).then(|| {
        format!(
            "TRIDENT_STREAMS_ANONYMOUS is on: anybody can create, read, append to and delete every stream under {path} whose name matches \
             `{names}` (TRIDENT_STREAMS); use it for testing only"
        )
    })
}

/// Patterns, or `off`.
fn names(text: &str) -> Result<Patterns, String> {
    if text.trim() == "off" {
        Ok(Patterns::default())
    } else {
        text.parse::<Patterns>().map_err(|error| error.to_string())
    }
}

/// One or more segments.
fn path(text: &str) -> Result<String, String> {
    let is_plain = |segment: &str| {
        !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let mut segments = text.strip_prefix('/').into_iter().flat_map(|path| path.split('/'));
    let first = segments.clone().next().unwrap_or_default();
    let is_backend = text == "/v1"
        || ["channels", "connections", "users", "stats", "revocations"]
            .iter()
            .any(|path| text.starts_with(&format!("/v1/{path}")));
    let is_valid = text.len() <= 64 && text.starts_with('/') && segments.all(is_plain);
    if is_valid && !TAKEN.contains(&first) && !is_backend {
        return Ok(text.to_owned());
    }
    Err(format!(
        "invalid path {}: expected segments of letters, digits, - and _ after slashes, such as /streams, that no other service has",
        values::shown(text)
    ))
}

#[cfg(test)]
mod tests {
    use super::{StreamSettings, names, path};

    #[test]
    fn streams_have_names_of_patterns_or_none() {
        for off in ["off", "none", ""] {
            assert!(names(off).is_ok_and(|names| names.is_empty()), "{off}");
        }
        let some = names("runs/*, jobs").unwrap();
        assert!(some.allow(&"runs/1".parse().unwrap()) && !some.allow(&"run".parse().unwrap()));
        assert!(names("a*b").is_err_and(|error| error.starts_with("invalid pattern")));
    }

    #[test]
    fn channels_that_the_server_uses_are_reserved() {
        for (name, is_reserved) in [
            ("chat.lobby", true),
            ("user.ann", true),
            ("random", true),
            ("time", true),
            ("chats", false),
            ("times", false),
        ] {
            assert_eq!(StreamSettings::is_reserved(&name.parse().unwrap()), is_reserved, "{name}");
        }
    }

    #[test]
    fn a_path_is_of_plain_segments_that_are_free() {
        for text in ["/streams", "/v1/stream", "/a-b/C_1"] {
            assert_eq!(path(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "/",
            "streams",
            "/streams/",
            "/a//b",
            "/a/{x}",
            "/a%2f",
            "/..",
            "/events",
            "/socket.io/x",
            "/v1",
            "/v1/channels",
            "/v1/stats",
            "/v1/revocations",
        ] {
            assert!(path(text).is_err_and(|error| error.starts_with("invalid path")), "{text}");
        }
    }
}
