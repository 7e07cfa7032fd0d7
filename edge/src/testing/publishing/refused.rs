//! What is not taken, and what is said of it. Nothing is added then, not even in part.

use std::time::Duration;

use actix_web::http::Method;

use super::{Route, id};
use crate::testing::Site;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// Nothing was added anywhere.
fn is_empty(site: &Site) -> bool {
    site.service.log().stats(0).messages == 0
}

/// Publishing is closed until a key is there, and the answer says which setting opens it.
pub async fn without_a_key_nobody_publishes(route: Route) {
    let site = (route.start)(&[("TRIDENT_SECRET", "")]);
    let requests = [("?channel=random", JSON, "1"), ("", LINES, "{\"channel\":\"a\",\"data\":1}")];
    for (query, kind, body) in requests {
        for answer in [
            route.anonymous(&site, query).body(kind, body).await,
            route.anonymous(&site, query).token("abc.def.ghi").body(kind, body).await,
        ] {
            assert_eq!(answer.error(), (403, "no_key".into()));
            let message = answer.message();
            assert!(message.contains("TRIDENT_SECRET") && message.contains("TRIDENT_JWT_PUBLIC_KEY_FILE"), "{message}");
        }
    }
    assert!(is_empty(&site));
}

/// What is public to read is not public to write.
pub async fn without_a_token_nobody_publishes(route: Route) {
    let site = route.site();
    for (query, kind, body) in [
        ("?channel=random", JSON, "1"),
        ("?channel=public.a", "text/plain", "1"),
        ("", LINES, "{\"channel\":\"chat.lobby\",\"data\":1}"),
    ] {
        let answer = route.anonymous(&site, query).body(kind, body).await;
        assert_eq!(answer.error(), (401, "token_needed".into()));
        assert_eq!(answer.header("WWW-Authenticate"), "Bearer realm=\"trident\"");
    }
    assert!(is_empty(&site));
}

