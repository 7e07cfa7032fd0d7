//! A stream is a channel: other transports read and write it.

use actix_web::http::Method;
use edge::metrics::Transport;
use shared::{
    live::bus::{BusError, Publication},
    pure::{Draft, Payload, stream::StreamError},
};

use super::{JSON, TEXT, close, create, delete, post, site};

#[actix_web::test]
async fn the_messages_of_a_json_stream_are_those_of_its_channel() {
    let site = site(&[]);
    let created = create(&site, "orders/17", JSON, r#"[{"n":1}, 2.50]"#).await;
    let published = site.publish("orders/17", "3").await;
    let read = site.get("/streams/orders%2F17").send().await;
    assert_eq!(read.text(), r#"[{"n":1},2.50,3]"#);
    let held = site.held("orders/17");
    assert_eq!(held.iter().map(|(_, _, json)| json.as_str()).collect::<Vec<_>>(), [r#"{"n":1}"#, "2.50", "3"]);
    // An offset is the cursor of the last message, and the cursor is accepted as an offset.
    let (ms, seq) = (format!("{:016}", published.ms), format!("{:020}", published.seq));
    assert_eq!(read.header("Stream-Next-Offset"), format!("{ms}_{seq}"));
    let rest = site.get(&format!("/streams/orders/17?offset={}", held[1].0)).send().await;
    assert_eq!((rest.text(), rest.header("Stream-Up-To-Date").as_str()), ("[3]", "true"));
    assert!(created.header("Stream-Next-Offset") < read.header("Stream-Next-Offset"));
    assert!(created.header("Location").ends_with("/streams/orders/17"), "{created:?}");
}

#[actix_web::test]
async fn bytes_are_base64_for_readers_of_json() {
    let site = site(&[]);
    create(&site, "s", TEXT, "é").await;
    assert_eq!(site.held("s")[0].2, r#"{"base64":"w6k="}"#);
}

#[actix_web::test]
async fn a_publication_is_checked_as_an_append_is() {
    let site = site(&[]);
    create(&site, "text", TEXT, "").await;
    create(&site, "closed", JSON, "").await;
    close(&site, "closed").await;
    let publish = async |channel: &str| {
        let draft = Draft::new(channel.parse().unwrap(), Payload::from_text("x"));
        site.service.bus.publish(Publication::new(vec![draft])).await.unwrap_err()
    };
    assert!(matches!(publish("text").await, BusError::Stream(StreamError::ContentType(_))));
    assert!(matches!(publish("closed").await, BusError::Stream(StreamError::Closed { .. })));
    site.publish("plain", "1").await;
    let taken = super::put(&site, "plain").body(JSON, "").await;
    assert_eq!(taken.error(), (409, "channel_in_use".into()));
}

/// Data that a purge has removed is gone, and not empty.
#[actix_web::test]
async fn an_offset_whose_messages_were_purged_is_gone() {
    let site = site(&[]);
    let first = create(&site, "s", JSON, "[1]").await.header("Stream-Next-Offset");
    assert_eq!(post(&site, "s").body(JSON, "[2]").await.status, 204);
    site.service.bus.purge("s".parse().unwrap()).await.unwrap();
    assert_eq!(post(&site, "s").body(JSON, "[3]").await.status, 204);
    let gaps = || site.service.edge.metrics.transport(Transport::Sse).gaps.get();
    // An event stream was empty, and its client retried at once, for ever.
    for (live, gaps_of_sse) in [("", 0), ("&live=long-poll&timeout=0", 0), ("&live=sse", 1)] {
        let gone = site.get(&format!("/streams/s?offset={first}{live}")).send().await;
        assert_eq!((gone.error(), gaps()), ((410, "offset_gone".into()), gaps_of_sse), "{live}");
        let head = site.ask(Method::HEAD, &format!("/streams/s?offset={first}{live}")).send().await;
        assert_eq!((head.status, gaps()), (410, gaps_of_sse), "a HEAD has the status of the GET, {live}");
    }
    assert_eq!(site.get("/streams/s?offset=-1").send().await.text(), "[3]");
    delete(&site, "s").await;
    create(&site, "s", JSON, "[4]").await;
    let gone = site.get(&format!("/streams/s?offset={first}")).send().await;
    assert_eq!(gone.error(), (410, "offset_gone".into()), "of the stream before");
}

/// Nothing was removed: the server does not have what the client has.
#[actix_web::test]
async fn an_offset_from_the_future_is_reported_as_one() {
    let site = site(&[]);
    create(&site, "s", JSON, "[1]").await;
    for live in ["", "&live=long-poll&timeout=0", "&live=sse"] {
        let gone = site.get(&format!("/streams/s?offset=9000000000000_0{live}")).send().await;
        assert_eq!(gone.error(), (410, "offset_gone".into()), "{live}");
        assert!(gone.text().contains("newer than all messages") && !gone.text().contains("removed"), "{}", gone.text());
    }
}

/// The answer after a purge had the tag of the one before: a cache that asked whether it was valid kept what was erased.
#[actix_web::test]
async fn erased_data_is_not_confirmed() {
    let site = site(&[]);
    create(&site, "s", JSON, "[1]").await;
    let before = site.get("/streams/s").send().await.header("ETag");
    site.service.bus.purge("s".parse().unwrap()).await.unwrap();
    let after = site.get("/streams/s").header("If-None-Match", &before).send().await;
    assert_eq!((after.status, after.text()), (200, "[]"));
    assert_ne!(after.header("ETag"), before);
}

/// Offsets of the stream that had the name before are gone, also if the name is a fork's by now.
#[actix_web::test]
async fn an_offset_of_an_earlier_stream_is_gone() {
    let site = site(&[]);
    create(&site, "base", JSON, "[1]").await;
    let first = create(&site, "s", JSON, "[2]").await.header("Stream-Next-Offset");
    delete(&site, "s").await;
    let fork = super::put(&site, "s").header("Stream-Forked-From", "/streams/base").send().await;
    assert_eq!(fork.status, 201, "{fork:?}");
    for live in ["", "&live=long-poll&timeout=0", "&live=sse"] {
        let gone = site.get(&format!("/streams/s?offset={first}{live}")).send().await;
        assert_eq!(gone.error(), (410, "offset_gone".into()), "{live}");
    }
    // A fork without messages of its own ends before what the name has lost. After a purge, each of its offsets was gone.
    site.service.bus.purge("s".parse().unwrap()).await.unwrap();
    let mut offset = "-1".to_owned();
    for _ in 0..2 {
        let read = site.get(&format!("/streams/s?offset={offset}")).send().await;
        assert_eq!((read.status, read.text(), read.header("Stream-Up-To-Date").as_str()), (200, "[]", "true"));
        offset = read.header("Stream-Next-Offset");
    }
}

/// Ends the process of a site, so that another one can have its directory.
async fn end(site: edge::testing::Site) {
    site.service.bus.close().await;
    site.stop().await;
}

/// On disk, a stream is the same after a restart: its offsets, its producers, and that it is closed.
#[actix_web::test]
async fn a_stream_on_disk_outlives_the_process() {
    let folder = std::env::temp_dir().join(format!("trident-streams-{}", std::process::id()));
    let start = || site(&[("TRIDENT_BUS", &format!("file:{}", folder.display()))]);
    let by = |ask: edge::testing::Ask, seq: &str| {
        ask.header("Producer-Id", "p").header("Producer-Epoch", "0").header("Producer-Seq", seq)
    };
    let before = start();
    create(&before, "s", JSON, "[1]").await;
    let first = by(post(&before, "s"), "0").body(JSON, "[2]").await;
    assert_eq!(first.status, 200, "{first:?}");
    let offset = first.header("Stream-Next-Offset");
    end(before).await;
    let after = start();
    let read = after.get("/streams/s?offset=-1").send().await;
    assert_eq!((read.text(), read.header("Stream-Next-Offset")), ("[1,2]", offset.clone()));
    let again = by(post(&after, "s"), "0").body(JSON, "[2]").await;
    assert_eq!(again.status, 204, "{again:?}");
    close(&after, "s").await;
    end(after).await;
    let last = start();
    let closed = post(&last, "s").body(JSON, "[3]").await;
    assert_eq!((closed.status, closed.header("Stream-Closed").as_str()), (409, "true"));
    assert_eq!(last.get(&format!("/streams/s?offset={offset}")).send().await.header("Stream-Closed"), "true");
    super::delete(&last, "s").await;
    end(last).await;
    let gone = start();
    assert_eq!(gone.get("/streams/s").send().await.status, 404);
    end(gone).await;
    std::fs::remove_dir_all(folder).unwrap();
}

/// Whoever appends something wrong to a closed stream learns first of all that it is closed.
#[actix_web::test]
async fn a_closed_stream_says_so_whatever_is_appended() {
    let site = site(&[]);
    create(&site, "s", JSON, "[1]").await;
    close(&site, "s").await;
    for (kind, body) in [(JSON, "{"), (JSON, "[]"), (TEXT, "x")] {
        let answer = post(&site, "s").body(kind, body).await;
        assert_eq!(answer.error(), (409, "stream_closed".into()), "{kind} {body}");
        assert_eq!(answer.header("Stream-Closed"), "true");
    }
    assert_eq!(post(&site, "none").body(JSON, "{").await.error(), (404, "stream_not_found".into()));
}

/// Anybody could choose the scheme of the URL in the answer.
#[actix_web::test]
async fn only_a_trusted_proxy_says_that_a_stream_is_behind_tls() {
    for (proxies, scheme) in [("127.0.0.1", "https://"), ("none", "http://")] {
        let site = site(&[("TRIDENT_TRUSTED_PROXIES", proxies)]);
        let created = super::put(&site, "s").header("X-Forwarded-Proto", "https").body(JSON, "").await;
        assert!(created.header("Location").starts_with(scheme), "{proxies}: {created:?}");
    }
}
