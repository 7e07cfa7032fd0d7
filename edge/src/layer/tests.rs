use actix_web::{
    HttpRequest,
    http::header::HeaderName,
    test::{self as web_test, TestRequest},
};

use super::*;
use crate::{Access, Settings, resource::resource, settings::ServiceDefaults};

const SERVICE: ServiceDefaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };

fn edge() -> Edge {
    let args = ["--secret", "0123456789abcdef0123456789abcdef"];
    Edge::new(Settings::from_sources(&SERVICE, args, []).unwrap(), &SERVICE)
}

fn routes(config: &mut ServiceConfig) {
    config
        .service(
            resource("/thing", &[Method::GET])
                .route(web::get().to(async || HttpResponse::Ok().content_type("text/plain").body("hello"))),
        )
        .service(web::resource("/secret").to(secret))
        .service(web::resource("/fail").to(async || Err::<HttpResponse, _>(ApiError::internal("hunter2"))));
}

async fn secret(edge: web::Data<Edge>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let access = Access::of(&edge, &RequestParts::from(&request));
    access.require_subscribe(&"secret".parse().unwrap())?;
    Ok(HttpResponse::Ok().finish())
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.get(HeaderName::from_static(name)).map(|value| value.to_str().unwrap())
    }
}

async fn ask(edge: &Edge, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let app = web_test::init_service(app(edge.clone(), routes)).await;
    let mut request = TestRequest::default().method(method.parse().unwrap()).uri(path);
    for header in headers {
        request = request.append_header(*header);
    }
    let response = web_test::call_service(&app, request.to_request()).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: String::from_utf8(web_test::read_body(response).await.to_vec()).unwrap() }
}

const PAGE: (&str, &str) = ("origin", "http://localhost:3000");

#[actix_web::test]
async fn every_answer_can_be_read_by_our_pages_errors_too() {
    for (method, path, headers, status) in [
        ("GET", "/thing", &[PAGE][..], 200),
        ("GET", "/nowhere", &[PAGE], 404),
        ("DELETE", "/thing", &[PAGE], 405),
        ("GET", "/fail", &[PAGE], 500),
        ("GET", "/secret", &[PAGE, ("authorization", "Bearer x")], 401),
        ("OPTIONS", "/thing", &[PAGE], 204),
        ("OPTIONS", "/nowhere", &[PAGE, ("access-control-request-method", "POST")], 204),
    ] {
        let answer = ask(&edge(), method, path, headers).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE.1), "{method} {path}");
        assert_eq!(answer.header("vary"), Some("Origin"), "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{method} {path}");
        let stranger =
            ask(&edge(), method, path, &[&[("origin", "https://stranger.example")], &headers[1..]].concat()).await;
        assert_eq!(stranger.header("access-control-allow-origin"), None, "{method} {path}");
        assert_eq!(stranger.header("vary"), Some("Origin"), "{method} {path}");
    }
}

#[actix_web::test]
async fn errors_have_one_form() {
    for (method, path, status, code) in [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/thing", 405, "method_not_allowed"),
        ("GET", "/fail", 500, "internal"),
    ] {
        let answer = ask(&edge(), method, path, &[]).await;
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, body["error"]["code"].as_str()), (status, Some(code)), "{method} {path}");
        assert!(!answer.body.contains("hunter2"));
    }
    assert_eq!(ask(&edge(), "POST", "/thing", &[]).await.header("allow"), Some("GET, OPTIONS"));
    assert_eq!(ask(&edge(), "OPTIONS", "/thing", &[]).await.header("allow"), Some("GET, OPTIONS"));
    let refused = ask(&edge(), "GET", "/secret", &[("authorization", "Bearer x")]).await;
    assert!(
        refused.header("www-authenticate").unwrap().starts_with("Bearer realm=\"trident\", error=\"invalid_token\"")
    );
}

/// A request is in flight until its body is dropped, however far it was read.
#[actix_web::test]
async fn a_request_is_in_flight_as_long_as_its_body() {
    let edge = edge();
    let app = web_test::init_service(app(edge.clone(), routes)).await;
    let response = web_test::call_service(&app, TestRequest::get().uri("/thing").to_request()).await;
    assert_eq!((edge.drain.in_flight(), edge.metrics.in_flight.get()), (1, 1));
    drop(response);
    assert_eq!((edge.drain.in_flight(), edge.metrics.in_flight.get()), (0, 0));
}

/// Case 9.10: `OPTIONS *` is about the server as a whole, and answered 204.
#[actix_web::test]
async fn options_of_the_server_as_a_whole() {
    let answer = ask(&edge(), "OPTIONS", "*", &[PAGE]).await;
    assert_eq!((answer.status, answer.header("allow")), (204, Some("GET, HEAD, POST, PUT, DELETE, OPTIONS")));
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE.1));
}
