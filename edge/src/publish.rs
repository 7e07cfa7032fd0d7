//! Publishing over HTTP: `POST /events` and `POST /data`.
//!
//! Everything is checked before anything is added: permissions, the query, the body, every line of a batch, every channel. Then all
//! messages go to the bus in one publication, and the answer has their ids.

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderMap, HeaderValue},
};
use serde::Serialize;
use shared::{
    live::bus::IdempotencyKey,
    pure::{ChannelName, Cursor, Draft, EventName, NameError, Payload, PayloadError, batch},
};

mod attempt;
mod refusal;

pub use attempt::publish;
pub use refusal::refused;

use super::{
    Access, ApiError,
    body::BodyReader,
    query::{Parameter, Query},
    receiving::Share,
    routes::{RequestBody, RequestParts, ResponseFuture, response},
    service::Service,
    subscribe::{CHANNEL, channels},
    traces::TraceContext,
};

const EVENT: Parameter = Parameter::once("event");
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// Maximum length of a key in bytes.
const MAX_KEY_BYTES: usize = 128;

/// The handler of both routes. What can be refused without the body is refused before it is read.
pub fn handler(service: &Service, parts: &RequestParts<'_>, body: RequestBody) -> ResponseFuture {
    respond(service, AuthorizedPublish::read(service, parts), parts, body)
}

/// Publishes the body of a request to `channel`. The caller has checked the permission.
pub fn to_channel(
    service: &Service,
    access: Access,
    channel: ChannelName,
    parts: &RequestParts<'_>,
    body: RequestBody,
) -> ResponseFuture {
    respond(service, AuthorizedPublish::to(access, channel, parts), parts, body)
}

fn respond(
    service: &Service,
    publish: Result<AuthorizedPublish, ApiError>,
    parts: &RequestParts<'_>,
    body: RequestBody,
) -> ResponseFuture {
    let body = BodyReader::new(parts.headers, body);
    // In a box: every request would have its room.
    let trace = service.edge.traces.parent(parts.headers).map(Box::new);
    let service = service.clone();
    response(async move {
        let publish = publish?;
        let mut share = publish.access.receiving();
        let body = body.read(&service.edge, &mut share).await?;
        publish.run(&service, &body, share, trace).await
    })
}

/// A publication whose head is valid and allowed. Its body is not read yet.
struct AuthorizedPublish {
    access: Access,
    kind: Kind,
    key: Option<IdempotencyKey>,
    addressed: Option<Addressed>,
}

impl AuthorizedPublish {
    fn read(service: &Service, parts: &RequestParts<'_>) -> Result<Self, ApiError> {
        let access = Access::of(&service.edge, parts);
        let kind = Kind::of(parts.headers)?;
        let query = Query::read(parts.query, kind.parameters())?;
        let key = idempotency_key(parts.headers, &access)?;
        let addressed = kind.is_addressed().then(|| Addressed::read(&query)).transpose()?;
        for channel in addressed.iter().flat_map(|addressed| &addressed.channels) {
            access.require_publish(channel)?;
        }
        Ok(Self { access, kind, key, addressed })
    }

    fn to(access: Access, channel: ChannelName, parts: &RequestParts<'_>) -> Result<Self, ApiError> {
        let kind = Kind::of(parts.headers)?;
        if !kind.is_addressed() {
            return Err(ApiError::UnsupportedMediaType(
                "the lines of a batch name their channels; here the channel is in the path: send JSON or text"
                    .to_owned(),
            ));
        }
        let query = Query::read(parts.query, &[EVENT])?;
        let key = idempotency_key(parts.headers, &access)?;
        let addressed = Addressed::to(vec![channel], &query)?;
        access.require_publish(&addressed.channels[0])?;
        Ok(Self { access, kind, key, addressed: Some(addressed) })
    }

    /// `share` counts the memory that the request takes until it is answered.
    async fn run(
        self,
        service: &Service,
        body: &[u8],
        mut share: Share,
        trace: Option<Box<TraceContext>>,
    ) -> Result<HttpResponse, ApiError> {
        let Self { access, kind, key, addressed } = self;
        let is_one = addressed.as_ref().is_some_and(|addressed| addressed.channels.len() == 1);
        let drafts = match addressed {
            Some(addressed) => addressed.drafts(&kind, body)?,
            None => lines(body, &access)?,
        };
        let published =
            publish(service, &access, drafts, key, body.len(), &mut share, trace.map(|trace| *trace)).await?;
        let mut answer = HttpResponse::Created();
        answer.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        answer.content_type(HeaderValue::from_static("application/json"));
        Ok(match published.ids[..] {
            [id] if is_one => answer.json(One { id }),
            _ => answer.json(Many { ids: published.ids }),
        })
    }
}

/// One message was published.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PublishedOne))]
#[derive(Serialize)]
pub(crate) struct One {
    /// Its id, which is the cursor after it.
    id: Cursor,
}

/// Several messages were published.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PublishedMany))]
#[derive(Serialize)]
pub(crate) struct Many {
    /// Their ids, in the order of the channels or lines.
    ids: Vec<Cursor>,
}

