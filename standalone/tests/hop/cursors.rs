//! A cursor is a cursor: whatever gave it out, everything takes it.

use edge::testing::Site;
use serde_json::Value;

use crate::site;

/// What each transport returns first after `cursor`, as the ids of messages or `gap`.
async fn after(site: &Site, cursor: &str) -> Vec<(&'static str, String)> {
    let path = "channel=public.a";
    let tag = format!("\"{cursor}\"");
    let named = |message: edge::testing::sse::Message| {
        if message.event.as_deref() == Some("gap") { "gap".to_owned() } else { message.id.unwrap().to_string() }
    };
    let id = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["id"].as_str().map_or("gap".to_owned(), ToOwned::to_owned)
    };
    let batch =
        |batch: &Value| if batch["gap"] == true { "gap".to_owned() } else { id(&batch["messages"][0].to_string()) };
    let raw = |answer: edge::testing::Answer| {
        if answer.headers.contains_key("Trident-Gap") { "gap".into() } else { answer.header("ETag").replace('"', "") }
    };
    let header = site.get(&format!("/events?{path}")).header("Last-Event-ID", cursor);
    let since = site.get(&format!("/events?{path}&since={cursor}"));
    let poll = site.get(&format!("/data?{path}&mode=poll&since={cursor}"));
    let long_poll = site.get(&format!("/data?{path}&since={cursor}"));
    let stream = site.get(&format!("/data?{path}&mode=stream&since={cursor}"));
    let strong = site.get(&format!("/data?{path}&format=raw")).header("If-None-Match", &tag);
    let weak = site.get(&format!("/data?{path}&format=raw")).header("If-None-Match", &format!("W/{tag}"));
    vec![
        ("Last-Event-ID", named(header.events().await.message().await.unwrap())),
        ("/events since", named(since.events().await.message().await.unwrap())),
        ("poll", batch(&poll.send().await.json())),
        ("long poll", batch(&long_poll.send().await.json())),
        ("stream", id(&first(stream.open().await).await)),
        ("If-None-Match", raw(strong.send().await)),
        ("weak If-None-Match", raw(weak.send().await)),
    ]
}

/// The first line of a stream that is not its opening.
async fn first(mut stream: edge::testing::Open) -> String {
    loop {
        let line = stream.line().await.unwrap();
        if !line.is_empty() {
            return line;
        }
    }
}

#[actix_web::test]
async fn a_cursor_of_each_transport_resumes_on_the_others() {
    let site = site(&[("TRIDENT_HISTORY_COUNT", "3")]);
    let mut sent = Vec::new();
    for n in 0..6 {
        sent.push(site.publish("public.a", n.to_string()).await.to_string());
    }
    // Each form in which a cursor is given out, when the third-last message was the last one read.
    let path = format!("channel=public.a&since={}", sent[2]);
    let event = site.get(&format!("/events?{path}")).events().await.message().await.unwrap();
    let batch = site.get(&format!("/data?{path}&limit=1")).send().await.json();
    let raw = site.get(&format!("/data?{path}&format=raw")).send().await;
    let line = first(site.get(&format!("/data?{path}&mode=stream")).open().await).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    for cursor in [
        event.id.unwrap().as_ref(),
        batch["cursor"].as_str().unwrap(),
        batch["messages"][0]["id"].as_str().unwrap(),
        raw.header("ETag").trim_matches('"'),
        line["id"].as_str().unwrap(),
    ] {
        assert_eq!(cursor, sent[3]);
        for (way, first) in after(&site, cursor).await {
            assert_eq!(first, sent[4], "{way}");
        }
    }

    // And each form in which a gap gives the cursor to resume from.
    let path = format!("channel=public.a&since={}", sent[0]);
    let event = site.get(&format!("/events?{path}")).events().await.message().await.unwrap();
    let raw = site.get(&format!("/data?{path}&format=raw")).send().await;
    let line = first(site.get(&format!("/data?{path}&mode=stream")).open().await).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    for resumed in [event.id.unwrap().as_ref(), &*raw.header("Trident-Gap"), line["gap"]["resumed"].as_str().unwrap()] {
        for (way, first) in after(&site, resumed).await {
            assert_eq!(first, sent[3], "{way}");
        }
    }
    for (way, first) in after(&site, &sent[0]).await {
        assert_eq!(first, "gap", "{way}");
    }
}
