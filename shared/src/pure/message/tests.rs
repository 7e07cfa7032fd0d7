use super::*;

#[test]
fn a_message_is_a_line() {
    let payload = Payload::from_json(b"{\"b\": 1.50, \"a\": \"x\\ny\"}").unwrap();
    let draft = Draft::new("news".parse().unwrap(), payload).event("a \"b\"".parse().unwrap());
    let message = Message::new(Cursor::new(1_763_800_000_000, 2), draft);
    assert_eq!(
        message.line(Publisher::Shown),
        "{\"id\":\"1763800000000-2\",\"channel\":\"news\",\"event\":\"a \\\"b\\\"\",\
         \"data\":{\"b\":1.50,\"a\":\"x\\ny\"},\"time\":1763800000000}\n"
    );
}

/// The two forms of a message with a user are cached separately, and in either order.
#[test]
fn a_line_names_the_user_only_where_it_is_shown() {
    let line = |end: &str| {
        format!("{{\"id\":\"1-0\",\"channel\":\"news\",\"event\":\"message\",\"data\":\"x\",\"time\":1{end}}}\n")
    };
    let (shown, hidden) = (line(",\"from\":\"Mei\",\"user\":\"m\\\"1\""), line(",\"from\":\"Mei\""));
    for first in [Publisher::Shown, Publisher::Hidden] {
        let draft = message().draft.by(Some("m\"1".into()));
        let message = Message::new(Cursor::new(1, 0), Draft { from: Some("Mei".into()), ..draft });
        message.line(first);
        assert_eq!(
            (message.line(Publisher::Shown), message.line(Publisher::Hidden)),
            (shown.clone().into(), hidden.clone().into())
        );
    }
    let cache = Arc::new(FormCache::new(None));
    let mut message = message();
    message.enter(&cache, 1);
    message.line(Publisher::Hidden);
    let used = cache.used();
    message.line(Publisher::Shown);
    assert_eq!(cache.used(), used, "without a user there is only one form");
}

fn message() -> Message {
    Message::new(Cursor::new(1, 0), Draft::new("news".parse().unwrap(), Payload::from_text("x")))
}

#[test]
fn a_form_is_encoded_once_and_counted_while_it_is_kept() {
    let cache = Arc::new(FormCache::new(Some(10_000)));
    let mut message = message();
    message.enter(&cache, 1);
    assert_eq!(cache.used(), 0);
    let made = message.wire(Wire::Sse, |_| Bytes::from(vec![b'x'; 100]));
    let bare = cache.used() - 100;
    assert_eq!(message.wire(Wire::Sse, |_| unreachable!()), made);
    assert_eq!(message.packet(50, |_| 7_u32, |packet| *packet), Some(7));
    assert_eq!(message.packet(50, |_| -> u32 { unreachable!() }, |packet| *packet), Some(7));
    assert_eq!(message.packet(50, |_| 1_u64, |packet| *packet), None, "another type was there first");
    message.count(5);
    assert_eq!(cache.used(), bare + 155);
    message.drop_forms();
    assert_eq!(cache.used(), 0);
    assert_eq!(message.wire(Wire::Sse, |_| Bytes::from_static(b"again")), "again");
    assert_eq!(cache.used(), bare + 5);
    drop(message);
    assert_eq!(cache.used(), 0);
}

/// What a reader keeps of a message that the log has dropped was counted nowhere.
#[test]
fn a_message_that_only_readers_have_is_counted_once() {
    let cache = Arc::new(FormCache::new(Some(10_000)));
    let mut message = message();
    message.enter(&cache, 1);
    let (message, bytes) = (Arc::new(message), message_footprint());
    let reader = message.clone();
    assert!(!message.has_left());
    message.leave();
    message.leave();
    drop(message);
    assert_eq!((reader.has_left(), cache.left()), (true, bytes));
    assert!(!cache.has_room(Cursor::new(2, 0), 11_200), "they take the room of forms");
    let mut other = self::message();
    other.stay_out(&cache);
    assert_eq!(cache.left(), 2 * bytes);
    other.wire(Wire::Sse, |_| Bytes::from_static(b"x"));
    assert_eq!(cache.evict(), None, "its forms have no place in the log");
    drop((reader, other));
    assert_eq!((cache.left(), cache.used()), (0, 0));
}

fn message_footprint() -> usize {
    message().footprint()
}

#[test]
fn without_room_a_form_is_encoded_for_each_reader() {
    let cache = Arc::new(FormCache::new(Some(800)));
    let mut message = message();
    message.enter(&cache, 1);
    let large = || Bytes::from(vec![b'x'; 1000]);
    assert_eq!(message.wire(Wire::Sse, |_| large()).len(), 1000);
    assert_eq!(message.packet(1000, |_| (), |()| ()), None);
    assert_eq!(cache.used(), 0);
    assert_eq!(message.wire(Wire::Sse, |_| Bytes::from_static(b"small")), "small", "it was not kept");
    assert!(cache.used() > 0, "and a small one is");
}

/// The parts of [`Message::OVERHEAD`], so that a field added later is included.
#[test]
fn the_overhead_covers_the_allocated_memory() {
    let counts = 2 * size_of::<usize>();
    // The message with its reference counts, its slot in a history with up to four times the needed space, the counts of the texts of
    // channel and name, and the allocator's overhead for each of six allocations.
    let least = counts + size_of::<Message>() + 4 * size_of::<Arc<Message>>() + 2 * counts + 6 * 8;
    assert!(Message::OVERHEAD >= least, "{} < {least}", Message::OVERHEAD);
}
