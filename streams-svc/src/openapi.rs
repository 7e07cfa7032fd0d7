//! What `/streams` says of itself, for docs/openapi.json; see [`edge::openapi`].

#![allow(dead_code, reason = "these functions are never called")]

use edge::openapi::{ErrorBody, Refused};
use utoipa::{
    IntoParams, IntoResponses, OpenApi, ToSchema,
    openapi::{
        Ref, RefOr,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};

use crate::subscriptions::openapi::Subscriptions;

/// The paths of this service, below the default of `TRIDENT_STREAMS_PATH`.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut openapi = Streams::openapi();
    if let Some(stream) = openapi.paths.paths.get_mut("/streams/{path}") {
        let operations = [&mut stream.put, &mut stream.post, &mut stream.get, &mut stream.head, &mut stream.delete];
        for operation in operations.into_iter().flatten() {
            operation.parameters.get_or_insert_default().insert(0, path());
        }
    }
    openapi.merge(Subscriptions::openapi());
    openapi
}

#[derive(OpenApi)]
#[openapi(
    paths(create, append, read, head, delete),
    components(schemas(StreamPath, Offset)),
    tags((name = "streams", description = "Durable Streams: channels that are created, appended to, closed and deleted."))
)]
struct Streams;

/// The name of the channel. Slashes need not be encoded.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = r"^(?=.{1,128}$)[A-Za-z0-9_.~/$-]+$", example = "runs/17")]
struct StreamPath(String);

/// A position in a stream, which sorts as text. Cursors of other transports are accepted, too.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = r"^\d{16}_\d{20}$", example = "0001763800000000_00000000000000000000")]
struct Offset(String);

fn path() -> Parameter {
    let schema = RefOr::Ref(Ref::from_schema_name(StreamPath::name()));
    ParameterBuilder::new()
        .name("path")
        .parameter_in(ParameterIn::Path)
        .required(utoipa::openapi::Required::True)
        .description(Some("The name of the channel of the stream."))
        .schema(Some(schema))
        .build()
}

/// What requests of a stream can be answered.
#[derive(IntoResponses)]
enum NoStream {
    /// There is no such stream, or it has ended.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The stream was deleted, but forks of it exist; or the offset is one with which no reader can continue.
    #[response(status = 410)]
    Gone(ErrorBody),
    /// This bus has no streams, or the path belongs to the protocol.
    #[response(status = 501)]
    NotSupported(ErrorBody),
}

/// What the body of a request can be answered.
#[derive(IntoResponses)]
enum RefusedBody {
    /// The body took too long to arrive.
    #[response(status = 408)]
    Slow(ErrorBody),
    /// The body is larger than `TRIDENT_STREAM_MAX_BODY` (1 MiB), or contains more messages than may be published per second.
    #[response(status = 413)]
    TooLarge(ErrorBody),
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct CreateHeaders {
    /// The stream ends after so many seconds without use.
    #[param(rename = "Stream-TTL", nullable = false, minimum = 0, maximum = 3_153_600_000_u64)]
    ttl: Option<u64>,
    /// When the stream ends (RFC 3339). It and `Stream-TTL` exclude each other.
    #[param(rename = "Stream-Expires-At", nullable = false, example = "2030-01-31T12:00:00Z")]
    expires_at: Option<String>,
    /// `true`: nothing follows the body.
    #[param(rename = "Stream-Closed", nullable = false)]
    closed: Option<bool>,
    /// The path of a stream: the new one begins with its messages.
    #[param(rename = "Stream-Forked-From", nullable = false, example = "/streams/runs/17")]
    forked_from: Option<String>,
    /// The last message of the source that the fork has; by default the newest.
    #[param(rename = "Stream-Fork-Offset", nullable = false)]
    fork_offset: Option<Offset>,
    /// How many messages more (JSON), or bytes of the next append.
    #[param(rename = "Stream-Fork-Sub-Offset", nullable = false)]
    fork_sub_offset: Option<u64>,
}

/// Create a stream
///
/// Repeated with the same content type and lifetime, it finds the stream. The body has the first messages.
#[utoipa::path(
    put,
    path = "/streams/{path}",
    tag = "streams",
    operation_id = "createStream",
    params(CreateHeaders),
    request_body(description = "JSON: a message, or an array of them. Any other type: bytes.", content((serde_json::Value = "application/json"), (String = "*/*"))),
    responses(
        (status = 201, description = "It is new",
         headers(
             ("Location" = String, description = "The address of the stream"),
             ("Stream-Next-Offset" = Offset, description = "The offset after its messages"),
             ("Stream-Closed" = bool, description = "`true` if it is closed"))),
        (status = 200, description = "There is such a stream",
         headers(
             ("Stream-Next-Offset" = Offset, description = "The offset after its messages"),
             ("Stream-Closed" = bool, description = "`true` if it is closed"))),
        (status = 409, description = "Another stream or a channel has the name", body = ErrorBody),
        NoStream,
        RefusedBody,
        Refused,
    ),
    security(("bearer" = []), ("cookie" = []))
)]
fn create() {}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct AppendHeaders {
    /// `true`: closes the stream, after the body if there is one.
    #[param(rename = "Stream-Closed", nullable = false)]
    closed: Option<bool>,
    /// A text that is greater than that of the append before, whoever sent it; otherwise 409.
    #[param(rename = "Stream-Seq", nullable = false, min_length = 1, max_length = 256)]
    seq: Option<String>,
    /// Who appends. With the next two, a repeated request adds nothing.
    #[param(rename = "Producer-Id", nullable = false, min_length = 1, max_length = 256)]
    producer: Option<String>,
    /// Incremented when the producer restarts. Requests of earlier epochs are rejected.
    #[param(rename = "Producer-Epoch", nullable = false, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    epoch: Option<u64>,
    /// The number of the request in its epoch, from 0.
    #[param(rename = "Producer-Seq", nullable = false, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    number: Option<u64>,
}

