//! The ends of Durable Streams.

use edge::testing::Site;
use serde_json::{Value, json};
use shared::pure::Cursor;

use crate::{site, waiting};

async fn batch(site: &Site, query: &str) -> Value {
    site.get(&format!("/data?channel=public.s{query}")).send().await.json()
}

fn ended(channel: &str, reason: &str, id: &str) -> Value {
    json!({"channel": channel, "reason": reason, "id": id})
}

#[actix_web::test]
async fn a_batch_says_that_nothing_follows() {
    let site = site(&[]);
    site.create_stream("public.s").await;
    let first = site.publish("public.s", "1").await.to_string();
    let open = batch(&site, "&since=earliest&mode=poll").await;
    assert_eq!((open.get("closed"), open.get("end")), (None, None));
    let (live, id) = tokio::join!(batch(&site, ""), async {
        waiting(&site, 1).await;
        site.close_stream("public.s", None).await.1.to_string()
    });
    let end = ended("public.s", "closed", &id);
    assert_eq!(live, json!({"cursor": id, "gap": false, "end": end, "closed": true, "messages": []}));
    for mode in ["poll", "longpoll"] {
        let late = batch(&site, &format!("&since=earliest&mode={mode}")).await;
        assert_eq!((&late["end"], &late["closed"], &late["cursor"]), (&end, &json!(true), &json!(id)), "{mode}");
        assert_eq!(late["messages"][0]["id"], json!(first));
        // It does not wait: the client knows the end.
        let over = batch(&site, &format!("&since={id}&mode={mode}")).await;
        assert_eq!(over, json!({"cursor": id, "gap": false, "closed": true, "messages": []}), "{mode}");
        let fresh = batch(&site, &format!("&mode={mode}")).await;
        assert_eq!((&fresh["end"], &fresh["closed"]), (&end, &json!(true)), "{mode}");
    }
    let other = batch(&site, "&channel=public.t&since=earliest").await;
    assert_eq!((&other["end"], other.get("closed")), (&end, None), "the other one goes on");
}

#[actix_web::test]
async fn a_raw_answer_says_it_after_the_last_message() {
    let site = site(&[]);
    site.create_stream("public.s").await;
    let (last, id) = site.close_stream("public.s", Some("1")).await;
    let path = "/data?channel=public.s&format=raw";
    for mode in ["poll", "longpoll"] {
        let answer = site.get(&format!("{path}&mode={mode}&since=earliest")).send().await;
        let (tag, end) = (answer.header("ETag"), answer.header("Trident-End"));
        assert_eq!((answer.text(), tag, &*end), ("1", format!("\"{last}\""), ""), "{mode}");
        for cursor in [last, id] {
            let over = site.get(&format!("{path}&mode={mode}")).header("If-None-Match", &format!("\"{cursor}\""));
            let over = over.send().await;
            assert_eq!((over.status, over.header("Trident-End")), (204, id.to_string()), "{mode}");
            assert_eq!(over.header("ETag"), format!("\"{id}\""));
        }
    }
    site.delete_stream("public.s").await;
    let gone = site.get(&format!("{path}&since={last}")).send().await;
    assert_eq!(gone.status, 204);
    assert!(gone.header("Trident-End").parse::<Cursor>().unwrap() > id, "{gone:?}");
}

#[actix_web::test]
async fn a_raw_long_poll_waits_for_the_channels_that_continue() {
    let site = site(&[]);
    site.create_stream("public.s").await;
    site.close_stream("public.s", Some("1")).await;
    let path = "/data?channel=public.s&channel=public.t&format=raw";
    let (answer, ()) = tokio::join!(site.get(path).send(), async {
        waiting(&site, 1).await;
        site.publish("public.t", "2").await;
    });
    assert_eq!((answer.status, answer.text()), (200, "2"));
}

#[actix_web::test]
async fn lines_end_with_it() {
    let site = site(&[]);
    for stream in ["public.a", "public.b"] {
        site.create_stream(stream).await;
    }
    let path = "/data?channel=public.a&channel=public.b&mode=stream&format=raw";
    let mut lines = site.get(path).open().await;
    assert_eq!(lines.line().await.as_deref(), Some(""), "the opening");
    site.close_stream("public.a", Some("1")).await;
    assert_eq!(lines.line().await.as_deref(), Some("1"));
    let end: Value = serde_json::from_str(&lines.line().await.unwrap()).unwrap();
    assert_eq!((&end["end"]["channel"], &end["end"]["reason"]), (&json!("public.a"), &json!("closed")));
    site.publish("public.b", "2").await;
    assert_eq!(lines.line().await.as_deref(), Some("2"));
    site.delete_stream("public.b").await;
    let end: Value = serde_json::from_str(&lines.line().await.unwrap()).unwrap();
    let id = end["end"]["id"].as_str().unwrap().to_owned();
    assert_eq!(end, json!({"end": ended("public.b", "deleted", &id)}));
    assert_eq!(lines.line().await, None);
    let over = site.get(&format!("{path}&since={id}")).send().await;
    assert_eq!((over.status, over.header("Trident-End")), (204, id));
}