/// Signed with another key, expired, or no token at all.
pub async fn an_invalid_token_is_rejected(route: Route) {
    let site = route.site();
    let other = (route.start)(&[("TRIDENT_SECRET", "another key that is good for tests")]);
    let expired = site.token_for(None, "*", "", Duration::ZERO);
    // `exp` is rounded up: at most a second, and then it has passed.
    crate::testing::until("the token expires", || {
        site.service.edge.verifier.verify(&expired, std::time::SystemTime::now()).is_err()
    })
    .await;
    for token in [&*other.token("*", ""), &*expired, "x", "a.b.c"] {
        let answer = route.anonymous(&site, "?channel=a").token(token).body(JSON, "1").await;
        assert_eq!(answer.error(), (401, "bad_token".into()));
        let challenge = answer.header("WWW-Authenticate");
        assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
    assert!(is_empty(&site));
}

/// 403 beyond them, and for one channel among several too.
pub async fn a_token_reaches_its_patterns(route: Route) {
    let site = route.site();
    let token = site.token("news*,one", "*");
    for (query, status) in [
        ("?channel=news", 201),
        ("?channel=news.sport&channel=one", 201),
        ("?channel=new", 403),
        ("?channel=one.two", 403),
        ("?channel=news&channel=other", 403),
    ] {
        let before = site.service.log().stats(0).messages;
        let answer = route.anonymous(&site, query).token(&token).body(JSON, "1").await;
        assert_eq!(answer.status, status, "{query}");
        if status == 403 {
            assert_eq!(answer.error().1, "insufficient_scope");
            assert!(answer.header("WWW-Authenticate").contains("error=\"insufficient_scope\""));
            assert_eq!(site.service.log().stats(0).messages, before);
        }
    }
    let batch = "{\"channel\":\"news\",\"data\":1}\n{\"channel\":\"other\",\"data\":1}";
    let answer = route.anonymous(&site, "").token(&token).body(LINES, batch).await;
    assert_eq!(answer.error(), (403, "insufficient_scope".into()));
    assert_eq!(site.held("news").len(), 1);
}

/// 415 with what is accepted.
pub async fn kinds_of_body(route: Route) {
    let site = route.site();
    for kind in [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "image/svg+json",
        "application/json+xml",
        "text/html",
        "text/plain;charset=iso-8859-1",
        "application/json;charset=utf-16",
        "json",
    ] {
        let answer = route.post(&site, "?channel=a").body(kind, "1").await;
        assert_eq!(answer.error(), (415, "unsupported_media_type".into()), "{kind}");
        assert!(["application/json", "text/plain", "application/ndjson"].iter().all(|k| answer.message().contains(k)));
    }
    let none = route.post(&site, "?channel=a").send().await;
    assert_eq!(none.error(), (415, "unsupported_media_type".into()));
    let coded = route.post(&site, "?channel=a").header("Content-Encoding", "gzip").body(JSON, "1").await;
    assert_eq!(coded.error(), (415, "unsupported_media_type".into()));
    assert!(is_empty(&site));
}

/// 400: no JSON, no UTF-8, no character.
pub async fn bodies_that_are_none(route: Route) {
    let site = route.site();
    for body in ["", " ", "{", "1 2", "{'a':1}", "nul", "NaN", "01", "[1,]", "\"\u{1}\"", "\"\\u12\"", "\u{feff}1"] {
        let answer = route.post(&site, "?channel=a").body(JSON, body.to_owned()).await;
        assert_eq!(answer.error(), (400, "bad_body".into()), "{body:.20}");
    }
    for (kind, query) in [(JSON, "?channel=a"), ("text/plain", "?channel=a"), (LINES, "")] {
        for body in [&b"\"\xff\""[..], b"\"\xc3\x28\"", b"\"\xed\xa0\x80\"", b"{\"channel\":\"a\",\"data\":\"\xff\"}"] {
            let answer = route.post(&site, query).body(kind, body).await;
            assert_eq!(answer.error(), (400, "bad_body".into()), "{kind} {body:?}");
            assert!(answer.message().contains("UTF-8"));
        }
    }
    assert!(is_empty(&site));
}

/// 400 with a code of its own: JSON that some reader cannot represent, in a body or a line of a batch.
pub async fn values_that_are_refused_everywhere(route: Route) {
    let site = route.site();
    let deep = "[".repeat(60_000);
    for (data, code) in [
        ("1e400", "number_out_of_range"),
        ("{\"delta\":\"\\ud83d\"}", "lone_surrogate"),
        ("\"\\udc00\"", "lone_surrogate"),
        (&deep, "too_deep"),
    ] {
        let answer = route.post(&site, "?channel=a").body(JSON, data.to_owned()).await;
        assert_eq!(answer.error(), (400, code.into()), "{data:.20}");
        if code != "too_deep" {
            let line = format!("{{\"channel\":\"a\",\"data\":{data}}}");
            let answer = route.post(&site, "").body(LINES, line).await;
            assert_eq!(answer.error(), (400, code.into()), "{data:.20}");
        }
    }
    assert!(is_empty(&site));
}

/// 413, with and without an announced length; a body of exactly the limit is accepted.
pub async fn too_large_a_body(route: Route) {
    let site = (route.start)(&[("TRIDENT_MAX_BODY", "1000")]);
    id(&route.post(&site, "?channel=a").body("text/plain", "x".repeat(1000)).await);
    let answer = route.post(&site, "?channel=a").body("text/plain", "x".repeat(1001)).await;
    assert_eq!(answer.error(), (413, "too_large".into()));
    assert!(answer.message().contains("1000"));

    let mut connection = site.connect().await;
    let token = format!("Bearer {}", site.token("*", ""));
    let headers = [("Authorization", &*token), ("Content-Type", "text/plain"), ("Transfer-Encoding", "chunked")];
    connection.request("POST", &format!("{}?channel=a", route.path), &headers).await;
    connection.write(format!("258\r\n{}\r\n258\r\n{}\r\n", "x".repeat(600), "x".repeat(600))).await;
    let head = connection.head().await;
    assert!(head.starts_with("http/1.1 413 "), "{head}");
    assert_eq!(site.held("a").len(), 1);

    let default = route.site();
    let answer = route.post(&default, "?channel=a").body("text/plain", "x".repeat(64 * 1024)).await;
    id(&answer);
    let answer = route.post(&default, "?channel=a").body("text/plain", "x".repeat(64 * 1024 + 1)).await;
    assert_eq!(answer.error().0, 413);
}

/// Invalid names, and names reserved by Socket.IO's clients.
pub async fn channels_and_events(route: Route) {
    let site = route.site();
    let longer = "c".repeat(129);
    for name in ["", "a%20b", "a//b", "a/", "a/../b", "a*", "%E6%97%B6", "a%00", "a,b", &longer] {
        let answer = route.post(&site, &format!("?channel={name}")).body(JSON, "1").await;
        assert_eq!(answer.error(), (400, "bad_channel".into()), "{name}");
    }
    assert_eq!(route.post(&site, "").body(JSON, "1").await.error(), (400, "bad_channel".into()));
    let longer = "e".repeat(129);
    let reserved = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];
    let controls = [
        "gap",
        "end",
        "error",
        "open",
        "%E2%80%AEx",
        "%EF%BB%BFx",
        "",
        "a%0Ab",
        "a%0Db",
        "a%0D%0Aid:%201",
        "a%00",
        "a%1Fb",
        "a%7F",
        "a%C2%85",
        &longer,
    ];
    for event in reserved.into_iter().chain(controls) {
        let answer = route.post(&site, &format!("?channel=a&event={event}")).body(JSON, "1").await;
        assert_eq!(answer.error(), (400, "bad_event".into()), "{event}");
    }
    assert!(is_empty(&site));
}

