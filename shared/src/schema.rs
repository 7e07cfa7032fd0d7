//! Schemas of names and cursors, for the description of the HTTP interface (OpenAPI 3.1, <https://spec.openapis.org/oas/v3.1.0>).

use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};

use crate::pure::{
    ChannelName, Cursor, EventName,
    name::{MAX_NAME_BYTES, RESERVED},
};

fn text(pattern: Option<&str>, description: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(pattern)
        .description(Some(description))
        .examples([json!(example)])
}

impl ToSchema for Cursor {}
impl PartialSchema for Cursor {
    fn schema() -> RefOr<Schema> {
        let description = "A position in the order of all messages, `<milliseconds>-<sequence>`: the id of a message, and the \
                           cursor after it.";
        text(Some(r"^(0|[1-9]\d*)-(0|[1-9]\d*)$"), description, "1763800000000-0").into()
    }
}

impl ToSchema for ChannelName {}
impl PartialSchema for ChannelName {
    fn schema() -> RefOr<Schema> {
        let longest = Some(MAX_NAME_BYTES);
        text(
            Some(r"^(?!\.{1,2}(/|$))[A-Za-z0-9_.~-]+(/(?!\.{1,2}(/|$))[A-Za-z0-9_.~-]+)*$"),
            "The name of a channel.",
            "news",
        )
        .min_length(Some(1))
        .max_length(longest)
        .into()
    }
}

impl ToSchema for EventName {}
impl PartialSchema for EventName {
    fn schema() -> RefOr<Schema> {
        let description = format!(
            "The event name: printable characters, none of Socket.IO's own names ({}), and none of `gap`, `end`, \
             `error`, `open`; on `chat.*` not `presence` or `typing`.",
            RESERVED.join(", ")
        );
        text(None, &description, "message").min_length(Some(1)).max_length(Some(MAX_NAME_BYTES)).into()
    }
}
