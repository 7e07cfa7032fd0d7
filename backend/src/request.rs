//! A request for `/v1`: who sends it, whether it may, and its parameters.

use std::{borrow::Cow, future::Future, rc::Rc};

use actix_web::{
    HttpResponse,
    body::{BoxBody, MessageBody as _},
    http::header::{self, HeaderMap, HeaderValue},
};
use bytes::Bytes;
use edge::{
    Access, ApiError,
    body::BodyReader,
    guarded::Guarded,
    limits::ApiSlot,
    query::{Parameter, Query},
    routes::{RequestBody, RequestParts, Resource, ResponseFuture, response},
    service::Service,
    unread::UnreadAnswer,
};
use serde::Serialize;
use shared::pure::{ChannelName, access::ApiRight};

/// The parameter that limits the length of a page.
pub(crate) const LIMIT: Parameter = Parameter::once("limit");
/// The length of a page that names none, and of the longest.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// A request of a backend that has the right for it.
pub(crate) struct ApiRequest {
    pub(crate) access: Access,
    path: String,
    query: String,
    /// The maximum number of bytes of a page.
    page_bytes: usize,
    /// What counts until the answer is read: its place among all answers, and its memory.
    held: (ApiSlot, UnreadAnswer),
}

impl ApiRequest {
    fn read(service: &Service, parts: &RequestParts<'_>, right: ApiRight) -> Result<Self, ApiError> {
        let (access, slot) = authorize(service, parts, right)?;
        let (page_bytes, answer) = service.edge.unread.begin();
        let (path, query) = (parts.path.to_owned(), parts.query.to_owned());
        Ok(Self { access, path, query, page_bytes, held: (slot, answer) })
    }

    /// The maximum number of bytes of a page.
    pub(crate) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// The answer, which counts until it is read. One whose length is not known here counts by itself.
    fn hold(self, answer: HttpResponse) -> HttpResponse {
        let (slot, mut unread) = self.held;
        answer.map_body(|_, body| match body.try_into_bytes() {
            Ok(bytes) => {
                unread.resize(bytes.len());
                BoxBody::new(Guarded::new(bytes, (slot, unread)))
            }
            Err(body) => {
                drop(unread);
                BoxBody::new(Guarded::new(body, slot))
            }
        })
    }

    /// Parses the query.
    ///
    /// # Errors
    /// 400 for a parameter that is not one of `accepted`.
    pub(crate) fn query(&self, accepted: &[Parameter]) -> Result<Query<'_>, ApiError> {
        Query::read(&self.query, accepted)
    }

    /// The `n`-th segment of the path, with percent-encoded characters decoded.
    ///
    /// # Errors
    /// 400 if it is not UTF-8, or empty.
    pub(crate) fn segment(&self, n: usize) -> Result<Cow<'_, str>, ApiError> {
        edge::routes::segment(&self.path, n)
    }

    /// The channel in the path.
    ///
    /// # Errors
    /// 400 if it is not a channel name.
    pub(crate) fn channel(&self) -> Result<ChannelName, ApiError> {
        self.segment(2)?.parse().map_err(|error| ApiError::invalid("bad_channel", error))
    }
}

/// The client of a request, if it has `right` and is within its rate, and its place among all requests that are being answered.
///
/// # Errors
/// 401, 403 or 429.
pub(crate) fn authorize(
    service: &Service,
    parts: &RequestParts<'_>,
    right: ApiRight,
) -> Result<(Access, ApiSlot), ApiError> {
    let access = Access::by_header(&service.edge, parts);
    access.require_api(right)?;
    let slot = service.edge.limits.api(&access.identity())?;
    Ok((access, slot))
}

/// `resource` with a handler for `GET`, which takes the right to read.
pub(crate) fn get<F>(
    resource: Resource,
    service: &Service,
    handle: impl Fn(Service, Rc<ApiRequest>) -> F + Clone + 'static,
) -> Resource
where
    F: Future<Output = Result<HttpResponse, ApiError>> + 'static,
{
    let service = service.clone();
    resource.get(move |parts| respond(&service, parts, ApiRight::Read, &handle))
}

/// `resource` with a handler for `DELETE`, which takes the right to write.
pub(crate) fn delete<F>(
    resource: Resource,
    service: &Service,
    handle: impl Fn(Service, Rc<ApiRequest>) -> F + Clone + 'static,
) -> Resource
where
    F: Future<Output = Result<HttpResponse, ApiError>> + 'static,
{
    let service = service.clone();
    resource.delete(move |parts| respond(&service, parts, ApiRight::Write, &handle))
}

fn respond<F>(
    service: &Service,
    parts: &RequestParts<'_>,
    right: ApiRight,
    handle: &(impl Fn(Service, Rc<ApiRequest>) -> F + Clone + 'static),
) -> ResponseFuture
where
    F: Future<Output = Result<HttpResponse, ApiError>> + 'static,
{
    let request = ApiRequest::read(service, parts, right);
    let (service, handle) = (service.clone(), handle.clone());
    response(async move {
        let request = Rc::new(request?);
        let answer = handle(service, request.clone()).await?;
        Ok(held(request, answer))
    })
}

/// `resource` with a handler for `POST` with a JSON body, which takes the right to write.
pub(crate) fn post<F>(
    resource: Resource,
    service: &Service,
    handle: impl Fn(Service, Rc<ApiRequest>, Bytes) -> F + Clone + 'static,
) -> Resource
where
    F: Future<Output = Result<HttpResponse, ApiError>> + 'static,
{
    let service = service.clone();
    resource.post(move |parts: &RequestParts<'_>, body: RequestBody| {
        let request = ApiRequest::read(&service, parts, ApiRight::Write).and_then(|request| {
            require_json(parts.headers)?;
            Ok(request)
        });
        let body = BodyReader::new(parts.headers, body);
        let (service, handle) = (service.clone(), handle.clone());
        response(async move {
            let request = Rc::new(request?);
            let mut share = service.edge.receiving.share();
            let body = body.read(&service.edge, &mut share).await?;
            let answer = handle(service, request.clone(), body).await?;
            Ok(held(request, answer))
        })
    })
}

/// The answer to a request, which nothing else refers to any more.
fn held(request: Rc<ApiRequest>, answer: HttpResponse) -> HttpResponse {
    match Rc::into_inner(request) {
        Some(request) => request.hold(answer),
        None => answer,
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    Err(ApiError::UnsupportedMediaType("the body must have the Content-Type application/json".to_owned()))
}

/// The requested length of a page.
///
/// # Errors
/// 400 if it is not one.
pub(crate) fn limit(query: &Query<'_>) -> Result<usize, ApiError> {
    let Some(text) = query.get(LIMIT.name) else { return Ok(DEFAULT_LIMIT) };
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|limit| is_plain && (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| ApiError::invalid("bad_limit", format!("`limit` is a whole number from 1 to {MAX_LIMIT}")))
}

/// The first `limit` of `all`, in at most about `most` bytes, but at least one; and whether there are more.
pub(crate) fn page<T>(
    mut all: impl Iterator<Item = T>,
    limit: usize,
    most: usize,
    size: impl Fn(&T) -> usize,
) -> (Vec<T>, bool) {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for one in all.by_ref() {
        bytes += size(&one);
        if page.len() == limit || !page.is_empty() && bytes > most {
            return (page, true);
        }
        page.push(one);
    }
    (page, false)
}

/// A JSON answer.
pub(crate) fn json(value: &impl Serialize) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store"))).json(value)
}
