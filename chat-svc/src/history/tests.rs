use futures_util::FutureExt as _;
use shared::{
    live::{
        bus::{Bus as _, FileBus, Publication, file::FileOptions},
        clock::Moment,
        log::Limits,
    },
    pure::{Draft, Retention},
};

use super::*;

const START: u64 = 1_763_800_000_000;

fn lobby() -> ChannelName {
    "chat.lobby".parse().unwrap()
}

/// A log with messages of these sizes in the lobby, and their ids.
fn log(sizes: &[usize]) -> (Arc<Log>, Vec<Cursor>) {
    let limits = Limits { channel: Retention::default(), ..Limits::default() };
    let log = Arc::new(Log::new(limits, Cursor::new(START, 0)));
    let text = |size: &usize| shared::pure::Payload::from_text(&"x".repeat(*size));
    let drafts = sizes.iter().map(|size| Draft::new(lobby(), text(size))).collect();
    let ids = log.append(drafts, START + 1);
    (log, ids)
}

/// A page of a log that has everything in memory.
fn read(
    log: &Arc<Log>,
    channel: &ChannelName,
    before: Cursor,
    limit: usize,
    max_bytes: usize,
    at_least_one: bool,
    publisher: Publisher,
) -> Page {
    let page = Page::read(log, channel, before, limit, max_bytes, at_least_one, publisher);
    page.now_or_never().expect("nothing is waited for")
}

fn ids(page: &Page) -> Vec<Cursor> {
    let messages: Vec<serde_json::Value> = serde_json::from_str(&format!("[{}]", page.messages)).unwrap();
    messages.iter().map(|message| message["id"].as_str().unwrap().parse().unwrap()).collect()
}

/// Case 1.1: the newest messages that fit into the byte budget, and with the cursor all older ones, each once.
#[test]
fn pages_fit_into_their_bytes_and_lead_to_all_older_messages() {
    let (log, all) = log(&[60_000; 20]);
    let first = read(&log, &lobby(), all[19].next(0), MAX_MESSAGES, MAX_BYTES, false, Publisher::Hidden);
    assert!(first.messages.len() <= MAX_BYTES);
    assert_eq!((ids(&first), first.cursor, first.more), (all[16..].to_vec(), all[16], true));
    let (mut before, mut seen) = (first.cursor, Vec::new());
    loop {
        let page = read(&log, &lobby(), before, MAX_MESSAGES, MAX_BYTES, true, Publisher::Hidden);
        assert!(page.messages.len() <= MAX_BYTES);
        seen.splice(0..0, ids(&page));
        before = page.cursor;
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, all[..16]);
}

#[test]
fn a_page_ends_by_its_count() {
    let (log, all) = log(&[1; 60]);
    let page = |before, limit| read(&log, &lobby(), before, limit, MAX_BYTES, true, Publisher::Hidden);
    let last = page(Cursor::MAX, 50);
    assert_eq!((ids(&last), last.cursor, last.more), (all[10..].to_vec(), all[10], true));
    let rest = page(last.cursor, 50);
    assert_eq!((ids(&rest), rest.cursor, rest.more), (all[..10].to_vec(), all[0], false));
    let exact = page(all[10], 10);
    assert_eq!((ids(&exact).len(), exact.more), (10, false));
    let none = page(all[0], 10);
    assert_eq!(none, Page { messages: String::new(), cursor: all[0], more: false });
}

/// The ack of `join` stays within its budget; `history` continues past a message that exceeds a page.
#[test]
fn a_message_larger_than_a_page_comes_alone() {
    let (log, all) = log(&[10, MAX_BYTES + 1, 10]);
    let joined = read(&log, &lobby(), all[2].next(0), 50, MAX_BYTES, false, Publisher::Hidden);
    assert_eq!((ids(&joined), joined.more), (all[2..].to_vec(), true));
    let alone = read(&log, &lobby(), joined.cursor, 50, MAX_BYTES, true, Publisher::Hidden);
    assert_eq!((ids(&alone), alone.more), (vec![all[1]], true));
    let nothing = read(&log, &lobby(), joined.cursor, 50, MAX_BYTES, false, Publisher::Hidden);
    assert_eq!(nothing, Page { messages: String::new(), cursor: all[2], more: true });
}

/// When little memory is left for what waits for clients, a page is shorter, down to none in the ack of `join`.
#[test]
fn a_page_is_no_longer_than_the_pull_allows() {
    let (log, all) = log(&[1_000; 20]);
    let page =
        |max_bytes, at_least_one| read(&log, &lobby(), all[19].next(0), 50, max_bytes, at_least_one, Publisher::Hidden);
    let two = page(2_500, false);
    assert_eq!((ids(&two), two.cursor, two.more), (all[18..].to_vec(), all[18], true));
    assert_eq!(ids(&page(8, true)), [all[19]]);
    let none = page(8, false);
    assert_eq!((none.messages.as_str(), none.cursor, none.more), ("", all[19].next(0), true));
}

/// The memory of a bus with a log on disk may have a few messages, or none of a room.
#[actix_web::test]
async fn a_page_is_read_from_disk() {
    let directory = std::env::temp_dir().join(format!("trident-page-{:016x}", rand::random::<u64>()));
    let limits = Limits { total: Some(8_000), ..Limits::default() };
    let bus = FileBus::open(&directory, FileOptions::default(), limits, Moment::now).unwrap();
    let mut all = Vec::new();
    for _ in 0..60 {
        let draft = Draft::new(lobby(), shared::pure::Payload::from_text(&"x".repeat(300)));
        all.extend(bus.publish(Publication::new(vec![draft])).await.unwrap().ids);
    }
    let page = Page::read(bus.log(), &lobby(), Cursor::MAX, 50, MAX_BYTES, true, Publisher::Hidden).await;
    assert_eq!((ids(&page), page.more), (all[10..].to_vec(), true));
    let page = Page::read(bus.log(), &lobby(), page.cursor, 50, MAX_BYTES, true, Publisher::Hidden).await;
    assert_eq!((ids(&page), page.more), (all[..10].to_vec(), false));
    bus.close().await;
    std::fs::remove_dir_all(directory).unwrap();
}
