//! Pages that are part of a binary: served from memory, compressed as the client accepts it, and transferred again only when the binary has
//! changed.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, EntityTag, Header as _, IfNoneMatch},
    },
    web::{self, ServiceConfig},
};

use super::{
    ApiError,
    asset::{self, Asset, Encoding},
    resource::resource,
};

/// No resources of other origins, no inline scripts or styles, no framing by other pages (CSP level 3).
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'self'";

/// As [`POLICY`], for a page that acts with a powerful token: no page frames it, and text never becomes markup (Trusted Types).
const ADMIN_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
                            form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// From this many folders in a path on, there is no page for an address without one: the page repeats them for each of its files.
const MAX_DEPTH: usize = 4;

/// A file that fits into one packet is not compressed: it would not arrive earlier.
const SMALL: usize = 1_024;

/// A file of a page. It is compressed at the first request, and all workers share the result.
#[derive(Debug)]
pub struct File {
    /// Such as `text/css`; all of them are UTF-8.
    content_type: &'static str,
    content: Asset,
    policy: &'static str,
}

impl File {
    /// A page.
    #[must_use]
    pub const fn html(body: &'static str) -> Self {
        Self::new("text/html; charset=utf-8", body)
    }

    /// The page for administration.
    const fn admin(body: &'static str) -> Self {
        Self { content_type: "text/html; charset=utf-8", content: Asset::new(body.as_bytes()), policy: ADMIN_POLICY }
    }

    /// A style sheet.
    #[must_use]
    pub const fn css(body: &'static str) -> Self {
        Self::new("text/css; charset=utf-8", body)
    }

    /// A script.
    #[must_use]
    pub const fn script(body: &'static str) -> Self {
        Self::new("text/javascript; charset=utf-8", body)
    }

    /// A page of the documentation, which a script shows (RFC 7763).
    #[must_use]
    pub const fn markdown(body: &'static str) -> Self {
        Self::new("text/markdown; charset=utf-8", body)
    }

    const fn new(content_type: &'static str, body: &'static str) -> Self {
        Self { content_type, content: Asset::new(body.as_bytes()), policy: POLICY }
    }
}

/// Files of every server: the style sheet and the script that all pages share, the icon that browsers request for pages and answers
/// without one, the description of the HTTP API of all services with a page that displays it, the page for administration as `web/admin`
/// builds it, and the script of [`not_found`].
pub(super) fn common(config: &mut ServiceConfig) {
    static BASE: File = File::css(include_str!("../../web/base.css"));
    static SCRIPT: File = File::script(include_str!("../../web/page.js"));
    static NOT_FOUND: File = File::script(include_str!("../../web/404.js"));
    static ICON: File = File::new("image/svg+xml", include_str!("../../web/favicon.svg"));
    static API: File = File::html(include_str!("../../web/api/api.html"));
    static API_STYLE: File = File::css(include_str!("../../web/api/api.css"));
    static API_SCRIPT: File = File::script(include_str!("../../web/api/api.js"));
    static OPENAPI: File = File::new("application/json", include_str!("../../docs/openapi.json"));
    static ADMIN: File = File::admin(include_str!("../../web/admin/dist/index.html"));
    static ADMIN_STYLE: File = File::css(include_str!("../../web/admin/dist/admin.css"));
    static ADMIN_SCRIPT: File = File::script(include_str!("../../web/admin/dist/admin.js"));
    serve(
        config,
        &[
            ("/base.css", &BASE),
            ("/page.js", &SCRIPT),
            ("/404.js", &NOT_FOUND),
            ("/favicon.ico", &ICON),
            ("/api", &API),
            ("/api.css", &API_STYLE),
            ("/api.js", &API_SCRIPT),
            ("/openapi.json", &OPENAPI),
            ("/admin", &ADMIN),
            ("/admin.css", &ADMIN_STYLE),
            ("/admin.js", &ADMIN_SCRIPT),
        ],
    );
}

/// Answers a path at which there is nothing: a browser that opens it gets a page, everything else the error as JSON.
///
/// # Errors
/// [`ApiError::NotFound`], unless the client is a browser.
pub(super) async fn not_found(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    const PAGE: &str = include_str!("../../web/404.html");
    // The page names its files relative to the root, which may be a folder of a proxy. nginx fills in the same mark.
    let depth = request.path().matches('/').count().saturating_sub(1);
    if depth >= MAX_DEPTH || !is_browser(&request) {
        return Err(ApiError::NotFound);
    }
    let body = PAGE.replace("<!--#echo var=\"root\" -->", &"../".repeat(depth));
    Ok(HttpResponse::NotFound()
        .insert_header((header::VARY, "Accept"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .body(body))
}

/// Whether somebody opens an address: programs do not ask for HTML.
fn is_browser(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let mut ranges = accepted.flat_map(|value| value.split(','));
    matches!(*request.method(), Method::GET | Method::HEAD)
        && ranges.any(|range| range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/html"))
}

/// Adds routes for files, each at its path.
pub fn serve(config: &mut ServiceConfig, files: &[(&str, &'static File)]) {
    for &(path, file) in files {
        // It has to change when the file does, and to be the same in every worker and replica of one build. Weak, since it is the same for
        // every encoding (RFC 9110 §8.8.1).
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(file.content.plain());
        let tag = EntityTag::new_weak(format!("{hash:016x}"));
        let handler = move |request: HttpRequest| answer(file, tag.clone(), request);
        config.service(
            resource(path, &[Method::GET, Method::HEAD])
                .route(web::get().to(handler.clone()))
                .route(web::head().to(handler)),
        );
    }
}

async fn answer(file: &'static File, tag: EntityTag, request: HttpRequest) -> HttpResponse {
    let known = match IfNoneMatch::parse(&request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        Err(_) => false,
    };
    let mut answer = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header(header::ETag(tag))
        .insert_header((header::VARY, "Accept-Encoding"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, file.policy))
        .insert_header((header::REFERRER_POLICY, "same-origin"));
    if known {
        return answer.finish();
    }
    let is_small = file.content.plain().len() < SMALL;
    let encoding = if is_small { Encoding::Identity } else { asset::encoding(&request) };
    let Some(body) = asset::body(&file.content, encoding).await else {
        return HttpResponse::InternalServerError().finish();
    };
    if let Some(name) = encoding.name() {
        answer.insert_header((header::CONTENT_ENCODING, name));
    }
    answer.insert_header((header::CONTENT_TYPE, file.content_type)).body(body)
}

#[cfg(test)]
mod tests;
