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
use futures_util::{
    FutureExt as _,
    future::{LocalBoxFuture, join},
};
use socketio::{Args, DisconnectReason, Origins, PollRequest, SocketIo};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

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
    // Compressed data contains the ids, too.
    let is_plain = !fields.iter().any(|field| field.starts_with("content-encoding"));
    let body = if is_plain { text(&body).replace(sid, "SID") } else { String::new() };
    let body = match body.split_once("40{\"sid\":\"") {
        Some((before, rest)) => format!("{before}40{{SOCKET{}", rest.split_once('"').unwrap().1),
        None => body,
    };
    (status, fields, body)
}

/// Data that is not text is shown byte by byte.
fn text(body: &[u8]) -> String {
    std::str::from_utf8(body).map_or_else(|_| body.escape_ascii().to_string(), str::to_owned)
}

trait Routes: Service<Request, Response = ServiceResponse, Error = actix_web::Error> {}
impl<S: Service<Request, Response = ServiceResponse, Error = actix_web::Error>> Routes for S {}

async fn by_routes(
    app: &impl Routes,
    method: &Method,
    path: &str,
    fields: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> HttpResponse {
    let mut request = TestRequest::with_uri(path).method(method.clone()).set_payload(body);
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
        (&post, "", &[], large.as_str()),
        (&post, "", &[("origin", "http://stranger.example")], "41"),
        (&post, "", &[], "40"),
        (&get, "&j=1", &[("accept-encoding", "gzip")], ""),
        (&post, "", &[], "40"),
        (&get, "", &[("accept-encoding", "deflate")], ""),
        (&post, "", &[], "no packet"),
        // The session has ended with that.
        (&get, "", &[], ""),
    ] {
        let path = |sid: &str| format!("EIO=4&transport=polling&sid={sid}{query}");
        let [a, b] = &both;
        let routed = by_routes(&app, method, &format!("/socket.io/?{}", path(a)), fields, body.to_owned()).await;
        let (headers, query) = (headers(fields), path(b));
        let request =
            PollRequest { method, query: &query, headers: &headers, body: Bytes::copy_from_slice(body.as_bytes()) };
        let Some(answer) = io.answer_poll(&request) else {
            // What it leaves, the routes refuse.
            assert_eq!(routed.status(), if body.len() > 1_000 { 413 } else { 400 }, "{method} {query} {body}");
            continue;
        };
        assert_eq!(told(routed, a).await, told(answer.await, b).await, "{method} {query} {body}");
    }
}

#[actix_web::test]
async fn other_requests_are_left_to_the_routes() {
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

/// How a request is answered.
#[derive(Clone, Copy, Debug)]
enum Way {
    Routes,
    Lane,
}

const WAYS: [Way; 2] = [Way::Routes, Way::Lane];

/// A server that echoes, and why its sockets have ended.
fn server() -> (SocketIo, UnboundedReceiver<DisconnectReason>) {
    let io = SocketIo::builder().configure(|config| (config.allow_eio3, config.jsonp) = (true, true)).build();
    let (told, ended) = unbounded_channel();
    let chat = io.of("/");
    chat.on("echo", async |socket, args: Args, _| socket.emit("back", &args).unwrap());
    chat.on_disconnect(async move |_, reason| told.send(reason).unwrap());
    (io, ended)
}

/// A session by its query, which begins with `query`, of a client that is connected to its namespace and has received the answer.
async fn enter(app: &impl Routes, query: &str) -> String {
    let opened = by_routes(app, &Method::GET, &format!("/socket.io/?{query}"), &[], "").await;
    let opened = text(&to_bytes(opened.into_body()).await.unwrap());
    let sid = &opened.split_once("\"sid\":\"").unwrap().1[..20];
    let session = format!("{query}&sid={sid}");
    let path = format!("/socket.io/?{session}");
    let is_old = query.contains("EIO=3");
    if !is_old {
        by_routes(app, &Method::POST, &path, &[], "40").await;
    }
    // A client of protocol 3 is let in unasked.
    if !opened.ends_with("2:40") {
        let welcome = to_bytes(by_routes(app, &Method::GET, &path, &[], "").await.into_body()).await.unwrap();
        assert!(text(&welcome).starts_with(if is_old { "2:40" } else { "40{" }), "{welcome:?}");
    }
    session
}

/// The future answer, on one path; on the fast path, a request must not be left to the routes.
fn ask<'a>(
    (way, io, app): (Way, &SocketIo, &'a impl Routes),
    method: Method,
    query: &str,
    fields: &'a [(&str, &str)],
    body: &'static [u8],
) -> LocalBoxFuture<'a, HttpResponse> {
    match way {
        Way::Lane => {
            let (headers, body) = (headers(fields), Bytes::from_static(body));
            let request = PollRequest { method: &method, query, headers: &headers, body };
            io.answer_poll(&request).unwrap_or_else(|| panic!("{method} {query} is left to the routes"))
        }
        Way::Routes => {
            let path = format!("/socket.io/?{query}");
            async move { by_routes(app, &method, &path, fields, body).await }.boxed_local()
        }
    }
}

