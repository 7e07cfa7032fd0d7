//! Signs of life, and how streams end.

use std::time::{Duration, Instant};

use edge::{
    metrics::Transport,
    testing::{Events, raw::Connection, sse::Event, until},
};

use crate::site;

/// The end of a stream: a `retry:` and nothing after it.
async fn ends(events: &mut Events) {
    let end = events.next().await;
    let Some(Event::Retry(retry)) = end else { panic!("{end:?} is no `retry`") };
    assert!((2_000..=4_000).contains(&retry.as_millis()), "{retry:?}");
    assert_eq!(events.next().await, None);
}

/// An open stream whose opening has been read.
async fn opened(events: impl Future<Output = Events>) -> Events {
    let mut events = events.await;
    assert!(matches!(events.next().await, Some(Event::Comment(_))));
    assert!(matches!(events.next().await, Some(Event::Message(opening)) if opening.retry.is_some()));
    events
}

/// Case 12.5: silence is broken by comment lines alone, which end no event.
#[actix_web::test]
async fn silence_is_broken_by_comments() {
    let site = site(&[("TRIDENT_KEEPALIVE", "200ms")]);
    let mut connection = site.connect().await;
    connection.request("GET", "/events", &[]).await;
    connection.head().await;
    assert!(connection.chunk().await.starts_with(b"retry: "));
    for _ in 0..3 {
        let begun = Instant::now();
        assert_eq!(connection.chunk().await, b": keep-alive\n");
        assert!(begun.elapsed() > Duration::from_millis(100), "{:?}", begun.elapsed());
    }
    let id = site.publish("time", "1").await;
    let event = format!("id: {id}\ndata: 1\n\n");
    while connection.chunk().await != event.as_bytes() {}
}

#[actix_web::test]
async fn a_stream_ends_at_its_maximum_age_and_resumes() {
    let site = site(&[("TRIDENT_MAX_AGE", "300ms")]);
    let begun = Instant::now();
    let mut events = opened(site.get("/events?channel=public.a").events()).await;
    let first = site.publish("public.a", "1").await.to_string();
    assert_eq!(events.take(1).await, [(first.clone(), "1".into())]);
    ends(&mut events).await;
    assert!(begun.elapsed() >= Duration::from_millis(240), "{:?}", begun.elapsed());
    let second = site.publish("public.a", "2").await.to_string();
    let mut events = site.get("/events?channel=public.a").header("Last-Event-ID", &first).events().await;
    assert_eq!(events.take(1).await, [(second, "2".into())]);
}

#[actix_web::test]
async fn a_stream_ends_with_its_token() {
    let site = site(&[]);
    let token = site.token_for(None, "", "inner", Duration::from_millis(300));
    let begun = Instant::now();
    let mut private = opened(site.get("/events?channel=inner").token(&token).events()).await;
    let mut public = opened(site.get("/events?channel=public.a").events()).await;
    ends(&mut private).await;
    assert!((300..3_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert_eq!(site.get("/events?channel=inner").token(&token).send().await.error(), (401, "bad_token".into()));
    site.publish("public.a", "1").await;
    assert_eq!(public.take(1).await[0].1, "1", "a stream without a token goes on");
}

/// A browser never reconnects after a status other than 200.
#[actix_web::test]
async fn without_room_a_stream_ends_at_once() {
    for setting in ["TRIDENT_MAX_CONNECTIONS", "TRIDENT_MAX_CONNECTIONS_PER_ADDRESS"] {
        let site = site(&[(setting, "2")]);
        let held = [opened(site.get("/events").events()).await, opened(site.get("/events").events()).await];
        for _ in 0..3 {
            ends(&mut site.get("/events").events().await).await;
        }
        let refused = site.get("/events").open().await;
        assert_eq!(refused.header("Cache-Control"), "no-store, no-transform");
        let refusals = &site.service.edge.metrics.refusals;
        assert_eq!(refusals.connections.get() + refusals.connections_per_address.get(), 4);
        drop(held);
        until("there is room again", || site.service.edge.limits.connections() == 0).await;
        opened(site.get("/events").events()).await;
    }
}

/// The address that counts is the client's, behind a proxy that is trusted.
#[actix_web::test]
async fn each_client_behind_a_proxy_has_its_own_room() {
    let site = site(&[("TRIDENT_MAX_CONNECTIONS_PER_ADDRESS", "1")]);
    let from = |address: &str| site.get("/events").header("X-Forwarded-For", address).events();
    let _one = opened(from("192.0.2.1")).await;
    let _other = opened(from("192.0.2.2")).await;
    ends(&mut from("192.0.2.1").await).await;
}

#[actix_web::test]
async fn a_stop_ends_streams_in_order() {
    let site = site(&[]);
    let address = site.address();
    let mut idle = opened(site.get("/events").events()).await;
    let mut reading = opened(site.get("/events?channel=public.a").events()).await;
    let mut bytes = site.connect().await;
    bytes.request("GET", "/events?channel=public.a", &[]).await;
    bytes.head().await;
    bytes.chunk().await;
    let last = site.publish("public.a", "1").await;

    let begun = Instant::now();
    let (streams, ()) = tokio::join!(
        async {
            ends(&mut idle).await;
            assert_eq!(reading.take(1).await, [(last.to_string(), "1".into())]);
            ends(&mut reading).await;
            // A clean end is the last chunk, and not merely the end of the connection.
            assert_eq!(String::from_utf8(bytes.chunk().await).unwrap(), format!("id: {last}\ndata: 1\n\n"));
            assert!(String::from_utf8(bytes.chunk().await).unwrap().starts_with("retry: "));
            assert_eq!(bytes.chunk().await, b"");
            begun.elapsed()
        },
        site.stop(),
    );
    assert!(streams < Duration::from_secs(2), "streams are told at once: {streams:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the port is closed");
}

/// A client that reads nothing does not delay the end.
#[actix_web::test]
async fn a_stop_waits_for_nobody_for_long() {
    let site = site(&[]);
    let mut stuck = Connection::open(site.address()).await;
    stuck.request("GET", "/events?channel=public.a", &[]).await;
    stuck.head().await;
    let text = format!("\"{}\"", "x".repeat(60_000));
    for _ in 0..200 {
        site.publish("public.a", &text).await;
    }
    assert_eq!(site.service.edge.metrics.transport(Transport::Sse).connections.get(), 1);
    let begun = Instant::now();
    site.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(stuck);
}

/// The event feed has not had the reason of an end that a stream itself decides.
#[actix_web::test]
async fn the_event_feed_has_the_reason_of_an_end() {
    for (age, reason) in [("10m", "expired"), ("300ms", "closed")] {
        let site = site(&[("TRIDENT_EVENTS", "disconnected"), ("TRIDENT_MAX_AGE", age)]);
        let ttl = Duration::from_secs(if reason == "expired" { 1 } else { 60 });
        let token = site.token_for(None, "", "inner", ttl);
        ends(
            &mut opened(site.get("/events?channel=inner").header("Authorization", &format!("Bearer {token}")).events())
                .await,
        )
        .await;
        until("its end is in the feed", || !site.held("$events").is_empty()).await;
        let events = site.held("$events");
        assert!(events[0].2.contains(&format!(r#""reason":"{reason}""#)), "{reason}: {events:?}");
    }
}
