//! Parked streams over real sockets.

mod crowds;
mod endings;
mod failures;
mod model;
mod polls;
mod tunnel;

use std::{sync::Arc, time::Duration};

use actix_service::fn_service;
use actix_web::{HttpResponse, dev::ServiceResponse, test::TestRequest};
use bytes::Bytes;
use shared::{
    live::{
        log::{Limits as LogLimits, Log},
        reader::Reader,
    },
    pure::{ChannelName, Cursor, Draft, Gap, Message, Payload, Pieces, Retention, Since, Wire, stream::StreamEnd},
};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

use super::{
    super::{ConnectionTimeouts, WorkerContext},
    *,
};
use crate::{
    Edge, Settings,
    connections::{self, End},
    guarded::Guarded,
    limits::{Limits, Slot},
    metrics::Transport,
    response::ResponseBody,
    routes::{RequestBody, Resource, Routes, response},
    settings::ServiceDefaults,
    stream::{AnyForm, Form, Stream, StreamSchedule},
};

const START: u64 = 1_763_800_000_000;
const SERVICE: ServiceDefaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
const TIMES: ConnectionTimeouts = ConnectionTimeouts {
    head: Duration::from_secs(10),
    keep_alive: Duration::from_secs(10),
    write: Duration::from_secs(10),
    brief: Duration::ZERO,
};
/// Long enough for the slowest machine; nothing waits so long when it works.
const PATIENCE: Duration = Duration::from_secs(20);

/// One line for each thing that a stream says, beginning with a letter for what it is; two kinds of it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Lines {
    is_other: bool,
}

impl Form for Lines {
    fn opening(&self, place: Option<Cursor>) -> Bytes {
        format!("O{}\n", place.unwrap_or_default()).into()
    }

    fn with_message<R>(&self, message: &Message, with: impl FnOnce(&Bytes) -> R) -> R {
        assert_ne!(message.draft.payload.plain_json(), "\"panic\"", "as the test wants");
        let line = |message: &Message| format!("{}\n", message.draft.payload.plain_json()).into();
        if self.is_other {
            with(&format!("other {}\n", message.id).into())
        } else {
            message.with_wire(Wire::Line, line, with)
        }
    }

    fn pieces(&self, message: &Arc<Message>) -> Pieces {
        message.data_pieces(Vec::new(), b"\n".to_vec())
    }

    fn gap(&self, gap: &Gap) -> Bytes {
        format!("G{} {}\n", gap.requested, gap.resumed).into()
    }

    fn end(&self, end: &StreamEnd, cursor: Cursor) -> Bytes {
        format!("E{} {cursor}\n", end.channel).into()
    }

    fn keep_alive(&self) -> Bytes {
        Bytes::from_static(b"K\n")
    }

    fn closing(&self) -> Bytes {
        Bytes::from_static(b"C\n")
    }
}

/// A worker of which every `GET /stream` is a stream, and every `GET /tunnel` a tunnel.
struct Stage {
    log: Arc<Log>,
    edge: Edge,
    cohorts: Rc<Cohorts>,
    listener: TcpListener,
    serve: Box<dyn Fn((TcpStream, std::net::SocketAddr)) -> rt::task::JoinHandle<()>>,
    ending: Rc<polls::Ending>,
}

/// A client of [`Stage`].
struct Client {
    socket: TcpStream,
    text: Vec<u8>,
    /// The connection is a tunnel, or its body has no chunks.
    is_plain: bool,
    /// The future of its connection, until that is parked.
    served: rt::task::JoinHandle<()>,
}

fn channel(name: &str) -> ChannelName {
    name.parse().unwrap()
}

impl Stage {
    fn log(retention: Retention) -> Arc<Log> {
        let limits = LogLimits { channel: retention, ..LogLimits::default() };
        Arc::new(Log::new(limits, Cursor::new(START, 0)))
    }

    async fn new(retention: Retention) -> Self {
        Self::of(Self::log(retention), TIMES).await
    }

