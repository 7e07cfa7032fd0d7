//! Streams of a [`Site`], on the bus itself.

use shared::pure::{
    Cursor, Payload,
    stream::{Append, Create, Lifetime, StreamOp},
};

use super::Site;

const JSON: &str = "application/json";

impl Site {
    /// Creates a JSON stream.
    pub async fn create_stream(&self, channel: &str) {
        let create = Create {
            channel: channel.parse().unwrap(),
            content_type: Some(JSON.parse().unwrap()),
            lifetime: Lifetime::Unlimited,
            is_closed: false,
            payloads: Vec::new(),
            fork: None,
            user: None,
            owner: None,
        };
        self.service.bus.stream(StreamOp::Create(create.into())).await.unwrap();
    }

    /// Closes a stream, after `last` if there is one. Returns the positions of its last message and of its end.
    pub async fn close_stream(&self, channel: &str, last: Option<&str>) -> (Cursor, Cursor) {
        let append = Append {
            channel: channel.parse().unwrap(),
            content_type: Some(JSON.parse().unwrap()),
            payloads: last.iter().map(|json| Payload::from_json(json.as_bytes()).unwrap()).collect(),
            seq: None,
            producer: None,
            is_closing: true,
            user: None,
        };
        let info = self.service.bus.stream(StreamOp::Append(append.into())).await.unwrap().info;
        (info.tail, info.end.unwrap())
    }

    /// Deletes a stream.
    pub async fn delete_stream(&self, channel: &str) {
        self.service.bus.stream(StreamOp::Delete(channel.parse().unwrap())).await.unwrap();
    }
}
