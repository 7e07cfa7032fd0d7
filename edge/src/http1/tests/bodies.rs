//! Bodies of requests: read, discarded, and where they end.

use super::*;

#[actix_web::test]
async fn bodies_of_both_framings_are_read_to_their_end_and_no_further() {
    let mut stage = stage([]).await;
    let posts = [
        "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
            .to_owned(),
    ];
    for post in posts {
        // All at once with another request behind it, and byte by byte.
        let both = stage.send(&format!("{post}{GET}")).await.read_to("at /").await;
        assert!(both.contains("\r\n\r\n5HTTP/1.1 200"), "{both}");
        for byte in post.as_bytes() {
            stage.client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        stage.read_to("\r\n\r\n5").await;
    }
}

/// Case 9.1: an answer that leaves a body unread says `Connection: close`, or the body is read over.
#[actix_web::test]
async fn an_unread_body_is_discarded_or_ends_the_connection() {
    for (length, is_kept) in [(40_000, true), (65_537, false), (100_000, false)] {
        let mut stage = stage([]).await;
        let answer = stage
            .send(&format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"))
            .await
            .read_to("at /")
            .await;
        assert_eq!(answer.contains("connection: close"), !is_kept, "{answer}");
        // What is longer than is read over need not be taken to its end.
        let _ = stage.client.write_all(&vec![b'G'; length]).await;
        let _ = stage.client.write_all(GET.as_bytes()).await;
        if is_kept {
            stage.read_to("at /").await;
        } else {
            let mut rest = Vec::new();
            let _ = timeout(PATIENCE, stage.client.read_to_end(&mut rest)).await.unwrap();
            assert_eq!(rest, b"");
        }
    }
}

#[actix_web::test]
async fn a_100_continue_is_sent_when_the_body_is_read() {
    let expecting =
        |path| format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let mut wanted = stage([]).await;
    wanted.send(&expecting("/body")).await.read_to("HTTP/1.1 100 Continue\r\n\r\n").await;
    wanted.send("hello").await.read_to("\r\n\r\n5").await;
    wanted.send(GET).await.read_to("at /").await;
    // Refused, it is not: and then nobody knows whether the body comes, so nothing else can.
    let mut refused = stage([]).await;
    let answer = refused.send(&expecting("/")).await.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
}

#[actix_web::test]
async fn bytes_after_an_endless_body_are_not_a_request() {
    // An upgrade, whether it is granted or not, and CONNECT: whatever comes is the body.
    for first in [
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut stage = stage([]).await;
        let text = stage.send(&format!("{first}{GET}")).await.read_to_end().await;
        assert_eq!((text.matches("HTTP/1.1 ").count(), text.contains("connection: close")), (1, true), "{text}");
    }
}

#[actix_web::test]
async fn bytes_after_a_broken_body_are_not_a_request() {
    let mut stage = stage([]).await;
    let broken = "POST /careless HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    let text = stage.send(&format!("{broken}GET /route?a=b HTTP/1.1\r\nHost: x\r\n\r\n")).await.read_to_end().await;
    assert_eq!((text.matches("HTTP/1.1 ").count(), text.contains("connection: close")), (1, true), "{text}");
    assert!(!text.contains("a=b"), "{text}");
}

#[actix_web::test]
async fn a_body_that_differs_from_its_content_length_ends_the_connection() {
    for path in ["/too-short", "/too-long"] {
        let mut stage = stage([]).await;
        stage.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n{GET}")).await;
        let mut text = Vec::new();
        let _ = timeout(PATIENCE, stage.client.read_to_end(&mut text)).await.unwrap();
        assert!(!String::from_utf8(text).unwrap().contains("at /"), "{path}");
    }
}
