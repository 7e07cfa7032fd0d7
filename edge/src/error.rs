//! Errors as clients receive them: a JSON body, the correct status, and headers for the next step.
//!
//! A handler returns an [`ApiError`], and only this module turns it into a response. Errors that actix creates itself (no such path, wrong
//! method, an unreadable body) are converted by [`same_shape`], which the edge's layer calls on every response.

use std::{error::Error as StdError, fmt, sync::Arc};

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
use shared::throttle;

/// The realm in `WWW-Authenticate` (RFC 7235 §2.2).
const REALM: &str = "trident";

/// Why a request is rejected.
///
/// Every message states what is wrong and what is accepted; none repeats a credential. `Retry-After` is in seconds.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: the request is invalid. `code` is for programs, `message` for humans.
    #[error("{message}")]
    Invalid {
        /// A short name that programs can rely on, such as `bad_cursor`.
        code: &'static str,
        /// What is wrong and what is accepted.
        message: String,
    },
    /// 401: a token is required and was not sent.
    #[error("{0}")]
    TokenNeeded(String),
    /// 401: the token is invalid.
    #[error("{0}")]
    BadToken(String),
    /// 403: the client is known, and does not have the permission.
    #[error("{message}")]
    Forbidden {
        /// As in [`ApiError::Invalid`]; `insufficient_scope` is also sent as RFC 6750 §3.1 defines it.
        code: &'static str,
        /// The missing permission and how to get it.
        message: String,
    },
    /// 403: the application refuses, with a code of its own.
    #[error("{message}")]
    Denied {
        /// As in [`ApiError::Invalid`].
        code: String,
        /// Why, in the words of the application.
        message: String,
    },
    /// 404: the path does not exist.
    #[error("there is nothing at this path")]
    NotFound,
    /// 405: the path supports other methods.
    #[error("method not allowed; allowed: {}", list(.0))]
    MethodNotAllowed(Vec<Method>),
    /// 408: the client sent its body too slowly.
    #[error("{0}")]
    TooSlow(String),
    /// 409: it contradicts the state of the thing that the request names.
    #[error("{message}")]
    Conflict {
        /// As in [`ApiError::Invalid`].
        code: &'static str,
        /// What contradicts.
        message: String,
    },
    /// 410: the thing that the request names has been removed.
    #[error("{message}")]
    Gone {
        /// As in [`ApiError::Invalid`].
        code: &'static str,
        /// What has been removed.
        message: String,
    },
    /// 413: the body is too large.
    #[error("the body exceeds {limit} bytes ({setting})")]
    TooLarge {
        /// The setting of the limit.
        setting: &'static str,
        /// The maximum number of bytes.
        limit: usize,
    },
    /// 413: more messages in one request than the rate limit allows per second.
    #[error(
        "{messages} messages at once are more than the {limit} a second that one token or address may publish \
         (TRIDENT_PUBLISH_RATE), so this request can never succeed; send them in several requests"
    )]
    TooManyAtOnce {
        /// The number of messages.
        messages: usize,
        /// The maximum number in one request.
        limit: u32,
    },
    /// 413: more than the bus accepts in one publication.
    #[error("{0}")]
    BatchTooLarge(String),
    /// 415: unsupported content type.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// 422: an `Idempotency-Key` was used before, for another publication.
    #[error("{message}")]
    Unprocessable {
        /// As in [`ApiError::Invalid`].
        code: &'static str,
        /// What is wrong and what is accepted.
        message: String,
    },
    /// 426: the path serves WebSockets of version 13, and the request asks for none of them.
    #[error("{0}")]
    UpgradeRequired(String),
    /// 404: a thing that a request names does not exist.
    #[error("{message}")]
    Missing {
        /// As in [`ApiError::Invalid`].
        code: &'static str,
        /// What does not exist.
        message: String,
    },
    /// 429: a rate or connection limit of one token or address.
    #[error("{message}")]
    TooMany {
        /// The limit that was exceeded.
        message: String,
        /// Seconds until a retry is useful.
        retry_after: u64,
    },
    /// 501: something that the configured bus cannot do.
    #[error("{0}")]
    NotSupported(String),
    /// 503: temporarily unavailable.
    #[error("{message}")]
    Unavailable {
        /// As in [`ApiError::Invalid`]: `bus_unavailable`, `draining`, `too_many_connections`.
        code: &'static str,
        /// What is unavailable.
        message: String,
        /// Seconds until a retry is useful.
        retry_after: u64,
    },
    /// 500: an error of the server. The detail is logged, and never sent to the client.
    #[error("internal error")]
    Internal(#[source] Arc<dyn StdError + Send + Sync>),
}

