//! The parameters of a request for `/data`.

use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};
use edge::{
    Access, ApiError,
    metrics::Transport,
    query::{Parameter, Query},
    routes::RequestParts,
    subscribe::{CHANNEL, SINCE, Subscription},
};
use shared::pure::{Cursor, Publisher, Since};

const MODE: Parameter = Parameter::once("mode");
const WAIT: Parameter = Parameter::once("wait");
const LIMIT: Parameter = Parameter::once("limit");
const FORMAT: Parameter = Parameter::once("format");
const ACCEPTED: [Parameter; 6] = [CHANNEL, SINCE, MODE, WAIT, LIMIT, FORMAT];

const LINES: &str = "application/x-ndjson";

/// A parsed request for `/data`.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The channels and the cursor.
    pub(crate) subscription: Subscription,
    /// The mode.
    pub(crate) mode: Mode,
    /// The format of the answer.
    pub(crate) format: Format,
    /// How long a long poll waits.
    pub(crate) wait: Duration,
    /// Maximum number of messages in a batch.
    pub(crate) limit: usize,
    /// Whether the cursor came as a validator, so that "nothing new" may be a 304.
    pub(crate) is_conditional: bool,
    /// Whether the permission to read depended on a token.
    pub(crate) is_private: bool,
    /// Whether whole messages have the user who published them.
    pub(crate) publisher: Publisher,
}

/// What an answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) format: Format,
    pub(crate) publisher: Publisher,
    /// Whether the permission to read depended on a token.
    pub(crate) is_private: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    LongPoll,
    Poll,
    Stream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Messages with their ids, any number of them.
    Batch,
    /// The data of one message.
    Raw,
}

impl Ask {
    /// What its answer looks like.
    pub(crate) fn style(&self) -> Style {
        Style { format: self.format, publisher: self.publisher, is_private: self.is_private }
    }

    /// Reads the query and the headers.
    ///
    /// # Errors
    /// 400 for invalid parameters, 401 and 403 as [`Subscription::read`].
    pub(crate) fn read(parts: &RequestParts<'_>, access: &Access) -> Result<Self, ApiError> {
        let query = Query::read(parts.query, &ACCEPTED)?;
        let mode = mode(&query, parts.headers)?;
        let is_bare = query.get(CHANNEL.name).is_none() && query.get(SINCE.name).is_none();
        let format = match query.get(FORMAT.name) {
            None if is_bare => Format::Raw,
            None | Some("batch") => Format::Batch,
            Some("raw") => Format::Raw,
            Some(_) => return Err(ApiError::invalid("bad_format", "`format` is batch or raw")),
        };
        let wait = Duration::from_secs(number(&query, WAIT, 25, 60, "seconds")?);
        let limit = usize::try_from(number(&query, LIMIT, 100, 1_000, "messages")?).unwrap_or(usize::MAX);
        // Last: everything else does not depend on who asks.
        let mut subscription = Subscription::read(&query, access, crate::RANDOM)?;
        let validator = if_none_match(parts.headers);
        if let Some(cursor) = validator {
            subscription.since = Since::After(cursor);
        }
        if mode != Mode::Stream {
            subscription.is_poll();
        }
        Ok(Self {
            subscription,
            mode,
            format,
            wait,
            limit,
            is_conditional: validator.is_some(),
            is_private: access.has_token(),
            publisher: access.publisher(),
        })
    }

    /// The transport of a request.
    ///
    /// # Errors
    /// 400 for an invalid query or mode.
    pub(crate) fn transport(parts: &RequestParts<'_>) -> Result<Transport, ApiError> {
        Ok(match mode(&Query::read(parts.query, &ACCEPTED)?, parts.headers)? {
            Mode::LongPoll => Transport::LongPoll,
            Mode::Poll => Transport::Poll,
            Mode::Stream => Transport::Stream,
        })
    }
}

fn mode(query: &Query<'_>, headers: &HeaderMap) -> Result<Mode, ApiError> {
    match query.get(MODE.name) {
        None if accepts_lines(headers) => Ok(Mode::Stream),
        None | Some("longpoll") => Ok(Mode::LongPoll),
        Some("poll") => Ok(Mode::Poll),
        Some("stream") => Ok(Mode::Stream),
        Some(_) => Err(ApiError::invalid("bad_mode", "`mode` is longpoll, poll or stream")),
    }
}

