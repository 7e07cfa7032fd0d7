use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::header::{HeaderName, HeaderValue},
};

use super::*;

fn shape(version: Version) -> Shape {
    Shape { version, is_head: false, keeps: true }
}

/// The head, its fields in order, without the date.
async fn head(response: HttpResponse, shape: Shape) -> (Vec<String>, Written) {
    let clock = Clock::start(Duration::from_secs(1));
    let mut outgoing = Outgoing::default();
    let size = actix_web::body::MessageBody::size(response.body());
    let written = outgoing.head(response.head(), size, shape, &clock);
    let text = String::from_utf8(outgoing.bytes).unwrap();
    let text = text.strip_suffix("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = text.split("\r\n").filter(|line| !line.starts_with("date: ")).map(str::to_owned).collect();
    assert_eq!(lines.len() + 1, text.split("\r\n").count(), "one date: {text}");
    lines[1..].sort_unstable();
    (lines, written)
}

fn streaming(response: &mut actix_web::HttpResponseBuilder) -> HttpResponse {
    let mut response = response.streaming(futures_util::stream::empty::<Result<bytes::Bytes, actix_web::Error>>());
    response.headers_mut().clear();
    response
}

#[actix_web::test]
async fn each_kind_of_body_is_framed_as_its_client_understands() {
    use Framing::{Chunks, Close, Length, Nothing};
    let (new, old) = (shape(Version::HTTP_11), shape(Version::HTTP_10));
    let ok = || HttpResponse::Ok();
    for (response, shape, lines, framing, keeps) in [
        (ok().body("hello"), new, &["HTTP/1.1 200 OK", "content-length: 5"][..], Length, true),
        (ok().body("hello"), old, &["HTTP/1.0 200 OK", "connection: keep-alive", "content-length: 5"], Length, true),
        (
            ok().body("hello"),
            Shape { keeps: false, ..new },
            &["HTTP/1.1 200 OK", "connection: close", "content-length: 5"],
            Length,
            false,
        ),
        (ok().body("hello"), Shape { is_head: true, ..new }, &["HTTP/1.1 200 OK", "content-length: 5"], Nothing, true),
        (ok().finish(), new, &["HTTP/1.1 200 OK", "content-length: 0"], Nothing, true),
        (
            ok().insert_header((header::CONTENT_LENGTH, 7)).body("hello"),
            new,
            &["HTTP/1.1 200 OK", "content-length: 5"],
            Length,
            true,
        ),
        (HttpResponse::NoContent().finish(), new, &["HTTP/1.1 204 No Content"], Nothing, true),
        (HttpResponse::NotModified().finish(), new, &["HTTP/1.1 304 Not Modified"], Nothing, true),
        (streaming(&mut ok()), new, &["HTTP/1.1 200 OK", "transfer-encoding: chunked"], Chunks, true),
        (streaming(&mut ok()), old, &["HTTP/1.0 200 OK", "connection: close"], Close, false),
        (
            streaming(&mut HttpResponse::SwitchingProtocols()),
            Shape { keeps: false, ..new },
            &["HTTP/1.1 101 Switching Protocols", "connection: upgrade"],
            Close,
            false,
        ),
    ] {
        let told = head(response, shape).await;
        assert_eq!(told, (lines.iter().map(|line| (*line).to_owned()).collect(), Written { framing, keeps }));
    }
}

#[actix_web::test]
async fn fields_go_out_as_they_are_and_framing_is_ours() {
    let mut response = HttpResponse::Ok().body("x");
    for (name, value) in [("vary", "Origin"), ("vary", "Accept"), ("transfer-encoding", "gzip"), ("connection", "te")] {
        response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let (lines, _) = head(response, shape(Version::HTTP_11)).await;
    assert_eq!(lines, ["HTTP/1.1 200 OK", "content-length: 1", "vary: Accept", "vary: Origin"]);
}

#[test]
fn chunks_say_their_length_and_the_last_one_has_none() {
    let mut outgoing = Outgoing::default();
    for chunk in [&b"hello"[..], b"", b"0123456789abcdef"] {
        outgoing.chunk(Framing::Chunks, Bytes::from_static(chunk));
    }
    outgoing.end(Framing::Chunks);
    assert_eq!(outgoing.bytes, b"5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n");
    let mut outgoing = Outgoing::default();
    outgoing.chunk(Framing::Length, Bytes::from_static(b"hello"));
    outgoing.end(Framing::Length);
    assert_eq!(outgoing.bytes, b"hello");
}

#[test]
fn long_parts_are_shared_and_stay_in_their_place() {
    let mut outgoing = Outgoing::default();
    let long = Bytes::from(vec![b'x'; MIN_SHARED]);
    outgoing.raw(b"first,");
    for chunk in [long.clone(), Bytes::from_static(b",middle,"), long.clone(), Bytes::from_static(b",last")] {
        outgoing.chunk(Framing::Length, chunk);
    }
    assert!(outgoing.parts.iter().any(|part| part.as_ptr() == long.as_ptr()), "it was copied");
    let expected = [&b"first,"[..], &long, b",middle,", &long, b",last"].concat();
    assert_eq!(outgoing.len(), expected.len());
    let mut sent = Vec::new();
    // Taken in steps of all sizes, as a kernel does.
    for step in (1..).map(|step| step * 7) {
        let bytes: Vec<u8> = outgoing.slices().iter().flat_map(|slice| slice.to_vec()).collect();
        assert!(bytes.starts_with(&outgoing.first()[..outgoing.first().len().min(bytes.len())]));
        let taken = step.min(bytes.len());
        sent.extend_from_slice(&bytes[..taken]);
        outgoing.advance(taken);
        outgoing.shrink();
        if outgoing.len() == 0 {
            break;
        }
    }
    assert!(sent == expected);
}
