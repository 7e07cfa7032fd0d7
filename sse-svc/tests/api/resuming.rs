//! Resuming with a cursor, and reports of lost messages.

use edge::testing::{Events, Site};
use serde_json::json;

use crate::site;

async fn publish(site: &Site, channel: &str, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(site.publish(channel, n.to_string()).await.to_string());
    }
    ids
}

async fn since(site: &Site, since: &str) -> Events {
    site.get(&format!("/events?channel=public.a&since={since}")).events().await
}

/// The next message, which has to be a gap: the requested cursor and the one where it resumes.
async fn gap(events: &mut Events) -> (String, String) {
    let message = events.message().await.unwrap();
    let data: serde_json::Value = serde_json::from_str(&message.data).unwrap();
    assert_eq!(message.event.as_deref(), Some("gap"));
    assert_eq!(json!(message.id.as_deref()), data["resumed"]);
    assert_eq!(data.as_object().unwrap().len(), 2, "{data}");
    (data["requested"].as_str().unwrap().to_owned(), data["resumed"].as_str().unwrap().to_owned())
}

async fn ids(events: &mut Events, count: usize) -> Vec<String> {
    events.take(count).await.into_iter().map(|(id, _)| id).collect()
}

#[actix_web::test]
async fn every_id_is_a_cursor() {
    let site = site(&[]);
    let sent = publish(&site, "public.a", 10).await;
    for (at, id) in sent.iter().enumerate() {
        let mut events = since(&site, id).await;
        let last = site.publish("public.a", "9").await.to_string();
        let expected = sent[at + 1..].to_vec();
        assert_eq!(ids(&mut events, expected.len()).await, expected);
        // What was published since, by earlier rounds too, comes after it and nothing between is lost.
        while ids(&mut events, 1).await[0] != last {}
    }
}

#[actix_web::test]
async fn without_a_cursor_it_is_from_now_on() {
    let site = site(&[]);
    publish(&site, "public.a", 3).await;
    let mut events = site.get("/events?channel=public.a").events().await;
    let next = site.publish("public.a", "1").await.to_string();
    assert_eq!(ids(&mut events, 1).await, [next]);
}

/// A browser whose first connection breaks before any message resumes with the id of the opening event, which has no data.
#[actix_web::test]
async fn messages_between_two_first_connections_are_not_skipped() {
    let site = site(&[]);
    publish(&site, "public.a", 2).await;
    let mut connection = site.connect().await;
    connection.request("GET", "/events?channel=public.a", &[]).await;
    connection.head().await;
    let opening = String::from_utf8(connection.chunk().await).unwrap();
    let id = opening.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    assert!(opening.ends_with(&format!("\n: connected\nid: {id}\n\n")), "{opening:?}");
    drop(connection);

    let between = site.publish("public.a", "3").await.to_string();
    let back = site.get("/events?channel=public.a").header("Last-Event-ID", id);
    assert_eq!(ids(&mut back.events().await, 1).await, [between]);
}

/// `earliest` is no cursor: asked for again it means the same.
#[actix_web::test]
async fn an_opening_event_contains_no_other_position() {
    let site = site(&[("TRIDENT_HISTORY_COUNT", "2")]);
    let sent = publish(&site, "public.a", 4).await;
    for (since, place) in [("earliest", None), ("9999999999999-0", None), (&*sent[3], Some(&*sent[3]))] {
        let mut connection = site.connect().await;
        connection.request("GET", &format!("/events?channel=public.a&since={since}"), &[]).await;
        connection.head().await;
        let opening = String::from_utf8(connection.chunk().await).unwrap();
        assert_eq!(opening.lines().find_map(|line| line.strip_prefix("id: ")), place, "{opening:?}");
    }
}

#[actix_web::test]
async fn the_header_takes_precedence_over_the_parameter() {
    let site = site(&[]);
    let sent = publish(&site, "public.a", 5).await;
    let ask = |since: &str, header: &str| {
        let ask = site.get(&format!("/events?channel=public.a{since}"));
        ask.header("Last-Event-ID", header).events()
    };
    assert_eq!(ids(&mut ask("", &sent[2]).await, 2).await, sent[3..]);
    assert_eq!(ids(&mut ask("&since=earliest", &sent[2]).await, 2).await, sent[3..]);
    assert_eq!(ids(&mut ask(&format!("&since={}", sent[3]), &sent[1]).await, 3).await, sent[2..]);
    // What the header says is said in the words of `since`; an empty one says nothing.
    assert_eq!(ids(&mut ask(&format!("&since={}", sent[3]), "earliest").await, 5).await, sent);
    assert_eq!(ids(&mut ask(&format!("&since={}", sent[3]), "").await, 1).await, sent[4..]);
}

/// Case 4.1: an id of another server is a gap and everything that is stored, or else what `since` requests, and never an error.
#[actix_web::test]
async fn a_foreign_id_is_a_gap() {
    let site = site(&[]);
    let sent = publish(&site, "public.a", 3).await;
    for foreign in ["42", "0", "urn:uuid:5b1d8b4e-1f4c-4c5a-8c54-1a2b3c4d5e6f", &sent[0][..13], "x y", "\u{e9}"] {
        let ask = |since: &str| {
            let ask = site.get(&format!("/events?channel=public.a{since}"));
            ask.header("Last-Event-ID", foreign).events()
        };
        let mut events = ask("").await;
        let (_, resumed) = gap(&mut events).await;
        assert_eq!(ids(&mut events, 3).await, sent, "{foreign}");
        assert_eq!(ids(&mut since(&site, &resumed).await, 3).await, sent, "{foreign}");
        assert_eq!(ids(&mut ask(&format!("&since={}", sent[1])).await, 1).await, sent[2..], "{foreign}");
    }
}

