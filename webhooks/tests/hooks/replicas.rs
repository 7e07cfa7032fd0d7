//! One sender among all processes on a Redis.

use edge::testing::{Site, redis::Server};

use super::*;

fn replica(receiver: &Receiver, server: &Server) -> Site {
    site(receiver, &[("TRIDENT_BUS", &server.url())])
}

/// Whether a process is the sender.
fn sends(site: &Site) -> bool {
    site.service.edge.metrics.encode().unwrap().contains("\ntrident_hook_sender 1\n")
}

/// Another process takes over from one that stops and from one that is killed, with the same batch.
#[actix_web::test]
async fn another_process_takes_over_with_the_same_batch() {
    let server = Server::start().await;
    let is_up = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (switch, is_up) = (is_up.clone(), move || is_up.load(std::sync::atomic::Ordering::SeqCst));
    let receiver =
        Receiver::start(move |_| if is_up() { OK } else { Behaviour::Answer(500, "Retry-After: 60\r\n") }).await;
    let replicas = [replica(&receiver, &server), replica(&receiver, &server)];
    until("both logs", || replicas.iter().all(|one| one.service.bus.ready().is_ok())).await;
    until("one sender", || replicas.iter().filter(|one| sends(one)).count() == 1).await;
    let [one, other] = replicas;
    let (sender, next) = if sends(&one) { (one, other) } else { (other, one) };
    let mut expected = publish(&next.service, &["a", "b.1"], 0).await;
    until("the first events", || receiver.accepted().len() == 2).await;
    switch.store(false, std::sync::atomic::Ordering::SeqCst);
    expected.extend(publish(&sender.service, &["a"], 1).await);
    until("an attempt that fails", || receiver.received().last().is_some_and(|last| last.status == 500)).await;
    expected.extend(publish(&next.service, &["a"], 2).await);
    assert!(!sends(&next));
    switch.store(true, std::sync::atomic::Ordering::SeqCst);
    sender.stop().await;
    until("all events", || receiver.accepted().len() == 4).await;
    assert!(sends(&next));
    assert_eq!(ids(&receiver.accepted()), texts(&expected));
    let received = receiver.received();
    assert_repetitions_are_equal(&received);
    let failed: Vec<_> = received.iter().filter(|request| request.status == 500).collect();
    let repeated = received.iter().find(|request| request.status == 200 && request.id == failed[0].id).unwrap();
    assert_eq!(repeated.events().len(), 1);
    // A process that is killed does not release its lease: it expires.
    let last = replica(&receiver, &server);
    until("the log of the third", || last.service.bus.ready().is_ok()).await;
    server.command(&["SET", "{trident:log}:lease:webhooks", "killed", "PX", "1500"]).await;
    until("the end of its lease", || !sends(&next)).await;
    expected.extend(publish(&last.service, &["a"], 3).await);
    until("the next event", || receiver.accepted().len() == 5).await;
    assert_eq!(ids(&receiver.accepted()), texts(&expected));
    assert_eq!([&next, &last].into_iter().filter(|one| sends(one)).count(), 1);
}
