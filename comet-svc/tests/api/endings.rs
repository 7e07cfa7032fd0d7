//! How streams and long polls end, and what is said where there is no room.

use std::time::{Duration, Instant};

use edge::{
    metrics::Transport,
    testing::{PATIENCE, until},
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{publish, site, waiting};

#[actix_web::test]
async fn a_stream_ends_at_its_age() {
    let site = site(&[("TRIDENT_MAX_AGE", "300ms")]);
    let begun = Instant::now();
    let mut lines = site.get("/data?mode=stream").open().await;
    assert_eq!(lines.line().await.as_deref(), Some(""), "the opening");
    assert_eq!(lines.line().await, None);
    assert!((240..3_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[actix_web::test]
async fn streams_and_long_polls_end_with_their_token() {
    let site = site(&[]);
    let token = site.token_for(None, "", "inner", Duration::from_millis(300));
    let begun = Instant::now();
    let ask = |query: &str| site.get(&format!("/data?channel=inner{query}")).token(&token);
    let mut lines = ask("&mode=stream").open().await;
    assert_eq!(lines.line().await.as_deref(), Some(""), "the opening");
    let (end, batch, raw) = tokio::join!(lines.line(), ask("").send(), ask("&format=raw").send());
    assert!((300..3_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert_eq!((end, batch.status, raw.status), (None, 200, 204));
    assert_eq!(batch.json()["messages"], serde_json::json!([]));
    assert_eq!(ask("").send().await.error(), (401, "bad_token".into()));
}

#[actix_web::test]
async fn a_full_server_sends_the_time_to_retry() {
    for (setting, status, code) in [
        ("TRIDENT_MAX_CONNECTIONS", 503, "too_many_connections"),
        ("TRIDENT_MAX_CONNECTIONS_PER_ADDRESS", 429, "too_many_requests"),
    ] {
        let site = site(&[(setting, "1")]);
        let held = site.get("/data?mode=stream").open().await;
        for query in ["", "?mode=poll", "?mode=stream", "?channel=random&wait=1"] {
            let answer = site.get(&format!("/data{query}")).send().await;
            assert_eq!(answer.error(), (status, code.into()), "{query}");
            assert!((1..=60).contains(&answer.header("Retry-After").parse::<u32>().unwrap()));
            assert!(answer.message().contains(setting), "{}", answer.message());
        }
        drop(held);
        until("there is room again", || site.service.edge.limits.connections() == 0).await;
        assert_eq!(site.get("/data?mode=poll").send().await.status, 204);
        assert_eq!(site.get("/data?mode=stream").open().await.status, 200);
    }
}

#[actix_web::test]
async fn a_disconnected_client_releases_its_slot() {
    let site = site(&[]);
    let figures = |transport| site.service.edge.metrics.transport(transport).connections.get();
    let mut poll = site.connect().await;
    poll.request("GET", "/data?wait=60", &[]).await;
    waiting(&site, 1).await;
    let stream = site.get("/data?mode=stream").open().await;
    assert_eq!((figures(Transport::LongPoll), figures(Transport::Stream)), (1, 1));
    drop((poll, stream));
    assert!(PATIENCE < Duration::from_secs(15), "sooner than a keep-alive would find out");
    until("both places are free", || figures(Transport::LongPoll) + figures(Transport::Stream) == 0).await;
    assert_eq!(site.service.log().stats(0).subscriptions, 0);
}

#[actix_web::test]
async fn what_passes_is_counted() {
    let site = site(&[("TRIDENT_HISTORY_COUNT", "2")]);
    let sent = publish(&site, "public.a", 5).await;
    for query in ["", "&mode=poll", "&mode=poll&format=raw"] {
        let answer = site.get(&format!("/data?channel=public.a&since={}{query}", sent[0])).send().await;
        assert_eq!(answer.status, 200);
    }
    let figures = |transport| {
        let figures = site.service.edge.metrics.transport(transport);
        (figures.opened.get(), figures.deliveries.get(), figures.gaps.get())
    };
    // Another thread counts, after it has written.
    until("all are counted", || (figures(Transport::LongPoll), figures(Transport::Poll)) == ((1, 2, 1), (2, 3, 2)))
        .await;
}

#[actix_web::test]
async fn a_stop_ends_streams_and_answers_long_polls() {
    let site = site(&[]);
    let address = site.address();
    let head = site.service.log().head().to_string();
    let mut bytes = site.connect().await;
    bytes.request("GET", "/data?mode=stream", &[]).await;
    bytes.head().await;
    assert_eq!(bytes.chunk().await, b"\n", "the opening");
    let batch = site.get("/data?channel=public.a&wait=60").send();
    let raw = site.get("/data?wait=60").send();
    let begun = Instant::now();
    let ((batch, raw, streamed, told), ()) = tokio::join!(
        async {
            let told = async {
                let told = bytes.chunk().await;
                (told, begun.elapsed())
            };
            let (batch, raw, (end, told)) = tokio::join!(batch, raw, told);
            (batch, raw, end, told)
        },
        async {
            waiting(&site, 2).await;
            site.stop().await;
        }
    );
    assert_eq!(batch.json(), serde_json::json!({"cursor": head, "gap": false, "messages": []}));
    assert_eq!((raw.status, raw.header("ETag")), (204, format!("\"{head}\"")));
    assert_eq!(streamed, b"", "the last chunk: a clean end");
    assert!(told < Duration::from_secs(3), "{told:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the port is closed");
}

/// Case 13.7: a client in a loop of long polls gets one answer when the process shuts down, which asks it to retry later.
#[actix_web::test]
async fn a_loop_of_long_polls_is_answered_once_at_a_stop() {
    let site = site(&[]);
    let address = site.address();
    // One poll on its own connection, and its answer, if the port is still open.
    let poll = async || {
        let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
        stream.write_all(b"GET /data?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        String::from_utf8(answer).ok().filter(|answer| !answer.is_empty())
    };
    let polling = async {
        let mut answers = Vec::new();
        while let Some(answer) = poll().await {
            answers.push(answer.to_ascii_lowercase());
        }
        answers
    };
    let stopping = async {
        waiting(&site, 1).await;
        site.stop().await;
    };
    let (answers, ()) = tokio::join!(polling, stopping);
    for answer in &answers {
        assert!(answer.starts_with("http/1.1 204 "), "{answer}");
        assert!(answer.contains("\r\nretry-after: 2\r\n") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    // One more only if the port was closed late: such a poll is delayed by two seconds.
    assert!((1..=2).contains(&answers.len()), "{answers:?}");
}