/// Each is named; so is what is accepted.
pub async fn parameters_that_are_none(route: Route) {
    let site = route.site();
    for query in ["?channel=a&chanel=b", "?channel=a&since=1-0", "?channel=a&mode=poll", "?channel=a&Event=x"] {
        let answer = route.post(&site, query).body(JSON, "1").await;
        assert_eq!(answer.error(), (400, "unknown_parameter".into()));
        let name = query.rsplit('&').next().unwrap().split('=').next().unwrap();
        assert!(answer.message().contains(&format!("`{name}`")), "{query}: {}", answer.message());
    }
    let lines = route.post(&site, "?channel=a").body(LINES, "{\"channel\":\"a\",\"data\":1}").await;
    assert_eq!(lines.error(), (400, "unknown_parameter".into()), "a batch names its channels itself");
    for (query, code) in [
        ("?channel=a&event=x&event=y", "repeated_parameter"),
        ("?channel=a&event=%zz", "bad_encoding"),
        ("?channel=a&event=%FF", "bad_encoding"),
    ] {
        assert_eq!(route.post(&site, query).body(JSON, "1").await.error(), (400, code.into()), "{query}");
    }
    let many: Vec<_> = (0..129).map(|n| format!("channel=c{n}")).collect();
    let answer = route.post(&site, &format!("?{}", many.join("&"))).body(JSON, "1").await;
    assert_eq!(answer.error(), (400, "repeated_parameter".into()));
    assert!(is_empty(&site));
}

/// The line is named by its number, blank lines counted.
pub async fn a_bad_line_keeps_the_whole_batch_out(route: Route) {
    let site = route.site();
    let good = "{\"channel\":\"a\",\"data\":1}";
    for bad in [
        "{",
        "1",
        "[]",
        "[\"a\",\"message\",1]",
        "{\"channel\":\"a\"}",
        "{\"data\":1}",
        "{\"channel\":\"a b\",\"data\":1}",
        "{\"channel\":\"a\",\"data\":1,\"event\":\"connect\"}",
        "{\"channel\":\"a\",\"data\":1,\"event\":\"a\\nb\"}",
        "{\"channel\":\"a\",\"data\":1,\"event\":\"a\\u0000\"}",
        "{\"channel\":\"a\",\"data\":1,\"event\":7}",
        "{\"channel\":\"a\",\"data\":1,\"id\":\"5-0\"}",
        "{\"channel\":\"a\",\"channel\":\"b\",\"data\":1}",
        "{\"channel\":\"a\",\"data\":1} {\"channel\":\"a\",\"data\":1}",
    ] {
        let answer = route.post(&site, "").body(LINES, format!("{good}\n\n{good}\n{bad}\n{good}\n")).await;
        assert_eq!(answer.error(), (400, "bad_line".into()), "{bad}");
        let told = answer.message();
        assert!(told.contains("line 4") && !told.contains("line 1") && !told.contains("struct"), "{bad}: {told}");
    }
    for nothing in ["", "\n \n\r\n"] {
        assert_eq!(route.post(&site, "").body(LINES, nothing).await.error(), (400, "bad_body".into()));
    }
    assert!(is_empty(&site));
}

