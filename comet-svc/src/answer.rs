//! Answers to polls: a batch of messages, one message's data, or nothing new.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::{self, BoxBody},
    http::header::{self, HeaderName, HeaderValue},
};
use edge::{
    ApiError, guarded::Guarded, limits::Slot, metrics::TransportMetrics, pieces::PiecesBody, response::ResponseBody,
    service::Service, unread::Unread,
};
use shared::{
    live::reader::{Batch, Limit, Reader},
    pure::{Cursor, Since},
};

use crate::{
    ask::{Ask, Format, Mode, Style},
    batch, wire,
};

// Functions, since a constant `HeaderValue` would be copied at each use: it may contain shared bytes.

/// Batches and streams are valid for one moment only.
pub(crate) fn no_store() -> (HeaderName, HeaderValue) {
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"))
}

/// A raw answer may be stored if it is revalidated each time: browsers then send the cursor automatically. Shared caches may not store an
/// answer that depends on a token (RFC 9111 §5.2.2.7).
fn revalidate(is_private: bool) -> (HeaderName, HeaderValue) {
    let directives = if is_private { "max-age=0, no-transform, private" } else { "max-age=0, no-transform" };
    (header::CACHE_CONTROL, HeaderValue::from_static(directives))
}

/// The media type of batches and raw answers.
pub(crate) fn json_type() -> HeaderValue {
    HeaderValue::from_static("application/json")
}

const GAP: &str = "Trident-Gap";
const END: &str = "Trident-End";

/// Whether the cursor is known from which a client without messages can resume.
///
/// # Errors
/// 503 while the log is being loaded, for a client without a cursor: its position is not known yet, and without one the client
/// could not resume.
pub(crate) fn require_place(ask: &Ask, reader: &Reader, found: Option<&Batch>) -> Result<(), ApiError> {
    if found.is_none() && ask.subscription.since == Since::Now && reader.place().is_none() {
        return Err(ApiError::unavailable("bus_unavailable", "this server is still loading the stored messages"));
    }
    Ok(())
}

/// An answer that keeps its slot until the client has read it: a client that reads slowly counts for as long.
pub(crate) fn held(answer: HttpResponse, slot: Slot) -> HttpResponse<ResponseBody> {
    answer.map_body(|_, body| BoxBody::new(Guarded::new(body, slot)).into())
}

/// The limit of one answer. A raw answer contains one message; the client gets the next one with its next request.
pub(crate) fn limit(ask: &Ask, service: &Service) -> Limit {
    match ask.format {
        Format::Raw => Limit { messages: 1, bytes: usize::MAX },
        // The requested number, but not a thousand of the largest messages: the cursor leads to the rest.
        Format::Batch => Limit { messages: ask.limit, bytes: service.edge.unread.limit() },
    }
}

/// The messages after the cursor of `reader` that are stored, or an end, as far as an answer can contain it.
pub(crate) async fn stored(ask: &Ask, reader: &mut Reader, service: &Service) -> Option<Batch> {
    loop {
        let batch = reader.stored(limit(ask, service)).await?;
        if is_visible(ask, reader, &batch) {
            return Some(batch);
        }
    }
}

/// The same, once there is one; `None` when the log is closed.
pub(crate) async fn next(ask: &Ask, reader: &mut Reader, service: &Service) -> Option<Batch> {
    loop {
        let batch = reader.next(limit(ask, service)).await?;
        if is_visible(ask, reader, &batch) {
            return Some(batch);
        }
    }
}

/// Whether the answer with `batch` differs from one without anything new. A raw answer has no place for an end while other channels continue:
/// a client that asks without a cursor would get the same one again at once.
fn is_visible(ask: &Ask, reader: &Reader, batch: &Batch) -> bool {
    ask.format == Format::Batch || !batch.messages.is_empty() || batch.gap.is_some() || reader.ended().is_some()
}

/// The answer to a poll that found `batch`, or nothing.
pub(crate) fn answer(
    ask: &Ask,
    reader: &Reader,
    found: Option<Batch>,
    unread: &Unread,
    figures: &TransportMetrics,
) -> HttpResponse {
    let has_end = found.as_ref().is_some_and(|found| found.end.is_some());
    let ended = if has_end { reader.ended() } else { ended(ask, reader) };
    let empty = || Batch { gap: None, messages: Vec::new(), end: None, cursor: reader.cursor() };
    match (ask.format, found) {
        (Format::Batch, found) => batch(ask.style(), &found.unwrap_or_else(empty), ended.is_some(), unread, figures),
        // What ended after it is in the answer to the next poll.
        (Format::Raw, Some(found)) if !found.messages.is_empty() => raw(ask.style(), &found, unread, figures),
        (Format::Raw, None) if ended.is_none() => nothing(ask, reader.cursor()),
        // Lost or over, and nothing after it: the client has to get the new cursor, so this is not a 304.
        (Format::Raw, found) => {
            let found = found.unwrap_or_else(empty);
            count(&found, figures);
            let mut answer = HttpResponse::NoContent();
            tell_end(tell_gap(tagged(ask.style(), &mut answer, found.cursor), &found), ended).finish()
        }
    }
}

