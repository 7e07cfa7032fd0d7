//! A receiver of wakes on loopback, which answers as a test specifies.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// This answer, with these header lines (each with CRLF) and this body.
    Answer(u16, String, &'static str),
    /// An answer whose body never ends.
    Endless,
    /// No answer.
    Silent,
}

/// All of the wake is processed.
pub(crate) fn done() -> Behaviour {
    Behaviour::Answer(200, String::new(), r#"{"done":true}"#)
}

type Decide = dyn Fn(usize) -> Behaviour + Send + Sync;

/// See the module.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    /// The number of connections.
    connections: Arc<Mutex<usize>>,
    bodies: Arc<Mutex<Vec<Value>>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// `decide` returns what becomes of the n-th request.
    pub(crate) async fn start(decide: impl Fn(usize) -> Behaviour + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, bodies) = (Arc::<Mutex<usize>>::default(), Arc::<Mutex<Vec<Value>>>::default());
        let (count, into, decide): (_, _, Arc<Decide>) = (connections.clone(), bodies.clone(), Arc::new(decide));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                tokio::spawn(serve(stream, into.clone(), decide.clone()));
            }
        });
        Self { port, connections, bodies, serving }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/wake", self.port)
    }

    /// The wakes that it has received.
    pub(crate) fn wakes(&self) -> Vec<Value> {
        self.bodies.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: TcpStream, into: Arc<Mutex<Vec<Value>>>, decide: Arc<Decide>) {
    let mut read = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut read).await {
        assert!(head.starts_with("POST /wake HTTP/1.1\r\n"), "{head}");
        assert!(head.to_ascii_lowercase().contains("\r\nwebhook-signature: t="), "{head}");
        let behaviour = {
            let mut bodies = into.lock().unwrap();
            bodies.push(serde_json::from_slice(&body).unwrap());
            decide(bodies.len() - 1)
        };
        let answer = match behaviour {
            Behaviour::Answer(status, headers, body) => {
                format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
            }
            Behaviour::Silent => return std::future::pending().await,
            Behaviour::Endless => {
                let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                while stream.write_all(chunk.as_bytes()).await.is_ok() {}
                return;
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The head and the body of the next request.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4) {
            let head = String::from_utf8(read[..end].to_vec()).unwrap();
            let lower = head.to_ascii_lowercase();
            let length = lower.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
            let length: usize = length.parse().unwrap();
            if read.len() >= end + length {
                let body = read[end..end + length].to_vec();
                read.drain(..end + length);
                return Some((head, body));
            }
        }
        let mut piece = [0; 16 * 1024];
        match stream.read(&mut piece).await {
            Ok(count) if count > 0 => read.extend_from_slice(&piece[..count]),
            _ => return None,
        }
    }
}
