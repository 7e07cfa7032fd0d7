//! From a Redis to a log on disk.

use super::*;
use crate::{
    live::bus::{
        BusError, FileBus,
        contract::{append, create},
        file::{FileOptions, import_log},
    },
    pure::stream::{Append, Create, Fork, Lifetime, Outcome, Producer, StreamError, StreamOp},
};

/// A cursor of the Redis continues on the disk.
#[tokio::test]
async fn what_is_in_redis_can_be_imported() {
    let server = Server::start().await;
    let bus = connect(&server.url()).await;
    let mut sent = Vec::new();
    for n in 0..300 {
        sent.extend(publish(&bus, publication(if n % 3 == 0 { "a" } else { "b" }, n)).await.ids);
    }
    until("all is in the log", || bus.log().head() == sent[299]).await;
    let directory = std::env::temp_dir().join(format!("trident-import-{:016x}", rand::random::<u64>()));
    let imported = import_log(&directory, bus.log()).unwrap();
    assert_eq!((imported.messages, imported.ids), (300, Some((sent[0], sent[299]))));
    let disk = FileBus::open(&directory, FileOptions::default(), Limits::default(), Moment::now).unwrap();
    let channels = [channel("a"), channel("b")];
    let mut reader = Reader::open(disk.log(), &channels, Since::After(sent[99]));
    let batch = reader.stored(Limit { messages: usize::MAX, bytes: usize::MAX }).await.unwrap();
    assert!(batch.gap.is_none());
    assert_eq!(batch.messages.iter().map(|message| message.id).collect::<Vec<_>>(), sent[100..]);
    let older = Reader::open(disk.log(), &channels, Since::After(Cursor::FIRST_ISSUED));
    let (mut older, limit) = (older, Limit::default());
    assert!(older.stored(limit).await.unwrap().gap.is_some(), "what was before the stream is not known");
    assert!(disk.publish(publication("a", 0)).await.unwrap().ids[0] > sent[299]);
    disk.close().await;
    std::fs::remove_dir_all(directory).unwrap();
}

/// Streams are what they were: messages, offsets, producers, lifetimes, ends, forks, and names that are in use.
#[tokio::test]
async fn streams_in_redis_can_be_imported() {
    let server = Server::start().await;
    let bus = connect(&server.url()).await;
    let by = |seq| Some(Producer { id: "p".into(), epoch: 3, seq });
    let fork = |name: &str, source: &str| {
        let fork = Some(Fork { source: channel(source), at: None, sub: 0 });
        StreamOp::Create(Create { fork, ..create(name) }.into())
    };
    let make = async |op: StreamOp| drop(bus.stream(op).await.unwrap());
    bus.publish(publication("plain", 0)).await.unwrap();
    make(StreamOp::Create(Create { lifetime: Lifetime::Idle(3_600), ..create("s") }.into())).await;
    for n in 0..4 {
        make(StreamOp::Append(Append { producer: by(n as u64), ..append("s", &[n]) }.into())).await;
        bus.publish(publication("plain", n + 1)).await.unwrap();
    }
    make(fork("f", "s")).await;
    make(StreamOp::Append(Append { is_closing: true, ..append("f", &[4]) }.into())).await;
    make(StreamOp::Create(create("deleted").into())).await;
    make(fork("kept", "deleted")).await;
    make(StreamOp::Delete(channel("deleted"))).await;
    bus.publish(publication("plain", 5)).await.unwrap();
    // Streams that are older than the log.
    let oldest = bus.log().latest(&channel("plain"), 2, bus.log().head())[0].id;
    server.command(&["XTRIM", scripts::STREAM, "MINID", &oldest.to_string()]).await;
    server.command(&["SET", scripts::EDGE, &oldest.to_string()]).await;
    for is_trimmed in [false, true] {
        let late = connect(&server.url()).await;
        let from = if is_trimmed { &late } else { &bus };
        let directory = std::env::temp_dir().join(format!("trident-import-{:016x}", rand::random::<u64>()));
        let imported = import_log(&directory, from.log()).unwrap();
        assert_eq!((imported.messages, imported.streams), (if is_trimmed { 2 } else { 6 }, 3));
        for _ in 0..2 {
            let limits = Limits { streams: Some(1 << 20), ..Limits::default() };
            let disk = FileBus::open(&directory, FileOptions::default(), limits, Moment::now).unwrap();
            for (name, count) in [("s", 4), ("f", 5), ("kept", 0)] {
                let info = |bus: &dyn Bus| bus.stream_info(&channel(name), false).unwrap();
                assert_eq!(info(&disk), info(&bus), "{name}");
                let mut reader = Reader::open(disk.log(), &[channel(name)], Since::Earliest).with_copies();
                let read = reader.stored(Limit::default()).await.map(|batch| batch.messages).unwrap_or_default();
                let texts: Vec<_> = read.iter().map(|message| message.draft.payload.plain_json()).collect();
                assert_eq!(texts, (0..count).map(|n| n.to_string()).collect::<Vec<_>>(), "{name}");
            }
            let again = Append { producer: by(3), ..append("s", &[3]) };
            assert_eq!(disk.stream(StreamOp::Append(again.into())).await.unwrap().outcome, Outcome::Repeated(Some(3)));
            let taken = disk.stream(StreamOp::Create(create("deleted").into())).await;
            assert!(matches!(taken, Err(BusError::Stream(StreamError::NameTaken(_)))), "{taken:?}");
            assert_eq!(disk.log().channel_stats(&channel("plain")).messages, if is_trimmed { 2 } else { 6 });
            disk.close().await;
        }
        let disk = FileBus::open(&directory, FileOptions::default(), Limits::default(), Moment::now).unwrap();
        let appended = disk.stream(StreamOp::Append(append("s", &[4]).into())).await.unwrap().info.tail;
        assert!(appended > bus.log().head());
        disk.close().await;
        std::fs::remove_dir_all(directory).unwrap();
    }
}