/// The content type of the body.
enum Kind {
    Json,
    Text,
    Lines,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        const ACCEPTED: &str = "accepted as Content-Type: application/json and application/*+json (any JSON), text/plain \
                                (a text), application/x-ndjson and application/ndjson (a message a line)";
        let given = headers.get(header::CONTENT_TYPE);
        let Some(given) = given else {
            return Err(ApiError::UnsupportedMediaType(format!("the body has no Content-Type; {ACCEPTED}")));
        };
        // Most content types have no parameters.
        if let Some(known) = given.to_str().ok().and_then(Self::named) {
            return Ok(known);
        }
        let refuse = |what: &str| Err(ApiError::UnsupportedMediaType(format!("{what}; {ACCEPTED}, in UTF-8")));
        let Some(mime) = given.to_str().ok().and_then(|text| text.parse::<mime::Mime>().ok()) else {
            return refuse("invalid Content-Type");
        };
        if mime.get_param(mime::CHARSET).is_some_and(|charset| charset != mime::UTF_8) {
            return refuse("the charset of the body is not UTF-8");
        }
        match Self::named(mime.essence_str()) {
            Some(known) => Ok(known),
            None => refuse("bodies of this Content-Type are not accepted"),
        }
    }

    /// By the media type, in lower case and without parameters.
    fn named(essence: &str) -> Option<Self> {
        match essence {
            "application/json" => Some(Self::Json),
            "text/plain" => Some(Self::Text),
            "application/x-ndjson" | "application/ndjson" => Some(Self::Lines),
            // A structured syntax suffix (RFC 6839 §3.1): the content is JSON.
            _ if essence.starts_with("application/") && essence.ends_with("+json") => Some(Self::Json),
            _ => None,
        }
    }

    /// Whether the channels are in the query, and not in the body.
    fn is_addressed(&self) -> bool {
        !matches!(self, Self::Lines)
    }

    fn parameters(&self) -> &'static [Parameter] {
        if self.is_addressed() { &[CHANNEL, EVENT] } else { &[] }
    }
}

/// The channels of one body.
struct Addressed {
    channels: Vec<ChannelName>,
    event: EventName,
}

impl Addressed {
    fn read(query: &Query<'_>) -> Result<Self, ApiError> {
        let channels = channels(query)?;
        if channels.is_empty() {
            return Err(ApiError::invalid(
                "bad_channel",
                "`channel` is missing: set the channel to publish to, or several",
            ));
        }
        Self::to(channels, query)
    }

    fn to(channels: Vec<ChannelName>, query: &Query<'_>) -> Result<Self, ApiError> {
        let event = query.get(EVENT.name).map_or_else(|| Ok(EventName::default()), str::parse).map_err(bad_event)?;
        channels.iter().try_for_each(|channel| event.check_for(channel)).map_err(bad_event)?;
        Ok(Self { channels, event })
    }

    fn drafts(self, kind: &Kind, body: &[u8]) -> Result<Vec<Draft>, ApiError> {
        let count = self.channels.len();
        let payload = match kind {
            Kind::Text => {
                let text = std::str::from_utf8(body).map_err(|error| bad_body(PayloadError::Utf8(error)))?;
                Payload::from_text(text)
            }
            _ if body.trim_ascii().is_empty() => {
                return Err(ApiError::invalid(
                    "bad_body",
                    "the body is empty; with Content-Type application/json it must be a JSON value",
                ));
            }
            _ => Payload::from_json(body).map_err(bad_body)?,
        };
        let Self { channels, event } = self;
        let drafts = channels.into_iter().zip(std::iter::repeat_n((payload, event), count));
        Ok(drafts.map(|(channel, (payload, event))| Draft::new(channel, payload).event(event)).collect())
    }
}

/// The messages of a batch, if the client may publish all of them.
fn lines(body: &[u8], access: &Access) -> Result<Vec<Draft>, ApiError> {
    let drafts = batch::read(body).map_err(|error| ApiError::invalid(error.code(), error))?;
    let mut asked: Option<&ChannelName> = None;
    for draft in &drafts {
        // Most batches are for one channel, which then has to be checked only once.
        if asked != Some(&draft.channel) {
            access.require_publish(&draft.channel)?;
        }
        asked = Some(&draft.channel);
    }
    Ok(drafts)
}

fn idempotency_key(headers: &HeaderMap, access: &Access) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY);
    let Some(key) = given.next() else { return Ok(None) };
    let key = key.to_str().ok().filter(|_| given.next().is_none()).and_then(|key| owned_key(key, access));
    key.map(Some).ok_or_else(|| {
        let message = format!("{IDEMPOTENCY_KEY} must occur once, with 1 to {MAX_KEY_BYTES} visible ASCII characters");
        ApiError::invalid("bad_idempotency_key", message)
    })
}

/// The key `text` of this client, the same on every transport. `None` if it is invalid: 1 to 128 visible ASCII characters are accepted.
#[must_use]
pub fn owned_key(text: &str, access: &Access) -> Option<IdempotencyKey> {
    let is_visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    let is_valid = (1..=MAX_KEY_BYTES).contains(&text.len()) && is_visible;
    is_valid.then(|| IdempotencyKey { scope: access.identity().to_string(), key: text.to_owned() })
}

fn bad_event(error: NameError) -> ApiError {
    ApiError::invalid("bad_event", error)
}

fn bad_body(error: PayloadError) -> ApiError {
    ApiError::invalid(error.code(), error)
}
