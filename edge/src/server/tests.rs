mod shutdown;

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Instant,
};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Bytes},
};
use futures_util::{StreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
};

use super::*;
use crate::{ApiError, Settings, body::BodyReader, routes::RequestBody, settings::ServiceDefaults};

const SERVICE: ServiceDefaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
/// Long enough for the slowest machine; nothing waits so long when it works.
const PATIENCE: Duration = Duration::from_secs(20);

const QUICK: ServerTimeouts = ServerTimeouts {
    keep_alive: Duration::from_millis(800),
    write: Duration::from_secs(5),
    settle: Duration::from_millis(50),
    quiet: Duration::from_secs(1),
    shutdown: Duration::from_secs(3),
    hard_end: Duration::from_secs(5),
};

/// What the routes of these tests wait for.
#[derive(Clone, Default)]
struct Gate(Arc<(Notify, AtomicBool)>);

impl Gate {
    fn open(&self) {
        self.0.1.store(true, SeqCst);
        self.0.0.notify_waiters();
    }

    async fn passed(&self) {
        loop {
            let notified = self.0.0.notified();
            let mut notified = std::pin::pin!(notified);
            notified.as_mut().enable();
            if self.0.1.load(SeqCst) {
                return;
            }
            notified.await;
        }
    }
}

/// `/slow` answers when the gate opens; `/busy` keeps its worker busy until a moment after that; `/stream` writes a line and ends when the gate opens; `/for-ever` never does;
/// `/body` tells the length of the body it read.
fn routes(gate: &Gate) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static {
    let gate = web::Data::new(gate.clone());
    |config| {
        config
            .app_data(gate)
            .route(
                "/slow",
                web::get().to(async |gate: web::Data<Gate>| {
                    gate.passed().await;
                    HttpResponse::Ok().body("at last")
                }),
            )
            .route(
                "/stream",
                web::get().to(async |gate: web::Data<Gate>| {
                    let first = stream::iter([Ok::<_, ApiError>(Bytes::from_static(b"line\n"))]);
                    let end = stream::once(async move {
                        gate.passed().await;
                        Ok(Bytes::from_static(b"end\n"))
                    });
                    HttpResponse::Ok().streaming(first.chain(end))
                }),
            )
            .route(
                "/busy",
                web::get().to(async |gate: web::Data<Gate>| {
                    while !gate.0.1.load(SeqCst) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    std::thread::sleep(Duration::from_millis(200));
                    HttpResponse::Ok().body("free")
                }),
            )
            .route(
                "/for-ever",
                web::get().to(async || HttpResponse::Ok().streaming(stream::pending::<Result<Bytes, ApiError>>())),
            )
            .route(
                "/body",
                web::post().to(async |edge: web::Data<Edge>, request: HttpRequest, payload: web::Payload| {
                    let body = BodyReader::new(request.headers(), RequestBody::Stream(Box::pin(payload)));
                    let body = body.read(&edge, &mut edge.receiving.share()).await?;
                    Ok::<_, ApiError>(HttpResponse::Ok().body(body.len().to_string()))
                }),
            );
    }
}

fn serve(args: &[&str]) -> (Running, Gate) {
    serve_for(args, QUICK)
}

fn serve_for(args: &[&str], times: ServerTimeouts) -> (Running, Gate) {
    serve_with(&[&["--header-timeout", "1s", "--body-timeout", "300ms"], args].concat(), times)
}

