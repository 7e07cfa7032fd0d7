//! Connections over real sockets, with an application made for the purpose.

mod bodies;
mod endings;

use std::{
    cell::Cell,
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use actix_service::fn_service;
use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    test::TestRequest,
    web::Bytes,
};
use futures_util::StreamExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

use super::{decoder::MAX_HEAD, *};
use crate::{
    Settings,
    body::BodyReader,
    guarded::Guarded,
    routes::{RequestBody, Resource, Routes, response, response_ready},
    settings::ServiceDefaults,
};

const TIMES: ConnectionTimeouts = ConnectionTimeouts {
    head: Duration::from_millis(600),
    keep_alive: Duration::from_secs(2),
    write: Duration::from_secs(1),
    brief: Duration::ZERO,
};
const SERVICE: ServiceDefaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
/// Bytes of an answer that no kernel takes at once.
const HUGE: usize = 1 << 20;
/// Long enough for the slowest machine; nothing waits so long when it works.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a body says, one after the other; then it waits, for good.
enum Say {
    Chunk(&'static str),
    End,
    Fail,
    /// Megabytes, until nobody takes any more.
    Flood,
}

struct Script {
    lines: VecDeque<Say>,
    said: Rc<Cell<usize>>,
    _alive: Rc<()>,
}

impl MessageBody for Script {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        match self.lines.front() {
            None => return Poll::Pending,
            Some(Say::Flood) => {
                self.said.set(self.said.get() + 1);
                return Poll::Ready(Some(Ok(Bytes::from_static(&[b'x'; 64 * 1024]))));
            }
            _ => {}
        }
        match self.lines.pop_front() {
            Some(Say::Chunk(chunk)) => Poll::Ready(Some(Ok(Bytes::from_static(chunk.as_bytes())))),
            Some(Say::Fail) => Poll::Ready(Some(Err(io::Error::other("on purpose")))),
            _ => Poll::Ready(None),
        }
    }
}

/// A body whose stated length is wrong.
struct MisstatedBody {
    content: Option<&'static str>,
    stated: u64,
}

impl MessageBody for MisstatedBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.stated)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        Poll::Ready(self.content.take().map(|content| Ok(Bytes::from_static(content.as_bytes()))))
    }
}

struct Stage {
    client: tokio::net::TcpStream,
    said: Rc<Cell<usize>>,
    /// Lives as long as the connection does, in us.
    served: actix_web::rt::task::JoinHandle<()>,
    alive: Rc<()>,
    edge: Edge,
}

/// A connection whose requests are answered with `lines`, or, when there is a body, with how long that is.
async fn stage(lines: impl IntoIterator<Item = Say>) -> Stage {
    stage_with(TIMES, lines).await
}

/// The same, with other times.
async fn stage_with(times: ConnectionTimeouts, lines: impl IntoIterator<Item = Say>) -> Stage {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    crate::server::prepare(&listener);
    let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, peer) = listener.accept().await.unwrap();
    let (said, alive) = (Rc::new(Cell::new(0)), Rc::new(()));
    let script = Script { lines: lines.into_iter().collect(), said: said.clone(), _alive: alive.clone() };
    let script = Rc::new(Cell::new(Some(script)));
    let application = fn_service(move |mut request: Request| {
        let script = script.clone();
        async move {
            let path = request.path().to_owned();
            let mut response = HttpResponse::Ok();
            let response = match (&*path, script.take()) {
                ("/body", _) => {
                    let mut payload = request.take_payload();
                    let mut length = 0;
                    while let Some(chunk) = payload.next().await {
                        length += chunk?.len();
                    }
                    response.body(length.to_string())
                }
                ("/echo", _) => {
                    let payload = request.take_payload();
                    let mut response = HttpResponse::SwitchingProtocols();
                    response.streaming(payload.map(|chunk| chunk.map_err(actix_web::Error::from)))
                }
                ("/careless", _) => {
                    let mut payload = request.take_payload();
                    while let Some(Ok(_)) = payload.next().await {}
                    response.body("never mind")
                }
                ("/too-short", _) => response.body(BoxBody::new(MisstatedBody { content: Some("abc"), stated: 5 })),
                ("/too-long", _) => response.body(BoxBody::new(MisstatedBody { content: Some("abc"), stated: 2 })),
                ("/long", _) => response.body("x".repeat(100_000)),
                ("/huge", _) => response.body("x".repeat(HUGE)),
                ("/never", _) => std::future::pending().await,
                ("/later", _) => {
                    actix_web::rt::task::yield_now().await;
                    response.body("later")
                }
                ("/script", Some(script)) => response.body(BoxBody::new(script)),
                _ => response.body(format!("at {path}")),
            };
            let response = response.map_body(|_, body| Guarded::new(body.into(), None));
            Ok::<_, actix_web::Error>(ServiceResponse::new(unasked(), response))
        }
    });
    let edge = Edge::new(Settings::from_sources(&SERVICE, [""; 0], []).unwrap(), &SERVICE);
    let reading = edge.clone();
    let resource = Resource::default()
        .subscribe(|parts| match parts.query {
            "never" => Box::pin(std::future::pending()),
            query => response_ready(Ok(HttpResponse::Ok().body(format!("{} {query} 0", parts.method)))),
        })
        .post(move |parts, body| {
            let (body, edge, query) = (BodyReader::new(parts.headers, body), reading.clone(), parts.query.to_owned());
            response(async move {
                let body = body.read(&edge, &mut edge.receiving.share()).await?;
                Ok(HttpResponse::Ok().body(format!("POST {query} {}", body.len())))
            })
        });
    let routes = Routes::default().resource("/route", resource).shortcut("/shortcut", "/shortcut", |parts, body| {
        // What a shortcut does not take is answered by the application.
        let RequestBody::Complete(body) = body else { return None };
        (parts.query != "left").then(|| {
            let text = format!("{} {} {}", parts.method, parts.query, body.len());
            response_ready(Ok(HttpResponse::Ok().body(text)))
        })
    });
    let worker = Rc::new(WorkerContext::new(application, routes, edge.clone(), times, true));
    let served = actix_web::rt::spawn(worker.serve(socket, peer));
    Stage { client, said, served, alive, edge }
}

