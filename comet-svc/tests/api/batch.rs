//! `format=batch`: whole messages, any number of them, and the cursor for the next request.

use std::time::{Duration, Instant};

use edge::testing::{Answer, Site};
use serde_json::{Value, json};

use crate::{publish, site, waiting};

/// Cursor, gap and the ids of an answer, which has to be a batch in every respect.
fn batch(answer: &Answer) -> (String, bool, Vec<String>) {
    assert_eq!((answer.status, &*answer.header("Content-Type")), (200, "application/json"), "{answer:?}");
    assert_eq!(
        (&*answer.header("Cache-Control"), &*answer.header("ETag")),
        ("no-store, no-transform", ""),
        "{answer:?}"
    );
    assert_eq!(answer.header("Vary"), "Origin", "{answer:?}");
    let json = answer.json();
    assert_eq!(answer.header("Trident-Gap").is_empty(), json["gap"] == false, "{answer:?}");
    assert_eq!(json.as_object().unwrap().len(), 3, "{json}");
    let ids = json["messages"].as_array().unwrap().iter().map(|message| text(&message["id"])).collect();
    (text(&json["cursor"]), json["gap"].as_bool().unwrap(), ids)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

async fn ask(site: &Site, query: &str) -> (String, bool, Vec<String>) {
    batch(&site.get(&format!("/data?{query}")).send().await)
}

#[actix_web::test]
async fn the_bytes_are_as_they_are_written() {
    let site = site(&[]);
    let one = site.publish("public.a", "{ \"b\" : 1.50, \"a\" : \"x\\ny\" }").await;
    let two = site.publish_as("public.b", "a \"b\"", "\"时间\"").await;
    let answer = site.get("/data?channel=public.a&channel=public.b&since=earliest").send().await;
    let expected = format!(
        "{{\"cursor\":\"{two}\",\"gap\":false,\"messages\":[\
         {{\"id\":\"{one}\",\"channel\":\"public.a\",\"event\":\"message\",\"data\":{{\"b\":1.50,\"a\":\"x\\ny\"}},\"time\":{}}},\
         {{\"id\":\"{two}\",\"channel\":\"public.b\",\"event\":\"a \\\"b\\\"\",\"data\":\"时间\",\"time\":{}}}]}}",
        one.ms, two.ms
    );
    assert_eq!(answer.text(), expected);
    batch(&answer);
}

/// Naming a channel or a cursor asks for batches; asking for nothing asks for data alone.
#[actix_web::test]
async fn it_is_the_form_where_a_channel_or_a_cursor_is_named() {
    let site = site(&[]);
    publish(&site, "random", 1).await;
    for query in
        ["channel=random&since=earliest", "since=earliest", "mode=poll&channel=random", "format=batch&mode=poll"]
    {
        ask(&site, query).await;
    }
    for query in [
        "?mode=poll",
        "?mode=poll&wait=5&limit=5",
        "?since=earliest&format=raw",
        "?channel=random&format=raw&since=0-0",
    ] {
        let answer = site.get(&format!("/data{query}")).send().await;
        assert_eq!((answer.status, answer.text()), (200, "0"), "{query}");
    }
}

#[actix_web::test]
async fn a_long_poll_is_answered_when_something_comes() {
    let site = site(&[]);
    publish(&site, "public.a", 3).await;
    let begun = Instant::now();
    let (answer, id) = tokio::join!(ask(&site, "channel=public.a"), async {
        waiting(&site, 1).await;
        site.publish("public.b", "0").await;
        site.publish("public.a", "1").await.to_string()
    });
    assert_eq!(answer, (id.clone(), false, vec![id]), "from now on, and nothing of before");
    assert!(begun.elapsed() < Duration::from_secs(5), "the default wait is 25 s");
}

#[actix_web::test]
async fn a_long_poll_without_news_is_answered_with_its_cursor() {
    let site = site(&[]);
    let sent = publish(&site, "public.a", 1).await;
    let other = site.publish("public.b", "0").await.to_string();
    let begun = Instant::now();
    let query = format!("channel=public.a&wait=1&since={}", sent[0]);
    let ((cursor, gap, ids), from_now) = tokio::join!(ask(&site, &query), ask(&site, "channel=public.a&wait=1"));
    assert!((1_000..6_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert_eq!((&cursor, gap, ids.len()), (&other, false, 0), "as far as the log has come");
    assert_eq!(from_now, (other, false, vec![]));
    let next = publish(&site, "public.a", 2).await;
    assert_eq!(ask(&site, &format!("channel=public.a&since={cursor}")).await, (next[1].clone(), false, next));
}

#[actix_web::test]
async fn a_poll_answers_at_once() {
    let site = site(&[]);
    let (cursor, gap, ids) = ask(&site, "mode=poll&channel=public.a").await;
    assert_eq!((&cursor, gap, ids.len()), (&site.service.log().head().to_string(), false, 0));
    let sent = publish(&site, "public.a", 3).await;
    assert_eq!(ask(&site, &format!("mode=poll&channel=public.a&since={cursor}")).await.2, sent);
    assert_eq!(ask(&site, "mode=poll&channel=public.a&since=earliest").await.2, sent);
    assert_eq!(ask(&site, &format!("mode=poll&channel=public.a&since={}", sent[1])).await.2, sent[2..]);
    let last = ask(&site, &format!("mode=poll&channel=public.a&since={}", sent[2])).await;
    assert_eq!(last, (sent[2].clone(), false, vec![]));
    assert_eq!(ask(&site, "mode=poll&channel=public.a").await.2.len(), 0, "from now on");
}

/// A cut batch's cursor is its last message, so that the rest comes next, over several channels as over one.
#[actix_web::test]
async fn a_limited_read_continues_at_its_cursor() {
    let site = site(&[]);
    let mut sent = Vec::new();
    for n in 0..25 {
        sent.push(site.publish(["public.a", "public.b", "public.c"][n * 5 % 3], n.to_string()).await.to_string());
    }
    for mode in ["poll", "longpoll"] {
        let (mut cursor, mut got) = ("earliest".to_owned(), Vec::new());
        for size in [10, 10, 5] {
            let query =
                format!("mode={mode}&limit=10&since={cursor}&channel=public.c&channel=public.a&channel=public.b");
            let (next, _, ids) = ask(&site, &query).await;
            assert_eq!((ids.len(), ids.last()), (size, Some(&next)));
            got.extend(ids);
            cursor = next;
        }
        assert_eq!(got, sent, "{mode}");
    }
    let many = publish(&site, "public.d", 150).await;
    let get = |query: &str| site.get(&format!("/data?channel=public.d&since=earliest{query}")).send();
    assert_eq!(batch(&get("").await), (many[99].clone(), false, many[..100].to_vec()), "the default is 100");
    assert_eq!(batch(&get("&limit=1").await).2, many[..1]);
    assert_eq!(batch(&get("&limit=1000").await).2, many);
}

#[actix_web::test]
async fn several_channels_come_in_the_order_of_their_ids() {
    let site = site(&[]);
    let query: String = (0..128).map(|n| format!("channel=public.{n}&")).collect();
    let mut sent = Vec::new();
    for n in 0..128 {
        sent.push(site.publish(&format!("public.{}", n * 37 % 128), "1").await.to_string());
        site.publish("public.other", "1").await;
    }
    let other = site.service.log().head().to_string();
    assert_eq!(ask(&site, &format!("{query}since=earliest&limit=1000")).await, (other, false, sent));
}

#[actix_web::test]
async fn a_gap_is_reported_exactly_when_messages_were_dropped() {
    let site = site(&[("TRIDENT_HISTORY_COUNT", "3")]);
    let sent = publish(&site, "public.a", 6).await;
    for mode in ["poll", "longpoll"] {
        let since = async |since: &str| ask(&site, &format!("mode={mode}&channel=public.a&since={since}")).await;
        for requested in [&*sent[0], &sent[1], "0-0", "99999999999999-0", "1763000000000-0"] {
            assert_eq!(since(requested).await, (sent[5].clone(), true, sent[3..].to_vec()), "{requested}");
        }
        assert_eq!(since(&sent[2]).await, (sent[5].clone(), false, sent[3..].to_vec()), "seen before it was dropped");
        assert_eq!(since("earliest").await, (sent[5].clone(), false, sent[3..].to_vec()));
    }
    // With a limited batch, the gap is reported once, with the first messages after it.
    let (cursor, gap, ids) = ask(&site, &format!("channel=public.a&limit=2&since={}", sent[0])).await;
    assert_eq!((&cursor, gap, &*ids), (&sent[4], true, &sent[3..5]));
    assert_eq!(
        ask(&site, &format!("channel=public.a&since={cursor}")).await,
        (sent[5].clone(), false, sent[5..].to_vec())
    );
}

#[actix_web::test]
async fn a_gap_without_messages_is_reported_immediately() {
    let site = site(&[("TRIDENT_HISTORY_AGE", "50ms")]);
    let sent = publish(&site, "public.a", 2).await;
    edge::testing::until("age takes them", || site.held("public.a").is_empty()).await;
    let told = ask(&site, &format!("channel=public.a&since={}", sent[0])).await;
    assert_eq!(told, (sent[1].clone(), true, vec![]));
    let query = format!("/data?mode=poll&channel=public.a&since={}", told.0);
    assert_eq!(site.get(&query).send().await.json(), json!({"cursor": sent[1], "gap": false, "messages": []}));
}
