//! Redis restarts with all entries, with some, or with none.

use super::{
    proxy::{Proxy, Way},
    *,
};

async fn publish_many(bus: &RedisBus, name: &str, count: usize) -> Vec<Cursor> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.extend(bus.publish(publication(name, n)).await.unwrap().ids);
    }
    ids
}

async fn away(bus: &RedisBus) {
    until("the bus is away", || bus.ready().is_err()).await;
}

#[tokio::test]
async fn a_restart_with_its_file_loses_nothing_and_gives_no_gap() {
    let mut server = Server::kept().await;
    let (one, other) = (connect(&server.url()).await, connect(&server.url()).await);
    let mut reader = Reader::open(other.log(), &[channel("a")], Since::Now);
    let mut sent = publish_many(&one, "a", 50).await;
    server.kill();
    away(&one).await;
    let started = Instant::now();
    assert!(matches!(one.publish(publication("a", "lost")).await, Err(BusError::Unavailable(_))));
    assert!(started.elapsed() < Duration::from_millis(100), "who knows that Redis is away says so at once");
    server.run().await;
    ready(&one).await;
    ready(&other).await;
    sent.extend(publish_many(&one, "a", 50).await);
    assert!(sent.is_sorted_by(|a, b| a < b));
    assert_eq!(take(&mut reader, 100).await, (sent.clone(), false));

    let new = connect(&server.url()).await;
    let mut reader = Reader::open(new.log(), &[channel("a")], Since::After(sent[20]));
    assert_eq!(take(&mut reader, 79).await, (sent[21..].to_vec(), false));
}

#[tokio::test]
async fn an_emptied_redis_gives_each_reader_one_gap_and_ids_continue() {
    let mut server = Server::start().await;
    let (one, other) = (connect(&server.url()).await, connect(&server.url()).await);
    let mut readers = [&one, &other].map(|bus| Reader::open(bus.log(), &[channel("a")], Since::Now));
    let before = publish_many(&one, "a", 20).await;
    for reader in &mut readers {
        assert_eq!(take(reader, 20).await, (before.clone(), false));
    }
    server.kill();
    away(&one).await;
    away(&other).await;
    server.run().await;
    ready(&one).await;
    ready(&other).await;
    let mut after = publish_many(&one, "a", 10).await;
    after.extend(publish_many(&other, "a", 10).await);
    assert!(before[19] < after[0] && after.is_sorted_by(|a, b| a < b));
    for reader in &mut readers {
        let batch = next(reader).await;
        assert_eq!(batch.gap.map(|gap| gap.requested), Some(before[19]));
        let mut ids: Vec<_> = batch.messages.iter().map(|message| message.id).collect();
        let (rest, is_gap) = take(reader, 20 - ids.len()).await;
        ids.extend(rest);
        assert_eq!((ids, is_gap), (after.clone(), false));
    }
    // Another process, which has never read the lost entries, reports the loss to clients that did.
    let new = connect(&server.url()).await;
    for bus in [&new, &one] {
        let mut reader = Reader::open(bus.log(), &[channel("a")], Since::After(before[19]));
        assert_eq!(take(&mut reader, 20).await, (after.clone(), true));
        let mut reader = Reader::open(bus.log(), &[channel("a")], Since::After(after[4]));
        assert_eq!(take(&mut reader, 15).await, (after[5..].to_vec(), false));
    }
}

#[tokio::test]
async fn a_rollback_is_a_gap_and_ids_continue() {
    let mut server = Server::kept().await;
    let one = connect(&server.url()).await;
    let mut reader = Reader::open(one.log(), &[channel("a")], Since::Now);
    let kept = publish_many(&one, "a", 10).await;
    let backup = server.backup();
    let lost = publish_many(&one, "a", 10).await;
    take(&mut reader, 20).await;
    server.kill();
    away(&one).await;
    server.set_back(&backup);
    server.run().await;
    ready(&one).await;
    let after = publish_many(&one, "a", 5).await;
    assert!(lost[9] < after[0]);
    assert_eq!(take(&mut reader, 5).await, (after.clone(), true));
    let new = connect(&server.url()).await;
    let mut reader = Reader::open(new.log(), &[channel("a")], Since::After(lost[4]));
    assert_eq!(take(&mut reader, 5).await, (after.clone(), true));
    let mut reader = Reader::open(new.log(), &[channel("a")], Since::After(kept[4]));
    assert_eq!(take(&mut reader, 10).await, ([&kept[5..], &after[..]].concat(), true), "what is held is not dropped");
}

