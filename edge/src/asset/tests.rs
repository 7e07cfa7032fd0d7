use std::io::Read as _;

use actix_web::test::TestRequest;

use super::*;

static TEXT: &[u8] = &[b'x'; 4_096];
static ASSET: Asset = Asset::new(TEXT);

#[actix_web::test]
async fn each_form_is_made_once_and_can_be_decoded() {
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Brotli] {
        let first = body(&ASSET, encoding).await.unwrap();
        let second = body(&ASSET, encoding).await.unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr(), "{encoding:?}");
        let mut text = Vec::new();
        match encoding {
            Encoding::Identity => (&first[..]).read_to_end(&mut text),
            Encoding::Gzip => flate2::read::GzDecoder::new(&first[..]).read_to_end(&mut text),
            Encoding::Brotli => brotli::Decompressor::new(&first[..], 4_096).read_to_end(&mut text),
        }
        .unwrap();
        assert_eq!(text, TEXT, "{encoding:?}");
        assert_eq!(first.len() < TEXT.len() / 10, encoding != Encoding::Identity, "{encoding:?}");
    }
}

#[actix_web::test]
async fn simultaneous_requests_share_one_form() {
    static OTHER: Asset = Asset::new(TEXT);
    let asked = (0..8).map(|_| actix_web::rt::spawn(body(&OTHER, Encoding::Brotli))).collect::<Vec<_>>();
    let mut places = Vec::new();
    for one in asked {
        places.push(one.await.unwrap().unwrap().as_ptr());
    }
    assert!(places.iter().all(|place| *place == places[0]));
}

#[test]
fn the_smallest_accepted_form_is_chosen() {
    for (accept, expected) in [
        ("gzip, deflate, br", Encoding::Brotli),
        ("gzip", Encoding::Gzip),
        ("GZIP;q=0.5", Encoding::Gzip),
        ("br;q=0, gzip", Encoding::Gzip),
        ("br;q=0.1, gzip;q=0.9", Encoding::Brotli),
        // Any coding is accepted, none is asked for.
        ("*", Encoding::Identity),
        ("*;q=0", Encoding::Identity),
        ("identity", Encoding::Identity),
        ("deflate, zstd", Encoding::Identity),
        ("", Encoding::Identity),
    ] {
        let request = TestRequest::default().insert_header((header::ACCEPT_ENCODING, accept)).to_http_request();
        assert_eq!(encoding(&request), expected, "{accept}");
    }
    assert_eq!(encoding(&TestRequest::default().to_http_request()), Encoding::Identity);
}
