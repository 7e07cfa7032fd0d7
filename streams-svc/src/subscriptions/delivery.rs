//! Sends a wake: a request to a webhook (PROTOCOL.md of Durable Streams, §7.1), or a message in a wake stream (§7.2).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use outgoing::{Outgoing, Post};
use serde::Deserialize;
use shared::{
    live::bus::Bus,
    pure::{
        ChannelName, Payload,
        stream::{Append, StreamOp},
    },
};

use super::{
    book::{Job, Outcome, Sending},
    signing::ServerKey,
};

/// How long a webhook may take for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What sends wakes.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub(super) bus: Arc<dyn Bus>,
    /// Keeps to the public network.
    pub(super) outgoing: Outgoing,
    pub(super) key: Arc<ServerKey>,
}

/// The answer of a webhook.
#[derive(Deserialize)]
struct AnswerBody {
    #[serde(default)]
    done: bool,
}

impl Sender {
    /// Sends a wake. Why it failed is for the operator alone: it may say what is in the network.
    pub(super) async fn send(&self, job: &Job) -> Outcome {
        let sent = match &job.sending {
            Sending::Webhook(url) => self.post(url, job).await,
            Sending::Event(stream) => self.append(stream, job).await.map(|()| false),
        };
        match sent {
            Ok(is_done) => Outcome::Delivered(is_done),
            Err(why) => {
                log::debug!("the subscription {} is not woken, and will be again: {why}", job.id);
                Outcome::Failed
            }
        }
    }

    /// Whether the receiver has processed everything.
    async fn post(&self, url: &str, job: &Job) -> Result<bool, String> {
        let to = url.parse().map_err(|error: outgoing::InvalidUrl| error.to_string())?;
        let deadline = Instant::now() + ANSWER_WITHIN;
        let (id, body, signer) = (&*job.wake_id, job.body.clone(), &*self.key);
        let post = Post { to: &to, id, body, signer, deadline, traceparent: None };
        let answer = self.outgoing.post(post).await.map_err(|error| error.to_string())?;
        if !answer.status.is_success() {
            return Err(format!("the receiver answered {}", answer.status));
        }
        // An answer that says nothing is one, too.
        Ok(serde_json::from_slice::<AnswerBody>(&answer.body).is_ok_and(|answer| answer.done))
    }

    async fn append(&self, stream: &ChannelName, job: &Job) -> Result<(), String> {
        let payload = Payload::from_json(&job.body).map_err(|error| error.to_string())?;
        let append = Append {
            channel: stream.clone(),
            content_type: "application/json".parse().ok(),
            payloads: vec![payload],
            seq: None,
            producer: None,
            is_closing: false,
            user: None,
        };
        self.bus.stream(StreamOp::Append(append.into())).await.map(drop).map_err(|error| error.to_string())
    }
}
