//! Requests for subscriptions (PROTOCOL.md of Durable Streams, §6): who may send them, and what they ask for.

use actix_web::{
    HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
};
use bytes::Bytes;
use edge::{
    Access, ApiError, address,
    body::BodyReader,
    response::ResponseBody,
    routes::{RequestBody, RequestParts, Resource, ResponseFuture},
    service::Service,
    settings::CallKind,
};
use shared::pure::ChannelName;

use super::{
    ack::Ack,
    command::{Act, Caller, Command, Reply},
    guard,
    request::{Config, ConfigError, Delivery, Part, Route, streams},
    subscription::Scope,
};
use crate::{
    create::origin,
    refusal::{Refusal, respond},
    target::{self, RESERVED, is_open, require_write},
};

/// A new subscription looks at all names of streams: it counts as so many messages in the rate of its client.
const COST: usize = 100;
/// Maximum length of the name of a worker in bytes.
const MAX_WORKER: usize = 128;

/// The name of a worker, as JSON.
#[derive(serde::Deserialize)]
struct ClaimBody {
    worker: String,
}

/// The handlers of all paths below `__ds`.
pub(crate) fn resource(service: &Service) -> Resource {
    let (read, created, changed, deleted) = (service.clone(), service.clone(), service.clone(), service.clone());
    Resource::default()
        .get(move |parts| handler(&read, parts, None))
        .put(move |parts, body| handler(&created, parts, Some(body)))
        .post(move |parts, body| handler(&changed, parts, Some(body)))
        .delete(move |parts| handler(&deleted, parts, None))
}

fn handler(service: &Service, parts: &RequestParts<'_>, body: Option<RequestBody>) -> ResponseFuture {
    let request = Request::read(service, parts);
    let (owner, body) = (service.clone(), body.map(|body| BodyReader::new(parts.headers, body)));
    respond(service, parts, async move {
        let (service, request) = (owner, request?);
        let mut share = request.access.receiving();
        let body = match body {
            Some(body) => body.read(&service.edge, &mut share).await?,
            None => Bytes::new(),
        };
        let is_keys = request.route == Route::Keys;
        let command = match request.command(&service, &body)? {
            Ok(command) => command,
            Err(reply) => return Ok::<_, Refusal>(answer(reply, false)),
        };
        let text = serde_json::to_string(&command).map_err(|error| Refusal::from(ApiError::internal(error)))?;
        let reply = backend::ask_subscriptions(&service, text).await;
        let reply = reply.and_then(|reply| serde_json::from_slice::<Reply>(&reply).ok());
        let unavailable = "no process has the subscriptions at present; retry";
        let reply =
            reply.ok_or_else(|| Refusal::from(ApiError::unavailable("subscriptions_unavailable", unavailable)))?;
        Ok(answer(reply, is_keys))
    })
}

fn answer(Reply { status, body }: Reply, is_keys: bool) -> HttpResponse<ResponseBody> {
    let mut answer = HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    // The keys are the same for everybody, and for long.
    let (kind, caching) = if is_keys && status == 200 {
        ("application/jwk-set+json", "public, max-age=300")
    } else {
        ("application/json", "no-store")
    };
    answer.insert_header((header::CACHE_CONTROL, HeaderValue::from_static(caching)));
    if status == 503 {
        answer.insert_header((header::RETRY_AFTER, HeaderValue::from_static("2")));
    }
    ResponseBody::boxed(match body {
        Some(body) => answer.insert_header((header::CONTENT_TYPE, kind)).body(body.to_string()),
        None => answer.finish(),
    })
}

/// The head of a request.
struct Request {
    access: Access,
    method: Method,
    route: Route,
    /// The URL of all streams, as the client sees it.
    base: String,
    /// The token in `Authorization`, which may be that of a worker.
    token: Option<String>,
}

impl Request {
    fn read(service: &Service, parts: &RequestParts<'_>) -> Result<Self, ApiError> {
        let edge = &service.edge;
        let root = &edge.settings.streams.path;
        let rest = parts.path.strip_prefix(&**root).and_then(|rest| rest.strip_prefix(&format!("/{RESERVED}/")));
        let route = rest.and_then(Route::of).ok_or_else(target::reserved)?;
        // A worker has a token of its own, and needs no other.
        let access = if has_own_token(&route) {
            Access::with_token(edge, None, address::client(parts.peer, parts.headers, &edge.settings.trusted_proxies))?
        } else {
            // A browser sends cookies with requests of other pages, too.
            Access::by_header(edge, parts)
        };
        access.require_connection()?;
        let base = origin(service, parts).unwrap_or_default() + root;
        Ok(Self { access, method: parts.method.clone(), route, base, token: bearer(parts.headers) })
    }

