//! The events of chat clients, each answered by an ack.

use std::{borrow::Cow, sync::Arc};

use edge::{calls::PermissionCall, service::Service, settings::CallKind, subscribe::require_room};
use serde::Serialize;
use shared::{
    live::bus::{IdempotencyKey, Publication},
    pure::{ChannelName, Cursor, Draft, EventName, Since, fields::text, name::is_printable},
};
use socketio::{Ack, DisconnectReason, Socket};

use crate::{
    application::calls::Application,
    args::{Args, fields},
    history::{MAX_MESSAGES, Page},
    member::{Hold, MAX_CHANNELS, Member, show},
    presence::Presence,
    refusal::Refusal,
    registration,
    reply::{Done, Joined, Named, Outcome, Past, Said},
    sessions::Sessions,
    wire::{self, CHANNEL_OF_ROOM},
};

/// The event of a chat message, on the wire and in the log.
pub(crate) const CHAT_MESSAGE: &str = "chat message";
/// Maximum size in bytes of the key of a message.
const MAX_KEY: usize = 128;
/// Maximum number of characters of a name.
const MAX_NAME_CHARS: usize = 40;

/// The state that event handlers use.
#[derive(Clone)]
pub(crate) struct ChatEvents {
    pub(crate) service: Service,
    pub(crate) presence: Presence,
    pub(crate) sessions: Sessions,
    /// Answers the events that are not the chat's.
    pub(crate) application: Application,
    /// Whether there is a chat (`TRIDENT_CHAT`), and not only subscriptions.
    pub(crate) is_chat: bool,
}

impl ChatEvents {
    /// Whether an event is answered here, and not by the application. Subscriptions to channels are not part of the chat.
    pub(crate) fn knows(&self, event: &str) -> bool {
        match event {
            "subscribe" | "unsubscribe" => true,
            CHAT_MESSAGE | "join" | "history" | "leave" | "name" | "typing" => self.is_chat,
            _ => false,
        }
    }

    /// `chat message`: appended to the log, and delivered from there to everybody in the member's current room. With a key, a repetition
    /// gets the first answer again.
    pub(crate) async fn say(&self, member: &Member, args: &Args<'_>) -> Outcome<Said> {
        let (what, attachments) =
            args.first().ok_or_else(|| Refusal::new("bad_message", "a chat message has one argument, the message"))?;
        let key = key(member, args.second())?;
        let (channel, from) = {
            let state = member.state();
            (state.rooms.last().cloned(), state.name.clone())
        };
        let channel = channel.ok_or_else(no_room)?;
        let is_asked = member.access.is_asked_to_publish(&channel);
        if !is_asked && !member.access.may_chat(&channel) {
            return Err(Refusal::new("forbidden", format!("you may not write to `{channel}`")));
        }
        let edge = &self.service.edge;
        let max = edge.settings.max_body;
        let check = |bytes: usize| {
            let Some(most) = max.filter(|most| bytes > *most) else { return Ok(()) };
            edge.metrics.refusals.body_size.inc();
            Err(Refusal::new("too_large", format!("a message has at most {most} bytes")))
        };
        check(what.len())?;
        let payload = wire::payload(what, attachments).map_err(|error| Refusal::new(error.code(), error))?;
        check(payload.len())?;
        edge.limits.publish(&member.access.identity(), 1)?;
        let event: EventName = CHAT_MESSAGE.parse()?;
        let draft = Draft { from: Some(from), ..Draft::new(channel, payload).event(event) }.by(member.access.user());
        let mut drafts = vec![draft];
        let mut original = None;
        if let Some(call) = PermissionCall::new(edge, &member.access, CallKind::Publish, what.len()) {
            // A repetition gets the first answer, and nobody is asked again.
            if let Some(key) = &key
                && let Some(first) = self.service.bus.find(key, &drafts).await?
            {
                edge.metrics.repeats.inc();
                return first.first().map(|id| Said { id: *id }).ok_or_else(no_id);
            }
            original = key.is_some().then(|| drafts.clone());
            call.publish(&mut drafts).await?;
        }
        let published = self.service.bus.publish(Publication { key, original, ..Publication::new(drafts) }).await?;
        let counted = if published.is_repeat { &edge.metrics.repeats } else { &edge.metrics.publishes };
        counted.inc();
        published.first().map(|id| Said { id: *id }).ok_or_else(no_id)
    }

