//! What chat clients ask for, each answered by an ack.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use shared::{
    edge::{service::Service, subscribe::require_room},
    live::bus::Publication,
    pure::{ChannelName, Cursor, Draft, EventName, Since},
};
use socketio::{DisconnectReason, Socket, Value};
use tokio::time::{sleep, timeout};

use crate::{
    member::{Hold, MOST_CHANNELS, Member, show},
    presence::Presence,
    reply::{Done, Held, Joined, Named, Outcome, Refusal, Said, Subscribed},
    sessions::Sessions,
    wire::{self, CHANNEL_OF_ROOM},
};

/// The event of a chat message, on the wire and in the log.
pub(crate) const CHAT_MESSAGE: &str = "chat message";
/// Messages of before that who joins a room is shown.
const HISTORY: usize = 50;
/// How long a subscription from before waits for a log that is being filled.
const FILLED_WITHIN: Duration = Duration::from_secs(3);
/// The pause between looks at it.
const PAUSE: Duration = Duration::from_millis(20);
/// Characters of the longest name.
const LONGEST_NAME: usize = 40;

/// What the events work with.
#[derive(Clone)]
pub(crate) struct Chat {
    pub(crate) service: Service,
    pub(crate) presence: Presence,
    pub(crate) sessions: Sessions,
}

impl Chat {
    /// `chat message`: into the log, and from there to everybody in the room that the member speaks in.
    pub(crate) async fn say(&self, member: &Member, what: Option<&Value>) -> Outcome<Said> {
        let what = what.ok_or_else(|| Refusal::new("bad_message", "a chat message has one argument, the message"))?;
        let (channel, from) = {
            let state = member.state();
            (state.rooms.last().cloned(), state.name.clone())
        };
        let channel = channel.ok_or_else(|| Refusal::new("no_room", "you are in no room: `join` one first"))?;
        if !member.access.may_chat(&channel) {
            return Err(Refusal::new("forbidden", format!("you may not write to `{channel}`")));
        }
        let payload = wire::payload(what).map_err(|error| Refusal::new("bad_message", error))?;
        let edge = &self.service.edge;
        if let Some(most) = edge.settings.max_body.filter(|most| payload.len() > *most) {
            edge.metrics.refusals.body_size.inc();
            return Err(Refusal::new("too_large", format!("a message is at most {most} bytes long")));
        }
        edge.limits.publish(&member.access.identity(), 1)?;
        let event: EventName = CHAT_MESSAGE.parse()?;
        let draft = Draft { from: Some(from), ..Draft::new(channel, payload).event(event) };
        let ids = self.service.bus.publish(Publication::new(vec![draft])).await?;
        edge.metrics.publishes.inc();
        ids.first().map(|id| Said { id: *id }).ok_or_else(|| Refusal::new("internal", "the log gave no id"))
    }

