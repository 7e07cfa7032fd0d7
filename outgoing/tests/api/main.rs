//! Requests to an application on loopback.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

mod frames;
mod server;
mod tls;
mod unprocessed;

use std::time::{Duration, Instant};

use http::StatusCode;
use outgoing::{
    Answer, Call, CallError, CallMetrics, Caller, Gate, GateLimits, MAX_ANSWER_BYTES, Outcome, Outgoing, Post,
    PostError, Signer,
};
use tokio::{runtime::Builder, spawn, task::JoinHandle};

use crate::server::Server;

const LONG: Duration = Duration::from_secs(20);

async fn post(outgoing: &Outgoing, url: &str, within: Duration) -> Result<Answer, PostError> {
    let (to, signer) = (url.parse().unwrap(), Signer::default());
    let deadline = Instant::now() + within;
    outgoing
        .post(Post { to: &to, id: "call_1", body: r#"{"a":1}"#.into(), signer: &signer, deadline, traceparent: None })
        .await
}

fn posting(outgoing: &Outgoing, server: &Server) -> JoinHandle<Result<Answer, PostError>> {
    let (outgoing, url) = (outgoing.clone(), server.url());
    spawn(async move { post(&outgoing, &url, LONG).await })
}

fn caller(url: &str, concurrency: usize) -> (Caller, CallMetrics) {
    let metrics = CallMetrics::default();
    let gate = Gate::new(GateLimits { concurrency, bytes: 1 << 20 });
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
    let signer = Signer::new(vec![secret]);
    (Caller::new(Outgoing::default(), url.parse().unwrap(), signer, gate, metrics.clone()), metrics)
}

async fn call(caller: &Caller, id: &str, within: Duration) -> Result<String, CallError> {
    let deadline = Instant::now() + within;
    call_by(caller, id, deadline, within).await
}

async fn call_by(caller: &Caller, id: &str, deadline: Instant, timeout: Duration) -> Result<String, CallError> {
    let reservation = caller.reserve("event", "ann", 2)?;
    let (client, body, traceparent) = (None, "{}".into(), None);
    let call = Call { kind: "event", id, client, body, reservation, deadline, timeout, traceparent };
    let text = |answer: &Answer| String::from_utf8(answer.body.to_vec()).map_err(|error| error.to_string());
    caller.call(call, text).await
}

fn calling(caller: &Caller, id: &'static str) -> JoinHandle<Result<String, CallError>> {
    let caller = caller.clone();
    spawn(async move { call(&caller, id, LONG).await })
}

#[tokio::test]
async fn requests_are_signed_json_and_share_a_connection() {
    let (mut server, (caller, metrics)) = (Server::start().await, caller("http://127.0.0.1:1/", 4));
    drop(caller);
    let (caller, _) = self::caller(&server.url(), 4);
    for n in 1..=3 {
        let asked = calling(&caller, "call_1");
        let request = server.request().await;
        assert!(request.head.starts_with("post /calls http/1.1\r\n"), "{}", request.head);
        assert_eq!((request.header("content-type"), &*request.body), ("application/json", "{}"));
        assert_eq!(request.header("webhook-id"), "call_1");
        assert!(request.header("webhook-signature").starts_with("v1,"));
        assert!(request.header("user-agent").starts_with("trident/"));
        assert_eq!(request.connection, 1, "request {n}");
        request.answer("200 OK", "", &n.to_string()).await;
        assert_eq!(asked.await.unwrap(), Ok(n.to_string()));
    }
    assert_eq!(metrics.count("event", Outcome::Answered), 0, "of the other caller");
}

/// A connection does not belong to the worker that opened it: that may end, or be busy, while another uses it.
#[tokio::test]
async fn connections_survive_the_runtime_that_asked_for_them() {
    let mut server = Server::start().await;
    let outgoing = Outgoing::default();
    for _ in 0..2 {
        let (outgoing, url) = (outgoing.clone(), server.url());
        let worker = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(post(&outgoing, &url, LONG))
        });
        server.request().await.answer("200 OK", "", "{}").await;
        let joined = tokio::task::spawn_blocking(move || worker.join().unwrap()).await.unwrap();
        assert!(joined.is_ok(), "{joined:?}");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn redirects_are_answers() {
    let (mut server, other) = (Server::start().await, Server::start().await);
    let asked = posting(&Outgoing::default(), &server);
    server.request().await.answer("307 Temporary Redirect", &format!("Location: {}\r\n", other.url()), "").await;
    assert_eq!(asked.await.unwrap().unwrap().status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn answers_have_a_maximum_size() {
    let mut server = Server::start().await;
    let outgoing = Outgoing::default();
    let asked = posting(&outgoing, &server);
    server.request().await.answer("200 OK", "", &"x".repeat(MAX_ANSWER_BYTES)).await;
    assert_eq!(asked.await.unwrap().unwrap().body.len(), MAX_ANSWER_BYTES);
    let asked = posting(&outgoing, &server);
    server.request().await.answer("200 OK", "", &"x".repeat(MAX_ANSWER_BYTES + 1)).await;
    assert_eq!(asked.await.unwrap(), Err(PostError::TooLarge));
    // 100 MB that are announced and never come, and chunks without an end.
    let asked = posting(&outgoing, &server);
    let request = server.request().await;
    request.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await;
    request.write("x".repeat(MAX_ANSWER_BYTES + 1)).await;
    assert_eq!(asked.await.unwrap(), Err(PostError::TooLarge));
    let asked = posting(&outgoing, &server);
    let request = server.request().await;
    request.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    request.write(format!("{:x}\r\n{}\r\n", MAX_ANSWER_BYTES + 1, "x".repeat(MAX_ANSWER_BYTES + 1))).await;
    assert_eq!(asked.await.unwrap(), Err(PostError::TooLarge));
}

#[tokio::test]
async fn failures_say_whether_the_application_may_have_got_the_request() {
    let mut server = Server::start().await;
    let outgoing = Outgoing::default();
    let late = post(&outgoing, &server.url(), Duration::from_millis(50)).await;
    assert_eq!(late, Err(PostError::Deadline));
    server.request().await;
    let asked = posting(&outgoing, &server);
    server.request().await.close().await;
    assert!(matches!(asked.await.unwrap(), Err(PostError::Broken(_))));
    // The body counts, too.
    let to = server.url();
    let slow = spawn(async move { post(&outgoing, &to, Duration::from_millis(500)).await });
    server.request().await.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{").await;
    assert_eq!(slow.await.unwrap(), Err(PostError::Deadline));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = post(&Outgoing::default(), &format!("http://127.0.0.1:{port}/"), LONG).await;
    assert!(matches!(refused, Err(PostError::Unreachable(_))), "{refused:?}");
}

#[tokio::test]
async fn calls_beyond_the_concurrency_wait_in_order() {
    let mut server = Server::start().await;
    let (caller, _) = caller(&server.url(), 2);
    let asked: Vec<_> = ["call_a", "call_b", "call_c"].into_iter().map(|id| calling(&caller, id)).collect();
    let (first, second) = (server.request().await, server.request().await);
    assert_ne!(first.connection, second.connection);
    tokio::task::yield_now().await;
    assert!(!server.has_request(), "two at a time");
    first.answer("200 OK", "", "1").await;
    let third = server.request().await;
    assert_eq!(third.header("webhook-id"), "call_c");
    second.answer("200 OK", "", "1").await;
    third.answer("200 OK", "", "1").await;
    for asked in asked {
        assert_eq!(asked.await.unwrap().as_deref(), Ok("1"));
    }
}

/// A call that is sent shortly before its deadline would be executed, although its client learns that it failed.
#[tokio::test]
async fn a_call_that_waits_for_half_of_its_time_is_not_sent() {
    let mut server = Server::start().await;
    let (caller, metrics) = caller(&server.url(), 1);
    let first = calling(&caller, "call_a");
    let request = server.request().await;
    for _ in 0..2 * outgoing::FAILURES_TO_OPEN {
        assert_eq!(call(&caller, "call_b", Duration::from_millis(20)).await, Err(CallError::Overloaded));
    }
    // Half of its time has passed already. So it does not wait, although its deadline is far away.
    let late = call_by(&caller, "call_c", Instant::now() + LONG, 3 * LONG).await;
    assert_eq!(late, Err(CallError::Overloaded));
    request.answer("200 OK", "", "1").await;
    assert!(first.await.unwrap().is_ok() && !caller.is_open());
    let next = calling(&caller, "call_d");
    let request = server.request().await;
    assert_eq!(request.header("webhook-id"), "call_d", "the others were not sent");
    request.answer("200 OK", "", "1").await;
    assert!(next.await.unwrap().is_ok());
    let count = |outcome| metrics.count("event", outcome);
    assert_eq!((count(Outcome::Answered), count(Outcome::Overloaded)), (2, 11));
}

/// Calls of one kind do not keep those of another from being sent; what is learned about the application applies to both.
#[tokio::test]
async fn callers_with_gates_of_their_own_share_the_breaker() {
    let mut server = Server::start().await;
    let (events, _) = caller(&server.url(), 1);
    let connects = events.with_gate(Gate::new(GateLimits { concurrency: 4, bytes: 1 << 20 }));
    let event = calling(&events, "call_e");
    let held = server.request().await;
    for _ in 0..outgoing::FAILURES_TO_OPEN {
        let connect = calling(&connects, "call_c");
        server.request().await.answer("503 Service Unavailable", "", "").await;
        assert_eq!(connect.await.unwrap(), Err(CallError::Status(StatusCode::SERVICE_UNAVAILABLE)));
    }
    assert!(events.is_open() && connects.is_open());
    held.answer("200 OK", "", "1").await;
    assert!(event.await.unwrap().is_ok());
}

/// The application is not to blame for a call that had hardly any time left.
#[tokio::test]
async fn a_call_that_is_sent_late_does_not_open_the_breaker() {
    let server = Server::start().await;
    let (caller, _) = caller(&server.url(), 4);
    let within = Duration::from_millis(20);
    for _ in 0..2 * outgoing::FAILURES_TO_OPEN {
        let late = call_by(&caller, "call_a", Instant::now() + within, 3 * within).await;
        assert_eq!(late, Err(CallError::Post(PostError::Deadline)));
    }
    assert!(!caller.is_open());
    for _ in 0..outgoing::FAILURES_TO_OPEN {
        assert_eq!(call(&caller, "call_b", within).await, Err(CallError::Post(PostError::Deadline)));
    }
    assert!(caller.is_open());
}

#[tokio::test]
async fn an_application_that_does_not_answer_is_not_asked() {
    let mut server = Server::start().await;
    let (caller, metrics) = caller(&server.url(), 4);
    for _ in 0..outgoing::FAILURES_TO_OPEN {
        let asked = calling(&caller, "call_1");
        server.request().await.answer("503 Service Unavailable", "", "").await;
        assert_eq!(asked.await.unwrap(), Err(CallError::Status(StatusCode::SERVICE_UNAVAILABLE)));
    }
    assert!(caller.is_open());
    assert_eq!(call(&caller, "call_2", LONG).await, Err(CallError::BreakerOpen));
    assert!(!server.has_request());
    // After the pause one is sent as a probe.
    let probe = loop {
        let mut asked = calling(&caller, "call_3");
        tokio::select! {
            request = server.request() => {
                request.answer("200 OK", "", "1").await;
                break asked;
            }
            refused = &mut asked => assert_eq!(refused.unwrap(), Err(CallError::BreakerOpen)),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(probe.await.unwrap().is_ok() && !caller.is_open());
    assert_eq!(metrics.count("event", Outcome::Rejected), 5);
    assert!(metrics.count("event", Outcome::BreakerOpen) > 0);
}

/// A client may be able to provoke an error of the application, and must not cut off others by that.
#[tokio::test]
async fn errors_of_the_application_itself_do_not_open_the_breaker() {
    let mut server = Server::start().await;
    let (caller, _) = caller(&server.url(), 4);
    for status in ["500 Internal Server Error", "404 Not Found", "302 Found"].iter().cycle().take(12) {
        let asked = calling(&caller, "call_1");
        server.request().await.answer(status, "", "").await;
        assert!(matches!(asked.await.unwrap(), Err(CallError::Status(_))));
    }
    assert!(!caller.is_open());
}

#[tokio::test]
async fn a_call_is_repeated_if_the_application_asks_for_it() {
    let mut server = Server::start().await;
    let (caller, metrics) = caller(&server.url(), 4);
    let asked = calling(&caller, "call_1");
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let request = server.request().await;
        assert_eq!(request.header("webhook-id"), "call_1");
        request.answer(status, "Retry-After: 0\r\n", "").await;
    }
    let request = server.request().await;
    assert_eq!(request.header("webhook-id"), "call_1", "a repetition has the same id");
    request.answer("200 OK", "", "done").await;
    assert_eq!(asked.await.unwrap().as_deref(), Ok("done"));
    // Not after the deadline, and not without the header.
    for headers in ["Retry-After: 60\r\n", ""] {
        let asked = calling(&caller, "call_2");
        server.request().await.answer("503 Service Unavailable", headers, "").await;
        assert!(asked.await.unwrap().is_err());
        assert!(!server.has_request());
    }
    assert_eq!(metrics.count("event", Outcome::Answered), 1);
}

/// While a call waits until it may be repeated, another one is sent.
#[tokio::test]
async fn a_call_that_waits_for_its_repetition_keeps_nobody_waiting() {
    let mut server = Server::start().await;
    let (caller, _) = caller(&server.url(), 1);
    let first = calling(&caller, "call_1");
    server.request().await.answer("503 Service Unavailable", "Retry-After: 1\r\n", "").await;
    let second = calling(&caller, "call_2");
    for id in ["call_2", "call_1"] {
        let request = server.request().await;
        assert_eq!(request.header("webhook-id"), id);
        request.answer("200 OK", "", "done").await;
    }
    assert!(second.await.unwrap().is_ok() && first.await.unwrap().is_ok());
}

#[tokio::test]
async fn memory_of_calls_that_wait_is_bounded() {
    let metrics = CallMetrics::default();
    let gate = Gate::new(GateLimits { concurrency: 1, bytes: 100_000 });
    let to = "http://127.0.0.1:9/".parse().unwrap();
    let caller = Caller::new(Outgoing::default(), to, Signer::default(), gate, metrics.clone());
    let first = caller.reserve("event", "ann", 90_000).unwrap();
    assert_eq!(caller.reserve("event", "ann", 20_000).unwrap_err(), CallError::Overloaded);
    assert_eq!(metrics.count("event", Outcome::Overloaded), 1);
    drop(first);
    assert!(caller.reserve("event", "ann", 20_000).is_ok());
}