    /// `join`: from now on the member reads this room, and it is the member's current room. The answer, with the newest messages, is built
    /// when the client can take it.
    pub(crate) async fn join(&self, socket: &Socket, member: &Member, args: &Args<'_>, ack: &Ack) -> Outcome<()> {
        // Later messages are delivered after the ack, even if the ack has to wait.
        let channel = channel_of(args.text().as_deref())?;
        self.permit(member, std::slice::from_ref(&channel)).await?;
        let _held = Hold::on(member);
        let cursor = self.enter(socket, member, channel.clone())?;
        self.sessions.saved(socket).await;
        let (chat, publisher) = (self.clone(), member.access.publisher());
        member.reply_later(ack, move |max_bytes| async move {
            let (log, before) = (chat.service.log(), cursor.next(0));
            let page = Page::read(log, &channel, before, MAX_MESSAGES, max_bytes, false, publisher).await;
            Joined::encode(room_of(&channel), &chat.presence.present(&channel), &page)
        })
    }

    /// `history({room?, before?, limit?})`: earlier messages, for members that may read the room.
    pub(crate) fn history(&self, member: &Member, args: &Args<'_>, ack: &Ack) -> Outcome<()> {
        const SHAPE: &str = "`history` takes one argument, {room?: name, before?: cursor, limit?: 1 to 50}";
        let fields = fields(args, SHAPE, &["room", "before", "limit"])?;
        let channel = match fields.text("room", "a room's name")? {
            Some(room) => channel_of(Some(&room))?,
            None => member.state().rooms.last().cloned().ok_or_else(no_room)?,
        };
        // A room that the member is in was permitted when it entered.
        if !member.state().rooms.contains(&channel) {
            member.access.require_subscribe(&channel)?;
        }
        let before = match fields.text("before", "the `cursor` of an earlier answer")? {
            Some(before) => before.parse().map_err(|error| Refusal::new("bad_cursor", error))?,
            None => Cursor::MAX,
        };
        let limit = match fields.number("limit")? {
            None => MAX_MESSAGES,
            Some(limit) => {
                usize::try_from(limit).ok().filter(|limit| (1..=MAX_MESSAGES).contains(limit)).ok_or_else(|| {
                    Refusal::new("bad_limit", format!("`limit` is a number from 1 to {MAX_MESSAGES}; {SHAPE}"))
                })?
            }
        };
        let (log, publisher) = (self.service.log().clone(), member.access.publisher());
        member.reply_later(ack, move |max_bytes| async move {
            let page = Page::read(&log, &channel, before, limit, max_bytes, true, publisher).await;
            Past::encode(room_of(&channel), &page)
        })
    }

    /// Adds a member to the room of `channel`, which it may read; returns the position in the log from which it reads there.
    pub(crate) fn enter(&self, socket: &Socket, member: &Member, channel: ChannelName) -> Outcome<Cursor> {
        let opener = require_room(&self.service, &member.access.identity(), std::slice::from_ref(&channel))?;
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
            state.rooms.reserve_exact(1);
            state.rooms.push(channel.clone());
            if is_new && !state.is_gone() {
                self.presence.enter([&channel], &state.name);
            }
            state.feed.opens_for(opener);
            let cursor = state.feed.add(vec![channel.clone()], Since::Now);
            registration::update(socket, &state);
            cursor
        };
        Ok(cursor)
    }

    /// `leave`: the current room is then the one of the others that was joined last.
    pub(crate) fn leave(&self, socket: &Socket, member: &Member, args: &Args<'_>) -> Outcome<Done> {
        let channel = channel_of(args.text().as_deref())?;
        {
            let mut state = member.state();
            if !state.rooms.contains(&channel) {
                return Ok(Done {});
            }
            state.rooms.retain(|other| *other != channel);
            state.release(&channel);
            registration::update(socket, &state);
            if !state.is_gone() {
                self.presence.leave([&channel], &state.name);
            }
        }
        socket.leave(channel.as_str());
        self.sessions.changed(socket);
        Ok(Done {})
    }

    /// `name`: the name that others see from now on.
    pub(crate) fn name(&self, socket: &Socket, member: &Member, args: &Args<'_>) -> Outcome<Named> {
        let name = args.text();
        let name = name.as_deref().map(str::trim).filter(|name| {
            let length = name.chars().count();
            (1..=MAX_NAME_CHARS).contains(&length) && name.chars().all(is_shown)
        });
        let name: Arc<str> = name
            .ok_or_else(|| Refusal::new("bad_name", format!("a name is 1 to {MAX_NAME_CHARS} printable characters: none that is invisible or changes the direction of text")))?
            .into();
        {
            let mut state = member.state();
            let old = std::mem::replace(&mut state.name, name.clone());
            if !state.is_gone() && old != name {
                self.presence.rename(&state.rooms, &old, &name);
            }
        }
        show(socket, &name);
        self.sessions.changed(socket);
        Ok(Named { name })
    }

    /// `typing`: sent to the others in the room, if they can take it right now.
    pub(crate) fn typing(&self, socket: &Socket, member: &Member, args: &Args<'_>) -> Outcome<Done> {
        #[derive(Serialize)]
        struct Typing<'a> {
            room: &'a str,
            from: &'a str,
            typing: bool,
        }
        let typing =
            args.bool().ok_or_else(|| Refusal::new("bad_typing", "`typing` has one argument, true or false"))?;
        let (channel, from) = {
            let state = member.state();
            (state.rooms.last().cloned(), state.name.clone())
        };
        let channel = channel.ok_or_else(no_room)?;
        let notice = Typing { room: room_of(&channel), from: &from, typing };
        // Sent immediately; nobody waits until it has reached everyone.
        drop(socket.to(channel.as_str()).volatile().emit("typing", &notice));
        Ok(Done {})
    }

    /// A socket has disconnected: its member is in no room any more, and may resume its session if the reason allows it.
    pub(crate) fn left(&self, socket: &Socket, reason: DisconnectReason) {
        let Some(member) = socket.remove::<Member>() else { return };
        self.sessions.ended(socket, &member, reason);
        let unanswered = {
            let mut state = member.state();
            self.presence.leave(&state.rooms, &state.name);
            state.replies.close()
        };
        drop(unanswered);
    }
}

