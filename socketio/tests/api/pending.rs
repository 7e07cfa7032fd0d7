//! More data than a client reads: what is delivered nevertheless, and which errors senders get.

use std::{io::Read as _, sync::mpsc, time::Duration};

use socketio::{DisconnectReason, EmitError, SocketIo};

use crate::{
    WEBSOCKET, join, list, start,
    support::{Frame, Running, eventually},
};

/// Polls until `count` events have come; the events.
fn poll_events(server: &Running, path: &str, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    while events.len() < count {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{} of {count}", events.len());
        events.extend(answer.body.split('\u{1e}').filter(|packet| packet.starts_with("42")).map(str::to_owned));
    }
    events
}

/// A polling client in `/`; its path.
fn join_by_polling(server: &Running) -> String {
    let sid = server.open("/socket.io/");
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    server.post(&path, "40");
    assert!(server.get(&path).body.starts_with("40"));
    path
}

/// Case 1.2: messages of several megabytes reach an idle client, by each transport.
#[test]
fn an_idle_client_is_sent_a_large_message() {
    let (server, io) = start(SocketIo::builder());
    let (mut client, id) = join(&server, "40");
    for size in [1_100_000, 2_000_000, 10_000_000] {
        io.of("/").socket(&id).unwrap().emit("big", &"x".repeat(size)).unwrap();
        let text = client.text();
        assert_eq!(text.len(), size + r#"42["big",""]"#.len());
    }
    let path = join_by_polling(&server);
    for size in [1_100_000, 2_000_000, 10_000_000] {
        drop(io.emit("big", &"x".repeat(size)));
        assert_eq!(poll_events(&server, &path, 1)[0].len(), size + r#"42["big",""]"#.len());
        client.text();
    }
    assert_eq!((io.stats().connections, io.stats().outbox_full, io.stats().outbox_overflows), (2, 0, 0));
    eventually("nothing waits", || io.stats().pending_bytes == 0);
}

/// Case 1.3: what is sent in one step of a handler, before the transport has a turn, is received.
#[test]
fn a_burst_is_delivered() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on("burst", async |socket, (), _| {
        for n in 0..2_000 {
            socket.emit("n", &(n, "x".repeat(1_000))).unwrap();
        }
    });
    let (mut client, _) = join(&server, "40");
    client.send(r#"42["burst"]"#);
    for n in 0..2_000 {
        assert!(client.text().starts_with(&format!(r#"42["n",{n},"#)));
    }
    let path = join_by_polling(&server);
    server.post(&path, r#"42["burst"]"#);
    let events = poll_events(&server, &path, 2_000);
    for (n, event) in events.iter().enumerate() {
        assert!(event.starts_with(&format!(r#"42["n",{n},"#)));
    }
    assert_eq!(io.stats().connections, 2);
}

/// Case 1.6: an event that does not fit is its sender's error, and the connection stays.
#[test]
fn a_refused_event_is_an_error() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_pending_bytes = 100_000));
    let results = list::<(usize, usize)>();
    let keep = results.clone();
    io.of("/").on("burst", async move |socket, (), _| {
        let text = "x".repeat(10_000);
        let sent: Vec<_> = (0..20).map(|_| socket.emit("n", &text)).collect();
        let refused = sent.iter().filter(|result| matches!(result, Err(EmitError::Full))).count();
        keep.lock().unwrap().push((sent.iter().filter(|result| result.is_ok()).count(), refused));
        assert!(EmitError::Full.to_string().starts_with("Full"));
    });
    io.of("/").on("broadcast", async |socket, (), ack| {
        let text = "x".repeat(10_000);
        let namespace = socket.namespace();
        let mut sent = 0;
        while namespace.emit("n", &text).await.is_ok() {
            sent += 1;
        }
        assert!(matches!(namespace.emit("n", &text).await, Err(EmitError::Full)));
        assert!(matches!(namespace.emit("n", &"x".repeat(200_000)).await, Err(EmitError::Full)));
        ack.send(&sent).unwrap();
    });
    let (mut client, _) = join(&server, "40");
    client.send(r#"42["burst"]"#);
    for _ in 0..9 {
        assert!(client.text().starts_with(r#"42["n""#));
    }
    assert_eq!(*results.lock().unwrap(), [(9, 11)]);
    assert_eq!(io.stats().outbox_full, 11);
    // The same for many: nobody was too slow, so nobody is cut off.
    client.send(r#"420["broadcast"]"#);
    let mut texts = Vec::new();
    while !texts.last().is_some_and(|text: &String| text.starts_with("43")) {
        texts.push(client.text());
    }
    assert_eq!(texts.last().unwrap(), "430[9]");
    assert_eq!(texts.len(), 10);
    assert_eq!((io.stats().connections, io.stats().outbox_overflows), (1, 0));
}

/// Case 1.6: a client that is disconnected because it does not read gets the reason.
#[test]
fn a_slow_client_gets_a_reason() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_pending_bytes = 1_000_000));
    let (tx, rx) = mpsc::channel();
    io.of("/").on_disconnect(move |_, reason| {
        let _ = tx.send(reason);
        std::future::ready(())
    });
    let (mut client, _) = join(&server, "40");
    let text = "x".repeat(100_000);
    while io.stats().connections > 0 {
        drop(io.emit("n", &text));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(rx.recv_timeout(Duration::from_secs(10)), Ok(DisconnectReason::OutboxOverflow));
    // First the contents of the kernel's buffer, then the end, with its reason.
    let mut rest = Vec::new();
    let _ = client.stream.read_to_end(&mut rest);
    let close = [&[0x88, 17, 0x03, 0xf0][..], b"outbox overflow"].concat();
    assert!(rest.ends_with(&close), "{:?}", &rest[rest.len().saturating_sub(40)..]);
}

/// Case 5.5: the futures of event handlers end with their socket.
#[test]
fn pending_handlers_end_with_their_socket() {
    let (server, io) = start(SocketIo::builder());
    io.of("/").on("wait", async |_, _: String, _| std::future::pending().await);
    let (mut client, _) = join(&server, "40");
    for _ in 0..1_000 {
        client.send(r#"42["wait","some text"]"#);
    }
    eventually("all are pending", || io.stats().handler_bytes > 1_000 * 1_024);
    drop(client);
    eventually("none is left", || io.stats().handler_bytes == 0 && io.stats().connections == 0);
}

/// Case 5.5: the memory of pending handlers is bounded.
#[test]
fn too_many_pending_handlers_end_the_connection() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_handler_bytes = 50_000));
    let reasons = list::<DisconnectReason>();
    let keep = reasons.clone();
    io.of("/").on("wait", async |_, _: String, _| std::future::pending().await).on_disconnect(move |_, reason| {
        keep.lock().unwrap().push(reason);
        std::future::ready(())
    });
    let (mut client, _) = join(&server, "40");
    // A single one is always admitted, however large.
    client.send(&format!(r#"42["wait","{}"]"#, "x".repeat(60_000)));
    eventually("it is pending", || io.stats().handler_bytes > 60_000);
    client.send(r#"42["wait","another"]"#);
    assert_eq!(client.closed(), Some(1008));
    eventually("it has ended", || *reasons.lock().unwrap() == [DisconnectReason::HandlerOverflow]);
    // Handlers of the end run before the pending ones are dropped.
    eventually("no handler is left", || io.stats().handler_bytes == 0);
    assert_eq!(io.stats().handler_overflows, 1);
}

/// Case 5.5: the memory of pending handlers of all connections is bounded, and a connection with little is not ended for it.
#[test]
fn pending_handlers_share_a_budget() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_handler_total = 300_000));
    io.of("/").on("wait", async |_, _: String, _| std::future::pending().await);
    let event = format!(r#"42["wait","{}"]"#, "x".repeat(200_000));
    let (mut first, _) = join(&server, "40");
    first.send(&event);
    eventually("it is pending", || io.stats().handler_bytes > 200_000);
    let (mut second, _) = join(&server, "40");
    second.send(&event);
    assert_eq!(second.closed(), Some(1008));
    let (mut third, _) = join(&server, "40");
    third.send(r#"42["wait","little"]"#);
    eventually("it is pending too", || io.stats().handler_bytes > 201_000);
    assert_eq!((io.stats().handler_overflows, io.stats().connections), (1, 2));
    drop((first, third));
    eventually("all is given back", || io.stats().handler_bytes == 0);
}

/// Case 5.9: packets whose attachments have not all come count in the budget of unfinished messages.
#[test]
fn packets_that_wait_for_attachments_share_the_budget() {
    use std::io::Write as _;
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_receiving_total = 500_000));
    let send = |expected: u64, is_refused: bool| {
        let (mut client, _) = join(&server, "40");
        client.send(r#"452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
        let mut frame = vec![0x82, 0xff];
        frame.extend(200_000_u64.to_be_bytes());
        frame.resize(frame.len() + 4 + 200_000, 0);
        // One that is refused is closed before it is through.
        let _ = client.stream.write_all(&frame);
        eventually("it is counted or refused", || {
            let stats = io.stats();
            (expected..expected + 1_000).contains(&stats.receiving_bytes) && (stats.receiving_refused > 0) == is_refused
        });
        client
    };
    // The third has no room, be it for its frame or for its packet.
    let clients = [send(200_000, false), send(400_000, false), send(400_000, true)];
    eventually("it has ended", || io.stats().connections == 2);
    drop(clients);
    eventually("all is given back", || io.stats().receiving_bytes == 0);
}

/// Case 5.9: unfinished frames of all connections share one budget.
#[test]
fn unfinished_frames_share_a_budget() {
    use std::io::Write as _;
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_receiving_total = 1_000_000));
    let mut clients: Vec<_> = (0..10).map(|_| join(&server, "40").0).collect();
    for client in &mut clients {
        let mut frame = vec![0x81, 0xff];
        frame.extend(990_000_u64.to_be_bytes());
        frame.extend([0; 4]);
        frame.resize(200_000, b'x');
        // Those that are refused are closed before they are through.
        let _ = client.stream.write_all(&frame);
    }
    // Five of them fit. What they announce takes no memory.
    eventually("the others are refused", || {
        let stats = io.stats();
        stats.receiving_refused >= 5 && stats.connections + stats.receiving_refused == 10
    });
    assert!(io.stats().receiving_bytes <= 1_000_000, "{}", io.stats().receiving_bytes);
    // Small messages pass meanwhile.
    let mut other = server.websocket(WEBSOCKET);
    assert!(matches!(other.next(), Some(Frame::Text(_))));
    drop(clients);
    eventually("all is given back", || io.stats().receiving_bytes == 0);
}

/// Case 5.9: unfinished bodies of requests count in the same budget.
#[test]
fn unfinished_bodies_share_the_budget() {
    use std::io::Write as _;
    // A buffer for 200,000 bytes may have room for twice as many, depending on how they arrive.
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_receiving_total = 450_000));
    let path = join_by_polling(&server);
    let mut slow = server.connect();
    write!(slow, "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n").unwrap();
    slow.write_all(&vec![b'4'; 200_000]).unwrap();
    eventually("it is counted", || io.stats().receiving_bytes >= 200_000);
    let other = join_by_polling(&server);
    let answer = server.post(&other, &"4".repeat(900_000));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(io.stats().receiving_refused, 1);
    drop(slow);
    eventually("all is given back", || io.stats().receiving_bytes == 0);
}
