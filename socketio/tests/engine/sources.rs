//! Several sources of one connection.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use socketio::{
    Config, DisconnectReason, EngineIo, Outgoing, Source,
    engine::{Connection, Data, Peer},
};

use crate::support::{Frame, Running};

/// Three sources: one that has nothing, one that ends, and one that has a message then.
#[derive(Default)]
struct Three {
    is_time: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

struct OneOfThree(Arc<Three>, u8);

impl Source for OneOfThree {
    fn poll_next(&mut self, cx: &mut Context<'_>, _: usize) -> Poll<Vec<Outgoing>> {
        *self.0.waker.lock().unwrap() = Some(cx.waker().clone());
        match self.1 {
            b'e' if self.0.is_time.load(Ordering::SeqCst) => Poll::Ready(Vec::new()),
            b'm' if self.0.is_time.swap(false, Ordering::SeqCst) => {
                Poll::Ready(vec![Outgoing::from(Data::from("there"))])
            }
            _ => Poll::Pending,
        }
    }
}

#[derive(Default)]
struct Attaches(Arc<Three>);

impl Peer for Attaches {
    /// Attaches the sources in the order of the letters; without letters, it is time.
    fn on_message(&self, connection: &Connection, message: Data) {
        let Data::Text(letters) = message else { return };
        if letters.is_empty() {
            // From elsewhere and later, so that nothing else has the connection looked at.
            let three = self.0.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                three.is_time.store(true, Ordering::SeqCst);
                // All have the same: that of the connection.
                three.waker.lock().unwrap().take().unwrap().wake();
            });
        }
        for letter in letters.bytes() {
            connection.attach(OneOfThree(self.0.clone(), letter));
        }
    }

    fn on_close(&self, _: &Connection, _: DisconnectReason) {}
}

#[test]
fn a_source_that_ends_does_not_skip_another() {
    let mut config = Config::default();
    config.path = "/engine.io/".into();
    let engine = EngineIo::new(config, |_: &Connection| Attaches::default());
    let server = Running::start(move || engine.routes());
    for letters in ["qem", "qme", "eqm", "emq", "mqe", "meq"] {
        let mut socket = server.websocket("/engine.io/?EIO=4&transport=websocket");
        socket.text();
        socket.send(&format!("4{letters}"));
        socket.send("4");
        assert_eq!(socket.next(), Some(Frame::Text("4there".into())), "{letters}");
    }
}
