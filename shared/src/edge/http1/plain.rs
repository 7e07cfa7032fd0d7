//! A request that may be answered without the application: one that holds nothing but what every client sends, and is there as a whole.
//!
//! Whatever is in the least out of the ordinary is none, and goes to actix's decoder, which reads it or refuses it. So nothing is
//! accepted here that would not be there (RFC 9112 §3, §6.3).

use std::mem::MaybeUninit;

use actix_web::http::Method;
use httparse::{Header, Status};

/// Fields of the longest head that is looked at.
pub(super) const MOST_FIELDS: usize = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Plain<'b> {
    pub(super) method: Method,
    pub(super) path: &'b str,
    /// Without its question mark; empty where there is none.
    pub(super) query: &'b str,
    pub(super) fields: &'b [Header<'b>],
    pub(super) body: &'b [u8],
    /// Bytes of all of it.
    pub(super) length: usize,
}

/// Room for the fields of a head. Empty, since to fill it with fields of nothing would write a kilobyte for each request.
pub(super) type Room<'b> = [MaybeUninit<Header<'b>>; MOST_FIELDS];

/// See [`Room`].
pub(super) fn room<'b>() -> Room<'b> {
    [const { MaybeUninit::uninit() }; MOST_FIELDS]
}

/// The path that a request asks for, as far as it can be told at a glance.
pub(super) fn path(bytes: &[u8]) -> Option<&[u8]> {
    let target = bytes.strip_prefix(b"GET ").or_else(|| bytes.strip_prefix(b"POST "))?;
    let end = target.iter().position(|byte| matches!(byte, b' ' | b'?'))?;
    Some(&target[..end])
}

impl<'b> Plain<'b> {
    /// The request at the beginning of `bytes`, if it is a plain one.
    pub(super) fn read(bytes: &'b [u8], room: &'b mut Room<'b>) -> Option<Self> {
        let mut request = httparse::Request::new(&mut []);
        let Ok(Status::Complete(head)) = request.parse_with_uninit_headers(bytes, room) else { return None };
        if request.version != Some(1) {
            return None;
        }
        let method = match request.method? {
            "GET" => Method::GET,
            "POST" => Method::POST,
            _ => return None,
        };
        let target = request.path.filter(|target| target.starts_with('/') && target.bytes().all(is_plain))?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let fields: &[Header<'_>] = request.headers;
        let (mut hosts, mut told) = (0, None);
        for Header { name, value } in fields {
            match name.len() {
                4 if name.eq_ignore_ascii_case("host") => hosts += 1,
                6 if name.eq_ignore_ascii_case("expect") => return None,
                7 if name.eq_ignore_ascii_case("upgrade") => return None,
                10 if name.eq_ignore_ascii_case("connection") && !value.eq_ignore_ascii_case(b"keep-alive") => {
                    return None;
                }
                14 if name.eq_ignore_ascii_case("content-length") && told.replace(length(value)?).is_some() => {
                    return None;
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => return None,
                _ => {}
            }
        }
        let told = match (&method, told) {
            (&Method::GET, None) => 0,
            (&Method::POST, Some(told)) => told,
            _ => return None,
        };
        let body = bytes[head..].get(..told).filter(|_| hosts == 1)?;
        Some(Self { method, path, query, fields, body, length: head + told })
    }
}

/// Of a URI, and nothing that one reader of URIs may take for something else than another (RFC 3986 §2).
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'Z' | b'[' | b']' | b'_' | b'a'..=b'z' | b'~')
}

