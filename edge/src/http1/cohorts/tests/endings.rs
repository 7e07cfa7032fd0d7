//! The ends of parked streams.

use shared::pure::stream::{Append, Create, Lifetime, StreamOp};

use super::*;

/// Most have finished then, so each member leaves for it.
#[actix_web::test]
async fn the_end_of_a_stream_is_sent_after_its_last_message() {
    for (last, expected) in [(Some("1"), "\n1\nEa "), (None, "\nEa ")] {
        let limits = LogLimits { streams: Some(1 << 20), ..LogLimits::default() };
        let stage = Stage::of(Arc::new(Log::new(limits, Cursor::new(START, 0))), TIMES).await;
        let create = Create {
            channel: channel("a"),
            content_type: Some("application/json".parse().unwrap()),
            lifetime: Lifetime::Unlimited,
            is_closed: false,
            payloads: Vec::new(),
            fork: None,
            user: None,
            owner: None,
        };
        stage.log.stream(StreamOp::Create(create.into()), START + 1).unwrap();
        let mut finished = stage.open_all("a", 3).await;
        let mut goes_on = stage.open("a&b").await;
        stage.until("all to be parked", |stage| stage.parked() == (4, 2)).await;
        let append = Append {
            channel: channel("a"),
            content_type: Some("application/json".parse().unwrap()),
            payloads: last.iter().map(|json| Payload::from_json(json.as_bytes()).unwrap()).collect(),
            seq: None,
            producer: None,
            is_closing: true,
            user: None,
        };
        stage.log.stream(StreamOp::Append(append.into()), START + 1).unwrap();
        for client in &mut finished {
            let body = client.read_to_end().await;
            assert!(body.contains(expected) && body.ends_with("C\n"), "{body}");
        }
        goes_on.read_to("Ea ").await;
        stage.until("the other one to be parked again", |stage| stage.parked() == (1, 1)).await;
        stage.publish("b", &["2"]);
        goes_on.read_to("\"2\"\n").await;
    }
}

#[actix_web::test]
async fn a_parked_stream_that_is_ended_from_outside_ends() {
    let stage = Stage::new(Retention::default()).await;
    let mut clients = stage.open_all("a", 3).await;
    stage.until("all to be parked", |stage| stage.parked() == (3, 1)).await;
    let registry = stage.edge.limits.registry().clone();
    let mut registered = registry.page(None, 10, |_| true).await.connections;
    assert!(registered.pop().unwrap().end_for(End::Disconnected));
    stage.until("one to leave", |stage| stage.parked() == (2, 1)).await;
    stage.publish("a", &["one"]);
    let mut ended = 0;
    for client in &mut clients {
        let body = client.read_until(|body| body.contains("one") || body.contains("C\n")).await;
        ended += usize::from(body.ends_with("C\n") && !body.contains("one"));
    }
    assert_eq!(ended, 1);
    // One that is ended before it is parked.
    let mut last = stage.connect("a", "1.1", None).await;
    while registered.len() < 3 {
        yield_now().await;
        registered = registry.page(None, 10, |_| true).await.connections;
    }
    assert!(registry.end_all(End::Revoked, |_| true).await >= 3);
    assert!(last.read_to_end().await.ends_with("C\n"));
    stage.until("all to leave", |stage| stage.parked() == (0, 0)).await;
}

#[actix_web::test]
async fn parked_streams_end_with_their_log_after_the_last_message() {
    let stage = Stage::new(Retention::default()).await;
    let mut clients = stage.open_all("a", 100).await;
    stage.until("all to be parked", |stage| stage.parked() == (100, 1)).await;
    stage.publish("a", &["last"]);
    stage.log.close();
    for client in &mut clients {
        assert!(client.read_to_end().await.ends_with("\"last\"\nC\n") && client.body().1);
    }
    // The host waits until all of their clients have closed, too: the worker has to count one of them until then.
    assert!(!clients[0].served.is_finished());
    let host = clients.swap_remove(0);
    drop((host.socket, clients.into_iter().map(|client| client.socket).collect::<Vec<_>>()));
    timeout(PATIENCE, host.served).await.unwrap().unwrap();
    assert_eq!(stage.edge.limits.connections(), 0);
}

#[actix_web::test]
async fn a_stream_that_its_connection_ends_has_a_cohort_of_its_own() {
    let stage = Stage::new(Retention::default()).await;
    let mut old = stage.connect("a", "1.0", None).await;
    old.read_to("O").await;
    let mut new = stage.open("a").await;
    stage.until("both to be parked", |stage| stage.parked() == (2, 2)).await;
    stage.publish("a", &["one"]);
    new.read_to("one").await;
    old.read_to("one").await;
    stage.log.close();
    assert!(old.read_to_end().await.ends_with("\n\"one\"\nC\n"), "{}", old.text());
}