/// Case 4.2: the cursor of a polyfill counts as the header does, and what libraries add is ignored.
#[actix_web::test]
async fn the_cursor_may_be_in_the_query() {
    let site = site(&[]);
    let sent = publish(&site, "public.a", 4).await;
    let ask = |query: &str| site.get(&format!("/events?channel=public.a{query}"));
    let own = |at: usize| format!("&lastEventId={}", sent[at]);
    assert_eq!(ids(&mut ask(&own(1)).events().await, 2).await, sent[2..]);
    assert_eq!(ids(&mut ask(&format!("&since=earliest{}", own(2))).events().await, 1).await, sent[3..]);
    assert_eq!(ids(&mut ask(&format!("{}{}", own(0), own(2))).events().await, 1).await, sent[3..], "the last counts");
    let both = ask(&own(0)).header("Last-Event-ID", &sent[2]).events();
    assert_eq!(ids(&mut both.await, 1).await, sent[3..], "the header takes precedence");
    gap(&mut ask("&lastEventId=42").events().await).await;
    let mut empty = ask("&lastEventId=&_=1717").events().await;
    let next = site.publish("public.a", "4").await.to_string();
    assert_eq!(ids(&mut empty, 1).await, [next]);
}

#[actix_web::test]
async fn a_gap_is_reported_exactly_when_messages_were_dropped() {
    let site = site(&[("TRIDENT_HISTORY_COUNT", "3")]);
    let sent = publish(&site, "public.a", 6).await;
    // Two were dropped after the first: it resumes after the last of them.
    for requested in &sent[..2] {
        let mut events = since(&site, requested).await;
        assert_eq!(gap(&mut events).await, (requested.clone(), sent[2].clone()));
        assert_eq!(ids(&mut events, 3).await, sent[3..]);
    }
    // The third was dropped too, but who brings its id has seen it.
    for at in 2..5 {
        assert_eq!(ids(&mut since(&site, &sent[at]).await, 5 - at).await, sent[at + 1..]);
    }
    // `earliest` requests what is stored and misses none of it; `0-0` requests everything.
    assert_eq!(ids(&mut since(&site, "earliest").await, 3).await, sent[3..]);
    assert_eq!(gap(&mut since(&site, "0-0").await).await, ("0-0".into(), sent[2].clone()));
}

#[actix_web::test]
async fn drops_of_another_channel_are_not_a_gap() {
    let site = site(&[("TRIDENT_HISTORY_COUNT", "2")]);
    let first = publish(&site, "public.a", 1).await;
    let noise = publish(&site, "public.b", 5).await;
    let second = publish(&site, "public.a", 1).await;
    assert_eq!(ids(&mut since(&site, &first[0]).await, 1).await, second);
    assert_eq!(ids(&mut since(&site, "0-0").await, 2).await, [first[0].clone(), second[0].clone()]);
    // Both together: the gap of one is reported before the messages of both.
    let query = format!("/events?channel=public.a&channel=public.b&since={}", first[0]);
    let mut events = site.get(&query).events().await;
    assert_eq!(gap(&mut events).await, (first[0].clone(), noise[2].clone()));
    assert_eq!(ids(&mut events, 3).await, [noise[3].clone(), noise[4].clone(), second[0].clone()]);
}

#[actix_web::test]
async fn a_cursor_of_an_earlier_process_is_a_gap() {
    let site = site(&[]);
    let nothing_yet = site.service.log().head().to_string();
    let mut events = since(&site, "99999999999999-0").await;
    assert_eq!(gap(&mut events).await, ("99999999999999-0".into(), nothing_yet.clone()));
    let sent = publish(&site, "public.a", 3).await;
    assert_eq!(ids(&mut events, 3).await, sent);
    // Of a time before this process and its log: nobody knows what there was.
    for requested in ["99999999999999-0", "1763000000000-7"] {
        let mut events = since(&site, requested).await;
        let (told, resumed) = gap(&mut events).await;
        assert_eq!((&*told, ids(&mut events, 3).await), (requested, sent.clone()));
        // Resuming with the cursor of the gap misses nothing that is stored, and reports no other gap.
        assert_eq!(ids(&mut since(&site, &resumed).await, 3).await, sent);
    }
    assert_eq!(ids(&mut since(&site, "0-0").await, 3).await, sent, "the start of everything is no other life");
}

#[actix_web::test]
async fn drops_without_a_reader_are_reported_later() {
    let site = site(&[("TRIDENT_HISTORY_AGE", "50ms")]);
    let sent = publish(&site, "public.a", 2).await;
    edge::testing::until("age takes them", || site.held("public.a").is_empty()).await;
    let mut events = since(&site, &sent[0]).await;
    let (requested, resumed) = gap(&mut events).await;
    assert_eq!(requested, sent[0]);
    let next = site.publish("public.a", "1").await.to_string();
    assert_eq!(ids(&mut events, 1).await, [next]);
    assert_eq!(resumed, sent[1], "nothing is held: it goes on from the head");
}
