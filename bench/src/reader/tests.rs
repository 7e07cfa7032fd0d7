//! Each transport's greeting, and messages that come through it, against a server played by hand.

use super::*;

struct Play {
    reader: Reader,
    heard: Vec<u64>,
}

impl Play {
    fn new(transport: Transport) -> (Self, String) {
        Self::with(Peer::Trident, transport)
    }

    fn with(peer: Peer, transport: Transport) -> (Self, String) {
        let site = Site { peer, host: "h".into(), channel: Some("c".into()), since: None };
        let mut reader = Reader::new(transport, site);
        let mut out = Vec::new();
        reader.begin(&mut out);
        (Self { reader, heard: Vec::new() }, String::from_utf8(out).unwrap())
    }

    /// What is said to `bytes`, fed one at a time: cuts are everywhere.
    fn say(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        for byte in bytes {
            self.reader.feed(&[*byte], &mut out, &mut |stamp| self.heard.push(stamp.seq))?;
        }
        Ok(out)
    }

    fn answer(&mut self, body: &str) -> String {
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        String::from_utf8(self.say(text.as_bytes()).unwrap()).unwrap()
    }

    fn frame(&mut self, text: &str) -> String {
        let mut bytes = vec![0x81, u8::try_from(text.len()).unwrap()];
        bytes.extend(text.as_bytes());
        let out = self.say(&bytes).unwrap();
        // Header and mask of a short frame take six bytes.
        out.get(6..).map(|text| String::from_utf8(text.to_vec()).unwrap()).unwrap_or_default()
    }
}