    /// `join`: from now on the member reads this room and speaks in it. Answers with `reply`, since what it borrows does
    /// not outlive this.
    pub(crate) async fn join(
        &self,
        socket: &Socket,
        member: &Member,
        room: Option<&Value>,
        reply: impl FnOnce(&Outcome<Joined<'_>>),
    ) {
        // What comes after the ack comes after it also when the ack has to wait.
        let held = Hold::on(member);
        match self.enter(socket, member, room) {
            Ok((channel, cursor)) => {
                self.sessions.saved(socket).await;
                let present = self.presence.present(&channel);
                let latest = self.service.log().latest(&channel, HISTORY, cursor);
                let messages = latest.iter().map(|message| Held::of(message)).collect();
                reply(&Ok(Joined { room: room_of(&channel), present, messages }));
            }
            Err(refusal) => reply(&Err(refusal)),
        }
        drop(held);
    }

    /// Puts a member into a room; the place in the log from which on it reads there.
    pub(crate) fn enter(
        &self,
        socket: &Socket,
        member: &Member,
        room: Option<&Value>,
    ) -> Outcome<(ChannelName, Cursor)> {
        let channel = channel_of(room)?;
        member.access.require_subscribe(&channel)?;
        require_room(&self.service, std::slice::from_ref(&channel))?;
        socket.join(channel.as_str()).map_err(|error| Refusal::new("too_many_rooms", error))?;
        let cursor = {
            let mut state = member.state();
            let is_new = !state.rooms.contains(&channel);
            if is_new && !state.subscriptions.contains(&channel) && state.is_full(1) {
                drop(state);
                socket.leave(channel.as_str());
                return Err(too_many_channels());
            }
            state.rooms.retain(|other| *other != channel);
            state.rooms.push(channel.clone());
            if is_new && !state.is_gone {
                self.presence.enter([&channel], &state.name);
            }
            state.feed.add(vec![channel.clone()], Since::Now)
        };
        Ok((channel, cursor))
    }

    /// `leave`: the member then speaks in the room that they joined last of the others.
    pub(crate) fn leave(&self, socket: &Socket, member: &Member, room: Option<&Value>) -> Outcome<Done> {
        let channel = channel_of(room)?;
        {
            let mut state = member.state();
            if !state.rooms.contains(&channel) {
                return Ok(Done {});
            }
            state.rooms.retain(|other| *other != channel);
            state.release(&channel);
            if !state.is_gone {
                self.presence.leave([&channel], &state.name);
            }
        }
        socket.leave(channel.as_str());
        self.sessions.changed(socket);
        Ok(Done {})
    }

    /// `name`: how others see the member from now on.
    pub(crate) fn name(&self, socket: &Socket, member: &Member, name: Option<&Value>) -> Outcome<Named> {
        let name = name.and_then(Value::as_str).map(str::trim).filter(|name| {
            let length = name.chars().count();
            (1..=LONGEST_NAME).contains(&length) && !name.chars().any(char::is_control)
        });
        let name: Arc<str> = name
            .ok_or_else(|| Refusal::new("bad_name", format!("a name is 1 to {LONGEST_NAME} printable characters")))?
            .into();
        {
            let mut state = member.state();
            let old = std::mem::replace(&mut state.name, name.clone());
            if !state.is_gone && old != name {
                self.presence.rename(&state.rooms, &old, &name);
            }
        }
        show(socket, &name);
        self.sessions.changed(socket);
        Ok(Named { name })
    }

    /// `typing`: told to the others in the room, if they can be told right now.
    pub(crate) fn typing(&self, socket: &Socket, member: &Member, is_typing: Option<&Value>) -> Outcome<Done> {
        #[derive(Serialize)]
        struct Typing<'a> {
            room: &'a str,
            from: &'a str,
            typing: bool,
        }
        let Some(Value::Bool(typing)) = is_typing else {
            return Err(Refusal::new("bad_typing", "`typing` has one argument, true or false"));
        };
        let (channel, from) = {
            let state = member.state();
            (state.rooms.last().cloned(), state.name.clone())
        };
        let channel = channel.ok_or_else(|| Refusal::new("no_room", "you are in no room: `join` one first"))?;
        let told = Typing { room: room_of(&channel), from: &from, typing: *typing };
        // Begun when it is made, and nobody waits for it to reach the last of them.
        drop(socket.to(channel.as_str()).volatile().emit("typing", &told));
        Ok(Done {})
    }

    /// `subscribe({channels, since})`: any channels of the log, from now on or after a cursor.
    pub(crate) async fn subscribe(
        &self,
        socket: &Socket,
        member: &Member,
        what: Option<&Value>,
    ) -> Outcome<Subscribed> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wanted {
            channels: Vec<String>,
            #[serde(default)]
            since: Option<String>,
        }
        const SHAPE: &str = "`subscribe` has one argument, {channels: [name, …], since?: cursor or \"earliest\"}";
        let Wanted { channels, since } = read(what, SHAPE)?;
        let channels = channels_of(&channels, SHAPE)?;
        let since: Option<Since> =
            since.map(|since| since.parse()).transpose().map_err(|error| Refusal::new("bad_cursor", error))?;
        for channel in &channels {
            member.access.require_subscribe(channel)?;
        }
        if let Some(since) = since {
            self.filled().await?;
            if let Since::After(cursor) = since {
                self.service.bus.reach(cursor).await;
            }
        }
        require_room(&self.service, &channels)?;
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
            state.feed.add(channels, since.unwrap_or_default())
        };
        self.sessions.saved(socket).await;
        Ok(Subscribed { cursor })
    }

    /// Waits for a log that is only being filled: it cannot tell yet what came after a cursor.
    async fn filled(&self) -> Outcome<()> {
        let filled = async {
            while !self.service.log().is_filled() {
                sleep(PAUSE).await;
            }
        };
        timeout(FILLED_WITHIN, filled).await.map_err(|_| {
            Refusal::new(
                "bus_away",
                "what came before cannot be told yet, since the message bus is away: ask again later",
            )
        })
    }

    /// `unsubscribe({channels})`. Rooms that the member is in go on.
    pub(crate) fn unsubscribe(&self, socket: &Socket, member: &Member, what: Option<&Value>) -> Outcome<Done> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Unwanted {
            channels: Vec<String>,
        }
        const SHAPE: &str = "`unsubscribe` has one argument, {channels: [name, …]}";
        let Unwanted { channels } = read(what, SHAPE)?;
        let channels = channels_of(&channels, SHAPE)?;
        {
            let mut state = member.state();
            state.subscriptions.retain(|channel| !channels.contains(channel));
            for channel in &channels {
                state.release(channel);
            }
        }
        self.sessions.changed(socket);
        Ok(Done {})
    }

    /// A socket has gone: its member is in no room any more, and may come back to its session if the reason lets it.
    pub(crate) fn left(&self, socket: &Socket, reason: DisconnectReason) {
        let Some(member) = socket.remove::<Member>() else { return };
        self.sessions.ended(socket, &member, reason);
        let mut state = member.state();
        state.is_gone = true;
        self.presence.leave(&state.rooms, &state.name);
    }
}

