//! From a Redis to a log on disk.

use super::*;
use crate::live::bus::{
    FileBus,
    file::{FileOptions, import_log},
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
