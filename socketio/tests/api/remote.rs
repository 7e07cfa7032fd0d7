//! What is done with sockets from outside of their handlers.

use std::time::Duration;

use socketio::{AckError, SocketIo};

use crate::{join, start, support::eventually};

/// Case 11.10: broadcasts and commands to many sockets have started when the call returns, polled or not.
#[test]
fn nothing_waits_to_be_polled() {
    let (server, io) = start(SocketIo::builder());
    let (mut client, id) = join(&server, "40");
    let all = io.of("/").broadcast();
    let answers = all.emit_with_ack::<i32>("question", &());
    assert_eq!(client.text(), r#"420["question"]"#);
    let joined = all.sockets_join(["a", "b"]);
    let socket = io.of("/").socket(&id).unwrap();
    assert_eq!(socket.rooms().len(), 2);
    drop(joined);
    drop(all.sockets_leave("a"));
    assert_eq!(socket.rooms(), ["b"]);
    client.send("430[7]");
    let answers = actix_web::rt::System::new().block_on(answers).unwrap();
    assert_eq!((answers.answers, answers.missing), (vec![7], 0));
    drop(all.disconnect_sockets(false));
    assert_eq!(client.text(), "41");
}

/// Case 11.11: the answers of many come one by one, each with the socket that gave it.
#[test]
fn answers_come_with_their_senders() {
    let (server, io) = start(SocketIo::builder());
    let mut clients: Vec<_> = (0..4).map(|_| join(&server, "40")).collect();
    let mut answers = io.of("/").timeout(Duration::from_secs(1)).emit_with_acks::<i32>("question", &());
    for (client, _) in &mut clients {
        assert_eq!(client.text(), r#"420["question"]"#);
    }
    let (silent, _) = clients.pop().unwrap();
    let ids: Vec<_> = clients.iter().map(|(_, id)| id.clone()).collect();
    actix_web::rt::System::new().block_on(async {
        clients[1].0.send("430[1]");
        let first = answers.next().await.unwrap();
        assert_eq!((first.from.as_deref(), first.result.unwrap()), (Some(ids[1].as_str()), 1));
        assert_eq!(answers.asked(), 4);
        clients[0].0.send(r#"430["no number"]"#);
        let second = answers.next().await.unwrap();
        assert_eq!(second.from.as_deref(), Some(ids[0].as_str()));
        assert!(matches!(second.result, Err(AckError::Arguments(_))));
        clients[2].0.send("41");
        let third = answers.next().await.unwrap();
        assert_eq!(third.from.as_deref(), Some(ids[2].as_str()));
        assert!(matches!(third.result, Err(AckError::Disconnected)));
        // The last one says nothing until the time is up.
        assert!(answers.next().await.is_none());
    });
    drop(silent);
}

/// Case 11.9: a socket that was found can be spoken to and moved.
#[test]
fn a_found_socket_acts() {
    let (server, io) = start(SocketIo::builder());
    let (mut one, id) = join(&server, "40");
    let (mut two, _) = join(&server, "40");
    actix_web::rt::System::new().block_on(async {
        let found = io.in_(&id).fetch_sockets().await.unwrap();
        let [socket] = &found[..] else { panic!("{found:?}") };
        assert_eq!((socket.id.as_ref(), socket.local().is_some()), (id.as_str(), true));
        socket.join(["a", "b"]).await.unwrap();
        socket.leave("a").await.unwrap();
        assert_eq!(io.of("/").rooms(), [("b".into(), 1)]);
        socket.emit("hello", &1).await.unwrap();
        assert_eq!(one.text(), r#"42["hello",1]"#);
        let answer = socket.emit_with_ack::<i32>(Duration::from_secs(10), "question", &());
        let (answer, ()) = futures_util::future::join(answer, async {
            assert_eq!(one.text(), r#"420["question"]"#);
            one.send("430[5]");
        })
        .await;
        assert_eq!(answer.unwrap(), 5);
        socket.disconnect(true).await.unwrap();
        assert_eq!(one.text(), "41");
        assert_eq!(one.closed(), None);
        eventually("it has gone", || socket.local().is_none());
        let gone = socket.emit_with_ack::<i32>(Duration::from_secs(10), "question", &()).await;
        assert!(matches!(gone, Err(AckError::Disconnected)));
    });
    drop(io.of("/").emit("bye", &()));
    assert_eq!(two.text(), r#"42["bye"]"#);
}
