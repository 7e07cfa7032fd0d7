//! Redis becomes unavailable, and available again.

use socketio::{EmitError, SocketIo};
use socketio_redis::{Config, ConnectError, RedisAdapter};

use crate::{
    Cluster,
    redis_server::{RedisServer, free_port},
    support::eventually,
};

fn is_away<T: std::fmt::Debug>(result: Result<T, EmitError>) {
    let error = result.unwrap_err();
    assert!(
        matches!(&error, EmitError::Adapter(adapter) if adapter.0.contains("other servers cannot be reached")),
        "{error}"
    );
}

/// What comes in while a handler of the application's takes its time is kept, as far as it may be, and then the connection is made anew.
#[test]
fn a_server_that_cannot_keep_up_keeps_no_more_than_it_may() {
    let cluster = Cluster::new();
    let config =
        Config { max_incoming_bytes: 20_000, heartbeat: std::time::Duration::from_secs(60), ..cluster.config() };
    let slow = cluster.add_with(config, SocketIo::builder(), |adapter| adapter);
    cluster.wait(slow.adapter.connected());
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let (wait, heard) = (std::sync::Mutex::new(Some(wait)), std::sync::Arc::new(std::sync::Mutex::new(Vec::new())));
    let list = heard.clone();
    slow.io.of("/").on_server_event(move |event| {
        if let Some(wait) = wait.lock().unwrap().take() {
            // As a handler that computes for long, with the other threads of the runtime at work.
            let _ = tokio::task::block_in_place(|| wait.recv());
        }
        list.lock().unwrap().push(event.name().to_string());
    });
    let say = |name: &str| {
        let event = serde_json::json!({ "uid": "other", "type": 6, "data": [name, "x".repeat(1_000)] });
        cluster.publish("socket.io-request#/#", event.to_string().as_bytes());
    };
    (0..100).for_each(|n| say(&format!("event {n}")));
    eventually("it is told", || slow.adapter.stats().overrun == 1);
    release.send(()).unwrap();
    eventually("it has a new connection", || slow.adapter.stats().disconnects == 1 && slow.adapter.is_connected());
    cluster.wait(slow.adapter.connected());
    say("after");
    eventually("it hears again", || heard.lock().unwrap().last().is_some_and(|name| name == "after"));
    let heard = heard.lock().unwrap();
    let expected: Vec<String> =
        (0..heard.len() - 1).map(|n| format!("event {n}")).chain(["after".to_owned()]).collect();
    assert_eq!(*heard, expected, "what was kept is heard, in its order");
    assert!(heard.len() > 10 && heard.len() < 30, "{} of 20,000 bytes", heard.len());
}

