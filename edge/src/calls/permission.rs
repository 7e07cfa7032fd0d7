//! Asks the application whether a client may subscribe or publish.

use std::{net::IpAddr, sync::Arc, time::Instant};

use outgoing::PostError;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::pure::{ChannelName, Draft, Payload};

use super::{Asking, CallFailed, recent::Credential};
use crate::{Access, ApiError, Edge, settings::CallKind, traces::TraceContext};

/// Maximum length of the code of a refusal, in characters of `a-z 0-9 _`.
const MAX_CODE: usize = 64;

/// A call `subscribe` or `publish` that is to be made. A client with a token of a server is not asked about.
#[derive(Debug)]
pub struct PermissionCall {
    edge: Edge,
    asking: Result<Asking, CallFailed>,
    user: Option<Arc<str>>,
    address: IpAddr,
    data: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct SubscribeRequest<'a> {
    id: &'a str,
    kind: &'static str,
    channels: &'a [ChannelName],
    user: Option<&'a str>,
    address: IpAddr,
    data: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct PublishRequest<'a> {
    id: &'a str,
    kind: &'static str,
    messages: Vec<MessageJson<'a>>,
    user: Option<&'a str>,
    address: IpAddr,
    data: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct MessageJson<'a> {
    channel: &'a str,
    event: &'a str,
    data: &'a RawValue,
}

/// The answer to both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Json<'a> {
    allow: bool,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
    /// Instead of that of the only message.
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    /// One for each message.
    #[serde(borrow, default)]
    messages: Option<Vec<DataJson<'a>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DataJson<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// What the application answered.
enum Permission {
    /// With other data for some of the messages.
    Granted(Vec<Option<Payload>>),
    Denied {
        code: String,
        message: String,
    },
}

impl PermissionCall {
    /// The call of `kind` for a client with `access`, whose request takes about `bytes`. `None` if the application is not asked.
    #[must_use]
    pub fn new(edge: &Edge, access: &Access, kind: CallKind, bytes: usize) -> Option<Self> {
        if !edge.calls.asks(kind) || access.is_backend() {
            return None;
        }
        let asking = edge.calls.begin(kind, &access.identity(), bytes)?;
        let (user, data) = (access.user(), access.data().map(ToOwned::to_owned));
        Some(Self { edge: edge.clone(), asking, user, address: access.address(), data })
    }

    /// The same call, as a part of the trace of a request.
    #[must_use]
    pub(crate) fn under(self, trace: Option<TraceContext>) -> Self {
        Self { asking: self.asking.map(|asking| asking.under(trace)), ..self }
    }

    /// Asks whether the client with `access` may subscribe to all of `channels`, which [`Access::require_subscribe_all`] gave.
    ///
    /// # Errors
    /// 403 with the application's code, 503 `backend_unavailable`.
    pub async fn subscribe(edge: &Edge, access: &Access, channels: &[ChannelName]) -> Result<(), ApiError> {
        let bytes = channels.iter().map(|channel| channel.as_str().len()).sum();
        let Some(call) = Self::new(edge, access, CallKind::Subscribe, bytes) else { return Ok(()) };
        let Self { edge, asking, user, address, data } = call;
        let asking = asking?;
        let (id, kind, user, data) = (asking.id(), asking.kind(), user.as_deref(), data.as_deref());
        let request = SubscribeRequest { id, kind, channels, user, address, data };
        let request = serde_json::to_vec(&request).map_err(ApiError::internal)?;
        match asking.send(request, |json| Permission::read(json, 0)).await? {
            Permission::Granted(_) => Ok(()),
            Permission::Denied { code, message } => Err(denied(&edge, code, message)),
        }
    }

