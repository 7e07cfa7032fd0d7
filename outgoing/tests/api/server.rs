//! An application on loopback that answers as a test specifies, byte by byte.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

/// A request, and the connection on which it came.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) connection: usize,
    pub(crate) head: String,
    pub(crate) body: String,
    stream: Arc<tokio::sync::Mutex<TcpStream>>,
}

/// The application.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Received>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        let connections = Arc::new(Mutex::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut count = counted.lock().unwrap();
                    *count += 1;
                    *count
                };
                tokio::spawn(serve(number, stream, sender.clone()));
            }
        });
        Self { address, requests, connections }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/calls", self.address)
    }

    /// The next request.
    pub(crate) async fn request(&mut self) -> Received {
        timeout(Duration::from_secs(20), self.requests.recv()).await.expect("a request within 20 s").unwrap()
    }

    /// Whether a request has come that was not asked for.
    pub(crate) fn has_request(&mut self) -> bool {
        self.requests.try_recv().is_ok()
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

/// Reads requests; the next one after the answer of the one before.
async fn serve(connection: usize, stream: TcpStream, sender: mpsc::UnboundedSender<Received>) {
    let stream = Arc::new(tokio::sync::Mutex::new(stream));
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            if !more(&stream, &mut read).await {
                return;
            }
        };
        let head = String::from_utf8(read.drain(..end).collect()).unwrap().to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while read.len() < length {
            if !more(&stream, &mut read).await {
                return;
            }
        }
        let body = String::from_utf8(read.drain(..length).collect()).unwrap();
        if sender.send(Received { connection, head, body, stream: stream.clone() }).is_err() {
            return;
        }
    }
}

async fn more(stream: &tokio::sync::Mutex<TcpStream>, read: &mut Vec<u8>) -> bool {
    let mut piece = [0; 16 * 1024];
    loop {
        // Without the lock while it waits: an answer needs it.
        let tried = { stream.lock().await.try_read(&mut piece) };
        match tried {
            Ok(0) => return false,
            Ok(count) => {
                read.extend_from_slice(&piece[..count]);
                return true;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                tokio::time::sleep(Duration::from_millis(1)).await
            }
            Err(_) => return false,
        }
    }
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    /// Writes these bytes as the answer.
    pub(crate) async fn write(&self, bytes: impl AsRef<[u8]>) {
        // The client may have given up.
        let _ = self.stream.lock().await.write_all(bytes.as_ref()).await;
    }

    /// Answers with a status line, header lines (each with CRLF) and a body.
    pub(crate) async fn answer(&self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        self.write(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")).await;
    }

    /// Closes the connection.
    pub(crate) async fn close(&self) {
        let _ = self.stream.lock().await.shutdown().await;
    }
}
