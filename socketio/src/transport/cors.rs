//! The headers of CORS.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderMap, HeaderValue},
};

use crate::{Config, config::Cors};

/// Whether the `Origin` header, if present, is a valid header value.
pub(super) fn is_well_formed(request: &HeaderMap) -> bool {
    request.get(header::ORIGIN).is_none_or(|origin| origin.to_str().is_ok())
}

/// The CORS headers of an answer, decided before the request is dropped. None, if the application adds its own.
#[derive(Default)]
pub(super) struct Answer {
    vary: bool,
    allow: Option<HeaderValue>,
    credentials: bool,
    exposed: Option<HeaderValue>,
}

pub(super) fn answer(config: &Config, request: &HeaderMap) -> Answer {
    let Some(cors) = &config.cors else { return Answer::default() };
    let origins = &config.origins;
    let any = origins.are_any();
    let allow = if any {
        Some(HeaderValue::from_static("*"))
    } else {
        request.get(header::ORIGIN).filter(|_| origins.allow(request)).cloned()
    };
    let exposed = cors.exposed_headers.as_deref().filter(|_| allow.is_some()).and_then(value);
    Answer { vary: !any, credentials: !any && allow.is_some(), allow, exposed }
}

impl Answer {
    pub(super) fn write(self, response: &mut HeaderMap) {
        if self.vary {
            response.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(allow) = self.allow {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allow);
        }
        if let Some(exposed) = self.exposed {
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        if self.credentials {
            response.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// A setting as a header value. An invalid one is omitted and logged.
fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text)
        .inspect_err(|_| log::error!("{text:?} of the CORS settings is not a valid header value"))
        .ok()
}

/// Writes the headers of an answer.
pub(super) fn apply(config: &Config, request: &HeaderMap, response: &mut HeaderMap) {
    answer(config, request).write(response);
}

/// The answer to a browser that asks before it sends.
pub(super) fn preflight(config: &Config, request: &HttpRequest) -> HttpResponse {
    let mut response = HttpResponse::NoContent().finish();
    let headers = response.headers_mut();
    apply(config, request.headers(), headers);
    if let Some(cors) = &config.cors
        && headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    {
        let Cors { methods, allowed_headers, max_age, .. } = cors;
        let asked = || request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let allowed = allowed_headers.as_deref().map_or_else(asked, value);
        if allowed_headers.is_none() && allowed.is_some() {
            headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
        }
        let max_age = max_age.map(|age| age.as_secs().into());
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, value(methods)),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, allowed),
            (header::ACCESS_CONTROL_MAX_AGE, max_age),
        ] {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
    }
    response
}
