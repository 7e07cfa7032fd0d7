//! What is taken, and how it is answered.

use super::{Route, id, ids};
use crate::testing::Site;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const LINES: &str = "application/x-ndjson";

/// The JSON of all messages stored on `channel`.
fn data(site: &Site, channel: &str) -> Vec<String> {
    site.held(channel).into_iter().map(|(_, _, json)| json).collect()
}

/// White space between tokens goes, and nothing else changes: digits, order, escapes, keys that come twice.
pub async fn json_is_kept_as_it_was_written(route: Route) {
    let site = route.site();
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let bodies = [
        ("{ \"b\" : 1.500 ,\r\n\t\"a\" : [ 1 , 2 ] }", "{\"b\":1.500,\"a\":[1,2]}"),
        ("123456789012345678901234567890.10", "123456789012345678901234567890.10"),
        ("-0.0e+10", "-0.0e+10"),
        (" \"a b\" ", "\"a b\""),
        ("\"\\u65f6\\n \\u0000\"", "\"\\u65f6\\n \\u0000\""),
        ("\"时间\"", "\"时间\""),
        ("{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}"),
        ("null", "null"),
        ("\"\"", "\"\""),
        (&*deep, &*deep),
    ];
    for (body, json) in bodies {
        let answer = route.post(&site, "?channel=a").body(JSON, body.to_owned()).await;
        let held = site.held("a").pop().unwrap();
        assert_eq!((id(&answer), held), (id(&answer), (id(&answer).parse().unwrap(), "message".into(), json.into())));
        assert_eq!(answer.header("Content-Type"), JSON);
        assert_eq!(answer.header("Cache-Control"), "no-store");
        assert_eq!(answer.header("Vary"), "Origin");
    }
    let answer = route.post(&site, "?channel=a").body("Application/JSON; charset=UTF-8", "1").await;
    assert_eq!(answer.status, 201);
}

/// Case 4.8: a structured syntax suffix (RFC 6839 §3.1) is JSON, and both names of lines of JSON are accepted.
pub async fn other_media_types_of_json_are_accepted(route: Route) {
    let site = route.site();
    for kind in ["application/vnd.api+json", "application/cloudevents+json; charset=utf-8"] {
        id(&route.post(&site, "?channel=a").body(kind, "{ \"a\": 1 }").await);
        assert_eq!(data(&site, "a").pop().as_deref(), Some("{\"a\":1}"), "{kind}");
    }
    for kind in ["application/ndjson", "application/x-ndjson"] {
        let lines = "{\"channel\":\"b\",\"data\":1}\n{\"channel\":\"b\",\"data\":2}\n";
        assert_eq!(ids(&route.post(&site, "").body(kind, lines).await).len(), 2, "{kind}");
    }
    for kind in ["application/vnd.api+xml", "text/vnd+json", "application/json-seq"] {
        assert_eq!(route.post(&site, "?channel=a").body(kind, "1").await.status, 415, "{kind}");
    }
}

/// Whatever it contains, including white space and line ends.
pub async fn a_text_is_a_json_string(route: Route) {
    let site = route.site();
    for text in ["", " x \r\n", "{\"a\":1}", "时间\u{0}\u{2028}\"\\"] {
        for kind in [TEXT, "text/plain;charset=utf-8", "text/plain; charset=\"UTF-8\""] {
            id(&route.post(&site, "?channel=a").body(kind, text.to_owned()).await);
            let held = data(&site, "a").pop().unwrap();
            assert_eq!(serde_json::from_str::<String>(&held).unwrap(), text);
        }
    }
}

/// One message for each, in the order they were named; a channel named twice is one.
pub async fn each_channel_gets_a_message(route: Route) {
    let site = route.site();
    let answer = route.post(&site, "?channel=b&channel=a&channel=b&channel=c").body(JSON, "[ 1 ]").await;
    let ids = ids(&answer);
    assert_eq!(ids.len(), 3);
    for (channel, id) in ["b", "a", "c"].into_iter().zip(&ids) {
        assert_eq!(site.held(channel), [(id.parse().unwrap(), "message".into(), "[1]".into())]);
    }
    let many: Vec<_> = (0..128).map(|n| format!("channel=many.{n}")).collect();
    let answer = route.post(&site, &format!("?{}", many.join("&"))).body(JSON, "1").await;
    assert_eq!(super::ids(&answer).len(), 128);
    // The same channel again is one channel, and its answer that of one.
    id(&route.post(&site, "?channel=a&channel=a").body(JSON, "2").await);
}

