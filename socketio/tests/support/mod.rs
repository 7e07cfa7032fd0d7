//! A server on a free port, and clients that send exactly what a test specifies.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle, web::ServiceConfig};

/// A running server; it stops when this is dropped.
pub struct Running {
    pub address: SocketAddr,
    handle: ServerHandle,
}

impl Running {
    /// Starts a server with two workers on a thread of its own.
    pub fn start<R, F>(routes: R) -> Self
    where
        R: Fn() -> F + Send + Clone + 'static,
        F: FnOnce(&mut ServiceConfig) + 'static,
    {
        let (tx, rx) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || App::new().configure(routes()))
                    .workers(2)
                    .h1_allow_half_closed(false)
                    .shutdown_timeout(1)
                    .disable_signals()
                    .bind(("127.0.0.1", 0))
                    .unwrap();
                let address = server.addrs()[0];
                let server = server.run();
                tx.send((address, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, handle) = rx.recv().unwrap();
        Self { address, handle }
    }

    /// Sends a request as it is and reads the answer to its end.
    pub fn http(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        Answer::read(&mut stream)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    pub fn get(&self, path: &str) -> Answer {
        self.http(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.http(&post(path, "text/plain;charset=UTF-8", body))
    }

    /// Opens a WebSocket.
    pub fn websocket(&self, path: &str) -> WebSocket {
        self.websocket_with(path, "")
    }

    /// The same, with more header fields.
    pub fn websocket_with(&self, path: &str, fields: &str) -> WebSocket {
        let mut stream = self.connect();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        WebSocket { stream }
    }

    /// Opens a polling session; its id.
    pub fn open(&self, path: &str) -> String {
        let answer = self.get(&format!("{path}?EIO=4&transport=polling"));
        assert_eq!(answer.status, 200, "{answer:?}");
        sid(&answer.body)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

/// The id in an open packet.
pub fn sid(open: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    json["sid"].as_str().unwrap().to_owned()
}

pub fn post(path: &str, content_type: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
    pub raw_body: Vec<u8>,
}

impl Answer {
    pub fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        // The length ends the answer: some are not followed by the end of the connection.
        loop {
            let n = stream.read(&mut buffer).unwrap();
            bytes.extend_from_slice(&buffer[..n]);
            if n == 0 || Self::is_complete(&bytes) {
                break;
            }
        }
        let end = find(&bytes, b"\r\n\r\n").unwrap_or_else(|| panic!("no head in {bytes:?}"));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let raw_body = bytes[end + 4..].to_vec();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: String::from_utf8_lossy(&raw_body).into_owned(), raw_body }
    }

    fn is_complete(bytes: &[u8]) -> bool {
        let Some(end) = find(bytes, b"\r\n\r\n") else { return false };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        length.is_some_and(|length| bytes.len() >= end + 4 + length)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// A WebSocket that sends masked frames (with a mask of zeros) and reads what comes.
pub struct WebSocket {
    pub stream: TcpStream,
}

#[derive(Debug, PartialEq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Close(Option<u16>),
    Pong(Vec<u8>),
}

impl WebSocket {
    pub fn send(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes());
    }

    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.frame(0x82, bytes);
    }

    pub fn frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match payload.len() {
            len @ ..=125 => frame.push(0x80 | len as u8),
            len @ ..=65_535 => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(0x80 | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.stream.write_all(&frame).unwrap();
    }

    /// The next frame; `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 2];
        if self.stream.read_exact(&mut head).is_err() {
            return None;
        }
        let len = match head[1] & 0x7f {
            126 => u16::from_be_bytes(self.take()).into(),
            127 => u64::from_be_bytes(self.take()) as usize,
            short => short.into(),
        };
        let mut payload = vec![0; len];
        self.stream.read_exact(&mut payload).unwrap();
        Some(match head[0] & 0x0f {
            1 => Frame::Text(String::from_utf8(payload).unwrap()),
            2 => Frame::Binary(payload),
            8 => Frame::Close(payload.get(..2).map(|code| u16::from_be_bytes(code.try_into().unwrap()))),
            10 => Frame::Pong(payload),
            other => panic!("opcode {other}"),
        })
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next text, with heartbeats answered and left out.
    pub fn text(&mut self) -> String {
        loop {
            match self.next() {
                Some(Frame::Text(text)) if text == "2" => self.send("3"),
                Some(Frame::Text(text)) => return text,
                other => panic!("no text but {other:?}"),
            }
        }
    }

    /// Reads to the close frame; its code, if it has one.
    pub fn closed(&mut self) -> Option<u16> {
        loop {
            match self.next() {
                Some(Frame::Close(code)) => return code,
                Some(_) => {}
                None => panic!("the connection ended without a close frame"),
            }
        }
    }
}

/// Waits for something to become true, for ten seconds at most.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
