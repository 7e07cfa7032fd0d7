//! A process without a server sends to the clients of a cluster.

use socketio_redis::{Config, Emitter, EmitterError};

use crate::{
    Cluster,
    support::{Frame, eventually},
};

/// Case 11.11: events reach the chosen sockets of all servers, binary too; orders are carried out; servers hear what is for them.
#[test]
fn an_emitter_reaches_the_cluster() {
    let (cluster, [one, two]) = Cluster::of();
    let heard = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
    for node in [&one, &two] {
        let heard = heard.clone();
        node.io.of("/").on_server_event(move |event| heard.lock().unwrap().push(event.args().unwrap()));
    }
    two.io.of("/chat");
    cluster.wait(two.adapter.connected());
    let (mut a, mut b) = (one.join(&["a"]), two.join(&["a", "b"]));
    let (mut other, _) = two.client("/chat", &[]);
    let emitter = Emitter::new(&cluster.config()).unwrap();
    cluster
        .wait(async {
            emitter.to("a").emit("a", &(1, socketio::Binary(b"x".as_slice().into()))).await?;
            emitter.to(["a", "b"]).except("b").emit("not b", &()).await?;
            emitter.of("chat").emit("chat", "x").await?;
            emitter.in_("b").sockets_leave("a").await?;
            emitter.server_side_emit("server", "to servers").await?;
            emitter.to("a").emit("after", &()).await?;
            emitter.in_("b").sockets_join("c").await?;
            emitter.to("c").emit("joined", &()).await?;
            emitter.in_("c").disconnect_sockets(false).await?;
            Ok::<(), EmitterError>(())
        })
        .unwrap();
    let event = r#"451-["a",1,{"_placeholder":true,"num":0}]"#;
    for client in [&mut a, &mut b] {
        assert_eq!(client.text(), event);
        assert_eq!(client.next(), Some(Frame::Binary(b"x".to_vec())));
    }
    assert_eq!([a.text(), a.text()], [r#"42["not b"]"#, r#"42["after"]"#]);
    assert_eq!([b.text(), b.text()], [r#"42["joined"]"#, "41"]);
    assert_eq!(other.text(), r#"42/chat,["chat","x"]"#);
    eventually("both have heard", || *heard.lock().unwrap() == ["to servers", "to servers"]);
}

/// A volatile event is dropped while its client's transport is not writable, as just after another event, so it is sent until it arrives.
#[test]
fn an_emitter_sends_volatile_events() {
    let (cluster, [one, _]) = Cluster::of();
    let mut client = one.join(&["a"]);
    let emitter = Emitter::new(&cluster.config()).unwrap().to("a").volatile();
    client.stream.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    for _ in 0..100 {
        cluster.wait(emitter.emit("now", &())).unwrap();
        match client.next() {
            Some(Frame::Text(text)) if text == "2" => client.send("3"),
            Some(frame) => return assert_eq!(frame, Frame::Text(r#"42["now"]"#.to_owned())),
            None => {}
        }
    }
    panic!("no volatile event arrives");
}

#[test]
fn an_emitter_says_what_is_wrong() {
    let cluster = Cluster::new();
    assert!(Emitter::new(&Config::new("nonsense")).is_err());
    let emitter = Emitter::new(&cluster.config()).unwrap();
    let reserved = cluster.wait(emitter.emit("disconnect", &()));
    assert!(matches!(reserved, Err(EmitterError::ReservedName(_))));
    let Cluster { runtime, mut redis } = cluster;
    redis.kill();
    let away = runtime.block_on(emitter.emit("e", &()));
    assert!(matches!(away, Err(EmitterError::Redis(_))), "{away:?}");
    redis.run();
    runtime.block_on(emitter.emit("e", &())).unwrap();
}
