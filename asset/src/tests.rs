use std::io::Read as _;

use super::*;

static TEXT: &[u8] = &[b'x'; 4_096];
static ASSET: Asset = Asset::embedded(TEXT);

#[actix_web::test]
async fn each_form_is_made_once_and_reads_back() {
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
async fn many_who_ask_at_once_share_one() {
    static OTHER: Asset = Asset::embedded(TEXT);
    let asked = (0..8).map(|_| actix_web::rt::spawn(body(&OTHER, Encoding::Brotli))).collect::<Vec<_>>();
    let mut places = Vec::new();
    for one in asked {
        places.push(one.await.unwrap().unwrap().as_ptr());
    }
    assert!(places.iter().all(|place| *place == places[0]));
}
