//! Readers that wait, and how their streams end.

use std::time::Duration;

use edge::{
    connections::End,
    metrics::Transport,
    testing::{Events, sse::Event, until},
};

use super::{JSON, TEXT, close, closed_site, create, delete, post, put, site};

/// The next event: its name and its data.
pub(crate) async fn next(events: &mut Events) -> Option<(String, String)> {
    loop {
        match events.next().await? {
            Event::Message(message) => {
                return Some((message.event.unwrap_or_default().to_string(), message.data.to_string()));
            }
            Event::Comment(_) | Event::Retry(_) => {}
        }
    }
}

#[actix_web::test]
async fn an_event_stream_ends_with_its_stream() {
    let site = site(&[]);
    create(&site, "s", JSON, "[1,2]").await;
    let mut events = site.get("/streams/s?offset=-1&live=sse").events().await;
    assert_eq!(next(&mut events).await, Some(("data".into(), "[1,2]".into())));
    let (name, control) = next(&mut events).await.unwrap();
    assert!(
        name == "control" && control.contains("\"upToDate\":true") && control.contains("streamCursor"),
        "{control}"
    );
    site.publish("s", "3").await;
    assert_eq!(next(&mut events).await, Some(("data".into(), "[3]".into())), "from another transport");
    next(&mut events).await;
    close(&site, "s").await;
    let (_, control) = next(&mut events).await.unwrap();
    assert!(control.contains("\"streamClosed\":true") && !control.contains("streamCursor"), "{control}");
    assert_eq!(next(&mut events).await, None);
    until("the connection does not count any more", || site.service.edge.limits.connections() == 0).await;
}

#[actix_web::test]
async fn a_deletion_ends_readers_that_wait() {
    let site = site(&[]);
    let offset = create(&site, "s", TEXT, "x").await.header("Stream-Next-Offset");
    let mut events = site.get("/streams/s?offset=now&live=sse").events().await;
    next(&mut events).await;
    let path = format!("/streams/s?offset={offset}&live=long-poll&timeout=60");
    let poll = site.get(&path).send();
    let deleted = async {
        until("both wait", || site.service.edge.limits.connections() == 2).await;
        delete(&site, "s").await;
    };
    let (poll, ()) = futures_util::future::join(poll, deleted).await;
    assert_eq!(poll.error(), (404, "stream_not_found".into()));
    assert_eq!(next(&mut events).await, None);
    let metrics = &site.service.edge.metrics;
    assert_eq!(metrics.transport(Transport::Sse).gaps.get(), 0, "an end is no gap");
}

#[actix_web::test]
async fn a_long_poll_waits_as_long_as_its_client_asks() {
    let site = site(&[]);
    create(&site, "s", TEXT, "x").await;
    let answer = site.get("/streams/s?offset=now&live=long-poll&timeout=0").send().await;
    assert_eq!((answer.status, answer.header("Stream-Up-To-Date").as_str()), (204, "true"));
    // A proxy that compresses would hold polls back; what is only read may be compressed.
    for (query, caching) in [
        ("offset=now&live=long-poll&timeout=0", "no-store, no-transform"),
        ("offset=-1&live=long-poll", "public, max-age=60, stale-while-revalidate=300, no-transform"),
        ("offset=-1", "public, max-age=60, stale-while-revalidate=300"),
    ] {
        assert_eq!(site.get(&format!("/streams/s?{query}")).send().await.header("Cache-Control"), caching, "{query}");
    }
    for bad in ["61", "-1", "1.5", ""] {
        let answer = site.get(&format!("/streams/s?offset=now&live=long-poll&timeout={bad}")).send().await;
        assert_eq!(answer.error(), (400, "bad_timeout".into()), "{bad}");
    }
}

/// The next reader's answer is not that of the stream which had the name before.
#[actix_web::test]
async fn a_stream_that_takes_the_name_is_another_one() {
    let site = site(&[]);
    create(&site, "s", TEXT, "old").await;
    let old = site.get("/streams/s").send().await.header("ETag");
    let mut events = site.get("/streams/s?offset=now&live=sse").events().await;
    next(&mut events).await;
    delete(&site, "s").await;
    create(&site, "s", TEXT, "new").await;
    assert_eq!(next(&mut events).await, None);
    let read = site.get("/streams/s").header("If-None-Match", &old).send().await;
    assert_eq!((read.status, read.text()), (200, "new"));
}

/// An append that ends in a byte of another charset that UTF-8 would continue was not sent before the next one.
#[actix_web::test]
async fn a_text_of_another_charset_is_delivered_at_once() {
    let site = site(&[]);
    create(&site, "s", "text/plain; charset=iso-8859-1", "").await;
    let mut events = site.get("/streams/s?offset=-1&live=sse").events().await;
    next(&mut events).await;
    assert_eq!(post(&site, "s").body("text/plain", vec![b'T', 0xe9]).await.status, 204);
    let (name, _) = next(&mut events).await.unwrap();
    let (_, control) = next(&mut events).await.unwrap();
    assert!(name == "data" && control.contains("\"upToDate\":true"), "{control}");
}