/// A page that cannot read an error cannot show what is wrong.
pub async fn errors_can_be_read_by_pages(route: Route) {
    let site = route.site();
    let post = |origin: &str| route.anonymous(&site, "?channel=a").header("Origin", origin).body(JSON, "1");
    let ours = post("http://localhost:3000").await;
    assert_eq!(ours.error(), (401, "token_needed".into()));
    assert_eq!(ours.header("Access-Control-Allow-Origin"), "http://localhost:3000");
    assert_eq!(ours.header("Access-Control-Allow-Credentials"), "", "nobody configured this origin");
    assert!(ours.header("Access-Control-Expose-Headers").contains("Retry-After"));
    let foreign = post("https://evil.example").await;
    assert_eq!(foreign.error().0, 401);
    assert_eq!(foreign.header("Access-Control-Allow-Origin"), "");
}

/// 429 with the seconds to wait; a batch counts as its messages, and nothing of it is added.
pub async fn too_many_messages_a_second(route: Route) {
    let site = (route.start)(&[("TRIDENT_PUBLISH_RATE", "3")]);
    let token = site.token_for(Some("ann"), "*", "", Duration::from_secs(60));
    let post = |token: &str, lines: usize| {
        let body = "{\"channel\":\"a\",\"data\":1}\n".repeat(lines);
        route.anonymous(&site, "").token(token).body(LINES, body)
    };
    assert_eq!(post(&token, 3).await.status, 201);
    let answer = post(&token, 2).await;
    assert_eq!(answer.error(), (429, "too_many_requests".into()));
    assert!((1..=60).contains(&answer.header("Retry-After").parse::<u32>().unwrap()));
    assert_eq!(post(&site.token("*", ""), 3).await.status, 201, "another publisher is not held up");
    let never = post(&token, 4).await;
    assert_eq!(never.error(), (413, "batch_too_large".into()), "no time to wait would help");
    assert_eq!(never.header("Retry-After"), "");
    assert!(never.message().contains("the 3 a second"), "{}", never.message());
    let channels =
        route.anonymous(&site, "?channel=a&channel=b&channel=c&channel=d").token(&token).body(JSON, "1").await;
    assert_eq!(channels.error(), (413, "batch_too_large".into()), "channels count as messages");
    assert_eq!(site.held("a").len(), 6);
    assert_eq!(site.service.edge.metrics.refusals.publish_rate.get(), 3);
}

/// 405 with `Allow`; `OPTIONS` is answered, and a preflight with what a page may send.
pub async fn other_methods(route: Route) {
    let site = route.site();
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = site.ask(method, route.path).send().await;
        assert_eq!(answer.error(), (405, "method_not_allowed".into()));
        assert_eq!(answer.header("Allow"), "GET, HEAD, POST, OPTIONS");
    }
    let options = site.ask(Method::OPTIONS, route.path).send().await;
    assert_eq!((options.status, &*options.header("Allow")), (204, "GET, HEAD, POST, OPTIONS"));
    let preflight = |origin: &str| {
        let ask = site.ask(Method::OPTIONS, route.path).header("Origin", origin);
        ask.header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "idempotency-key")
            .send()
    };
    let ours = preflight("http://127.0.0.1:8000").await;
    assert_eq!((ours.status, &*ours.header("Access-Control-Allow-Origin")), (204, "http://127.0.0.1:8000"));
    assert!(ours.header("Vary").contains("Origin"));
    let allowed = ours.header("Access-Control-Allow-Headers");
    for name in ["Last-Event-ID", "Authorization", "If-None-Match", "Idempotency-Key", "Content-Type"] {
        assert!(allowed.contains(name), "{name} in {allowed}");
    }
    assert!(ours.header("Access-Control-Allow-Methods").contains("POST"));
    let foreign = preflight("https://evil.example").await;
    assert_eq!(foreign.header("Access-Control-Allow-Origin") + &foreign.header("Access-Control-Allow-Methods"), "");
}

/// A body that is not read must not be taken for the next request of its connection.
pub async fn the_body_of_a_refused_request_is_no_request(route: Route) {
    let site = route.site();
    let inner = format!("DELETE {}?smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n", route.path);
    let mut connection = site.connect().await;
    let (path, length) = (route.path, inner.len());
    connection
        .write(format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n\
             {inner}OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
        .await;
    let head = connection.head().await;
    assert!(head.starts_with("http/1.1 415 "), "{head}");
    let rest = String::from_utf8(connection.to_end().await).unwrap();
    assert!(!rest.contains(" 405 "), "{rest}");
}
