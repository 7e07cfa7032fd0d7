//! Copies of a log have its streams.

use super::*;

const STREAMS: [&str; 2] = ["a", "s"];

/// A log of which at most `total` bytes are kept, in small segments.
pub(super) fn open(directory: &Temporary, total: u64) -> FileBus {
    let options = FileOptions { fsync: Fsync::Never, total: Some(total), ..FileOptions::default() };
    let limits = Limits { channel: Retention::default(), streams: Some(1 << 20), ..Limits::default() };
    FileBus::open(&directory.0, options, limits, Moment::now).unwrap()
}

pub(super) async fn texts(bus: &FileBus, channel: &str) -> Vec<String> {
    let mut reader = Reader::open(bus.log(), &[name(channel)], Since::Earliest).with_copies();
    let mut texts = Vec::new();
    while let Some(batch) = reader.stored(Limit::default()).await {
        assert_eq!(batch.gap, None, "{channel}");
        texts.extend(batch.messages.iter().map(|message| message.draft.payload.plain_json().to_string()));
    }
    texts
}

/// The writer of the other log ends on its own thread.
async fn import_when_ended(new: &Temporary, from: &Temporary) {
    while let Err(error) = import(&new.0, &from.0) {
        assert!(matches!(error, OpenError::Locked { .. }), "{error}");
        tokio::task::yield_now().await;
    }
}

async fn delete(bus: &FileBus, channel: &str) {
    bus.change_stream(StreamOp::Delete(name(channel))).await.unwrap();
}

/// Whether a stream of this name can be created.
async fn is_free(bus: &FileBus, channel: &str) -> bool {
    match bus.change_stream(StreamOp::Create(create(channel).into())).await {
        Ok(_) => {
            delete(bus, channel).await;
            true
        }
        Err(BusError::Stream(StreamError::NameTaken(_))) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Retention has written the messages of the streams again, and the fork comes before its source in the order of names.
#[tokio::test]
async fn an_import_has_the_streams_of_a_log_that_was_trimmed() {
    let (directory, new) = (Temporary::new(), Temporary::new());
    let bus = open(&directory, 1 << 20);
    bus.change_stream(StreamOp::Create(create("s").into())).await.unwrap();
    let mut expected = Vec::new();
    for n in 0..8 {
        bus.change_stream(StreamOp::Append(append("s", &[&n.to_string()]).into())).await.unwrap();
        expected.push(format!("\"{n}\""));
    }
    bus.change_stream(StreamOp::Create(fork("a", "s", None).into())).await.unwrap();
    // Deleted streams whose names are in use, one of them by another one.
    bus.change_stream(StreamOp::Create(create("z").into())).await.unwrap();
    for (channel, source) in [("y", "z"), ("x", "y")] {
        bus.change_stream(StreamOp::Create(fork(channel, source, None).into())).await.unwrap();
        delete(&bus, source).await;
    }
    for _ in 0..2_500 {
        bus.publish(publication("c", &"x".repeat(1_000))).await.unwrap();
    }
    bus.close().await;
    drop(bus);
    import_when_ended(&new, &directory).await;
    for _ in 0..2 {
        let bus = open(&new, 64 << 20);
        for channel in STREAMS {
            assert_eq!(texts(&bus, channel).await, expected, "{channel}");
        }
        bus.close().await;
    }
    let bus = open(&new, 64 << 20);
    delete(&bus, "s").await;
    assert!(!is_free(&bus, "s").await && !is_free(&bus, "y").await && !is_free(&bus, "z").await);
    delete(&bus, "a").await;
    delete(&bus, "x").await;
    assert!(is_free(&bus, "s").await && is_free(&bus, "y").await && is_free(&bus, "z").await);
    bus.close().await;
    drop(bus);
    let bus = open(&new, 64 << 20);
    for channel in STREAMS {
        assert!(bus.stream_info(&name(channel), false).is_err(), "{channel}");
    }
}

/// A stream ended at its last message that was not purged, so offsets of its clients were from the future.
#[tokio::test]
async fn an_import_has_the_end_of_a_stream_whose_last_messages_are_erased() {
    let (directory, new) = (Temporary::new(), Temporary::new());
    let options = FileOptions { fsync: Fsync::Never, purge_within: Duration::from_millis(1), ..FileOptions::default() };
    let bus = FileBus::open(&directory.0, options, Limits::default(), Moment::now).unwrap();
    bus.change_stream(StreamOp::Create(create("s").into())).await.unwrap();
    bus.change_stream(StreamOp::Append(append("s", &["1", "2"]).into())).await.unwrap();
    bus.purge(name("s")).await.unwrap();
    while !purge::all(&bus.states.lock()).is_empty() {
        bus.sweep();
        tokio::task::yield_now().await;
    }
    let before = bus.stream_info(&name("s"), false).unwrap();
    bus.close().await;
    drop(bus);
    import_when_ended(&new, &directory).await;
    let bus = open(&new, 64 << 20);
    assert_eq!(bus.stream_info(&name("s"), false).unwrap(), before);
    bus.change_stream(StreamOp::Create(fork("f", "s", Some(before.tail)).into())).await.unwrap();
}
