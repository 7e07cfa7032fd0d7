//! HTTP and WebSockets by hand: sends exactly what is specified, however wrong, and returns the response, including its bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Long enough for a busy machine; a test that passes never waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// An answer, or what came of it.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Engine.IO's error body.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, code: u8, message: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.text(), format!(r#"{{"code":{code},"message":"{message}"}}"#));
        assert!(self.header("content-type").unwrap().starts_with("application/json"), "{self:?}");
    }
}

/// A TCP connection and what has been read of it.
pub(crate) struct Tcp {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

impl Tcp {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends the head of a request, with a length if there is a body, and the body.
    pub(crate) fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.stream.peer_addr().unwrap());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if method == "POST" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        self.write(head.as_bytes());
        // The server may have said no before the whole body is there.
        let _ = self.stream.write_all(body);
    }

    /// Reads more; false at the end of the stream.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(n) => {
                self.unread.extend_from_slice(&chunk[..n]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => false,
            Err(error) => panic!("nothing came: {error}; unread: {:?}", String::from_utf8_lossy(&self.unread)),
        }
    }

    /// What is there once something is there.
    #[track_caller]
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        if self.unread.is_empty() {
            self.fill();
        }
        std::mem::take(&mut self.unread)
    }

    #[track_caller]
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        while self.unread.len() < len {
            if !self.fill() {
                return None;
            }
        }
        Some(self.unread.drain(..len).collect())
    }

    #[track_caller]
    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.take(end + 2)?;
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads an answer; `None` if the connection ended instead.
    #[track_caller]
    pub(crate) fn try_response(&mut self) -> Option<Response> {
        let mut head = String::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            head += &line;
            head += "\n";
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut response = Response { status, head, body: Vec::new() };
        if let Some(length) = response.header("content-length") {
            let length = length.parse().unwrap();
            response.body = self.take(length)?;
        } else if response.header("transfer-encoding") == Some("chunked") {
            loop {
                let length = usize::from_str_radix(&self.line()?, 16).unwrap();
                response.body.extend(self.take(length)?);
                self.line()?;
                if length == 0 {
                    break;
                }
            }
        } else if !matches!(status, 101 | 204 | 304) {
            while self.fill() {}
            response.body = std::mem::take(&mut self.unread);
        }
        Some(response)
    }

    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        self.try_response().expect("the connection ended without an answer")
    }

    /// Waits for the other side to close, and gives what it said until then.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.unread)
    }
}

/// One request on its own connection.
#[track_caller]
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut tcp = Tcp::connect(address);
    tcp.request(method, path, headers, body);
    tcp.response()
}

/// What a WebSocket brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Text(String),
    Binary(Vec<u8>),
    /// A close frame, with its code.
    Close(Option<u16>),
    /// The end of the stream.
    End,
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The client's side of a WebSocket.
pub(crate) struct WebSocket {
    pub(crate) tcp: Tcp,
}

pub(crate) const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

impl WebSocket {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr, path: &str) -> Self {
        Self::try_connect(address, path, &[]).unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    #[track_caller]
    pub(crate) fn try_connect(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self, Response> {
        let mut tcp = Tcp::connect(address);
        tcp.request("GET", path, &[&UPGRADE, headers].concat(), b"");
        let response = tcp.response();
        if response.status == 101 { Ok(Self { tcp }) } else { Err(response) }
    }

    pub(crate) fn frame(&mut self, opcode: u8, payload: &[u8]) {
        const FINAL: u8 = 0x80;
        self.raw_frame(FINAL | opcode, payload);
    }

    /// One text in two frames.
    pub(crate) fn fragments(&mut self, text: &str) {
        let (first, second) = text.as_bytes().split_at(text.len() / 2);
        self.raw_frame(0x01, first);
        self.raw_frame(0x80, second);
    }

    pub(crate) fn raw_frame(&mut self, head: u8, payload: &[u8]) {
        const MASK: [u8; 4] = [1, 2, 3, 4];
        let mut frame = vec![head];
        match payload.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len @ 126..0x10000 => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(0x80 | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        // The server may have closed in the middle of what is wrong.
        let _ = self.tcp.stream.write_all(&frame);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.frame(1, text.as_bytes());
    }

    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        self.frame(2, bytes);
    }

    #[track_caller]
    pub(crate) fn next(&mut self) -> Message {
        self.try_next().unwrap_or(Message::End)
    }

    #[track_caller]
    fn try_next(&mut self) -> Option<Message> {
        let head = self.tcp.take(2)?;
        assert_eq!(head[0] & 0x70, 0, "reserved bits");
        assert_eq!(head[1] & 0x80, 0, "servers do not mask");
        let length = match head[1] {
            126 => u16::from_be_bytes(self.tcp.take(2)?.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.tcp.take(8)?.try_into().unwrap()).try_into().unwrap(),
            short => usize::from(short),
        };
        let payload = self.tcp.take(length)?;
        Some(match head[0] {
            0x81 => Message::Text(String::from_utf8(payload).unwrap()),
            0x82 => Message::Binary(payload),
            0x88 => Message::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            other => panic!("a frame that begins with {other:#x}"),
        })
    }

    /// The next text that is not a heartbeat.
    #[track_caller]
    pub(crate) fn next_text(&mut self) -> String {
        match self.next() {
            Message::Text(text) => text,
            other => panic!("a text is due, but there came {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, message: &str) {
        assert_eq!(self.next(), Message::from(message));
    }

    /// Waits for the end, whatever comes before it, and gives the texts among that.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            match self.next() {
                Message::Text(text) => texts.push(text),
                Message::Binary(_) => {}
                Message::Close(_) | Message::End => return texts,
            }
        }
    }
}

/// Tries until it works.
#[track_caller]
pub(crate) fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(start.elapsed() < PATIENCE, "it never came true");
        std::thread::sleep(Duration::from_millis(5));
    }
}
