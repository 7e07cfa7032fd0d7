use actix_web::{App, HttpRequest, error, http::header::HeaderName, middleware, test as web_test, web};

use std::{io, time::Instant};

use shared::testing::logged;

use super::*;

fn header<'a>(response: &'a HttpResponse, name: &str) -> Option<&'a str> {
    response.headers().get(name.parse::<HeaderName>().unwrap()).map(|value| value.to_str().unwrap())
}

#[test]
fn each_error_has_its_status_and_its_headers() {
    type Row = (ApiError, u16, &'static str, Option<(&'static str, &'static str)>);
    let table: [Row; 15] = [
        (ApiError::invalid("bad_cursor", "x"), 400, "bad_cursor", None),
        (
            ApiError::TokenNeeded("x".into()),
            401,
            "token_needed",
            Some(("www-authenticate", r#"Bearer realm="trident""#)),
        ),
        (
            ApiError::BadToken("it \"expired\"\r\n\\ä".into()),
            401,
            "bad_token",
            Some((
                "www-authenticate",
                r#"Bearer realm="trident", error="invalid_token", error_description="it 'expired'''''""#,
            )),
        ),
        (
            ApiError::forbidden("insufficient_scope", "x"),
            403,
            "insufficient_scope",
            Some(("www-authenticate", r#"Bearer realm="trident", error="insufficient_scope", error_description="x""#)),
        ),
        (ApiError::NotFound, 404, "not_found", None),
        (
            ApiError::MethodNotAllowed(vec![Method::GET, Method::POST]),
            405,
            "method_not_allowed",
            Some(("allow", "GET, POST")),
        ),
        (ApiError::TooSlow("x".into()), 408, "too_slow", None),
        (ApiError::TooLarge { setting: "TRIDENT_MAX_BODY", limit: 7 }, 413, "too_large", None),
        (ApiError::conflict("stream_closed", "x"), 409, "stream_closed", None),
        (ApiError::gone("stream_deleted", "x"), 410, "stream_deleted", None),
        (ApiError::UnsupportedMediaType("x".into()), 415, "unsupported_media_type", None),
        (
            ApiError::TooMany { message: "x".into(), retry_after: 3 },
            429,
            "too_many_requests",
            Some(("retry-after", "3")),
        ),
        (ApiError::unavailable("bus_unavailable", "x"), 503, "bus_unavailable", Some(("retry-after", "2"))),
        (ApiError::NotSupported("x".into()), 501, "not_supported", None),
        (ApiError::internal("the password is hunter2"), 500, "internal", None),
    ];
    for (error, status, code, extra) in table {
        let response = error.error_response();
        assert_eq!((response.status().as_u16(), error.code()), (status, code));
        assert_eq!(header(&response, "content-type"), Some("application/json"));
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        match extra {
            Some((name, value)) => assert_eq!(header(&response, name), Some(value)),
            None => assert_eq!(header(&response, "www-authenticate"), None),
        }
    }
}

#[test]
fn the_body_is_json_whatever_the_message() {
    let told = ApiError::invalid("bad_event", "no \"CR\", \r\n or \0 or 时间").to_json();
    let read: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(read["error"]["code"], "bad_event");
    assert_eq!(read["error"]["message"], "no \"CR\", \r\n or \0 or 时间");
}

#[test]
fn a_500_discloses_nothing_to_the_client() {
    assert_eq!(
        ApiError::internal("the password is hunter2").to_json(),
        r#"{"error":{"code":"internal","message":"internal error"}}"#
    );
}

#[actix_web::test]
async fn errors_of_actix_have_the_standard_body() {
    async fn fail() -> Result<HttpResponse, actix_web::Error> {
        Err(error::ErrorInternalServerError("the password is hunter2"))
    }
    async fn own() -> HttpResponse {
        HttpResponse::BadRequest().content_type("text/html").body("Transport unknown")
    }
    async fn ours() -> Result<HttpResponse, ApiError> {
        Err(ApiError::invalid("bad_mode", "x"))
    }
    let app = web_test::init_service(
        App::new()
            .wrap(middleware::from_fn(
                |request: actix_web::dev::ServiceRequest, next: middleware::Next<BoxBody>| async move {
                    Ok::<_, actix_web::Error>(same_shape(next.call(request).await?))
                },
            ))
            .route("/fail", web::get().to(fail))
            .route("/own", web::get().to(own))
            .route("/ours", web::get().to(ours))
            .route("/number/{n}", web::get().to(|n: web::Path<u8>| async move { n.to_string() }))
            .route("/json", web::post().to(|_: web::Json<u8>, _: HttpRequest| async { "" })),
    )
    .await;
    for (method, path, status, body) in [
        ("GET", "/nowhere", 404, r#"{"error":{"code":"not_found","message":"there is nothing at this path"}}"#),
        ("POST", "/fail", 404, r#"{"error":{"code":"not_found","message":"there is nothing at this path"}}"#),
        ("GET", "/fail", 500, r#"{"error":{"code":"internal","message":"internal error"}}"#),
        ("GET", "/own", 400, "Transport unknown"),
        ("GET", "/ours", 400, r#"{"error":{"code":"bad_mode","message":"x"}}"#),
        ("GET", "/number/7", 200, "7"),
        ("GET", "/number/x", 404, r#"{"error":{"code":"not_found","message":"there is nothing at this path"}}"#),
        ("POST", "/json", 400, "bad_request"),
    ] {
        let request = web_test::TestRequest::default().method(method.parse().unwrap()).uri(path).to_request();
        let response = web_test::call_service(&app, request).await;
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        let text = String::from_utf8(web_test::read_body(response).await.to_vec()).unwrap();
        assert!(text == body || text.contains(&format!("\"code\":\"{body}\"")), "{method} {path}: {text}");
    }
}

/// Clients may choose how often there is one, and what its line says.
#[test]
fn server_errors_are_logged_at_most_once_a_second() {
    logged::collect();
    let begun = Instant::now();
    for n in 0..50 {
        ApiError::internal(io::Error::other(n.to_string())).error_response();
    }
    let lines = logged::take();
    assert!(lines.len() as u64 <= 1 + begun.elapsed().as_secs(), "{lines:?}");
}