    async fn of(log: Arc<Log>, times: ConnectionTimeouts) -> Self {
        let edge = Edge::new(Settings::from_sources(&SERVICE, [""; 0], []).unwrap(), &SERVICE);
        let (of, limits) = (log.clone(), edge.limits.clone());
        let open = Rc::new(move |query: &str| open(&of, &limits, query));
        let of = open.clone();
        let streams = Resource::default().subscribe(move |parts| {
            let (reader, form, slot, times) = of(parts.query);
            response(async move { Ok(HttpResponse::Ok().finish().set_body(Stream::new(reader, form, slot, times))) })
        });
        let tunnels = Resource::default().upgrade(move |parts, body| {
            let (reader, form, slot, times) = open(parts.query);
            let RequestBody::Stream(incoming) = body else { panic!("no upgrade") };
            let body = ResponseBody::live(Box::new(tunnel::Tunnel::new(reader, form, slot, times, incoming)));
            response(async move { Ok(HttpResponse::SwitchingProtocols().finish().set_body(body)) })
        });
        let application = fn_service(async |_| {
            let response = HttpResponse::NotFound().finish().map_body(|_, body| Guarded::new(body.into(), None));
            Ok::<_, actix_web::Error>(ServiceResponse::new(TestRequest::default().to_http_request(), response))
        });
        let ending = Rc::<polls::Ending>::default();
        let (of, limits, ended) = (log.clone(), edge.limits.clone(), ending.clone());
        let polls = Resource::default().subscribe(move |parts| polls::respond(&of, &limits, parts, &ended));
        let routes =
            Routes::default().resource("/stream", streams).resource("/tunnel", tunnels).resource("/poll", polls);
        let worker = Rc::new(WorkerContext::new(application, routes, edge.clone(), times, true));
        let cohorts = worker.cohorts.clone();
        let serve = Box::new(move |(socket, peer)| rt::spawn(worker.clone().serve(socket, peer)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        crate::server::prepare(&listener);
        Self { log, edge, ending, cohorts, listener, serve }
    }

    /// A client whose stream is not necessarily open yet.
    async fn connect(&self, query: &str, version: &str, receive_buffer: Option<usize>) -> Client {
        let request = format!("GET /stream?{query} HTTP/{version}\r\nHost: x\r\n\r\n");
        let client = self.request(&request, receive_buffer).await;
        Client { is_plain: version == "1.0", ..client }
    }

    async fn request(&self, request: &str, receive_buffer: Option<usize>) -> Client {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(u32::try_from(bytes).unwrap()).unwrap();
        }
        let mut socket = socket.connect(self.listener.local_addr().unwrap()).await.unwrap();
        let served = (self.serve)(self.listener.accept().await.unwrap());
        socket.write_all(request.as_bytes()).await.unwrap();
        Client { socket, text: Vec::new(), is_plain: false, served }
    }

    /// A client whose stream is open.
    async fn open(&self, query: &str) -> Client {
        let mut client = self.connect(query, "1.1", None).await;
        client.read_to("O").await;
        client
    }

    async fn open_all(&self, query: &str, count: usize) -> Vec<Client> {
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(self.open(query).await);
        }
        clients
    }

    fn publish(&self, name: &str, texts: &[&str]) -> Vec<Cursor> {
        let draft = |text: &&str| Draft::new(channel(name), Payload::from_text(text));
        self.log.append(texts.iter().map(draft).collect(), START + 1)
    }

    /// The numbers of members and of cohorts.
    fn parked(&self) -> (usize, usize) {
        self.cohorts.table.borrow().counts()
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain for {what}: {:?}", self.parked()));
    }
}

/// What a request opens. Its query: channels, `end` and `beat` in milliseconds, `other`.
fn open(log: &Arc<Log>, limits: &Limits, query: &str) -> (Reader, Lines, Slot, StreamSchedule) {
    let (mut channels, mut end, mut beat, mut is_other) = (Vec::new(), None, 3_600_000, false);
    for part in query.split('&') {
        match part.split_once('=') {
            Some(("end", ms)) => end = Some(Duration::from_millis(ms.parse().unwrap())),
            Some(("beat", ms)) => beat = ms.parse().unwrap(),
            Some(("other", _)) => is_other = true,
            _ => channels.push(channel(part)),
        }
    }
    let reader = Reader::open(log, &channels, Since::Now);
    let mut slot = limits.connect([127, 0, 0, 1].into(), Transport::Stream).unwrap();
    let client = connections::Client { owner: None, address: [127, 0, 0, 1].into() };
    slot.register(client, &channels);
    let end = end.map(|end| Instant::now() + end);
    (reader, Lines { is_other }, slot, StreamSchedule { keep_alive: Duration::from_millis(beat), end })
}

