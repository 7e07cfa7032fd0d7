//! Reads a request's body: all of it, within a size and within a time.

use std::time::Duration;

use actix_web::{
    HttpRequest,
    error::PayloadError,
    http::header,
    web::{Bytes, BytesMut, Payload},
};
use futures_util::StreamExt as _;

use super::{ApiError, Edge};

/// Reads the body of `request`: at most `TRIDENT_MAX_BODY` bytes, within `TRIDENT_BODY_TIMEOUT`.
///
/// The time is for the whole body, not between two of its bytes: a client that sends a byte a second would otherwise
/// hold its place for hours.
///
/// # Errors
/// 413 for a body that is too large (at once, when its length is told), 408 for one that is too slow, 415 for one that
/// is compressed, 400 for one that breaks off or is framed wrongly.
pub async fn read(edge: &Edge, request: &HttpRequest, payload: Payload) -> Result<Bytes, ApiError> {
    let result = read_within(request, payload, edge.settings.max_body, edge.settings.body_timeout).await;
    match &result {
        Err(ApiError::TooLarge { .. }) => edge.metrics.refusals.body_size.inc(),
        Err(ApiError::TooSlow(_)) => edge.metrics.refusals.slow_body.inc(),
        _ => 0,
    };
    result
}

async fn read_within(
    request: &HttpRequest,
    mut payload: Payload,
    limit: Option<usize>,
    within: Duration,
) -> Result<Bytes, ApiError> {
    let coding = request.headers().get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::UnsupportedMediaType("the body is compressed; accepted is one that is not".to_owned()));
    }
    let limit = limit.unwrap_or(usize::MAX);
    let told = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if told.is_some_and(|told: usize| told > limit) {
        return Err(ApiError::TooLarge { limit });
    }
    let body = async {
        // What a client says of its length is worth no memory before it has sent something.
        let mut body = BytesMut::with_capacity(told.unwrap_or(0).min(16 * 1024));
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(broken)?;
            if body.len() + chunk.len() > limit {
                return Err(ApiError::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    match tokio::time::timeout(within, body).await {
        Ok(body) => body,
        Err(_) => {
            Err(ApiError::TooSlow(format!("the body did not arrive within {} s", within.as_secs_f64())))
        }
    }
}

fn broken(error: PayloadError) -> ApiError {
    match error {
        PayloadError::Overflow => ApiError::invalid("bad_body", "the body is framed wrongly"),
        error => ApiError::invalid("bad_body", format!("the body broke off: {error}")),
    }
}