    /// As [`subscribe`](Self::subscribe), for a client that polls: a permission applies for a minute.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub(crate) async fn subscribe_poll(edge: &Edge, access: &Access, channels: &[ChannelName]) -> Result<(), ApiError> {
        let identity = access.identity();
        let name = identity.to_string();
        let data = access.data().map(|data| data.get().as_bytes()).unwrap_or_default();
        let names = channels.iter().map(|channel| channel.as_str().as_bytes());
        let client = Credential::of([name.as_bytes(), data].into_iter().chain(names));
        let deadline = Instant::now() + edge.calls.settings().timeout;
        let ask = async || Self::subscribe(edge, access, channels).await;
        let late = || edge.calls.failed(CallKind::Subscribe, &PostError::Deadline.into());
        edge.calls.0.subscribes.get((client, &identity), deadline, ask).await.ok_or_else(late)??;
        Ok(())
    }

    /// Asks whether the client may publish all of `drafts`, and puts other data into them if the application says so.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn publish(self, drafts: &mut [Draft]) -> Result<(), ApiError> {
        let Self { edge, asking, user, address, data } = self;
        let asking = asking?;
        let plain: Vec<_> = drafts.iter().map(|draft| draft.payload.plain_json()).collect();
        let messages = drafts.iter().zip(&plain).map(|(draft, plain)| {
            let data = serde_json::from_str(plain).map_err(ApiError::internal)?;
            Ok(MessageJson { channel: draft.channel.as_str(), event: &draft.event, data })
        });
        let messages = messages.collect::<Result<_, ApiError>>()?;
        let (id, kind, user, data) = (asking.id(), asking.kind(), user.as_deref(), data.as_deref());
        let request = PublishRequest { id, kind, messages, user, address, data };
        let request = serde_json::to_vec(&request).map_err(ApiError::internal)?;
        let count = drafts.len();
        match asking.send(request, |json| Permission::read(json, count)).await? {
            Permission::Granted(other) => {
                for (draft, other) in drafts.iter_mut().zip(other) {
                    if let Some(payload) = other {
                        draft.payload = payload;
                    }
                }
                Ok(())
            }
            Permission::Denied { code, message } => Err(denied(&edge, code, message)),
        }
    }
}

fn denied(edge: &Edge, code: String, message: String) -> ApiError {
    edge.metrics.refusals.backend_refused.inc();
    ApiError::Denied { code, message }
}

impl Permission {
    /// Reads the answer about `messages` messages.
    fn read(json: &str, messages: usize) -> Result<Self, String> {
        let Json { allow, code, message, data, messages: each } =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        if !allow {
            let code = code.unwrap_or_else(|| "refused".to_owned());
            let is_code = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if !(1..=MAX_CODE).contains(&code.len()) || !code.chars().all(is_code) {
                return Err(format!("`code` is not 1 to {MAX_CODE} of the characters a-z 0-9 _"));
            }
            let message = message.unwrap_or_else(|| "the backend does not allow this".to_owned());
            return Ok(Self::Denied { code, message });
        }
        let other: Vec<Option<&RawValue>> = match (data, each) {
            (None, None) => return Ok(Self::Granted(Vec::new())),
            (Some(data), None) if messages == 1 => vec![Some(data)],
            (None, Some(each)) if each.len() == messages => each.into_iter().map(|one| one.data).collect(),
            _ => {
                return Err(format!(
                    "`data` is for one message, and `messages` has an object for each of the {messages}"
                ));
            }
        };
        let payload = |data: &RawValue| Payload::from_json(data.get().as_bytes()).map_err(|error| error.to_string());
        Ok(Self::Granted(other.into_iter().map(|data| data.map(payload).transpose()).collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_yes_no_or_other_data() {
        let read = |json: &str, messages| match Permission::read(json, messages) {
            Ok(Permission::Granted(other)) => {
                let other = other.into_iter().map(|data| data.map(|data| data.plain_json().into_owned()));
                Ok(other.map(|data| data.unwrap_or_else(|| "same".to_owned())).collect::<Vec<_>>().join(" "))
            }
            Ok(Permission::Denied { code, message }) => Err(format!("{code}: {message}")),
            Err(error) => Err(format!("invalid: {error}")),
        };
        assert_eq!(read(r#"{"allow":true}"#, 3), Ok(String::new()));
        assert_eq!(read(r#"{"allow":true,"data":{"a": 1}}"#, 1), Ok(r#"{"a":1}"#.to_owned()));
        assert_eq!(read(r#"{"allow":true,"messages":[{},{"data":2}]}"#, 2), Ok("same 2".to_owned()));
        assert_eq!(
            read(r#"{"allow":false,"code":"not_yours","message":"ask Bob"}"#, 1),
            Err("not_yours: ask Bob".to_owned())
        );
        assert!(read(r#"{"allow":false}"#, 1).unwrap_err().starts_with("refused: "));
        for (bad, messages) in [
            ("{}", 1),
            ("[]", 1),
            (r#"{"allow":"yes"}"#, 1),
            (r#"{"allow":true,"data":1}"#, 2),
            (r#"{"allow":true,"messages":[{}]}"#, 2),
            (r#"{"allow":true,"data":1e400}"#, 1),
            (r#"{"allow":false,"code":"Not yours"}"#, 1),
            (r#"{"allowed":true}"#, 1),
        ] {
            assert!(read(bad, messages).unwrap_err().starts_with("invalid: "), "{bad}");
        }
    }
}