#[test]
fn without_redis_events_reach_local_sockets() {
    let (mut cluster, [one, two]) = Cluster::of();
    let (mut client, id) = one.client("/", &[]);
    let mut other = two.join(&[]);
    for round in 1..=2 {
        cluster.redis.kill();
        eventually("it is noticed", || !one.adapter.is_connected() && !two.adapter.is_connected());
        let io = &one.io;
        is_away(cluster.wait(io.emit("alone", &round)));
        assert_eq!(client.text(), format!(r#"42["alone",{round}]"#));
        is_away(cluster.wait(io.of("/").broadcast().fetch_sockets()));
        is_away(cluster.wait(io.of("/").server_count()));
        is_away(cluster.wait(io.of("/").server_side_emit("hello", &())));
        is_away(cluster.wait(io.of("/").broadcast().sockets_join("a")));
        assert_eq!(io.of("/").local().rooms_of(&id), ["a"]);
        is_away(cluster.wait(io.of("/").broadcast().sockets_leave("a")));
        assert!(io.of("/").local().rooms_of(&id).is_empty());
        let asked = std::thread::scope(|scope| {
            scope.spawn(|| assert!(client.text().starts_with("42")));
            cluster.wait(io.of("/").broadcast().emit_with_ack::<u8>("?", &()))
        });
        is_away(asked);
        // Local for good.
        cluster.wait(io.of("/").on_this_server().emit("local", &())).unwrap();
        assert_eq!(client.text(), r#"42["local"]"#);

        cluster.redis.run();
        cluster.wait(async { tokio::join!(one.adapter.connected(), two.adapter.connected()) });
        cluster.wait(one.io.emit("back", &round)).unwrap();
        assert_eq!(client.text(), format!(r#"42["back",{round}]"#));
        assert_eq!(other.text(), format!(r#"42["back",{round}]"#));
        cluster.wait(two.io.emit("back", &())).unwrap();
        assert_eq!(client.text(), r#"42["back"]"#);
        assert_eq!(other.text(), r#"42["back"]"#);
        assert_eq!(cluster.wait(one.io.of("/").server_count()).unwrap(), 2);
    }
    let stats = one.adapter.stats();
    assert_eq!((stats.connected, stats.disconnects), (true, 2));
    assert_eq!(stats.published, 2);
    assert!(stats.failed >= 2, "{stats:?}");
}

#[test]
fn a_redis_that_starts_later_is_waited_for() {
    let mut cluster = Cluster::new();
    let port = free_port();
    let config = Config { url: format!("redis://127.0.0.1:{port}/"), ..cluster.config() };
    let node = cluster.add_with(config, SocketIo::builder(), |adapter| adapter);
    let mut client = node.join(&[]);
    is_away(cluster.wait(node.io.emit("alone", &())));
    assert_eq!(client.text(), r#"42["alone"]"#);
    cluster.redis = RedisServer::on(port);
    cluster.wait(node.adapter.connected());
    cluster.wait(node.io.emit("together", &())).unwrap();
    assert_eq!(client.text(), r#"42["together"]"#);
    assert_eq!(node.adapter.stats().disconnects, 0, "it had not been there");
}

/// Each namespace is subscribed to once, or there would seem to be more servers than there are.
#[test]
fn broken_connections_are_reopened() {
    let (cluster, [one, two]) = Cluster::of();
    let mut client = two.join(&[]);
    for kind in ["pubsub", "normal"] {
        let before = one.adapter.stats().disconnects + two.adapter.stats().disconnects;
        let mut connection = cluster.redis.connect();
        redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg(kind).arg("SKIPME").arg("yes").exec(&mut connection).unwrap();
        eventually("both notice", || one.adapter.stats().disconnects + two.adapter.stats().disconnects == before + 2);
        cluster.wait(async { tokio::join!(one.adapter.connected(), two.adapter.connected()) });
        cluster.wait(one.io.emit("after", &kind)).unwrap();
        assert_eq!(client.text(), format!(r#"42["after","{kind}"]"#));
        eventually("two are counted", || cluster.wait(one.io.of("/").server_count()).ok() == Some(2));
    }
}

#[test]
fn a_silent_redis_is_unavailable_and_its_queue_is_bounded() {
    let cluster = Cluster::new();
    let config = Config { max_waiting_bytes: 10_000, ..cluster.config() };
    let node = cluster.add_with(config, SocketIo::builder(), |adapter| adapter);
    cluster.wait(node.adapter.connected());
    let mut client = node.join(&[]);
    cluster.redis.freeze();
    let sent: Vec<_> = (0..20).map(|n| node.io.emit("n", &(n, "x".repeat(1_000)))).collect();
    let errors: Vec<_> = sent.into_iter().map(|sent| cluster.wait(sent).unwrap_err().to_string()).collect();
    let refused = errors.iter().filter(|error| error.contains("Redis cannot keep up")).count();
    assert!((10..20).contains(&refused), "{errors:?}");
    assert!(errors[0].contains("other servers cannot be reached"), "{errors:?}");
    for n in 0..20 {
        assert!(client.text().starts_with(&format!(r#"42["n",{n},"#)));
    }
    eventually("it is noticed", || !node.adapter.is_connected());
    cluster.redis.thaw();
    cluster.wait(node.adapter.connected());
    cluster.wait(node.io.emit("back", &())).unwrap();
    // Also when there is nothing to say.
    cluster.redis.freeze();
    eventually("it is noticed", || !node.adapter.is_connected());
    cluster.redis.thaw();
    cluster.wait(node.adapter.connected());
    assert_eq!(node.adapter.stats().failed, 20);
}

#[test]
fn an_adapter_that_is_dropped_leaves_the_cluster() {
    let (cluster, [one]) = Cluster::of();
    let adapter = cluster.adapter(cluster.config());
    let io = SocketIo::builder().adapter(adapter.clone()).build();
    cluster.wait(adapter.connected());
    assert_eq!(cluster.wait(one.io.of("/").server_count()).unwrap(), 2);
    drop((io, adapter));
    eventually("it has left", || cluster.wait(one.io.of("/").server_count()).unwrap() == 1);
}

#[test]
fn an_invalid_configuration_is_an_immediate_error() {
    let cluster = Cluster::new();
    assert!(matches!(RedisAdapter::connect(cluster.config()), Err(ConnectError::NoRuntime)));
    let _within = cluster.runtime.enter();
    for url in ["", "nonsense", "http://127.0.0.1/", "redis://user:secret@[/"] {
        let error = RedisAdapter::connect(Config::new(url)).unwrap_err();
        assert!(matches!(error, ConnectError::Url), "{url}");
        assert!(!format!("{error} {error:?} {:?}", Config::new(url)).contains("secret"));
    }
}
