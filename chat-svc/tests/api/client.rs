//! A client of the chat that sends exactly what a test specifies.

use std::collections::VecDeque;

use edge::testing::{Site, raw::Connection, soon};
use serde_json::{Value, json};

/// A client in the namespace `/`, over a WebSocket.
pub(crate) struct Client {
    connection: Connection,
    /// Events that came while something else was waited for: their arguments with the name in front.
    heard: VecDeque<Value>,
    /// The same as texts.
    texts: VecDeque<String>,
    acks: u64,
    /// The id of its socket.
    pub(crate) sid: String,
    /// The secret of its session.
    pub(crate) pid: String,
    /// The offset of the last event that bore one, as official clients keep it.
    pub(crate) offset: Option<String>,
}

impl Client {
    /// Connects without a token.
    pub(crate) async fn connect(site: &Site) -> Self {
        Self::with_auth(site, &json!({})).await.unwrap()
    }

    /// Connects again to the session that `self` had, as an official client does, and ends the connection of before.
    pub(crate) async fn reconnect(self, site: &Site) -> Self {
        let mut auth = json!({ "pid": self.pid });
        if let Some(offset) = &self.offset {
            auth["offset"] = json!(offset);
        }
        let offset = self.offset.clone();
        drop(self);
        let mut client = Self::with_auth(site, &auth).await.unwrap();
        client.offset = offset;
        client
    }

    /// Connects with this `auth`; the data of the `connect_error` if it is refused.
    pub(crate) async fn with_auth(site: &Site, auth: &Value) -> Result<Self, Value> {
        let mut connection = site.connect().await;
        let headers = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        connection.request("GET", "/socket.io/?EIO=4&transport=websocket", &headers).await;
        let head = soon("the handshake", connection.head()).await;
        assert!(head.starts_with("http/1.1 101"), "{head}");
        let (sid, pid) = (String::new(), String::new());
        let (heard, texts) = (VecDeque::new(), VecDeque::new());
        let mut client = Self { connection, heard, texts, acks: 0, sid, pid, offset: None };
        assert!(client.text().await.starts_with('0'));
        client.send(&format!("40{auth}")).await;
        loop {
            let text = client.text().await;
            if let Some(refused) = text.strip_prefix("44") {
                return Err(serde_json::from_str(refused).unwrap());
            }
            if let Some(consent) = text.strip_prefix("40") {
                let consent: Value = serde_json::from_str(consent).unwrap();
                let field = |name: &str| consent[name].as_str().unwrap().to_owned();
                (client.sid, client.pid) = (field("sid"), field("pid"));
                return Ok(client);
            }
            client.take(&text);
        }
    }

    /// Sends an event whose name and arguments are this JSON, item by item, and gives the text of its ack's argument.
    pub(crate) async fn ask(&mut self, event: &str) -> String {
        let id = self.ask_and_leave(event).await;
        self.answer(id).await
    }

    /// As [`ask`](Self::ask), without waiting for the ack: its number.
    pub(crate) async fn ask_and_leave(&mut self, event: &str) -> u64 {
        let id = self.acks;
        self.acks += 1;
        self.send(&format!("42{id}[{event}]")).await;
        id
    }

    /// The ack of this number.
    pub(crate) async fn answer(&mut self, id: u64) -> String {
        let begin = format!("43{id}[");
        loop {
            let text = self.text().await;
            if let Some(answer) = text.strip_prefix(&begin) {
                return answer.strip_suffix(']').unwrap().to_owned();
            }
            self.take(&text);
        }
    }

    /// The next acks, with their numbers, in the order in which they come.
    pub(crate) async fn answers(&mut self, count: usize) -> Vec<(u64, String)> {
        let mut answers = Vec::new();
        while answers.len() < count {
            let text = self.text().await;
            match text.strip_prefix("43").and_then(|ack| ack.strip_suffix(']')?.split_once('[')) {
                Some((id, answer)) => answers.push((id.parse().unwrap(), answer.to_owned())),
                None => self.take(&text),
            }
        }
        answers
    }

    /// As [`ask`](Self::ask), the ack as a value.
    pub(crate) async fn asks(&mut self, event: &str) -> Value {
        serde_json::from_str(&self.ask(event).await).unwrap()
    }

    /// The code of the error in the ack of an event that is refused.
    pub(crate) async fn refused(&mut self, event: &str) -> String {
        let answer = self.asks(event).await;
        assert_eq!(answer["ok"], false, "{event}: {answer}");
        answer["error"]["code"].as_str().unwrap().to_owned()
    }

