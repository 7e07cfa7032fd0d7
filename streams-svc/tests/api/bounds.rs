//! What a client chooses the size of has a limit.

use edge::testing::until;
use shared::{live::bus::MAX_MESSAGES, pure::access::ApiRight};

use super::{JSON, TEXT, create, delete, post, put, site};

#[actix_web::test]
async fn a_body_has_a_limit_of_its_own() {
    let site = site(&[("TRIDENT_MAX_BODY", "10"), ("TRIDENT_STREAM_MAX_BODY", "100")]);
    create(&site, "s", TEXT, "more than ten bytes").await;
    let large = post(&site, "s").body(TEXT, vec![b'x'; 101]).await;
    assert_eq!(large.error(), (413, "too_large".into()));
    assert!(large.message().contains("TRIDENT_STREAM_MAX_BODY"), "{large:?}");
    assert_eq!(post(&site, "s").body(TEXT, vec![b'x'; 100]).await.status, 204);
    assert_eq!(site.service.edge.metrics.refusals.body_size.get(), 1);
}

#[actix_web::test]
async fn streams_have_a_budget_and_what_exceeds_it_is_rejected() {
    let site = site(&[("TRIDENT_STREAM_BYTES", "10000")]);
    create(&site, "s", TEXT, "x").await;
    let full = (503, "streams_full".to_owned());
    assert_eq!(post(&site, "s").body(TEXT, vec![b'x'; 10_000]).await.error(), full);
    // One client gets as much as it leaves free, and a backend all of it.
    let (client, backend) = (site.token("*", ""), site.backend_token(ApiRight::Write));
    let (mut streams, mut refusals) = (0, Vec::new());
    for token in [None, Some(&client), Some(&backend)] {
        let put = async |stream: &str| match token {
            Some(token) => put(&site, stream).token(token).body(TEXT, "").await,
            None => put(&site, stream).body(TEXT, "").await,
        };
        let before = streams;
        while put(&format!("s{streams}")).await.status == 201 {
            streams += 1;
        }
        assert!(streams > before, "{token:?}");
        let refused = put("more").await;
        assert_eq!(refused.error(), full);
        refusals.push(refused.message().contains("share of one client"));
    }
    assert_eq!(refusals, [true, true, false]);
    assert!((5..9).contains(&streams), "{streams}");
    let metrics = site.get("/metrics").send().await;
    let gauge = |name: &str| {
        let line = metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        line.parse::<usize>().unwrap()
    };
    assert_eq!(gauge("trident_streams"), streams + 1);
    assert!((8_500..=10_000).contains(&gauge("trident_stream_bytes")), "{}", metrics.text());
    assert_eq!(site.service.edge.metrics.refusals.stream_bytes.get(), 7);
    delete(&site, "s0").await;
    delete(&site, "s1").await;
    delete(&site, "s").await;
    create(&site, "more", TEXT, "").await;
}

#[actix_web::test]
async fn every_change_counts_in_the_rate_of_its_client() {
    let site = site(&[("TRIDENT_PUBLISH_RATE", "3")]);
    create(&site, "s", JSON, "[1,2]").await;
    assert_eq!(put(&site, "t").body(JSON, "").await.status, 201);
    assert_eq!(put(&site, "u").body(JSON, "").await.error().0, 429);
    assert_eq!(post(&site, "s").body(JSON, "[1,2,3,4]").await.error(), (413, "batch_too_large".into()));
}

/// A fork counted as one message, however many it copied.
#[actix_web::test]
async fn a_fork_counts_as_what_it_copies() {
    let site = site(&[("TRIDENT_PUBLISH_RATE", "10")]);
    let (writer, other, third) = (site.token("*", "*"), site.token("*,a", "*"), site.token("*,b", "*"));
    assert_eq!(put(&site, "s").token(&writer).body(JSON, "[1,2,3,4]").await.status, 201);
    assert_eq!(put(&site, "big").token(&writer).body(JSON, format!("\"{}\"", "x".repeat(20_000))).await.status, 201);
    let fork = async |stream: &str, token: &str, source: &str| {
        let ask = put(&site, stream).token(token).header("Stream-Forked-From", &format!("/streams/{source}"));
        ask.send().await.status
    };
    // However much it is, a second's worth is enough, and necessary.
    assert_eq!(fork("f1", &other, "big").await, 201);
    assert_eq!(fork("f2", &other, "big").await, 429);
    // Five of ten, and then one, since nothing is copied.
    assert_eq!(fork("f3", &third, "s").await, 201);
    assert_eq!(fork("f3", &third, "s").await, 200);
}

#[actix_web::test]
async fn fields_are_short() {
    let site = site(&[]);
    create(&site, "s", TEXT, "x").await;
    let long = "x".repeat(257);
    for (name, code) in [("Stream-Seq", "bad_header"), ("Producer-Id", "bad_header")] {
        assert_eq!(post(&site, "s").header(name, &long).body(TEXT, "x").await.error(), (400, code.into()), "{name}");
    }
    let kind = format!("text/{long}");
    assert_eq!(put(&site, "t").body(&kind, "x").await.error(), (400, "bad_content_type".into()));
    let answer = put(&site, "t").header("Stream-TTL", "3153600001").body(TEXT, "x").await;
    assert_eq!(answer.error(), (400, "bad_lifetime".into()));
}

