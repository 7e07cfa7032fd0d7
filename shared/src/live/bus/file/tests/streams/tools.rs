//! Copies of a log have its streams.

use super::*;

const STREAMS: [&str; 2] = ["a", "s"];

/// A log of which at most `total` bytes are kept, in small segments.
fn open(directory: &Temporary, total: u64) -> FileBus {
    let options = FileOptions { fsync: Fsync::Never, total: Some(total), ..FileOptions::default() };
    let limits = Limits { channel: Retention::default(), streams: Some(1 << 20), ..Limits::default() };
    FileBus::open(&directory.0, options, limits, Moment::now).unwrap()
}

async fn texts(bus: &FileBus, channel: &str) -> Vec<String> {
    let mut reader = Reader::open(bus.log(), &[name(channel)], Since::Earliest).with_copies();
    let mut texts = Vec::new();
    while let Some(batch) = reader.stored(Limit::default()).await {
        assert_eq!(batch.gap, None, "{channel}");
        texts.extend(batch.messages.iter().map(|message| message.draft.payload.plain_json().to_string()));
    }
    texts
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
    for _ in 0..2_500 {
        bus.publish(publication("c", &"x".repeat(1_000))).await.unwrap();
    }
    bus.close().await;
    drop(bus);
    while let Err(error) = import(&new.0, &directory.0) {
        assert!(matches!(error, OpenError::Locked { .. }), "{error}");
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        let bus = open(&new, 64 << 20);
        for channel in STREAMS {
            assert_eq!(texts(&bus, channel).await, expected, "{channel}");
        }
        bus.close().await;
    }
    let bus = open(&new, 64 << 20);
    for channel in STREAMS {
        bus.change_stream(StreamOp::Delete(name(channel))).await.unwrap();
    }
    bus.close().await;
    drop(bus);
    let bus = open(&new, 64 << 20);
    for channel in STREAMS {
        assert!(bus.stream_info(&name(channel), false).is_err(), "{channel}");
    }
}
