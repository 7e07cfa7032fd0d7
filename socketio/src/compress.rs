//! Compression of answers to polls and of the client's files, as the client's `Accept-Encoding` allows.

use std::io::Write as _;

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

/// The encodings that we have, the better first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
}

/// The compressed body and its `Content-Encoding`.
pub(crate) fn compress(coding: Coding, level: Compression, body: &[u8]) -> Option<(Bytes, HeaderValue)> {
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(body).ok()?;
            Some((encoder.finish().ok()?.into(), HeaderValue::from_static("gzip")))
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(body).ok()?;
            Some((encoder.finish().ok()?.into(), HeaderValue::from_static("deflate")))
        }
    }
}

/// RFC 9110 §12.5.3, for the two supported encodings: a weight of 0 forbids one, `*` matches those not named.
pub(crate) fn choose(request: &HeaderMap) -> Option<Coding> {
    let mut gzip = None;
    let mut deflate = None;
    let mut others = None;
    for value in request.get_all(header::ACCEPT_ENCODING) {
        for item in value.to_str().ok()?.split(',') {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let weight = parameters
                .split(';')
                .find_map(|parameter| parameter.trim().strip_prefix("q="))
                .map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
            match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => gzip = Some(weight),
                "deflate" => deflate = Some(weight),
                "*" => others = Some(weight),
                _ => {}
            }
        }
    }
    let others = others.unwrap_or(0.0);
    let (gzip, deflate) = (gzip.unwrap_or(others), deflate.unwrap_or(others));
    if gzip > 0.0 && gzip >= deflate {
        Some(Coding::Gzip)
    } else if deflate > 0.0 {
        Some(Coding::Deflate)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_takes() {
        for (accept, expected) in [
            ("", None),
            ("gzip", Some(Coding::Gzip)),
            ("deflate, gzip", Some(Coding::Gzip)),
            ("gzip;q=0", None),
            ("gzip;q=0.1, deflate;q=0.2", Some(Coding::Deflate)),
            ("br", None),
            ("*", Some(Coding::Gzip)),
            ("*, gzip;q=0", Some(Coding::Deflate)),
            ("identity", None),
            ("gzip;q=oops", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap());
            assert_eq!(choose(&headers), expected, "{accept}");
        }
        assert_eq!(choose(&HeaderMap::new()), None);
    }
}
