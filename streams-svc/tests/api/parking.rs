//! Event streams that wait: they are parked, and nothing of it is to be seen.

use edge::testing::{Answer, Events, Site};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{TEXT, close, create, delete, live::next, post, site};

/// The data of the next event, which is a `control`.
async fn control(events: &mut Events) -> serde_json::Value {
    let (name, data) = next(events).await.unwrap();
    assert_eq!(name, "control", "{data}");
    serde_json::from_str(&data).unwrap()
}

async fn append(site: &Site, stream: &str, bytes: &[u8]) -> Answer {
    let answer = post(site, stream).body(TEXT, bytes.to_vec()).await;
    assert_eq!(answer.status, 204);
    answer
}

/// Readers of the end of `s` that are parked.
async fn readers(site: &Site, count: u64) -> Vec<Events> {
    let mut all = Vec::new();
    for parked in 1..=count {
        let mut events = site.get("/streams/s?offset=now&live=sse").events().await;
        control(&mut events).await;
        site.parked(parked).await;
        all.push(events);
    }
    all
}

#[actix_web::test]
async fn readers_that_wait_share_a_cohort() {
    let site = site(&[("TRIDENT_WORKERS", "1")]);
    create(&site, "s", TEXT, "old").await;
    let mut readers = readers(&site, 3).await;
    // Another stream, and the same one on another transport.
    create(&site, "t", TEXT, "").await;
    let mut other = site.get("/streams/t?offset=now&live=sse").events().await;
    control(&mut other).await;
    site.parked(4).await;
    assert_eq!(site.figure("trident_cohorts").await, 2);
    for text in ["one", "two"] {
        let offset = append(&site, "s", text.as_bytes()).await.header("Stream-Next-Offset");
        for events in &mut readers {
            assert_eq!(next(events).await, Some(("data".into(), text.into())));
            let control = control(events).await;
            assert_eq!((&control["streamNextOffset"], &control["upToDate"]), (&offset.clone().into(), &true.into()));
            assert!(control["streamCursor"].is_string() && control.get("streamClosed").is_none(), "{control}");
        }
    }
    assert_eq!(site.figure("trident_parked_connections").await, 4);
    for reason in ["behind", "slow", "ended"] {
        assert_eq!(site.figure(&format!("trident_unparked_total{{reason=\"{reason}\"}}")).await, 0, "{reason}");
    }
    drop(readers);
    site.parked(1).await;
}

#[actix_web::test]
async fn a_parked_reader_gets_the_end_at_the_tail() {
    let site = site(&[]);
    for is_appended in [false, true] {
        let created = create(&site, "s", TEXT, "x").await.header("Stream-Next-Offset");
        let mut readers = readers(&site, 2).await;
        // The head of the log is after the tail of the stream.
        site.publish("other", "1").await;
        let tail = match is_appended {
            true => append(&site, "s", b"y").await.header("Stream-Next-Offset"),
            false => created,
        };
        site.publish("other", "2").await;
        close(&site, "s").await;
        for events in &mut readers {
            if is_appended {
                assert_eq!(next(events).await, Some(("data".into(), "y".into())));
            }
            let mut last = control(events).await;
            if last.get("streamClosed").is_none() {
                last = control(events).await;
            }
            assert_eq!((&last["streamNextOffset"], &last["streamClosed"]), (&tail.clone().into(), &true.into()));
            assert_eq!(next(events).await, None);
        }
        delete(&site, "s").await;
    }
}

#[actix_web::test]
async fn a_parked_reader_does_not_continue_with_another_stream_of_the_name() {
    let site = site(&[]);
    create(&site, "s", TEXT, "old").await;
    let mut readers = readers(&site, 2).await;
    delete(&site, "s").await;
    create(&site, "s", TEXT, "new").await;
    append(&site, "s", b"newer").await;
    for events in &mut readers {
        assert_eq!(next(events).await, None);
    }
    site.parked(0).await;
}

/// A reader, and what it has got.
struct Tailer {
    events: Events,
    from: usize,
    text: String,
}

impl Tailer {
    async fn open(site: &Site, text: &str, from: (usize, String)) -> Self {
        let path = format!("/streams/s?offset={}&live=sse", from.1);
        let mut tailer = Self { events: site.get(&path).events().await, from: from.0, text: String::new() };
        tailer.read_to(text).await;
        tailer
    }

    /// Reads until it has `text` from its beginning on.
    async fn read_to(&mut self, text: &str) {
        while self.text.len() < text.len() - self.from {
            let (name, data) = next(&mut self.events).await.unwrap();
            self.text.push_str(if name == "data" { &data } else { "" });
        }
        assert_eq!(self.text, text[self.from..]);
    }
}

/// What was appended, and the offsets at which the text was whole, with its length there.
#[derive(Default)]
struct Appended {
    bytes: Vec<u8>,
    offsets: Vec<(usize, String)>,
}

impl Appended {
    async fn append(&mut self, site: &Site, part: &[u8]) {
        self.bytes.extend_from_slice(part);
        let offset = append(site, "s", part).await.header("Stream-Next-Offset");
        if self.is_whole() {
            self.offsets.push((self.bytes.len(), offset));
        }
    }

    /// Whether it ends with a whole character.
    fn is_whole(&self) -> bool {
        self.text().len() == self.bytes.len()
    }

    /// Its whole characters.
    fn text(&self) -> &str {
        let valid = std::str::from_utf8(&self.bytes).map_or_else(|error| error.valid_up_to(), str::len);
        std::str::from_utf8(&self.bytes[..valid]).unwrap()
    }
}

/// Readers join, leave, and are parked or not, while bytes are appended, also parts of characters; each gets the text from its offset on, once.
#[actix_web::test]
async fn random_readers_get_the_text_of_the_stream() {
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let site = site(&[("TRIDENT_WORKERS", "1")]);
        let start = create(&site, "s", TEXT, "").await.header("Stream-Next-Offset");
        let mut appended = Appended { offsets: vec![(0, start)], ..Appended::default() };
        let (mut tailers, mut rest) = (Vec::<Tailer>::new(), Vec::new());
        for _ in 0..60 {
            match random.random_range(0..8) {
                0 => {
                    let from = appended.offsets[random.random_range(0..appended.offsets.len())].clone();
                    tailers.push(Tailer::open(&site, appended.text(), from).await);
                }
                1 if !tailers.is_empty() => drop(tailers.swap_remove(random.random_range(0..tailers.len()))),
                2 => {
                    for tailer in &mut tailers {
                        tailer.read_to(appended.text()).await;
                    }
                    if appended.is_whole() {
                        site.parked(tailers.len() as u64).await;
                    }
                }
                _ => {
                    if rest.is_empty() {
                        rest = ["茶", "🚀", "ab\n"][random.random_range(0..3)].as_bytes().to_vec();
                    }
                    let part: Vec<u8> = rest.drain(..random.random_range(1..=rest.len())).collect();
                    appended.append(&site, &part).await;
                }
            }
        }
        if !rest.is_empty() {
            appended.append(&site, &rest).await;
        }
        close(&site, "s").await;
        let tail = appended.offsets.last().unwrap().1.clone();
        for mut tailer in tailers {
            tailer.read_to(appended.text()).await;
            let mut last = control(&mut tailer.events).await;
            while last.get("streamClosed").is_none() {
                last = control(&mut tailer.events).await;
            }
            assert_eq!(last["streamNextOffset"], tail, "seed {seed}");
        }
    }
}