    /// The arguments of the next event of this name, also of those that came before.
    pub(crate) async fn hears(&mut self, name: &str) -> Vec<Value> {
        loop {
            if let Some(at) = self.heard.iter().position(|event| event[0] == name) {
                let event = self.heard.remove(at).unwrap();
                return event.as_array().unwrap()[1..].to_vec();
            }
            let text = self.text().await;
            self.take(&text);
        }
    }

    /// The next event of this name that is not heard yet, as its text.
    pub(crate) async fn raw(&mut self, name: &str) -> String {
        let begin = format!("[\"{name}\"");
        loop {
            if let Some(at) = self.texts.iter().position(|text| text.starts_with(&begin)) {
                return self.texts.remove(at).unwrap();
            }
            let text = self.text().await;
            self.take(&text);
        }
    }

    fn take(&mut self, text: &str) {
        let Some(event) = text.strip_prefix("42") else { panic!("unexpected: {text}") };
        self.texts.push_back(event.to_owned());
        let event: Value = serde_json::from_str(event).unwrap();
        if let Some(Value::String(offset)) = event.as_array().unwrap().last().filter(|last| last.is_string()) {
            self.offset = Some(offset.clone());
        }
        self.heard.push_back(event);
    }

    /// Sends a packet as a text message, and attachments behind it.
    pub(crate) async fn send_binary(&mut self, packet: &str, attachments: &[&[u8]]) {
        self.send(packet).await;
        for attachment in attachments {
            self.frame(0x82, attachment).await;
        }
    }

    /// Connects to another namespace: the id of the socket there, or the payload of the `connect_error`.
    pub(crate) async fn join_namespace(&mut self, name: &str, auth: &Value) -> Result<String, Value> {
        self.send(&format!("40{name},{auth}")).await;
        loop {
            let text = self.text().await;
            if let Some(consent) = text.strip_prefix(&format!("40{name},")) {
                let consent: Value = serde_json::from_str(consent).unwrap();
                return Ok(consent["sid"].as_str().unwrap().to_owned());
            }
            if let Some(refused) = text.strip_prefix(&format!("44{name},")) {
                return Err(serde_json::from_str(refused).unwrap());
            }
            self.take(&text);
        }
    }

    /// The next packet that has an attachment, and the attachment.
    pub(crate) async fn binary(&mut self) -> (String, Vec<u8>) {
        loop {
            let text = self.text().await;
            if text.starts_with("451-") || text.starts_with("461-") {
                let (first, attachment) = self.message().await;
                assert_eq!(first, 0x82);
                return (text, attachment);
            }
            self.take(&text);
        }
    }

    /// Sends a packet as a text message.
    pub(crate) async fn send(&mut self, packet: &str) {
        self.frame(0x81, packet.as_bytes()).await;
    }

    async fn frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match payload.len() {
            short @ ..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
            len @ ..=65_535 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            len => {
                frame.push(0x80 | 127);
                frame.extend(u64::try_from(len).unwrap().to_be_bytes());
            }
        }
        // A mask of zeros.
        frame.extend([0; 4]);
        frame.extend(payload);
        self.connection.write(frame).await;
    }

    /// Answers the next ping. What comes before it is not lost.
    pub(crate) async fn ping(&mut self) {
        loop {
            let (_, payload) = self.message().await;
            match String::from_utf8(payload).unwrap() {
                ping if ping == "2" => return self.send("3").await,
                text => self.take(&text),
            }
        }
    }

    /// The next text message, heartbeats left out.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            let (first, payload) = self.message().await;
            assert_eq!(first, 0x81, "a text message, and not {:?}", String::from_utf8_lossy(&payload));
            match String::from_utf8(payload).unwrap() {
                ping if ping == "2" => self.send("3").await,
                text => return text,
            }
        }
    }

    /// The first byte of the next frame, and its payload.
    async fn message(&mut self) -> (u8, Vec<u8>) {
        let head = soon("a message", self.connection.read(2)).await;
        let len = match head[1] & 0x7f {
            126 => u16::from_be_bytes(self.connection.read(2).await.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.connection.read(8).await.try_into().unwrap()),
            short => short.into(),
        };
        (head[0], soon("the rest of a message", self.connection.read(usize::try_from(len).unwrap())).await)
    }
}
