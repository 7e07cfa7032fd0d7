//! Polls of the whole server. Whether one takes the shortcut or goes through the application, its answer is the same, field by field.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use std::{io::Read as _, time::Duration};

use actix_web::web::ServiceConfig;
use chat_svc::Chat;
use edge::testing::{Site, raw::Connection};
use flate2::read::GzDecoder;

/// Makes the request of a session one for the application, and changes nothing else: only its router decodes paths.
fn roundabout(path: &str) -> String {
    if path.contains("EIO=") { path.replace("/socket.io", "/socket%2Eio") } else { path.to_owned() }
}

const OPEN: &str = "/socket.io/?EIO=4&transport=polling";
const PAGE: &str = "Origin: http://localhost:3000\r\n";
const STRANGER: &str = "Origin: https://stranger.example\r\n";
const GZIP: &str = "Accept-Encoding: gzip\r\n";

/// The whole server, and its chat.
fn site() -> (Site, Chat) {
    let mut made = None;
    let site = Site::start_with(&standalone::DEFAULTS, &[], |service| {
        let chat = made.insert(Chat::new(service).unwrap());
        (standalone::routes(chat), standalone::application(chat))
    });
    (site, made.unwrap())
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    /// Status line and fields, except for the date and the length.
    head: Vec<String>,
    /// As text, taken apart if it came compressed.
    body: String,
}

impl Answer {
    /// A message without its last argument, the place in the log by which this session would be recovered.
    fn message(mut self) -> Self {
        self.body.truncate(self.body.rfind(',').unwrap());
        self
    }
}

/// A client with one of the transports.
struct Client<'a> {
    site: &'a Site,
    is_roundabout: bool,
    session: String,
    asked: u64,
}

impl<'a> Client<'a> {
    fn new(site: &'a Site, is_roundabout: bool) -> Self {
        Self { site, is_roundabout, session: String::new(), asked: 0 }
    }

    async fn ask(&mut self, method: &str, path: &str, fields: &str, body: &str) -> Answer {
        self.asked += 1;
        let mut connection = self.site.connect().await;
        let path = if self.is_roundabout { roundabout(path) } else { path.to_owned() };
        ask(&mut connection, method, &path, fields, body).await
    }

    /// A handshake; its answer with the session's id made alike.
    async fn open(&mut self, fields: &str) -> Answer {
        let mut answer = self.ask("GET", OPEN, fields, "").await;
        let sid = answer.body.split_once("\"sid\":\"").unwrap().1.split('"').next().unwrap().to_owned();
        self.session = format!("{OPEN}&sid={sid}");
        answer.body = answer.body.replace(&sid, "SID");
        answer
    }

    async fn get(&mut self, fields: &str) -> Answer {
        let path = self.session.clone();
        self.ask("GET", &path, fields, "").await
    }

    async fn post(&mut self, fields: &str, body: &str) -> Answer {
        let path = self.session.clone();
        self.ask("POST", &path, fields, body).await
    }

    /// Polls until an answer contains a packet with this beginning; returns that answer reduced to that packet: other packets of the chat
    /// arrive at any time.
    async fn get_until(&mut self, fields: &str, beginning: &str) -> Answer {
        loop {
            let Answer { head, body } = self.get(fields).await;
            assert!(head[0].starts_with("http/1.1 200"), "{head:?} {body}");
            if let Some(packet) = body.split('\u{1e}').find(|packet| packet.starts_with(beginning)) {
                return Answer { head, body: packet.to_owned() };
            }
        }
    }
}

async fn ask(connection: &mut Connection, method: &str, path: &str, fields: &str, body: &str) -> Answer {
    let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    connection.write(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}{length}\r\n{body}")).await;
    let head = connection.head().await;
    let mut length = None;
    let mut head: Vec<_> = head.lines().map(str::to_owned).collect();
    head.retain(|field| {
        length = length.or_else(|| field.strip_prefix("content-length: ")?.parse().ok());
        !field.starts_with("content-length: ") && !field.starts_with("date: ")
    });
    head[1..].sort_unstable();
    let bytes = connection.read(length.expect("an answer of known length")).await;
    let mut body = String::new();
    if head.iter().any(|field| field == "content-encoding: gzip") {
        GzDecoder::new(&*bytes).read_to_string(&mut body).unwrap();
    } else {
        body = String::from_utf8(bytes).unwrap();
    }
    Answer { head, body }
}