/// A response goes along with its request; nothing here looks at that.
fn unasked() -> HttpRequest {
    TestRequest::default().to_http_request()
}

impl Stage {
    async fn send(&mut self, text: &str) -> &mut Self {
        self.client.write_all(text.as_bytes()).await.unwrap();
        self
    }

    async fn read_to(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        timeout(PATIENCE, async {
            while !String::from_utf8_lossy(&text).contains(end) {
                assert_ne!(self.client.read_buf(&mut text).await.unwrap(), 0, "{}", String::from_utf8_lossy(&text));
            }
        })
        .await
        .unwrap_or_else(|_| panic!("no {end} in {}", String::from_utf8_lossy(&text)));
        String::from_utf8(text).unwrap()
    }

    async fn read_to_end(&mut self) -> String {
        let mut text = Vec::new();
        timeout(PATIENCE, self.client.read_to_end(&mut text)).await.unwrap().unwrap();
        String::from_utf8(text).unwrap()
    }

    async fn ended(self) {
        let Self { client, served, alive, .. } = self;
        timeout(PATIENCE, served).await.unwrap().unwrap();
        assert_eq!(Rc::strong_count(&alive), 1, "the body is gone");
        drop(client);
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const SCRIPT: &str = "GET /script HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[actix_web::test]
async fn one_request_after_the_other_and_several_at_once() {
    let mut stage = stage([]).await;
    for _ in 0..2 {
        let answer = stage.send(GET).await.read_to("at /").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("content-length: 4\r\n"), "{answer}");
    }
    let (first, second) = GET.split_at(9);
    stage.send(&format!("{GET}{GET}{first}")).await.read_to("at /").await;
    stage.send(&second.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
    let rest = stage.read_to_end().await;
    assert!(rest.ends_with("at /") && rest.contains("connection: close"), "{rest}");
    drop(stage.client.shutdown().await);
    stage.ended().await;
}

#[actix_web::test]
async fn chunks_come_behind_the_head_and_the_last_one_says_so() {
    let mut stage = stage([Say::Chunk("hello"), Say::Chunk(""), Say::Chunk("0123456789abcdef"), Say::End]).await;
    let text = stage.send(SCRIPT).await.read_to_end().await;
    assert!(text.ends_with("\r\n\r\n5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"), "{text}");
}

#[actix_web::test]
async fn a_failing_response_body_is_visibly_truncated() {
    let mut stage = stage([Say::Chunk("a"), Say::Fail]).await;
    let text = stage.send(SCRIPT).await.read_to_end().await;
    assert!(text.ends_with("\r\n\r\n1\r\na\r\n"), "{text}");
}

#[actix_web::test]
async fn a_head_without_a_body_yet_has_been_sent() {
    let mut stage = stage([]).await;
    stage.send(SCRIPT).await.read_to("\r\n\r\n").await;
    assert_eq!(stage.said.get(), 0);
}

#[actix_web::test]
async fn a_client_that_disconnects_ends_its_response() {
    let mut stage = stage([]).await;
    stage.send(SCRIPT).await.read_to("\r\n\r\n").await;
    stage.client.shutdown().await.unwrap();
    stage.ended().await;
}

#[actix_web::test]
async fn a_client_that_keeps_sending_after_the_end_is_disconnected() {
    let mut stage = stage([]).await;
    stage.send(SCRIPT).await.read_to("\r\n\r\n").await;
    let talk = async { while stage.client.write_all(&[b'x'; 4096]).await.is_ok() {} };
    timeout(PATIENCE, talk).await.unwrap();
    stage.ended().await;
}

#[actix_web::test]
async fn a_client_that_does_not_read_is_not_written_to_without_end() {
    let mut stage = stage([Say::Flood]).await;
    stage.send(SCRIPT).await;
    let mut last = usize::MAX;
    // Until a while goes by in which the kernel takes nothing.
    while last != stage.said.get() || last == 0 {
        last = stage.said.get();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(last < 200, "{last} chunks of 64 KiB");
    drop(std::mem::replace(&mut stage.client, tokio::net::TcpStream::from_std(dead()).unwrap()));
    stage.ended().await;
}

/// A connection to nobody.
fn dead() -> std::net::TcpStream {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

#[actix_web::test]
async fn an_upgraded_connection_carries_what_it_likes() {
    let mut stage = stage([]).await;
    let upgrade = "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let head = stage.send(&format!("{upgrade}early,")).await.read_to("early,").await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n") && !head.contains("chunked"), "{head}");
    stage.send("late").await.read_to("late").await;
    // What came before the end is answered before it.
    stage.send("last").await.client.shutdown().await.unwrap();
    assert_eq!(stage.read_to_end().await, "last");
    stage.ended().await;
}

#[actix_web::test]
async fn an_invalid_request_is_rejected_and_ends_the_connection() {
    for (text, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400 Bad Request"),
        ("\0\u{1}\r\n\r\n".to_owned(), "400 Bad Request"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "a".repeat(MAX_HEAD)), "431 Request Header Fields Too Large"),
        ("GET / HTTP/1.1\r\nHost:".to_owned(), "408 Request Timeout"),
    ] {
        let mut stage = stage([]).await;
        let _ = stage.client.write_all(text.as_bytes()).await;
        let answer = stage.read_to_end().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.contains("connection: close"),
            "{answer}"
        );
        assert_eq!(stage.edge.metrics.refusals.slow_head.get(), u64::from(status.starts_with("408")));
    }
}

