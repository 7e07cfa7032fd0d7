//! `SocketIo::answer_poll` gives the answers that the routes give, and leaves to them what it does not.

#![allow(clippy::unwrap_used)]

use actix_http::Request;
use actix_web::{
    App, HttpResponse,
    body::to_bytes,
    dev::{Service, ServiceResponse},
    http::{
        Method,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
    test::{self, TestRequest},
};
use bytes::Bytes;
use socketio::{Origins, PollRequest, SocketIo};

const PAGE: (&str, &str) = ("origin", "http://page.example");

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// An answer's status, its fields in order, and its body with the ids of sockets made alike.
async fn told(response: HttpResponse, sid: &str) -> (u16, Vec<String>, String) {
    let status = response.status().as_u16();
    let mut fields: Vec<_> =
        response.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    fields.sort();
    let body = to_bytes(response.into_body()).await.unwrap_or_default();
    // What is compressed holds the ids, too.
    let is_plain = !fields.iter().any(|field| field.starts_with("content-encoding"));
    let body = if is_plain { String::from_utf8(body.to_vec()).unwrap().replace(sid, "SID") } else { String::new() };
    let body = match body.split_once("40{\"sid\":\"") {
        Some((before, rest)) => format!("{before}40{{SOCKET{}", rest.split_once('"').unwrap().1),
        None => body,
    };
    (status, fields, body)
}

async fn by_routes<S>(app: &S, method: &Method, path: &str, fields: &[(&str, &str)], body: &str) -> HttpResponse
where
    S: Service<Request, Response = ServiceResponse, Error = actix_web::Error>,
{
    let mut request = TestRequest::with_uri(path).method(method.clone()).set_payload(body.to_owned());
    for field in fields {
        request = request.append_header(*field);
    }
    test::call_service(app, request.to_request()).await.into_parts().1
}

#[actix_web::test]
async fn both_ways_have_the_same_answer() {
    let io = SocketIo::builder()
        .origins(Origins::list(["http://page.example"]))
        .configure(|config| {
            config.max_http_buffer_size = 1_000;
            config.compress_from = Some(10);
        })
        .build();
    io.of("/").on_connect(async |_| {});
    let app = test::init_service(App::new().configure(io.routes())).await;
    let open = async || {
        let answer = by_routes(&app, &Method::GET, "/socket.io/?EIO=4&transport=polling", &[], "").await;
        let body = to_bytes(answer.into_body()).await.unwrap();
        String::from_utf8(body[9..29].to_vec()).unwrap()
    };
    let (get, post) = (Method::GET, Method::POST);
    let large = "4".repeat(1_001);
    let both = [open().await, open().await];
    for (method, query, fields, body) in [
        (&post, "", &[PAGE][..], "40"),
        (&get, "&t=abc", &[PAGE], ""),
        (&post, "", &[("origin", "http://stranger.example")], "41"),
        (&post, "", &[], "40"),
        (&get, "&j=1", &[("accept-encoding", "gzip")], ""),
        (&post, "", &[], "40"),
        (&get, "", &[("accept-encoding", "deflate")], ""),
        (&post, "", &[], large.as_str()),
        (&post, "", &[], "no packet"),
        // The session has ended with that.
        (&get, "", &[], ""),
    ] {
        let path = |sid: &str| format!("EIO=4&transport=polling&sid={sid}{query}");
        let [a, b] = &both;
        let routed = by_routes(&app, method, &format!("/socket.io/?{}", path(a)), fields, body).await;
        let (headers, query) = (headers(fields), path(b));
        let request =
            PollRequest { method, query: &query, headers: &headers, body: Bytes::copy_from_slice(body.as_bytes()) };
        let Some(answer) = io.answer_poll(&request) else {
            // What it leaves, the routes refuse.
            assert_eq!(routed.status(), 400, "{method} {query} {body}");
            continue;
        };
        assert_eq!(told(routed, a).await, told(answer.await, b).await, "{method} {query} {body}");
    }
}

#[actix_web::test]
async fn what_is_no_poll_of_a_session_is_left_to_the_routes() {
    let io = SocketIo::builder().build();
    let app = test::init_service(App::new().configure(io.routes())).await;
    let answer = by_routes(&app, &Method::GET, "/socket.io/?EIO=4&transport=polling", &[], "").await;
    let body = to_bytes(answer.into_body()).await.unwrap();
    let sid = std::str::from_utf8(&body[9..29]).unwrap();
    let before = io.stats();
    for (method, query, fields) in [
        (Method::GET, "EIO=4&transport=polling".to_owned(), &[][..]),
        (Method::GET, "EIO=4&transport=polling&sid=nobody".to_owned(), &[]),
        (Method::GET, format!("EIO=4&transport=websocket&sid={sid}"), &[]),
        (Method::GET, format!("EIO=4&transport=polling&sid={sid}"), &[("upgrade", "websocket")]),
        (Method::OPTIONS, format!("EIO=4&transport=polling&sid={sid}"), &[]),
        (Method::PUT, format!("EIO=4&transport=polling&sid={sid}"), &[]),
    ] {
        let headers = headers(fields);
        let request = PollRequest { method: &method, query: &query, headers: &headers, body: Bytes::new() };
        assert!(io.answer_poll(&request).is_none(), "{method} {query}");
    }
    assert_eq!(format!("{before:?}"), format!("{:?}", io.stats()), "nothing was counted");
}
