//! The ends of streams, for readers of their channels.

use super::*;

fn close(log: &Log, channel: &str) -> Cursor {
    let closing = Append { is_closing: true, ..append(channel, &[]) };
    at(log, 0, StreamOp::Append(closing.into())).unwrap().info.end.unwrap()
}

fn reader(log: &Arc<Log>, channels: &[&str], since: Since) -> Reader {
    Reader::open(log, &channels.iter().map(|channel| name(channel)).collect::<Vec<_>>(), since)
}

/// The next batch in short: a `!` for a gap, its data, the channel and the reason of an end.
fn next(reader: &mut Reader) -> Option<String> {
    let batch = reader.read(ALL)?;
    let mut short = String::from(if batch.gap.is_some() { "!" } else { "" });
    batch.messages.iter().for_each(|message| short.push_str(&message.draft.payload.plain_json()));
    if let Some(end) = batch.end {
        short.push_str(&format!(" {} {}", end.channel, end.reason.name()));
        assert!(end.id <= batch.cursor && batch.cursor == reader.cursor());
    }
    Some(short)
}

#[test]
fn the_end_follows_the_last_message() {
    let log = log(100_000);
    make(&log, create("s"));
    let first = add(&log, "s", &["1"]).tail;
    let last = add(&log, "s", &["2"]).tail;
    let end = close(&log, "s");
    publish(&log, "other", "3").unwrap();
    for (since, expected) in [
        (Since::Earliest, Some("12 s closed")),
        (Since::After(first), Some("2 s closed")),
        (Since::After(last), Some(" s closed")),
        // It has no cursor that shows that it knows the end.
        (Since::Now, Some(" s closed")),
        (Since::After(end), None),
    ] {
        let mut reader = reader(&log, &["s"], since);
        assert_eq!(next(&mut reader).as_deref(), expected, "{since:?}");
        assert_eq!((next(&mut reader), reader.ended()), (None, Some(end)), "{since:?}");
    }
    let mut bounded = reader(&log, &["s"], Since::Earliest);
    let batch = bounded.read(Limit { messages: 1, ..ALL }).unwrap();
    assert_eq!((batch.messages.len(), batch.end, bounded.ended()), (1, None, None));
    assert_eq!(next(&mut bounded).as_deref(), Some("2 s closed"));
}

#[test]
fn each_end_is_in_the_order_of_the_messages() {
    let log = log(100_000);
    for stream in ["a", "b"] {
        make(&log, create(stream));
    }
    let mut live = reader(&log, &["a", "b", "a"], Since::Now);
    add(&log, "b", &["1"]);
    close(&log, "a");
    add(&log, "b", &["2"]);
    let end = close(&log, "b");
    for mut reader in [live, reader(&log, &["a", "b"], Since::Earliest)] {
        assert_eq!(next(&mut reader).as_deref(), Some("1 a closed"));
        assert_eq!(reader.ended(), None);
        assert_eq!(next(&mut reader).as_deref(), Some("2 b closed"));
        assert_eq!((next(&mut reader), reader.ended()), (None, Some(end)));
    }
    live = reader(&log, &["a", "b"], Since::Now);
    assert_eq!(next(&mut live).as_deref(), Some(" a closed"));
    assert_eq!(live.ended(), None, "the end of the other one is still to be returned");
    assert_eq!(next(&mut live).as_deref(), Some(" b closed"));
    assert_eq!(live.ended(), Some(end));
    let mut with_channel = reader(&log, &["a", "plain"], Since::Earliest);
    assert_eq!(next(&mut with_channel).as_deref(), Some(" a closed"));
    assert_eq!(with_channel.ended(), None);
}