    /// What is asked for, or its answer if it is wrong.
    fn command(self, service: &Service, body: &[u8]) -> Result<Result<Command, Reply>, ApiError> {
        let Self { access, method, route, base, token } = self;
        let is_new = method == Method::PUT;
        // Also for the keys: another process may have to be asked.
        service.edge.limits.publish_and_copy(&access.identity(), 1, if is_new { COST } else { 0 })?;
        let Route::Subscription(id, part) = route else {
            let is_read = method == Method::GET || method == Method::HEAD;
            return if is_read { Ok(Ok(Command::Keys)) } else { Err(allowed(&[Method::GET, Method::HEAD])) };
        };
        let invalid = |message: String| Ok(Err(Reply::error(400, "INVALID_REQUEST", &message)));
        if let Some(act) = act(&part) {
            require_post(&method)?;
            let Some(token) = token else {
                return Ok(Err(Reply::error(
                    401,
                    "TOKEN_INVALID",
                    "the token of the wake is required as `Authorization: Bearer`",
                )));
            };
            return match Ack::read(body) {
                Ok(ack) => Ok(Ok(Command::Worker { id, token, ack, act })),
                Err(message) => invalid(message),
            };
        }
        let caller = caller(service, &access)?;
        Ok(Ok(match (part, method) {
            (Part::Itself, Method::PUT) => {
                let config = match Config::read(body, &guard(&service.edge.settings.streams)) {
                    Ok(config) => config,
                    Err(ConfigError::Invalid(message)) => return invalid(message),
                    Err(ConfigError::Url(message)) => {
                        return Ok(Err(Reply::error(400, "WEBHOOK_URL_REJECTED", &message)));
                    }
                };
                require_read(service, &access, &config.streams)?;
                if let Delivery::PullWake(stream) = &config.delivery {
                    require_write(service, &access, stream)?;
                }
                let scope = scope(&access, &caller);
                Command::Put { id, caller, config, scope, base }
            }
            (Part::Itself, Method::GET | Method::HEAD) => Command::Get { id, caller },
            (Part::Itself, Method::DELETE) => Command::Delete { id, caller },
            (Part::Itself, _) => return Err(allowed(&[Method::GET, Method::HEAD, Method::PUT, Method::DELETE])),
            (Part::Streams, Method::POST) => {
                let names = match streams(body) {
                    Ok(names) => names,
                    Err(message) => return invalid(message),
                };
                require_read(service, &access, &names)?;
                Command::Link { id, caller, streams: names }
            }
            (Part::Stream(stream), Method::DELETE) => Command::Unlink { id, caller, stream },
            (Part::Stream(_), _) => return Err(allowed(&[Method::DELETE])),
            (Part::Claim, Method::POST) => match serde_json::from_slice(body) {
                Ok(ClaimBody { worker }) if (1..=MAX_WORKER).contains(&worker.len()) => {
                    Command::Claim { id, caller, worker }
                }
                _ => return invalid(format!("`worker` is a name of 1 to {MAX_WORKER} bytes")),
            },
            _ => return Err(allowed(&[Method::POST])),
        }))
    }
}

/// Who asks, if it may have subscriptions at all: with a token, or where streams need none.
fn caller(service: &Service, access: &Access) -> Result<Caller, ApiError> {
    let settings = &service.edge.settings.streams;
    // What `connect` answers takes precedence over a token, too.
    let is_asked = [CallKind::Connect, CallKind::Subscribe].into_iter().any(|kind| service.edge.calls.asks(kind));
    let is_open = settings.anonymous && !is_asked;
    if !is_open {
        access.require_token("use subscriptions to streams")?;
    }
    if is_asked && !access.is_backend() {
        let message = "subscriptions to streams take a token that has trident.api, because the backend decides who may subscribe (TRIDENT_CALLS) and \
                       is not asked about them";
        service.edge.metrics.refusals.not_allowed.inc();
        return Err(ApiError::forbidden("not_supported", message));
    }
    Ok(Caller { owner: access.identity().to_string(), has_all: is_open || access.is_backend() })
}

/// Whether the client may read the streams that it names.
fn require_read<'a>(
    service: &Service,
    access: &Access,
    names: impl IntoIterator<Item = &'a ChannelName>,
) -> Result<(), ApiError> {
    names.into_iter().filter(|name| !is_open(service, name)).try_for_each(|name| access.require_subscribe(name))
}

/// Which streams a pattern of the client may select.
fn scope(access: &Access, caller: &Caller) -> Scope {
    match () {
        () if access.is_backend() => Scope::All,
        () if caller.has_all => Scope::Open,
        () => Scope::Of(access.subscribe_patterns()),
    }
}

fn act(part: &Part) -> Option<Act> {
    match part {
        Part::Callback => Some(Act::Callback),
        Part::Ack => Some(Act::Ack),
        Part::Release => Some(Act::Release),
        _ => None,
    }
}

fn has_own_token(route: &Route) -> bool {
    matches!(route, Route::Keys) || matches!(route, Route::Subscription(_, part) if act(part).is_some())
}

fn require_post(method: &Method) -> Result<(), ApiError> {
    if method == Method::POST { Ok(()) } else { Err(allowed(&[Method::POST])) }
}

fn allowed(methods: &[Method]) -> ApiError {
    ApiError::MethodNotAllowed(methods.iter().cloned().chain([Method::OPTIONS]).collect())
}

/// The token of `Authorization: Bearer` (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}
