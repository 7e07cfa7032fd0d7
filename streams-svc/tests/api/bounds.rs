//! What a client chooses the size of has a limit.

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
    let mut streams = 0;
    while put(&site, &format!("s{streams}")).body(TEXT, "").await.status == 201 {
        streams += 1;
    }
    assert!((3..10).contains(&streams), "{streams}");
    assert_eq!(put(&site, "more").body(TEXT, "").await.error(), full);
    let metrics = site.get("/metrics").send().await;
    let gauge = |name: &str| {
        let line = metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        line.parse::<usize>().unwrap()
    };
    assert_eq!(gauge("trident_streams"), streams + 1);
    assert!((5_000..=10_000).contains(&gauge("trident_stream_bytes")), "{}", metrics.text());
    assert_eq!(site.service.edge.metrics.refusals.stream_bytes.get(), 3);
    delete(&site, "s0").await;
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
