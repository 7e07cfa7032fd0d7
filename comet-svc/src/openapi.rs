//! What `/data` and `/ws` say of themselves, for docs/openapi.json; see [`edge::openapi`].

#![allow(dead_code, reason = "these functions are never called")]

use edge::openapi::{ErrorBody, Refused, Selector, publishing};
use shared::pure::{Cursor, message::Whole, stream::StreamEnd};
use utoipa::{
    IntoParams, OpenApi, PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{AnyOfBuilder, ObjectBuilder, Schema, SchemaType},
    },
};

/// The paths of this service.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut openapi = Comet::openapi();
    if let Some(data) = openapi.paths.paths.get_mut("/data") {
        data.post = Some(publishing("publishToData"));
    }
    openapi
}

#[derive(OpenApi)]
#[openapi(paths(data, ws), components(schemas(Answer, Batch)))]
struct Comet;

/// The messages after the cursor.
#[derive(ToSchema)]
struct Batch {
    /// The `since` of the next request.
    cursor: Cursor,
    /// Whether messages after the requested cursor are lost.
    gap: bool,
    /// A stream among the channels has ended after the messages.
    #[schema(required = false, nullable = false)]
    end: Option<StreamEnd>,
    /// `true` if all channels are streams that have ended: nothing follows. Otherwise absent.
    #[schema(required = false, nullable = false)]
    closed: Option<bool>,
    /// In the order of their ids; empty if there was none within `wait`.
    messages: Vec<Whole<'static>>,
}

/// A batch, or raw data.
struct Answer;

impl ToSchema for Answer {}
impl PartialSchema for Answer {
    fn schema() -> RefOr<Schema> {
        let raw = ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some("The data of one message."));
        let batch = Ref::from_schema_name(Batch::name());
        Schema::AnyOf(
            AnyOfBuilder::new().item(batch).item(raw).description(Some("A batch, or raw data: any JSON.")).build(),
        )
        .into()
    }
}

/// The mode.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Mode {
    LongPoll,
    Poll,
    Stream,
}

/// The format.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Format {
    Batch,
    Raw,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct DataQuery {
    /// The channels to read; with `trident.api` also patterns such as `chat.*`. Default: `random`. Messages of several channels arrive in the order of their ids.
    #[param(max_items = 128, style = Form, explode)]
    channel: Option<Vec<Selector>>,
    /// The cursor to begin after, or `earliest` for everything that is stored. Default: from now on.
    #[param(pattern = r"^(earliest|(0|[1-9]\d*)-(0|[1-9]\d*))$")]
    since: Option<String>,
    /// `longpoll`, the default, waits for the next message, `poll` answers immediately, `stream` writes a line for each message until it
    /// ends.
    #[param(inline)]
    mode: Option<Mode>,
    /// How many seconds a long poll waits.
    #[param(minimum = 1, maximum = 60, default = 25)]
    wait: Option<u64>,
    /// Maximum number of messages in a batch.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u64>,
    /// `batch` returns messages with their ids, `raw` the data of one message only (a stream: of one per line). `batch` is the default if
    /// `channel` or `since` is given, and `raw` otherwise.
    #[param(inline)]
    format: Option<Format>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct DataHeaders {
    /// The cursor, as `ETag` returned it; takes precedence over `since`. Browsers send it automatically.
    #[param(rename = "If-None-Match", nullable = false, example = "\"1763800000000-0\"")]
    if_none_match: Option<String>,
}

/// Poll, long-poll, or stream lines
///
/// `Accept: application/x-ndjson` means `mode=stream`.
#[utoipa::path(
    get,
    path = "/data",
    tag = "read",
    operation_id = "readData",
    params(DataQuery, DataHeaders),
    responses(
        (status = 200,
         description = "A batch, or raw data; a stream has a `Message` or raw data per line, a gap as `{\"gap\":{\"requested\":…,\"resumed\":…}}`, the end of a Durable Stream as `{\"end\":{…}}`, and an empty \
                        line as keep-alive",
         content((Answer = "application/json"), (String = "application/x-ndjson")),
         headers(
             ("ETag" = String, description = "The cursor to resume from, on raw answers and at the beginning of streams"),
             ("Trident-Gap" = Cursor, description = "Messages are lost; this is the cursor after which delivery resumes"),
             ("Cache-Control" = String, description = "`max-age=0, no-transform` on raw answers (`private`, too, if a token was sent), `no-store, no-transform` otherwise"))),
        (status = 204, description = "No new messages, for a raw request",
         headers(
             ("ETag" = String, description = "The cursor to resume from"),
             ("Trident-Gap" = Cursor, description = "Messages are lost, and none have followed"))),
        (status = 304, description = "No new messages, for a raw poll with `If-None-Match`",
         headers(("ETag" = String, description = "The validator of the request"))),
        Refused,
    ),
    security((), ("bearer" = []), ("cookie" = []))
)]
fn data() {}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct WsQuery {
    /// The channels to read; with `trident.api` also patterns such as `chat.*`. Default: `time`, if the client may read it.
    #[param(max_items = 128, style = Form, explode)]
    channel: Option<Vec<Selector>>,
    /// The cursor to begin after, or `earliest` for everything that is stored. Default: from now on.
    #[param(pattern = r"^(earliest|(0|[1-9]\d*)-(0|[1-9]\d*))$")]
    since: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct WsHeaders {
    /// `trident.v1`, and `trident.bearer.<token>` for a client that cannot set `Authorization`.
    #[param(rename = "Sec-WebSocket-Protocol", nullable = false, example = "trident.v1")]
    protocol: Option<String>,
}

/// Open a WebSocket
///
/// The server sends a text frame with a `Message` for each message, and a gap as `{"gap":{"requested":…,"resumed":…}}`. The client sends commands:
/// `{"subscribe":{"channels":[…],"since"?},"id"?}`, `{"unsubscribe":{"channels":[…]},"id"?}` and
/// `{"publish":{"channel","event"?,"data","key"?},"id"?}`, answered `{"id","ok":true,"cursor"?}` or `{"id","ok":false,"error"}`.
#[utoipa::path(
    get,
    path = "/ws",
    tag = "read",
    operation_id = "openWebSocket",
    params(WsQuery, WsHeaders),
    responses(
        (status = 101, description = "The connection is open. A client that may not read a channel of the query is closed with 4401 or 4403",
         headers(("Sec-WebSocket-Protocol" = String, description = "`trident.v1`, if it was offered"))),
        (status = 400, description = "The query or `Sec-WebSocket-Key` is invalid", body = ErrorBody),
        (status = 403, description = "The page has an origin that is not in `TRIDENT_ORIGINS`", body = ErrorBody),
        (status = 426, description = "The request asks for no WebSocket of version 13", body = ErrorBody,
         headers(("Upgrade" = String, description = "`websocket`"), ("Sec-WebSocket-Version" = String, description = "`13`"))),
        (status = 429, description = "Too many connections of one address", body = ErrorBody,
         headers(("Retry-After" = u64, description = "Seconds until a retry is useful"))),
        (status = 503, description = "A limit is reached", body = ErrorBody,
         headers(("Retry-After" = u64, description = "Seconds until a retry is useful")))
    ),
    security((), ("bearer" = []), ("cookie" = []))
)]
fn ws() {}
