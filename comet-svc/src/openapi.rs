//! What `/data` says of itself, for docs/openapi.json; see [`edge::openapi`].

#![allow(dead_code, reason = "what is described here is never called")]

use edge::openapi::{Refused, publishing};
use shared::pure::{ChannelName, Cursor, message::Whole};
use utoipa::{
    IntoParams, OpenApi, PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{AnyOfBuilder, ObjectBuilder, Schema, SchemaType},
    },
};

/// The path of this service.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut openapi = Comet::openapi();
    if let Some(data) = openapi.paths.paths.get_mut("/data") {
        data.post = Some(publishing("publishToData"));
    }
    openapi
}

#[derive(OpenApi)]
#[openapi(paths(data), components(schemas(Answer, Batch)))]
struct Comet;

/// What came after the cursor.
#[derive(ToSchema)]
struct Batch {
    /// What to send as the next `since`.
    cursor: Cursor,
    /// Whether messages after the cursor that was asked for are lost.
    gap: bool,
    /// In the order of their ids; none when nothing came within `wait`.
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

/// How to wait.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Mode {
    LongPoll,
    Poll,
    Stream,
}

/// How to answer.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Format {
    Batch,
    Raw,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct DataQuery {
    /// What to read; `random` where none is named. Messages of several channels come in the order of their ids.
    #[param(max_items = 128, style = Form, explode)]
    channel: Option<Vec<ChannelName>>,
    /// After which cursor, or `earliest` for all that is held; from now on unless it is given.
    #[param(pattern = r"^(earliest|(0|[1-9]\d*)-(0|[1-9]\d*))$")]
    since: Option<String>,
    /// `longpoll`, the default, waits for the next message, `poll` answers at once, `stream` writes a line for each message until it ends.
    #[param(inline)]
    mode: Option<Mode>,
    /// How many seconds a long poll waits.
    #[param(minimum = 1, maximum = 60, default = 25)]
    wait: Option<u64>,
    /// Most messages of a batch.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u64>,
    /// `batch` is messages with their ids, `raw` the data of one message alone (of a stream: of one a line). `batch` is the default when
    /// `channel` or `since` is given, and `raw` otherwise.
    #[param(inline)]
    format: Option<Format>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct DataHeaders {
    /// The cursor, as `ETag` gave it; counts more than `since`. Browsers send it by themselves.
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
         description = "A batch, or raw data; of a stream a `Message` or raw data a line, a gap as `{\"gap\":{\"requested\":…,\"resumed\":…}}`, and an empty \
                        line as a sign of life",
         content((Answer = "application/json"), (String = "application/x-ndjson")),
         headers(
             ("ETag" = String, description = "The cursor to come back with, of raw answers and at the beginning of streams"),
             ("Trident-Gap" = Cursor, description = "Messages are lost; this is the cursor after which delivery goes on"),
             ("Cache-Control" = String, description = "`max-age=0, no-transform` on raw answers (`private` too where a token was shown), `no-store, no-transform` otherwise"))),
        (status = 204, description = "Nothing new, to a raw request",
         headers(
             ("ETag" = String, description = "The cursor to come back with"),
             ("Trident-Gap" = Cursor, description = "Messages are lost, and nothing has come after them"))),
        (status = 304, description = "Nothing new, to a raw poll with `If-None-Match`",
         headers(("ETag" = String, description = "The one that was sent"))),
        Refused,
    ),
    security((), ("bearer" = []), ("cookie" = []))
)]
fn data() {}