#[actix_web::test]
async fn a_long_answer_continues_at_its_offset() {
    let site = site(&[("TRIDENT_STREAM_MAX_BODY", "0"), ("TRIDENT_RECEIVE_TOTAL", "0")]);
    create(&site, "s", TEXT, "").await;
    for _ in 0..3 {
        assert_eq!(post(&site, "s").body(TEXT, vec![b'x'; 600_000]).await.status, 204);
    }
    close(&site, "s").await;
    let (mut offset, mut bytes, mut answers) = ("-1".to_owned(), 0, 0);
    loop {
        let answer = site.get(&format!("/streams/s?offset={offset}")).send().await;
        (offset, bytes, answers) = (answer.header("Stream-Next-Offset"), bytes + answer.body.len(), answers + 1);
        assert_eq!(answer.header("Stream-Up-To-Date"), answer.header("Stream-Closed"));
        if answer.header("Stream-Closed") == "true" {
            break;
        }
    }
    assert_eq!(bytes, 1_800_000);
    assert!(answers > 1, "one answer has at most a megabyte");
}

/// Models write bytes, not characters. What ended within one was sent as U+FFFD, and what followed as another.
#[actix_web::test]
async fn a_text_that_is_appended_in_pieces_is_whole_in_an_event_stream() {
    let site = site(&[]);
    let start = create(&site, "s", TEXT, "").await.header("Stream-Next-Offset");
    let tea = "茶".as_bytes();
    let mut events = site.get("/streams/s?offset=-1&live=sse").events().await;
    let (_, control) = next(&mut events).await.unwrap();
    assert!(control.contains(&start), "{control}");
    for part in [&tea[..1], &tea[1..2], &[tea[2], b'!', tea[0]], &[tea[1], tea[2]], &tea[..1]] {
        assert_eq!(post(&site, "s").body(TEXT, part.to_vec()).await.status, 204);
    }
    let mut text = String::new();
    while text != "茶!茶" {
        let (name, data) = next(&mut events).await.unwrap();
        text.push_str(if name == "data" { &data } else { "" });
        assert!("茶!茶".starts_with(&text), "{text}");
    }
    next(&mut events).await;
    close(&site, "s").await;
    assert_eq!(next(&mut events).await, Some(("data".into(), "\u{fffd}".into())), "nothing follows");
    let (_, control) = next(&mut events).await.unwrap();
    assert!(control.contains("streamClosed"), "{control}");
}

/// A revoked token kept the stream of a client that did not read open for half a minute.
#[actix_web::test]
async fn a_stalled_stream_is_ended_from_outside() {
    let site = site(&[]);
    create(&site, "s", TEXT, "").await;
    // More than the kernel takes.
    for _ in 0..40 {
        assert_eq!(post(&site, "s").body(TEXT, vec![b'x'; 1 << 20]).await.status, 204);
    }
    let registry = site.service.edge.limits.registry().clone();
    let _stalled = site.get("/streams/s?offset=-1&live=sse").open().await;
    until("it is registered", || registry.count() == 1).await;
    assert_eq!(registry.end_all(End::Revoked, |_| true).await, 1);
    until("its connection has ended", || site.service.edge.limits.connections() == 0).await;
}

#[actix_web::test]
async fn silence_is_broken_by_comments() {
    let site = site(&[("TRIDENT_KEEPALIVE", "100ms")]);
    create(&site, "s", TEXT, "x").await;
    let mut connection = site.connect().await;
    connection.request("GET", "/streams/s?offset=now&live=sse", &[]).await;
    connection.head().await;
    assert!(connection.chunk().await.starts_with(b"event: control\n"));
    for _ in 0..3 {
        assert_eq!(connection.chunk().await, b": keep-alive\n");
    }
    assert_eq!(post(&site, "s").body(TEXT, "y").await.status, 204);
    let event = b"event: data\ndata:y\n\n";
    while !connection.chunk().await.starts_with(event) {}
}

/// In the event feed, the reason of the end was `closed`.
#[actix_web::test]
async fn readers_end_with_their_token() {
    let site = closed_site(&[("TRIDENT_EVENTS", "disconnected")]);
    let created = put(&site, "s").token(&site.token("s", "")).body(TEXT, "x").await;
    let token = site.token_for(None, "", "s", Duration::from_secs(1));
    let read = |query: &str| site.get(&format!("/streams/s?{query}")).token(&token);
    let mut events = read("offset=now&live=sse").events().await;
    next(&mut events).await;
    site.parked(1).await;
    let poll = read(&format!("offset={}&live=long-poll&timeout=60", created.header("Stream-Next-Offset"))).send();
    let (poll, end) = futures_util::future::join(poll, next(&mut events)).await;
    assert_eq!((poll.status, poll.header("Stream-Up-To-Date").as_str(), end), (204, "true", None));
    assert_eq!(read("offset=-1").send().await.error(), (401, "bad_token".into()));
    let is_reported = || site.held("$events").iter().any(|(_, _, event)| event.contains(r#""transport":"sse""#));
    until("its end is in the feed", is_reported).await;
    let feed = site.held("$events");
    assert!(feed.iter().any(|(_, _, event)| event.contains(r#""reason":"expired""#)), "{feed:?}");
}

#[actix_web::test]
async fn a_stop_answers_readers_that_wait() {
    let site = site(&[]);
    let offset = create(&site, "s", TEXT, "x").await.header("Stream-Next-Offset");
    let mut events = site.get("/streams/s?offset=now&live=sse").events().await;
    next(&mut events).await;
    let poll = site.get(&format!("/streams/s?offset={offset}&live=long-poll&timeout=60")).send();
    let stopped = async {
        until("both wait", || site.service.edge.limits.connections() == 2).await;
        site.stop().await;
    };
    let (poll, end, ()) = futures_util::future::join3(poll, next(&mut events), stopped).await;
    assert_eq!(end, None);
    assert_eq!((poll.status, poll.header("Stream-Next-Offset"), poll.header("Retry-After")), (204, offset, "2".into()));
}
