//! Hooks for requests: refusals, response headers, and the values kept from a first request.

use std::{any::Any, sync::Arc};

use actix_web::{
    HttpRequest,
    http::{Method, Uri, header::HeaderMap},
};

use crate::{engine::Refusal, panics::guard};

/// A rejected request: `connection_error` in Node.
#[derive(Debug)]
#[non_exhaustive]
pub struct RefusedRequest<'a> {
    /// Engine.IO's code, such as 1 for an unknown session; `None` if an HTTP status describes it, such as a body that is too large.
    pub code: Option<u8>,
    /// The reason, as sent to the client.
    pub message: String,
    /// The request's method.
    pub method: &'a Method,
    /// The path and query, as context. It may contain a session id, which is a secret of the client.
    pub uri: &'a Uri,
    /// The request's headers.
    pub headers: &'a HeaderMap,
}

/// An answer whose headers can be changed: `initial_headers` and `headers` in Node.
#[derive(Debug)]
#[non_exhaustive]
pub struct AnswerHeaders<'a> {
    /// Whether it answers the first request of a session.
    pub is_initial: bool,
    /// The request's path and query.
    pub uri: &'a Uri,
    /// The request's headers.
    pub request: &'a HeaderMap,
    /// The answer's headers.
    pub headers: &'a mut HeaderMap,
}

/// A value of a first request that the application keeps.
pub(crate) type RequestData = Arc<dyn Any + Send + Sync>;

type OnRefused = Arc<dyn Fn(&RefusedRequest<'_>) + Send + Sync>;
type OnHeaders = Arc<dyn Fn(&mut AnswerHeaders<'_>) + Send + Sync>;
type TakeData = Arc<dyn Fn(&HttpRequest) -> RequestData + Send + Sync>;

/// The hooks that are set. A panic in one is logged, and the request continues.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) on_refused: Option<OnRefused>,
    pub(crate) on_headers: Option<OnHeaders>,
    pub(crate) take_data: Option<TakeData>,
}

impl Hooks {
    /// Whether there is no hook for every request.
    pub(crate) fn are_empty(&self) -> bool {
        self.on_refused.is_none() && self.on_headers.is_none()
    }

    pub(crate) fn refused(&self, refusal: &Refusal, method: &Method, uri: &Uri, headers: &HeaderMap) {
        if let Some(hook) = &self.on_refused {
            let refused = RefusedRequest { code: refusal.code(), message: refusal.to_string(), method, uri, headers };
            guard("on_refused_request", || hook(&refused));
        }
    }

    pub(crate) fn headers(&self, is_initial: bool, uri: &Uri, request: &HeaderMap, headers: &mut HeaderMap) {
        if let Some(hook) = &self.on_headers {
            guard("on_headers", || hook(&mut AnswerHeaders { is_initial, uri, request, headers }));
        }
    }

    pub(crate) fn request_data(&self, request: &HttpRequest) -> Option<RequestData> {
        let take = self.take_data.as_ref()?;
        guard("request_data", || take(request))
    }
}
