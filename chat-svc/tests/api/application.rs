//! Events that the application answers.

use edge::testing::{Site, backend::Backend};
use serde_json::{Value, json};

use crate::{client::Client, site};

/// A chat whose unknown events go to an application.
async fn called(settings: &[(&str, &str)]) -> (Site, Backend) {
    let backend = Backend::start().await;
    let url = backend.url();
    let all: Vec<(&str, &str)> = [("TRIDENT_CALL_URL", &*url)].into_iter().chain(settings.iter().copied()).collect();
    (site(&all), backend)
}

#[actix_web::test]
async fn an_event_that_the_chat_does_not_know_is_answered_by_the_application() {
    let (site, mut backend) = called(&[("TRIDENT_HOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]).await;
    let token = site.token_for(Some("ann"), "", "*", std::time::Duration::from_secs(60));
    let mut client = Client::with_auth(&site, &json!({ "token": token })).await.unwrap();
    let asked = client.ask_and_leave(r#""order.create",{"tea":2},"now""#).await;
    let call = backend.called().await;
    let id = call.body["id"].as_str().unwrap().to_owned();
    assert_eq!(
        call.body,
        json!({
            "id": id, "kind": "event", "event": "order.create", "args": [{ "tea": 2 }, "now"], "namespace": "/",
            "socket": { "id": client.sid, "user": "ann", "rooms": ["lobby"], "data": null },
        })
    );
    assert!(call.head.contains(&format!("webhook-id: {}\r\n", id.to_ascii_lowercase())), "{}", call.head);
    assert!(call.head.contains("webhook-signature: v1,"), "{}", call.head);
    call.answer(&json!({ "ack": [{ "order": 7 }, "done"] }));
    assert_eq!(client.answer(asked).await, r#"{"order":7},"done""#);
    // The chat's own events never reach it.
    assert_eq!(client.asks(r#""name","Mei""#).await["ok"], true);
    assert!(!backend.is_called());
}

#[actix_web::test]
async fn without_an_application_an_unknown_event_is_acked_at_once() {
    for settings in
        [&[][..], &[("TRIDENT_CHAT", "off")], &[("TRIDENT_CALL_URL", "http://x/"), ("TRIDENT_CALLS", "none")]]
    {
        let site = site(settings);
        let mut client = Client::connect(&site).await;
        assert_eq!(client.refused(r#""order.create",1"#).await, "no_backend");
    }
}

#[actix_web::test]
async fn an_answer_publishes_and_emits() {
    let (site, backend) = called(&[]).await;
    let mut other = Client::connect(&site).await;
    let token = site.token_for(Some("ann"), "", "*", std::time::Duration::from_secs(60));
    let mut ann = Client::with_auth(&site, &json!({ "token": token })).await.unwrap();
    let mut sender = Client::connect(&site).await;
    let to = sender.sid.clone();
    backend.answer_all(move |_| {
        json!({
            "publish": [{ "channel": "orders", "event": "created", "data": { "n": 1 } }, { "channel": "orders", "data": 2 }],
            "emit": [
                { "to": { "room": "lobby" }, "event": "news", "args": [1, { "a": 2 }] },
                { "to": { "user": "ann" }, "event": "yours", "args": ["x", 0] },
                { "to": { "socket": to }, "event": "mine", "args": [null] },
            ],
        })
    });
    assert_eq!(sender.ask(r#""order.create""#).await, "", "an ack without arguments");
    assert_eq!(other.hears("news").await, [json!(1), json!({ "a": 2 })]);
    assert_eq!(ann.hears("yours").await, [json!("x"), json!(0)]);
    assert_eq!(sender.hears("mine").await, [Value::Null]);
    let held: Vec<_> = site.held("orders").into_iter().map(|(_, event, data)| (event, data)).collect();
    let text = str::to_owned;
    assert_eq!(held, [(text("created"), text(r#"{"n":1}"#)), (text("message"), text("2"))]);
}

#[actix_web::test]
async fn binary_travels_as_base64_and_comes_back_as_binary() {
    let (site, mut backend) = called(&[]).await;
    let mut client = Client::connect(&site).await;
    client.send_binary(r#"451-7["upload",{"_placeholder":true,"num":0}]"#, &[&[1, 2, 3]]).await;
    let call = backend.called().await;
    assert_eq!(call.body["args"], json!([{ "base64": "AQID" }]));
    call.answer(&json!({ "ack": [{ "thumbnail": { "base64": "BAU=" } }] }));
    let (packet, attachment) = client.binary().await;
    assert_eq!(packet, r#"461-7[{"thumbnail":{"_placeholder":true,"num":0}}]"#);
    assert_eq!(attachment, [4, 5]);
}

/// The events of one socket are called one after the other, and those of another at the same time.
#[actix_web::test]
async fn calls_of_one_socket_are_made_in_order() {
    let (site, mut backend) = called(&[]).await;
    let (mut one, mut other) = (Client::connect(&site).await, Client::connect(&site).await);
    for n in 1..=3 {
        one.ask_and_leave(&format!("\"step\",{n}")).await;
    }
    let first = backend.called().await;
    assert_eq!(first.body["args"], json!([1]));
    other.ask_and_leave("\"step\",9").await;
    let of_other = backend.called().await;
    assert_eq!(of_other.body["args"], json!([9]), "the second waits for the first");
    of_other.answer(&json!({ "ack": [9] }));
    assert_eq!(other.answer(0).await, "9");
    assert!(!backend.is_called());
    first.answer(&json!({ "ack": [1] }));
    for n in 2..=3 {
        let call = backend.called().await;
        assert_eq!(call.body["args"], json!([n]));
        call.answer(&json!({ "ack": [n] }));
    }
    let text = str::to_owned;
    assert_eq!(one.answers(3).await, [(0, text("1")), (1, text("2")), (2, text("3"))]);
}

#[actix_web::test]
async fn a_call_that_fails_is_acked() {
    let (site, mut backend) = called(&[("TRIDENT_CALL_TIMEOUT", "300ms")]).await;
    let mut client = Client::connect(&site).await;
    // Two events, of which the application answers none: both acks come by their deadline.
    for _ in 0..2 {
        client.ask_and_leave(r#""slow""#).await;
    }
    let unanswered = backend.called().await;
    for (_, answer) in client.answers(2).await {
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["code"], "backend_unavailable");
        assert!(answer["error"]["message"].as_str().unwrap().contains("300ms"), "{answer}");
    }
    drop(unanswered);
    for (status, body) in
        [("500 Internal Server Error", "{}"), ("200 OK", "no JSON"), ("200 OK", r#"{"acks":[1]}"#), ("302 Found", "")]
    {
        let asked = client.ask_and_leave(r#""e""#).await;
        let call = loop {
            let call = backend.called().await;
            if call.body["event"] == "e" {
                break call;
            }
        };
        call.status(status, body);
        let answer: Value = serde_json::from_str(&client.answer(asked).await).unwrap();
        assert_eq!(answer["error"]["code"], "backend_unavailable", "{status} {body}");
        assert!(!answer.to_string().contains("127.0.0.1"), "{answer}");
    }
    let metrics = site.service.edge.metrics.encode().unwrap();
    assert!(metrics.contains(r#"trident_calls_total{kind="event",outcome="invalid"} 2"#), "{metrics}");
    assert!(metrics.contains(r#"trident_refusals_total{reason="backend_unavailable"}"#), "{metrics}");
}

/// A call that has begun is completed, and what the application asks for happens.
#[actix_web::test]
async fn a_client_that_disconnects_does_not_cancel_its_call() {
    let (site, mut backend) = called(&[]).await;
    let mut client = Client::connect(&site).await;
    client.ask_and_leave(r#""order.create""#).await;
    let call = backend.called().await;
    drop(client);
    edge::testing::until("the socket is gone", || site.service.edge.limits.connections() == 0).await;
    call.answer(&json!({ "publish": [{ "channel": "orders", "data": 1 }] }));
    edge::testing::until("the message is published", || site.held("orders").len() == 1).await;
}

/// The application has done its part when the process shuts down: what it answers still happens.
#[actix_web::test]
async fn a_call_is_completed_while_the_process_shuts_down() {
    let (site, mut backend) = called(&[]).await;
    let service = site.service.clone();
    let mut client = Client::connect(&site).await;
    client.ask_and_leave(r#""order.create""#).await;
    let call = backend.called().await;
    let mut stop = actix_web::rt::spawn(site.stop());
    service.edge.drain.port_closed().await;
    drop(client);
    // The workers stop when they have no connection left, but not before the call is answered: longer than it takes without one.
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(2), &mut stop).await;
    assert!(stopped.is_err(), "the workers stop while the call is made");
    call.answer(&json!({ "publish": [{ "channel": "orders", "data": 1 }] }));
    stop.await.unwrap();
    assert_eq!(service.log().channel_stats(&"orders".parse().unwrap()).messages, 1);
}

/// Without the chat, its events are the application's, and channels can still be read.
#[actix_web::test]
async fn without_the_chat_its_events_are_calls() {
    let (site, backend) = called(&[("TRIDENT_CHAT", "off")]).await;
    backend.answer_all(|call| match call["event"].as_str() {
        Some("join") => json!({ "join": call["args"], "ack": [call["socket"]["rooms"]] }),
        Some("leave") => json!({ "leave": call["args"], "ack": [call["socket"]["rooms"]] }),
        _ => json!({ "emit": [{ "to": { "room": "tea" }, "event": "said", "args": call["args"] }] }),
    });
    let (mut one, mut other) = (Client::connect(&site).await, Client::connect(&site).await);
    assert_eq!(one.ask(r#""join","tea""#).await, "[]", "there is no first room");
    other.ask(r#""chat message",7"#).await;
    assert_eq!(one.hears("said").await, [json!(7)]);
    assert_eq!(site.held("chat.lobby"), []);
    assert_eq!(one.ask(r#""leave","tea""#).await, r#"["tea"]"#);
    assert_eq!(one.ask(r#""leave","tea""#).await, "[]");
    assert_eq!(one.asks(r#""subscribe",{"channels":["public.a"]}"#).await["ok"], true);
    site.publish("public.a", "5").await;
    assert_eq!(one.hears("message").await[0], 5);
}

/// An application may enter the room that a client names. The room of a user has no such name.
#[actix_web::test]
async fn a_client_cannot_enter_the_room_of_a_user_by_its_name() {
    let (site, backend) = called(&[("TRIDENT_CHAT", "off")]).await;
    backend.answer_all(|call| match call["event"].as_str() {
        Some("join") => json!({ "join": call["args"], "ack": [call["socket"]["rooms"]] }),
        _ => json!({ "emit": [
            { "to": { "user": "ann" }, "event": "secret", "args": [1] },
            { "to": { "room": "user.ann" }, "event": "open", "args": [2] },
        ] }),
    });
    let token = site.token_for(Some("ann"), "", "*", std::time::Duration::from_secs(60));
    let mut ann = Client::with_auth(&site, &json!({ "token": token })).await.unwrap();
    let mut other = Client::connect(&site).await;
    assert_eq!(other.ask(r#""join","user.ann""#).await, "[]");
    assert_eq!(other.refused(r#""join","$user.ann""#).await, "backend_unavailable");
    assert_eq!(ann.ask(r#""join","tea""#).await, "[]", "the room of the user has no name for the application");
    ann.ask_and_leave(r#""tell""#).await;
    assert_eq!(ann.hears("secret").await, [json!(1)]);
    // The next event that it gets: the one before was not for it.
    assert_eq!(other.text().await, r#"42["open",2]"#);
}

/// Clients whose events the application does not answer do not keep others from connecting.
#[actix_web::test]
async fn an_event_that_takes_long_does_not_delay_who_connects() {
    let settings = [("TRIDENT_CALLS", "event,connect"), ("TRIDENT_CALL_CONCURRENCY", "1")];
    let (site, mut backend) = called(&settings).await;
    let connecting = async |backend: &mut Backend| {
        let mut client = std::pin::pin!(Client::connect(&site));
        loop {
            tokio::select! {
                client = client.as_mut() => break client,
                call = backend.called() => call.answer(&json!({})),
            }
        }
    };
    let mut one = connecting(&mut backend).await;
    one.ask_and_leave(r#""slow""#).await;
    let slow = backend.called().await;
    connecting(&mut backend).await;
    slow.answer(&json!({ "ack": [1] }));
    assert_eq!(one.answer(0).await, "1");
}

/// Messages are published first, and too many rooms do not undo them.
#[actix_web::test]
async fn an_answer_with_too_many_rooms_is_published_and_acked() {
    let (site, backend) = called(&[("TRIDENT_CHAT", "off")]).await;
    backend.answer_all(|_| {
        let rooms: Vec<String> = (0..2_000).map(|n| format!("room.{n}")).collect();
        json!({ "ack": ["done"], "publish": [{ "channel": "orders", "data": 1 }], "join": rooms })
    });
    let mut client = Client::connect(&site).await;
    assert_eq!(client.ask(r#""order.create""#).await, r#""done""#);
    assert_eq!(site.held("orders").len(), 1);
}

#[actix_web::test]
async fn every_event_of_a_namespace_of_the_application_is_a_call() {
    let (site, mut backend) = called(&[("TRIDENT_CALL_NAMESPACES", "/orders,/shop")]).await;
    let token = site.token_for(Some("ann"), "", "*", std::time::Duration::from_secs(60));
    let mut client = Client::with_auth(&site, &json!({})).await.unwrap();
    let sid = client.join_namespace("/orders", &json!({ "token": token })).await.unwrap();
    client.send(r#"42/orders,5["chat message","hi"]"#).await;
    let call = backend.called().await;
    assert_eq!((&call.body["namespace"], &call.body["event"]), (&json!("/orders"), &json!("chat message")));
    assert_eq!(call.body["socket"], json!({ "id": sid, "user": "ann", "rooms": [], "data": null }));
    call.answer(&json!({ "ack": [1], "emit": [{ "to": { "user": "ann" }, "event": "hello" }] }));
    assert_eq!(client.text().await, r#"42/orders,["hello"]"#);
    assert_eq!(client.text().await, "43/orders,5[1]");
    let refused = client.join_namespace("/orders2", &json!({})).await.unwrap_err();
    assert_eq!(refused["message"], "Invalid namespace");
    let refused = client.join_namespace("/shop", &json!({ "token": "no token" })).await.unwrap_err();
    assert_eq!(refused["data"]["code"], "bad_token");
}

/// What a member says and reads is decided by the application, if it is asked.
#[actix_web::test]
async fn the_application_decides_about_rooms_channels_and_messages() {
    let backend = Backend::start().await;
    let url = backend.url();
    let site = site(&[("TRIDENT_CALL_URL", &url), ("TRIDENT_CALLS", "subscribe,publish")]);
    backend.answer_all(|call| match (call["kind"].as_str(), call["channels"][0].as_str()) {
        (Some("subscribe"), Some("chat.closed" | "secret")) => json!({ "allow": false, "code": "closed" }),
        (Some("publish"), _) if call["messages"][0]["data"] == "spam" => json!({ "allow": false, "code": "spam" }),
        (Some("publish"), _) => json!({ "allow": true, "data": "[redacted]" }),
        _ => json!({ "allow": true }),
    });
    let mut client = Client::connect(&site).await;
    assert_eq!(client.asks(r#""join","tea""#).await["ok"], true);
    assert_eq!(client.refused(r#""join","closed""#).await, "closed");
    assert_eq!(client.asks(r#""subscribe",{"channels":["orders"]}"#).await["ok"], true);
    assert_eq!(client.refused(r#""subscribe",{"channels":["secret"]}"#).await, "closed");
    assert_eq!(client.refused(r#""chat message","spam""#).await, "spam");
    let first = client.ask(r#""chat message","a word","key""#).await;
    assert_eq!(client.ask(r#""chat message","a word","key""#).await, first);
    assert_eq!(client.hears("chat message").await[0], "[redacted]");
    assert_eq!(site.held("chat.tea").len(), 1);
}

#[actix_web::test]
async fn a_client_that_may_not_read_the_first_room_begins_in_none() {
    let backend = Backend::start().await;
    let url = backend.url();
    let site = site(&[("TRIDENT_CALL_URL", &url), ("TRIDENT_CALLS", "subscribe")]);
    backend.answer_all(|call| json!({ "allow": call["channels"] != json!(["chat.lobby"]) }));
    let mut client = Client::connect(&site).await;
    assert_eq!(client.refused(r#""chat message","hi""#).await, "no_room");
    assert_eq!(client.asks(r#""join","tea""#).await["ok"], true);
}

#[actix_web::test]
async fn a_repeated_subscription_causes_no_call() {
    let (site, backend) = called(&[("TRIDENT_CALLS", "subscribe")]).await;
    let calls = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let made = calls.clone();
    backend.answer_all(move |call| {
        made.borrow_mut().push(call["channels"].clone());
        json!({ "allow": true })
    });
    let mut client = Client::connect(&site).await;
    calls.take();
    for _ in 0..3 {
        assert_eq!(client.asks(r#""subscribe",{"channels":["orders"]}"#).await["ok"], true);
    }
    assert_eq!(calls.take(), [json!(["orders"])]);
    // What is new is asked about, and so are older messages.
    assert_eq!(client.asks(r#""subscribe",{"channels":["orders","news"]}"#).await["ok"], true);
    assert_eq!(client.asks(r#""subscribe",{"channels":["orders"],"since":"earliest"}"#).await["ok"], true);
    assert_eq!(calls.take(), [json!(["news"]), json!(["orders"])]);
    assert_eq!(client.asks(r#""unsubscribe",{"channels":["orders"]}"#).await["ok"], true);
    assert_eq!(client.asks(r#""subscribe",{"channels":["news","orders"]}"#).await["ok"], true);
    assert_eq!(calls.take(), [json!(["orders"])]);
}