/// Where all channels of a client have ended that has a cursor after it: nothing follows.
pub(crate) fn ended(ask: &Ask, reader: &Reader) -> Option<Cursor> {
    reader.ended().filter(|_| matches!(ask.subscription.since, Since::After(_)))
}

/// The answer to a client that wants to stream, after the end.
pub(crate) fn over(end: Cursor) -> HttpResponse {
    tell_end(HttpResponse::NoContent().insert_header(no_store()), Some(end)).finish()
}

/// The answer to many polls that found `batch`, before which nothing is lost and after which nothing ends; uncounted.
pub(crate) fn shared(style: Style, batch: &Batch, unread: &Unread) -> HttpResponse {
    let uncounted = TransportMetrics::default();
    match style.format {
        Format::Batch => self::batch(style, batch, false, unread, &uncounted),
        Format::Raw => raw(style, batch, unread, &uncounted),
    }
}

/// `{"cursor":…,"gap":…,"messages":[…]}`; the cursor after a gap is in the header, as on a raw answer. `is_last`: nothing follows.
fn batch(style: Style, batch: &Batch, is_last: bool, unread: &Unread, figures: &TransportMetrics) -> HttpResponse {
    count(batch, figures);
    let mut answer = HttpResponse::Ok();
    tell_gap(&mut answer, batch).content_type(json_type()).insert_header(no_store()).body(batch::body(
        batch,
        is_last,
        style.publisher,
        unread,
    ))
}

/// The data of the first message, whose id is the cursor for the next request.
pub(crate) fn raw(style: Style, batch: &Batch, unread: &Unread, figures: &TransportMetrics) -> HttpResponse {
    count(batch, figures);
    let message = batch.messages.first();
    let cursor = message.map_or(batch.cursor, |message| message.id);
    let mut answer = HttpResponse::Ok();
    tell_gap(tagged(style, &mut answer, cursor), batch);
    answer.content_type(json_type());
    if let Some(message) = message.filter(|message| message.is_long()) {
        let pieces = message.data_pieces(Vec::new(), Vec::new());
        return answer.body(BoxBody::new(PiecesBody::new((message.draft.payload.plain_len(), pieces), unread)));
    }
    let line = message.map(|message| wire::raw_line(message)).unwrap_or_default();
    answer.body(line.slice(..line.len().saturating_sub(1)))
}

/// Nothing new after `cursor`, which is included so that the client can continue from there.
///
/// A poll with a validator gets 304 with that validator, since the client's copy is stored under it (RFC 9110 §15.4.5).
pub(crate) fn nothing(ask: &Ask, cursor: Cursor) -> HttpResponse {
    match ask.subscription.since {
        Since::After(known) if ask.mode == Mode::Poll && ask.is_conditional => {
            tagged(ask.style(), &mut HttpResponse::NotModified(), known).finish()
        }
        _ => tagged(ask.style(), &mut HttpResponse::NoContent(), cursor).finish(),
    }
}

/// The head of a long poll that would wait: the answer is unknown, and so is its length.
pub(crate) fn unknown(ask: &Ask) -> HttpResponse {
    let caching = if ask.format == Format::Raw { revalidate(ask.is_private) } else { no_store() };
    HttpResponse::Ok().content_type(json_type()).insert_header(caching).body(body::None::new())
}

fn tell_gap<'a>(answer: &'a mut HttpResponseBuilder, batch: &Batch) -> &'a mut HttpResponseBuilder {
    if let Some(gap) = batch.gap {
        answer.insert_header((GAP, gap.resumed.to_string()));
    }
    answer
}

/// Where the last of the channels has ended, if all have.
fn tell_end(answer: &mut HttpResponseBuilder, ended: Option<Cursor>) -> &mut HttpResponseBuilder {
    if let Some(end) = ended {
        answer.insert_header((END, end.to_string()));
    }
    answer
}

/// The headers of a raw answer.
pub(crate) fn tagged(style: Style, answer: &mut HttpResponseBuilder, cursor: Cursor) -> &mut HttpResponseBuilder {
    answer.insert_header((header::ETAG, format!("\"{cursor}\""))).insert_header(revalidate(style.is_private))
}

/// The head of a stream that begins after `place`, if that is known: a client that is disconnected before the first line has no other
/// cursor to resume from.
pub(crate) fn streamed(place: Option<Cursor>) -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    if let Some(place) = place {
        answer.insert_header((header::ETAG, format!("\"{place}\"")));
    }
    answer
        .content_type(HeaderValue::from_static("application/x-ndjson"))
        .insert_header(no_store())
        // nginx then forwards each line immediately.
        .insert_header((HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")));
    answer
}

fn count(batch: &Batch, figures: &TransportMetrics) {
    figures.deliver(&batch.messages);
    figures.gaps.inc_by(batch.gap.is_some().into());
}