/// Half a million elements became messages before they were too many.
#[actix_web::test]
async fn an_array_of_too_many_elements_is_rejected_before_they_are_messages() {
    let site = site(&[("TRIDENT_PUBLISH_RATE", "0"), ("TRIDENT_RECEIVE_TOTAL", "10MiB")]);
    create(&site, "s", JSON, "").await;
    let array = |elements: usize| format!("[{}1]", "1,".repeat(elements - 1));
    let answer = post(&site, "s").body(JSON, array(MAX_MESSAGES + 1)).await;
    assert_eq!(answer.error(), (413, "batch_too_large".into()));
    let refusals = &site.service.edge.metrics.refusals;
    assert_eq!(refusals.receive_total.get(), 0);
    // Fewer take 30 MiB as messages. Alone a request may exceed the budget.
    let mut other = site.service.edge.receiving.share();
    other.set(100_000).unwrap();
    let answer = post(&site, "s").body(JSON, array(100_000)).await;
    assert_eq!((answer.error(), refusals.receive_total.get()), ((503, "overloaded".into()), 1));
}

/// Cases 5.10, 9.5: `HEAD` was outside of all limits, and said that the stream had no bytes.
#[actix_web::test]
async fn a_head_is_limited_as_a_get_is_and_has_no_wrong_length() {
    let site = site(&[("TRIDENT_CONNECT_RATE", "3")]);
    create(&site, "s", TEXT, "some").await;
    let mut connection = site.connect().await;
    for (method, status) in
        [("HEAD", "200 ok"), ("GET", "200 ok"), ("HEAD", "200 ok"), ("HEAD", "429 too many requests")]
    {
        connection.request(method, "/streams/s", &[]).await;
        let head = connection.head().await;
        assert!(head.starts_with(&format!("http/1.1 {status}\r\n")), "{method}: {head}");
        if method == "GET" {
            assert!(head.contains("content-length: 4\r\n"), "{head}");
            connection.read(4).await;
        } else if status == "200 ok" {
            assert!(!head.contains("content-length") && head.contains("stream-next-offset: "), "{head}");
        }
    }
}

/// Every reader that stopped reading kept an event of its own: of a message of 1 MiB, up to 6 MiB.
#[actix_web::test]
async fn a_large_message_is_an_event_in_pieces() {
    const SIZE: usize = 1_000_000;
    let site = site(&[]);
    for (stream, kind, data) in [
        ("json", JSON, format!("\"{}\"", "x".repeat(SIZE))),
        ("text", TEXT, "\n".repeat(SIZE)),
        ("bytes", "image/png", "x".repeat(SIZE)),
    ] {
        assert_eq!(put(&site, stream).body(kind, data).await.status, 201);
        let mut reader = site.connect().await;
        reader.request("GET", &format!("/streams/{stream}?offset=-1&live=sse"), &[]).await;
        reader.head().await;
        let (mut read, mut longest) = (Vec::new(), 0);
        while !read.ends_with(b"\"upToDate\":true}\n\n") {
            let chunk = reader.chunk().await;
            longest = longest.max(chunk.len());
            read.extend(chunk);
        }
        assert!(longest <= 64 * 1024, "{longest} bytes of {stream}");
        let expected = match stream {
            "json" => SIZE + "event: data\ndata:[\"\"]\n".len(),
            "text" => SIZE * 6 + "event: data\ndata:\n".len(),
            _ => SIZE.div_ceil(3) * 4 + "event: data\ndata:\n".len(),
        };
        let control = read.windows(9).rposition(|end| end == b"\n\nevent: ").unwrap();
        assert_eq!(control + 1, expected, "{stream}");
    }
}

/// Clients without a token took all of the memory for requests.
#[actix_web::test]
async fn appends_without_a_token_leave_room_for_those_with_one() {
    let site = site(&[("TRIDENT_RECEIVE_TOTAL", "256KiB")]);
    create(&site, "s", TEXT, "x").await;
    let (receiving, refusals) = (&site.service.edge.receiving, &site.service.edge.metrics.refusals);
    let mut clients = Vec::new();
    for n in 0..5 {
        let mut client = site.connect().await;
        client.request("POST", "/streams/s", &[("Content-Type", TEXT), ("Content-Length", "100000")]).await;
        client.write(vec![b'x'; 50_000]).await;
        until("it is counted or refused", || refusals.receive_total.get() + u64::from(receiving.bytes() > 40_000) > n)
            .await;
        clients.push(client);
    }
    assert_eq!(refusals.receive_total.get(), 4);
    let append = post(&site, "s").token(&site.token("*", "*")).body(TEXT, vec![b'x'; 100_000]).await;
    assert_eq!(append.status, 204, "{append:?}");
}