fn has(answer: &Answer, field: &str) -> bool {
    answer.head.iter().any(|line| line == field)
}

/// Everything that a client receives, from its handshake to its end.
async fn told(client: &mut Client<'_>) -> Vec<(&'static str, Answer)> {
    let mut all = Vec::new();
    all.push(("a stranger's handshake", client.ask("GET", OPEN, STRANGER, "").await));
    all.push(("the handshake", client.open(PAGE).await));
    all.push(("joining", client.post(PAGE, "40").await));
    let mut joined = client.get_until(PAGE, "40{").await;
    joined.body.truncate(8);
    all.push(("what waits", joined));
    all.push((
        "a stranger's post",
        client.post(STRANGER, r#"420["subscribe",{"channels":["public.long"],"since":"earliest"}]"#).await,
    ));
    all.push(("a long answer, compressed", client.get_until(GZIP, "42[\"message\",").await.message()));
    all.push(("a post again", client.post("", r#"421["unsubscribe",{"channels":["public.long"]}]"#).await));
    all.push(("a short answer", client.get_until(GZIP, "431[").await));
    let again = r#"422["subscribe",{"channels":["public.long"],"since":"earliest"}]"#;
    all.push(("and again", client.post("", again).await));
    all.push(("a long answer as it is", client.get_until(STRANGER, "42[\"message\",").await.message()));
    all.push(("no packet", client.post(PAGE, "nonsense").await));
    all.push(("after the end", client.get(PAGE).await));
    for (what, method, path) in [
        ("an unknown session", "GET", "/socket.io/?EIO=4&transport=polling&sid=nobody"),
        ("a post to it", "POST", "/socket.io/?EIO=4&transport=polling&sid=nobody"),
        ("an unknown transport", "GET", "/socket.io/?EIO=4&transport=pigeon"),
        ("nothing asked", "GET", "/socket.io/"),
        ("the client", "GET", "/socket.io/socket.io.js"),
        ("the client, not to be posted to", "POST", "/socket.io/socket.io.min.js"),
    ] {
        all.push((what, client.ask(method, path, PAGE, "").await));
    }
    all.push(("the client, compressed", client.ask("GET", "/socket.io/socket.io.js", GZIP, "").await));
    all
}

#[actix_web::test]
async fn both_ways_have_the_same_answer() {
    let (site, _chat) = site();
    let long = format!("\"{}\"", "long ".repeat(1_000));
    site.publish("public.long", &long).await;
    let (mut plain, mut roundabout) = (Client::new(&site, false), Client::new(&site, true));
    let (by_lane, by_route) = (told(&mut plain).await, told(&mut roundabout).await);
    for (by_lane, by_route) in by_lane.iter().zip(&by_route) {
        assert_eq!(by_lane, by_route);
    }
    // And it is the right one.
    for (what, status, field, part) in [
        ("a stranger's handshake", "403 forbidden", "vary: origin", "\"code\":4"),
        (
            "the handshake",
            "200 ok",
            "access-control-allow-origin: http://localhost:3000",
            "\"upgrades\":[\"websocket\"]",
        ),
        ("joining", "200 ok", "content-type: text/html", "ok"),
        ("what waits", "200 ok", "access-control-allow-origin: http://localhost:3000", "40{\"sid\""),
        ("a stranger's post", "200 ok", "vary: origin", "ok"),
        ("a long answer, compressed", "200 ok", "content-encoding: gzip", &long),
        ("a short answer", "200 ok", "content-type: text/plain; charset=utf-8", "\"ok\":true"),
        ("a long answer as it is", "200 ok", "vary: accept-encoding", &long),
        ("no packet", "400 bad request", "content-type: application/json", "\"code\":3"),
        ("after the end", "400 bad request", "content-type: application/json", "\"code\":1"),
        ("an unknown session", "400 bad request", "content-type: application/json", "\"code\":1"),
        ("the client", "200 ok", "content-type: application/javascript; charset=utf-8", "Socket.IO v4."),
        ("the client, not to be posted to", "405 method not allowed", "allow: get, head", ""),
        ("the client, compressed", "200 ok", "content-encoding: gzip", "Socket.IO v4."),
    ] {
        let answer = &by_lane.iter().find(|(of, _)| *of == what).unwrap().1;
        assert_eq!(answer.head[0], format!("http/1.1 {status}"), "{what}: {answer:?}");
        assert!(has(answer, field) && answer.body.contains(part), "{what}: {answer:?}");
    }
    for (what, answer) in &by_lane {
        let is_marked = answer.head.iter().any(|field| field.starts_with("access-control-allow-origin"));
        assert!(!(what.contains("stranger") && is_marked), "{what}: {answer:?}");
    }
    let figures = site.get("/metrics").send().await;
    let figures = figures.text();
    let counted =
        figures.lines().filter(|line| line.starts_with("trident_http_requests_total{route=\"/socket.io/{tail:.*}\""));
    let counted: u64 = counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum();
    assert_eq!(counted, plain.asked + roundabout.asked, "each is counted once, under its route\n{figures}");
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// The head of the answer to an upgrade, and what follows: of a refusal its text, of a first request the beginning of a packet.
async fn upgrade(site: &Site, path: &str, fields: &str) -> (Vec<String>, String) {
    let mut connection = site.connect().await;
    connection.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
    let head = connection.head().await;
    let is_open = head.starts_with("http/1.1 101");
    let is_first = !path.contains("sid=");
    let mut head: Vec<_> = head.lines().filter(|line| !line.starts_with("date: ")).map(str::to_owned).collect();
    head[1..].sort_unstable();
    let first = match is_open {
        true if is_first => connection.read(2).await,
        true => Vec::new(),
        false => connection.to_end().await,
    };
    (head, String::from_utf8_lossy(&first).into_owned())
}

#[actix_web::test]
async fn both_ways_open_the_same_websockets() {
    let (site, chat) = site();
    let whole = [UPGRADE, KEY].concat();
    let stranger = [&whole, STRANGER].concat();
    let page = [&whole, PAGE].concat();
    let version = [&UPGRADE.replace("13", "8"), KEY].concat();
    let mut polling = Client::new(&site, true);
    let mut sessions = Vec::new();
    for _ in 0..2 {
        polling.open("").await;
        sessions.push(polling.session.replace("transport=polling", "transport=websocket"));
    }
    let far = "X-Forwarded-For: 192.0.2.7\r\n";
    let mut opened = 0;
    for (what, path, other, fields, status) in [
        ("a first request", SOCKET, SOCKET, &*whole, "101 switching protocols"),
        ("of a page", SOCKET, SOCKET, &page, "101 switching protocols"),
        ("of a session", &*sessions[0], &*sessions[1], &whole, "101 switching protocols"),
        (
            "of an unknown session",
            "/socket.io/?EIO=4&transport=websocket&sid=nobody",
            "/socket.io/?EIO=4&transport=websocket&sid=nobody",
            &whole,
            "400 bad request",
        ),
        ("of a stranger", SOCKET, SOCKET, &stranger, "400 bad request"),
        ("without a key", SOCKET, SOCKET, UPGRADE, "400 bad request"),
        ("of another version", SOCKET, SOCKET, &version, "426 upgrade required"),
        (
            "of Socket.IO 2",
            "/socket.io/?EIO=3&transport=websocket",
            "/socket.io/?EIO=3&transport=websocket",
            &whole,
            "101 switching protocols",
        ),
        ("of another transport", OPEN, OPEN, &whole, "400 bad request"),
        ("from far", SOCKET, SOCKET, &[&whole, far].concat(), "101 switching protocols"),
    ] {
        let (by_shortcut, by_route) =
            (upgrade(&site, path, fields).await, upgrade(&site, &roundabout(other), fields).await);
        assert_eq!(by_shortcut, by_route, "{what}");
        assert_eq!(by_shortcut.0[0], format!("http/1.1 {status}"), "{what}");
        opened += 2 * u64::from(status.starts_with("101") && !path.contains("sid="));
    }
    assert_eq!(chat.io().stats().opened, opened + 2);
    // Without the application, only the shortcut has an answer.
    let listener = edge::server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let bare = site.service.start(listener, standalone::routes(&chat), |_: &mut ServiceConfig| {}).unwrap();
    for (path, fields, expected) in [
        (SOCKET, &*whole, "101"),
        (&roundabout(SOCKET), &*whole, "404"),
        (SOCKET, &*stranger, "404"),
        (OPEN, &*whole, "404"),
    ] {
        let mut connection = Connection::open(bare.address()).await;
        connection.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
        let head = connection.head().await;
        assert!(head.starts_with(&format!("http/1.1 {expected}")), "{path} {fields}: {head}");
    }
}

#[actix_web::test]
async fn both_ways_refuse_websockets_beyond_the_limits() {
    let mut made = None;
    let limits = [("TRIDENT_MAX_CONNECTIONS", "1")];
    let site = Site::start_with(&standalone::DEFAULTS, &limits, |service| {
        let chat = made.insert(Chat::new(service).unwrap());
        (standalone::routes(chat), standalone::application(chat))
    });
    let mut first = site.connect().await;
    first.write(format!("GET {SOCKET} HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}{KEY}\r\n")).await;
    assert!(first.head().await.starts_with("http/1.1 101"));
    let whole = [UPGRADE, KEY].concat();
    let (by_shortcut, by_route) =
        (upgrade(&site, SOCKET, &whole).await, upgrade(&site, &roundabout(SOCKET), &whole).await);
    assert_eq!(by_shortcut, by_route);
    assert!(by_shortcut.1.contains("TRIDENT_MAX_CONNECTIONS"), "{by_shortcut:?}");
    let stats = made.unwrap().io().stats();
    assert_eq!((stats.opened, stats.refused_forbidden), (1, 2));
}

#[actix_web::test]
async fn a_client_that_disconnects_during_a_post_ends_the_session() {
    let (site, _chat) = site();
    let mut client = Client::new(&site, false);
    client.open("").await;
    client.post("", "40").await;
    client.get_until("", "40{").await;
    let path = client.session.clone();
    let mut post = site.connect().await;
    post.write(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n42[\"")).await;
    drop(post);
    // The chat's messages to a client that joins, and then the end: long before a ping timeout.
    let ended = async { while client.get("").await.head[0].starts_with("http/1.1 200") {} };
    tokio::time::timeout(Duration::from_secs(15), ended).await.unwrap();
    assert!(client.get("").await.body.contains("\"code\":1"));
}

#[actix_web::test]
async fn plain_polls_take_the_shortcut() {
    let (site, chat) = site();
    let mut client = Client::new(&site, true);
    client.open("").await;
    // Without the application, only the shortcut has an answer.
    let listener = edge::server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let bare = site.service.start(listener, standalone::routes(&chat), |_: &mut ServiceConfig| {}).unwrap();
    let mut connection = Connection::open(bare.address()).await;
    for (method, path, fields, body, expected) in [
        ("POST", &*client.session, "", "40", "http/1.1 200 ok"),
        ("GET", &client.session, PAGE, "", "http/1.1 200 ok"),
        ("GET", &roundabout(&client.session), "", "", "http/1.1 404 not found"),
        ("GET", OPEN, "", "", "http/1.1 404 not found"),
        ("POST", &client.session, "", "1", "http/1.1 200 ok"),
        ("GET", &client.session, "", "", "http/1.1 404 not found"),
    ] {
        let answer = ask(&mut connection, method, path, fields, body).await;
        assert_eq!(answer.head[0], expected, "{method} {path} {fields}: {answer:?}");
    }
}
