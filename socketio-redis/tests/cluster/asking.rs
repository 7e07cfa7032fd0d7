//! Questions and orders to the sockets and servers of the whole cluster.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use socketio::{Responses, Room};

use crate::{
    Cluster,
    support::{Frame, WebSocket, eventually},
};

#[test]
fn sockets_of_all_servers_are_found() {
    let (cluster, [one, two, three]) = Cluster::of();
    two.io.of("/").on_connect(async |socket| socket.set_data(&json!({ "name": "Zoë" })).unwrap());
    let (_here, here_id) = one.client("/", &["a"]);
    let (_there, there_id) = two.client("/", &["a", "b"]);
    let (_other, _) = three.client("/", &[]);
    let mut found = cluster.wait(one.io.in_("a").fetch_sockets()).unwrap();
    found.sort_by_key(|socket| socket.id != here_id);
    assert_eq!(found.iter().map(|socket| &socket.id[..]).collect::<Vec<_>>(), [&here_id[..], &there_id[..]]);
    let mut rooms = found[1].rooms.clone();
    rooms.sort();
    let mut expected: Vec<Room> = vec!["a".into(), "b".into(), there_id.into()];
    expected.sort();
    assert_eq!(rooms, expected);
    assert_eq!(found[1].data.read::<Value>().unwrap(), json!({ "name": "Zoë" }));
    assert_eq!(found[1].address, Some([127, 0, 0, 1].into()));
    assert!(found[1].issued > 1_600_000_000_000);
    assert_eq!(cluster.wait(one.io.of("/").server_count()).unwrap(), 3);
    assert_eq!(cluster.wait(one.io.of("/").broadcast().fetch_sockets()).unwrap().len(), 3);
    assert!(cluster.wait(one.adapter.all_rooms(&one.io.of("/"))).unwrap().contains("b"));
}

#[test]
fn an_order_has_been_carried_out_here_when_it_ends_and_soon_elsewhere() {
    let (cluster, [one, two]) = Cluster::of();
    let (_here, here_id) = one.client("/", &[]);
    let (mut there, there_id) = two.client("/", &["spared"]);
    let rooms = |node: &crate::Node, id: &str| node.io.of("/").local().rooms_of(id);
    cluster.wait(one.io.of("/").broadcast().sockets_join(["a", "b"])).unwrap();
    assert_eq!(rooms(&one, &here_id), ["a", "b"]);
    eventually("it is in its rooms", || rooms(&two, &there_id).len() == 3);
    cluster.wait(two.io.in_("a").except("spared").sockets_leave("b")).unwrap();
    eventually("it has left", || rooms(&one, &here_id) == ["a"]);
    assert_eq!(rooms(&two, &there_id).len(), 3);
    cluster.wait(one.io.in_("spared").disconnect_sockets(true)).unwrap();
    assert_eq!(there.text(), "41");
    there.closed();
    assert_eq!(one.io.of("/").local().len(), 1);
}

/// Reads until the question, and answers it.
fn answer(client: &mut WebSocket, with: &str) {
    let question = client.text();
    let id = question.strip_prefix("42").and_then(|rest| rest.split('[').next()).unwrap();
    client.send(&format!("43{id}{with}"));
}

