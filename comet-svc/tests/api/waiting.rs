//! Long polls that wait are answered as those for which there is something, whatever they have in common with others.

use std::time::Duration;

use edge::testing::{Site, raw::Connection, soon};
use shared::pure::access::ApiRight;

use crate::site;

/// Waits until a metric, named with its labels, has this value. Workers may count after they have written.
async fn metric_is(site: &Site, name: &str, expected: usize) {
    soon(name, async {
        let line = format!("{name} {expected}");
        while site.get("/metrics").send().await.text().lines().all(|other| other != line) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// An answer without its date, its fields sorted: their order means nothing.
async fn answer(connection: &mut Connection) -> String {
    let head = connection.head().await;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let body = connection.read(length.parse().unwrap()).await;
    let mut lines: Vec<_> = head.lines().filter(|line| !line.starts_with("date: ")).collect();
    lines[1..].sort_unstable();
    format!("{}\n{}", lines.join("\n"), String::from_utf8(body).unwrap())
}

#[actix_web::test]
async fn an_answer_is_the_same_whether_its_client_waited_or_not() {
    const EACH: usize = 2;
    let site = site(&[("TRIDENT_ORIGINS", "https://example.org")]);
    let before = site.publish("public.a", "0").await;
    let (reader, backend) = (site.token("", "public.*"), site.backend_token(ApiRight::Read));
    let of_page = "Origin: https://example.org\r\n";
    let requests: Vec<String> = [
        ("", "1.1", String::new()),
        ("&limit=1", "1.1", String::new()),
        ("&format=raw", "1.1", String::new()),
        ("&format=raw", "1.1", format!("If-None-Match: \"{before}\"\r\n")),
        ("&format=raw", "1.1", format!("Authorization: Bearer {reader}\r\n")),
        ("", "1.1", format!("Authorization: Bearer {backend}\r\n")),
        ("", "1.1", "Connection: close\r\n".to_owned()),
        ("", "1.0", String::new()),
        ("", "1.0", "Connection: keep-alive\r\n".to_owned()),
        ("", "1.1", of_page.to_owned()),
        ("", "1.1", format!("{of_page}Authorization: Bearer {reader}\r\n")),
        ("", "1.1", "Origin: https://example.com\r\n".to_owned()),
    ]
    .into_iter()
    .map(|(query, version, fields)| {
        let target = format!("/data?channel=public.a&wait=60&since={before}{query}");
        format!("GET {target} HTTP/{version}\r\nHost: localhost\r\n{fields}\r\n")
    })
    .collect();
    let mut waiting = Vec::new();
    for request in requests.iter().flat_map(|request| [request; EACH]) {
        let mut connection = site.connect().await;
        connection.write(request).await;
        waiting.push((request, connection));
    }
    let all = waiting.len();
    metric_is(&site, "trident_parked_connections", all).await;
    site.publish_as("public.a", "news", "{\"b\":[1.50, \"时间\"]}").await;
    for (request, mut connection) in waiting {
        let waited = answer(&mut connection).await;
        assert!(waited.starts_with("http/1."), "{waited}");
        let mut at_once = site.connect().await;
        at_once.write(request).await;
        assert_eq!(waited, answer(&mut at_once).await, "{request}");
        if waited.contains("connection: close") {
            assert_eq!(connection.to_end().await, b"", "{request}");
        }
    }
    metric_is(&site, "trident_unparked_total{reason=\"answered\"}", all).await;
    metric_is(&site, "trident_deliveries_total{transport=\"longpoll\"}", 2 * all).await;
    metric_is(&site, "trident_connections{transport=\"longpoll\"}", 0).await;
}