fn list(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

impl ApiError {
    /// A 400 with a code for programs and a message for humans.
    pub fn invalid(code: &'static str, message: impl fmt::Display) -> Self {
        Self::Invalid { code, message: message.to_string() }
    }

    /// A 403 with a code for programs and a message for humans.
    pub fn forbidden(code: &'static str, message: impl fmt::Display) -> Self {
        Self::Forbidden { code, message: message.to_string() }
    }

    /// A 404 with a code for programs and a message for humans.
    pub fn missing(code: &'static str, message: impl fmt::Display) -> Self {
        Self::Missing { code, message: message.to_string() }
    }

    /// A 409 with a code for programs and a message for humans.
    pub fn conflict(code: &'static str, message: impl fmt::Display) -> Self {
        Self::Conflict { code, message: message.to_string() }
    }

    /// A 410 with a code for programs and a message for humans.
    pub fn gone(code: &'static str, message: impl fmt::Display) -> Self {
        Self::Gone { code, message: message.to_string() }
    }

    /// A 503 that may end within a few seconds.
    pub fn unavailable(code: &'static str, message: impl fmt::Display) -> Self {
        Self::Unavailable { code, message: message.to_string(), retry_after: 2 }
    }

    /// A 500; `detail` is only logged.
    pub fn internal(detail: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Internal(Arc::from(detail.into()))
    }

    /// The short name of the error, for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Denied { code, .. } => code,
            Self::Invalid { code, .. }
            | Self::Forbidden { code, .. }
            | Self::Missing { code, .. }
            | Self::Conflict { code, .. }
            | Self::Gone { code, .. }
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
            Self::UpgradeRequired(_) => "upgrade_required",
            Self::TooMany { .. } => "too_many_requests",
            Self::NotSupported(_) => "not_supported",
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

/// The problem.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ErrorDetail))]
#[derive(Serialize)]
struct Detail<'a> {
    /// For programs, such as `bad_cursor`.
    code: &'a str,
    /// For humans: what is wrong and what is accepted.
    message: &'a str,
}

fn json(code: &str, message: &str) -> String {
    // Two strings always serialize; the fallback avoids a panic that cannot happen.
    serde_json::to_string(&Body { error: Detail { code, message } }).unwrap_or_default()
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Invalid { .. } => StatusCode::BAD_REQUEST,
            Self::TokenNeeded(_) | Self::BadToken(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } | Self::Denied { .. } => StatusCode::FORBIDDEN,
            Self::NotFound | Self::Missing { .. } => StatusCode::NOT_FOUND,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::Gone { .. } => StatusCode::GONE,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } | Self::TooManyAtOnce { .. } | Self::BatchTooLarge(_) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unprocessable { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::UpgradeRequired(_) => StatusCode::UPGRADE_REQUIRED,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotSupported(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        if let Self::Internal(detail) = self {
            throttle::log(log::Level::Error, "answered 500", chain(detail.as_ref()));
        }
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::TokenNeeded(_) => {
                // RFC 6750 §3.1: a request without credentials gets no error code.
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
            // RFC 9110 §15.5.22, RFC 6455 §4.2.2.
            Self::UpgradeRequired(_) => {
                response.insert_header((header::UPGRADE, "websocket"));
                response.insert_header((header::SEC_WEBSOCKET_VERSION, "13"));
            }
            // The rest of the body is not read.
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

/// RFC 6750 §3: the description may contain printable ASCII except `"` and `\`.
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

/// Converts a response that actix created itself into the form of [`ApiError`]; any other is unchanged.
///
/// Actix's own are those with an error of another type, and those of status 400 and above without a body, such as its 404 and 405. An error
/// response that a handler built is not changed.
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
        let detail = detail.as_deref().unwrap_or("no detail");
        throttle::log(log::Level::Error, "answered a server error", format_args!("{}: {detail}", status.as_u16()));
    }
    let (code, message) = described(status, detail);
    response.map_body(|head, _| {
        head.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        head.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        BoxBody::new(json(code, &message))
    })
}

/// Code and message for a status without a body. The detail of a client error may be sent, that of a server error never.
fn described(status: StatusCode, detail: Option<String>) -> (&'static str, String) {
    let or = |text: &str| detail.clone().unwrap_or_else(|| text.to_owned());
    match status {
        StatusCode::NOT_FOUND => ("not_found", ApiError::NotFound.to_string()),
        StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "method not allowed".to_owned()),
        StatusCode::REQUEST_TIMEOUT => ("too_slow", or("the request took too long to arrive")),
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", or("the body is too large")),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported_media_type", or("unsupported media type")),
        status if status.is_client_error() => ("bad_request", or(status.canonical_reason().unwrap_or("bad request"))),
        _ => ("internal", "internal error".to_owned()),
    }
}

#[cfg(test)]
mod tests;
