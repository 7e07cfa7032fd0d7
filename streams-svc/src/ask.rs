//! What a `GET` or `HEAD` of a stream asks for.

use std::time::Duration;

use actix_web::http::{Method, header};
use edge::{
    Access, ApiError,
    metrics::Transport,
    query::{Parameter, Query},
    routes::RequestParts,
    service::Service,
};
use shared::pure::{ChannelName, Cursor, Since, stream::StreamInfo};

use crate::{fields, offset::Position, target};

const OFFSET: Parameter = Parameter::once("offset");
const LIVE: Parameter = Parameter::once("live");
const CDN_CURSOR: Parameter = Parameter::once("cursor");
const TIMEOUT: Parameter = Parameter::once("timeout");

/// How long a long poll waits, in seconds, if its client does not ask for another time: the public conformance tests wait for five.
const WAIT_SECS: u64 = 4;
/// The longest time that a client may ask for, in seconds.
const MAX_WAIT_SECS: u64 = 60;
/// How to wait for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    CatchUp,
    LongPoll,
    Sse,
}

/// What a request asks for.
pub(crate) struct Ask {
    pub(crate) access: Access,
    pub(crate) channel: ChannelName,
    pub(crate) position: Position,
    /// The cursor of caches that the client sent.
    pub(crate) cdn_cursor: Option<u64>,
    pub(crate) mode: Mode,
    /// How long a long poll waits.
    pub(crate) wait: Duration,
    pub(crate) is_head: bool,
    validator: Option<String>,
}

/// The transport of a request, for limits and metrics.
pub(crate) fn transport(query: &str) -> Transport {
    match Query::read_known(query, &[LIVE]).ok().as_ref().and_then(|query| query.get(LIVE.name)) {
        Some("sse") => Transport::Sse,
        Some("long-poll") => Transport::LongPoll,
        _ => Transport::Poll,
    }
}

impl Ask {
    /// Reads it from the request of a client with these permissions.
    pub(crate) fn read(service: &Service, parts: &RequestParts<'_>, access: Access) -> Result<Self, ApiError> {
        let channel = target::channel(&service.edge.settings.streams.path, parts.path)?;
        // Others may add parameters of their own, such as a version.
        let query = Query::read_known(parts.query, &[OFFSET, LIVE, CDN_CURSOR, TIMEOUT])?;
        let mode = match query.get(LIVE.name) {
            None => Mode::CatchUp,
            Some("long-poll") => Mode::LongPoll,
            Some("sse") => Mode::Sse,
            Some(_) => return Err(ApiError::invalid("bad_live", "`live` is long-poll or sse")),
        };
        let position = match query.get(OFFSET.name) {
            Some(offset) => offset.parse().map_err(|error| ApiError::invalid("bad_offset", error))?,
            None if mode == Mode::CatchUp => Position::Start,
            None => return Err(ApiError::invalid("bad_offset", "`live` needs an `offset`; -1 is the beginning")),
        };
        let wait = query.get(TIMEOUT.name).map_or(Some(WAIT_SECS), |secs| fields::number(secs, MAX_WAIT_SECS));
        let bad_timeout = || ApiError::invalid("bad_timeout", format!("`timeout` is 0 to {MAX_WAIT_SECS} seconds"));
        let wait = Duration::from_secs(wait.ok_or_else(bad_timeout)?);
        let validator = parts.headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        Ok(Self {
            access,
            channel,
            position,
            // One that is not ours is replaced.
            cdn_cursor: query.get(CDN_CURSOR.name).and_then(|cursor| cursor.parse().ok()),
            mode,
            wait,
            is_head: parts.method == Method::HEAD,
            validator: validator.map(ToOwned::to_owned),
        })
    }

    /// Where the reader of a stream begins.
    pub(crate) fn since(&self, info: &StreamInfo) -> Since {
        match self.position {
            Position::Start | Position::After(Cursor::ZERO) => Since::Earliest,
            Position::Now => Since::After(info.tail),
            Position::After(cursor) => Since::After(cursor),
        }
    }

    /// The answer at an offset with which no reader can continue.
    pub(crate) fn lost(&self, info: &StreamInfo) -> ApiError {
        let reason = match self.position {
            // After a failure, a server may lack the newest messages. Or the offset comes from another server.
            Position::After(cursor) if cursor > info.tail => "this offset is newer than all messages of this server",
            _ => "messages after this offset were removed",
        };
        ApiError::gone("offset_gone", format_args!("{reason}; read from the beginning (-1)"))
    }

    /// The offset of a client that has received nothing.
    pub(crate) fn after_nothing(&self, info: &StreamInfo) -> Cursor {
        match self.position {
            Position::After(cursor) if cursor < info.tail => cursor.max(info.start),
            _ => info.tail,
        }
    }

    /// How it is counted.
    pub(crate) fn transport(&self) -> Transport {
        match self.mode {
            Mode::CatchUp => Transport::Poll,
            Mode::LongPoll => Transport::LongPoll,
            Mode::Sse => Transport::Sse,
        }
    }

    /// Whether the client has the answer with this tag already (RFC 9110 §13.1.2).
    pub(crate) fn has(&self, etag: &str) -> bool {
        let tags = self.validator.iter().flat_map(|tags| tags.split(','));
        tags.map(|tag| tag.trim()).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    }
}
