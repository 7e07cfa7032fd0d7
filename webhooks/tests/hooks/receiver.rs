//! An application on loopback that receives webhooks, and answers as a test specifies.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    /// Empty if it has none.
    pub(crate) traceparent: String,
    pub(crate) body: String,
    /// The status of its answer; 0 if it got none.
    pub(crate) status: u16,
}

impl Received {
    /// Its events.
    pub(crate) fn events(&self) -> Vec<Value> {
        let mut body: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        serde_json::from_value(body["events"].take()).unwrap()
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// This status, with these header lines (each with CRLF).
    Answer(u16, &'static str),
    /// A connection that breaks before the answer.
    Reset,
    /// A connection that breaks within the answer.
    Cut,
    /// An answer whose body never ends.
    Endless,
}

type Decide = dyn Fn(usize) -> Behaviour + Send + Sync;

/// The application.
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// `decide` returns what becomes of the n-th request.
    pub(crate) async fn start(decide: impl Fn(usize) -> Behaviour + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let (into, decide): (_, Arc<Decide>) = (received.clone(), Arc::new(decide));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, into.clone(), decide.clone()));
            }
        });
        Self { url, received, serving }
    }

    /// What it has received so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The events that it has accepted, in order, each batch once.
    pub(crate) fn accepted(&self) -> Vec<Value> {
        let (mut seen, mut events) = (std::collections::HashSet::new(), Vec::new());
        for request in self.received() {
            if request.status / 100 == 2 && seen.insert(request.id.clone()) {
                events.extend(request.events());
            }
        }
        events
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: TcpStream, into: Arc<Mutex<Vec<Received>>>, decide: Arc<Decide>) {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            if !more(&mut stream, &mut read).await {
                return;
            }
        };
        let head = String::from_utf8(read.drain(..end).collect()).unwrap();
        assert!(head.starts_with("POST /hooks HTTP/1.1\r\n"), "{head}");
        let header = |name: &str| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
            line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        let length: usize = header("content-length").parse().unwrap();
        while read.len() < length {
            if !more(&mut stream, &mut read).await {
                return;
            }
        }
        let body = String::from_utf8(read.drain(..length).collect()).unwrap();
        let behaviour = {
            let mut received = into.lock().unwrap();
            let behaviour = decide(received.len());
            let status = if let Behaviour::Answer(status, _) = behaviour { status } else { 0 };
            let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
            let (signature, traceparent) = (header("webhook-signature"), header("traceparent"));
            received.push(Received { id, timestamp, signature, traceparent, body, status });
            behaviour
        };
        let answer = match behaviour {
            Behaviour::Answer(status, headers) => format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: 0\r\n\r\n"),
            Behaviour::Reset => return,
            Behaviour::Cut => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc".to_owned(),
            Behaviour::Endless => {
                let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                while stream.write_all(chunk.as_bytes()).await.is_ok() {}
                return;
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || matches!(behaviour, Behaviour::Cut) {
            return;
        }
    }
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> bool {
    let mut piece = [0; 16 * 1024];
    match tokio::time::timeout(Duration::from_secs(60), stream.read(&mut piece)).await {
        Ok(Ok(count)) if count > 0 => {
            read.extend_from_slice(&piece[..count]);
            true
        }
        _ => false,
    }
}
