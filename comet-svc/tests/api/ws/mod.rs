//! `/ws`, checked against docs/PROTOCOL.md frame by frame.

mod commands;
mod connect;
mod ends;
mod frames;
mod model;
mod opening;
mod slow;
mod streams;

use edge::testing::{Site, raw::Connection};
use serde_json::{Value, json};

/// The key of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MASK: [u8; 4] = [1, 2, 3, 4];
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A client that sees each frame.
struct Client(Connection);

/// Sends a request for an upgrade. Returns the head of its answer, in lower case.
async fn request(site: &Site, query: &str, fields: &[(&str, &str)]) -> (Connection, String) {
    request_on(site.connect().await, query, fields).await
}

async fn request_on(mut connection: Connection, query: &str, fields: &[(&str, &str)]) -> (Connection, String) {
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];
    let all: Vec<_> = upgrade.into_iter().chain([("Sec-WebSocket-Key", KEY)]).chain(fields.iter().copied()).collect();
    connection.request("GET", &format!("/ws{query}"), &all).await;
    let head = connection.head().await;
    (connection, head)
}

/// A frame of a client, with a mask.
fn masked(first: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match data.len() {
        short @ ..=125 => bytes.push(0x80 | short as u8),
        medium @ ..=65_535 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(data.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

impl Client {
    /// Opens a WebSocket.
    async fn open(site: &Site, query: &str) -> Self {
        Self::open_with(site, query, &[]).await
    }

    /// As [`open`](Self::open), with more header fields.
    async fn open_with(site: &Site, query: &str, fields: &[(&str, &str)]) -> Self {
        let (connection, head) = request(site, query, fields).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        Self(connection)
    }

    /// As [`open`](Self::open), with a small receive buffer.
    async fn open_small(site: &Site, query: &str) -> Self {
        let (connection, head) = request_on(Connection::open_small(site.address(), 4 * 1024).await, query, &[]).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        Self(connection)
    }

    /// Sends a frame.
    async fn send(&mut self, first: u8, data: impl AsRef<[u8]>) {
        self.0.write(masked(first, data.as_ref())).await;
    }

    /// Sends a command.
    async fn command(&mut self, command: Value) {
        self.send(TEXT, command.to_string()).await;
    }

    /// The next frame: its first byte and its data.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.0.read(2).await;
        let length = match head[1] {
            126 => u16::from_be_bytes(self.0.read(2).await.try_into().unwrap()).into(),
            127 => usize::try_from(u64::from_be_bytes(self.0.read(8).await.try_into().unwrap())).unwrap(),
            short => {
                assert!(short < 126, "frames of a server have no mask");
                short.into()
            }
        };
        (head[0], self.0.read(length).await)
    }

    /// The next text frame, which is the next frame.
    async fn text(&mut self) -> String {
        let (first, data) = self.frame().await;
        assert_eq!(first, TEXT, "{data:?}");
        String::from_utf8(data).unwrap()
    }

    /// The next text frame as JSON.
    async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// The answer to a command, which is the next frame.
    async fn ask(&mut self, command: Value) -> Value {
        self.command(command).await;
        self.json().await
    }

    /// The code of the next frame, which closes, and after which the connection ends.
    async fn closed(mut self) -> Option<u16> {
        let (first, data) = self.frame().await;
        assert_eq!(first, CLOSE, "{}", String::from_utf8_lossy(&data));
        let code = data.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
        assert!(std::str::from_utf8(data.get(2..).unwrap_or_default()).is_ok());
        assert_eq!(self.0.to_end().await, b"", "nothing follows a close frame");
        code
    }
}

/// The command that subscribes to `channels`.
fn subscribe(channels: &[&str], since: Option<&str>) -> Value {
    match since {
        Some(since) => json!({"subscribe": {"channels": channels, "since": since}, "id": 1}),
        None => json!({"subscribe": {"channels": channels}, "id": 1}),
    }
}

/// The code of an answer that is an error.
fn code(answer: &Value) -> &str {
    assert_eq!(answer["ok"], json!(false), "{answer}");
    assert!(answer["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
    answer["error"]["code"].as_str().unwrap()
}
