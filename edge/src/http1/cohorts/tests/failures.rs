//! What must not cost a parked client a message: unlucky moments, large batches, ends, and failures.

use super::{super::cohort::Follows, *};
use crate::metrics::Unparked;

/// The head of the log moves before the wakers are called, and another worker may be in between.
#[actix_web::test]
async fn a_keep_alive_before_the_wake_up_passes_over_nothing() {
    let stage = Stage::new(Retention::default()).await;
    let mut early = stage.open("a&beat=300").await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    stage.publish("a", &["one"]);
    let held_back = stage.cohorts.woken.take();
    assert_eq!(held_back.len(), 1);
    let mut late = stage.open("a&beat=300").await;
    stage.until("both to be parked", |stage| stage.parked() == (2, 1)).await;
    early.read_until(|body| body.contains('K') || body.contains("one")).await;
    assert!(held_back.into_iter().all(|cohort| stage.cohorts.table.borrow_mut().wake(cohort)));
    stage.cohorts.woken.host.wake();
    stage.publish("a", &["two"]);
    assert!(early.read_to("two").await.contains("\"one\"\n"), "{}", early.text());
    assert!(!late.read_to("two").await.contains("one"));
}

/// More than a cohort sends at a time is sent in parts. Nobody leaves for it, and nobody gets less.
#[actix_web::test]
async fn a_large_batch_reaches_every_member() {
    const COUNT: usize = 100;
    let stage = Stage::new(Retention::default()).await;
    let mut clients = stage.open_all("a", COUNT).await;
    stage.until("all to be parked", |stage| stage.parked() == (COUNT, 1)).await;
    let line = "x".repeat(1_000);
    stage.publish("a", &[&line[..]; 200]);
    stage.publish("a", &["last"]);
    for client in &mut clients {
        assert_eq!(client.read_to("last").await.lines().count(), 1 + 200 + 1);
    }
    stage.until("all to be parked again", |stage| stage.parked() == (COUNT, 1)).await;
    let delivered = stage.edge.metrics.transport(Transport::Stream).deliveries.get();
    assert_eq!(usize::try_from(delivered), Ok(COUNT * 201));
    assert_eq!(stage.edge.metrics.parking.unparked(Unparked::Behind).get(), 0);
}

/// A large message is written to all from one place in memory, without a copy.
#[actix_web::test]
async fn a_large_message_is_shared() {
    let stage = Stage::new(Retention::default()).await;
    let _client = stage.open("a").await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    stage.publish("a", &[&"x".repeat(60_000)]);
    let mut table = stage.cohorts.table.borrow_mut();
    let place = table.members.iter().next().unwrap().1.place;
    let (_, cohort) = table.cohorts.iter_mut().next().unwrap();
    let mut longest = || {
        let Follows::Run(run) = cohort.follows(place) else { panic!("no run") };
        assert_eq!(run.len(), "EA63\r\n".len() + 60_003 + "\r\n".len());
        run.writings.into_iter().flatten().max_by_key(Bytes::len).unwrap()
    };
    let (first, second) = (longest(), longest());
    assert_eq!((first.len(), first.as_ptr()), (second.len(), second.as_ptr()));
}

/// A client that is slow again and again stays alone a little longer each time: leaving costs more than a message.
#[actix_web::test]
async fn a_client_that_is_slow_again_is_parked_later() {
    let stage = Stage::new(Retention::default()).await;
    let mut slow = stage.connect("a", "1.1", Some(4 * 1024)).await;
    let text = "x".repeat(50_000);
    let mut sent = 0;
    for _ in 0..2 {
        stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
        while stage.parked() == (1, 1) {
            sent += 1;
            stage.publish("a", &[&text]);
            timeout(PATIENCE, async {
                while stage.cohorts.woken.is_waiting() {
                    yield_now().await
                }
            })
            .await
            .unwrap();
            assert!(sent < 1_000, "it never left");
        }
        let last = format!("last {sent}");
        stage.publish("a", &[&last]);
        slow.read_to(&last).await;
    }
    assert_eq!(stage.edge.metrics.parking.unparked(Unparked::Slow).get(), 2);
    for _ in 0..100 {
        yield_now().await;
    }
    assert_eq!(stage.parked(), (0, 0), "it waits for one more message");
    stage.publish("a", &["more"]);
    slow.read_to("more").await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    assert_eq!(stage.edge.metrics.parking.connections.get(), 1);
    assert_eq!(stage.edge.metrics.parking.cohorts.get(), 1);
}

#[actix_web::test]
async fn a_client_that_closes_its_side_gets_what_was_published_before() {
    let stage = Stage::new(Retention::default()).await;
    let mut client = stage.open("a").await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    // The cohort is not woken: its client is heard first.
    stage.publish("a", &["one"]);
    stage.cohorts.woken.take();
    client.socket.shutdown().await.unwrap();
    assert!(client.read_to_end().await.ends_with("\"one\"\n"), "{}", client.text());
    stage.until("it to be gone", |stage| stage.edge.limits.connections() == 0).await;
}

/// The connections of a host that fails are closed: their clients resume elsewhere. Others are served by the next one.
#[actix_web::test]
async fn a_host_that_fails_leaves_no_silent_connection() {
    let stage = Stage::new(Retention::default()).await;
    let mut clients = stage.open_all("a&other=0", 1).await;
    clients.extend(stage.open_all("a", 3).await);
    stage.until("all to be parked", |stage| stage.parked().0 == 4).await;
    stage.publish("a", &["panic"]);
    for client in clients.drain(1..) {
        let mut client = client;
        let mut rest = Vec::new();
        // In order or not.
        let _ = timeout(PATIENCE, client.socket.read_to_end(&mut rest)).await.unwrap();
    }
    assert!(timeout(PATIENCE, clients.remove(0).served).await.unwrap().unwrap_err().is_panic());
    assert_eq!((stage.edge.limits.connections(), stage.parked()), (0, (0, 0)));
    let mut next = stage.open("a").await;
    stage.publish("a", &["one"]);
    next.read_to("one").await;
}
