//! The same value over each combination of input (HTTP, a batch of lines, Socket.IO in JSON and in msgpack) and output (SSE, comet's four
//! forms, Socket.IO in JSON and in msgpack, Engine.IO 3).

#![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use edge::testing::{Site, until};
use serde_json::{Value, value::RawValue};
use socketio::socket::{
    assemble::Limits,
    msgpack,
    packet::{Kind, Packet, Payload},
};

const CHANNEL: &str = "chat.lobby";

/// The whole server, and its chat.
fn site(settings: &[(&str, &str)]) -> (Site, chat_svc::Chat) {
    let usual = [("TRIDENT_SOCKET_RATE", "0"), ("TRIDENT_PUBLISH_RATE", "0")];
    let settings: Vec<_> = usual.into_iter().chain(settings.iter().copied()).collect();
    let mut made = None;
    let site = Site::start_with(&standalone::DEFAULTS, &settings, |service| {
        let chat = made.insert(chat_svc::Chat::new(service).unwrap());
        (standalone::routes(chat), standalone::application(chat))
    });
    (site, made.unwrap())
}

/// What a Socket.IO client speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speech {
    Json,
    Msgpack,
    /// Engine.IO 3, as clients of Socket.IO 2.
    Old,
}

/// A Socket.IO client that polls.
struct Client<'a> {
    site: &'a Site,
    speech: Speech,
    session: String,
    /// Engine.IO packets that came and were not looked at yet.
    packets: Vec<String>,
}

impl<'a> Client<'a> {
    /// Connects and joins the chat, whose first room is the lobby.
    async fn join(site: &'a Site, speech: Speech) -> Self {
        let version = if speech == Speech::Old { 3 } else { 4 };
        let open = format!("/socket.io/?EIO={version}&transport=polling");
        let answer = site.get(&open).send().await;
        let text = answer.text().to_owned();
        let sid = text.split_once("\"sid\":\"").unwrap().1.split('"').next().unwrap();
        let mut client = Self { site, speech, session: format!("{open}&sid={sid}"), packets: Vec::new() };
        match speech {
            Speech::Json => client.post("40").await,
            Speech::Msgpack => client.send(&Packet::new(Kind::Connect, "/".into())).await,
            // It joins with the handshake.
            Speech::Old => return client,
        }
        client.find(|packet| packet.starts_with("40") || packet.starts_with('b')).await;
        client
    }

