//! The history of a channel, in both directions, and its removal.

use actix_web::{HttpResponse, body::BoxBody, http::header};
use edge::{ApiError, pieces::PiecesBody, publish::refused, query::Parameter, service::Service};
use serde::Serialize;
use shared::{
    live::reader::{Limit, Reader, latest},
    pure::{Cursor, Gap, Since, pieces},
};

use crate::{
    request::{ApiRequest, LIMIT, json, limit},
    written::{Write, written},
};

const SINCE: Parameter = Parameter::once("since");
const BEFORE: Parameter = Parameter::once("before");
/// What a page has besides its messages.
#[derive(Serialize)]
struct Bounds {
    /// The `since` or `before` of the next page.
    cursor: Cursor,
    /// Whether there are more messages in this direction.
    more: bool,
    /// Messages after `since` that are no longer stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<Gap>,
}

/// `GET /v1/channels/{channel}/messages`: the messages after `since`, or the newest before `before`, oldest first.
pub(crate) async fn list(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    let channel = request.channel()?;
    let query = request.query(&[SINCE, BEFORE, LIMIT])?;
    let limit = Limit { messages: limit(&query)?, bytes: request.page_bytes() };
    let since = query.get(SINCE.name).map(str::parse::<Since>).transpose().map_err(bad_cursor)?;
    let before = query.get(BEFORE.name).map(str::parse::<Cursor>).transpose().map_err(bad_cursor)?;
    if since.is_some() && before.is_some() {
        return Err(ApiError::invalid("bad_cursor", "`since` and `before` exclude each other: send one of them"));
    }
    if !service.log().is_filled() {
        return Err(ApiError::unavailable("bus_unavailable", "this server is still loading the stored messages"));
    }
    let (messages, bounds) = match since {
        Some(since) => {
            let mut reader = Reader::open(service.log(), &[channel], since);
            let batch = reader.stored(limit).await;
            let cursor = reader.cursor();
            let mut more = false;
            // What was lost has no messages, and there may be some after it.
            while let Some(rest) = reader.stored(Limit { messages: 1, bytes: 1 }).await {
                more = !rest.messages.is_empty();
                if more {
                    break;
                }
            }
            let (messages, gap) = batch.map(|batch| (batch.messages, batch.gap)).unwrap_or_default();
            (messages, Bounds { cursor, more, gap })
        }
        None => {
            let before = before.unwrap_or(Cursor::MAX);
            let (messages, more) = latest(service.log(), &channel, limit, before.before()).await;
            let cursor = messages.first().map_or(before, |oldest| oldest.id);
            (messages, Bounds { cursor, more, gap: None })
        }
    };
    let bounds = serde_json::to_vec(&bounds).map_err(ApiError::internal)?;
    let tail = [&b"],"[..], bounds.strip_prefix(b"{").unwrap_or(&bounds)].concat();
    let lines = pieces::lines(b"{\"messages\":[".to_vec(), messages, request.access.publisher(), tail);
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("application/json")
        .body(BoxBody::new(PiecesBody::new(lines, &service.edge.unread))))
}

fn bad_cursor(error: impl std::fmt::Display) -> ApiError {
    ApiError::invalid("bad_cursor", error)
}

/// What was purged.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Purged {
    /// Messages up to this id are removed: a reader that resumes from before it gets a gap.
    up_to: Cursor,
}

/// `DELETE /v1/channels/{channel}/messages`: removes the messages that are stored now.
pub(crate) async fn purge(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    request.query(&[])?;
    let channel = request.channel()?;
    let up_to = service.bus.purge(channel.clone()).await.map_err(|error| refused(service, error))?;
    written(service, &request.access, &Write::Purged { channel: &channel, up_to });
    Ok(json(&Purged { up_to }))
}
