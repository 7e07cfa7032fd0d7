//! The network to Redis stalls, breaks and is slow; acknowledged messages are delivered once, in order, everywhere.

use rand::RngExt as _;

use super::{
    proxy::{Proxy, Way},
    *,
};

#[tokio::test]
async fn a_cursor_ahead_of_a_process_that_is_cut_off_waits_for_it() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let (here, there) = (connect(&server.url()).await, connect(&proxy.url()).await);
    here.publish(publication("a", 0)).await.unwrap();
    proxy.set(Way::Stalled);
    let seen = here.publish(publication("a", 1)).await.unwrap().ids[0];
    let mut reader = Reader::open(there.log(), &[channel("a")], Since::After(seen));
    assert!(
        timeout(Duration::from_secs(4), reader.next(Limit::default())).await.is_err(),
        "who cannot know says nothing"
    );
    assert!(there.ready().is_err(), "silence is noticed");
    proxy.set(Way::Open);
    let next = here.publish(publication("a", 2)).await.unwrap().ids;
    assert_eq!(take(&mut reader, 1).await, (next, false));
}

#[tokio::test]
async fn a_process_started_without_redis_waits_for_it() {
    let server = Server::start().await;
    let before = connect(&server.url()).await.publish(publication("a", 0)).await.unwrap().ids;
    let proxy = Proxy::start(server.port()).await;
    proxy.set(Way::Stalled);
    let bus = open(&proxy.url());
    assert!(timeout(Duration::from_secs(1), bus.filled()).await.is_err(), "nothing has come in yet");
    proxy.set(Way::Open);
    timeout(PATIENCE, bus.filled()).await.expect("it comes in");
    let mut reader = Reader::open(bus.log(), &[channel("a")], Since::Earliest);
    assert_eq!(take(&mut reader, 1).await, (before, false));
    timeout(Duration::ZERO, bus.filled()).await.expect("once is for ever");
}

#[tokio::test]
async fn a_silent_redis_is_unavailable_and_its_queue_is_bounded() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let bus = Arc::new(connect(&proxy.url()).await);
    proxy.set(Way::Stalled);
    let text = "x".repeat(1024 * 1024);
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let (bus, publication) = (bus.clone(), publication("a", &text));
            tokio::spawn(async move { bus.publish(publication).await })
        })
        .collect();
    until("those that wait fill the room", || bus.room.available_permits() < 1024).await;
    for asked in asked {
        let answer = timeout(PATIENCE, asked).await.expect("every publication ends").unwrap();
        assert!(matches!(answer, Err(BusError::Unavailable(_) | BusError::Unknown(_))));
    }
    until("all of the room is free again", || bus.room.available_permits() == ROOM_KIB).await;
}

/// Publishers repeat each publication with its key until it is acknowledged, while the network to Redis changes all the time. Readers on
/// both processes receive each message once, in the order of the ids, without a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_is_delivered_once_over_every_fault() {
    const PUBLISHERS: usize = 4;
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let (clear, faulty) = (Arc::new(connect(&server.url()).await), Arc::new(connect(&proxy.url()).await));
    let mut readers = [&clear, &faulty].map(|bus| Reader::open(bus.log(), &[channel("a"), channel("b")], Since::Now));
    let (stop, stopped) = watch::channel(false);
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let (bus, stopped) = (if publisher == 0 { clear.clone() } else { faulty.clone() }, stopped.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                let mut n = 0;
                while !*stopped.borrow() || n < 10 {
                    let name = if n % 2 == 0 { "a" } else { "b" };
                    let key = Some(IdempotencyKey { scope: publisher.to_string(), key: n.to_string() });
                    let published = publish(&bus, Publication { key, ..publication(name, (publisher, n)) }).await;
                    acknowledged.push((published.ids[0], format!("[{publisher},{n}]")));
                    n += 1;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                acknowledged
            })
        })
        .collect();
    let ms = Duration::from_millis;
    let mut ways = vec![Way::Stalled, Way::Closed, Way::Slow(ms(30))];
    ways.extend((0..8).map(|_| Way::Cut(rand::rng().random_range(1..6_000))));
    for way in ways {
        proxy.set(way);
        tokio::time::sleep(ms(if way == Way::Stalled { 2_500 } else { 300 })).await;
        proxy.set(Way::Open);
        ready(&faulty).await;
    }
    stop.send_replace(true);
    let mut acknowledged = HashMap::new();
    for publisher in publishers {
        acknowledged.extend(timeout(PATIENCE, publisher).await.unwrap().unwrap());
    }
    for reader in &mut readers {
        let mut seen = Vec::new();
        while seen.len() < acknowledged.len() {
            let batch = next(reader).await;
            assert_eq!(batch.gap, None);
            seen.extend(batch.messages.iter().map(|m| (m.id, m.draft.payload.placeholder_json().to_owned())));
        }
        assert!(seen.is_sorted_by(|a, b| a.0 < b.0), "in order and once");
        let seen: HashMap<_, _> = seen.into_iter().collect();
        assert_eq!(seen, acknowledged);
    }
}
