//! Possible chat messages, and answers to rejected requests.

use serde_json::json;

use super::*;

/// Case 3.4: a message comes out as it went in, on every form.
#[actix_web::test]
async fn values_stay_as_they_were_sent() {
    let site = site(&[]);
    let mut client = Client::connect(&site).await;
    let values = [
        "-0",
        r#"{"a":1,"a":2}"#,
        "12345678901234567890123",
        "1.10",
        "9007199254740993",
        r#"{"b":1,"a":[0.1,1e2,"\u2028\u0000"]}"#,
        r#""\u00e9""#,
        "null",
    ];
    for value in values {
        let answer = client.asks(&format!(r#""chat message",{value}"#)).await;
        assert_eq!(answer["ok"], true, "{value}: {answer}");
    }
    let held: Vec<String> = site.held("chat.lobby").into_iter().map(|(_, _, json)| json).collect();
    assert_eq!(held, values);
    let joined = client.ask(r#""join","lobby""#).await;
    let history = client.ask(r#""history",{"room":"lobby"}"#).await;
    for value in values {
        let data = format!(r#""event":"chat message","data":{value}}}"#);
        assert!(joined.contains(&data) && history.contains(&data), "{value}: {joined}");
    }
    for value in values {
        let text = client.raw("chat message").await;
        assert!(text.starts_with(&format!(r#"["chat message",{value},{{"id":"#)), "{value}: {text}");
    }
}

/// White space between tokens is dropped, as HTTP does it; with binary parts beside it, too.
#[actix_web::test]
async fn binary_stays_binary_and_the_rest_as_sent() {
    let site = site(&[]);
    let mut client = Client::connect(&site).await;
    let packet =
        r#"452-7["chat message",{ "n": -0, "a": {"num":1,"_placeholder":true} },{"_placeholder":true,"num":0}]"#;
    client.send_binary(packet, &[b"other", b"own"]).await;
    assert!(client.answer(7).await.starts_with(r#"{"ok":true,"#));
    let held: Vec<String> = site.held("chat.lobby").into_iter().map(|(_, _, json)| json).collect();
    assert_eq!(held, [r#"{"n":-0,"a":{"base64":"b3du"}}"#]);
}

/// Case 3.3: a rejected request is acked immediately with an error, and the connection stays open.
#[actix_web::test]
async fn everything_that_is_refused_is_acked() {
    let site = site(&[]);
    let mut client = Client::connect(&site).await;
    let deep = |depth: usize| format!(r#""chat message",{}{}"#, "[".repeat(depth), "]".repeat(depth));
    for (event, code) in [
        (r#""chat message""#, "bad_message"),
        (r#""chat message",1e400"#, "number_out_of_range"),
        (r#""chat message",-1e400"#, "number_out_of_range"),
        (r#""chat message","\ud83d""#, "lone_surrogate"),
        (r#""chat message",["\udc00"]"#, "lone_surrogate"),
        (r#""chat message",{"\ud83d":1}"#, "lone_surrogate"),
        (&deep(126), "too_deep"),
        (r#""chat message",1,"""#, "bad_idempotency_key"),
        (r#""join""#, "bad_room"),
        (r#""join",7"#, "bad_room"),
        (r#""join","\ud83d""#, "bad_room"),
        (r#""join",1e400"#, "bad_room"),
        (r#""leave",null"#, "bad_room"),
        (r#""name",{"first":"Mei"}"#, "bad_name"),
        (r#""name","\ud83d""#, "bad_name"),
        (r#""typing","yes""#, "bad_typing"),
        (r#""typing",1e400"#, "bad_typing"),
        (r#""subscribe""#, "bad_arguments"),
        (r#""subscribe","public.news""#, "bad_arguments"),
        (r#""subscribe",{"channels":["public.news"],"since":1e400}"#, "bad_arguments"),
        (r#""subscribe",{"channels":["public.news"],"\ud83d":1}"#, "bad_arguments"),
        (r#""subscribe",{"channels":["a b"]}"#, "bad_channel"),
        (r#""unsubscribe",[]"#, "bad_arguments"),
        (r#""order","tea""#, "no_backend"),
        (r#""order",1e400,"\ud83d""#, "no_backend"),
        ("7", "no_backend"),
    ] {
        assert_eq!(client.refused(event).await, code, "{event}");
    }
    assert_eq!(site.held("chat.lobby"), []);
    assert_eq!(client.asks(r#""name","Mei""#).await, json!({ "ok": true, "name": "Mei" }));
}

/// Case 3.6: the error names the field and what is accepted.
#[actix_web::test]
async fn errors_use_the_words_of_the_protocol() {
    let site = site(&[]);
    let mut client = Client::connect(&site).await;
    let answer = client.asks(r#""subscribe","public.news""#).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert_eq!(
        message,
        "the argument is a string, not an object; `subscribe` takes one argument, {channels: [name, …], since?: a cursor or \
         \"earliest\"}"
    );
}

/// Case 2.7: a chat message that is sent again under the same key is stored once and answered as the first time, over a reconnect too.
#[actix_web::test]
async fn a_repeated_message_is_stored_once() {
    let site = site(&[]);
    let mut client = Client::connect(&site).await;
    let first = client.ask(r#""chat message","hi","key-1""#).await;
    assert!(first.starts_with(r#"{"ok":true,"id":"#), "{first}");
    assert_eq!(client.ask(r#""chat message","hi","key-1""#).await, first);
    // Another session, with another display name.
    let mut other = Client::connect(&site).await;
    assert_eq!(other.ask(r#""chat message","hi","key-1""#).await, first);
    assert_eq!(other.refused(r#""chat message","another","key-1""#).await, "idempotency_key_reused");
    assert_ne!(other.ask(r#""chat message","hi","key-2""#).await, first);
    // Arguments of other types are the application's own.
    for more in ["null", "{}", "7"] {
        assert_eq!(other.asks(&format!(r#""chat message","hi",{more}"#)).await["ok"], true);
    }
    assert_eq!(site.held("chat.lobby").len(), 5);
    for key in ["", "\\u00e9", &"k".repeat(129)] {
        let event = format!(r#""chat message","hi","{key}""#);
        assert_eq!(client.refused(&event).await, "bad_idempotency_key", "{key}");
    }
    assert!(client.asks(&format!(r#""chat message","hi","{}""#, "k".repeat(128))).await["ok"] == true);
}
