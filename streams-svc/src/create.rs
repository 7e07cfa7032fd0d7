//! `PUT`: creates a stream, or a fork of one.

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderValue},
};
use edge::{
    ApiError,
    body::BodyReader,
    metrics::Transport,
    response::ResponseBody,
    routes::{OwnedParts, RequestBody, RequestParts, ResponseFuture},
    service::Service,
};
use shared::pure::{
    Since,
    stream::{Create, Fork, Lifetime, MediaType, Outcome, StreamOp},
};

use crate::{
    body::{admit, payloads},
    fields, info,
    refusal::{Refusal, respond},
    target::{self, Target},
};

/// The setting that limits the body of a request.
pub(crate) const MAX_BODY: &str = "TRIDENT_STREAM_MAX_BODY";

/// So many bytes that a fork copies count as another message.
const COPIED_BYTES: usize = 1024;

/// Creates the stream of the path.
pub(crate) fn handler(service: &Service, parts: &RequestParts<'_>, body: RequestBody) -> ResponseFuture {
    let request = Request::read(service, parts);
    let (body, location, owner) = (BodyReader::new(parts.headers, body), location(service, parts), service.clone());
    let owned = OwnedParts::from(parts);
    respond(service, parts, async move {
        let service = owner;
        let Request { target, content_type, lifetime, is_closed, fork } = request?;
        let Target { access, channel } = target;
        if let Some(fork) = &fork {
            // Who forks gets to read the source.
            let reader = target::reader(&service, &owned.parts(), Transport::Poll, access.clone()).await?;
            target::subscription(&service, &reader, &fork.source, Since::Now)?.permit(&service).await?;
            // Its type decides what the body is, and its size how much the fork counts. Whether it exists is decided with the creation.
            let _ = info::current(&service, &fork.source, false).await;
        }
        let mut share = access.receiving();
        let body =
            body.read_up_to((MAX_BODY, service.edge.settings.streams.max_body), &service.edge, &mut share).await?;
        // A fork is of the type of its source. If that becomes another stream until the fork is created, what was read as this type is rejected.
        let content_type = match (content_type, &fork) {
            (None, Some(fork)) if !body.is_empty() => {
                service.bus.stream_info(&fork.source, false).map(|info| info.content_type).ok()
            }
            (kind, _) => kind,
        };
        let payloads =
            payloads(content_type.as_ref().unwrap_or(&MediaType::bytes()), body, admit(&service, &mut share))?;
        let is_new = || service.bus.stream_info(&channel, false).is_err();
        let copied = fork.as_ref().filter(|_| is_new()).map_or(0, |fork| copied(&service, fork));
        service.edge.limits.publish_and_copy(&access.identity(), payloads.len().max(1), copied)?;
        let count = payloads.len() as u64;
        let user = access.user();
        // A backend may use all of the memory: it acts for many.
        let owner = (!access.is_backend()).then(|| access.identity().to_string().into());
        let create = Create { channel, content_type, lifetime, is_closed, payloads, fork, user, owner };
        let reply = service.bus.stream(StreamOp::Create(create.into())).await?;
        let mut answer = match reply.outcome {
            Outcome::Done => {
                service.edge.metrics.publishes.inc_by(count);
                let mut answer = HttpResponse::Created();
                answer.insert_header((header::LOCATION, location));
                answer
            }
            Outcome::Repeated(_) => HttpResponse::Ok(),
        };
        fields::tail(&mut answer, &reply.info);
        answer.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        answer.insert_header((header::CONTENT_TYPE, reply.info.content_type.as_str()));
        Ok::<_, Refusal>(ResponseBody::boxed(answer.finish()))
    })
}

/// For how many messages the copies of a fork count in the rate of its client.
fn copied(service: &Service, fork: &Fork) -> usize {
    let (messages, bytes) = service.log().inherited_size(fork);
    messages + bytes / COPIED_BYTES
}

/// The head of a request.
struct Request {
    target: Target,
    content_type: Option<MediaType>,
    lifetime: Lifetime,
    is_closed: bool,
    fork: Option<Fork>,
}

impl Request {
    fn read(service: &Service, parts: &RequestParts<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            target: Target::of_write(service, parts)?,
            content_type: fields::content_type(parts.headers)?,
            lifetime: fields::lifetime(parts.headers)?,
            is_closed: fields::is_closing(parts.headers),
            fork: fields::fork(&service.edge.settings.streams.path, parts.headers)?,
        })
    }
}

/// The URL of the stream, as its client sees it.
fn location(service: &Service, parts: &RequestParts<'_>) -> String {
    origin(service, parts).unwrap_or_default() + parts.path
}

/// The scheme and the host of the server, as its client sees them.
pub(crate) fn origin(service: &Service, parts: &RequestParts<'_>) -> Option<String> {
    let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let proxies = &service.edge.settings.trusted_proxies;
    let is_proxy = |peer: std::net::SocketAddr| proxies.iter().any(|proxy| proxy.contains(peer.ip()));
    let scheme = text(header::X_FORWARDED_PROTO)
        .filter(|_| parts.peer.is_some_and(is_proxy))
        .and_then(|schemes| schemes.split(',').next())
        .map(str::trim);
    let scheme = if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) { "https" } else { "http" };
    text(header::HOST).map(|host| format!("{scheme}://{host}"))
}
