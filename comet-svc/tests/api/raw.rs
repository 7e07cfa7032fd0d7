//! `format=raw`: one message's data, its cursor in `ETag`.

use std::time::Instant;

use edge::testing::{Answer, Site};

use crate::{publish, site, waiting};

/// Status, `ETag`, `Trident-Gap` and body of an answer, which has to be a raw one in every respect.
fn raw(answer: &Answer) -> (u16, String, String, String) {
    assert_eq!(
        (&*answer.header("Cache-Control"), &*answer.header("Vary")),
        ("max-age=0, no-transform", "Origin"),
        "{answer:?}"
    );
    let kind = if answer.status == 200 { "application/json" } else { "" };
    assert_eq!(answer.header("Content-Type"), kind, "{answer:?}");
    let tag = answer.header("ETag");
    let cursor = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).expect("a strong validator");
    (answer.status, cursor.to_owned(), answer.header("Trident-Gap"), answer.text().to_owned())
}

async fn get(site: &Site, query: &str) -> (u16, String, String, String) {
    raw(&site.get(&format!("/data{query}")).send().await)
}

async fn after(site: &Site, query: &str, tag: &str) -> (u16, String, String, String) {
    raw(&site.get(&format!("/data{query}")).header("If-None-Match", tag).send().await)
}

fn found(id: &str, data: &str) -> (u16, String, String, String) {
    (200, id.to_owned(), String::new(), data.to_owned())
}

#[actix_web::test]
async fn a_bare_get_is_the_next_message() {
    let site = site(&[]);
    publish(&site, "random", 2).await;
    let (answer, id) = tokio::join!(get(&site, ""), async {
        waiting(&site, 1).await;
        site.publish("random", "{ \"code\": 12.50 }").await.to_string()
    });
    assert_eq!(answer, found(&id, "{\"code\":12.50}"));
}

#[actix_web::test]
async fn each_answer_brings_the_next_message() {
    let site = site(&[]);
    let sent = publish(&site, "random", 5).await;
    for mode in ["", "?mode=longpoll", "?mode=poll"] {
        let mut tag = "\"0-0\"".to_owned();
        for (n, id) in sent.iter().enumerate() {
            let answer = after(&site, mode, &tag).await;
            assert_eq!(answer, found(id, &n.to_string()), "{mode}");
            // What gzip in a proxy makes of it.
            tag = if n % 2 == 0 { format!("W/\"{id}\"") } else { format!("\"{id}\"") };
        }
    }
    let (_, cursor, _, data) = get(&site, "?format=raw&since=earliest").await;
    assert_eq!((&cursor, &*data), (&sent[0], "0"));
    assert_eq!(get(&site, &format!("?format=raw&since={cursor}")).await, found(&sent[1], "1"));
}

#[actix_web::test]
async fn of_several_validators_the_newest_counts_and_all_beat_since() {
    let site = site(&[]);
    let sent = publish(&site, "random", 5).await;
    let tags = format!("\"{}\", W/\"{}\" ,\"{}\"", sent[0], sent[2], sent[1]);
    assert_eq!(after(&site, "", &tags).await, found(&sent[3], "3"));
    assert_eq!(after(&site, "?format=raw&since=earliest", &format!("\"{}\"", sent[3])).await, found(&sent[4], "4"));
    // `*` names no cursor.
    assert_eq!(after(&site, "?format=raw&since=earliest", "*").await, found(&sent[0], "0"));
    let two = site.get("/data").header("If-None-Match", &format!("\"{}\"", sent[1]));
    let two = two.header("If-None-Match", &format!("\"{}\"", sent[3])).send().await;
    assert_eq!(raw(&two), found(&sent[4], "4"));
}

#[actix_web::test]
async fn a_bare_poll_is_the_newest_message() {
    let site = site(&[]);
    let (status, cursor, gap, body) = get(&site, "?mode=poll").await;
    assert_eq!((status, &*gap, &*body), (204, "", ""), "there is none");
    assert_eq!(cursor, site.service.log().head().to_string());
    let sent = publish(&site, "random", 3).await;
    for _ in 0..2 {
        assert_eq!(get(&site, "?mode=poll").await, found(&sent[2], "2"));
    }
}

/// A restart loads only the newest messages of a log on disk, which may be those of other channels.
#[actix_web::test]
async fn a_bare_poll_is_the_newest_message_on_disk() {
    let directory = std::env::temp_dir().join(format!("trident-raw-{:016x}", rand::random::<u64>()));
    let bus = format!("file:{}", directory.display());
    let site = site(&[("TRIDENT_BUS", &bus), ("TRIDENT_HISTORY_TOTAL", "64KiB")]);
    let sent = publish(&site, "random", 3).await;
    for _ in 0..5 {
        site.publish("public.b", format!("\"{}\"", "x".repeat(20_000))).await;
    }
    assert_eq!(site.service.log().channel_stats(&"random".parse().unwrap()).messages, 0, "not in memory");
    assert_eq!(get(&site, "?mode=poll").await, found(&sent[2], "2"));
    site.service.bus.close().await;
    std::fs::remove_dir_all(directory).unwrap();
}

