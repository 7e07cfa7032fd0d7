//! Reads an event stream as a client does.

use actix_web::web::BytesMut;
pub use russe::{Event, Message};
use tokio_util::codec::Decoder as _;

use super::{Ask, Open};

impl Ask {
    /// Sends it and reads an event stream, which the answer has to be.
    pub async fn events(self) -> Events {
        Events::of(self.open().await)
    }
}

/// An open event stream.
#[derive(Debug)]
pub struct Events {
    /// The answer that it is the body of.
    pub open: Open,
    decoder: russe::Decoder,
    buffer: BytesMut,
}

impl Events {
    /// The stream that `open` has to be.
    #[must_use]
    pub fn of(open: Open) -> Self {
        assert!(open.status == 200 && open.header("Content-Type").starts_with("text/event-stream"), "{open:?}");
        Self { open, decoder: russe::Decoder::default(), buffer: BytesMut::new() }
    }

    /// The next event, comment or `retry`; nothing at the end, before which there has to be the end of an event.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.decoder.decode(&mut self.buffer).unwrap() {
                return Some(event);
            }
            match self.open.chunk().await.unwrap() {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => {
                    assert!(self.buffer.is_empty(), "the stream ends within an event: {:?}", self.buffer);
                    return None;
                }
            }
        }
    }

    /// The next event that a page would receive; nothing at the end.
    pub async fn message(&mut self) -> Option<Message> {
        loop {
            match self.next().await? {
                // The opening event: an id without data, which a page does not receive.
                Event::Message(message) if message.retry.is_some() => {}
                Event::Message(message) => return Some(message),
                _ => {}
            }
        }
    }

    /// Id and data of the next `count` messages.
    pub async fn take(&mut self, count: usize) -> Vec<(String, String)> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let message = self.message().await.expect("the stream goes on");
            taken.push((message.id.expect("each has an id").to_string(), message.data.to_string()));
        }
        taken
    }
}