fn length(value: &[u8]) -> Option<usize> {
    let is_number = (1..=9).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use actix_http::h1::{Codec, Message};
    use bytes::BytesMut;
    use proptest::prelude::*;
    use tokio_util::codec::Decoder as _;

    use super::*;

    fn read(text: &[u8]) -> Option<(String, String, String, Vec<u8>, usize)> {
        let mut room = room();
        let plain = Plain::read(text, &mut room)?;
        let Plain { method, path, query, body, length, .. } = plain;
        Some((method.to_string(), path.to_owned(), query.to_owned(), body.to_vec(), length))
    }

    #[test]
    fn what_every_client_sends_is_plain() {
        for (text, method, path, query, body) in [
            ("GET /data HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "/data", "", ""),
            (
                "GET /data?channel=a&since=1-0 HTTP/1.1\r\nhost: x\r\nConnection: Keep-Alive\r\n\r\n",
                "GET",
                "/data",
                "channel=a&since=1-0",
                "",
            ),
            (
                "POST /data?channel=a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiGET",
                "POST",
                "/data",
                "channel=a",
                "hi",
            ),
            ("POST / HTTP/1.1\r\nContent-Length: 0\r\nHost: x\r\n\r\n", "POST", "/", "", ""),
        ] {
            let length = text.len() - if text.ends_with("GET") { 3 } else { 0 };
            let expected = (method.to_owned(), path.to_owned(), query.to_owned(), body.as_bytes().to_vec(), length);
            assert_eq!(read(text.as_bytes()), Some(expected), "{text}");
            assert_eq!(super::path(text.as_bytes()), Some(path.as_bytes()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for text in [
            "",
            "GET /data HTTP/1.1\r\nHost: x\r\n",
            "GET /data HTTP/1.0\r\nHost: x\r\n\r\n",
            "GET /data HTTP/1.1\r\n\r\n",
            "GET /data HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            "HEAD /data HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET http://x/data HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /data?a#b HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /data HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "GET /data HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "GET /data HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n",
            "GET /data HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi",
            "POST /data HTTP/1.1\r\nHost: x\r\n\r\n",
            "POST /data HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nhi",
            "POST /data HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\nhi",
            "POST /data HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            "POST /data HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi",
            "POST /data HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    /// Pieces of requests, good and bad, put together in all ways.
    fn requests() -> impl Strategy<Value = Vec<u8>> {
        let line = prop::sample::select(vec![
            "GET /data HTTP/1.1",
            "POST /data?a=%20 HTTP/1.1",
            "POST /data HTTP/1.1",
            "GET /data?\"{ HTTP/1.1",
            "GET  /data HTTP/1.1",
            "GET /a\tb HTTP/1.1",
        ]);
        let field = prop::sample::select(vec![
            "Host: x",
            "host:x ",
            "Content-Length: 2",
            "Content-Length:2\t",
            "Content-Length: 2,2",
            "Content-Length: 02",
            "content-length : 2",
            " folded: 1",
            "Transfer-Encoding: chunked",
            "Connection: keep-alive",
            "Connection: keep-alive, close",
            "A: \u{80}",
            "A\u{0}: b",
            "X: 1",
        ]);
        let end = prop::sample::select(vec!["\r\n", "\n"]);
        (line, prop::collection::vec((field, end), 0..5), prop::sample::select(vec!["", "hi", "hiGET "])).prop_map(
            |(line, fields, body)| {
                let mut text = format!("{line}\r\n");
                for (field, end) in fields {
                    text.push_str(field);
                    text.push_str(end);
                }
                text.push_str("\r\n");
                text.push_str(body);
                text.into_bytes()
            },
        )
    }

    /// Actix's decoder, the judge of what is a request, reads the same out of whatever is plain.
    #[actix_web::test]
    async fn what_is_plain_is_what_the_decoder_reads() {
        proptest!(|(text in requests())| {
            if let Some((method, path, query, body, length)) = read(&text) {
                let (mut codec, mut bytes) = (Codec::default(), BytesMut::from(&text[..]));
                let Ok(Some(Message::Item(request))) = codec.decode(&mut bytes) else { panic!("no request") };
                let head = request.head();
                prop_assert_eq!((head.method.as_str(), head.uri.path(), head.uri.query().unwrap_or("")), (&*method, &*path, &*query));
                let mut read = Vec::new();
                if !body.is_empty() {
                    while let Ok(Some(Message::Chunk(Some(chunk)))) = codec.decode(&mut bytes) {
                        read.extend_from_slice(&chunk);
                    }
                }
                prop_assert_eq!((read, text.len() - bytes.len()), (body, length));
                prop_assert!(codec.keep_alive());
            }
        });
    }
}