/// Each line a message, blank lines none; the answer has the ids in the order of the lines, one line or many.
pub async fn a_batch_is_added_in_order(route: Route) {
    let site = route.site();
    let body = "{\"channel\":\"a\",\"data\":1.0}\r\n\n{\"data\": \"x\", \"event\":\"e v\", \"channel\":\"b\"}\n \n\
                {\"channel\":\"a\",\"data\":null}";
    let answer = route.post(&site, "").body(LINES, body).await;
    let ids: Vec<_> = ids(&answer).iter().map(|id| id.parse().unwrap()).collect();
    assert!(ids.len() == 3 && ids.is_sorted());
    let message = |at: usize, event: &str, json: &str| (ids[at], event.to_owned(), json.to_owned());
    assert_eq!(site.held("a"), [message(0, "message", "1.0"), message(2, "message", "null")]);
    assert_eq!(site.held("b"), [message(1, "e v", "\"x\"")]);

    let answer = route.post(&site, "").body(LINES, "{\"channel\":\"a\",\"event\":null,\"data\":0}").await;
    assert_eq!(super::ids(&answer).len(), 1);
    assert_eq!(site.held("a").pop().unwrap().1, "message", "an event of null is none");

    let answer = route.post(&site, "").body(LINES, "{\"channel\":\"a\",\"data\":{ \"a\" : 1 }}\n").await;
    assert_eq!(super::ids(&answer).len(), 1);
    assert_eq!(data(&site, "a").pop().unwrap(), "{\"a\":1}");
}

/// In the query, percent-encoded where it has to be.
pub async fn an_event_has_a_name(route: Route) {
    let site = route.site();
    let longest = "é".repeat(128);
    for event in ["chat message", "时间", "a&b=c%+", "<x>", &longest] {
        let encoded: String = event.bytes().map(|byte| format!("%{byte:02X}")).collect();
        id(&route.post(&site, &format!("?channel=a&event={encoded}")).body(JSON, "1").await);
        assert_eq!(site.held("a").pop().unwrap().1, event);
    }
    id(&route.post(&site, "?channel=a&event=chat+message").body(JSON, "1").await);
    assert_eq!(site.held("a").pop().unwrap().1, "chat message");
}

/// Once the answer is there, so is the message, and the figures say so.
pub async fn what_was_answered_can_be_read(route: Route) {
    let site = route.site();
    let mut last = site.service.log().head();
    for n in 0..20 {
        let answer = route.post(&site, "?channel=a").body(JSON, n.to_string()).await;
        let id = id(&answer).parse().unwrap();
        assert!(id > last);
        last = id;
        assert_eq!(site.held("a").pop().unwrap().0, id);
    }
    assert_eq!(site.service.edge.metrics.publishes.get(), 20);
}

/// A browser sends its cookie along; only where the page that asks is known to be ours does it let publish.
pub async fn a_cookie_of_a_page_of_ours_lets_publish(route: Route) {
    let site = (route.start)(&[("TRIDENT_ORIGINS", "http://localhost")]);
    let cookie = format!("a=b; trident_token={}; c=d", site.token("*", ""));
    let post = || route.anonymous(&site, "?channel=a").header("Cookie", &cookie);
    id(&post().header("Origin", "http://localhost:5173").body(JSON, "1").await);
    let own = format!("http://{}", site.address());
    id(&post().header("Origin", &own).body(JSON, "1").await);
    assert_eq!(post().body(JSON, "1").await.error(), (403, "bad_origin".into()));
    // Case 4.10.
    let secure = post().header("Origin", &own).header("X-Forwarded-Proto", "https").body(JSON, "1").await;
    assert_eq!(secure.error(), (403, "bad_origin".into()), "the cookie of https, a page of http");
    let foreign = post().header("Origin", "https://evil.example").body(JSON, "1").await;
    assert_eq!(foreign.error().0 / 100, 4);
    assert_eq!(data(&site, "a").len(), 2);
}
