//! Frames of clients: what is accepted, and what closes the connection with which code.

use serde_json::json;

use super::{BINARY, CLOSE, Client, PING, PONG, TEXT, masked, subscribe};
use crate::site;

#[actix_web::test]
async fn a_command_may_come_in_fragments_with_pings_between() {
    let site = site(&[]);
    let mut client = Client::open(&site, "?channel=public.a").await;
    let command = subscribe(&["public.b"], None).to_string();
    let (begin, rest) = command.split_at(10);
    client.send(0x01, begin).await;
    client.send(PING, "are you there").await;
    assert_eq!(client.frame().await, (PONG, b"are you there".to_vec()));
    client.send(0x00, "").await;
    client.send(0x80, rest).await;
    assert_eq!(client.json().await["ok"], json!(true));
    client.send(PONG, "unsolicited").await;
    for byte in masked(TEXT, subscribe(&["public.c"], None).to_string().as_bytes()) {
        client.0.write([byte]).await;
    }
    assert_eq!(client.json().await["ok"], json!(true));
}

#[actix_web::test]
async fn violations_close_with_their_code() {
    let site = site(&[("TRIDENT_MAX_BODY", "1KiB")]);
    let large = masked(TEXT, &[b'x'; 1025]);
    let fragments = [masked(0x01, &[b'x'; 1024]), masked(0x80, b"x")].concat();
    for (about, bytes, code) in [
        ("binary", masked(BINARY, b"x"), 1003),
        ("no mask", b"\x81\x01x".to_vec(), 1002),
        ("a reserved bit", masked(0xc1, b"x"), 1002),
        ("an unknown opcode", masked(0x83, b""), 1002),
        ("not UTF-8", masked(TEXT, b"\xff"), 1007),
        ("larger than TRIDENT_MAX_BODY, by its header", large[..4].to_vec(), 1009),
        ("fragments larger than TRIDENT_MAX_BODY", fragments, 1009),
    ] {
        let mut client = Client::open(&site, "?channel=public.a").await;
        client.0.write(bytes).await;
        assert_eq!(client.closed().await, Some(code), "{about}");
    }
    assert_eq!(site.service.edge.metrics.refusals.body_size.get(), 2);
}

#[actix_web::test]
async fn the_third_unreadable_message_closes() {
    let site = site(&[]);
    let mut client = Client::open(&site, "?channel=public.a").await;
    for text in ["{", "5", "]"] {
        client.send(TEXT, text).await;
        let answer = client.json().await;
        assert_eq!((answer["error"]["code"].as_str(), answer.get("ok")), (Some("bad_json"), None), "{answer}");
    }
    assert_eq!(client.closed().await, Some(1008));
}

#[actix_web::test]
async fn more_frames_than_the_rate_close() {
    let site = site(&[("TRIDENT_SOCKET_RATE", "5")]);
    for frame in [masked(PING, b""), masked(0x01, b""), masked(TEXT, b"{\"unsubscribe\":{\"channels\":[\"a\"]}}")] {
        let mut client = Client::open(&site, "?channel=public.a").await;
        client.0.write(frame.repeat(1)).await;
        let more = if frame[0] == 0x01 { masked(0x00, b"") } else { frame };
        client.0.write(more.repeat(30)).await;
        let code = loop {
            let (first, data) = client.frame().await;
            if first == CLOSE {
                break u16::from_be_bytes([data[0], data[1]]);
            }
        };
        assert_eq!(code, 1008);
    }
    assert_eq!(site.service.edge.metrics.refusals.socket_rate.get(), 3);
}

#[actix_web::test]
async fn a_close_is_confirmed_with_its_code() {
    let site = site(&[]);
    for (data, code) in [(&b""[..], None), (b"\x03\xe8", Some(1000)), (b"\x0f\xa0bye", Some(4000))] {
        let mut client = Client::open(&site, "?channel=public.a").await;
        client.send(CLOSE, data).await;
        assert_eq!(client.closed().await, code);
    }
    edge::testing::until("the slots are free", || site.service.edge.limits.connections() == 0).await;
}