#[actix_web::test]
async fn a_connection_without_requests_is_closed_without_error() {
    let mut stage = stage([]).await;
    assert_eq!(stage.read_to_end().await, "");
    assert_eq!(stage.edge.metrics.refusals.slow_head.get(), 0);
}

#[actix_web::test]
async fn a_request_is_answered_by_its_route_and_any_other_by_the_application() {
    let mut stage = stage([]).await;
    let get = "GET /route?a=b HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost:1\r\n\r\n";
    let post = "POST /route HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let answer = stage.send(get).await.read_to("GET a=b 0").await;
    // What every answer gets.
    for field in ["access-control-allow-origin: http://localhost:1", "vary: Origin", "x-content-type-options: nosniff"]
    {
        assert!(answer.contains(field), "{answer}");
    }
    assert_eq!(stage.edge.drain.in_flight(), 0);
    // In pieces before the body, in a row, and among others.
    let (head, body) = post.split_at(post.len() - "hello".len());
    for byte in &head.as_bytes()[..head.len() - 1] {
        stage.client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    stage.send(&format!("\n{body}")).await.read_to("POST  5").await;
    let last = get.replace("a=b", "last");
    let all = stage.send(&format!("{get}{GET}{post}{last}")).await.read_to("GET last 0").await;
    let places: Vec<_> =
        ["GET a=b 0", "at /", "POST  5", "GET last 0"].iter().map(|answer| all.find(answer).unwrap()).collect();
    assert!(places.is_sorted(), "{all}");
    // Where the path alone does not decide.
    let left = "GET /shortcut?left HTTP/1.1\r\nHost: x\r\n\r\n";
    stage.send(left).await.read_to("at /shortcut").await;
    stage.send(&left.replace("left", "right")).await.read_to("GET right 0").await;
    let chunked = "HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    stage.send(&format!("POST /shortcut {chunked}")).await.read_to("at /shortcut").await;
    stage.send(&format!("POST /route?c {chunked}")).await.read_to("POST c 5").await;
    let expecting = "POST /route?e HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    stage.send(expecting).await.read_to("100 Continue\r\n\r\n").await;
    stage.send("hi").await.read_to("POST e 2").await;
    assert_eq!(stage.edge.drain.in_flight(), 0);
    let last = "GET /route?last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(stage.send(last).await.read_to_end().await.ends_with("GET last 0"));
}

#[actix_web::test]
async fn a_head_may_come_in_pieces_and_its_lines_end_with_a_line_feed_alone() {
    for end in ["\r\n", "\n"] {
        let mut stage = stage([]).await;
        let text = ["GET / HTTP/1.1", "Host: x", "A: b", "", ""].join(end);
        for byte in text.as_bytes() {
            stage.client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        stage.read_to("at /").await;
    }
}

#[actix_web::test]
async fn a_long_answer_comes_whole() {
    let mut stage = stage([]).await;
    let long = "GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let text = stage.send(long).await.read_to_end().await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 100000"), "{head}");
    assert_eq!((body.len(), body.trim_matches('x')), (100_000, ""));
}

/// Case 9.9: a stray CRLF or LF after a body is passed over: it begins no head, and changes no time.
#[actix_web::test]
async fn an_extra_line_end_is_not_a_request() {
    let mut stage = stage([]).await;
    let post = "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi\n\r\n";
    stage.send(post).await.read_to("\r\n\r\n2").await;
    stage.send(&format!("\r\n{GET}")).await.read_to("at /").await;
    stage.send(&format!("{post}{GET}")).await.read_to("at /").await;
    assert_eq!(stage.read_to_end().await, "", "it ends as one that asks for nothing");
    assert_eq!(stage.edge.metrics.refusals.slow_head.get(), 0);
}
