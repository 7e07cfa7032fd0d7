//! Messages that are pulled.

use std::{sync::Arc, sync::Mutex, task::Context, task::Poll, task::Waker};

use socketio::{EncodedPacket, Outgoing, SocketIo, Source};

use crate::{join, start, support::eventually};

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
