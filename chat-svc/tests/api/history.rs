//! Messages of before: the acks of `join` and `history`.

use serde_json::{Value, json};

use super::*;

const BUDGET: usize = 256 * 1024;

fn texts(answer: &Value) -> Vec<String> {
    answer["messages"].as_array().unwrap().iter().map(|one| one["data"].as_str().unwrap()[..3].to_owned()).collect()
}

/// Case 1.1: with 20 messages of 60 kB in a room, `join` is acked within its byte budget, and `history` gives the rest.
#[actix_web::test]
async fn a_room_of_large_messages_is_joined_and_read_back() {
    let site = site(&[]);
    for n in 100..120 {
        site.publish_as("chat.lobby", "chat message", json!(format!("{n}{}", "x".repeat(60_000))).to_string()).await;
    }
    let mut client = Client::connect(&site).await;
    let text = client.ask(r#""join","lobby""#).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&answer["ok"], &answer["room"], &answer["count"]), (&json!(true), &json!("lobby"), &json!(1)));
    assert_eq!(
        (texts(&answer), &answer["more"]),
        (["116", "117", "118", "119"].map(str::to_owned).into(), &json!(true))
    );
    assert!(text.len() < BUDGET + 1_000, "{}", text.len());
    assert_eq!(answer["cursor"], answer["messages"][0]["id"]);
    let (mut cursor, mut older) = (answer["cursor"].clone(), Vec::new());
    loop {
        let page = client.asks(&format!(r#""history",{{"room":"lobby","before":{cursor}}}"#)).await;
        assert_eq!((&page["ok"], &page["room"]), (&json!(true), &json!("lobby")));
        older.splice(0..0, texts(&page));
        cursor = page["cursor"].clone();
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(older, (100..116).map(|n| n.to_string()).collect::<Vec<_>>());
    // All that time the connection was the same one.
    assert_eq!(client.asks(r#""name","Mei""#).await, json!({ "ok": true, "name": "Mei" }));
}

#[actix_web::test]
async fn what_history_takes() {
    let site = site(&[]);
    let mut client = Client::connect(&site).await;
    for n in 0..5 {
        client.asks(&format!(r#""chat message",{n}"#)).await;
    }
    let data = |answer: Value| -> Vec<i64> {
        answer["messages"].as_array().unwrap().iter().map(|one| one["data"].as_i64().unwrap()).collect()
    };
    assert_eq!(data(client.asks(r#""history""#).await), [0, 1, 2, 3, 4]);
    assert_eq!(data(client.asks(r#""history",{}"#).await), [0, 1, 2, 3, 4]);
    assert_eq!(data(client.asks(r#""history",{"limit":2}"#).await), [3, 4]);
    assert_eq!(data(client.asks(r#""history",{"room":"lobby","before":null,"limit":1}"#).await), [4]);
    assert_eq!(data(client.asks(r#""history",{"room":"tea"}"#).await), [0; 0]);
    for (args, code) in [
        (r#""lobby""#, "bad_arguments"),
        (r#"{"limit":0}"#, "bad_limit"),
        (r#"{"limit":51}"#, "bad_limit"),
        (r#"{"limit":"1"}"#, "bad_arguments"),
        (r#"{"room":"a b"}"#, "bad_room"),
        (r#"{"room":7}"#, "bad_arguments"),
        (r#"{"before":"x"}"#, "bad_cursor"),
        (r#"{"since":"earliest"}"#, "bad_arguments"),
    ] {
        assert_eq!(client.refused(&format!(r#""history",{args}"#)).await, code, "{args}");
    }
}

/// A client asks for many pages and reads none of them for now.
#[actix_web::test]
async fn answers_that_wait_are_bounded() {
    let site = site(&[]);
    for _ in 0..20 {
        site.publish_as("chat.lobby", "chat message", json!("x".repeat(60_000)).to_string()).await;
    }
    let mut client = Client::connect(&site).await;
    let mut ids = Vec::new();
    for _ in 0..500 {
        ids.push(client.ask_and_leave(r#""history",{"room":"lobby"}"#).await);
    }
    let (mut pages, mut refused) = (0, 0);
    // In any order: a rejected request is answered immediately.
    let mut answers = client.answers(ids.len()).await;
    answers.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(answers.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
    for (_, answer) in answers {
        let answer: Value = serde_json::from_str(&answer).unwrap();
        if answer["ok"] == true {
            pages += 1;
        } else {
            assert_eq!(answer["error"]["code"], "too_many_requests");
            refused += 1;
        }
    }
    assert!(pages >= 32 && refused > 0, "{pages} {refused}");
}

/// What is said after a join comes behind its ack.
#[actix_web::test]
async fn the_ack_of_join_comes_before_what_is_read_by_it() {
    let site = site(&[]);
    let mut client = Client::connect(&site).await;
    let mut other = Client::connect(&site).await;
    other.asks(r#""join","tea""#).await;
    other.asks(r#""chat message","before""#).await;
    let id = client.ask_and_leave(r#""join","tea""#).await;
    other.asks(r#""chat message","after""#).await;
    let answer: Value = serde_json::from_str(&client.answer(id).await).unwrap();
    let joined: Vec<&Value> = answer["messages"].as_array().unwrap().iter().map(|one| &one["data"]).collect();
    // It was joined before the second message or after it: each message arrives on one of the two paths.
    if joined == ["before"] {
        assert_eq!(client.hears("chat message").await[0], "after");
    } else {
        assert_eq!(joined, ["before", "after"]);
        other.asks(r#""chat message","last""#).await;
        assert_eq!(client.hears("chat message").await[0], "last");
    }
}