/// More is asked for from older places than a session can remember.
const STILL_CATCHING_UP: &str =
    "too much of what was subscribed to before is still on its way; subscribe again when more of it has come";

fn too_many_channels() -> Refusal {
    Refusal::new("too_many_channels", format!("a connection reads {MOST_CHANNELS} channels at most"))
}

fn read<T: serde::de::DeserializeOwned>(what: Option<&Value>, shape: &str) -> Outcome<T> {
    let what = what.cloned().ok_or_else(|| Refusal::new("bad_arguments", shape))?;
    socketio::value::from_value(what).map_err(|error| Refusal::new("bad_arguments", format!("{error}; {shape}")))
}

/// The channels of these names, each once.
fn channels_of(names: &[String], shape: &str) -> Outcome<Vec<ChannelName>> {
    if names.is_empty() || names.len() > MOST_CHANNELS {
        return Err(Refusal::new("bad_channel", format!("name 1 to {MOST_CHANNELS} channels; {shape}")));
    }
    let mut channels: Vec<ChannelName> = Vec::with_capacity(names.len());
    for name in names {
        let channel = name.parse()?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    Ok(channels)
}

/// The channel of the room that an argument names.
fn channel_of(room: Option<&Value>) -> Outcome<ChannelName> {
    let room = room.and_then(Value::as_str).filter(|room| !room.is_empty());
    let channel = room.and_then(|room| format!("{CHANNEL_OF_ROOM}{room}").parse().ok());
    let accepted = "a room's name is 1 to 123 of the characters A-Z a-z 0-9 _ - . ~";
    channel.ok_or_else(|| Refusal::new("bad_room", accepted))
}

fn room_of(channel: &ChannelName) -> &str {
    channel.strip_prefix(CHANNEL_OF_ROOM).unwrap_or(channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_channels() {
        let longest = "r".repeat(123);
        for (room, channel) in [
            (Value::from("lobby"), Some("chat.lobby".to_owned())),
            (Value::from("a-b_c.d~"), Some("chat.a-b_c.d~".to_owned())),
            (Value::from(longest.as_str()), Some(format!("chat.{longest}"))),
            (Value::from("r".repeat(124)), None),
            (Value::from(""), None),
            (Value::from("a b"), None),
            (Value::from("*"), None),
            (Value::from("茶"), None),
            (Value::Bool(true), None),
        ] {
            let found = channel_of(Some(&room)).ok();
            assert_eq!(found.as_ref().map(ToString::to_string), channel, "{room:?}");
            if let (Some(channel), Some(room)) = (found, room.as_str()) {
                assert_eq!(room_of(&channel), room);
            }
        }
        assert!(channel_of(None).is_err());
    }

    #[test]
    fn each_channel_once() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let read = |given: &[&str]| {
            channels_of(&names(given), "").map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(read(&["b", "a", "b"]).unwrap(), names(&["b", "a"]));
        assert!(read(&[]).is_err());
        assert!(read(&["a", "b c"]).is_err());
        assert!(read(&["a"; MOST_CHANNELS]).is_ok());
        assert!(read(&["a"; MOST_CHANNELS + 1]).is_err());
    }
}
