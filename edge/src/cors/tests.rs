use actix_web::http::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn origins(text: &str) -> Origins {
    text.parse().unwrap()
}

const DEFAULT: &str = "http://127.0.0.1,http://localhost";

#[test]
fn which_pages_are_allowed() {
    for (list, origin, host, allowed, credentials) in [
        (DEFAULT, "http://localhost", None, true, true),
        (DEFAULT, "http://localhost:5173", None, true, true),
        (DEFAULT, "HTTP://LocalHost:5173", None, true, true),
        (DEFAULT, "http://127.0.0.1:1", None, true, true),
        (DEFAULT, "https://localhost:5173", None, false, false),
        (DEFAULT, "http://localhost.evil.example", None, false, false),
        (DEFAULT, "http://127.0.0.1.evil.example", None, false, false),
        (DEFAULT, "http://evil.example/localhost", None, false, false),
        (DEFAULT, "http://evil.example#@localhost", None, false, false),
        (DEFAULT, "http://user@localhost", None, false, false),
        (DEFAULT, "null", None, false, false),
        (DEFAULT, "", None, false, false),
        // The page of the host itself, whatever the list says; TLS may end before us.
        (DEFAULT, "https://push.example", Some("push.example"), true, true),
        (DEFAULT, "https://push.example", Some("push.example:443"), true, true),
        (DEFAULT, "http://push.example:8080", Some("push.example:8080"), true, true),
        (DEFAULT, "http://push.example:8080", Some("Push.Example:8080"), true, true),
        (DEFAULT, "http://push.example", Some("push.example:8080"), false, false),
        (DEFAULT, "http://push.example.evil", Some("push.example"), false, false),
        ("none", "http://[::1]:8080", Some("[::1]:8080"), true, true),
        ("none", "http://localhost", None, false, false),
        ("", "http://localhost", None, false, false),
        // Elsewhere than on loopback no port is the scheme's own.
        ("https://example.org", "https://example.org", None, true, true),
        ("https://example.org", "https://example.org:443", None, true, true),
        ("https://example.org", "https://example.org:8443", None, false, false),
        ("https://example.org", "http://example.org", None, false, false),
        ("https://example.org", "https://www.example.org", None, false, false),
        ("https://example.org/", "https://example.org", None, true, true),
        ("https://example.org:*", "https://example.org:8443", None, true, true),
        ("http://localhost:80", "http://localhost:81", None, false, false),
        ("http://[::1]", "http://[::1]:3000", None, true, true),
        ("http://app.localhost", "http://app.localhost:3000", None, true, true),
        ("capacitor://localhost", "capacitor://localhost", None, true, true),
        ("chrome-extension://abcdef", "chrome-extension://abcdef", None, true, true),
        ("*", "https://anybody.example", None, true, false),
        ("*", "null", None, true, false),
        ("*,https://example.org", "https://example.org", None, true, true),
        ("null", "null", None, true, false),
        ("null", "https://example.org", None, false, false),
    ] {
        let list_of = origins(list);
        assert_eq!(list_of.allows(origin, host), allowed, "{list}: {origin} of {host:?}");
        let mut request = HeaderMap::new();
        if let Some(host) = host {
            request.insert(header::HOST, HeaderValue::from_static(host));
        }
        assert_eq!(
            list_of.allow_credentials(origin, &request),
            credentials,
            "{list}: {origin} of {host:?}, credentials"
        );
    }
}

/// Case 4.10: the scheme of a page counts.
#[test]
fn a_page_of_another_scheme_is_not_of_the_same_origin() {
    let of = |more: &[(&'static str, &'static str)]| {
        let host = [("host", "site.example")];
        headers(&[&host[..], more].concat())
    };
    let (http, https) = ("http://site.example", "https://site.example");
    for (request, plain, secure) in [
        (of(&[("x-forwarded-proto", "https")]), false, true),
        (of(&[("x-forwarded-proto", "http")]), true, false),
        (of(&[("x-forwarded-proto", "HTTPS, http")]), false, true),
        (of(&[("sec-fetch-site", "cross-site")]), false, false),
        (of(&[("sec-fetch-site", "same-origin")]), true, true),
        (of(&[]), true, true),
    ] {
        for (origin, is_own) in [(http, plain), (https, secure)] {
            assert_eq!(origins("none").allow_credentials(origin, &request), is_own, "{origin}: {request:?}");
            let (mut request, mut answer) = (request.clone(), HeaderMap::new());
            request.insert(header::ORIGIN, HeaderValue::from_static(origin));
            origins("none").mark(&request, &mut answer);
            assert_eq!(text(&answer, "access-control-allow-credentials").is_some(), is_own, "{origin}: {request:?}");
        }
    }
}

/// Case 4.10: loopback origins that nobody configured may read answers, and their cookies do not count.
#[test]
fn a_default_has_no_credentials() {
    let list = origins(DEFAULT).without_credentials();
    let request = headers(&[("host", "127.0.0.1:8080"), ("origin", "http://localhost:1234")]);
    assert!(list.allows("http://localhost:1234", None) && !list.allow_credentials("http://localhost:1234", &request));
    let mut answer = HeaderMap::new();
    list.mark(&request, &mut answer);
    assert_eq!(text(&answer, "access-control-allow-origin"), Some("http://localhost:1234"));
    assert_eq!(text(&answer, "access-control-allow-credentials"), None);
    assert!(list.allow_credentials("http://127.0.0.1:8080", &request), "the server's own pages");
}

