//! The HTTP interface of all services, for docs/openapi.json (OpenAPI 3.1, <https://spec.openapis.org/oas/v3.1.0>).
//!
//! Schemas are derived from the types that write and read the bodies. Paths are described here and beside the services' handlers;
//! standalone's tests combine them, write the file, and compare servers with it. Only tests are built with this: binaries serve the file at
//! `/openapi.json`.

#![allow(dead_code, reason = "these functions are never called")]

use shared::{
    live::degraded::Degradation,
    pure::{ChannelName, Cursor, EventName, Gap, batch::BatchLine, message::Whole},
};
use utoipa::{
    IntoParams, IntoResponses, Modify, OpenApi, ToSchema,
    openapi::{
        path::Operation,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{
    error::Body as Error,
    health::Ready,
    publish::{Many, One},
};

/// A channel, or with `trident.api` a pattern: a prefix of names that ends in `*`.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = r"^(?=.{1,128}$)[A-Za-z0-9_.~/$-]*\*?$", example = "news")]
pub struct Selector(String);

/// The paths and schemas of every service, and who may ask.
#[must_use]
pub fn common() -> utoipa::openapi::OpenApi {
    Common::openapi()
}

/// Publishing, which is the same at several paths, as the operation `name`.
#[must_use]
pub fn publishing(name: &str) -> Operation {
    let mut operation = Publishing::openapi().paths.paths.remove("/").and_then(|path| path.post).unwrap_or_default();
    operation.operation_id = Some(name.to_owned());
    operation
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Trident",
        description = "Pushes messages to browsers, from one ordered log. Published messages are delivered by event streams, \
                       polling, WebSockets and Socket.IO, and an id is a cursor on each of them.\n\n\
                       Socket.IO, at `/socket.io/`, has a protocol of its own and is not described here. Unknown query \
                       parameters are rejected. `HEAD` is answered as `GET`, without a body."
    ),
    paths(healthz, readyz, metrics),
    components(schemas(Cursor, ChannelName, Selector, EventName, Gap, Whole, BatchLine, Error, One, Many, Published, Ready, Degradation)),
    modifiers(&Common),
    tags(
        (name = "read", description = "Messages after a cursor."),
        (name = "publish", description = "Add messages to the log."),
        (name = "operate", description = "For load balancers and monitoring. The gateway answers `/healthz` itself, with a text, and \
                                          does not expose the others.")
    )
)]
struct Common;

impl Modify for Common {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(
            "A JWT (HS256, RS256, ES256 or EdDSA) with `exp` and `trident: {\"publish\": […], \"subscribe\": […]}`: names of \
             channels, or prefixes that end in `*`. `standalone token` creates one.",
        ));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        let cookie = ApiKeyValue::with_description(
            "trident_token",
            "The same token, for pages: event streams of browsers send cookies and no other credentials.",
        );
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

#[derive(OpenApi)]
#[openapi(paths(publish))]
struct Publishing;

/// What any request with a token or a query can be answered.
#[derive(IntoResponses)]
pub enum Refused {
    /// The request is invalid: a name, a cursor, a value or an unknown parameter. The message says what is accepted.
    #[response(status = 400)]
    BadRequest(ErrorBody),
    /// A token is required and was not sent, or the token is invalid.
    #[response(status = 401, headers(("WWW-Authenticate" = String, description = "`Bearer`, with the reason (RFC 6750)")))]
    Unauthorized(ErrorBody),
    /// The token does not cover the channel; or nobody may publish, as no key for tokens is configured.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The path supports other methods.
    #[response(status = 405, headers(("Allow" = String, description = "The allowed methods")))]
    MethodNotAllowed(ErrorBody),
    /// Too many from one token or address.
    #[response(status = 429, headers(("Retry-After" = u64, description = "Seconds until a retry is useful")))]
    TooManyRequests(ErrorBody),
    /// Temporarily unavailable: the bus is unavailable, a limit is reached, or the process is shutting down. Nothing was added.
    #[response(status = 503, headers(("Retry-After" = u64, description = "Seconds until a retry is useful")))]
    Unavailable(ErrorBody),
}

/// The body of every error.
pub type ErrorBody = Error<'static>;

/// What the body of a publication can be answered.
#[derive(IntoResponses)]
enum RefusedBody {
    /// The body took too long to arrive.
    #[response(status = 408)]
    Slow(ErrorBody),
    /// The body is larger than `TRIDENT_MAX_BODY` (64 KiB), or contains more messages than may be published per second.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The `Content-Type` is not supported.
    #[response(status = 415)]
    UnsupportedMediaType(ErrorBody),
    /// The `Idempotency-Key` was used for other messages.
    #[response(status = 422)]
    Unprocessable(ErrorBody),
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct PublishQuery {
    /// The channels to publish to, one message each. Required, except with `application/x-ndjson`, which accepts no parameters.
    #[param(max_items = 128, style = Form, explode)]
    channel: Option<Vec<ChannelName>>,
    /// The event name; default `message`.
    event: Option<EventName>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct PublishHeaders {
    /// Within five minutes the same key with the same messages gives the first answer again and adds nothing, so that trying
    /// again is safe. Visible ASCII characters.
    #[param(rename = "Idempotency-Key", nullable = false, min_length = 1, max_length = 128)]
    idempotency_key: Option<String>,
}

/// Publish
///
/// 201 means that the messages are in the log: readers with an older cursor get them. A batch is added as a whole, or not at all.
#[utoipa::path(
    post,
    path = "/",
    tag = "publish",
    params(PublishQuery, PublishHeaders),
    request_body(
        description = "The data: any JSON, or a text. Or a batch, with one `BatchLine` per line.",
        content(
            (serde_json::Value = "application/json"),
            (String = "text/plain"),
            (String = "application/x-ndjson", example = "{\"channel\":\"news\",\"data\":1}\n{\"channel\":\"jobs\",\"event\":\"done\",\"data\":\"x\"}\n")
        )
    ),
    responses(
        (status = 201, description = "Published: the id, or the ids if there are several channels or a batch", body = Published,
         headers(("Cache-Control" = String, description = "`no-store`"))),
        Refused,
        RefusedBody,
    ),
    security(("bearer" = []), ("cookie" = []))
)]
fn publish() {}

/// One id, or several.
#[derive(ToSchema, serde::Serialize)]
#[serde(untagged)]
enum Published {
    One(One),
    Many(Many),
}

/// How a process is.
#[derive(ToSchema)]
struct Status {
    /// `ok`.
    status: String,
}

/// Whether the process lives
#[utoipa::path(get, path = "/healthz", tag = "operate", responses((status = 200, description = "It is running", body = Status)))]
fn healthz() {}

/// Whether the process can serve
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operate",
    responses(
        (status = 200, description = "It is ready; `degraded` lists problems", body = Ready),
        (status = 503, description = "It is not ready: the bus is unavailable, or it is shutting down", body = ErrorBody,
         headers(("Retry-After" = u64, description = "Seconds until a retry is useful")))
    )
)]
fn readyz() {}

/// Metrics for Prometheus
///
/// OpenMetrics for clients that accept it, the older text format otherwise.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operate",
    responses((
        status = 200,
        description = "The metrics",
        content((String = "text/plain"), (String = "application/openmetrics-text"))
    ))
)]
fn metrics() {}