/// A parameter that is an integer from 1 to `most`.
fn number(query: &Query<'_>, parameter: Parameter, otherwise: u64, most: u64, unit: &str) -> Result<u64, ApiError> {
    let Some(text) = query.get(parameter.name) else { return Ok(otherwise) };
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_plain && (1..=most).contains(number));
    number.ok_or_else(|| {
        let (name, code) = match parameter.name {
            name @ "wait" => (name, "bad_wait"),
            name => (name, "bad_limit"),
        };
        ApiError::invalid(code, format!("`{name}` is a whole number of {unit} from 1 to {most}"))
    })
}

/// Whether the client explicitly accepts lines of JSON. `*/*` does not count.
fn accepts_lines(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_lines = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(LINES));
        // A weight of zero means "not acceptable" (RFC 9110 §12.4.2).
        let is_refused = |part: &str| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.and_then(|weight| weight.parse::<f32>().ok()).is_some_and(|weight| weight <= 0.0)
        };
        is_lines && !parts.any(is_refused)
    })
}

/// The cursor in `If-None-Match` (RFC 9110 §13.1.2), weak or strong: the newest of several, since the client has them all.
///
/// An unknown validator matches nothing and is ignored: a cache or a library in between may
/// store others, and `*` names none. A cursor is also recognized if a proxy has marked it as that of a
/// compressed answer, as Apache does (`"…-gzip"`), or if its quotes are missing.
fn if_none_match(headers: &HeaderMap) -> Option<Cursor> {
    let values = headers.get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|tag| cursor(tag.trim())).max()
}

/// The cursor in an entity tag.
fn cursor(tag: &str) -> Option<Cursor> {
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    let tag = tag.strip_prefix('"').map_or(Some(tag), |tag| tag.strip_suffix('"'))?;
    let coding = tag.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(tag.len());
    let (cursor, coding) = tag.split_at(coding);
    if !coding.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let cursor = if coding.is_empty() { cursor } else { cursor.trim_end_matches(['-', ';', ':', '.']) };
    cursor.parse().ok()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn headers(name: &str, value: &str) -> HeaderMap {
        TestRequest::default().insert_header((name, value)).to_http_request().headers().clone()
    }

    #[test]
    fn validators_are_cursors_in_quotes() {
        for (value, cursor) in [
            ("\"5-1\"", Some(Cursor::new(5, 1))),
            ("W/\"5-1\"", Some(Cursor::new(5, 1))),
            ("\"5-1\", W/\"7-0\",\"6-0\"", Some(Cursor::new(7, 0))),
            ("5-1", Some(Cursor::new(5, 1))),
            ("\"5-1-gzip\"", Some(Cursor::new(5, 1))),
            ("W/\"5-1--gzip\"", Some(Cursor::new(5, 1))),
            ("\"5-1;br\"", Some(Cursor::new(5, 1))),
            ("\"33a64df551425fcc55e4d42a148795d9f25f89d4\", \"5-1\"", Some(Cursor::new(5, 1))),
            ("\"6-\", \"5-1\", *", Some(Cursor::new(5, 1))),
        ] {
            assert_eq!(if_none_match(&headers("If-None-Match", value)), cursor, "{value}");
        }
        for value in
            ["*", "\"5\"", "\"5-1", "w/\"5-1\"", "\"\"", "\"5-1\" \"6-1\"", "\"gzip\"", "\"5-gzip\"", "\"5-1-\"", "ü"]
        {
            assert_eq!(if_none_match(&headers("If-None-Match", value)), None, "{value}");
        }
    }

    #[test]
    fn lines_are_asked_for_by_name() {
        for (value, is_asked) in [
            ("application/x-ndjson", true),
            ("text/html, Application/X-NDJSON;q=0.5", true),
            ("application/x-ndjson;q=0", false),
            ("*/*", false),
            ("application/json", false),
        ] {
            assert_eq!(accepts_lines(&headers("Accept", value)), is_asked, "{value}");
        }
    }
}
