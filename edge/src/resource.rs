//! A resource of actix-web's application.

use actix_web::{
    HttpRequest, HttpResponse, Resource,
    http::{Method, header},
    web,
};

use super::ApiError;

/// A resource that answers 405 with `Allow` to every method without a route. `OPTIONS` is always answered.
#[must_use]
pub fn resource(path: &str, methods: &[Method]) -> Resource {
    let mut methods = methods.to_vec();
    methods.push(Method::OPTIONS);
    web::resource(path).default_service(web::to(move |request: HttpRequest| {
        let methods = methods.clone();
        async move {
            if request.method() == Method::OPTIONS {
                let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
                return Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish());
            }
            Err(ApiError::MethodNotAllowed(methods))
        }
    }))
}
