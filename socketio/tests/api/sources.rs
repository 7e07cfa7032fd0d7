//! Messages that are pulled.

use std::{
    io::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use socketio::{
    Adapter, EncodedPacket, Outgoing, Recovery, Selector, SocketIo, Source,
    socket::packet::{Packet, Payload},
};

use crate::{
    join, start,
    support::{Answer, Frame, Running, eventually},
};

/// Numbers from a shared log, as many as there are.
struct Numbers {
    log: Arc<Mutex<(Vec<Outgoing>, Vec<Waker>)>>,
    next: usize,
}

impl Source for Numbers {
    fn poll_next(&mut self, cx: &mut Context<'_>, budget: usize) -> Poll<Vec<Outgoing>> {
        let mut log = self.log.lock().unwrap();
        let count = log.0[self.next..]
            .iter()
            .scan(0, |sum, entry| Some((*sum += entry.len(), *sum).1))
            .take_while(|sum| *sum <= budget)
            .count();
        if self.next == log.0.len() {
            log.1.push(cx.waker().clone());
            return Poll::Pending;
        }
        let end = self.next + count.max(1);
        let batch = log.0[self.next..end].to_vec();
        self.next = end;
        Poll::Ready(batch)
    }
}

#[test]
fn sources_are_pulled_in_order_over_every_transport() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.source_budget = 200));
    let log: Arc<Mutex<(Vec<Outgoing>, Vec<Waker>)>> = Arc::default();
    let shared = log.clone();
    io.of("/").on("follow", async move |socket, (), ack| {
        ack.send(&()).unwrap();
        socket.attach(Numbers { log: shared.clone(), next: 0 });
    });
    let append = |n: i32| {
        let packet = EncodedPacket::event("/", "n", &n).unwrap();
        let wakers = {
            let mut log = log.lock().unwrap();
            log.0.push(packet.into());
            std::mem::take(&mut log.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    };
    (0..50).for_each(append);
    let (mut client, _) = join(&server, "40");
    client.send(r#"420["follow"]"#);
    assert_eq!(client.text(), "430[]");

    let sid = server.open("/socket.io/");
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    server.post(&path, "40");
    assert!(server.get(&path).body.starts_with("40"));
    server.post(&path, r#"420["follow"]"#);
    let mut polled = Vec::new();

    for n in 0..100 {
        if n >= 50 {
            append(n);
        }
        assert_eq!(client.text(), format!(r#"42["n",{n}]"#));
        while polled.len() <= n as usize + 1 {
            polled.extend(server.get(&path).body.split('\u{1e}').map(str::to_owned));
            polled.retain(|packet| packet != "2");
        }
        assert_eq!(polled[n as usize + 1], format!(r#"42["n",{n}]"#));
    }
    // The socket's end takes its source along.
    client.send("41");
    // What is left: ours, the handler's, and the polling client's.
    eventually("it is detached", || Arc::strong_count(&log) == 3);
}

#[test]
fn a_source_attached_after_the_end_is_dropped() {
    let (server, io) = start(SocketIo::builder());
    let log: Arc<Mutex<(Vec<Outgoing>, Vec<Waker>)>> = Arc::default();
    let (shared, gone) = (log.clone(), Arc::new(Mutex::new(None)));
    let left = gone.clone();
    io.of("/").on_disconnect(async move |socket, _| {
        socket.connection().attach(Numbers { log: shared.clone(), next: 0 });
        *left.lock().unwrap() = Some(socket);
    });
    let (client, _) = join(&server, "40");
    drop(client);
    eventually("it has left", || gone.lock().unwrap().is_some());
    // The test's reference and the handler's, although the socket is still referenced.
    assert_eq!(Arc::strong_count(&log), 2);
}

/// A log of events, as an application keeps it that recovers from it: the offset of each is its number.
#[derive(Default)]
struct Log {
    events: Vec<Outgoing>,
    waiting: Vec<Waker>,
}

impl Log {
    fn append(log: &Mutex<Self>) {
        let waiting = {
            let mut log = log.lock().unwrap();
            let number = log.events.len() + 1;
            let event = EncodedPacket::event("/", "kept", &(number, offset(number))).unwrap();
            log.events.push(event.into());
            std::mem::take(&mut log.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

fn offset(number: usize) -> String {
    format!("after {number}")
}

struct Cursor {
    log: Arc<Mutex<Log>>,
    next: usize,
}

impl Source for Cursor {
    fn poll_next(&mut self, cx: &mut Context<'_>, _: usize) -> Poll<Vec<Outgoing>> {
        let mut log = self.log.lock().unwrap();
        // A few at a time, so that direct events come between those of one batch if they can.
        let batch: Vec<_> = log.events[self.next..].iter().take(3).cloned().collect();
        if batch.is_empty() {
            log.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        self.next += batch.len();
        Poll::Ready(batch)
    }

    fn offset(&self) -> Option<String> {
        Some(offset(self.next))
    }
}

/// A server whose sockets read a log from its beginning, and threads that append to it and send direct events of all kinds the while.
fn busy(test: impl FnOnce(&Running, &SocketIo)) {
    let (server, io) = start(SocketIo::builder().recovery(Recovery::default()).adapter(Arc::new(Alone)));
    let log: Arc<Mutex<Log>> = Arc::default();
    let shared = log.clone();
    io.of("/").on_connect(async move |socket| {
        // Late enough for the threads below to find the socket before it has its source.
        std::thread::sleep(Duration::from_millis(2));
        socket.join("room").unwrap();
        socket.attach(Cursor { log: shared.clone(), next: 0 });
    });
    io.of("/").on("whisper", async |socket, text: String, ack| {
        socket.emit("direct", &text).unwrap();
        socket.send(&EncodedPacket::event("/", "direct", &text).unwrap()).unwrap();
        ack.send(&"no event, and so without an offset").unwrap();
    });
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2000 {
                Log::append(&log);
                if !pause(&done) {
                    break;
                }
            }
        });
        scope.spawn(|| {
            for n in 0.. {
                drop(io.to("room").emit("direct", &("to the room", n.to_string())));
                drop(io.emit("direct", &()));
                drop(io.of("/").volatile().emit("direct", &"volatile"));
                drop(io.emit("object", &serde_json::json!({ "n": n })));
                // As an adapter does with what another server sent.
                let foreign = EncodedPacket::event("/", "direct", &"foreign").unwrap();
                io.of("/").local().deliver(&Selector::default(), &foreign, false);
                if !pause(&done) {
                    break;
                }
            }
        });
        // The threads end with the test, also when it fails.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _end = End(&done);
        test(&server, &io);
    });
}

/// A short time; false when it has passed.
fn pause(done: &AtomicBool) -> bool {
    std::thread::sleep(Duration::from_micros(300));
    !done.load(Ordering::Relaxed)
}

/// An adapter that keeps nothing, since the log is kept elsewhere.
struct Alone;

impl Adapter for Alone {}

/// Follows what a client gets: the offsets of direct events must say what came before them, no more and no less.
#[derive(Default)]
struct Follower {
    kept: usize,
    direct: usize,
}

impl Follower {
    fn take(&mut self, packet: &str) {
        let Some(json) = packet.strip_prefix("42") else { return };
        let event: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
        match event[0].as_str().unwrap() {
            "kept" => {
                self.kept += 1;
                assert_eq!(event[1], self.kept, "in order, and each once");
            }
            "direct" => {
                self.direct += 1;
                assert_eq!(*event.last().unwrap(), *offset(self.kept), "{packet}");
            }
            "object" => assert_eq!(event.len(), 2),
            other => panic!("{other}"),
        }
    }

    fn is_done(&self) -> bool {
        self.kept > 200 && self.direct > 200
    }
}

#[test]
fn a_direct_event_takes_the_offset_of_what_came_before_it() {
    busy(|server, _| {
        for _ in 0..5 {
            let mut follower = Follower::default();
            let (mut client, _) = join(server, "40");
            client.send(r#"421["whisper","psst"]"#);
            let mut is_acked = false;
            while !follower.is_done() || !is_acked {
                let packet = client.text();
                is_acked |= packet == r#"431["no event, and so without an offset"]"#;
                follower.take(&packet);
            }
        }
    });
}

#[test]
fn the_same_over_polling_and_through_an_upgrade() {
    busy(|server, io| {
        for _ in 0..5 {
            let mut follower = Follower::default();
            let sid = server.open("/socket.io/");
            let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
            // A poll is open while the socket connects, and therefore perhaps on another thread.
            let mut early = server.connect();
            write!(early, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            server.post(&path, "40");
            Answer::read(&mut early).body.split('\u{1e}').for_each(|packet| follower.take(packet));
            let poll = |follower: &mut Follower| {
                let answer = server.get(&path);
                assert_eq!(answer.status, 200, "{answer:?}");
                answer.body.split('\u{1e}').for_each(|packet| follower.take(packet));
                answer.body == "6"
            };
            while follower.kept < 30 {
                poll(&mut follower);
            }
            let before = io.stats().upgrades;
            let mut socket = server.websocket(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}"));
            socket.send("2probe");
            assert_eq!(socket.next(), Some(Frame::Text("3probe".into())));
            // The official client waits for its poll before it upgrades.
            while !poll(&mut follower) {}
            socket.send("5");
            let so_far = follower.direct;
            while !follower.is_done() || follower.direct < so_far + 100 {
                follower.take(&socket.text());
            }
            assert_eq!(io.stats().upgrades, before + 1);
        }
    });
}

#[test]
fn without_recovery_offsets_are_ignored() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on_connect(async |socket| {
        socket.attach(Cursor { log: Arc::default(), next: 0 });
    });
    let (mut client, _) = join(&server, "40");
    eventually("it is in", || io.stats().sockets == 1);
    drop(io.emit("direct", &"text"));
    assert_eq!(client.text(), r#"42["direct","text"]"#);
}

/// Larger than what kernels keep of it for a client that reads nothing.
const HUGE: usize = 48 << 20;

/// One huge message, made when it is asked for; then small ones. Notes what budgets it was given.
struct Once {
    is_huge: bool,
    budgets: Arc<Mutex<Vec<usize>>>,
}

impl Source for Once {
    fn poll_next(&mut self, _: &mut Context<'_>, budget: usize) -> Poll<Vec<Outgoing>> {
        self.budgets.lock().unwrap().push(budget);
        if !std::mem::take(&mut self.is_huge) {
            return Poll::Ready(Vec::new());
        }
        let payload = Payload::from_parts(format!(r#"["huge","{}"]"#, "x".repeat(HUGE)).into(), Vec::new());
        Poll::Ready(vec![EncodedPacket::from(Packet::event("/".into(), None, payload)).into()])
    }
}

/// What a slow client has not taken of a long answer counts in the total of what waits, over WebSocket and polling, until the client takes it
/// or goes; and of others less is pulled meanwhile.
#[test]
fn pulled_messages_count_until_they_are_sent() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_pending_total = 1 << 20));
    let budgets: Arc<Mutex<Vec<usize>>> = Arc::default();
    let noted = budgets.clone();
    io.of("/").on("ask", async move |socket, is_huge: bool, _| {
        socket.connection().queue_source(Once { is_huge, budgets: noted.clone() });
    });
    let waits = |io: &SocketIo| io.stats().pending_bytes;
    let ask = |client: &mut crate::support::WebSocket, is_huge: bool| {
        let before = budgets.lock().unwrap().len();
        client.send(&format!(r#"42["ask",{is_huge}]"#));
        eventually("it was asked", || budgets.lock().unwrap().len() > before);
    };

    let (mut slow, _) = join(&server, "40");
    ask(&mut slow, true);
    eventually("it waits", || waits(&io) > HUGE as u64 / 2);
    let (mut other, _) = join(&server, "40");
    ask(&mut other, false);
    let first = budgets.lock().unwrap().clone();
    assert_eq!((first[0], *first.last().unwrap()), (32 << 10, 1));
    drop(slow);
    eventually("it went with its client", || waits(&io) == 0);

    let sid = server.open("/socket.io/");
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    server.post(&path, "40");
    server.get(&path);
    server.post(&path, r#"42["ask",true]"#);
    let mut poll = server.connect();
    poll.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    eventually("the answer waits", || waits(&io) > HUGE as u64 / 2);
    // It is taken after all.
    assert!(Answer::read(&mut poll).body.len() > HUGE);
    // Except for the source's slot, which is freed at the next poll.
    eventually("it was taken", || waits(&io) < 1_000);
}
