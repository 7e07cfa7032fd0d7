use actix_http::RequestHead;
use proptest::prelude::*;

use super::*;

/// What a connection's bytes mean.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Read {
    /// The request line, `Host`, whether the connection is kept, and the body.
    Request(String, String, bool, Vec<u8>),
    Refused(u16),
    BrokenBody,
}

/// Reads `pieces` as they come, up to the first fault, and to what is not complete.
fn read<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Read> {
    let (mut decoder, mut inbox, mut read) = (Decoder::detached(), BytesMut::new(), Vec::new());
    let mut current: Option<(RequestHead, bool, Vec<u8>)> = None;
    for piece in pieces {
        inbox.extend_from_slice(piece);
        loop {
            let Some((_, _, body)) = &mut current else {
                match decoder.read_head(&mut inbox) {
                    Ok(Some(head)) => current = Some((head.request.head().clone(), head.keeps_alive, Vec::new())),
                    Ok(None) => break,
                    Err(status) => {
                        read.push(Read::Refused(status.as_u16()));
                        return read;
                    }
                }
                continue;
            };
            match decoder.read_body(&mut inbox) {
                Ok(Some(Part::Data(data))) => body.extend_from_slice(&data),
                Ok(Some(Part::End)) => {
                    let (head, keeps, body) = current.take().unwrap();
                    let host = head.headers.get(header::HOST).map(|host| host.to_str().unwrap().to_owned());
                    let line = format!("{} {} {:?}", head.method, head.uri, head.version);
                    read.push(Read::Request(line, host.unwrap_or_default(), keeps, body));
                }
                Ok(None) => break,
                Err(BrokenBody) => {
                    read.push(Read::BrokenBody);
                    return read;
                }
            }
        }
    }
    read
}

fn one(text: &str) -> Read {
    let mut read = read([text.as_bytes()]);
    assert_eq!(read.len(), 1, "{text:?}: {read:?}");
    read.remove(0)
}

fn status(text: &str) -> u16 {
    match one(text) {
        Read::Refused(status) => status,
        other => panic!("{text:?}: {other:?}"),
    }
}