#[test]
fn sockets_of_all_servers_are_asked() {
    let (cluster, [one, two, three]) = Cluster::of();
    let mut clients = [one.join(&["a"]), two.join(&["a"]), two.join(&["a"]), three.join(&["a"]), three.join(&[])];
    let mut asked: Responses<socketio::Value> = std::thread::scope(|scope| {
        scope.spawn(|| {
            for (client, with) in clients.iter_mut().zip(["[1]", "[2]", r#"["three"]"#]) {
                answer(client, with);
            }
            // In binary.
            let question = clients[3].text();
            let id = question.strip_prefix("42").and_then(|rest| rest.split('[').next()).unwrap().to_owned();
            clients[3].send(&format!(r#"461-{id}[{{"_placeholder":true,"num":0}}]"#));
            clients[3].send_binary(b"four");
        });
        cluster.wait(one.io.to("a").timeout(Duration::from_secs(10)).emit_with_ack("?", &"text")).unwrap()
    });
    asked.answers.sort_by_key(|answer| format!("{answer:?}"));
    assert_eq!(asked.missing, 0);
    let four = socketio::Value::from(bytes::Bytes::from_static(b"four"));
    assert_eq!(asked.answers, [four, 1_u64.into(), 2_u64.into(), "three".into()]);
}

/// The longest timeout means to wait forever rather than miss an answer.
#[test]
fn answers_may_be_waited_for_without_end() {
    let cluster = Cluster::new();
    let patient = socketio_redis::Config { request_timeout: Duration::MAX, ..cluster.config() };
    let one = cluster.add_with(patient, socketio::SocketIo::builder(), |adapter| adapter);
    let two = cluster.add();
    cluster.wait(one.adapter.connected());
    let mut client = two.join(&[]);
    let asked: Responses<u8> = std::thread::scope(|scope| {
        scope.spawn(|| answer(&mut client, "[7]"));
        cluster.wait(one.io.of("/").timeout(Duration::MAX).emit_with_ack("?", &())).unwrap()
    });
    assert_eq!((asked.answers, asked.missing), (vec![7], 0));
    assert_eq!(cluster.wait(one.io.of("/").broadcast().fetch_sockets()).unwrap().len(), 1);
    cluster.wait(one.io.of("/").broadcast().sockets_join("a")).unwrap();
    // On one server alone, too.
    let asked: Responses<u8> =
        cluster.wait(one.io.of("/").on_this_server().timeout(Duration::MAX).emit_with_ack("?", &())).unwrap();
    assert!(asked.answers.is_empty());
}

#[test]
fn sockets_that_do_not_answer_are_counted() {
    let (cluster, [one, two]) = Cluster::of();
    let mut clients = [one.join(&[]), two.join(&[]), two.join(&[])];
    let asked: Responses<Value> = std::thread::scope(|scope| {
        scope.spawn(|| answer(&mut clients[1], "[]"));
        cluster.wait(one.io.of("/").timeout(Duration::from_millis(700)).emit_with_ack("?", &())).unwrap()
    });
    assert_eq!((asked.answers.len(), asked.missing), (0, 3), "no answer that could be read");
    let nobody: Responses<Value> = cluster.wait(one.io.to("nobody").emit_with_ack("?", &())).unwrap();
    assert_eq!((nobody.answers.len(), nobody.missing), (0, 0));
    assert!(matches!(clients[2].next(), Some(Frame::Text(_))));
}

#[test]
fn servers_send_events_to_each_other_and_answer() {
    let (cluster, [one, two, three]) = Cluster::of();
    let (said, heard) = mpsc::channel();
    for (name, node) in [("one", &one), ("two", &two), ("three", &three)] {
        let said = Mutex::new(said.clone());
        node.io.of("/").on_server_event(move |event| {
            let args: (u32, String) = event.args().unwrap_or_default();
            said.lock().unwrap().send((name, event.name().into_owned(), args)).unwrap();
            match &*event.name() {
                "load" => event.answer(&json!({ "of": name })).unwrap(),
                "panic" => panic!("the application's fault"),
                _ => {}
            }
        });
    }
    let namespace = one.io.of("/");
    cluster.wait(namespace.server_side_emit("hello", &(7, "x"))).unwrap();
    let mut names: Vec<_> = (0..2).map(|_| heard.recv_timeout(Duration::from_secs(5)).unwrap()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [("three", "hello".to_owned(), (7, "x".to_owned())), ("two", "hello".to_owned(), (7, "x".to_owned()))]
    );

    // A handler that panics harms nothing.
    cluster.wait(namespace.server_side_emit("panic", &())).unwrap();
    let mut answers: Responses<Value> = cluster.wait(namespace.server_side_emit_with_ack("load", &())).unwrap();
    answers.answers.sort_by_key(ToString::to_string);
    assert_eq!((answers.answers, answers.missing), (vec![json!({ "of": "three" }), json!({ "of": "two" })], 0));
    // Nobody answers, which is reported in time.
    let silent: Responses<Value> = cluster.wait(namespace.server_side_emit_with_ack("hello", &())).unwrap();
    assert_eq!((silent.answers.len(), silent.missing), (0, 2));
}

#[test]
fn a_stopped_server_is_not_waited_for_and_a_silent_one_is_an_error() {
    let (cluster, [one]) = Cluster::of();
    let _client = one.join(&[]);
    // It counts as a server and never answers.
    let listens = || {
        let mut connection = cluster.redis.connect();
        redis::cmd("SUBSCRIBE").arg("socket.io-request#/#").exec(&mut connection).unwrap();
        connection
    };
    let silent = Arc::new(Mutex::new(Some(listens())));
    let begun = Instant::now();
    let error = cluster.wait(one.io.to("a").fetch_sockets()).unwrap_err().to_string();
    assert!(error.contains("1 of 1 other servers did not answer in time"), "{error}");
    assert!(begun.elapsed() >= Duration::from_secs(2));

    let begun = Instant::now();
    let goes = silent.clone();
    let gone = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(goes.lock().unwrap().take());
    });
    let found = cluster.wait(one.io.of("/").broadcast().fetch_sockets()).unwrap();
    gone.join().unwrap();
    assert_eq!(found.len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// What adapters before version 6 ask: the ids of sockets, and things of one socket, for which its server answers.
#[test]
fn old_questions_are_answered() {
    let (cluster, [one, two]) = Cluster::of();
    let (_here, id) = one.client("/", &["a"]);
    let (mut there, _) = two.client("/", &[]);
    let mut connection = cluster.redis.connect();
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answers = connection.as_pubsub();
    answers.subscribe("socket.io-response#/#").unwrap();
    let rooms = || one.io.of("/").local().rooms_of(&id);
    let ask = |question: Value| cluster.publish("socket.io-request#/#", question.to_string().as_bytes());
    let mut next = || -> Value { serde_json::from_slice(answers.get_message().unwrap().get_payload_bytes()).unwrap() };

    ask(json!({ "type": 2, "requestId": "join", "sid": id, "room": "b" }));
    assert_eq!(next(), json!({ "requestId": "join" }));
    assert_eq!(rooms(), ["a", "b"]);
    ask(json!({ "type": 3, "requestId": "leave", "sid": id, "room": "a" }));
    assert_eq!(next(), json!({ "requestId": "leave" }));
    assert_eq!(rooms(), ["b"]);
    ask(json!({ "type": 0, "requestId": "sockets", "uid": "x", "rooms": ["b"] }));
    let mut found = [next(), next()];
    found.sort_by_key(|answer| answer["sockets"] == json!([]));
    assert_eq!(found[0], json!({ "requestId": "sockets", "sockets": [id] }));
    assert_eq!(found[1], json!({ "requestId": "sockets", "sockets": [] }));
    ask(json!({ "type": 4, "requestId": "disconnect", "sid": id, "close": false }));
    assert_eq!(next(), json!({ "requestId": "disconnect" }));
    eventually("it is gone", || one.io.of("/").local().is_empty());
    // Nobody has it any more, so nobody answers.
    ask(json!({ "type": 2, "requestId": "nobody", "sid": id, "room": "b" }));
    ask(json!({ "type": 1, "requestId": "rooms" }));
    assert_eq!([next(), next()].map(|answer| answer["requestId"].clone()), ["rooms", "rooms"]);
    cluster.wait(one.io.emit("still here", &())).unwrap();
    assert_eq!(there.text(), r#"42["still here"]"#);
}
