//! An event before it is written, and its JSON.

use std::{net::IpAddr, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;
use shared::pure::{ChannelName, EventKind};

use super::{ApiWrite, MAX_DATA_BYTES};
use crate::{
    connections::{ConnectionId, EndReason},
    metrics::Transport,
};

/// The memory of an entry in addition to its texts.
const OVERHEAD: usize = size_of::<Entry>() + 32;
/// Maximum number of characters of the name of a client's event; the rest is cut off.
const MAX_NAME_CHARS: usize = 256;
/// The kind of a gap, and the name of its event: `gap` alone is the name of the event that reports a gap of any channel.
const GAP: (&str, &str) = ("gap", "feed_gap");

/// An event that is not written yet.
#[derive(Debug)]
pub(super) struct Entry {
    /// Milliseconds since the Unix epoch.
    pub(super) time: u64,
    /// `None` for a gap.
    pub(super) kind: Option<EventKind>,
    pub(super) what: What,
}

/// What happened to whom.
#[derive(Debug)]
pub(super) enum What {
    Connection {
        client: EventClient,
        reason: Option<EndReason>,
    },
    Subscription {
        client: EventClient,
        channel: ChannelName,
    },
    Channel {
        channel: ChannelName,
        user: Option<Arc<str>>,
    },
    ClientEvent {
        client: EventClient,
        event: Box<str>,
        args: Option<Box<RawValue>>,
    },
    ApiWrite(Box<Written>),
    /// The process of this name is gone.
    Process(String),
    /// Events that are missing, and the time of the first of them.
    Gap {
        count: u64,
        since: u64,
    },
}

/// A write of a backend; see [`ApiWrite`].
#[derive(Debug)]
pub(super) struct Written {
    action: &'static str,
    by: Box<str>,
    address: IpAddr,
    channel: Option<ChannelName>,
    connection: Option<Box<str>>,
    user: Option<Box<str>>,
    jti: Option<Box<str>>,
    ended: Option<usize>,
}

/// The connection of an event.
#[derive(Clone, Debug)]
pub struct EventClient {
    /// Its id.
    pub id: ConnectionId,
    /// The user of its token.
    pub user: Option<Arc<str>>,
    /// How it reads.
    pub transport: Transport,
    /// Its address.
    pub address: IpAddr,
}

impl What {
    pub(super) fn connection(client: &EventClient, reason: Option<EndReason>) -> Self {
        Self::Connection { client: client.clone(), reason }
    }

    pub(super) fn subscription(client: &EventClient, channel: &ChannelName) -> Self {
        Self::Subscription { client: client.clone(), channel: channel.clone() }
    }

    pub(super) fn channel(channel: &ChannelName, user: Option<&Arc<str>>) -> Self {
        Self::Channel { channel: channel.clone(), user: user.cloned() }
    }

    pub(super) fn client_event(client: &EventClient, name: &str, payload: Option<&str>) -> Self {
        let args = payload.filter(|payload| payload.len() <= MAX_DATA_BYTES).and_then(arguments);
        let event = name.chars().take(MAX_NAME_CHARS).collect::<String>().into();
        Self::ClientEvent { client: client.clone(), event, args }
    }

    pub(super) fn api_write(write: &ApiWrite<'_>) -> Self {
        let text = |text: Option<&str>| text.map(Box::<str>::from);
        Self::ApiWrite(Box::new(Written {
            action: write.action,
            by: write.by.to_string().into(),
            address: write.address,
            channel: write.channel.cloned(),
            connection: text(write.connection),
            user: text(write.user),
            jti: text(write.jti),
            ended: write.ended,
        }))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Connection { .. } | Self::Subscription { .. } | Self::Channel { .. } | Self::Gap { .. } => 0,
            Self::ClientEvent { event, args, .. } => event.len() + args.as_ref().map_or(0, |args| args.get().len()),
            Self::ApiWrite(written) => {
                let texts = [&written.connection, &written.user, &written.jti].into_iter().flatten();
                size_of::<Written>() + written.by.len() + texts.map(|text| text.len()).sum::<usize>()
            }
            Self::Process(name) => name.len(),
        }
    }
}

/// The arguments of an event, without its name.
fn arguments(payload: &str) -> Option<Box<RawValue>> {
    let all: Vec<&RawValue> = serde_json::from_str(payload).ok()?;
    serde_json::value::to_raw_value(all.get(1..)?).ok()
}

/// The JSON of an event. Absent fields do not apply to its kind.
#[derive(Default, Serialize)]
struct Form<'a> {
    kind: &'a str,
    time: u64,
    process: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a ChannelName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
}

impl<'a> Form<'a> {
    fn of_client(self, client: &'a EventClient) -> Self {
        let (connection, user) = (Some(client.id.to_string()), client.user.as_deref());
        Self { connection, user, transport: Some(client.transport.name()), ..self }
    }
}

impl Entry {
    /// The memory that it takes, in bytes. Names of channels and users are shared with connections, but may outlive them.
    pub(super) fn bytes(&self) -> usize {
        let names = match &self.what {
            What::Connection { client, .. } | What::ClientEvent { client, .. } => user_bytes(client.user.as_ref()),
            What::Subscription { client, channel } => channel.len() + user_bytes(client.user.as_ref()),
            What::Channel { channel, user } => channel.len() + user_bytes(user.as_ref()),
            What::ApiWrite(written) => written.channel.as_ref().map_or(0, |channel| channel.len()),
            What::Process(_) | What::Gap { .. } => 0,
        };
        OVERHEAD + names + self.what.bytes()
    }

    /// The name under which it is published.
    pub(super) fn event_name(&self) -> &'static str {
        self.kind.map_or(GAP.1, EventKind::name)
    }

    /// Its JSON, in the process of this name.
    pub(super) fn json(&self, process: &str) -> String {
        let kind = self.kind.map_or(GAP.0, EventKind::name);
        let form = Form { kind, time: self.time, process, ..Form::default() };
        let form = match &self.what {
            What::Connection { client, reason } => {
                let (address, reason) = (Some(client.address), reason.map(EndReason::name));
                Form { address, reason, ..form }.of_client(client)
            }
            What::Subscription { client, channel } => Form { channel: Some(channel), ..form }.of_client(client),
            What::Channel { channel, user } => Form { channel: Some(channel), user: user.as_deref(), ..form },
            What::ClientEvent { client, event, args } => {
                Form { event: Some(event), args: args.as_deref(), ..form }.of_client(client)
            }
            What::ApiWrite(written) => Form {
                action: Some(written.action),
                by: Some(&written.by),
                address: Some(written.address),
                channel: written.channel.as_ref(),
                connection: written.connection.as_deref().map(ToOwned::to_owned),
                user: written.user.as_deref(),
                jti: written.jti.as_deref(),
                ended: written.ended,
                ..form
            },
            What::Process(name) => Form { process: name, ..form },
            What::Gap { count, since } => Form { count: Some(*count), since: Some(*since), ..form },
        };
        // Only maps whose keys are not strings cannot be written.
        serde_json::to_string(&form).unwrap_or_default()
    }
}

fn user_bytes(user: Option<&Arc<str>>) -> usize {
    user.map_or(0, |user| user.len())
}