impl Client {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// The body so far, without its framing; and whether that has ended.
    fn body(&self) -> (String, bool) {
        let text = self.text();
        let Some((_, mut rest)) = text.split_once("\r\n\r\n") else { return Default::default() };
        if self.is_plain {
            return (rest.to_owned(), false);
        }
        let mut body = String::new();
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size =
                usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("{size:?} is no size, after {body:?}"));
            if after.len() < size + 2 {
                break;
            }
            if size == 0 {
                assert_eq!(after, "\r\n");
                return (body, true);
            }
            body.push_str(&after[..size]);
            rest = after[size..].strip_prefix("\r\n").unwrap();
        }
        (body, false)
    }

    /// The number of chunks so far.
    fn chunks(&self) -> usize {
        self.text().split_once("\r\n\r\n").map_or(0, |(_, body)| body.matches("\n\r\n").count())
    }

    async fn read_to(&mut self, end: &str) -> String {
        self.read_until(|body| body.contains(end)).await
    }

    async fn read_until(&mut self, is_enough: impl Fn(&str) -> bool) -> String {
        let wait = async {
            while !is_enough(&self.body().0) {
                assert_ne!(self.socket.read_buf(&mut self.text).await.unwrap(), 0, "{}", self.text());
            }
        };
        if timeout(PATIENCE, wait).await.is_err() {
            panic!("not enough: {}", self.text());
        }
        self.body().0
    }

    async fn read_to_end(&mut self) -> String {
        timeout(PATIENCE, self.socket.read_to_end(&mut self.text)).await.unwrap().unwrap();
        self.body().0
    }
}

#[actix_web::test]
async fn streams_of_the_same_channels_and_form_share_a_cohort() {
    let stage = Stage::new(Retention::default()).await;
    let mut clients = stage.open_all("a", 3).await;
    let mut others = [stage.open("a&b").await, stage.open("b").await, stage.open("a&other=1").await];
    stage.until("all to be parked", |stage| stage.parked() == (6, 4)).await;
    // Their futures have ended, but for the one that serves all of them.
    stage.until("the futures to end", |_| clients[1..].iter().all(|client| client.served.is_finished())).await;
    assert!(!clients[0].served.is_finished() && others.iter().all(|other| other.served.is_finished()));
    let ids = stage.publish("a", &["one"]);
    stage.publish("b", &["two", "three"]);
    for client in &mut clients {
        assert!(client.read_to("one").await.ends_with("\n\"one\"\n"));
    }
    assert!(others[0].read_to("three").await.ends_with("\"one\"\n\"two\"\n\"three\"\n"));
    assert!(others[1].read_to("three").await.ends_with("\"two\"\n\"three\"\n"));
    assert!(others[2].read_to("other").await.ends_with(&format!("\nother {}\n", ids[0])));
    let figures = stage.edge.metrics.transport(Transport::Stream);
    assert_eq!((figures.deliveries.get(), figures.connections.get()), (3 + 3 + 2 + 1, 6));
    assert_eq!((stage.edge.drain.in_flight(), stage.log.counts().subscriptions), (6, 7));
}

