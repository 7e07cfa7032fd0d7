//! The header fields of the protocol.

use actix_web::{
    HttpResponseBuilder,
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
};
use edge::{ApiError, routes::RequestParts};
use shared::pure::stream::{Fork, Lifetime, MAX_LIFETIME_SECS, MAX_PRODUCER_NUMBER, MediaType, Producer, StreamInfo};

use crate::{offset::Offset, target};

pub(crate) const NEXT_OFFSET: HeaderName = HeaderName::from_static("stream-next-offset");
pub(crate) const UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
pub(crate) const CLOSED: HeaderName = HeaderName::from_static("stream-closed");
pub(crate) const CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
pub(crate) const SSE_ENCODING: HeaderName = HeaderName::from_static("stream-sse-data-encoding");
/// Text that is greater in each append than in the one before.
pub const SEQ: HeaderName = HeaderName::from_static("stream-seq");
const FORKED_FROM: HeaderName = HeaderName::from_static("stream-forked-from");
const FORK_OFFSET: HeaderName = HeaderName::from_static("stream-fork-offset");
const FORK_SUB_OFFSET: HeaderName = HeaderName::from_static("stream-fork-sub-offset");
pub(crate) const PRODUCER_EPOCH: HeaderName = HeaderName::from_static("producer-epoch");
pub(crate) const PRODUCER_SEQ: HeaderName = HeaderName::from_static("producer-seq");
pub(crate) const EXPECTED_SEQ: HeaderName = HeaderName::from_static("producer-expected-seq");
pub(crate) const RECEIVED_SEQ: HeaderName = HeaderName::from_static("producer-received-seq");
const TTL: HeaderName = HeaderName::from_static("stream-ttl");
const EXPIRES_AT: HeaderName = HeaderName::from_static("stream-expires-at");
const PRODUCER_ID: HeaderName = HeaderName::from_static("producer-id");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Response headers that pages may read.
const EXPOSED: &str = "ETag, Location, Retry-After, WWW-Authenticate, Allow, Stream-Next-Offset, Stream-Up-To-Date, Stream-Closed, \
                       Stream-Cursor, Stream-TTL, Stream-Expires-At, Stream-SSE-Data-Encoding, Producer-Epoch, Producer-Seq, \
                       Producer-Expected-Seq, Producer-Received-Seq";

/// Maximum length of `Stream-Seq` and `Producer-Id` in bytes.
const MAX_TEXT_BYTES: usize = 256;
/// Why a number is rejected.
const DECIMAL: &str = "a decimal number without sign and leading zeros";

/// The value of a field; `None` without it.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| ApiError::invalid("bad_header", format!("{name} is not visible ASCII")))?;
    Ok(Some(text.trim()))
}

/// The value of a field, of 1 to 256 bytes; `None` without it.
///
/// # Errors
/// 400 for any other value.
pub fn short_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let text = text(headers, name)?;
    if text.is_some_and(|text| text.is_empty() || text.len() > MAX_TEXT_BYTES) {
        return Err(ApiError::invalid(
            "bad_header",
            format!("{name} must have 1 to {MAX_TEXT_BYTES} visible ASCII characters"),
        ));
    }
    Ok(text)
}

/// A number in the only spelling that is accepted, up to `most`.
pub(crate) fn number(text: &str, most: u64) -> Option<u64> {
    let is_canonical = text == "0" || text.starts_with(|c: char| matches!(c, '1'..='9'));
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_canonical && is_decimal && *number <= most)
}

/// `Content-Type`.
///
/// # Errors
/// 400 if it is not a media type.
pub fn content_type(headers: &HeaderMap) -> Result<Option<MediaType>, ApiError> {
    let text = text(headers, &header::CONTENT_TYPE)?.filter(|text| !text.is_empty());
    text.map(str::parse).transpose().map_err(|error| ApiError::invalid("bad_content_type", error))
}

/// Whether `Stream-Closed` is `true`; any other value is ignored (PROTOCOL.md of Durable Streams, §4.1).
#[must_use]
pub fn is_closing(headers: &HeaderMap) -> bool {
    headers.get(CLOSED).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// `Stream-TTL` or `Stream-Expires-At`.
///
/// # Errors
/// 400 for both, and for what is no number of seconds or no time.
pub fn lifetime(headers: &HeaderMap) -> Result<Lifetime, ApiError> {
    match (text(headers, &TTL)?, text(headers, &EXPIRES_AT)?) {
        (None, None) => Ok(Lifetime::Unlimited),
        (Some(_), Some(_)) => {
            Err(ApiError::invalid("bad_lifetime", "Stream-TTL and Stream-Expires-At exclude each other; send one"))
        }
        (Some(ttl), None) => number(ttl, MAX_LIFETIME_SECS).map(Lifetime::Idle).ok_or_else(|| {
            ApiError::invalid(
                "bad_lifetime",
                format!("Stream-TTL must be {DECIMAL}: seconds, at most {MAX_LIFETIME_SECS}"),
            )
        }),
        (None, Some(time)) => {
            let time = time.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok());
            time.map(Lifetime::Until).ok_or_else(|| {
                let message =
                    "Stream-Expires-At must be a time after 1970 as in RFC 3339, such as 2030-01-31T12:00:00Z";
                ApiError::invalid("bad_lifetime", message)
            })
        }
    }
}

