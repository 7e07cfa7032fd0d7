//! HTTP/1.1 byte by byte, where a client library would hide what matters.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::soon;

/// A connection, and received bytes that were not read yet.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    ahead: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), ahead: Vec::new() }
    }

    /// As [`open`](Self::open), with a receive buffer of so many bytes.
    pub async fn open_small(address: SocketAddr, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        Self { stream: socket.connect(address).await.unwrap(), ahead: Vec::new() }
    }

    /// Writes bytes.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Writes a request without a body.
    pub async fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.write(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).await;
    }

    /// Reads up to and with the next `end`.
    pub async fn read_to(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.ahead.windows(end.len()).position(|window| window == end) {
                let rest = self.ahead.split_off(at + end.len());
                return std::mem::replace(&mut self.ahead, rest);
            }
            assert!(self.more().await, "the connection ended after {:?}", String::from_utf8_lossy(&self.ahead));
        }
    }

    /// Reads `count` bytes.
    pub async fn read(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            assert!(self.more().await, "the connection ended after {:?}", String::from_utf8_lossy(&self.ahead));
        }
        let rest = self.ahead.split_off(count);
        std::mem::replace(&mut self.ahead, rest)
    }

    /// Reads a head: the status line and the headers, in lower case.
    pub async fn head(&mut self) -> String {
        String::from_utf8(self.read_to(b"\r\n\r\n").await).unwrap().to_ascii_lowercase()
    }

    /// Reads one chunk of a chunked body (RFC 9112 §7.1); the last one is empty.
    pub async fn chunk(&mut self) -> Vec<u8> {
        let size = self.read_to(b"\r\n").await;
        let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim_end(), 16).unwrap();
        let mut chunk = self.read(size + 2).await;
        assert_eq!(chunk.split_off(size), b"\r\n");
        chunk
    }

    /// Reads to the end of the connection, which has to come, in order or not.
    pub async fn to_end(mut self) -> Vec<u8> {
        while self.more().await {}
        self.ahead
    }

    /// Whether more bytes arrived, and not the end.
    async fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let count = soon("bytes", self.stream.read(&mut buffer)).await.unwrap_or(0);
        self.ahead.extend_from_slice(&buffer[..count]);
        count > 0
    }
}