fn serve_with(args: &[&str], times: ServerTimeouts) -> (Running, Gate) {
    let edge = Edge::new(
        Settings::from_sources(&SERVICE, args.iter().copied(), [("TRIDENT_WORKERS", "1")]).unwrap(),
        &SERVICE,
    );
    let gate = Gate::default();
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (start_with(listener, &edge, Routes::default, routes(&gate), times).unwrap(), gate)
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    soon(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

struct Client(TcpStream);

impl Client {
    async fn new(running: &Running) -> Self {
        Self(TcpStream::connect(running.address()).await.unwrap())
    }

    async fn send(&mut self, text: &str) -> &mut Self {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self
    }

    /// Whatever comes until `end` has come.
    async fn read_to(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        soon(end, async {
            while !String::from_utf8_lossy(&text).contains(end) {
                assert_ne!(self.0.read_buf(&mut text).await.unwrap(), 0, "{}", String::from_utf8_lossy(&text));
            }
        })
        .await;
        String::from_utf8(text).unwrap()
    }

    /// Whatever comes until the connection ends, in whichever way it does.
    async fn read_to_end(&mut self) -> String {
        let mut text = Vec::new();
        let _ = soon("the end of the connection", self.0.read_to_end(&mut text)).await;
        String::from_utf8(text).unwrap()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

#[actix_web::test]
async fn a_client_that_leaves_is_noticed_at_once() {
    let (running, _) = serve(&[]);
    let edge = running.edge().clone();
    for path in ["/for-ever", "/slow"] {
        let mut client = Client::new(&running).await;
        client.send(&get(path)).await;
        until("the request", || edge.drain.in_flight() == 1).await;
        drop(client);
        until("its end", || edge.drain.in_flight() == 0).await;
    }
    // Only the sending half is closed: to us that is a client that left, too.
    let mut client = Client::new(&running).await;
    client.send(&get("/for-ever")).await.0.shutdown().await.unwrap();
    until("its end", || edge.metrics.in_flight.get() == 0).await;
    running.kill().await;
}

#[actix_web::test]
async fn a_missing_first_request_head_times_out() {
    let (running, _) = serve(&[]);
    for part in ["", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut client = Client::new(&running).await;
        let begun = Instant::now();
        let answer = client.send(part).await.read_to_end().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    // Byte by byte is no better: the time is for the whole head.
    let mut client = Client::new(&running).await;
    let drip = async {
        for byte in "GET / HTTP/1.1\r\nA: b\r\n".repeat(100).bytes() {
            if client.0.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("still taken");
    };
    soon("the end", drip).await;
    running.kill().await;
}

#[actix_web::test]
async fn a_missing_later_request_head_times_out() {
    let (running, gate) = serve(&[]);
    let edge = running.edge().clone();
    let mut slow = Client::new(&running).await;
    slow.send(&get("/healthz")).await.read_to("ok\"}").await;
    slow.send("GET / HTTP/1.1\r\nHost: ").await;
    // One that waits for its answer all the while is no such client.
    let mut waiting = Client::new(&running).await;
    waiting.send(&get("/healthz")).await.read_to("ok\"}").await;
    waiting.send(&get("/slow")).await;
    slow.read_to_end().await;
    assert_eq!(edge.metrics.refusals.slow_head.get(), 1);
    gate.open();
    waiting.read_to("at last").await;
    running.kill().await;
}

/// Neither cut while it lasts, nor left open after it.
#[actix_web::test]
async fn a_stream_lasts_and_its_connection_ends_with_it() {
    let (running, gate) = serve(&[]);
    let edge = running.edge().clone();
    let mut client = Client::new(&running).await;
    let head = client.send(&get("/stream")).await.read_to("line\n").await;
    assert!(head.to_lowercase().contains("connection: close"), "{head}");
    // By the time that this one is cut, the stream would have been, too.
    let mut slow = Client::new(&running).await;
    slow.send(&get("/healthz")).await.read_to("ok\"}").await;
    slow.send("GET").await.read_to_end().await;
    assert_eq!((edge.drain.in_flight(), edge.metrics.refusals.slow_head.get()), (1, 1));
    gate.open();
    assert!(client.read_to_end().await.ends_with("0\r\n\r\n"));
    running.kill().await;
}

#[actix_web::test]
async fn a_stream_asked_for_before_the_answer_came_stays_behind_it() {
    let (running, gate) = serve(&[]);
    let mut client = Client::new(&running).await;
    client.send(&format!("{}{}", get("/healthz"), get("/stream"))).await;
    let both = client.read_to("line\n").await;
    assert_eq!(both.matches("HTTP/1.1 200 OK").count(), 2, "{both}");
    gate.open();
    assert!(client.read_to_end().await.ends_with("end\n\r\n0\r\n\r\n"));
    // Asked for once that is there, it has the socket to itself.
    let mut client = Client::new(&running).await;
    client.send(&get("/healthz")).await.read_to("ok\"}").await;
    let head = client.send(&get("/stream")).await.read_to("line\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    running.kill().await;
}

#[actix_web::test]
async fn an_idle_connection_is_closed_without_error() {
    let (running, _) = serve(&[]);
    let mut client = Client::new(&running).await;
    client.send(&get("/healthz")).await.read_to("ok\"}").await;
    assert_eq!(client.read_to_end().await, "");
    assert_eq!(running.edge().metrics.refusals.slow_head.get(), 0);
    running.kill().await;
}

#[actix_web::test]
async fn bodies_have_a_size_and_a_time() {
    let (running, _) = serve(&["--max-body", "10"]);
    let post = |headers: &str, body: &str| format!("POST /body HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}");
    for (request, status, part) in [
        (post("Content-Length: 5", "hello"), "200", "5"),
        (post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"), "200", "5"),
        (post("Content-Length: 11", ""), "413", "too_large"),
        (post("Transfer-Encoding: chunked", "b\r\nhello world\r\n"), "413", "too_large"),
        (post("Content-Length: 5", "hel"), "408", "too_slow"),
        (post("Transfer-Encoding: chunked", "5\r\nhel"), "408", "too_slow"),
        (post("Transfer-Encoding: chunked", "zz\r\n"), "400", "bad_body"),
        (post("Content-Length: 5\r\nContent-Encoding: gzip", "hello"), "415", "unsupported_media_type"),
    ] {
        let mut client = Client::new(&running).await;
        let answer = client.send(&request).await.read_to(part).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}\n{answer}");
    }
    let refusals = &running.edge().metrics.refusals;
    assert_eq!((refusals.body_size.get(), refusals.slow_body.get()), (2, 2));
    running.kill().await;
}

#[actix_web::test]
async fn heads_without_room_are_refused() {
    let (running, _) = serve(&["--receive-total", "64KiB"]);
    let mut others = running.edge().receiving.share();
    others.set(60_000).unwrap();
    let mut long = Client::new(&running).await;
    long.send(&format!("GET /slow HTTP/1.1\r\nX: {}", "x".repeat(40_000))).await;
    assert!(long.read_to_end().await.starts_with("HTTP/1.1 503 "));
    assert_eq!(running.edge().metrics.refusals.receive_total.get(), 1);
    let mut short = Client::new(&running).await;
    assert!(short.send(&get("/nothing")).await.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
    drop(others);
    until("all is given back", || running.edge().receiving.bytes() == 0).await;
}

/// Half a head from each of many sockets took all of the memory that publications of tokens need.
#[actix_web::test]
async fn heads_leave_room_for_requests_with_a_token() {
    let (running, _) = serve_with(&["--receive-total", "256KiB"], QUICK);
    let (receiving, refusals) = (&running.edge().receiving, &running.edge().metrics.refusals);
    let mut clients = Vec::new();
    for n in 0..6 {
        let mut client = Client::new(&running).await;
        client.send(&format!("GET /slow HTTP/1.1\r\nX: {}", "x".repeat(40_000))).await;
        let counted = || refusals.receive_total.get() + u64::from(receiving.bytes() > 40_000);
        until("it is counted or refused", || counted() > n).await;
        clients.push(client);
    }
    assert_eq!(refusals.receive_total.get(), 5);
    assert_eq!(receiving.share().set(128 * 1024), Ok(()));
    drop(clients);
    until("all is given back", || (receiving.bytes(), receiving.anonymous_bytes()) == (0, 0)).await;
}

/// However long something still comes of it.
#[actix_web::test]
async fn a_refused_body_does_not_keep_its_connection() {
    // So long that it is not the silence which ends it.
    let (running, _) = serve_for(&[], ServerTimeouts { keep_alive: Duration::from_secs(60), ..QUICK });
    let [length, chunks] = ["Content-Length: 60000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\nea60\r\nx"];
    for (line, framing, part) in [
        ("POST /body", length, "too_slow"),
        ("POST /body", chunks, "too_slow"),
        ("POST /nowhere", chunks, "not_found"),
        ("GET /healthz", chunks, "ok\"}"),
    ] {
        let mut client = Client::new(&running).await;
        client.send(&format!("{line} HTTP/1.1\r\nHost: x\r\n{framing}")).await.read_to(part).await;
        soon("the end of a body that goes on", async {
            while client.0.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    assert_eq!(running.edge().metrics.refusals.slow_head.get(), 0, "it is counted as a slow body, and once");
    running.kill().await;
}

/// Half-open requests, requests of garbage and heads without end: each is got rid of, and whoever asks properly is
/// answered all the while.
#[actix_web::test]
async fn invalid_input_is_rejected_and_the_service_continues() {
    let (running, _) = serve(&[]);
    let mut rubbish = Vec::new();
    for n in 0..200 {
        let mut client = Client::new(&running).await;
        let text = match n % 4 {
            0 => String::new(),
            1 => "GET / HT".to_owned(),
            2 => "\0\u{1}\u{2}\r\n\r\n".to_owned(),
            _ => format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "a".repeat(140_000)),
        };
        // The server may be done with it before all of it is sent.
        let _ = client.0.write_all(text.as_bytes()).await;
        rubbish.push(client);
    }
    let mut good = Client::new(&running).await;
    good.send(&get("/healthz")).await.read_to("ok\"}").await;
    for client in &mut rubbish {
        let answer = client.read_to_end().await;
        let known = ["", "HTTP/1.1 408", "HTTP/1.1 400", "HTTP/1.1 431"];
        assert!(known.contains(&answer.get(..12).unwrap_or("")), "{answer}");
    }
    Client::new(&running).await.send(&get("/healthz")).await.read_to("ok\"}").await;
    running.kill().await;
}

#[actix_web::test]
async fn an_occupied_port_is_reported() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    assert_eq!(bind(listener.local_addr().unwrap()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

/// Not a test by itself: the process that the tests of signals start.
#[actix_web::test]
#[ignore = "started by the tests of signals"]
async fn child() {
    let (running, gate) = serve(&[]);
    running.edge().drain.on_begin(move || gate.open());
    let address = running.address();
    let mut ended = std::pin::pin!(running.until_signal());
    // The first poll begins to wait for signals: one that came earlier ended the process.
    assert!(futures_util::poll!(&mut ended).is_pending());
    println!("\nlistening {address}");
    ended.await.unwrap();
    println!("\nstopped in order");
}

#[cfg(unix)]
struct Process {
    child: Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

#[cfg(unix)]
impl Process {
    fn start() -> Self {
        use std::io::BufRead as _;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "server::tests::child", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self, start: &str) -> Option<String> {
        self.lines.find_map(|line| line.unwrap().strip_prefix(start).map(ToOwned::to_owned))
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }
}

#[cfg(unix)]
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
#[test]
fn a_signal_stops_in_order() {
    use std::io::{Read as _, Write as _};
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut process = Process::start();
        let address = process.line("listening ").unwrap();
        let mut stream = std::net::TcpStream::connect(address.trim()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(get("/stream").as_bytes()).unwrap();
        let mut begun = [0; 1];
        stream.read_exact(&mut begun).unwrap();
        process.signal(signal);
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("end\n\r\n0\r\n\r\n"), "{rest}");
        assert!(process.line("stopped in order").is_some());
        assert_eq!(process.child.wait().unwrap().code(), Some(0));
    }
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_at_once() {
    use std::io::{Read as _, Write as _};
    let mut process = Process::start();
    let address = process.line("listening ").unwrap();
    let mut stream = std::net::TcpStream::connect(address.trim()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(get("/for-ever").as_bytes()).unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
    // Two signals of one kind may be taken for one; these differ.
    process.signal(rustix::process::Signal::TERM);
    process.signal(rustix::process::Signal::INT);
    let code = process.child.wait().unwrap().code();
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
}
