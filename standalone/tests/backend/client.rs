//! Clients over a WebSocket: of Socket.IO in the namespace `/`, and of `/ws`.

use edge::testing::{Site, raw::Connection, soon};
use serde_json::{Value, json};

/// A WebSocket.
async fn upgrade(site: &Site, path: &str, headers: &[(&str, &str)]) -> Connection {
    let mut connection = site.connect().await;
    let mut all = vec![
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    all.extend(headers);
    connection.request("GET", path, &all).await;
    let head = soon("the handshake", connection.head()).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    connection
}

/// A client of `/ws`.
pub(crate) struct Plain(Connection);

impl Plain {
    pub(crate) async fn open(site: &Site, path: &str, token: &str) -> Self {
        Self(upgrade(site, path, &[("Authorization", &format!("Bearer {token}"))]).await)
    }

    /// The next text frame, which is short.
    pub(crate) async fn text(&mut self) -> String {
        let head = soon("a frame", self.0.read(2)).await;
        assert_eq!(head[0], 0x81);
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.0.read(2).await.try_into().unwrap())),
            short => short.into(),
        };
        String::from_utf8(self.0.read(length).await).unwrap()
    }

    /// The code with which the server closes the connection, which has sent nothing else.
    pub(crate) async fn closed(&mut self) -> u16 {
        let frame = soon("a close frame", self.0.read(4)).await;
        assert_eq!(frame[0], 0x88);
        u16::from_be_bytes([frame[2], frame[3]])
    }
}

/// A client of Socket.IO.
pub(crate) struct Client {
    connection: Connection,
    /// The id of its socket.
    pub(crate) sid: String,
}

impl Client {
    /// Connects with this token; the `connect_error` if it is refused.
    pub(crate) async fn connect(site: &Site, token: Option<&str>) -> Result<Self, Value> {
        let connection = upgrade(site, "/socket.io/?EIO=4&transport=websocket", &[]).await;
        let mut client = Self { connection, sid: String::new() };
        client.find("0").await;
        client.send(&format!("40{}", token.map_or(json!({}), |token| json!({ "token": token })))).await;
        let answer = client.find("4").await;
        if let Some(refused) = answer.strip_prefix('4') {
            return Err(serde_json::from_str(refused).unwrap());
        }
        let answer: Value = serde_json::from_str(&answer[1..]).unwrap();
        client.sid = answer["sid"].as_str().unwrap().to_owned();
        Ok(client)
    }

    /// Sends an event whose name and arguments are this JSON, item by item; returns the argument of its ack.
    pub(crate) async fn ask(&mut self, event: &str) -> Value {
        self.send(&format!("427[{event}]")).await;
        let ack = self.find("437").await;
        serde_json::from_str::<Value>(&ack).unwrap()[0].take()
    }

    /// The arguments of the next event of this name; other packets are dropped.
    pub(crate) async fn hear(&mut self, name: &str) -> Value {
        loop {
            let mut event: Value = serde_json::from_str(&self.find("42").await).unwrap();
            if event[0] == name {
                event.as_array_mut().unwrap().remove(0);
                return event;
            }
        }
    }

    /// The rest of the next packet that begins with `prefix`; other packets are dropped.
    pub(crate) async fn find(&mut self, prefix: &str) -> String {
        loop {
            let packet = self.packet().await.expect("the connection is open");
            if let Some(rest) = packet.strip_prefix(prefix) {
                return rest.to_owned();
            }
        }
    }

    async fn send(&mut self, packet: &str) {
        let length = u8::try_from(packet.len()).unwrap_or(126);
        let mut frame = vec![0x81, 0x80 | length.min(126)];
        if length >= 126 {
            frame.extend(u16::try_from(packet.len()).unwrap().to_be_bytes());
        }
        // A mask of zeros.
        frame.extend([0; 4]);
        frame.extend(packet.as_bytes());
        self.connection.write(frame).await;
    }

    /// The next packet; `None` when the server closes the connection.
    async fn packet(&mut self) -> Option<String> {
        loop {
            let head = soon("a frame", self.connection.read(2)).await;
            let length = match head[1] & 0x7f {
                126 => usize::from(u16::from_be_bytes(self.connection.read(2).await.try_into().unwrap())),
                short => short.into(),
            };
            let payload = self.connection.read(length).await;
            match (head[0], String::from_utf8(payload)) {
                (0x88, _) => return None,
                (0x81, Ok(ping)) if ping == "2" => self.send("3").await,
                (0x81, Ok(text)) => return Some(text),
                other => panic!("{other:?}"),
            }
        }
    }
}
