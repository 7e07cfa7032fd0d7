//! Requests of HTTP/1: nothing panics, and the same bytes are the same requests, however they arrive. The first byte says where
//! they are cut.

#![no_main]

use bytes::BytesMut;
use edge::http1::decoder::{Decoder, MAX_HEAD, Part};
use libfuzzer_sys::fuzz_target;

/// What came of the bytes: a line for each request, with its body, and the fault that ended the connection.
fn read<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> Vec<String> {
    let (mut decoder, mut inbox, mut read) = (Decoder::detached(), BytesMut::new(), Vec::new());
    let mut body: Option<Vec<u8>> = None;
    for piece in pieces {
        inbox.extend_from_slice(piece);
        loop {
            let Some(bytes) = &mut body else {
                match decoder.read_head(&mut inbox) {
                    Ok(Some(head)) => {
                        let request = head.request.head();
                        assert!(request.uri.path().starts_with('/') || request.uri.path() == "*");
                        assert_eq!(head.has_body, !decoder.is_body_done());
                        assert!(!(head.keeps_alive && decoder.is_tunnel()));
                        let mut fields: Vec<_> = request.headers.iter().map(|field| format!("{field:?}")).collect();
                        fields.sort_unstable();
                        read.push(format!("{} {} {:?} {fields:?}", request.method, request.uri, request.version));
                        body = Some(Vec::new());
                    }
                    Ok(None) => break,
                    Err(status) => {
                        read.push(status.to_string());
                        return read;
                    }
                }
                continue;
            };
            match decoder.read_body(&mut inbox) {
                Ok(Some(Part::Data(data))) => {
                    assert!(!data.is_empty());
                    bytes.extend_from_slice(&data);
                }
                Ok(Some(Part::End)) => read.push(format!("{:?}", body.take())),
                Ok(None) => break,
                Err(broken) => {
                    read.push(broken.to_string());
                    return read;
                }
            }
        }
        assert!(inbox.len() <= MAX_HEAD);
    }
    read
}

fuzz_target!(|input: &[u8]| {
    let Some((at, bytes)) = input.split_first() else { return };
    let whole = read([bytes].into_iter());
    let (first, last) = bytes.split_at(usize::from(*at).min(bytes.len()));
    assert_eq!(read([first, last].into_iter()), whole);
    assert_eq!(read(bytes.chunks(usize::from(*at % 61) + 13)), whole);
});