/// Append to a stream, or close it
#[utoipa::path(
    post,
    path = "/streams/{path}",
    tag = "streams",
    operation_id = "appendToStream",
    params(AppendHeaders),
    request_body(description = "Of the content type of the stream. Each element of a JSON array is a message.", content((serde_json::Value = "application/json"), (String = "*/*"))),
    responses(
        (status = 200, description = "Appended, for a producer",
         headers(
             ("Stream-Next-Offset" = Offset, description = "The offset after it"),
             ("Stream-Closed" = bool, description = "`true` if the stream is closed"),
             ("Producer-Epoch" = u64, description = "That of the request"),
             ("Producer-Seq" = u64, description = "The highest number that was accepted"))),
        (status = 204, description = "Appended, or closed; for a producer, a repetition",
         headers(
             ("Stream-Next-Offset" = Offset, description = "The offset after it"),
             ("Stream-Closed" = bool, description = "`true` if the stream is closed"),
             ("Producer-Epoch" = u64, description = "That of the request"),
             ("Producer-Seq" = u64, description = "The highest number that was accepted"))),
        (status = 409, description = "The stream is closed, has another content type, or the number or sequence does not follow", body = ErrorBody,
         headers(
             ("Stream-Next-Offset" = Offset, description = "The end of a closed stream"),
             ("Stream-Closed" = bool, description = "`true` for a closed stream"),
             ("Producer-Expected-Seq" = u64, description = "The number that follows"),
             ("Producer-Received-Seq" = u64, description = "That of the request"))),
        NoStream,
        RefusedBody,
        Refused,
    ),
    security(("bearer" = []), ("cookie" = []))
)]
fn append() {}

/// How to wait for more.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
enum Live {
    LongPoll,
    Sse,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct ReadQuery {
    /// What to begin after: an offset or a cursor, `-1` for the beginning, the default, or `now`. Required with `live`.
    #[param(pattern = r"^(-1|now|\d{1,20}[_-]\d{1,20})$")]
    offset: Option<String>,
    /// `long-poll` waits for the next messages, `sse` is an event stream of about a minute. Without it, the answer has what is there.
    #[param(inline)]
    live: Option<Live>,
    /// How many seconds a long poll waits.
    #[param(minimum = 0, maximum = 60, default = 4)]
    timeout: Option<u64>,
    /// The `Stream-Cursor` of the answer before, for caches.
    cursor: Option<u64>,
}

/// Read a stream
///
/// The body has the messages after `offset`: an array if the stream is JSON, otherwise bytes. Unknown query parameters are ignored.
#[utoipa::path(
    get,
    path = "/streams/{path}",
    tag = "streams",
    operation_id = "readStream",
    params(ReadQuery),
    responses(
        (status = 200, description = "What follows the offset. In an event stream, an event `control` after each event `data` has the offset after it",
         content((serde_json::Value = "application/json"), (String = "text/event-stream"), (String = "*/*")),
         headers(
             ("Stream-Next-Offset" = Offset, description = "Where to continue"),
             ("Stream-Up-To-Date" = bool, description = "`true` if nothing more is there"),
             ("Stream-Closed" = bool, description = "`true` if nothing follows"),
             ("Stream-Cursor" = u64, description = "The `cursor` of the next request"),
             ("ETag" = String, description = "The validator of this answer"))),
        (status = 204, description = "Nothing new, for a long poll",
         headers(
             ("Stream-Next-Offset" = Offset, description = "Where to continue"),
             ("Stream-Up-To-Date" = bool, description = "`true`"),
             ("Stream-Closed" = bool, description = "`true` if nothing follows"),
             ("Stream-Cursor" = u64, description = "The `cursor` of the next request"))),
        (status = 304, description = "The answer is that of `If-None-Match`"),
        NoStream,
        Refused,
    ),
    security((), ("bearer" = []), ("cookie" = []))
)]
fn read() {}

/// Describe a stream
#[utoipa::path(
    head,
    path = "/streams/{path}",
    tag = "streams",
    operation_id = "describeStream",
    responses(
        (status = 200, description = "Its content type, its end and its lifetime",
         headers(
             ("Stream-Next-Offset" = Offset, description = "The offset after its messages"),
             ("Stream-Closed" = bool, description = "`true` if it is closed"),
             ("Stream-TTL" = u64, description = "Seconds without use after which it ends"),
             ("Stream-Expires-At" = String, description = "When it ends"))),
        (status = 401, description = "A token is required, or it is invalid"),
        (status = 403, description = "The token does not cover the channel"),
        (status = 404, description = "There is no such stream"),
        (status = 410, description = "It was deleted, but forks of it exist")
    ),
    security((), ("bearer" = []), ("cookie" = []))
)]
fn head() {}

/// Delete a stream
#[utoipa::path(
    delete,
    path = "/streams/{path}",
    tag = "streams",
    operation_id = "deleteStream",
    responses((status = 204, description = "It and its messages are deleted"), NoStream, Refused),
    security(("bearer" = []), ("cookie" = []))
)]
fn delete() {}