#[test]
fn invalid_origin_lists() {
    for bad in [
        "example.org",
        "https://",
        "https://a b",
        "https://example.org/x",
        "https://e:99999",
        "https://e:x",
        "a,,b",
        "://x",
        "https://*.example.org",
        "http://a@b",
        "http://[::1",
        "http://::1",
        "1x://y",
        "http://localhost,",
    ] {
        let told = bad.parse::<Origins>().unwrap_err().to_string();
        assert!(told.contains("is not a valid origin: expected"), "{bad}: {told}");
    }
    assert_eq!(origins("none").to_string(), "none");
    assert_eq!(origins("https://E.org, *").to_string(), "https://e.org:443,*");
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get(HeaderName::from_static(name)).map(|value| value.to_str().unwrap())
}

#[test]
fn answers_are_marked() {
    let listed = headers(&[("origin", "http://localhost:3000")]);
    let stranger = headers(&[("origin", "https://stranger.example")]);
    for (list, request, origin, credentials) in [
        (DEFAULT, &listed, Some("http://localhost:3000"), Some("true")),
        (DEFAULT, &stranger, None, None),
        (DEFAULT, &headers(&[]), None, None),
        ("*", &stranger, Some("*"), None),
        ("null", &headers(&[("origin", "null")]), Some("null"), None),
    ] {
        let mut answer = HeaderMap::new();
        origins(list).mark(request, &mut answer);
        assert_eq!(text(&answer, "access-control-allow-origin"), origin, "{list}");
        assert_eq!(text(&answer, "access-control-allow-credentials"), credentials, "{list}");
        assert_eq!(text(&answer, "access-control-expose-headers").is_some(), origin.is_some());
        assert_eq!(text(&answer, "vary"), Some("Origin"));
    }
}

#[test]
fn vary_is_added_to_what_is_there_and_not_twice() {
    for (before, after) in [
        (&[][..], &["Origin"][..]),
        (&["accept-encoding"], &["accept-encoding", "Origin"]),
        (&["accept, origin"], &["accept, origin"]),
        (&["*"], &["*"]),
    ] {
        let mut answer = HeaderMap::new();
        for value in before {
            answer.append(header::VARY, HeaderValue::from_static(value));
        }
        origins(DEFAULT).mark(&headers(&[]), &mut answer);
        let vary: Vec<_> = answer.get_all(header::VARY).map(|value| value.to_str().unwrap()).collect();
        assert_eq!(vary, after);
    }
}

#[test]
fn preflights_list_what_is_allowed() {
    let request = headers(&[
        ("origin", "http://localhost:3000"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "last-event-id, x-mine,,bad header, X-Other"),
    ]);
    assert!(is_preflight(&Method::OPTIONS, &request));
    assert!(!is_preflight(&Method::GET, &request) && !is_preflight(&Method::OPTIONS, &headers(&[])));
    let mut answer = HeaderMap::new();
    origins(DEFAULT).mark_preflight(&request, &mut answer);
    let allowed = text(&answer, "access-control-allow-headers").unwrap();
    for name in ["Last-Event-ID", "Authorization", "If-None-Match", "Idempotency-Key", "Content-Type", "Cache-Control"]
    {
        assert!(allowed.split(", ").any(|allowed| allowed == name), "{allowed}");
    }
    assert!(allowed.ends_with(", x-mine, X-Other"), "{allowed}");
    assert_eq!(text(&answer, "access-control-allow-methods"), Some("GET, HEAD, POST, PUT, DELETE, OPTIONS"));
    assert_eq!(text(&answer, "access-control-max-age"), Some("7200"));

    let mut answer = HeaderMap::new();
    let stranger = headers(&[("origin", "https://stranger.example"), ("access-control-request-method", "POST")]);
    origins(DEFAULT).mark_preflight(&stranger, &mut answer);
    assert!(answer.is_empty());
}

proptest! {
    /// A list without `*` allows nothing but loopback and the host itself, whatever is made up around their names.
    #[test]
    fn nothing_made_up_is_allowed(prefix in "[a-z.:/@#?-]{0,12}", suffix in "[a-z.:/@#?-]{1,12}") {
        for origin in [format!("http://{prefix}localhost{suffix}"), format!("http://localhost{suffix}"), format!("{prefix}http://localhost{suffix}")] {
            let plain = matches!(origin.as_str(), "http://localhost" | "http://localhost:");
            prop_assert!(plain || !origins(DEFAULT).allows(&origin, Some("push.example")), "{}", origin);
        }
    }

    #[test]
    fn any_list_is_parsed_or_rejected(list in ".{0,60}") {
        if let Ok(list) = list.parse::<Origins>() {
            prop_assert_eq!(list.to_string().parse::<Origins>(), Ok(list));
        }
    }
}
