//! Pages that are part of a binary: served from memory, asked for again only when the binary is another one.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, ETag, EntityTag, Header as _, IfNoneMatch},
    },
    web::{self, ServiceConfig},
};

use super::layer::resource;

/// Nothing from elsewhere, no script or style inside the page, no page of others around it (CSP level 3).
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'self'";

/// A file of a page.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Where it is served.
    pub path: &'static str,
    /// As in `text/css`; all of them are UTF-8.
    pub content_type: &'static str,
    /// What is in it.
    pub body: &'static str,
}

impl File {
    /// A page.
    #[must_use]
    pub const fn html(path: &'static str, body: &'static str) -> Self {
        Self { path, content_type: "text/html; charset=utf-8", body }
    }

    /// A style sheet.
    #[must_use]
    pub const fn css(path: &'static str, body: &'static str) -> Self {
        Self { path, content_type: "text/css; charset=utf-8", body }
    }

    /// A script.
    #[must_use]
    pub const fn script(path: &'static str, body: &'static str) -> Self {
        Self { path, content_type: "text/javascript; charset=utf-8", body }
    }

    /// The same file at another path.
    #[must_use]
    pub const fn at(self, path: &'static str) -> Self {
        Self { path, ..self }
    }
}

/// What is there on every server: the style that all pages share, the sign that browsers ask for by themselves on pages
/// that name none, as on answers that are opened in a tab, and the description of the HTTP interface (of all services,
/// whichever is asked) with a page to read it.
pub(super) fn common(config: &mut ServiceConfig) {
    let sign = include_str!("../../../web/favicon.svg");
    serve(
        config,
        &[
            File::css("/base.css", include_str!("../../../web/base.css")),
            File { path: "/favicon.ico", content_type: "image/svg+xml", body: sign },
            File::html("/api", include_str!("../../../web/api/api.html")),
            File::css("/api.css", include_str!("../../../web/api/api.css")),
            File::script("/api.js", include_str!("../../../web/api/api.js")),
            File {
                path: "/openapi.json",
                content_type: "application/json",
                body: include_str!("../../../docs/openapi.json"),
            },
        ],
    );
}

/// Adds routes for `files`.
pub fn serve(config: &mut ServiceConfig, files: &[File]) {
    for file in files.iter().copied() {
        // Only has to differ when the file does, and to be the same in every worker and replica of one build.
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(file.body);
        let tag = EntityTag::new_strong(format!("{hash:016x}"));
        let handler = move |request: HttpRequest| {
            let answer = answer(file, &tag, &request);
            async move { answer }
        };
        config.service(
            resource(file.path, &[Method::GET, Method::HEAD])
                .route(web::get().to(handler.clone()))
                .route(web::head().to(handler)),
        );
    }
}

fn answer(file: File, tag: &EntityTag, request: &HttpRequest) -> HttpResponse {
    let known = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    };
    let mut answer = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header(ETag(tag.clone()))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "same-origin"));
    if known {
        return answer.finish();
    }
    answer.insert_header((header::CONTENT_TYPE, file.content_type)).body(file.body)
}