fn body(framing: &str, text: &str) -> Vec<Read> {
    read([format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n{text}").as_bytes()])
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

/// Case 9.3: a field name of 65,536 bytes whose head ends in the read that crosses 64 KiB is 431, and no panic.
#[test]
fn a_head_beyond_the_limit_is_refused_however_it_arrives() {
    let name = format!("GET / HTTP/1.1\r\nHost: x\r\n{}: y\r\n\r\n", "n".repeat(65_536));
    assert_eq!(status(&name), 431);
    let (first, last) = name.as_bytes().split_at(MAX_HEAD - 1);
    assert_eq!(read([first, last]), [Read::Refused(431)]);
    let fields = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(97));
    assert_eq!(status(&fields), 431);
    assert_eq!(status(&format!("GET /{}", "a".repeat(MAX_HEAD))), 414);
    let largest = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(MAX_HEAD - 27));
    assert_eq!(largest.len(), MAX_HEAD);
    assert!(matches!(one(&largest), Read::Request(..)));
}

/// Case 9.4: after the last chunk a line ends with CRLF, or the next head would be swallowed.
/// Case 9.12: sizes are digits, and extensions are well formed.
#[test]
fn chunks_are_read_strictly() {
    let chunked = "Transfer-Encoding: chunked";
    for text in [
        "1\r\na\r\n0\r\n\n",
        "1\r\na\r\n0\r\nX: a\n\r\n",
        "1\r\na\r\n0\r\nX: a\r\n\n",
        "1\r\na\r\n0\r\nno field\r\n\r\n",
        "1\r\na\r\n0\r\n: a\r\n\r\n",
        "1\r\na\r\n0\r\nX : a\r\n\r\n",
        "1\r\na\r\n0\r\n X: a\r\n\r\n",
        "1\r\na\r\n0\r\nX: a\rb\r\n\r\n",
        "1\r\na\r\n0\n\r\n",
        "1\na\r\n0\r\n\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "1;\r\na\r\n0\r\n\r\n",
        "1;bad[=x\r\na\r\n0\r\n\r\n",
        "1;a=\r\na\r\n0\r\n\r\n",
        "1;a=\"b\r\na\r\n0\r\n\r\n",
        "1;a b\r\na\r\n0\r\n\r\n",
        "1 \r\na\r\n0\r\n\r\n",
        "1\t\r\na\r\n0\r\n\r\n",
        " 1\r\na\r\n0\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
        "\r\n",
        "g\r\n",
        "10000000000000000\r\n",
        "00000000000000001\r\na\r\n",
    ] {
        assert_eq!(body(chunked, &format!("{text}{GET}")), [Read::BrokenBody], "{text:?}");
    }
    for (text, data) in [
        ("1\r\na\r\n0\r\n\r\n", "a"),
        ("A;b\r\n0123456789\r\n00\r\n\r\n", "0123456789"),
        ("1 ; a = b;c=\"d \\\" ;e\" ;f\r\na\r\n0;g\r\nX: a\r\nY:\r\n\r\n", "a"),
        ("0\r\n\r\n", ""),
    ] {
        let read = body(chunked, &format!("{text}{GET}"));
        assert!(
            matches!(&read[..], [Read::Request(_, _, true, body), Read::Request(..)] if body == data.as_bytes()),
            "{text:?}: {read:?}"
        );
    }
    let endless = [
        format!("1;{}\r\na\r\n", "a".repeat(5_000)),
        "1;abcdefgh\r\na\r\n".repeat(1_000),
        "0;a".to_owned() + &"a".repeat(5_000),
    ];
    for text in endless {
        assert_eq!(body(chunked, &text), [Read::BrokenBody]);
    }
    assert_eq!(body(chunked, &format!("0\r\n{}", "X: abcdefgh\r\n".repeat(1_000))), [Read::BrokenBody]);
}

/// Case 9.6: a `Host` that is none is refused (RFC 9112 §3.2).
#[test]
fn the_host_has_to_be_one() {
    for host in ["a b", "", "u@a", "a:99999x", "a:99999", "a/b", "[::1", "[::1]x", "[x]", "::1", "a%zz", "a:b:1", "ä"]
    {
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), 400, "{host}");
        assert_eq!(status(&format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n")), 400, "{host}");
    }
    for host in ["a", "a:", "a:80", "a_b.example:8080", "127.0.0.1:1", "[::1]", "[::1]:8080", "a%20b"] {
        assert!(matches!(one(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), Read::Request(..)), "{host}");
    }
    assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
    let named = |length: usize| format!("GET / HTTP/1.1\r\nHost: {}:80\r\n\r\n", "a".repeat(length));
    assert!(matches!(one(&named(255)), Read::Request(..)));
    assert_eq!(status(&named(256)), 400);
    assert!(matches!(one("GET / HTTP/1.0\r\n\r\n"), Read::Request(_, host, false, _) if host.is_empty()));
}

/// Case 9.10: a later minor version is read as 1.1, and `OPTIONS *` is a request.
/// Case 9.13: `*` is for OPTIONS alone.
#[test]
fn targets_and_versions() {
    for (line, read_as, host) in [
        ("GET /a?b HTTP/1.2", "GET /a?b HTTP/1.1", "x"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * HTTP/1.1", "x"),
        ("GET http://other:1/a?b HTTP/1.1", "GET http://other:1/a?b HTTP/1.1", "other:1"),
        ("GET //other/a HTTP/1.1", "GET //other/a HTTP/1.1", "x"),
        ("BREW /a HTTP/1.9", "BREW /a HTTP/1.1", "x"),
    ] {
        let expected = Read::Request(read_as.to_owned(), host.to_owned(), true, Vec::new());
        assert_eq!(one(&format!("{line}\r\nHost: x\r\n\r\n")), expected, "{line}");
    }
    for (line, refused) in [
        ("GET * HTTP/1.1", 400),
        ("GET a HTTP/1.1", 400),
        ("GET a:1 HTTP/1.1", 400),
        ("GET ftp://a/b HTTP/1.1", 400),
        ("GET http://u@a/b HTTP/1.1", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET / HTTP/1.10", 400),
        ("GET / http/1.1", 400),
        ("GET /", 400),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/0.9", 505),
        ("CONNECT a:1 HTTP/1.1", 501),
    ] {
        assert_eq!(status(&format!("{line}\r\nHost: x\r\n\r\n")), refused, "{line}");
    }
}

#[test]
fn ambiguous_heads_are_refused() {
    for field in [
        " folded: 1",
        "X : 1",
        ": 1",
        "X\0: 1",
        "X: \0",
        "X: a\rb",
        "no colon",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1, 1",
        "Content-Length: +1",
        "Content-Length: -0",
        "Content-Length: 0x1",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(status(&format!("POST / HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n")), 400, "{field:?}");
    }
    assert_eq!(status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
}

/// Cases 9.7 and 9.8: an upgrade in HTTP/1.0, or of a request that is no GET, is passed over; one with a body is refused.
#[test]
fn upgrades_are_decided_once() {
    let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket";
    let decode = |text: &str| {
        let mut decoder = Decoder::detached();
        let head = decoder.read_head(&mut BytesMut::from(text)).map(|head| head.expect("a whole head"))?;
        let named = head.request.head().headers.get(header::UPGRADE).map(|value| value.to_str().unwrap().to_owned());
        Ok((named, decoder.is_tunnel(), decoder.body_left(), head.keeps_alive))
    };
    for (line, fields, decoded) in [
        ("GET / HTTP/1.1", upgrade, Ok((Some("websocket"), true, None, false))),
        (
            "GET / HTTP/1.1",
            "Connection: upgrade\r\nUpgrade: h2c, websocket",
            Ok((Some("websocket"), true, None, false)),
        ),
        ("GET / HTTP/1.0", upgrade, Ok((None, false, Some(0), false))),
        ("GET / HTTP/1.1", "Upgrade: websocket", Ok((None, false, Some(0), true))),
        ("GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: h2c", Ok((None, false, Some(0), true))),
        ("GET / HTTP/1.1", "Connection: upgrade, close\r\nUpgrade: websocket", Ok((None, false, Some(0), false))),
        (
            "POST / HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5",
            Ok((None, false, Some(5), true)),
        ),
        (
            "GET / HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked",
            Err(StatusCode::BAD_REQUEST),
        ),
        (
            "GET / HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5",
            Err(StatusCode::BAD_REQUEST),
        ),
    ] {
        let expected = decoded.map(|(named, tunnel, left, keeps)| (named.map(str::to_owned), tunnel, left, keeps));
        assert_eq!(decode(&format!("{line}\r\nHost: x\r\n{fields}\r\n\r\n")), expected, "{line} {fields}");
    }
}

#[test]
fn empty_lines_before_a_head_are_passed_over() {
    let expected = read([GET.as_bytes()]);
    for before in ["\r\n", "\n", "\r\n\n\r\n"] {
        assert_eq!(read([before.as_bytes(), GET.as_bytes()]), expected);
        assert_eq!(read([format!("{before}{GET}").as_bytes()]), expected);
    }
    assert!(!Decoder::has_begun(b"\r") && Decoder::has_begun(b"\rG"));
}

/// Requests, good and bad, with random changes.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let seeds = vec![
        "GET /data?channel=a HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
        "POST /data HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "POST /data HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n",
        "GET http://a:1/b HTTP/1.1\r\nHost: x\r\n\r\n",
        "\r\n\nOPTIONS * HTTP/1.2\nHost: [::1]:80\nExpect: 100-continue\n\n",
        "GET /socket.io/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x01\x02",
    ];
    let pieces =
        vec![&b"\r\n"[..], b"\n", b"\r", b"\0", b" ", b":", b"0", b"\r\n\r\n", b"Content-Length: 3\r\n", b"\xff"];
    let change = (any::<prop::sample::Index>(), 0usize..4, prop::sample::select(pieces));
    let changes = prop::collection::vec(change, 0..4);
    (prop::collection::vec(prop::sample::select(seeds), 1..4), changes).prop_map(|(seeds, changes)| {
        let mut bytes = seeds.concat().into_bytes();
        for (at, removed, piece) in changes {
            let at = at.index(bytes.len() + 1);
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, piece.iter().copied());
        }
        bytes
    })
}

proptest! {
    /// However the bytes are cut, they mean the same.
    #[test]
    fn the_same_bytes_are_the_same_requests(bytes in bytes()) {
        let whole = read([&bytes[..]]);
        for at in 0..=bytes.len() {
            let (first, last) = bytes.split_at(at);
            prop_assert_eq!(&read([first, last]), &whole, "cut at {}", at);
        }
        prop_assert_eq!(&read(bytes.chunks(1)), &whole, "byte by byte");
    }
}
