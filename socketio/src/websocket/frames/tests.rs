use proptest::prelude::*;

use super::*;

const TEXT: u8 = 0x1;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame of a client, with its length in the shortest form.
fn frame(first: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match data.len() {
        short @ ..=125 => bytes.push(0x80 | short as u8),
        medium @ ..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(data.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Everything in `bytes`, which arrive in pieces of `size` bytes, and the close code of the error at the end.
fn decode(limit: usize, bytes: &[u8], size: usize) -> (Vec<Received>, Option<u16>) {
    let (mut frames, mut all) = (Frames::new(limit), Vec::new());
    for piece in bytes.chunks(size.max(1)) {
        frames.push(Bytes::copy_from_slice(piece));
        loop {
            match frames.take() {
                Ok(Some(received)) => all.push(received),
                Ok(None) => break,
                Err(error) => return (all, Some(error.code().into())),
            }
        }
    }
    (all, None)
}

fn text(text: &str) -> Received {
    Received::Text(text.into())
}

/// Each line is a behaviour that a conformance suite for RFC 6455 asks for.
#[test]
fn frames_are_decoded_however_they_are_cut() {
    let long = "x".repeat(70_000);
    let ping = Received::Ping(Bytes::from_static(b"p"));
    for (about, bytes, expected) in [
        ("text", frame(FINAL | TEXT, b"hi"), vec![text("hi")]),
        ("empty text", frame(FINAL | TEXT, b""), vec![text("")]),
        ("a length of 16 bits", frame(FINAL | TEXT, &long.as_bytes()[..126]), vec![text(&long[..126])]),
        ("a length of 64 bits", frame(FINAL | TEXT, long.as_bytes()), vec![text(&long)]),
        ("binary", frame(FINAL | BINARY, b"\xff\0"), vec![Received::Binary(Bytes::from_static(b"\xff\0"))]),
        (
            "fragments, with a ping between them",
            [frame(TEXT, b"a"), frame(FINAL | 0x9, b"p"), frame(CONTINUATION, b""), frame(FINAL | CONTINUATION, b"b")]
                .concat(),
            vec![Received::Fragment, ping, Received::Fragment, text("ab")],
        ),
        (
            "a character in two fragments",
            [frame(TEXT, b"\xc3"), frame(FINAL | CONTINUATION, b"\xa9")].concat(),
            vec![Received::Fragment, text("é")],
        ),
        ("an unsolicited pong", frame(FINAL | PONG, b"x"), vec![Received::Pong]),
        ("close", frame(FINAL | CLOSE, b""), vec![Received::Close(None)]),
        (
            "close with a code and a reason",
            frame(FINAL | CLOSE, b"\x03\xe8bye"),
            vec![Received::Close(Some(CloseCode::Normal))],
        ),
        (
            "two messages at once",
            [frame(FINAL | TEXT, b"a"), frame(FINAL | TEXT, b"b")].concat(),
            vec![text("a"), text("b")],
        ),
    ] {
        for size in [1, 2, 3, 7, bytes.len()] {
            assert_eq!(decode(100_000, &bytes, size), (expected.clone(), None), "{about}, in pieces of {size}");
        }
    }
}

#[test]
fn violations_close_with_their_code() {
    let unmasked = b"\x81\x02hi".to_vec();
    let mut announced = vec![FINAL | TEXT, 0xff];
    announced.extend_from_slice(&101_u64.to_be_bytes());
    for (about, bytes, code) in [
        ("without a mask", unmasked, 1002),
        ("a reserved bit", frame(FINAL | 0x40 | TEXT, b"x"), 1002),
        ("an unknown data opcode", frame(FINAL | 0x3, b"x"), 1002),
        ("an unknown control opcode", frame(FINAL | 0xb, b""), 1002),
        ("a ping in fragments", frame(0x9, b"x"), 1002),
        ("a control frame that is too long, before its data", frame(FINAL | 0x9, &[0; 126])[..4].to_vec(), 1002),
        ("a continuation of nothing", frame(FINAL | CONTINUATION, b"x"), 1002),
        ("a message within another", [frame(TEXT, b"a"), frame(FINAL | TEXT, b"b")].concat(), 1002),
        ("a close with half a code", frame(FINAL | CLOSE, b"\x03"), 1002),
        ("a close code that must not be sent", frame(FINAL | CLOSE, b"\x03\xed"), 1002),
        ("text that is not UTF-8", frame(FINAL | TEXT, b"\xff"), 1007),
        ("a text that ends within a character", [frame(TEXT, b"\xc3"), frame(FINAL, b"")].concat(), 1007),
        ("a length above the limit, before its data", announced, 1009),
        (
            "fragments above the limit, before their data",
            [frame(BINARY, &[0; 60]), frame(FINAL, &[0; 41])[..2].to_vec()].concat(),
            1009,
        ),
    ] {
        for size in [1, bytes.len()] {
            let (received, found) = decode(100, &bytes, size);
            let is_refused = received.iter().all(|received| *received == Received::Fragment);
            assert!(found == Some(code) && is_refused, "{about}: {found:?} {received:?}");
        }
    }
}

/// What is announced takes no memory; what has arrived does, until it is decoded.
#[test]
fn memory_is_that_of_what_has_arrived() {
    let mut frames = Frames::new(1 << 20);
    let whole = frame(FINAL | TEXT, &[b'x'; 100_000]);
    frames.push(Bytes::copy_from_slice(&whole[..20]));
    assert!(matches!(frames.take(), Ok(None)));
    assert!((20..1_000).contains(&frames.memory()), "{}", frames.memory());
    frames.push(Bytes::copy_from_slice(&whole[20..]));
    assert!(frames.memory() >= 100_000);
    assert!(matches!(frames.take(), Ok(Some(Received::Text(_)))));
    assert_eq!(frames.memory(), 0);
    frames.push(Bytes::from(frame(TEXT, &[b'x'; 5_000])));
    assert!(matches!(frames.take(), Ok(Some(Received::Fragment))));
    assert!(frames.memory() >= 5_000);
    frames.clear();
    assert_eq!(frames.memory(), 0);
}

#[test]
fn a_pong_is_recognized_alone() {
    let pong = frame(0x8a, b"data");
    assert!(is_pong(&pong) && is_pong(&frame(0x8a, b"")));
    for other in [
        frame(0x89, b"data"),
        frame(0x81, b"data"),
        frame(0x0a, b"data"),
        frame(0xca, b"data"),
        vec![0x8a, 0],
        frame(0x8a, &[0; 126]),
        pong[..pong.len() - 1].to_vec(),
        [&pong[..], &[0x8a]].concat(),
        Vec::new(),
    ] {
        assert!(!is_pong(&other), "{other:?}");
    }
}

proptest! {
    /// Messages in any fragments, with control frames between them, cut anywhere, are the same messages.
    #[test]
    fn fragments_make_the_same_messages(
        messages in prop::collection::vec((any::<bool>(), "\\PC{0,40}", prop::collection::vec(0_usize..160, 0..4)), 0..6),
        size in 1_usize..40,
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (is_text, content, cuts) in &messages {
            let data = content.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (data.len() + 1)).collect();
            cuts.sort_unstable();
            let opcode = if *is_text { TEXT } else { BINARY };
            let mut from = 0;
            for (at, cut) in cuts.iter().enumerate() {
                bytes.extend(frame(if at == 0 { opcode } else { CONTINUATION }, &data[from..*cut]));
                bytes.extend(frame(FINAL | 0x9, b"between"));
                from = *cut;
            }
            bytes.extend(frame(FINAL | if cuts.is_empty() { opcode } else { CONTINUATION }, &data[from..]));
            expected.push(if *is_text { text(content) } else { Received::Binary(Bytes::copy_from_slice(data)) });
        }
        let (received, code) = decode(1_000, &bytes, size);
        let whole: Vec<_> = received
            .into_iter()
            .filter(|received| matches!(received, Received::Text(_) | Received::Binary(_)))
            .collect();
        prop_assert_eq!((whole, code), (expected, None));
    }

    /// Whatever a client sends is decoded or rejected, the same however it is cut, and messages are within the limit.
    #[test]
    fn any_bytes_are_decoded_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..50) {
        let whole = decode(64, &bytes, bytes.len());
        prop_assert_eq!(&whole, &decode(64, &bytes, size));
        for received in whole.0 {
            match received {
                Received::Text(text) => prop_assert!(text.len() <= 64),
                Received::Binary(bytes) => prop_assert!(bytes.len() <= 64),
                _ => {}
            }
        }
    }
}