fn stamp(seq: u64) -> String {
    let mut out = Vec::new();
    Stamp { seq, nanos: 0 }.write(40, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_stream_is_one_answer_without_end() {
    for (transport, target) in
        [(Transport::Sse, "/events?channel=c "), (Transport::Stream, "/data?mode=stream&channel=c ")]
    {
        let (mut play, request) = Play::new(transport);
        assert!(request.contains(target) && request.ends_with("\r\n\r\n"), "{request}");
        assert!(!play.reader.is_ready());
        play.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert!(play.reader.is_ready());
        let chunk = format!("data: {}\n\ndata: {}\n\n", stamp(0), stamp(1));
        play.say(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes()).unwrap();
        assert_eq!(play.heard, [0, 1]);
        assert!(matches!(play.say(b"0\r\n\r\n"), Err(Fault::Closed)));
        let (mut play, _) = Play::new(transport);
        assert!(matches!(play.say(b"HTTP/1.1 403 No\r\n\r\n"), Err(Fault::Status(403, _))));
    }
}

#[test]
fn a_long_poll_resumes_from_its_cursor() {
    let (mut play, request) = Play::new(Transport::Longpoll);
    assert!(request.starts_with("GET /data?mode=poll&format=batch&channel=c "), "{request}");
    let next = play.answer("{\"cursor\":\"5-1\",\"gap\":false,\"messages\":[]}");
    assert!(next.contains("&since=5-1 HTTP/1.1"), "{next}");
    assert!(play.reader.is_ready());
    let body = format!("{{\"cursor\":\"6-0\",\"gap\":false,\"messages\":[{{\"data\":\"{}\"}}]}}", stamp(9));
    let next = play.answer(&body);
    assert!(next.contains("&since=6-0 HTTP/1.1") && play.heard == [9], "{next}");
}

#[test]
fn with_nchan_the_place_is_in_the_head() {
    let (mut play, request) = Play::with(Peer::Nchan, Transport::Longpoll);
    assert!(request.starts_with("GET /longpoll?channel=c "), "{request}");
    let body = stamp(4);
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nLast-Modified: then\r\nEtag: 3\r\n\r\n{body}", body.len());
    let next = String::from_utf8(play.say(answer.as_bytes()).unwrap()).unwrap();
    assert!(next.contains("If-Modified-Since: then\r\nIf-None-Match: 3\r\n"), "{next}");
    assert!(play.reader.is_ready() && play.heard == [4]);
    assert!(matches!(play.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Err(Fault::Refused(_))));
    let (_, request) = Play::with(Peer::Nchan, Transport::Stream);
    assert!(request.starts_with("GET /stream?channel=c ") && request.contains("TE: chunked\r\n"), "{request}");
}

#[test]
fn a_websocket_without_a_protocol_is_ready_when_it_is_open() {
    let (mut play, request) = Play::new(Transport::Ws);
    assert!(request.starts_with("GET /ws?channel=c ") && request.contains("Upgrade: websocket\r\n"), "{request}");
    assert!(!play.reader.is_ready());
    play.say(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
    assert!(play.reader.is_ready());
    assert_eq!(play.frame(&stamp(3)), "");
    assert_eq!(play.heard, [3]);
    assert_eq!(play.say(b"\x89\x00").unwrap(), b"\x8a\x80\0\0\0\0");
    assert!(matches!(play.say(b"\x88\x00"), Err(Fault::Closed)));
    let (mut play, _) = Play::new(Transport::Ws);
    assert!(matches!(play.say(b"HTTP/1.1 403 No\r\n\r\n"), Err(Fault::Status(403, _))));
}

#[test]
fn durable_streams_are_read_from_their_end() {
    for (peer, path) in [(Peer::DurableStreams, ""), (Peer::StreamsFile, "/streams")] {
        let (_, request) = Play::with(peer, Transport::Sse);
        assert!(request.starts_with(&format!("GET {path}/c?offset=now&live=sse ")), "{request}");
        assert_eq!(peer.publishing("c"), format!("{path}/c"));
    }
}

#[test]
fn a_websocket_joins_asks_and_keeps_itself_alive() {
    let (mut play, request) = Play::new(Transport::Websocket);
    assert!(request.contains("Upgrade: websocket\r\n"), "{request}");
    play.say(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
    assert_eq!(play.frame("0{\"sid\":\"x\"}"), "40");
    assert_eq!(play.frame("40{\"sid\":\"y\"}"), "420[\"subscribe\",{\"channels\":[\"c\"]}]");
    assert!(!play.reader.is_ready());
    assert_eq!(play.frame("42[\"presence\",{}]"), "");
    assert_eq!(play.frame("430[{\"ok\":true}]"), "");
    assert!(play.reader.is_ready());
    assert_eq!(play.frame("2"), "3");
    assert_eq!(play.frame(&format!("42[\"m\",\"{}\",{{}},\"5-0\"]", stamp(3))), "");
    assert_eq!(play.heard, [3]);
    assert!(matches!(play.say(b"\x88\x00"), Err(Fault::Closed)));
}

#[test]
fn a_poll_posts_in_between() {
    let (mut play, request) = Play::new(Transport::Polling);
    assert!(request.contains("transport=polling HTTP/1.1"), "{request}");
    let post = play.answer("0{\"sid\":\"ab\",\"upgrades\":[]}");
    assert!(post.starts_with("POST ") && post.contains("&sid=ab ") && post.ends_with("\r\n\r\n40"), "{post}");
    assert!(play.answer("ok").starts_with("GET "));
    let post = play.answer("40{\"sid\":\"y\"}");
    assert!(post.ends_with("420[\"subscribe\",{\"channels\":[\"c\"]}]"), "{post}");
    assert!(play.answer("ok").starts_with("GET "));
    assert!(!play.reader.is_ready());
    assert!(play.answer("430[{\"ok\":true}]").starts_with("GET "));
    assert!(play.reader.is_ready());
    let post = play.answer(&format!("42[\"m\",\"{}\"]\u{1e}2\u{1e}42[\"m\",\"{}\"]", stamp(0), stamp(1)));
    assert!(post.ends_with("\r\n\r\n3"), "{post}");
    assert!(play.answer("ok").starts_with("GET ") && play.heard == [0, 1]);
    // A ping may come along with the answer to the join; both are to be answered.
    let (mut play, _) = Play::new(Transport::Polling);
    play.answer("0{\"sid\":\"ab\",\"upgrades\":[]}");
    play.answer("ok");
    let post = play.answer("2\u{1e}40{\"sid\":\"y\"}");
    assert!(post.ends_with("\r\n\r\n3\u{1e}420[\"subscribe\",{\"channels\":[\"c\"]}]"), "{post}");
    play.answer("ok");
    let close = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";
    assert!(matches!(play.say(close), Err(Fault::Closed)));
}