/// Another process publishes before the one that knows of the loss is back: the stream is then further than it ever was.
#[tokio::test]
async fn after_a_rollback_readers_of_lost_entries_report_the_loss() {
    let mut server = Server::kept().await;
    let proxy = Proxy::start(server.port()).await;
    let one = connect(&proxy.url()).await;
    let mut reader = Reader::open(one.log(), &[channel("a")], Since::Now);
    publish_many(&one, "a", 10).await;
    let backup = server.backup();
    let lost = publish_many(&one, "a", 10).await;
    take(&mut reader, 20).await;
    proxy.set(Way::Closed);
    away(&one).await;
    server.kill();
    server.set_back(&backup);
    server.run().await;
    let other = connect(&server.url()).await;
    let after = publish_many(&other, "a", 30).await;
    assert!(lost[9] < after[0]);
    let mut moved = Reader::open(other.log(), &[channel("a")], Since::After(lost[4]));
    assert_eq!(take(&mut moved, 30).await, (after.clone(), false), "not known to anybody here yet");
    proxy.set(Way::Open);
    assert_eq!(take(&mut reader, 30).await.0, after);
    until("both processes have heard of the break", || other.log().head() == one.log().head() && one.ready().is_ok())
        .await;
    let last = publish_many(&one, "a", 1).await;
    assert_eq!(take(&mut moved, 1).await, (last.clone(), true));
    assert_eq!(take(&mut reader, 1).await.0, last);
}

#[tokio::test]
async fn a_stream_deleted_while_it_is_read_is_a_gap() {
    let server = Server::start().await;
    let bus = connect(&server.url()).await;
    let mut reader = Reader::open(bus.log(), &[channel("a")], Since::Now);
    let before = publish_many(&bus, "a", 5).await;
    take(&mut reader, 5).await;
    server.command(&["FLUSHALL"]).await;
    let key = Some(IdempotencyKey { scope: String::new(), key: "k".into() });
    let after = publish(&bus, Publication { key, ..publication("a", "after") }).await.ids;
    assert!(before[4] < after[0]);
    let batch = next(&mut reader).await;
    assert_eq!(batch.gap.map(|gap| gap.requested), Some(before[4]));
    let (ids, is_gap) = if batch.messages.is_empty() { take(&mut reader, 1).await } else { (after.clone(), false) };
    assert_eq!((ids, is_gap), (after, false));
}

#[tokio::test]
async fn entries_trimmed_while_a_process_was_disconnected_are_a_gap() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let limits = Limits { total: Some(1_000_000), ..Limits::default() };
    let bus = |url: &str| RedisBus::open(url, None, limits).unwrap();
    let (here, there) = (bus(&server.url()), bus(&proxy.url()));
    ready(&here).await;
    ready(&there).await;
    let mut quiet = Reader::open(there.log(), &[channel("quiet")], Since::Now);
    let mut busy = Reader::open(there.log(), &[channel("a")], Since::Now);
    let first = publish_many(&here, "a", 1).await;
    take(&mut busy, 1).await;
    proxy.set(Way::Closed);
    away(&there).await;
    let sent = here.publish(Publication::new(vec![Draft::new(channel("quiet"), Payload::from_text("early")); 1]));
    sent.await.unwrap();
    let text = "x".repeat(1_000);
    for _ in 0..100 {
        let drafts = vec![Draft::new(channel("a"), Payload::from_text(&text)); 50];
        here.publish(Publication::new(drafts)).await.unwrap();
    }
    let length = async || server.count(&["XLEN", scripts::STREAM]).await;
    let started = Instant::now();
    while length().await > 900 {
        assert!(started.elapsed() < PATIENCE, "the stream is trimmed to what is held, {} entries", length().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(length().await >= 500, "and to no less");
    proxy.set(Way::Open);
    let batch = next(&mut busy).await;
    assert_eq!(batch.gap.map(|gap| gap.requested), Some(first[0]));
    let batch = next(&mut quiet).await;
    assert!(batch.gap.is_some() && batch.messages.is_empty(), "a channel whose only message is gone says so");
    // A new process knows where its knowledge begins.
    let new = bus(&server.url());
    ready(&new).await;
    let mut reader = Reader::open(new.log(), &[channel("quiet")], Since::After(first[0]));
    assert!(next(&mut reader).await.gap.is_some());
}

#[tokio::test]
async fn started_without_redis_it_serves_and_loads_later() {
    let mut server = Server::kept().await;
    let before = {
        let bus = connect(&server.url()).await;
        publish_many(&bus, "a", 5).await
    };
    server.kill();
    let bus = open(&server.url());
    let started = Instant::now();
    assert!(matches!(bus.publish(publication("a", 1)).await, Err(BusError::Unavailable(_))));
    bus.wait_for(before[1]).await;
    assert!(bus.ready().is_err() && started.elapsed() < Duration::from_millis(100));
    let open = |since| Reader::open(bus.log(), &[channel("a")], since);
    let (mut now, mut earliest, mut within) = (open(Since::Now), open(Since::Earliest), open(Since::After(before[1])));
    assert!(now.read(Limit::default()).is_none());
    server.run().await;
    ready(&bus).await;
    let after = publish_many(&bus, "a", 1).await;
    let all = [&before[..], &after[..]].concat();
    assert_eq!(take(&mut earliest, 6).await, (all.clone(), false));
    assert_eq!(take(&mut within, 4).await, (all[2..].to_vec(), false));
    assert_eq!(take(&mut now, 1).await, (after, false));
}
