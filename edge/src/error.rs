//! Errors as clients see them: one JSON form, the right status, and the headers that tell what to do next.
//!
//! A handler returns an [`ApiError`]; actix turns it into a response here and nowhere else. Errors that actix makes by
//! itself (no such path, wrong method, a body it could not read) are brought into the same form by
//! [`same_shape`], which the edge's layer calls on every response on its way out.

use std::{error::Error as StdError, fmt};

use actix_web::{
    HttpResponse, ResponseError,
    body::{BodySize, BoxBody, MessageBody},
    dev::ServiceResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
};
use serde::Serialize;

/// The realm that `WWW-Authenticate` names (RFC 7235 §2.2).
const REALM: &str = "trident";

/// Why a request is refused.
///
/// Every message says what is wrong and what is accepted; none repeats a credential. `Retry-After` is in seconds.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: the request is not right. `code` is for programs, `message` for people.
    #[error("{message}")]
    Invalid {
        /// A short name that programs can rely on, as `bad_cursor`.
        code: &'static str,
        /// What is wrong and what is accepted.
        message: String,
    },
    /// 401: a token is needed and none was shown.
    #[error("{0}")]
    TokenNeeded(String),
    /// 401: the token that was shown does not hold.
    #[error("{0}")]
    BadToken(String),
    /// 403: we know who asks, and the answer is no.
    #[error("{message}")]
    Forbidden {
        /// As in [`ApiError::Invalid`]; `insufficient_scope` is also told as RFC 6750 §3.1 has it.
        code: &'static str,
        /// What is missing and how it could be had.
        message: String,
    },
    /// 404: nothing lies there.
    #[error("there is nothing at this path")]
    NotFound,
    /// 405: the path knows other methods.
    #[error("this method is not accepted here; accepted: {}", list(.0))]
    MethodNotAllowed(Vec<Method>),
    /// 408: the client was too slow to send its body.
    #[error("{0}")]
    TooSlow(String),
    /// 413: the body is too large.
    #[error("the body is larger than the {limit} bytes that are accepted (TRIDENT_MAX_BODY)")]
    TooLarge {
        /// The most bytes that are accepted.
        limit: usize,
    },
    /// 413: more messages at once than may ever be published in a second.
    #[error(
        "{messages} messages at once are more than the {limit} a second that one token or address may publish \
         (TRIDENT_PUBLISH_RATE), so they would never be let through together; send them in several requests"
    )]
    TooManyAtOnce {
        /// How many there were.
        messages: usize,
        /// The most that are accepted in one request.
        limit: u32,
    },
    /// 413: more at once than the bus takes.
    #[error("{0}")]
    BatchTooLarge(String),
    /// 415: a body of a kind that is not understood.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// 422: an `Idempotency-Key` was used before, for something else.
    #[error("{message}")]
    Unprocessable {
        /// As in [`ApiError::Invalid`].
        code: &'static str,
        /// What is wrong and what is accepted.
        message: String,
    },
    /// 429: too much from one token or address.
    #[error("{message}")]
    TooMany {
        /// What there was too much of, and how much is accepted.
        message: String,
        /// Seconds until it is worth trying again.
        retry_after: u64,
    },
    /// 503: cannot now, may later.
    #[error("{message}")]
    Unavailable {
        /// As in [`ApiError::Invalid`]: `bus_away`, `draining`, `too_many_connections`.
        code: &'static str,
        /// What is away.
        message: String,
        /// Seconds until it is worth trying again.
        retry_after: u64,
    },
    /// 500: our own fault. The detail goes to the log, never to the client.
    #[error("internal error")]
    Internal(#[source] Box<dyn StdError + Send + Sync>),
}

fn list(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

impl ApiError {
    /// A 400 with a code for programs and a message for people.
    pub fn invalid(code: &'static str, message: impl fmt::Display) -> Self {
        Self::Invalid { code, message: message.to_string() }
    }

    /// A 403 with a code for programs and a message for people.
    pub fn forbidden(code: &'static str, message: impl fmt::Display) -> Self {
        Self::Forbidden { code, message: message.to_string() }
    }

    /// A 503 that may pass within a few seconds.
    pub fn unavailable(code: &'static str, message: impl fmt::Display) -> Self {
        Self::Unavailable { code, message: message.to_string(), retry_after: 2 }
    }

    /// A 500; `detail` goes to the log alone.
    pub fn internal(detail: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Internal(detail.into())
    }

    /// The short name of the error, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { code, .. }
            | Self::Forbidden { code, .. }
            | Self::Unprocessable { code, .. }
            | Self::Unavailable { code, .. } => code,
            Self::TokenNeeded(_) => "token_needed",
            Self::BadToken(_) => "bad_token",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::TooSlow(_) => "too_slow",
            Self::TooLarge { .. } => "too_large",
            Self::TooManyAtOnce { .. } | Self::BatchTooLarge(_) => "batch_too_large",
            Self::UnsupportedMediaType(_) => "unsupported_media_type",
            Self::TooMany { .. } => "too_many_requests",
            Self::Internal(_) => "internal",
        }
    }

    /// The error as the JSON of an answer: `{"error":{"code":…,"message":…}}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        json(self.code(), &self.to_string())
    }
}