#[actix_web::test]
async fn a_parked_client_that_leaves_is_noticed() {
    let stage = Stage::new(Retention::default()).await;
    let mut clients = stage.open_all("a", 5).await;
    stage.until("all to be parked", |stage| stage.parked() == (5, 1)).await;
    let host = clients.remove(0);
    // One closes, one closes its sending side, one resets, one does not stop sending.
    drop(clients.pop());
    let mut half = clients.pop().unwrap();
    half.socket.shutdown().await.unwrap();
    assert!(half.read_to_end().await.starts_with('O'));
    let reset = clients.pop().unwrap();
    SockRef::from(&reset.socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(reset);
    let mut talking = clients.pop().unwrap();
    let talk = async { while talking.socket.write_all(&[b'x'; 4096]).await.is_ok() {} };
    timeout(PATIENCE, talk).await.unwrap();
    stage.until("the four to be gone", |stage| stage.parked() == (1, 1)).await;
    let gone =
        |stage: &Stage| (stage.edge.limits.connections(), stage.edge.drain.in_flight(), stage.edge.sockets.figures().0);
    assert_eq!(gone(&stage), (1, 1, 1));
    drop(host.socket);
    timeout(PATIENCE, host.served).await.unwrap().unwrap();
    assert_eq!((gone(&stage), stage.parked()), ((0, 0, 0), (0, 0)));
    assert_eq!((stage.log.counts().subscriptions, stage.log.counts().channels), (0, 0));
    // The next one is served by another host.
    let mut next = stage.open("a").await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    stage.publish("a", &["one"]);
    next.read_to("one").await;
}

#[actix_web::test]
async fn a_slow_member_leaves_and_is_parked_again() {
    let stage = Stage::new(Retention::default()).await;
    let mut quick = stage.open("a").await;
    let mut slow = stage.connect("a", "1.1", Some(4 * 1024)).await;
    stage.until("both to be parked", |stage| stage.parked() == (2, 1)).await;
    let text = "x".repeat(50_000);
    let mut sent = 0;
    // Until more was sent to it than any buffer takes.
    while stage.parked() == (2, 1) {
        sent += 1;
        stage.publish("a", &[&format!("{sent} {text}")]);
        quick.read_to(&format!("\"{sent} ")).await;
        assert!(sent < 1_000, "it never left");
    }
    sent += 1;
    stage.publish("a", &[&format!("{sent} last")]);
    quick.read_to(" last").await;
    assert_eq!(stage.log.stats(START + 1).subscriptions, 2, "it is still a reader");
    let body = slow.read_to(" last").await;
    let numbers: Vec<usize> =
        body.lines().skip(1).map(|line| line[1..].split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (1..=sent).collect::<Vec<_>>());
    stage.until("it to be parked again", |stage| stage.parked() == (2, 1)).await;
    stage.publish("a", &["again"]);
    slow.read_to("again").await;
}

/// A publisher waits for few writes of the previous message, and members that were not sent it get all messages in one write.
#[actix_web::test]
async fn messages_one_after_the_other_are_delivered_together() {
    const COUNT: usize = 200;
    let stage = Stage::new(Retention::default()).await;
    let mut clients = stage.open_all("a", COUNT).await;
    stage.until("all to be parked", |stage| stage.parked() == (COUNT, 1)).await;
    let delivered = || usize::try_from(stage.edge.metrics.transport(Transport::Stream).deliveries.get()).unwrap();
    tokio::time::pause();
    stage.publish("a", &["1"]);
    while delivered() == 0 {
        yield_now().await;
    }
    assert_eq!(delivered(), 16);
    for text in ["2", "3", "4", "5"] {
        stage.publish("a", &[text]);
        for _turn in 0..3 {
            yield_now().await;
            assert_eq!(delivered(), 16, "nothing is sent while more is expected");
        }
    }
    tokio::time::resume();
    let (mut apart, mut together) = (0, 0);
    for client in &mut clients {
        let body = client.read_to("5").await;
        assert!(body.ends_with("\"1\"\n\"2\"\n\"3\"\n\"4\"\n\"5\"\n"), "{body}");
        *(if client.chunks() == 3 { &mut apart } else { &mut together }) += 1;
    }
    // What follows begins where that ended: with those that have waited the longest.
    assert_eq!((apart, together, delivered()), (16, COUNT - 16, 5 * COUNT));
}

#[actix_web::test]
async fn a_parked_stream_sends_keep_alives_and_ends_at_its_time() {
    let stage = Stage::new(Retention::default()).await;
    let mut beating = stage.open("a&beat=30").await;
    let mut ending = stage.open("a&end=400").await;
    stage.until("both to be parked", |stage| stage.parked() == (2, 2)).await;
    beating.read_to("K\nK\n").await;
    stage.publish("a", &["one"]);
    beating.read_to("\"one\"\nK\n").await;
    let body = ending.read_to_end().await;
    assert!(body.ends_with("\"one\"\nC\n") && ending.body().1, "{body}");
    assert_eq!(stage.parked(), (1, 1));
    beating.read_to("\"one\"\nK\nK\n").await;
}

#[actix_web::test]
async fn a_publisher_that_never_stops_keeps_nobody_waiting() {
    let stage = Stage::new(Retention::default()).await;
    let mut busy = stage.open_all("busy", 200).await;
    let mut idle = stage.open("idle&beat=30").await;
    stage.until("all to be parked", |stage| stage.parked() == (201, 2)).await;
    let publishing = async {
        loop {
            stage.publish("busy", &["more"]);
            yield_now().await;
        }
    };
    let reading = async {
        for client in &mut busy {
            client.read_to("more").await;
        }
        idle.read_to("K\nK\n").await;
    };
    tokio::select! {
        () = publishing => {}
        () = reading => {}
    }
    assert_eq!(stage.parked(), (201, 2));
}

#[actix_web::test]
async fn a_gap_is_sent_to_each_member_with_its_own_cursor() {
    let stage = Stage::new(Retention { count: Some(2), ..Retention::default() }).await;
    let mut early = stage.open("a").await;
    let before = stage.publish("b", &["elsewhere"])[0];
    let mut late = stage.open("a").await;
    stage.until("both to be parked", |stage| stage.parked() == (2, 1)).await;
    let ids = stage.publish("a", &["1", "2", "3", "4", "5"]);
    for (client, requested) in [(&mut early, Cursor::new(START, 0)), (&mut late, before)] {
        let body = client.read_to("\"5\"").await;
        assert_eq!(body, format!("O{requested}\nG{requested} {}\n\"4\"\n\"5\"\n", ids[2]));
    }
    stage.until("both to be parked again", |stage| stage.parked() == (2, 1)).await;
    stage.publish("a", &["6"]);
    early.read_to("\"5\"\n\"6\"\n").await;
    assert_eq!(stage.edge.metrics.transport(Transport::Stream).gaps.get(), 2);
}
