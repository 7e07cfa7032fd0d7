//! The ends of Durable Streams.

use serde_json::{Value, json};

use super::*;

#[actix_web::test]
async fn the_end_of_a_stream_is_an_event() {
    let site = site(&[]);
    for stream in ["public.a", "public.b"] {
        site.create_stream(stream).await;
    }
    let mut client = Client::connect(&site).await;
    let subscribed: Value = client.asks(r#""subscribe",{"channels":["public.a","public.b"]}"#).await;
    assert_eq!(subscribed["ok"], json!(true));
    let (_, id) = site.close_stream("public.a", Some("1")).await;
    assert_eq!(client.hears("message").await[0], json!(1));
    let end = json!({"channel": "public.a", "reason": "closed", "id": id.to_string()});
    assert_eq!(client.hears("end").await[0], end);
    assert_eq!(client.offset, Some(id.to_string()), "it is behind the end when it reconnects");
    // Another channel continues, and a new client learns of the end.
    site.publish("public.b", "2").await;
    assert_eq!(client.hears("message").await[0], json!(2));
    let mut client = client.reconnect(&site).await;
    site.delete_stream("public.b").await;
    let next = client.hears("end").await[0].clone();
    assert_eq!((&next["channel"], &next["reason"]), (&json!("public.b"), &json!("deleted")));
    for since in ["", r#","since":"earliest""#] {
        let mut late = Client::connect(&site).await;
        late.asks(&format!(r#""subscribe",{{"channels":["public.a"]{since}}}"#)).await;
        assert_eq!(late.hears("end").await[0], end, "{since}");
    }
}