/// Why the one socket has ended.
async fn reason(ended: &mut UnboundedReceiver<DisconnectReason>) -> DisconnectReason {
    tokio::time::timeout(std::time::Duration::from_secs(10), ended.recv()).await.expect("an end").unwrap()
}

/// The session is gone, on both paths.
async fn assert_gone(io: &SocketIo, app: &impl Routes, session: &str) {
    let request = PollRequest { method: &Method::GET, query: session, headers: &HeaderMap::new(), body: Bytes::new() };
    assert!(io.answer_poll(&request).is_none(), "{session}");
    let (status, _, body) = told(ask((Way::Routes, io, app), Method::GET, session, &[], b"").await, session).await;
    assert_eq!((status, &*body), (400, r#"{"code":1,"message":"Session ID unknown"}"#));
    assert_eq!((io.stats().connections, io.stats().polls_waiting), (0, 0));
}

#[actix_web::test]
async fn protocol_3_scripts_and_bytes_by_both_ways() {
    const BYTES: &[(&str, &str)] = &[("content-type", "application/octet-stream")];
    const BINARY: &[u8] =
        b"\x00\x04\x02\xff451-[\"echo\",{\"_placeholder\":true,\"num\":0}]\x01\x04\xff\x04\x01\x02\x03";
    const OLD: &str = "EIO=3&transport=polling";
    const NEW: &str = "EIO=4&transport=polling";
    let (get, post) = (Method::GET, Method::POST);
    // A request, the status of its answer, and what is in that.
    for (query, rows) in [
        (
            OLD,
            &[
                (&post, "", &[][..], "16:42[\"echo\",\"\u{1f680}é\"]".as_bytes(), 200, "ok"),
                (&get, "", &[], b"", 200, "16:42[\"back\",\"\u{1f680}é\"]"),
                (&post, "", &[], b"1:2", 200, "ok"),
                (&get, "", &[], b"", 200, "1:3"),
                (&post, "", BYTES, BINARY, 200, "ok"),
                (&get, "", &[], b"", 200, r"\x01\x04\xff\x04\x01\x02\x03"),
                (&post, "", BYTES, BINARY, 200, "ok"),
                (&get, "&b64=1", &[], b"", 200, "6:b4AQID"),
                (&post, "&b64=1", &[], b"42[\"echo\"]", 400, "Bad request"),
            ][..],
        ),
        (OLD, &[(&post, "", BYTES, b"1:2", 400, "Bad request")]),
        (NEW, &[(&post, "", BYTES, b"3", 400, "Bad request")]),
        (
            NEW,
            &[
                (&post, "&j=0", &[], br#"d=42%5B"echo"%2C"a%5C%5Cnb"%5D"#, 200, "ok"),
                (&get, "&j=12", &[], b"", 200, r#"___eio[12]("42[\"back\",\"a\\nb\"]");"#),
                (&post, "", &[], b"no packet", 400, "Bad request"),
            ],
        ),
        (NEW, &[(&post, "&j=0", &[], b"e=42", 400, "Bad request")]),
    ] {
        let mut both = Vec::new();
        for way in WAYS {
            let (io, mut ended) = server();
            let app = test::init_service(App::new().configure(io.routes())).await;
            let session = enter(&app, query).await;
            let mut answers = Vec::new();
            for (method, more, fields, body, status, part) in rows {
                let asked = format!("{session}{more}");
                let answer = told(ask((way, &io, &app), (*method).clone(), &asked, fields, body).await, &session).await;
                assert_eq!(answer.0, *status, "{way:?} {method} {asked}: {answer:?}");
                assert!(answer.2.contains(part), "{way:?} {method} {asked}: {answer:?}");
                answers.push(answer);
            }
            let (stats, reason) = (io.stats(), reason(&mut ended).await);
            both.push((answers, stats.packets_in, stats.packets_out, stats.refused_request, reason));
            assert_gone(&io, &app, &session).await;
        }
        assert_eq!(both[0], both[1]);
    }
}

#[actix_web::test]
async fn a_second_poll_while_one_waits_ends_the_session() {
    for first in WAYS {
        for second in WAYS {
            let (io, mut ended) = server();
            let app = test::init_service(App::new().configure(io.routes())).await;
            let session = enter(&app, "EIO=4&transport=polling").await;
            let mut waiting = ask((first, &io, &app), Method::GET, &session, &[], b"");
            assert!((&mut waiting).now_or_never().is_none());
            assert_eq!(io.stats().polls_waiting, 1);

            let refused = told(ask((second, &io, &app), Method::GET, &session, &[], b"").await, &session).await;
            assert_eq!(
                (refused.0, &*refused.2),
                (400, r#"{"code":3,"message":"Bad request"}"#),
                "{first:?} {second:?}"
            );
            let answer = told(waiting.await, &session).await;
            assert_eq!((answer.0, &*answer.2), (200, "1"), "{first:?} {second:?}");
            assert_eq!(reason(&mut ended).await, DisconnectReason::TransportError);
            assert_gone(&io, &app, &session).await;
        }
    }
}

#[actix_web::test]
async fn a_dropped_poll_ends_the_session() {
    for way in WAYS {
        let (io, mut ended) = server();
        let app = test::init_service(App::new().configure(io.routes())).await;
        let session = enter(&app, "EIO=4&transport=polling").await;
        let mut waiting = ask((way, &io, &app), Method::GET, &session, &[], b"");
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!((io.stats().connections, io.stats().polls_waiting), (1, 1));
        drop(waiting);
        assert_eq!(reason(&mut ended).await, DisconnectReason::TransportError, "{way:?}");
        assert_gone(&io, &app, &session).await;
    }
}

#[actix_web::test]
async fn a_close_packet_answers_the_poll_and_ends_the_session() {
    for (query, goodbye, noop) in
        [("EIO=4&transport=polling", &b"1"[..], "6"), ("EIO=3&transport=polling", b"1:1", "1:6")]
    {
        for way in WAYS {
            for is_overtaken in [false, true] {
                let (io, mut ended) = server();
                let app = test::init_service(App::new().configure(io.routes())).await;
                let session = enter(&app, query).await;
                let (mut poll, mut post) = (
                    ask((way, &io, &app), Method::GET, &session, &[], b""),
                    ask((way, &io, &app), Method::POST, &session, &[], goodbye),
                );
                // The goodbye waits for a poll that it has overtaken.
                let earlier = if is_overtaken { &mut post } else { &mut poll };
                assert!(earlier.now_or_never().is_none());
                let (poll, post) = join(poll, post).await;
                let (poll, post) = (told(poll, &session).await, told(post, &session).await);
                assert_eq!((poll.0, &*poll.2, post.0, &*post.2), (200, noop, 200, "ok"), "{way:?} {is_overtaken}");
                assert_eq!(reason(&mut ended).await, DisconnectReason::TransportClose);
                assert_gone(&io, &app, &session).await;
            }
        }
    }
}

#[actix_web::test]
async fn a_close_packet_without_a_poll_ends_the_session() {
    for way in WAYS {
        for is_dropped in [false, true] {
            let (io, mut ended) = server();
            let app = test::init_service(App::new().configure(io.routes())).await;
            let session = enter(&app, "EIO=4&transport=polling").await;
            let mut post = ask((way, &io, &app), Method::POST, &session, &[], b"1");
            assert!((&mut post).now_or_never().is_none());
            if is_dropped {
                drop(post);
            } else {
                assert_eq!(told(post.await, &session).await.2, "ok");
            }
            assert_eq!(reason(&mut ended).await, DisconnectReason::TransportClose, "{way:?} {is_dropped}");
            assert_gone(&io, &app, &session).await;
        }
    }
}