/// A gap says that messages were lost, which is not so for a reader that has them all.
#[test]
fn a_deletion_is_a_gap_for_those_who_have_not_read_everything() {
    let log = log(100_000);
    make(&log, create("s"));
    let first = add(&log, "s", &["1"]).tail;
    let last = add(&log, "s", &["2"]).tail;
    let (mut behind, mut caught_up) = (reader(&log, &["s"], Since::After(first)), reader(&log, &["s"], Since::Now));
    delete(&log, "s").unwrap();
    assert_eq!(next(&mut behind).as_deref(), Some("! s deleted"));
    assert_eq!(next(&mut caught_up).as_deref(), Some(" s deleted"));
    let end = caught_up.ended().unwrap();
    assert_eq!(behind.ended(), Some(end));
    drop((behind, caught_up));
    assert_eq!(next(&mut reader(&log, &["s"], Since::After(last))).as_deref(), Some(" s deleted"));
    let mut after = reader(&log, &["s"], Since::After(end));
    assert_eq!((after.ended(), next(&mut after)), (Some(end), None));
    // Whoever has no cursor reads a channel like any other.
    for since in [Since::Now, Since::Earliest] {
        assert_eq!(next(&mut reader(&log, &["s"], since)), None);
    }
    publish(&log, "s", "3").unwrap();
    assert_eq!(reader(&log, &["s"], Since::After(end)).ended(), None, "something follows");
    let mut late = reader(&log, &["s"], Since::After(last));
    assert_eq!(next(&mut late).as_deref(), Some(" s deleted"));
    assert_eq!(late.ended(), None);
    assert_eq!(next(&mut late).as_deref(), Some("3"));
    while log.sweep(START + 100_000) {}
    assert_eq!(reader(&log, &["s"], Since::After(end)).ended(), None, "something may follow again");
}

#[test]
fn another_stream_of_the_name_follows_the_end() {
    let log = log(100_000);
    make(&log, create("s"));
    let mut reader_before = reader(&log, &["s"], Since::Now);
    delete(&log, "s").unwrap();
    make(&log, create("s"));
    add(&log, "s", &["1"]);
    close(&log, "s");
    for mut all in [reader(&log, &["s"], Since::Now), reader(&log, &["s"], Since::Earliest)] {
        assert!(next(&mut all).unwrap().ends_with(" s closed"));
        assert_eq!(next(&mut all), None);
    }
    assert_eq!(next(&mut reader_before).as_deref(), Some(" s deleted"));
    assert_eq!(reader_before.ended(), None);
    assert_eq!(next(&mut reader_before).as_deref(), Some("1 s closed"));
}

#[test]
fn a_closed_stream_that_is_deleted_has_ended_once() {
    let log = log(100_000);
    make(&log, create("s"));
    let mut reader = reader(&log, &["s"], Since::Now);
    let end = close(&log, "s");
    assert_eq!(next(&mut reader).as_deref(), Some(" s closed"));
    delete(&log, "s").unwrap();
    assert_eq!(next(&mut reader), None);
    assert!(reader.ended() > Some(end));
}

/// Of a stream without a reader, too: the end is the last that is known of its channel.
#[test]
fn an_expired_stream_has_ended() {
    let log = log(100_000);
    make(&log, Create { lifetime: Lifetime::Idle(1), ..create("s") });
    let last = add(&log, "s", &["1"]).tail;
    while log.sweep_streams(START + 10_000) {}
    assert_eq!(next(&mut reader(&log, &["s"], Since::After(last))).as_deref(), Some(" s expired"));
}

#[test]
fn waiting_readers_are_woken() {
    let log = log(100_000);
    make(&log, create("s"));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let cx = Context::from_waker(&waker);
    let mut reader = reader(&log, &["s"], Since::Now);
    assert!(reader.poll_read(&cx, ALL).is_pending());
    close(&log, "s");
    assert_eq!(wakes.0.load(Relaxed), 1);
    assert_eq!(next(&mut reader).as_deref(), Some(" s closed"));
}

/// A client that came later does not know of the end, and its position is none: something may follow.
#[test]
fn a_deleted_stream_has_ended_for_those_who_know_it() {
    let log = log(100_000);
    make(&log, create("s"));
    let mut before = reader(&log, &["s"], Since::Now);
    delete(&log, "s").unwrap();
    assert_eq!(next(&mut before).as_deref(), Some(" s deleted"));
    let end = before.ended().unwrap();
    let mut fresh = reader(&log, &["s"], Since::Now);
    assert_eq!((next(&mut fresh), fresh.ended()), (None, None));
    assert!(fresh.cursor() > end);
    let mut again = reader(&log, &["s"], Since::After(fresh.cursor()));
    assert_eq!((next(&mut again), again.ended()), (None, None));
    publish(&log, "other", "1").unwrap();
    assert_eq!(reader(&log, &["s"], Since::After(end)).ended(), Some(end));
    assert_eq!(before.ended(), Some(end));
}

/// A pattern that is added does not touch the ends of other channels.
#[test]
fn an_end_is_returned_although_a_pattern_is_added() {
    let log = log(100_000);
    make(&log, create("s"));
    close(&log, "s");
    let mut reader = reader(&log, &["s"], Since::Now);
    reader.require_from(&ChannelName::selector("p.*").unwrap(), reader.cursor());
    assert_eq!(next(&mut reader).as_deref(), Some(" s closed"));
}
