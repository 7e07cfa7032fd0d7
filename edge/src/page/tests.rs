use std::io::Read as _;

use actix_web::test::{self as web_test, TestRequest};

use crate::{Edge, Settings, layer, settings::ServiceDefaults};

const SERVICE: ServiceDefaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
const STYLE: &str = include_str!("../../../web/base.css");

struct Answer {
    status: u16,
    encoding: Option<String>,
    vary: String,
    tag: String,
    body: Vec<u8>,
}

/// Through all that stands before a page on a server.
async fn get(path: &str, headers: &[(&str, &str)]) -> Answer {
    let edge = Edge::new(Settings::from_sources(&SERVICE, ["--demo", "off"], []).unwrap(), &SERVICE);
    let app = web_test::init_service(layer::app(edge, |_| ())).await;
    let request = headers.iter().fold(TestRequest::get().uri(path), |request, header| request.append_header(*header));
    let response = web_test::call_service(&app, request.to_request()).await;
    let text = |name: &str| {
        let all = response.headers().get_all(name).map(|value| value.to_str().unwrap());
        all.collect::<Vec<_>>().join(", ")
    };
    Answer {
        status: response.status().as_u16(),
        encoding: response.headers().contains_key("content-encoding").then(|| text("content-encoding")),
        vary: text("vary").to_lowercase(),
        tag: text("etag"),
        body: web_test::read_body(response).await.to_vec(),
    }
}

#[actix_web::test]
async fn a_file_is_sent_in_the_smallest_accepted_encoding() {
    for (accepted, encoding) in
        [("gzip, deflate, br, zstd", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip"), ("", "")]
    {
        // Made, and then kept.
        for _ in 0..2 {
            let answer = get("/base.css", &[("accept-encoding", accepted)]).await;
            assert_eq!((answer.status, answer.encoding.as_deref().unwrap_or_default()), (200, encoding), "{accepted}");
            assert!(answer.vary.contains("accept-encoding") && answer.vary.contains("origin"), "{}", answer.vary);
            let mut text = String::new();
            match encoding {
                "br" => brotli::Decompressor::new(&answer.body[..], 4_096).read_to_string(&mut text),
                "gzip" => flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text),
                _ => (&answer.body[..]).read_to_string(&mut text),
            }
            .unwrap();
            assert_eq!(text, STYLE, "{accepted}");
            assert_eq!(answer.body.len() < STYLE.len() / 2, !encoding.is_empty(), "{accepted}");
        }
    }
}

#[actix_web::test]
async fn what_fits_into_a_packet_comes_as_it_is() {
    let answer = get("/favicon.ico", &[("accept-encoding", "gzip, br")]).await;
    assert_eq!((answer.status, answer.encoding), (200, None));
    assert!(answer.vary.contains("accept-encoding"));
}

/// What it came as last does not matter: a cache that holds one form may serve it to nobody who does not take it.
#[actix_web::test]
async fn a_known_file_is_not_sent_again_in_any_encoding() {
    let first = get("/base.css", &[("accept-encoding", "br")]).await;
    assert!(first.tag.starts_with("W/\""), "{}", first.tag);
    let strong = first.tag.trim_start_matches("W/");
    for accepted in ["br", "gzip", ""] {
        for tag in [&first.tag, strong, &format!("\"other\", {}", first.tag), "*"] {
            let again = get("/base.css", &[("accept-encoding", accepted), ("if-none-match", tag)]).await;
            assert_eq!((again.status, &again.tag, again.body.len()), (304, &first.tag, 0), "{accepted} {tag}");
            assert!(again.vary.contains("accept-encoding"));
        }
    }
    let other = get("/api.css", &[]).await;
    assert_ne!(other.tag, first.tag);
    assert_eq!(get("/base.css", &[("if-none-match", &other.tag)]).await.status, 200);
}

#[actix_web::test]
async fn a_browser_gets_a_page_where_there_is_nothing_and_a_program_gets_json() {
    let browser = [("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")];
    for (path, root) in [("/nothing", ""), ("/nothing/", "../"), ("/a/b/c?d=e/f", "../../")] {
        let answer = get(path, &browser).await;
        let body = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 404, "{path}");
        assert!(body.contains(&format!("href=\"{root}base.css\"")) && !body.contains("#echo"), "{path}: {body}");
        assert!(answer.vary.contains("accept"), "{path}: {}", answer.vary);
    }
    // A deep path would repeat the way to the root too often.
    for (path, headers) in [("/nothing", &[][..]), ("/nothing", &[("accept", "*/*")]), ("/a/b/c/d/e", &browser)] {
        let answer = get(path, headers).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.starts_with(br#"{"error":{"code":"not_found""#), "{path}");
    }
}