/// The body of every answer that is an error.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Error))]
#[derive(Serialize)]
pub struct Body<'a> {
    error: Detail<'a>,
}

/// What is wrong.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ErrorDetail))]
#[derive(Serialize)]
struct Detail<'a> {
    /// For programs, as in `bad_cursor`.
    code: &'a str,
    /// For people: what is wrong and what is accepted.
    message: &'a str,
}

fn json(code: &str, message: &str) -> String {
    // Two strings always serialize; the fallback spares a panic that cannot come.
    serde_json::to_string(&Body { error: Detail { code, message } }).unwrap_or_default()
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Invalid { .. } => StatusCode::BAD_REQUEST,
            Self::TokenNeeded(_) | Self::BadToken(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } | Self::TooManyAtOnce { .. } | Self::BatchTooLarge(_) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unprocessable { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        if let Self::Internal(detail) = self {
            log::error!("answered 500: {}", chain(detail.as_ref()));
        }
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::TokenNeeded(_) => {
                // RFC 6750 §3.1: a request without credentials is told no error code.
                response.insert_header((header::WWW_AUTHENTICATE, format!("Bearer realm=\"{REALM}\"")));
            }
            Self::BadToken(message) => {
                response.insert_header((header::WWW_AUTHENTICATE, challenge("invalid_token", message)));
            }
            Self::Forbidden { code: code @ "insufficient_scope", message } => {
                response.insert_header((header::WWW_AUTHENTICATE, challenge(code, message)));
            }
            Self::MethodNotAllowed(methods) => {
                response.insert_header((header::ALLOW, list(methods)));
            }
            Self::TooMany { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                response.insert_header((header::RETRY_AFTER, retry_after.to_string()));
            }
            // What is left of the body is not worth reading.
            Self::TooSlow(_) | Self::TooLarge { .. } => {
                response.force_close();
            }
            _ => {}
        }
        response
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .body(self.to_json())
    }
}

/// RFC 6750 §3: the description may hold printable ASCII except `"` and `\`.
fn challenge(error: &str, message: &str) -> String {
    let description: String =
        message.chars().map(|c| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '\'' }).collect();
    format!("Bearer realm=\"{REALM}\", error=\"{error}\", error_description=\"{description}\"")
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Brings a response that actix made by itself into the form of [`ApiError`]; any other is left as it is.
///
/// Actix's own are those that carry an error of another type, and those of status 400 and above without a body, as its
/// 404 and 405 are. An error that somebody wrote as a response of their own is theirs.
#[must_use]
pub fn same_shape(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let inner = response.response();
    let ours = inner.error().is_some_and(|error| error.as_error::<ApiError>().is_some());
    let foreign = !ours && inner.error().is_some();
    let bare = inner.error().is_none()
        && matches!(inner.body().size(), BodySize::None | BodySize::Sized(0))
        && response.request().method() != Method::HEAD;
    if !(status.is_client_error() || status.is_server_error()) || !(foreign || bare) {
        return response;
    }
    let detail = inner.error().map(ToString::to_string);
    if status.is_server_error() {
        log::error!("answered {}: {}", status.as_u16(), detail.as_deref().unwrap_or("no detail"));
    }
    let (code, message) = described(status, detail);
    response.map_body(|head, _| {
        head.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        head.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        BoxBody::new(json(code, &message))
    })
}

/// Code and message for a bare status; the detail of a client's error may be told, that of a server's never.
fn described(status: StatusCode, detail: Option<String>) -> (&'static str, String) {
    let or = |text: &str| detail.clone().unwrap_or_else(|| text.to_owned());
    match status {
        StatusCode::NOT_FOUND => ("not_found", ApiError::NotFound.to_string()),
        StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "this method is not accepted here".to_owned()),
        StatusCode::REQUEST_TIMEOUT => ("too_slow", or("the request took too long to arrive")),
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", or("the body is too large")),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported_media_type", or("the body is of a kind not understood")),
        status if status.is_client_error() => {
            ("bad_request", or(status.canonical_reason().unwrap_or("the request is not right")))
        }
        _ => ("internal", "internal error".to_owned()),
    }
}

#[cfg(test)]
mod tests;
