use super::*;

/// Case 9.7: an upgrade in HTTP/1.0, with a bad key or with a body is 400; of another version 426, which names ours.
#[actix_web::test]
async fn an_invalid_handshake_is_rejected() {
    let asked = |version: Version, fields: &[(&str, &str)]| {
        let mut request = actix_web::test::TestRequest::get().version(version);
        for field in [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")] {
            request = request.insert_header(field);
        }
        request = request.insert_header(("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="));
        for field in fields {
            request = request.insert_header(*field);
        }
        handshake(&request.to_http_request()).map(|mut response| response.finish().status().as_u16())
    };
    let (new, old) = (Version::HTTP_11, Version::HTTP_10);
    for (version, fields, expected) in [
        (new, &[][..], Ok(101)),
        (new, &[("content-length", "0")], Ok(101)),
        (old, &[], Err(Refusal::BadRequest)),
        (new, &[("sec-websocket-key", "short")], Err(Refusal::BadRequest)),
        (new, &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ!!")], Err(Refusal::BadRequest)),
        (new, &[("transfer-encoding", "chunked")], Err(Refusal::BadRequest)),
        (new, &[("content-length", "5")], Err(Refusal::BadRequest)),
        (new, &[("connection", "close")], Err(Refusal::BadRequest)),
        (new, &[("sec-websocket-version", "8")], Err(Refusal::UnsupportedWebSocket)),
    ] {
        assert_eq!(asked(version, fields), expected, "{version:?} {fields:?}");
    }
    let refused = Refusal::UnsupportedWebSocket.into_upgrade_response();
    assert_eq!(
        (refused.status().as_u16(), refused.headers().get("sec-websocket-version").unwrap()),
        (426, &"13".parse().unwrap())
    );
}

/// With and without the feature `actors` the answer is the same.
#[cfg(feature = "actors")]
#[actix_web::test]
async fn both_handshakes_answer_alike() {
    let mut request = actix_web::test::TestRequest::get();
    for field in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        request = request.insert_header(field);
    }
    let request = request.to_http_request();
    let [with, without] =
        [ws::handshake(&request).unwrap(), switch_protocols(&request).unwrap()].map(|mut response| {
            let response = response.finish();
            let mut fields: Vec<_> =
                response.headers().iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
            // They have no order.
            fields.sort_unstable();
            (response.status(), response.head().upgrade(), fields)
        });
    assert_eq!(with, without);
    let accept = with.2.iter().find(|(name, _)| name == "sec-websocket-accept").unwrap();
    assert_eq!(accept.1, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
