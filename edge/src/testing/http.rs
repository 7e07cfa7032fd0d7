//! Requests and their answers.

use actix_web::{
    error::PayloadError,
    http::{Method, header::HeaderMap},
    web::{Bytes, BytesMut},
};
use awc::{Client, ClientRequest};
use futures_util::{Stream, StreamExt as _};

use super::soon;

type Body = std::pin::Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>;

/// A request to be sent. Each uses its own connection.
pub struct Ask(ClientRequest);

impl Ask {
    pub(super) fn new(method: Method, url: &str) -> Self {
        let client = Client::builder().disable_timeout().disable_redirects().finish();
        Self(client.request(method, url).force_close())
    }

    /// With one more header.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.append_header((name, value)))
    }

    /// With a token in `Authorization`.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Sends it and waits for the whole answer.
    pub async fn send(self) -> Answer {
        self.open().await.rest().await
    }

    /// Sends it with a body of this `Content-Type`, and waits for the whole answer.
    pub async fn body(self, kind: &str, body: impl Into<Bytes>) -> Answer {
        let sent = self.0.insert_header(("Content-Type", kind)).send_body(body.into());
        Open::of(soon("the head of the answer", sent).await.unwrap()).rest().await
    }

    /// Sends it and waits for the head of the answer alone.
    pub async fn open(self) -> Open {
        Open::of(soon("the head of the answer", self.0.send()).await.unwrap())
    }
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The value of a header; nothing when it is missing. Several of one name have commas between them.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        joined(&self.headers, name)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and code of an error, which the answer has to be in every respect: JSON of the one form, not to be stored.
    #[must_use]
    pub fn error(&self) -> (u16, String) {
        let json = self.json();
        let (code, message) = (json["error"]["code"].as_str().unwrap(), json["error"]["message"].as_str().unwrap());
        assert!(!message.is_empty() && json.as_object().unwrap().len() == 1, "{self:?}");
        assert_eq!(self.header("Content-Type"), "application/json", "{self:?}");
        assert_eq!(self.header("Vary"), "Origin", "{self:?}");
        (self.status, code.to_owned())
    }

    /// What an error says to people.
    #[must_use]
    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }
}

/// An answer whose body is still coming.
pub struct Open {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    body: Body,
    /// Received bytes that were not read yet.
    ahead: BytesMut,
}

impl Open {
    fn of<S>(response: awc::ClientResponse<S>) -> Self
    where
        S: Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
    {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: Box::pin(response), ahead: BytesMut::new() }
    }

    /// The value of a header; nothing when it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        joined(&self.headers, name)
    }

    /// The next bytes as they come; nothing at the end of the body.
    ///
    /// # Errors
    /// When the body breaks off before its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, PayloadError> {
        if !self.ahead.is_empty() {
            return Ok(Some(self.ahead.split().freeze()));
        }
        soon("more of the body", self.body.next()).await.transpose()
    }

    /// The next line, without its end; nothing at the end of the body, before which there has to be the end of a line.
    pub async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let line = self.ahead.split_to(end + 1);
                return Some(std::str::from_utf8(&line[..end]).unwrap().to_owned());
            }
            match soon("another line", self.body.next()).await {
                Some(chunk) => self.ahead.extend_from_slice(&chunk.unwrap()),
                None => {
                    assert!(self.ahead.is_empty(), "the body ends within a line: {:?}", self.ahead);
                    return None;
                }
            }
        }
    }

    /// Reads to the end, which has to come.
    pub async fn rest(mut self) -> Answer {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await.unwrap() {
            body.extend_from_slice(&chunk);
        }
        Answer { status: self.status, headers: self.headers, body: body.freeze() }
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("status", &self.status).field("headers", &self.headers).finish_non_exhaustive()
    }
}

fn joined(headers: &HeaderMap, name: &str) -> String {
    let values: Vec<_> = headers.get_all(name).map(|value| value.to_str().unwrap()).collect();
    values.join(", ")
}