/// The producer, whose three fields belong together.
///
/// # Errors
/// 400 if one is missing or invalid.
pub fn producer(headers: &HeaderMap) -> Result<Option<Producer>, ApiError> {
    let bad = |message: &str| ApiError::invalid("bad_producer", message);
    let fields = (short_text(headers, &PRODUCER_ID)?, text(headers, &PRODUCER_EPOCH)?, text(headers, &PRODUCER_SEQ)?);
    let (id, epoch, seq) = match fields {
        (None, None, None) => return Ok(None),
        (Some(id), Some(epoch), Some(seq)) => (id, epoch, seq),
        _ => return Err(bad("Producer-Id, Producer-Epoch and Producer-Seq must be sent together")),
    };
    let parsed = number(epoch, MAX_PRODUCER_NUMBER).zip(number(seq, MAX_PRODUCER_NUMBER));
    let bad_number =
        || bad(&format!("Producer-Epoch and Producer-Seq must be {DECIMAL}, at most {MAX_PRODUCER_NUMBER}"));
    let (epoch, seq) = parsed.ok_or_else(bad_number)?;
    Ok(Some(Producer { id: id.into(), epoch, seq }))
}

/// Where the stream is forked from, if it is: the path of its source is below `root`.
///
/// # Errors
/// 400 for an invalid path, offset or sub-offset, and for an offset without a path.
pub fn fork(root: &str, headers: &HeaderMap) -> Result<Option<Fork>, ApiError> {
    let bad = |message: &str| ApiError::invalid("bad_fork", message);
    let (at, sub) = (text(headers, &FORK_OFFSET)?, text(headers, &FORK_SUB_OFFSET)?);
    let Some(path) = text(headers, &FORKED_FROM)? else {
        let is_alone = at.is_some() || sub.is_some();
        let alone = "Stream-Fork-Offset and Stream-Fork-Sub-Offset need Stream-Forked-From";
        return if is_alone { Err(bad(alone)) } else { Ok(None) };
    };
    if path.strip_prefix(root).is_none_or(|rest| !rest.starts_with('/')) {
        return Err(bad(&format!("Stream-Forked-From must be the path of a stream of this server, below {root}/")));
    }
    let source = target::channel(root, path)?;
    let at = at.map(str::parse::<Offset>).transpose().map_err(|error| bad(&error.to_string()))?.map(|Offset(at)| at);
    let sub = sub.map_or(Some(0), |sub| number(sub, u64::MAX));
    let sub =
        sub.ok_or_else(|| bad("Stream-Fork-Sub-Offset must be a decimal number without sign and leading zeros"))?;
    if sub > 0 && at.is_none() {
        return Err(bad("Stream-Fork-Sub-Offset needs Stream-Fork-Offset"));
    }
    Ok(Some(Fork { source, at, sub }))
}

/// Adds what every answer has.
pub(crate) fn mark(parts: &RequestParts<'_>, headers: &mut HeaderMap) {
    // The path decides who may read, and not the page that does.
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    if parts.headers.contains_key(header::ORIGIN) {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

/// Adds where the stream continues, and whether it is closed.
pub(crate) fn tail(answer: &mut HttpResponseBuilder, info: &StreamInfo) {
    answer.insert_header((NEXT_OFFSET, Offset(info.tail).to_string()));
    if info.end.is_some() {
        answer.insert_header((CLOSED, "true"));
    }
}

/// Adds when the stream ends by itself.
pub(crate) fn add_lifetime(answer: &mut HttpResponseBuilder, lifetime: Lifetime) {
    match lifetime {
        Lifetime::Unlimited => {}
        Lifetime::Idle(secs) => drop(answer.insert_header((TTL, secs.to_string()))),
        Lifetime::Until(ms) => {
            let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            if let Some(time) = time {
                answer.insert_header((EXPIRES_AT, time.to_string()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn a_lifetime_is_a_number_of_seconds_or_a_time() {
        let of = |fields: &[_]| lifetime(&headers(fields)).ok();
        assert_eq!(of(&[]), Some(Lifetime::Unlimited));
        assert_eq!(of(&[("stream-ttl", "3600")]), Some(Lifetime::Idle(3_600)));
        for bad in ["", "00060", "+60", "60.0", "6e1", "-1", "3153600001", "99999999999999999999"] {
            assert_eq!(of(&[("stream-ttl", bad)]), None, "{bad}");
        }
        let noon = Some(Lifetime::Until(1_763_812_800_000));
        for time in ["2025-11-22T12:00:00Z", "2025-11-22T12:00:00.000Z", "2025-11-22T20:00:00+08:00"] {
            assert_eq!(of(&[("stream-expires-at", time)]), noon, "{time}");
        }
        for bad in ["tomorrow", "2025-11-22", "2025-13-22T12:00:00Z", "1969-12-31T00:00:00Z"] {
            assert_eq!(of(&[("stream-expires-at", bad)]), None, "{bad}");
        }
        assert_eq!(of(&[("stream-ttl", "1"), ("stream-expires-at", "2025-11-22T12:00:00Z")]), None);
    }

    #[test]
    fn a_producer_has_three_fields_or_none() {
        let of = |fields: &[_]| producer(&headers(fields)).map_err(|error| error.code().to_owned());
        assert_eq!(of(&[]), Ok(None));
        let all = [("producer-id", "a"), ("producer-epoch", "1"), ("producer-seq", "9007199254740991")];
        assert_eq!(of(&all), Ok(Some(Producer { id: "a".into(), epoch: 1, seq: MAX_PRODUCER_NUMBER })));
        for missing in 0..3 {
            let some: Vec<_> =
                all.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, field)| *field).collect();
            assert_eq!(of(&some), Err("bad_producer".to_owned()));
        }
        for bad in ["", "-1", "01", "1.0", "1e3", "9007199254740992", "x"] {
            assert_eq!(of(&[all[0], ("producer-epoch", bad), all[2]]), Err("bad_producer".to_owned()), "{bad}");
        }
        assert_eq!(of(&[("producer-id", ""), all[1], all[2]]), Err("bad_header".to_owned()));
    }
}
