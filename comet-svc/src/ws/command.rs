//! What a client sends: one JSON object in a text frame, with one command and an id that the answer repeats.

use edge::{ApiError, subscribe::MAX_CHANNELS};
use serde_json::value::RawValue;
use shared::pure::{
    ChannelName, Draft, EventName, Payload, Since,
    fields::{FieldError, Fields},
};

#[cfg(test)]
mod tests;

/// Maximum length of an id in bytes of JSON.
const MAX_ID_BYTES: usize = 128;
const SHAPE: &str = "a command is {subscribe: {channels, since?}}, {unsubscribe: {channels}} or {publish: {channel, event?, data, key?}}, \
                     with an id? that its answer repeats";
const SUBSCRIBE: &str = "`subscribe` is {channels: [name, …], since?: a cursor or \"earliest\"}";
const UNSUBSCRIBE: &str = "`unsubscribe` is {channels: [name, …]}";
const PUBLISH: &str = "`publish` is {channel: name, event?: name, data: any JSON, key?: text}";

/// A command.
#[derive(Debug)]
pub struct Command {
    /// Repeated by the answer.
    pub id: Option<Box<RawValue>>,
    /// What to do.
    pub action: Action,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read more channels, or channels again from an older position.
    Subscribe {
        /// 1 to 128, each once.
        channels: Vec<ChannelName>,
        /// Where to begin; `None` is from now on.
        since: Option<Since>,
    },
    /// Read fewer channels.
    Unsubscribe {
        /// 1 to 128, each once.
        channels: Vec<ChannelName>,
    },
    /// Publish a message.
    Publish {
        /// The message.
        draft: Draft,
        /// The idempotency key.
        key: Option<String>,
    },
}

/// Why a text is not a command.
#[derive(Debug)]
pub struct CommandError {
    /// The id of the command, if it could be read.
    pub id: Option<Box<RawValue>>,
    /// What is wrong and what is accepted.
    pub error: ApiError,
    /// The text is not a JSON object, so there is no id.
    pub is_unreadable: bool,
}

impl Command {
    /// Parses the text of a frame.
    ///
    /// # Errors
    /// When it is not a JSON object with one valid command.
    pub fn read(text: &str) -> Result<Self, CommandError> {
        let unreadable = |error| CommandError { id: None, error, is_unreadable: true };
        if let Err(error) = serde_json::from_str::<&RawValue>(text) {
            return Err(unreadable(ApiError::invalid(
                "bad_json",
                format!("the message is not JSON: {error}; {SHAPE}"),
            )));
        }
        let fields = Fields::any("the message", text, SHAPE)
            .map_err(|error| unreadable(ApiError::invalid("bad_json", error)))?;
        let id = id(&fields).map_err(|error| CommandError { id: None, error, is_unreadable: false })?;
        match Action::read(&fields) {
            Ok(action) => Ok(Self { id, action }),
            Err(error) => Err(CommandError { id, error, is_unreadable: false }),
        }
    }
}

impl Action {
    fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        fields.require_known(&["id", "subscribe", "unsubscribe", "publish"]).map_err(bad_command)?;
        let commands = ["subscribe", "unsubscribe", "publish"].map(|name| fields.raw(name));
        match commands {
            [Some(json), None, None] => Self::subscribe(json),
            [None, Some(json), None] => {
                let fields = Fields::of("`unsubscribe`", json, UNSUBSCRIBE, &["channels"]).map_err(bad_arguments)?;
                Ok(Self::Unsubscribe { channels: channels(&fields)? })
            }
            [None, None, Some(json)] => Self::publish(json),
            _ => Err(bad_command(format!("one command is needed in each message; {SHAPE}"))),
        }
    }

    fn subscribe(json: &str) -> Result<Self, ApiError> {
        let fields = Fields::of("`subscribe`", json, SUBSCRIBE, &["channels", "since"]).map_err(bad_arguments)?;
        let since = fields.text("since", "a cursor or \"earliest\"").map_err(bad_arguments)?;
        let since = since.map(|since| since.parse::<Since>()).transpose();
        let since = since.map_err(|error| ApiError::invalid("bad_cursor", error))?;
        Ok(Self::Subscribe { channels: channels(&fields)?, since })
    }

    fn publish(json: &str) -> Result<Self, ApiError> {
        let known = ["channel", "event", "data", "key"];
        let fields = Fields::of("`publish`", json, PUBLISH, &known).map_err(bad_arguments)?;
        let text = |name, what| fields.text(name, what).map_err(bad_arguments);
        let channel = text("channel", "a channel name")?.ok_or_else(|| bad_arguments(fields.missing("channel")))?;
        let channel = channel.parse::<ChannelName>().map_err(|error| ApiError::invalid("bad_channel", error))?;
        let event =
            text("event", "the name of an event")?.map_or_else(|| Ok(EventName::default()), |name| name.parse());
        let event = event.and_then(|event: EventName| event.check_for(&channel).map(|()| event));
        let event = event.map_err(|error| ApiError::invalid("bad_event", error))?;
        let data = fields.raw("data").ok_or_else(|| bad_arguments(fields.missing("data")))?;
        let payload = Payload::from_json(data.as_bytes()).map_err(|error| ApiError::invalid(error.code(), error))?;
        let key = text("key", "a text")?.map(Into::into);
        Ok(Self::Publish { draft: Draft::new(channel, payload).event(event), key })
    }
}

fn id(fields: &Fields<'_>) -> Result<Option<Box<RawValue>>, ApiError> {
    let Some(given) = fields.get("id") else { return Ok(None) };
    let is_accepted =
        given.len() <= MAX_ID_BYTES && given.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
    let id = Some(given).filter(|_| is_accepted).and_then(|given| RawValue::from_string(given.to_owned()).ok());
    id.map(Some)
        .ok_or_else(|| bad_command(format!("`id` is a number or a text of at most {MAX_ID_BYTES} bytes; {SHAPE}")))
}

/// The required list of channels and patterns, each once.
fn channels(fields: &Fields<'_>) -> Result<Vec<ChannelName>, ApiError> {
    let names = fields.texts("channels", "a list of channel names").map_err(bad_arguments)?;
    if names.is_empty() || names.len() > MAX_CHANNELS {
        return Err(ApiError::invalid("bad_channel", format!("`channels` names 1 to {MAX_CHANNELS} channels")));
    }
    let mut channels: Vec<ChannelName> = Vec::with_capacity(names.len());
    for name in names {
        let channel = ChannelName::selector(&name).map_err(|error| ApiError::invalid("bad_channel", error))?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    Ok(channels)
}

fn bad_command(error: impl ToString) -> ApiError {
    ApiError::invalid("bad_command", error.to_string())
}

fn bad_arguments(error: FieldError) -> ApiError {
    ApiError::invalid("bad_arguments", error)
}
