//! Whether a request arrives at once or in pieces, its answer is the same.

use edge::testing::{Site, raw::Connection};

/// The same request in another form: a path with percent-encoded characters.
fn encoded(line: &str) -> String {
    line.replace("/data", "/dat%61").replace("/events", "/event%73")
}

/// How a request is sent.
#[derive(Clone, Copy, PartialEq)]
enum Body {
    /// With its length, and at once with the head.
    Whole,
    /// As chunks, so that its end is not known from the head.
    Chunked,
}

/// The answer to a request: its head, without the date, and its body. Of a stream the head alone.
async fn answer(site: &Site, line: &str, fields: &str, body: &str, form: Body) -> (Vec<String>, String) {
    let mut connection: Connection = site.connect().await;
    let (field, body) = match form {
        _ if !line.starts_with("POST") => (String::new(), String::new()),
        Body::Whole => (format!("Content-Length: {}\r\n", body.len()), body.to_owned()),
        Body::Chunked => {
            ("Transfer-Encoding: chunked\r\n".to_owned(), format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
        }
    };
    connection.write(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}{field}\r\n{body}")).await;
    let head = connection.head().await;
    // A refused body whose end is not known ends the connection, and one that is known need not.
    let is_same = |line: &&str| !line.starts_with("date: ") && !line.starts_with("connection: ");
    let mut head: Vec<_> = head.lines().filter(is_same).map(str::to_owned).collect();
    head[1..].sort_unstable();
    let length = head.iter().find_map(|field| field.strip_prefix("content-length: ")?.parse().ok());
    let body = connection.read(length.unwrap_or(0)).await;
    (head, String::from_utf8(body).expect("an answer in UTF-8"))
}

#[actix_web::test]
async fn a_request_in_pieces_has_the_same_answer() {
    let settings = [("TRIDENT_MAX_BODY", "100"), ("TRIDENT_TRUSTED_PROXIES", "127.0.0.1")];
    let routes = |service: &edge::service::Service| comet_svc::routes(service).and(sse_svc::routes(service));
    let site = Site::start(&standalone::DEFAULTS, &settings, routes, |_| ());
    site.publish("public.a", r#"{"n":1}"#).await;
    let token = format!("Authorization: Bearer {}\r\n", site.token("public.*", "secret.*"));
    let cookie = format!("Cookie: a=b; trident_token={}\r\n", site.token("public.*", "secret.*"));
    let (json, text) = ("Content-Type: application/json\r\n", "Content-Type: text/plain; charset=utf-8\r\n");
    let (page, stranger) = ("Origin: http://localhost:3000\r\n", "Origin: https://stranger.example\r\n");
    let (get, post) = ("GET /data?channel=public.a&since=earliest", "POST /data?channel=public.a");
    let large = "x".repeat(101);
    let keyed = format!("{token}{json}Idempotency-Key: k\r\n");
    let mut both = 0;
    for (line, fields, body) in [
        (get, String::new(), ""),
        (get, page.to_owned(), ""),
        (get, stranger.to_owned(), ""),
        ("GET /data?channel=public.a&mode=poll&format=raw", String::new(), ""),
        ("GET /data?channel=public.a&since=0-0&limit=1", "accept: */*\r\nX-Forwarded-For: 10.0.0.1\r\n".to_owned(), ""),
        ("GET /data?channel=public.a&mode=poll", "If-None-Match: W/\"99999999999999-0\"\r\n".to_owned(), ""),
        ("GET /data?channel=public.a&mode=stream&since=earliest", String::new(), ""),
        ("GET /data?channel=public.a&since=earliest", "Accept: application/x-ndjson\r\n".to_owned(), ""),
        ("GET /data?chanel=a", String::new(), ""),
        ("GET /data?channel=a%20b", page.to_owned(), ""),
        ("GET /data?channel=public.a&since=x", String::new(), ""),
        ("GET /data?channel=secret.a&mode=poll", String::new(), ""),
        ("GET /data?channel=secret.a&mode=poll", "Authorization: Bearer x\r\n".to_owned(), ""),
        ("GET /data?channel=secret.a&mode=poll", token.clone(), ""),
        ("GET /data?channel=secret.a&mode=poll", cookie.clone(), ""),
        ("GET /data?channel=secret.a&mode=poll", format!("{cookie}{stranger}"), ""),
        ("GET /events?channel=public.a", String::new(), ""),
        ("GET /events?channel=public.a", "Last-Event-ID: nonsense\r\n".to_owned(), ""),
        ("GET /events?format=odd", page.to_owned(), ""),
        (post, keyed.clone(), "[1]"),
        (post, keyed.clone(), "[2]"),
        (post, format!("{token}{json}"), "{"),
        (post, format!("{token}{text}"), &large),
        (post, format!("{token}{text}Content-Encoding: gzip\r\n"), "x"),
        (post, token.clone(), "x"),
        (post, json.to_owned(), "1"),
        (post, format!("{cookie}{json}"), "1"),
        (post, format!("{cookie}{json}{stranger}"), "1"),
        ("POST /events?channel=private", format!("{token}{json}"), "1"),
        ("POST /events", format!("{token}{json}"), "1"),
    ] {
        let whole = answer(&site, line, &fields, body, Body::Whole).await;
        let chunked = answer(&site, &encoded(line), &fields, body, Body::Chunked).await;
        assert_eq!(whole, chunked, "{line} {fields} {body}");
        both += 1;
    }
    let figures = site.get("/metrics").send().await;
    let figures = figures.text();
    let counted = figures.lines().filter(|line| line.starts_with("trident_http_requests_total{route=\"/"));
    let counted: u32 = counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u32>().ok()).sum();
    assert_eq!(counted, 2 * both, "each is counted once, under its route\n{figures}");
}
