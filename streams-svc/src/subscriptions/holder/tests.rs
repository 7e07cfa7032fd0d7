use std::collections::BTreeMap;

use edge::{Settings, settings::ServiceDefaults};
use serde_json::json;
use shared::{
    live::{
        bus::{MemoryBus, Publication},
        clock::Moment,
        log::Limits,
    },
    pure::{Draft, Payload},
};

use super::{
    super::{command::Caller, request::Config, subscription::Scope},
    *,
};

#[test]
fn prefixes_of_others_are_left_out() {
    let of = |all: &[&str]| shortest(all.iter().map(|one| (*one).to_owned()).collect());
    assert_eq!(of(&["b", "a/b", "a", "ab", "a/"]), ["a", "b"]);
    assert_eq!(of(&["a", ""]), [""]);
    assert!(of(&[]).is_empty());
}

/// Streams that were created while a request was executed, and that were more than are noted, were not linked.
#[actix_web::test]
async fn nothing_is_missed_while_other_channels_are_watched() {
    struct All;
    impl Streams for All {
        fn ends(&self, _: &ChannelName) -> Option<(Cursor, Cursor)> {
            Some((Cursor::ZERO, Cursor::new(1, 0)))
        }
    }
    const STREAMS: usize = 3_000;
    let service = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
    let settings = Settings::from_sources(&service, [], []).unwrap().streams;
    let guard = guard(&settings);
    let mut book = Book::new(Arc::new(ServerKey::generate()), settings, BTreeMap::new(), usize::MAX);
    for part in 0..6 {
        let json =
            json!({ "type": "webhook", "pattern": format!("{part}/*"), "webhook": { "url": "https://example.org/" } });
        let put = Command::Put {
            id: part.to_string(),
            caller: Caller { owner: "ann".to_owned(), has_all: true },
            config: Config::read(json.to_string().as_bytes(), &guard).unwrap(),
            scope: Scope::All,
            base: "http://x/streams".to_owned(),
        };
        assert_eq!(book.execute(put, &[], &All, 0).status, 201);
    }
    let bus = MemoryBus::new(Limits::default(), Moment::now);
    let mut changes = watch(bus.log(), &book, &[], None);
    for n in 0..STREAMS {
        let draft = Draft::new(format!("{}/{n}", n % 6).parse().unwrap(), Payload::from_text("x"));
        bus.publish(Publication::new(vec![draft])).await.unwrap();
    }
    let next = watch(bus.log(), &book, &[], None);
    replace(bus.log(), &mut changes, next, &mut book, &All).await;
    assert_eq!(book.figures()[1], STREAMS);
}
