//! Channels of the log over Socket.IO: `subscribe` and `unsubscribe`.

use std::time::Duration;

use edge::{calls::PermissionCall, subscribe::require_room};
use shared::pure::{ChannelName, Since};
use socketio::Socket;
use tokio::time::{sleep, timeout};

use crate::{
    args::{Args, fields},
    events::{ChatEvents, too_many_channels},
    member::{Hold, MAX_CHANNELS, Member},
    refusal::Refusal,
    registration,
    reply::{Done, Outcome, Subscribed},
};

/// How long a subscription with a cursor waits for a log that is being loaded.
const FILLED_WITHIN: Duration = Duration::from_secs(3);
/// The interval at which the log is checked.
const PAUSE: Duration = Duration::from_millis(20);
/// The error when earlier catch-ups are too large for a session.
const STILL_CATCHING_UP: &str = "earlier subscriptions are still being delivered; subscribe again later";

impl ChatEvents {
    /// `subscribe({channels, since})`: any channels of the log, from now on or after a cursor.
    pub(crate) async fn subscribe(&self, socket: &Socket, member: &Member, args: &Args<'_>) -> Outcome<Subscribed> {
        const SHAPE: &str = "`subscribe` takes one argument, {channels: [name, …], since?: a cursor or \"earliest\"}";
        let fields = fields(args, SHAPE, &["channels", "since"])?;
        let channels = channels_of(&fields.texts("channels", "a list of channel names")?, SHAPE)?;
        let since = fields.text("since", "a cursor or \"earliest\"")?;
        let since: Option<Since> =
            since.map(|since| since.parse()).transpose().map_err(|error| Refusal::new("bad_cursor", error))?;
        let mut asked = member.access.require_subscribe_all(&channels)?;
        // A repetition without a cursor changes nothing: the application has decided already.
        if since.is_none() {
            let state = member.state();
            asked.retain(|channel| !state.subscriptions.contains(channel));
        }
        self.ask_about(member, &asked).await?;
        if let Some(since) = since {
            self.filled().await?;
            if let Since::After(cursor) = since {
                self.service.bus.wait_for(cursor).await;
            }
        }
        let opener = require_room(&self.service, &member.access.identity(), &channels)?;
        let _held = Hold::on(member);
        let cursor = {
            let mut state = member.state();
            let more: Vec<_> =
                channels.iter().filter(|channel| !state.subscriptions.contains(channel)).cloned().collect();
            let new = more.iter().filter(|channel| !state.rooms.contains(channel)).count();
            if state.is_full(new) {
                return Err(too_many_channels());
            }
            if since.is_some() && state.feed.is_full(channels.len()) {
                return Err(Refusal::new("catching_up", STILL_CATCHING_UP));
            }
            for channel in more {
                if !state.subscriptions.contains(&channel) {
                    state.subscriptions.push(channel);
                }
            }
            state.feed.opens_for(opener);
            let cursor = state.feed.add(channels, since.unwrap_or_default());
            registration::update(socket, &state);
            cursor
        };
        self.sessions.saved(socket).await;
        Ok(Subscribed { cursor })
    }

    /// Whether a member may read `channels`: by its token, or as the application decides.
    pub(crate) async fn permit(&self, member: &Member, channels: &[ChannelName]) -> Outcome<()> {
        let asked = member.access.require_subscribe_all(channels)?;
        self.ask_about(member, &asked).await
    }

    /// Asks the application whether a member may read `channels`.
    async fn ask_about(&self, member: &Member, channels: &[ChannelName]) -> Outcome<()> {
        if !channels.is_empty() {
            PermissionCall::subscribe(&self.service.edge, &member.access, channels).await?;
        }
        Ok(())
    }

    /// Waits only for a log that is being loaded: until then it is unknown which messages follow a cursor.
    async fn filled(&self) -> Outcome<()> {
        let filled = async {
            while !self.service.log().is_filled() {
                sleep(PAUSE).await;
            }
        };
        timeout(FILLED_WITHIN, filled).await.map_err(|_| {
            Refusal::new(
                "bus_unavailable",
                "earlier messages are not available, since the message bus is unavailable; retry later",
            )
        })
    }

    /// `unsubscribe({channels})`. The rooms that the member has joined are not affected.
    pub(crate) fn unsubscribe(&self, socket: &Socket, member: &Member, args: &Args<'_>) -> Outcome<Done> {
        const SHAPE: &str = "`unsubscribe` takes one argument, {channels: [name, …]}";
        let fields = fields(args, SHAPE, &["channels"])?;
        let channels = channels_of(&fields.texts("channels", "a list of channel names")?, SHAPE)?;
        {
            let mut state = member.state();
            state.subscriptions.retain(|channel| !channels.contains(channel));
            for channel in &channels {
                state.release(channel);
            }
            registration::update(socket, &state);
        }
        self.sessions.changed(socket);
        Ok(Done {})
    }
}

/// The channels and patterns with these names, each once.
fn channels_of(names: &[String], shape: &str) -> Outcome<Vec<ChannelName>> {
    if names.is_empty() || names.len() > MAX_CHANNELS {
        return Err(Refusal::new("bad_channel", format!("name 1 to {MAX_CHANNELS} channels; {shape}")));
    }
    let mut channels: Vec<ChannelName> = Vec::with_capacity(names.len());
    for name in names {
        let channel = ChannelName::selector(name)?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    Ok(channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_once() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let read = |given: &[&str]| {
            channels_of(&names(given), "").map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(read(&["b", "a", "b"]).unwrap(), names(&["b", "a"]));
        assert!(read(&[]).is_err());
        assert!(read(&["a", "b c"]).is_err());
        assert!(read(&["a"; MAX_CHANNELS]).is_ok());
        assert!(read(&["a"; MAX_CHANNELS + 1]).is_err());
    }
}