#[actix_web::test]
async fn nothing_new_is_304_for_a_validator_and_204_otherwise() {
    let site = site(&[]);
    let sent = publish(&site, "random", 2).await;
    let other = site.publish("public.b", "0").await.to_string();
    let tag = format!("\"{}\"", sent[1]);
    for weak in [tag.clone(), format!("W/{tag}")] {
        assert_eq!(after(&site, "?mode=poll", &weak).await, (304, sent[1].clone(), String::new(), String::new()));
    }
    let nothing = get(&site, &format!("?mode=poll&format=raw&since={}", sent[1])).await;
    assert_eq!(nothing, (204, other.clone(), String::new(), String::new()));

    let begun = Instant::now();
    let (waited, bare) = tokio::join!(after(&site, "?wait=1", &tag), get(&site, "?wait=1"));
    assert!((1_000..6_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert_eq!(waited, (204, other.clone(), String::new(), String::new()));
    assert_eq!(bare, waited);
    // The cursor of an empty answer is valid like any other.
    let next = publish(&site, "random", 1).await;
    assert_eq!(after(&site, "", &format!("\"{other}\"")).await, found(&next[0], "0"));
}

/// RFC 9110 §15.3.5, §15.4.5: neither has a body, and the next answer follows immediately.
#[actix_web::test]
async fn answers_without_a_body_have_none_in_bytes_either() {
    let site = site(&[]);
    let sent = publish(&site, "random", 1).await;
    let tag = format!("\"{}\"", sent[0]);
    let mut connection = site.connect().await;
    for _ in 0..2 {
        connection.request("GET", "/data?mode=poll", &[("If-None-Match", &tag)]).await;
        let head = connection.head().await;
        assert!(head.starts_with("http/1.1 304 ") && !head.contains("content-length: 1"), "{head}");
        let since = format!("/data?mode=poll&format=raw&since={}", sent[0]);
        connection.request("GET", &since, &[]).await;
        let head = connection.head().await;
        assert!(head.starts_with("http/1.1 204 ") && !head.contains("content-length"), "{head}");
    }
}

#[actix_web::test]
async fn data_is_json_whatever_it_is() {
    let site = site(&[]);
    for json in ["\"时间:7\\r\\n\"", "null", "[1.0,{}]", "12345678901234567890.0", "\"\""] {
        let id = site.publish("public.a", json).await.to_string();
        assert_eq!(get(&site, "?mode=poll&format=raw&channel=public.a").await, found(&id, json));
    }
}

#[actix_web::test]
async fn a_gap_is_a_header() {
    let site = site(&[("TRIDENT_HISTORY_COUNT", "3")]);
    let sent = publish(&site, "random", 6).await;
    for query in ["", "?mode=poll"] {
        for lost in [&*sent[0], &sent[1], "99999999999999-0"] {
            let (status, cursor, resumed, data) = after(&site, query, &format!("\"{lost}\"")).await;
            assert_eq!((status, &cursor, &*data), (200, &sent[3], "3"), "{lost}");
            // Resuming with the cursor of the header reports no gap and returns the same message.
            assert_eq!(after(&site, query, &format!("\"{resumed}\"")).await, found(&sent[3], "3"), "{lost}");
        }
        assert_eq!(after(&site, query, &format!("\"{}\"", sent[2])).await, found(&sent[3], "3"));
    }
}

/// The cursor has to be learnt, so it is no 304, and there is no message to wait for: the loss is news.
#[actix_web::test]
async fn a_gap_without_messages_is_reported_immediately() {
    let site = site(&[("TRIDENT_HISTORY_AGE", "50ms")]);
    let sent = publish(&site, "random", 2).await;
    edge::testing::until("age takes them", || site.held("random").is_empty()).await;
    for query in ["", "?mode=poll"] {
        let told = after(&site, query, &format!("\"{}\"", sent[0])).await;
        assert_eq!(told, (204, sent[1].clone(), sent[1].clone(), String::new()));
    }
}

#[actix_web::test]
async fn pages_of_allowed_origins_may_read_cursor_and_gap() {
    let site = site(&[]);
    publish(&site, "random", 1).await;
    let answer = site.get("/data?mode=poll").header("Origin", "http://localhost:5173").send().await;
    raw(&answer);
    assert_eq!(answer.header("Access-Control-Allow-Origin"), "http://localhost:5173");
    let exposed = answer.header("Access-Control-Expose-Headers");
    assert!(exposed.contains("ETag") && exposed.contains("Trident-Gap"), "{exposed}");
}
