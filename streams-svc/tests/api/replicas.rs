//! Two processes on one Redis, of which one reads the log late: it answers as if it had read what the other one has acknowledged.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use actix_web::http::Method;
use edge::testing::{Answer, Site, redis::Server, soon, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use super::{JSON, close, create, delete, post, put, site};

/// What a process sends to ask about a stream: the index is among the keys.
const INDEX: &[u8] = b"{trident:log}:streams\r\n";
/// What it sends to ask for the newest id.
const NEWEST: &[u8] = b"{trident:log}:edge\r\n";

/// Between a process and Redis: what the process reads of the log can be held back, while its commands are answered.
struct Gate {
    port: u16,
    is_held: Arc<watch::Sender<bool>>,
    /// The bytes of the last command.
    sent: Arc<watch::Sender<Vec<u8>>>,
    task: AbortHandle,
}

impl Gate {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_held, sent) = (Arc::new(watch::Sender::new(false)), Arc::new(watch::Sender::new(Vec::new())));
        let (held, said) = (is_held.clone(), sent.clone());
        let task = tokio::spawn(async move {
            let mut pairs = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (reads_log, held, said) = (Arc::new(AtomicBool::new(false)), held.subscribe(), said.clone());
                pairs.spawn(async move {
                    tokio::select! {
                        () = commands(from_client, to_server, &reads_log, &said) => {}
                        () = answers(from_server, to_client, &reads_log, held) => {}
                    }
                });
            }
        });
        Self { port, is_held, sent, task: task.abort_handle() }
    }

    /// What is answered if the log is not read from before `act` until the question `needle` is sent.
    async fn late<T>(&self, act: impl Future<Output = ()>, needle: &[u8], ask: impl Future<Output = T>) -> T {
        self.is_held.send_replace(true);
        act.await;
        let mut sent = self.sent.subscribe();
        let asked = sent.wait_for(|bytes| bytes.windows(needle.len()).any(|part| part == needle));
        tokio::pin!(ask);
        let early = tokio::select! {
            answer = &mut ask => Some(answer),
            asked = asked => asked.map(|_| None).unwrap(),
        };
        self.is_held.send_replace(false);
        match early {
            Some(answer) => answer,
            None => soon("the answer", ask).await,
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn commands(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    reads_log: &AtomicBool,
    sent: &watch::Sender<Vec<u8>>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if bytes[..count].windows(5).any(|part| part == b"XREAD") {
            reads_log.store(true, Relaxed);
        }
        sent.send_replace(bytes[..count].to_vec());
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    reads_log: &AtomicBool,
    mut held: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if reads_log.load(Relaxed) && held.wait_for(|is_held| !is_held).await.is_err() {
            return;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// Two processes, of which the second is behind the gate.
struct Two {
    server: Server,
    gate: Gate,
    one: Site,
    other: Site,
}

impl Two {
    async fn start() -> Self {
        let server = Server::start().await;
        let gate = Gate::start(server.port()).await;
        let one = site(&[("TRIDENT_BUS", &server.url())]);
        let other = site(&[("TRIDENT_BUS", &format!("redis://127.0.0.1:{}", gate.port))]);
        until("both are ready", || [&one, &other].iter().all(|site| site.service.bus.ready().is_ok())).await;
        Self { server, gate, one, other }
    }

    /// The answer of the second process to a `GET` when it has not read of what `act` does on the first one.
    async fn read(&self, act: impl Future<Output = ()>, path: &str) -> Answer {
        self.gate.late(act, INDEX, self.other.get(&format!("/streams/{path}")).send()).await
    }

    async fn append(&self, stream: &str, json: &'static str) -> Answer {
        let answer = post(&self.one, stream).body(JSON, json).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        answer
    }
}

fn next(answer: &Answer) -> String {
    answer.header("Stream-Next-Offset")
}

#[actix_web::test]
async fn what_another_process_acknowledged_is_known() {
    let two = Two::start().await;
    let Two { gate, one, other, .. } = &two;
    let make = |stream: &'static str, json| async move { drop(create(one, stream, JSON, json).await) };

    // Streams that it has never heard of, by each kind of read.
    for (stream, query) in
        [("a", ""), ("b", "?offset=-1&live=long-poll"), ("c", "?offset=now&live=long-poll&timeout=0")]
    {
        let read = two.read(make(stream, "[0]"), &format!("{stream}{query}")).await;
        let expected = if query.contains("now") { (204, "") } else { (200, "[0]") };
        assert_eq!((read.status, read.text()), expected, "{query}: {read:?}");
    }
    let mut open = gate.late(make("d", "[0]"), INDEX, other.get("/streams/d?offset=-1&live=sse").open()).await;
    assert_eq!(open.status, 200);
    while open.line().await.expect("the event").trim() != "data:[0]" {}

    // What was appended, closed and deleted meanwhile.
    let read = two.read(async { drop(two.append("a", "[1]").await) }, "a").await;
    assert_eq!((read.text(), &*read.header("Stream-Up-To-Date")), ("[0,1]", "true"));
    let published = async { drop(one.service.bus.publish(publication("a", b"2")).await.unwrap()) };
    assert_eq!(two.read(published, "a").await.text(), "[0,1,2]");
    let appended = async { drop(two.append("a", "[3]").await) };
    let head = gate.late(appended, INDEX, other.ask(Method::HEAD, "/streams/a").send()).await;
    assert_eq!(next(&head), next(&one.get("/streams/a").send().await));
    let from_now = two.read(async { drop(two.append("a", "[4]").await) }, "a?offset=now").await;
    assert_eq!(next(&from_now), next(&one.get("/streams/a").send().await));
    let closed = two.read(close(one, "a"), "a").await;
    assert_eq!((closed.status, &*closed.header("Stream-Closed")), (200, "true"));
    let again = async {
        delete(one, "a").await;
        make("a", "[5]").await;
    };
    assert_eq!(two.read(again, "a").await.text(), "[5]");
    assert_eq!(two.read(delete(one, "a"), "a").await.status, 404);

    // A client that has read further than this process is not sent back.
    let last = std::cell::OnceCell::new();
    let appended = async { drop(last.set(next(&two.append("b", "[1]").await))) };
    let poll = async {
        let offset = last.get().expect("it is acknowledged");
        other.get(&format!("/streams/b?offset={offset}&live=long-poll&timeout=0")).send().await
    };
    let nothing = gate.late(appended, NEWEST, poll).await;
    assert_eq!((nothing.status, next(&nothing)), (204, last.get().unwrap().clone()));

    // Requests that change something are not refused for what is not known.
    let empty = gate.late(make("e", "[0]"), INDEX, post(other, "e").body(JSON, "")).await;
    assert_eq!(empty.error(), (400, "bad_body".to_owned()));
    let fork = put(other, "g").header("Stream-Forked-From", "/streams/f");
    let forked = gate.late(make("f", "[0]"), INDEX, fork.body("", "[1]")).await;
    assert_eq!(forked.status, 201, "{forked:?}");
    assert_eq!(two.read(async {}, "g").await.text(), "[0,1]");
    let appended = gate.late(make("h", "[0]"), INDEX, post(other, "h").body(JSON, "[1]")).await;
    assert_eq!(appended.status, 204, "{appended:?}");

    let Two { one, other, .. } = two;
    one.stop().await;
    other.stop().await;
}

/// While Redis does not answer, what was read is served; what was not may exist.
#[actix_web::test]
async fn without_redis_an_unknown_stream_is_not_missing() {
    let Two { mut server, one, other, gate: _gate } = Two::start().await;
    create(&one, "known", JSON, "[0]").await;
    until("the other one has read it", || other.service.log().head() >= one.service.log().head()).await;
    server.kill();
    until("both notice", || [&one, &other].iter().all(|site| site.service.bus.ready().is_err())).await;
    for site in [&one, &other] {
        assert_eq!(site.get("/streams/known").send().await.text(), "[0]");
        for method in [Method::GET, Method::HEAD] {
            let unknown = site.ask(method, "/streams/unknown").send().await;
            assert_eq!(unknown.status, 503, "{unknown:?}");
            assert_ne!(unknown.header("Retry-After"), "");
        }
    }
    one.stop().await;
    other.stop().await;
}

fn publication(channel: &str, json: &[u8]) -> shared::live::bus::Publication {
    use shared::pure::{Draft, Payload};
    let draft = Draft::new(channel.parse().unwrap(), Payload::from_json(json).unwrap());
    shared::live::bus::Publication::new(vec![draft])
}
