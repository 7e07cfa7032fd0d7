//! Namespaces that come and go, and adapters that stack.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use socketio::{
    Namespace, SocketIo,
    adapter::{Adapter, AdapterError, BoxFuture, Broadcast, Local},
};

use crate::{Cluster, support::eventually};

#[test]
fn a_dynamic_namespace_is_subscribed_to_while_it_is_there() {
    let (cluster, [one, two]) = Cluster::of();
    for node in [&one, &two] {
        node.io.of_matching(|name| name.starts_with("/room-"));
    }
    let channel = "socket.io-request#/room-1#";
    for round in 0..3 {
        let (mut here, _) = one.client("/room-1", &[]);
        let (mut there, _) = two.client("/room-1", &[]);
        eventually("both listen", || cluster.listeners(channel) == 2);
        cluster.wait(one.io.of("/room-1").emit("round", &round)).unwrap();
        for client in [&mut here, &mut there] {
            assert_eq!(client.text(), format!(r#"42/room-1,["round",{round}]"#));
        }
        if round == 2 {
            // Reopened immediately, while the previous one may still be closing.
            there.send("41/room-1,");
            let (mut again, _) = two.client("/room-1", &[]);
            cluster.wait(two.adapter.connected());
            eventually("both listen", || cluster.listeners(channel) == 2);
            cluster.wait(one.io.of("/room-1").emit("again", &())).unwrap();
            assert_eq!(again.text(), r#"42/room-1,["again"]"#);
            continue;
        }
        here.send("41/room-1,");
        there.send("41/room-1,");
        eventually("nobody listens", || cluster.listeners(channel) == 0);
    }
}

/// The application may keep a namespace that is gone here, and others may have it.
#[test]
fn a_removed_namespace_can_still_send() {
    let (cluster, [one, two]) = Cluster::of();
    for node in [&one, &two] {
        node.io.of_matching(|name| name.starts_with("/room-"));
    }
    let (mut here, _) = one.client("/room-1", &[]);
    let kept = one.io.namespaces().into_iter().find(|namespace| namespace.name() == "/room-1").unwrap();
    here.send("41/room-1,");
    eventually("it is gone", || one.io.namespaces().len() == 1);
    let (mut there, _) = two.client("/room-1", &[]);
    cluster.wait(async { tokio::join!(one.adapter.connected(), two.adapter.connected()) });
    cluster.wait(kept.emit("from afar", &())).unwrap();
    assert_eq!(there.text(), r#"42/room-1,["from afar"]"#);
    assert!(cluster.wait(kept.broadcast().fetch_sockets()).is_err(), "answers would not be heard");
}

#[test]
fn names_that_mean_something_in_patterns_are_names() {
    let (cluster, [one, two]) = Cluster::of();
    for node in [&one, &two] {
        for name in ["/*", "/a[b]", "/ab"] {
            node.io.of(name);
        }
    }
    cluster.wait(async { tokio::join!(one.adapter.connected(), two.adapter.connected()) });
    let (mut star, _) = two.client("/*", &[]);
    let (mut odd, _) = two.client("/a[b]", &[]);
    for name in ["/ab", "/", "/a[b]", "/*"] {
        cluster.wait(one.io.of(name).emit("to", &name)).unwrap();
    }
    assert_eq!(odd.text(), r#"42/a[b],["to","/a[b]"]"#);
    assert_eq!(star.text(), r#"42/*,["to","/*"]"#);
    eventually("each has come once", || two.adapter.stats().received == 4);
}

/// Counts what it passes on.
struct Counting {
    inner: Arc<dyn Adapter>,
    opened: AtomicUsize,
    broadcasts: AtomicUsize,
}

impl Adapter for Counting {
    fn opened(&self, namespace: &Namespace) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.inner.opened(namespace);
    }

    fn broadcast<'a>(&'a self, local: &'a Local, broadcast: Broadcast) -> BoxFuture<'a, Result<(), AdapterError>> {
        self.broadcasts.fetch_add(1, Ordering::Relaxed);
        self.inner.broadcast(local, broadcast)
    }
}

#[test]
fn an_adapter_on_top_hears_its_own_server_and_the_sockets_hear_all() {
    let cluster = Cluster::new();
    let counting = std::sync::Mutex::new(None);
    let one = cluster.add_with(cluster.config(), SocketIo::builder(), |inner| {
        let adapter = Arc::new(Counting { inner, opened: AtomicUsize::new(0), broadcasts: AtomicUsize::new(0) });
        *counting.lock().unwrap() = Some(adapter.clone());
        adapter
    });
    let two = cluster.add();
    cluster.wait(one.adapter.connected());
    let mut here = one.join(&[]);
    let mut there = two.join(&[]);
    cluster.wait(one.io.emit("from", &"one")).unwrap();
    assert_eq!((here.text(), there.text()), (r#"42["from","one"]"#.into(), r#"42["from","one"]"#.into()));
    cluster.wait(two.io.emit("from", &"two")).unwrap();
    assert_eq!((here.text(), there.text()), (r#"42["from","two"]"#.into(), r#"42["from","two"]"#.into()));
    let counting = counting.lock().unwrap().take().unwrap();
    assert_eq!((counting.opened.load(Ordering::Relaxed), counting.broadcasts.load(Ordering::Relaxed)), (1, 1));
}
