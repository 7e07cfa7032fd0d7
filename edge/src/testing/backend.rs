//! An application that is called: a test sees each request, and answers it when it wants to.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

use super::soon;

/// An application on loopback.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    calls: mpsc::UnboundedReceiver<Called>,
}

/// A request that waits for its answer. Dropping it breaks its connection.
#[derive(Debug)]
pub struct Called {
    /// The lines of its head, in lower case.
    pub head: String,
    /// Its body.
    pub body: Value,
    answer: oneshot::Sender<String>,
}

impl Backend {
    /// Starts it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = mpsc::unbounded_channel();
        actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                actix_web::rt::spawn(serve(stream, sender.clone()));
            }
        });
        Self { address, calls }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/calls", self.address)
    }

    /// The next request.
    pub async fn called(&mut self) -> Called {
        soon("a call", self.calls.recv()).await.unwrap()
    }

    /// Whether another request has arrived.
    pub fn is_called(&mut self) -> bool {
        !self.calls.is_empty()
    }

    /// Answers every request with what `answer` makes of its body, from now on.
    pub fn answer_all(mut self, answer: impl Fn(&Value) -> Value + 'static) {
        actix_web::rt::spawn(async move {
            while let Some(called) = self.calls.recv().await {
                let body = answer(&called.body);
                called.answer(&body);
            }
        });
    }
}

impl Called {
    /// Answers with 200 and JSON.
    pub fn answer(self, json: &Value) {
        self.status("200 OK", &json.to_string());
    }

    /// Answers with a status line and a body.
    pub fn status(self, status: &str, body: &str) {
        let length = body.len();
        // The client may have given up.
        let _ = self.answer.send(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"));
    }
}

async fn serve(mut stream: TcpStream, calls: mpsc::UnboundedSender<Called>) {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let length: usize = length.parse().unwrap();
        while read.len() < end + length {
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body = serde_json::from_slice(&read[end..end + length]).unwrap();
        read.drain(..end + length);
        let (answer, answered) = oneshot::channel();
        if calls.send(Called { head, body, answer }).is_err() {
            // Nobody looks any more; the server behaves as one that never answers.
            tokio::time::sleep(Duration::from_secs(60)).await;
            return;
        }
        let Ok(answer) = answered.await else { return };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