    async fn post(&self, body: &str) {
        let answer = self.site.ask("POST".parse().unwrap(), &self.session).body("text/plain", body.to_owned()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Sends a packet in msgpack.
    async fn send(&self, packet: &Packet) {
        self.post(&format!("b{}", STANDARD.encode(msgpack::encode(packet)))).await;
    }

    /// The next packet that is wanted; those before it are dropped.
    async fn find(&mut self, is_wanted: impl Fn(&str) -> bool) -> String {
        loop {
            while !self.packets.is_empty() {
                let packet = self.packets.remove(0);
                if is_wanted(&packet) {
                    return packet;
                }
            }
            let answer = self.site.get(&self.session).send().await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let mut rest = answer.text();
            if self.speech != Speech::Old {
                self.packets.extend(rest.split('\u{1e}').map(ToOwned::to_owned));
                continue;
            }
            // `<length in UTF-16 units>:<packet>`, one after the other.
            while let Some((length, packets)) = rest.split_once(':') {
                let mut units = length.parse::<usize>().unwrap();
                let end = packets.char_indices().find(|(_, char)| {
                    let is_end = units == 0;
                    units = units.saturating_sub(char.len_utf16());
                    is_end
                });
                let (packet, after) = packets.split_at(end.map_or(packets.len(), |(at, _)| at));
                self.packets.push(packet.to_owned());
                rest = after;
            }
        }
    }

    /// The arguments of the next chat message, as JSON.
    async fn message(&mut self) -> String {
        loop {
            let packet =
                self.find(|packet| packet.starts_with("42[\"chat message\",") || packet.starts_with('b')).await;
            let Some(binary) = packet.strip_prefix('b') else { return packet[2..].to_owned() };
            let packet = decoded(&STANDARD.decode(binary).unwrap());
            if packet.event_name().as_deref() == Some("chat message") {
                return packet.payload.unwrap().json().to_string();
            }
        }
    }

    /// The code of the error that answers the event with this number.
    async fn error(&mut self, id: u64) -> String {
        loop {
            let packet = self.find(|packet| packet.starts_with("43") || packet.starts_with('b')).await;
            let (given, json) = match packet.strip_prefix('b') {
                None => {
                    let (id, json) = packet[2..].split_once('[').unwrap();
                    (id.parse().ok(), format!("[{json}"))
                }
                Some(binary) => {
                    let packet = decoded(&STANDARD.decode(binary).unwrap());
                    (packet.id, packet.payload.unwrap().json().to_string())
                }
            };
            if given == Some(id) && json.starts_with("[{\"ok\"") {
                let answer: Value = serde_json::from_str(&json).unwrap();
                assert_eq!(answer[0]["ok"], false, "{json}");
                return answer[0]["error"]["code"].as_str().unwrap().to_owned();
            }
        }
    }
}

fn decoded(bytes: &[u8]) -> Packet {
    msgpack::decode(&Bytes::copy_from_slice(bytes), Limits::default()).unwrap()
}

/// The event of a chat message.
fn chat_message(json: &str, id: Option<u64>) -> Packet {
    let payload = Payload::from_parts(format!("[\"chat message\",{json}]").into(), Vec::new());
    Packet::event("/".into(), id, payload)
}

/// The JSON that a client with msgpack makes of what it is sent, or sends.
fn by_msgpack(json: &str) -> String {
    let packet = decoded(&msgpack::encode(&chat_message(json, None)));
    let json = packet.payload.unwrap().json().to_string();
    json.strip_prefix("[\"chat message\",").unwrap().strip_suffix(']').unwrap().to_owned()
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

async fn http(site: &Site, json: &str) -> edge::testing::Answer {
    let ask = site.ask("POST".parse().unwrap(), &format!("/events?channel={CHANNEL}&event=chat%20message"));
    ask.token(&site.token("*", "*")).body("application/json", json.to_owned()).await
}

async fn lines(site: &Site, json: &str) -> edge::testing::Answer {
    let line = format!("{{\"channel\":\"{CHANNEL}\",\"event\":\"chat message\",\"data\":{json}}}");
    let ask = site.ask("POST".parse().unwrap(), "/data").token(&site.token("*", "*"));
    ask.body("application/x-ndjson", line).await
}

/// The data of a message that is written whole.
fn data(message: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    serde_json::from_str::<Message<'_>>(message).unwrap().data.get().to_owned()
}

/// Compares everything that can be read over HTTP with the values that were published.
async fn read_over_http(site: &Site, expected: &[String]) {
    let query = format!("channel={CHANNEL}&since=earliest");
    let mut since = "0-0".to_owned();
    let mut batched = Vec::new();
    while batched.len() < expected.len() {
        #[derive(serde::Deserialize)]
        struct Batch<'a> {
            cursor: String,
            #[serde(borrow)]
            messages: Vec<&'a RawValue>,
        }
        let answer = site.get(&format!("/data?channel={CHANNEL}&since={since}&limit=1000&mode=poll")).send().await;
        let batch: Batch<'_> = serde_json::from_str(answer.text()).unwrap();
        batched.extend(batch.messages.iter().map(|message| data(message.get())));
        since = batch.cursor;
    }
    assert_eq!(batched, expected, "batch");

    let mut stream = site.get(&format!("/data?{query}&mode=stream")).open().await;
    let mut events = site.get(&format!("/events?{query}")).events().await;
    let mut whole = site.get(&format!("/events?{query}&format=message")).events().await;
    let mut cursor = "0-0".to_owned();
    for json in expected {
        let mut line = String::new();
        while line.is_empty() {
            line = stream.line().await.unwrap();
        }
        assert_eq!(data(&line), *json, "lines");
        assert_eq!(data(&whole.message().await.unwrap().data), *json, "events of whole messages");
        let event = events.message().await.unwrap().data.to_string();
        match serde_json::from_str::<String>(json) {
            // An event stream consists of lines, with any line ending (WHATWG HTML, "Parsing an event stream").
            Ok(text) => assert_eq!(event, text.replace("\r\n", "\n").replace('\r', "\n"), "events"),
            Err(_) => assert_eq!(event, *json, "events"),
        }
        let raw = site.get(&format!("/data?channel={CHANNEL}&since={cursor}&format=raw&mode=poll")).send().await;
        assert_eq!(raw.text(), json, "raw");
        cursor = raw.header("ETag").trim_matches('"').to_owned();
    }
}

/// Cases 3.1 and 3.2: a value that is accepted has the same digits on SSE and comet, and is the same double for Socket.IO
/// clients, whichever door it came in by.
#[actix_web::test]
async fn a_value_is_the_same_on_every_input_and_in_every_output() {
    let (site, _chat) = site(&[]);
    let mut json = Client::join(&site, Speech::Json).await;
    let mut packed = Client::join(&site, Speech::Msgpack).await;
    let mut old = Client::join(&site, Speech::Old).await;
    let long = format!("\"{}\"", "x".repeat(20_000));
    let values = [
        "0",
        "-0",
        "-0.0",
        "1.50",
        "9007199254740993",
        "-9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "123456789012345678901234567890.10",
        "1e308",
        "1.7976931348623157e308",
        "5e-324",
        "1e-400",
        "\"\"",
        "\"\\u0000\"",
        "\"\\u2028\u{2029}\"",
        "\"\\ud83d\\ude00\"",
        "\"a\\nb\\rc\"",
        "null",
        "true",
        "{\"a\":1,\"a\":2}",
        "{\"\":[],\"\\u0000\":{}}",
        &nested(100),
        &long,
    ];
    let mut expected = Vec::new();
    for value in values {
        assert_eq!(http(&site, value).await.status, 201, "{value}");
        expected.push(value.to_owned());
        assert_eq!(lines(&site, value).await.status, 201, "{value}");
        expected.push(value.to_owned());
        let count = expected.len();
        json.post(&format!("42[\"chat message\",{value}]")).await;
        until("the message is in the log", || site.held(CHANNEL).len() > count).await;
        expected.push(value.to_owned());
        packed.send(&chat_message(value, None)).await;
        until("the message is in the log", || site.held(CHANNEL).len() > count + 1).await;
        expected.push(by_msgpack(value));
        if let Ok(number) = value.parse::<f64>() {
            let by_msgpack: f64 = by_msgpack(value).parse().unwrap();
            assert_eq!(by_msgpack.to_bits(), number.to_bits(), "{value}");
        }
        // Read as it comes, so that no client falls behind.
        for value in &expected[count - 2..] {
            let begin = |value: &str| format!("[\"chat message\",{value},{{\"id\":");
            assert!(json.message().await.starts_with(&begin(value)), "{value}");
            assert!(old.message().await.starts_with(&begin(value)), "{value}");
            assert!(packed.message().await.starts_with(&begin(&by_msgpack(value))), "{value}");
        }
    }
    read_over_http(&site, &expected).await;
}

/// Cases 3.1 and 3.2: a text of 1 MB is one value, too.
#[actix_web::test]
async fn a_large_text_is_the_same_in_every_form() {
    let (site, _chat) = site(&[("TRIDENT_MAX_BODY", "2MiB")]);
    let value = format!("\"{}\"", "时\\n".repeat(200_000));
    assert_eq!(http(&site, &value).await.status, 201);
    assert_eq!(lines(&site, &value).await.status, 201);
    read_over_http(&site, &[value.clone(), value]).await;
}

/// Cases 3.1, 3.2 and 3.3: a value that is refused has one code at every door, each time.
#[actix_web::test]
async fn a_rejected_value_has_the_same_code_on_every_input() {
    let (site, _chat) = site(&[]);
    let mut json = Client::join(&site, Speech::Json).await;
    let mut packed = Client::join(&site, Speech::Msgpack).await;
    let mut id = 0;
    for (value, code) in [
        ("1e400", "number_out_of_range"),
        ("-1e400", "number_out_of_range"),
        ("{\"delta\":\"\\ud83d\"}", "lone_surrogate"),
        ("\"\\ud83d\"", "lone_surrogate"),
        ("[\"\\udc00\"]", "lone_surrogate"),
        ("{\"\\ud83d\":1}", "lone_surrogate"),
        (&nested(101), "too_deep"),
        (&nested(127), "too_deep"),
        (&nested(140), "too_deep"),
        (&nested(5_000), "too_deep"),
    ] {
        assert_eq!(http(&site, value).await.error(), (400, code.into()), "{value}");
        assert_eq!(lines(&site, value).await.error(), (400, code.into()), "{value}");
        for _ in 0..2 {
            id += 1;
            json.post(&format!("42{id}[\"chat message\",{value}]")).await;
            assert_eq!(json.error(id).await, code, "{value}");
        }
        if code == "too_deep" {
            packed.send(&chat_message(value, Some(id))).await;
            assert_eq!(packed.error(id).await, code, "{value}");
        }
    }
    // The name of an event is refused as well, and the connection stays.
    json.post("4299[\"\\ud83d\",1]").await;
    json.error(99).await;
    assert!(site.held(CHANNEL).is_empty());
}
