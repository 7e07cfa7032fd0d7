//! The client: it knows its cursor, and takes nothing for said that did not arrive whole.

use std::ops::ControlFlow::{self, Break, Continue};

use edge::testing::{Site, soon};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What the client received, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// A message, and the number in it.
    Message { id: String, n: usize },
    /// Something is lost.
    Gap,
}

impl Got {
    /// The number of a message.
    pub(crate) fn number(&self) -> Option<usize> {
        self.id().map(|(_, n)| n)
    }

    /// Id and number of a message.
    pub(crate) fn id(&self) -> Option<(&str, usize)> {
        match self {
            Self::Message { id, n } => Some((id, *n)),
            Self::Gap => None,
        }
    }
}

/// The transports.
#[derive(Clone, Copy, Debug)]
enum Way {
    Sse,
    Stream,
    LongPoll,
    Raw,
}

const WAYS: [Way; 4] = [Way::Sse, Way::Stream, Way::LongPoll, Way::Raw];

/// A client that hops.
pub(crate) struct Client<'a> {
    site: &'a Site,
    rng: StdRng,
    cursor: String,
    /// What it received.
    pub(crate) got: Vec<Got>,
    /// For each transport: connections that were cut, and complete answers.
    pub(crate) hops: [(usize, usize); WAYS.len()],
}

impl<'a> Client<'a> {
    pub(crate) fn new(site: &'a Site, seed: u64) -> Self {
        let (rng, cursor) = (StdRng::seed_from_u64(seed), site.service.log().head().to_string());
        Self { site, rng, cursor, got: Vec::new(), hops: Default::default() }
    }

    /// Reads until the message with the number `last` has arrived.
    pub(crate) async fn hop_to(&mut self, last: usize) {
        while !matches!(self.got.last(), Some(Got::Message { n, .. }) if *n == last) {
            let way = self.rng.random_range(0..WAYS.len());
            let is_whole = soon("a hop", self.hop(WAYS[way], last)).await;
            let (cut, whole) = &mut self.hops[way];
            *(if is_whole { whole } else { cut }) += 1;
        }
    }

    /// One connection, cut after a random number of bytes unless its answer ends before; whether it did.
    async fn hop(&mut self, way: Way, last: usize) -> bool {
        let mut connection = TcpStream::connect(self.site.address()).await.unwrap();
        connection.write_all(self.request(way).as_bytes()).await.unwrap();
        // Often within the head or the first message, at times far into the backlog.
        let mut left = match self.rng.random_range(0..3) {
            0 => self.rng.random_range(0..600),
            1 => self.rng.random_range(300..2_000),
            _ => self.rng.random_range(300..8_000),
        };
        let (mut bytes, mut taken) = (Vec::new(), 0);
        while left > 0 {
            let mut buffer = vec![0; left.min(4_096)];
            let count = connection.read(&mut buffer).await.unwrap();
            left -= count;
            bytes.extend_from_slice(&buffer[..count]);
            if self.take(way, &bytes, &mut taken).is_break() || count == 0 {
                return true;
            }
            if matches!(self.got.last(), Some(Got::Message { n, .. }) if *n == last) {
                break;
            }
        }
        false
    }

    /// Each transport has two ways to give the cursor.
    fn request(&mut self, way: Way) -> String {
        let (cursor, is_header) = (&self.cursor, self.rng.random::<bool>());
        let (path, name, value) = match way {
            Way::Sse => ("/events?", "Last-Event-ID", cursor.clone()),
            Way::Stream => ("/data?mode=stream&format=batch&", "If-None-Match", format!("\"{cursor}\"")),
            Way::LongPoll => ("/data?format=batch&limit=30&", "If-None-Match", format!("W/\"{cursor}\"")),
            Way::Raw => ("/data?format=raw&", "If-None-Match", format!("\"{cursor}\"")),
        };
        let since = if is_header { String::new() } else { format!("&since={cursor}") };
        let header = if is_header { format!("{name}: {value}\r\n") } else { String::new() };
        format!("GET {path}channel=public.a&channel=public.b{since} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n")
    }

    /// Takes complete messages that were not taken yet from a connection's `bytes`; breaks when the answer is complete.
    fn take(&mut self, way: Way, bytes: &[u8], taken: &mut usize) -> ControlFlow<()> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Continue(()) };
        let head = std::str::from_utf8(&bytes[..end]).unwrap().to_ascii_lowercase();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let body = &bytes[end + 4..];
        let (pieces, separator) = match way {
            Way::Sse => (unchunked(body), "\n\n"),
            Way::Stream => (unchunked(body), "\n"),
            Way::LongPoll | Way::Raw => {
                let length: usize = header("content-length").unwrap().parse().unwrap();
                if body.len() < length {
                    return Continue(());
                }
                assert!(head.starts_with("http/1.1 200 "), "{head}");
                let json: Value = serde_json::from_slice(body).unwrap();
                match way {
                    Way::LongPoll => self.batch(&json),
                    _ => self.raw(&json, header("etag").unwrap(), header("trident-gap").is_some()),
                }
                return Break(());
            }
        };
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        while let Some(length) = find(&pieces[*taken..], separator.as_bytes()) {
            let piece = std::str::from_utf8(&pieces[*taken..*taken + length]).unwrap();
            *taken += length + separator.len();
            match way {
                Way::Sse => self.event(piece),
                _ if piece.is_empty() => {}
                _ => self.line(piece),
            }
        }
        Continue(())
    }

    fn message(&mut self, id: &str, data: &Value) {
        self.cursor = id.to_owned();
        let n = usize::try_from(data["n"].as_u64().unwrap()).unwrap();
        assert_eq!(data["text"], "时间\r\n".repeat(n % 7));
        self.got.push(Got::Message { id: id.to_owned(), n });
    }

    fn batch(&mut self, batch: &Value) {
        if batch["gap"].as_bool().unwrap() {
            self.got.push(Got::Gap);
        }
        for message in batch["messages"].as_array().unwrap() {
            self.message(message["id"].as_str().unwrap(), &message["data"]);
        }
        self.cursor = batch["cursor"].as_str().unwrap().to_owned();
    }

    fn raw(&mut self, data: &Value, tag: &str, is_gap: bool) {
        if is_gap {
            self.got.push(Got::Gap);
        }
        self.message(tag.trim_matches('"'), data);
    }

    fn line(&mut self, line: &str) {
        let line: Value = serde_json::from_str(line).unwrap();
        match line["gap"]["resumed"].as_str() {
            Some(resumed) => {
                assert_eq!(line["gap"]["requested"], *self.cursor);
                self.cursor = resumed.to_owned();
                self.got.push(Got::Gap);
            }
            None => self.message(line["id"].as_str().unwrap(), &line["data"]),
        }
    }

    fn event(&mut self, event: &str) {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let (Some(id), Some(data)) = (field("id"), field("data")) else { return };
        let data: Value = serde_json::from_str(data).unwrap();
        if field("event") == Some("gap") {
            assert_eq!((&data["requested"], &data["resumed"]), (&Value::from(&*self.cursor), &Value::from(id)));
            self.cursor = id.to_owned();
            self.got.push(Got::Gap);
        } else {
            self.message(id, &data);
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The decoded part of a chunked body (RFC 9112 §7.1), as far as it has arrived.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    while let Some(end) = find(body, b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        let chunk = &body[end + 2..];
        said.extend_from_slice(&chunk[..size.min(chunk.len())]);
        if chunk.len() < size + 2 {
            break;
        }
        assert_eq!(&chunk[size..size + 2], b"\r\n");
        body = &chunk[size + 2..];
    }
    said
}