fn no_id() -> Refusal {
    Refusal::new("internal", "the log returned no id")
}

fn no_room() -> Refusal {
    Refusal::new("no_room", "you are not in a room: `join` one first")
}

/// Whether a character may be part of a name. Scripts such as Persian and some emoji need joiners, which are invisible themselves.
fn is_shown(c: char) -> bool {
    const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
    const ZERO_WIDTH_JOINER: char = '\u{200d}';
    is_printable(c) || matches!(c, ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER)
}

/// The key of a chat message, which identifies a repetition for as long as an `Idempotency-Key` does.
fn key(member: &Member, key: Option<&str>) -> Outcome<Option<IdempotencyKey>> {
    // Applications may send other arguments, which are ignored.
    let Some(key) = key.filter(|key| key.starts_with('"')) else { return Ok(None) };
    let is_visible = |key: &Cow<'_, str>| key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    match text(key).filter(|key| (1..=MAX_KEY).contains(&key.len()) && is_visible(key)) {
        Some(key) => Ok(Some(IdempotencyKey { scope: format!("chat:{}", member.access.identity()), key: key.into() })),
        None => {
            let message = format!("the key of a message is 1 to {MAX_KEY} visible ASCII characters");
            Err(Refusal::new("bad_idempotency_key", message))
        }
    }
}

/// The channel of the room in an argument.
fn channel_of(room: Option<&str>) -> Outcome<ChannelName> {
    let room = room.filter(|room| !room.is_empty());
    let channel = room.and_then(|room| format!("{CHANNEL_OF_ROOM}{room}").parse().ok());
    let accepted = "a room's name is 1 to 123 of the characters A-Z a-z 0-9 _ - . ~, and / between segments that are not empty, `.` or `..`";
    channel.ok_or_else(|| Refusal::new("bad_room", accepted))
}

/// A connection has reached its limit of channels.
pub(crate) fn too_many_channels() -> Refusal {
    Refusal::new("too_many_channels", format!("a connection can read at most {MAX_CHANNELS} channels"))
}

fn room_of(channel: &ChannelName) -> &str {
    channel.strip_prefix(CHANNEL_OF_ROOM).unwrap_or(channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_character_that_is_invisible_or_turns_text() {
        for good in ["Mei 时间", "👨\u{200d}👩\u{200d}👧", "می\u{200c}خواهم", "שלום"] {
            assert!(good.chars().all(is_shown), "{good:?}");
        }
        for bad in ["a\u{202e}b", "\u{2066}a", "a\u{200b}", "\u{feff}", "a\u{e000}", "a\tb", "\u{2028}"] {
            assert!(!bad.chars().all(is_shown), "{bad:?}");
        }
    }

    #[test]
    fn rooms_are_channels() {
        let longest = "r".repeat(123);
        for (room, channel) in [
            ("lobby", Some("chat.lobby".to_owned())),
            ("a-b_c.d~", Some("chat.a-b_c.d~".to_owned())),
            (&longest, Some(format!("chat.{longest}"))),
            (&"r".repeat(124), None),
            ("", None),
            ("a b", None),
            ("*", None),
            ("茶", None),
        ] {
            let found = channel_of(Some(room)).ok();
            assert_eq!(found.as_ref().map(ToString::to_string), channel, "{room:?}");
            if let Some(channel) = found {
                assert_eq!(room_of(&channel), room);
            }
        }
        assert!(channel_of(None).is_err());
    }
}
